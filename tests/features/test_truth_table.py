"""The point-in-time join, rule by rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from features.offline_cases import EPOCH, Offline
from modelwright.errors import InvalidInput, NotFound
from modelwright.project import Project

PROJECT = Project.model_validate(
    {
        "name": "shop",
        "sources": {
            "profiles": {
                "columns": {
                    "row": {"type": "integer"},
                    "customer": {"type": "string", "nullable": True},
                    "at": {"type": "timestamp", "nullable": True},
                    "created": {"type": "timestamp"},
                    "score": {"type": "number", "nullable": True},
                    "city": {"type": "string", "nullable": True},
                },
                "key": ["row"],
                "event_time": "at",
                "available_at": "created",
            }
        },
        "views": {
            "profile": {"entity": ["customer"], "source": "profiles", "features": ["score", "city"], "ttl": "1d"},
            "forever": {"entity": ["customer"], "source": "profiles", "features": ["score"]},
            "pair": {"entity": ["customer", "city"], "source": "profiles", "features": ["score"]},
            "spent": {
                "entity": ["customer"],
                "source": "profiles",
                "aggregates": {"n": {"function": "count"}, "total": {"function": "sum", "column": "score"}},
                "windows": ["2h"],
            },
        },
    }
)


def hours(number: float) -> datetime:
    return EPOCH + timedelta(hours=number)


def seen(row: int, at: float | None, score: float | None = None, created: float | None = None, **other: Any) -> Any:
    """Return a row of Ann that was so at an hour and known from another on, by default the same."""
    when = None if at is None else hours(at)
    known = hours(created if created is not None else at or 0)
    return {"row": row, "customer": "ann", "at": when, "created": known, "score": score, "city": "Bonn", **other}


def asks(*times: float | None, customer: str | None = "ann") -> list[dict[str, Any]]:
    return [{"customer": customer, "event_timestamp": None if t is None else hours(t)} for t in times]


def scores(rows: list[Any], *times: float, view: str = "profile", **options: Any) -> list[Any]:
    store = Offline(PROJECT)
    store.put("profiles", rows, "a")
    return [row[f"{view}:score"] for row in store.ask(asks(*times), [f"{view}:score"], **options)]


def test_the_latest_event_before_the_time_is_served() -> None:
    assert scores([seen(1, 0, 1.0), seen(2, 2, 2.0), seen(3, 4, 3.0)], 1, 3, 9) == [1.0, 2.0, 3.0]


def test_an_event_at_the_very_time_counts() -> None:
    assert scores([seen(1, 0, 1.0), seen(2, 2, 2.0)], 2) == [2.0]


def test_an_event_a_microsecond_later_does_not_count() -> None:
    assert scores([seen(1, 2 + 1 / 3.6e9, 1.0)], 2) == [None]


def test_an_event_exactly_as_old_as_the_ttl_counts() -> None:
    assert scores([seen(1, 0, 1.0)], 24) == [1.0]


def test_an_event_a_microsecond_older_than_the_ttl_does_not_count() -> None:
    assert scores([seen(1, 0, 1.0)], 24 + 1 / 3.6e9) == [None]


def test_without_a_ttl_no_event_is_too_old() -> None:
    assert scores([seen(1, 0, 1.0)], 24 * 400, view="forever") == [1.0]


def test_of_events_at_one_time_the_one_created_last_wins() -> None:
    assert scores([seen(1, 0, 1.0, 3), seen(2, 0, 2.0, 5), seen(3, 0, 3.0, 4)], 6) == [2.0]


@pytest.mark.parametrize("shift", range(4))
def test_a_tie_of_forty_goes_to_the_one_created_last(shift: int) -> None:
    order = [(n * 7 + shift * 10) % 40 for n in range(40)]
    assert scores([seen(n, 0, float(n), n / 10) for n in order], 6) == [39.0]


def test_a_tie_of_forty_goes_to_the_last_of_those_created_by_then() -> None:
    rows = [seen(n, 0, float(n), n / 10) for n in range(40)]
    assert scores(rows, 0, 0.05, 1, 2, 3.85) == [0.0, 0.0, 10.0, 20.0, 38.0]


def test_what_was_created_after_the_time_does_not_count() -> None:
    assert scores([seen(1, 0, 1.0), seen(2, 1, 2.0, created=5)], 4, 5) == [1.0, 2.0]


def test_on_request_event_time_alone_counts() -> None:
    assert scores([seen(1, 0, 1.0), seen(2, 1, 2.0, created=5)], 0.5, 4, available=False) == [1.0, 2.0]


def test_by_event_time_alone_the_correction_counts_from_the_beginning() -> None:
    rows = [seen(1, 0, 1.0, created=0), seen(1, 0, 7.0, created=5)]
    assert scores(rows, 1, available=False) == [7.0]
    assert scores(rows, 1, 4.9, 5) == [1.0, 1.0, 7.0]


def test_a_null_is_served_as_a_null_and_nothing_is_filled_forward() -> None:
    assert scores([seen(1, 0, 1.0), seen(2, 1, None)], 2) == [None]


def test_an_unknown_entity_keeps_its_row_and_gets_nulls() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0)], "a")
    assert store.ask(asks(2, customer="bob"), ["profile:score", "spent:n_2h", "spent:total_2h"]) == [
        {"profile:score": None, "spent:n_2h": 0, "spent:total_2h": 0.0}
    ]


def test_a_source_without_rows_gives_nulls_and_sums_of_nothing() -> None:
    assert Offline(PROJECT).ask(asks(2), ["profile:score", "profile:city", "spent:total_2h"]) == [
        {"profile:score": None, "profile:city": None, "spent:total_2h": 0.0}
    ]


def test_a_null_key_keeps_its_row_and_gets_nulls() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0), seen(2, 0, 2.0, customer=None)], "a")
    assert store.ask(asks(2, customer=None), ["profile:score", "spent:n_2h"]) == [
        {"profile:score": None, "spent:n_2h": None}
    ]


def test_half_a_composite_key_is_no_key() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0), seen(2, 0, 2.0, city=None), seen(3, 0, 3.0, city="Ulm")], "a")
    rows = [{"customer": "ann", "city": city, "event_timestamp": hours(1)} for city in ("Bonn", None, "Ulm", "Rom")]
    assert [row["pair:score"] for row in store.ask(rows, ["pair:score"])] == [1.0, None, 3.0, None]


def test_a_null_time_keeps_its_row_and_gets_nulls() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0)], "a")
    assert store.ask(asks(None, 1), ["profile:score", "spent:n_2h"]) == [
        {"profile:score": None, "spent:n_2h": None},
        {"profile:score": 1.0, "spent:n_2h": 1},
    ]
    assert store.ask(asks(None), ["profile:score", "spent:n_2h"]) == [{"profile:score": None, "spent:n_2h": None}]


def test_an_event_without_a_time_is_never_the_latest() -> None:
    assert scores([seen(1, None, 1.0, created=0)], 2) == [None]


def test_rows_come_back_in_their_order_and_as_often_as_they_were_asked_with_all_their_columns() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0), seen(2, 2, 2.0)], "a")
    table = store.request(asks(3, 1, 3, 1), ["profile:score"]).append_column("label", pa.array([1, 0, 0, 1]))
    found = store.asked(table, ["profile:score"])
    assert found["profile:score"].to_pylist() == [2.0, 1.0, 2.0, 1.0]
    assert found["label"].to_pylist() == [1, 0, 0, 1]
    assert found.select(table.column_names) == table


def test_no_rows_give_no_rows() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0)], "a")
    assert store.ask([], ["profile:score", "spent:n_2h"]) == []


@pytest.mark.parametrize(
    "times",
    [
        pa.array([datetime(2026, 1, 1, 2)], pa.timestamp("us")),
        pa.array([datetime(2026, 1, 1, 2)], pa.timestamp("ns")),
        pa.array([1_767_232_800_000_000_001], pa.timestamp("ns")),
        pa.array([1_767_232_800_000_000_001], pa.timestamp("ns", tz="UTC")),
        pa.array([datetime(2026, 1, 1, 2, tzinfo=UTC)], pa.timestamp("s", tz="UTC")),
        pa.array([datetime(2026, 1, 1, 2, tzinfo=UTC)], pa.timestamp("us", tz="Asia/Tokyo")),
        pa.array(["2026-01-01T02:00:00"]),
        pa.array(["2026-01-01T11:00:00+09:00"], pa.large_string()),
        pa.array(["2026-01-01 02:00:00Z"]).dictionary_encode(),
    ],
    ids=[
        "naive",
        "naive in nanoseconds",
        "naive and finer",
        "finer",
        "in UTC",
        "in Tokyo",
        "naive text",
        "text",
        "encoded text",
    ],
)
def test_a_time_without_a_zone_is_in_utc_and_any_other_is_what_it_says(times: Any) -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 1, 1.0), seen(2, 2.5, 2.0)], "a")
    found = store.asked(pa.table({"customer": ["ann"], "event_timestamp": times}), ["profile:score"])
    assert found["profile:score"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (pa.array([None, "yesterday"]), "row 1, column event_timestamp: .*yesterday"),
        (pa.array([2**60], pa.timestamp("s")), "column event_timestamp is no timestamp"),
        (pa.array([1.5]), "column event_timestamp is no timestamp"),
    ],
    ids=["no time", "out of range", "a number"],
)
def test_what_is_no_time_is_refused_and_named(times: Any, said: str) -> None:
    rows = pa.table({"customer": ["ann"] * len(times), "event_timestamp": times})
    with pytest.raises(InvalidInput, match=said):
        Offline(PROJECT).asked(rows, ["profile:score"])


def test_a_correction_counts_from_when_it_became_known_and_does_not_erase_what_was_known_before() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 0, 1.0, created=0)], "a")
    store.put("profiles", [seen(1, 0, 7.0, created=5)], "b")
    found = store.ask(asks(1, 4.999, 5, 6), ["profile:score", "spent:n_2h", "spent:total_2h"])
    assert [row["profile:score"] for row in found] == [1.0, 1.0, 7.0, 7.0]
    assert [row["spent:total_2h"] for row in found] == [1.0, 0.0, 0.0, 7.0]


def test_a_row_that_is_corrected_into_another_time_is_no_longer_at_its_old_one() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 3, 1.0), seen(2, 1, 2.0)], "a")
    store.put("profiles", [seen(1, 0, 7.0, created=5)], "b")
    assert [row["profile:score"] for row in store.ask(asks(4, 6), ["profile:score"])] == [1.0, 2.0]


def test_a_row_that_is_corrected_into_another_entity_leaves_its_old_one() -> None:
    store = Offline(PROJECT)
    store.put("profiles", [seen(1, 3, 1.0)], "a")
    store.put("profiles", [seen(1, 3, 7.0, created=5, customer="bob")], "b")
    assert [row["forever:score"] for row in store.ask(asks(4, 6), ["forever:score"])] == [1.0, None]
    assert [row["forever:score"] for row in store.ask(asks(4, 6, customer="bob"), ["forever:score"])] == [None, 7.0]


@pytest.mark.parametrize("hidden", [0, 1, 3, 4, 5, 6, 40, 257])
@pytest.mark.parametrize("kind", ["not known yet", "ended", "both by turns"])
def test_any_number_of_versions_that_do_not_count_is_stepped_over(hidden: int, kind: str) -> None:
    rows, moved = [seen(0, 0, 0.5)], []
    for n in range(1, hidden + 1):
        if kind == "ended" or (kind == "both by turns" and n % 2):
            rows.append(seen(n, n / 1000, float(n)))
            moved.append(seen(n, n / 1000, 9.0, created=1, customer="bob"))
        else:
            rows.append(seen(n, n / 1000, float(n), created=20))
    store = Offline(PROJECT)
    store.put("profiles", rows, "a")
    store.put("profiles", moved, "b")
    found = store.ask([*asks(2), *asks(2, customer="bob"), *asks(2, customer="cyd")], ["forever:score"])
    assert [row["forever:score"] for row in found] == [0.5, 9.0 if moved else None, None]


def test_a_feature_that_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(NotFound, match="feature view profile has no feature scroe: it has score, city"):
        Offline(PROJECT).ask(asks(1), ["profile:scroe"])


def test_a_missing_join_key_is_named_with_what_is_needed() -> None:
    table = pa.table({"event_timestamp": pa.array([hours(1)], pa.timestamp("us", tz="UTC"))})
    with pytest.raises(InvalidInput, match="the rows lack the column customer"):
        Offline(PROJECT).asked(table, ["profile:score"])


def test_a_join_key_of_another_type_is_named() -> None:
    table = pa.table({"customer": [{"a": 1}], "event_timestamp": pa.array([hours(1)], pa.timestamp("us", tz="UTC"))})
    with pytest.raises(InvalidInput, match="column customer is no string"):
        Offline(PROJECT).asked(table, ["profile:score"])
