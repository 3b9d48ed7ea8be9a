"""Which version answers which row."""

from hypothesis import given
from hypothesis import strategies as st

from modelwright.events import Route
from modelwright.rollout.routing import bucket, split

IDS = [f"flight-{n}" for n in range(4000)]


def routes(percent: int, shadows: tuple[int, ...] = ()) -> list[Route]:
    shares = [Route(version=1, role="champion", percent=100 - percent)]
    shares += [Route(version=2, role="canary", percent=percent)] if percent else []
    return shares + [Route(version=n, role="shadow", percent=0) for n in shadows]


def test_the_share_of_the_canary_is_what_the_route_says() -> None:
    assert 0.08 < sum(split(routes(10), "salt", IDS).on_canary) / len(IDS) < 0.12
    assert not any(split(routes(0), "salt", IDS).on_canary)


def test_a_larger_share_keeps_whom_the_smaller_had() -> None:
    small, large = split(routes(10), "salt", IDS), split(routes(50), "salt", IDS)
    assert all(b for a, b in zip(small.on_canary, large.on_canary, strict=True) if a)


def test_another_salt_draws_anew() -> None:
    assert split(routes(50), "a", IDS).on_canary != split(routes(50), "b", IDS).on_canary


@given(st.text(), st.text(min_size=1))
def test_a_bucket_depends_on_salt_and_id_alone(salt: str, identity: str) -> None:
    assert bucket(salt, identity) == bucket(salt, identity)
    assert 0 <= bucket(salt, identity) < 100


@given(
    st.sampled_from([0, 10, 50]),
    st.sets(st.integers(2, 5)).map(sorted).map(tuple),
    st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True),
)
def test_every_row_is_answered_by_exactly_one_version(percent: int, shadows: tuple[int, ...], ids: list[str]) -> None:
    plan = split(routes(percent, shadows), "salt", ids)
    for plan_now in (plan, plan.without(2)):
        for row in range(len(ids)):
            roles = [plan_now.role_of(v, row) for v in plan_now.versions if row in plan_now.rows_of(v)]
            assert sum(role != "shadow" for role in roles) == 1
        assert set(plan_now.rows_of(plan_now.champion)) == set(range(len(ids)))
