import math
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelwright.tracking.entities import Point
from modelwright.tracking.points import content_id, distinct, pack, unpack

whole = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1), st.sampled_from([-(2**63), 2**63 - 1]))
points = st.lists(st.builds(Point, st.sampled_from(["a", "b/c", "ü"]), st.floats(), whole, whole), max_size=40)


def spelled(found: Sequence[Point]) -> list[str]:
    return [f"{p.key} {float.hex(p.value)} {p.timestamp} {p.step}" for p in found]


@given(points)
def test_packing_keeps_every_point_to_the_bit_but_for_the_sign_of_zero(some: list[Point]) -> None:
    assert spelled(list(unpack(pack(some)))) == spelled(distinct(some))
    assert sorted(set(spelled(distinct(some)))) == sorted(
        {row.replace("-0x0.0p+0", "0x0.0p+0") for row in spelled(some)}
    )


@given(points)
def test_a_metric_is_unpacked_alone(some: list[Point]) -> None:
    for key in ("a", "b/c", "ü", "not there"):
        assert spelled(list(unpack(pack(some), key))) == [
            row for row in spelled(distinct(some)) if row.startswith(f"{key} ")
        ]


@given(points, st.randoms())
def test_the_same_points_in_any_order_and_however_often_are_the_same_batch(some: list[Point], random: Any) -> None:
    known = [p for p in some if not math.isnan(p.value)]
    shuffled = [*known, *known]
    random.shuffle(shuffled)
    assert content_id(pack(known)) == content_id(pack(shuffled))


def test_nan_and_zero_of_any_kind_are_one_point_each() -> None:
    odd = [Point("k", value, 1, 1) for value in (-math.nan, math.nan, -0.0, 0.0)]
    assert [repr(p.value) for p in distinct(odd)] == ["0.0", "nan"]


def test_a_thousand_points_of_one_metric_take_little_more_than_their_values() -> None:
    noise = random.Random(7)
    curve = [Point("loss", noise.random(), 1_760_000_000_000 + 37 * n + noise.randrange(3), n) for n in range(1000)]
    assert len(pack(curve)) <= 7300
