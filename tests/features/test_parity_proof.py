"""The proof of parity: equal to the bit, or named by feature, entity and cause."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from features.parity_cases import (
    FEATURES,
    NOW,
    PROJECT,
    SERVICE,
    START,
    Served,
    Shop,
    causes,
    narrowed,
    orders,
    requests,
    shifted,
    visits,
)
from modelwright.errors import InvalidInput
from modelwright.features import offline, push
from modelwright.features.history import History
from modelwright.features.layout import PENDING, source_key
from modelwright.features.parity import proof as parity
from modelwright.features.parity import report as parity_report
from modelwright.features.parity.moments import OFFSETS_US
from modelwright.features.parity.report import Report
from modelwright.features.parity.rows import Row
from modelwright.features.plan import Load
from modelwright.project import Project
from modelwright.storage import Delete

HOUR = timedelta(hours=1)
Wrong = Callable[[Shop, list[Row]], Served]


def asked(count: int = 100) -> list[Row]:
    return requests(random.Random(1), count)


@pytest.fixture
def shop() -> Shop:
    made = Shop()
    made.fill()
    return made


def mapped(change: Callable[[Any], Any]) -> Wrong:
    """Return a server that changes every value."""
    return lambda shop, rows: [{name: change(value) for name, value in said.items()} for said in shop.right(rows)]


def moved(offset: timedelta) -> Wrong:
    """Return a server that takes times of requests to be in another zone."""
    return lambda shop, rows: shop.right(shifted(rows, offset))


# --- equal -------------------------------------------------------------------------------


def test_what_is_served_right_is_proven(shop: Shop) -> None:
    shop.serve(asked())
    report = shop.prove()
    (served,) = report.compared
    assert report.equal
    assert (served.way, served.answers, served.rows, served.values) == ("served", 100, 100, 100 * len(FEATURES))
    assert served.equal == served.values
    assert report.features == FEATURES
    assert not report.differences


def test_ten_thousand_random_moments_of_the_history_are_served_as_they_are_trained_on(shop: Shop) -> None:
    report = shop.prove(pairs=10_000)
    (replayed,) = report.compared
    assert report.equal, parity_report.lines(report)
    assert (replayed.way, replayed.rows, replayed.values) == ("replayed", 10_000, 10_000 * len(FEATURES))
    assert replayed.equal == replayed.values


def test_the_moments_are_where_answers_change_and_the_entities_of_all_kinds(shop: Shop) -> None:
    rows: list[Row] = []

    def listening(project: Project, service: str, history: History, load: Load) -> parity.Replay:
        replay = shop.stand.replays(project, service, history, load)

        def served(given: Any) -> Any:
            rows.extend(given)
            return replay(given)

        return served

    shop.prove(pairs=2_000, stand=replace(shop.stand, replays=listening))
    turns = {order["known_at"] for order in orders(random.Random(7), 600)}
    turns |= {visit["seen_at"] + timedelta(days=3) for visit in visits(random.Random(8), 600)}
    near = [row for row in rows if {row["event_timestamp"] + timedelta(microseconds=n) for n in (-1, 0, 1)} & turns]
    people = {row["customer"] for row in rows}
    assert len(near) > 50
    assert None in people
    assert "\\|nobody" in people
    assert len(people) > 12
    values = shop.right(rows)
    for name in FEATURES:
        assert len({said[name] for said in values}) > 2, f"{name} is hardly ever anything but null"


def test_the_same_seed_asks_the_same(shop: Shop) -> None:
    first, second = (shop.prove(pairs=50) for _ in range(2))
    assert first == second
    other = parity.prove(shop.stand, SERVICE, now=NOW, since=START, pairs=50, seed="another")
    assert other.window != first.window


def test_rows_that_become_another_entitys_are_served_as_they_are_trained_on() -> None:
    shop, chosen = Shop(), random.Random(5)
    rows = orders(chosen, 300, people=3)
    elsewhere = [
        {
            **row,
            "customer": chosen.choice(["c0", "c1", "c2", None]),
            "shop": chosen.randrange(4),
            "known_at": row["known_at"] + timedelta(minutes=chosen.choice([0, 10, 45, 600])),
        }
        for row in chosen.choices(rows, k=150)
    ]
    shop.store("orders", rows, START)
    shop.store("orders", elsewhere, START + HOUR)
    shop.store("visits", visits(chosen, 100, people=3), START)
    report = shop.prove(pairs=1_000)
    assert report.equal, parity_report.lines(report)


def test_newest_rows_that_were_earlier_after_all_are_served_as_they_are_trained_on() -> None:
    shop, day = Shop(), timedelta(days=1)
    (order, *_) = orders(random.Random(1), 1)
    order |= {"customer": "c0", "shop": 1}

    def version(name: str, at: datetime, known: datetime, amount: float) -> dict[str, Any]:
        return {**order, "order_id": name, "ordered_at": at, "known_at": known, "amount": amount}

    first = [version(name, START + n * day, START + n * day, float(n)) for n, name in enumerate("abcd", 1)]
    shop.store("orders", first, START)
    for n, name in enumerate("bcd", 2):
        shop.store("orders", [version(name, START - n * day, START + 10 * day, 90.0)], START)
    shop.store("visits", visits(random.Random(1), 10, people=1), START)
    asked = [{"customer": "c0", "shop": 1, "basket": 1.0, "event_timestamp": START + n * day} for n in (6, 11)]
    replay = shop.stand.replays(shop.project, SERVICE, shop.history, shop.stand.load)
    assert [said["amount"] for said in replay(asked)] == [said["amount"] for said in shop.right(asked)] == [4.0, 1.0]


# --- the six planted bugs ----------------------------------------------------------------


def early(shop: Shop, rows: list[Row]) -> Served:
    """A server that joins by event time alone."""
    stand = shop.stand
    table = offline.request_table(shop.project.services[SERVICE], rows)
    joined = offline.historical(
        shop.project, SERVICE, table, blobs=stand.blobs, tables=stand.tables, workspace=stand.workspace, cache={},
        available=False,
    )  # fmt: skip
    return joined.select(list(FEATURES)).to_pylist()  # type: ignore[no-any-return]


def next_visit(shop: Shop, rows: list[Row]) -> Served:
    """A server that takes a visit's features from the visit after."""
    seen = sorted((visit["customer"], visit["known_at"]) for visit in shop_visits())
    ahead = [
        next((at for who, at in seen if who == row["customer"] and at > row["event_timestamp"]), row["event_timestamp"])
        for row in rows
    ]
    later = shop.right([{**row, "event_timestamp": at} for row, at in zip(rows, ahead, strict=True)])
    of_visits = ("score", "page", "clicks", "seen_at")
    return [
        {**said, **{name: then[name] for name in of_visits}} for said, then in zip(shop.right(rows), later, strict=True)
    ]


def shop_visits() -> list[dict[str, Any]]:
    chosen = random.Random(7)
    orders(chosen, 600)
    return visits(chosen, 600)


def running_hour(shop: Shop, rows: list[Row]) -> Served:
    """A server whose windows reach to the end of the hour that is running."""
    ends = [{**row, "event_timestamp": row["event_timestamp"].replace(minute=0) + HOUR} for row in rows]
    windows = [name for name in FEATURES if name.endswith(("_6h", "_7d", "_1d"))]
    return [
        {**said, **{name: then[name] for name in windows}}
        for said, then in zip(shop.right(rows), shop.right(ends), strict=True)
    ]


def filled_forward(shop: Shop, rows: list[Row]) -> Served:
    """A server that remembers the last score that was not null."""
    known = Shop()
    chosen = random.Random(7)
    known.store("orders", orders(chosen, 600), START)
    known.store("visits", [visit for visit in visits(chosen, 600) if visit["score"] is not None], START)
    return [{**said, "score": then["score"]} for said, then in zip(shop.right(rows), known.right(rows), strict=True)]


def visits_abroad(shop: Shop, rows: list[Row]) -> Served:
    """A server that reads the times of visits as those of another zone."""
    abroad, chosen = Shop(), random.Random(7)
    abroad.store("orders", orders(chosen, 600), START)
    moved = [{**visit, "seen_at": visit["seen_at"] - 4 * HOUR} for visit in visits(chosen, 600)]
    abroad.store("visits", moved, START)
    return abroad.right(rows)


BUGS: dict[str, tuple[Wrong, str]] = {
    "times of requests in New York": (moved(-5 * HOUR), "time zone"),
    "times of requests in Paris": (moved(HOUR), "time zone"),
    "times of requests in Delhi": (moved(timedelta(hours=5, minutes=30)), "time zone"),
    "times without a zone": (mapped(lambda v: v.replace(tzinfo=None) if isinstance(v, datetime) else v), "time zone"),
    "times that are shown in Tokyo": (mapped(lambda v: v + 9 * HOUR if isinstance(v, datetime) else v), "time zone"),
    "times of visits in Santiago": (visits_abroad, "time zone"),
    "0 for null": (mapped(lambda v: 0.0 if v is None else v), "null fill"),
    "an empty text for null": (mapped(lambda v: "" if v is None else v), "null fill"),
    "null for 0": (mapped(lambda v: None if v == 0 and not isinstance(v, bool) else v), "null fill"),
    "the last value for null": (filled_forward, "null fill"),
    "floats of 32 bits": (mapped(narrowed), "float width"),
    "a join by event time alone": (early, "leak through the join"),
    "features of the next visit": (next_visit, "leak through the join"),
    "windows that are not over": (running_hour, "leak through the join"),
}


@pytest.mark.parametrize(("wrong", "cause"), BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_found_and_named(shop: Shop, wrong: Wrong, cause: str) -> None:
    rows = asked()
    shop.serve(rows, lambda given: wrong(shop, list(given)))
    report = shop.prove()
    assert not report.equal
    assert set(causes(report)) == {cause}, parity_report.lines(report)
    counted = sum(each.values - each.equal for each in report.compared)
    assert causes(report)[cause] == counted > 0
    assert all(example.served != example.offline and example.entity for example in report.examples)


def test_late_data_is_found_and_named(shop: Shop) -> None:
    shop.serve(asked())
    late = [{**order, "order_id": f"late {order['order_id']}"} for order in orders(random.Random(3), 60)]
    shop.store("orders", late, NOW)
    report = shop.prove()
    assert set(causes(report)) == {"late data"}, parity_report.lines(report)
    assert {each.feature for each in report.differences} >= {"n_7d", "spent_7d", "share"}
    assert "score" not in {each.feature for each in report.differences}
    assert shop.prove(pairs=300).compared[1].equal == 300 * len(FEATURES), "late rows are no fault of a replay"


def test_rows_that_had_come_and_were_not_materialized_yet_are_late_data(shop: Shop) -> None:
    for row in sorted(asked(60), key=lambda row: row["event_timestamp"]):
        shop.serve([row])
        at = row["event_timestamp"] - timedelta(minutes=1)
        late = {**orders(random.Random(3), 1)[0], "order_id": f"late {at}", "customer": row["customer"],
                "shop": row["shop"], "ordered_at": at, "known_at": at}  # fmt: skip
        shop.store("orders", [late], at)
    report = shop.prove()
    assert set(causes(report)) == {"late data"}, parity_report.lines(report)
    assert {each.text for each in report.differences} == {"it had come, and was not materialized yet"}


def changed_clock() -> Project:
    """The project as it was before somebody changed the function of its on-demand features."""
    clock = PROJECT.on_demand["clock"].model_copy(update={"function": "features.parity_cases:other_clock"})
    return PROJECT.model_copy(update={"digest": "b" * 64, "on_demand": {"clock": clock}})


def changed_view() -> Project:
    """The project as it was before a view got another TTL, and with it another version."""
    profile = PROJECT.views["profile"].model_copy(update={"ttl": "12h", "version": 2})
    return PROJECT.model_copy(update={"digest": "c" * 64, "views": {**PROJECT.views, "profile": profile}})


@pytest.mark.parametrize(("project", "features"), [(changed_clock(), {"share"}),
                                                   (changed_view(), {"score", "page", "clicks", "seen_at", "scored"})],
                         ids=["function", "view"])  # fmt: skip
def test_another_version_of_the_code_is_found_and_named(shop: Shop, project: Project, features: set[str]) -> None:
    former = Shop(project=project, tables=shop.tables, blobs=shop.blobs)
    shop.serve(asked(), former.right, project=project)
    unknown = shop.prove()
    assert set(causes(unknown)) == {"unexplained"}
    assert all("which is not kept" in each.text for each in unknown.differences)
    shop.former[project.digest] = project
    report = shop.prove()
    assert set(causes(report)) == {"code version"}, parity_report.lines(report)
    assert {each.feature for each in report.differences} == features
    assert all(project.digest[:12] in each.text for each in report.differences)


def test_late_data_under_another_version_of_the_code_is_one_of_both(shop: Shop) -> None:
    project = changed_clock()
    former = Shop(project=project, tables=shop.tables, blobs=shop.blobs)
    shop.serve(asked(), former.right, project=project)
    shop.store("orders", [{**o, "order_id": f"late {o['order_id']}"} for o in orders(random.Random(3), 60)], NOW)
    shop.former[project.digest] = project
    assert set(causes(shop.prove())) == {"late data", "code version"}


def test_bugs_at_the_same_time_are_told_apart(shop: Shop) -> None:
    rows = asked()
    abroad = {n for n, row in enumerate(rows) if row["customer"] in ("c1", "c2")}

    def wrong(given: Any) -> Served:
        here, there = shop.right(given), shop.right(shifted(given, -5 * HOUR))
        both = [there[n] if n in abroad else here[n] for n in range(len(given))]
        return [{**said, "score": narrowed(said["score"]), "page": said["page"] or ""} for said in both]

    shop.serve(rows, wrong)
    report = shop.prove()
    found = {each.feature: {e.cause for e in report.differences if e.feature == each.feature}
             for each in report.differences}  # fmt: skip
    assert set(causes(report)) >= {"time zone", "float width", "null fill"}
    assert found["hour"] == {"time zone"}
    assert found["spent_7d"] == {"time zone"}
    assert "float width" in found["score"]
    assert "null fill" in found["page"]


def test_nonsense_is_not_explained(shop: Shop) -> None:
    shop.serve(asked(), lambda rows: mapped(lambda v: v + 0.125 if isinstance(v, float) else v)(shop, list(rows)))
    report = shop.prove()
    assert set(causes(report)) == {"unexplained"}


def test_a_server_that_is_wrong_about_the_history_is_found_by_replaying_it(shop: Shop) -> None:
    def wrong(project: Project, service: str, history: History, load: Load) -> parity.Replay:
        replay = shop.stand.replays(project, service, history, load)
        return lambda rows: [{name: narrowed(value) for name, value in said.items()} for said in replay(rows)]

    report = shop.prove(pairs=200, stand=replace(shop.stand, replays=wrong))
    assert set(causes(report)) == {"float width"}
    assert {each.way for each in report.differences} == {"replayed"}


# --- what there is to compare ------------------------------------------------------------


def test_nothing_to_compare_is_no_proof() -> None:
    with pytest.raises(InvalidInput, match="there is nothing to compare of checkout yet"):
        Shop().prove(pairs=10)


def test_answers_with_other_features_or_requests_are_left_out_and_said(shop: Shop) -> None:
    rows = asked(20)
    smaller = PROJECT.services[SERVICE].model_copy(update={"inputs": ("customer", "score")})
    project = PROJECT.model_copy(update={"services": {SERVICE: smaller}})
    shop.serve(rows[:5], project=project)
    shop.serve(rows[5:])
    report = shop.prove()
    assert report.compared[0].answers == 15
    assert report.notes == ("5 answers are not compared: their request or features are not what checkout has now",)


def pushed(shop: Shop, at: datetime) -> str:
    """Push an order of every shop's customer, and return the digest of the push."""
    rows = [{**orders(random.Random(3), 1)[0], "ordered_at": at, "known_at": at}]
    said = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
    stores: dict[str, Any] = {"project": shop.project, "tables": shop.tables, "blobs": shop.blobs}
    return push.push(shop.call(at), push.Push(source="orders", rows=said), identity="u", **stores).digest


def test_answers_since_a_push_that_waits_are_left_out_until_it_is_folded_in(shop: Shop) -> None:
    rows = sorted(asked(), key=lambda row: row["event_timestamp"])
    shop.serve(rows[:60])
    at = rows[60]["event_timestamp"]
    digest = pushed(shop, at)
    shop.serve(rows[60:], lambda given: [{**said, "n_7d": -1} for said in shop.right(given)])  # as if it were served
    report = shop.prove()
    before = sum(row["event_timestamp"] < at for row in rows)
    assert report.equal, parity_report.lines(report)
    assert report.compared[0].answers == before < 100
    assert report.notes == (
        f"{100 - before} answers are not compared yet: rows pushed since {at:%Y-%m-%d %H:%M:%S.%f} UTC wait to be "
        "folded in",
    )
    shop.tables.write([Delete("features", source_key(shop.workspace, "orders", f"{PENDING}{digest}"))])
    report = shop.prove()
    assert (report.equal, report.compared[0].answers, report.notes) == (False, 100, ())


def test_if_all_answers_wait_for_a_push_it_is_said_why_there_is_nothing_to_compare() -> None:
    shop = Shop()
    pushed(shop, START)
    shop.serve(asked(3))
    with pytest.raises(InvalidInput, match="3 answers are not compared yet: rows pushed since 2024-03-04"):
        shop.prove()


def test_only_the_newest_answers_of_too_many_are_read(shop: Shop) -> None:
    shop.serve(asked(50))
    (served,) = shop.prove(stand=replace(shop.stand, answered=30)).compared
    assert (served.answers, served.left_out) == (30, 20)


def test_causes_are_looked_for_in_some_of_too_many_rows(shop: Shop) -> None:
    shop.serve(asked(), lambda rows: mapped(narrowed)(shop, list(rows)))
    report = shop.prove(stand=replace(shop.stand, investigated=20))
    assert set(causes(report)) == {"float width", "not investigated"}
    assert any("of 100 rows that differ" in each.text for each in report.differences)


def test_offsets_are_those_of_zones() -> None:
    assert {timedelta(microseconds=offset) for offset in OFFSETS_US} >= {
        -5 * HOUR, HOUR, timedelta(hours=5, minutes=30), timedelta(hours=5, minutes=45), 13 * HOUR
    }  # fmt: skip
    assert 0 not in OFFSETS_US


# --- the report --------------------------------------------------------------------------


def test_a_report_comes_back_and_is_named_by_its_content(shop: Shop) -> None:
    shop.serve(asked(), lambda rows: mapped(narrowed)(shop, list(rows)))
    report = shop.prove(pairs=20)
    assert Report.model_validate_json(report.body()) == report
    assert parity_report.digest_of(report) == parity_report.digest_of(shop.prove(pairs=20))
    assert sum(each.count for each in report.told()) == sum(each.count for each in report.differences)


def test_a_page_shows_names_as_text() -> None:
    shop = Shop()
    shop.store("visits", [{**visit, "customer": "<b>c1</b>"} for visit in shop_visits()[:50]], START)
    rows = [{**row, "customer": "<b>c1</b>"} for row in asked(30)]
    shop.serve(rows, lambda given: mapped(lambda v: 0.0 if v is None else v)(shop, list(given)))
    page = parity_report.page(shop.prove())
    assert "&lt;b&gt;c1&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "null fill" in page
