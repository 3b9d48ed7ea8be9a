"""Derived sources: rows that a team's function makes, from uploads and pushes, and what becomes of those it cannot."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.feature_cases import Stack
from modelwright import teamcode
from modelwright.events import BackfillRequested, Delivery, Envelope, FeaturesMaterialized, RowsHeld
from modelwright.features import online, refilling
from modelwright.log import new_id
from modelwright.project import Project

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIME, NUMBER = {"type": "timestamp"}, {"type": "number", "nullable": True}


def eased(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep positive readings, in another unit."""
    rows = rows[rows["value"] >= 0]
    if (rows["value"] == 13).any():
        raise ValueError("thirteen")
    return pd.DataFrame({"sensor": rows["sensor"], "at": rows["at"], "level": rows["value"] * 2})


def repaired(rows: pd.DataFrame) -> pd.DataFrame:
    """Say levels of every reading."""
    return pd.DataFrame({"sensor": rows["sensor"], "at": rows["at"], "level": rows["value"] * 2})


def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    """Say each level twice, once an hour later."""
    both = pd.concat([rows, rows.assign(at=rows["at"] + pd.Timedelta(hours=1))])
    return both.rename(columns={"level": "twice"})


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """Look at all rows."""
    return pd.DataFrame({"sensor": rows["sensor"], "at": rows["at"], "level": rows["value"].rank()})


def project(function: str = "eased") -> Project:
    here = "features.test_derived"
    columns = {"sensor": {"type": "string"}, "at": TIME}
    source = {"key": ["sensor", "at"], "event_time": "at"}
    return Project.model_validate(
        {
            "name": "plant",
            "sources": {
                "readings": {**source, "columns": {**columns, "value": NUMBER, "known": {**TIME, "nullable": True}},
                             "available_at": "known"},
                "levels": {**source, "columns": {**columns, "level": {"type": "number", "high": 1000}},
                           "derived": {"source": "readings", "function": f"{here}:{function}"}},
                "echoes": {**source, "columns": {**columns, "twice": NUMBER},
                           "derived": {"source": "levels", "function": f"{here}:doubled"}},
            },
            "views": {
                "level": {"entity": ["sensor"], "source": "levels", "features": ["level"]},
                "echo": {"entity": ["sensor"], "source": "echoes", "features": ["twice", "at"]},
                "total": {"entity": ["sensor"], "source": "levels", "windows": ["1d"],
                          "aggregates": {"sum": {"function": "sum", "column": "level"}}},
            },
        }
    )  # fmt: skip


def reading(value: float | None, *, hours_ago: float = 5, sensor: str = "a", known: float = 4) -> dict[str, Any]:
    at = NOW - timedelta(hours=hours_ago)
    return {"sensor": sensor, "at": at, "value": value, "known": NOW - timedelta(hours=known)}


def served(stack: Stack, feature: str, as_of: datetime = NOW, sensor: str = "a") -> Any:
    view, _, name = feature.partition(":")
    found = online.lookup(
        stack.project, {view: [name]}, [{"sensor": sensor}], as_of=as_of, tables=stack.tables, workspace="default"
    )
    return found[view].features[name].values[0]


def held(stack: Stack, source: str) -> list[RowsHeld]:
    stream = stack.log.read(f"WS#default#SOURCE#{source}")
    return [RowsHeld.model_validate(item.envelope.data) for item in stream if item.envelope.type == "RowsHeld"]


@pytest.mark.parametrize("way", ["upload", "push"])
def test_what_is_derived_is_served_down_the_chain(way: str) -> None:
    stack = Stack(project())
    if way == "upload":
        stack.upload("readings", [reading(3.0), reading(-1.0, hours_ago=4)], NOW)
    else:
        stack.push("readings", [reading(3.0), reading(-1.0, hours_ago=4)], NOW)
        stack.fold(NOW)
    assert served(stack, "level:level") == 6.0
    assert served(stack, "total:sum_1d") == 6.0
    assert served(stack, "echo:twice") == 6.0
    assert served(stack, "echo:at") == NOW - timedelta(hours=4)


def test_a_derived_row_becomes_known_when_the_row_does_that_it_is_made_from() -> None:
    stack = Stack(project())
    stack.upload("readings", [reading(3.0, hours_ago=5, known=2)], NOW)
    assert served(stack, "level:level", NOW - timedelta(hours=2, minutes=1)) is None
    assert served(stack, "level:level", NOW - timedelta(hours=2)) == 6.0


def test_a_correction_is_derived_again_and_what_was_served_before_stays() -> None:
    stack = Stack(project())
    stack.upload("readings", [reading(3.0, known=4)], NOW)
    stack.upload("readings", [reading(5.0, known=1)], NOW)
    assert served(stack, "level:level") == 10.0
    assert served(stack, "level:level", NOW - timedelta(hours=2)) == 6.0


def large(rows: pd.DataFrame) -> pd.DataFrame:
    rows["level"] = rows["value"]
    return rows[rows["value"] > 100]


def test_a_row_that_the_function_leaves_out_after_a_correction_stays_as_it_was() -> None:
    stack = Stack(project("large"))
    stack.upload("readings", [reading(300.0, known=4)], NOW)
    stack.upload("readings", [reading(5.0, known=1)], NOW)
    assert served(stack, "level:level") == 300.0


def test_rows_that_the_function_cannot_take_are_held_and_the_good_ones_go_on() -> None:
    stack = Stack(project())
    rows = [reading(float(n), sensor=f"s{n}", hours_ago=5) for n in range(20)]
    stack.upload("readings", [*rows, reading(900.0, sensor="big")], NOW)
    assert [served(stack, "level:level", sensor=f"s{n}") for n in (12, 13, 14)] == [24.0, None, 28.0]
    (event,) = held(stack, "levels")
    assert event.rows == 2
    assert sorted(event.reasons) == [
        "column level: beyond 1000.0 (held rows 2)",
        "the function raised ValueError (held rows 1)",
    ]
    kept = pq.read_table(io.BytesIO(stack.blobs.get("lake", event.key).body)).to_pylist()
    assert [(row["sensor"], row["_reason"]) for row in kept] == [
        ("s13", "the function raised ValueError: thirteen"),
        ("big", "column level: 1800.0 is beyond 1000.0"),
    ]


def test_what_is_told_of_rows_that_went_through_counts_those_of_the_same_upload_that_are_held() -> None:
    stack = Stack(project())
    stack.upload("readings", [reading(900.0, sensor="big"), reading(3.0)], NOW)
    assert told(stack, "levels") == [(1, 1, False)]
    assert told(stack, "readings") == [(2, 0, True)]
    stack.upload("readings", [reading(90.0, sensor="big", known=3)], NOW)
    assert told(stack, "levels") == [(1, 1, False), (1, 0, True)]


def test_a_backfill_by_a_repaired_function_tells_that_nothing_is_held_any_more() -> None:
    stack = Stack(project())
    stack.upload("readings", [reading(13.0), reading(3.0, sensor="b")], NOW)
    assert told(stack, "levels")[-1] == (1, 1, False)
    again(stack, "still held")
    assert told(stack, "levels")[-1] == (0, 1, False)
    stack.project = project("repaired")
    stack.load = teamcode.loader(stack.project, blobs=stack.blobs)
    again(stack, "repaired")
    assert told(stack, "levels")[-1] == (1, 0, True)
    assert served(stack, "level:level") == 26.0


def again(stack: Stack, name: str) -> None:
    """Derive the levels again."""
    event = BackfillRequested(backfill_id=name, source="levels", views=(), window=None)
    envelope = Envelope(
        id=new_id(), type="BackfillRequested", schema_version=1, workspace="default", stream="s", sequence=1,
        at=NOW, actor="a", correlation_id="c", data=event.model_dump(mode="json"),
    )  # fmt: skip
    delivery = Delivery(consumer="materialize", envelope=envelope, event=event)
    refilling.follow_request(delivery, stack.call(NOW), **stack.everything())


def told(stack: Stack, source: str) -> list[tuple[int, int, bool]]:
    """Return what was told of a source's rows: new ones, held ones, and whether that is all well."""
    kind = FeaturesMaterialized.detail_type()
    stream = [item.envelope for item in stack.log.read(f"WS#default#SOURCE#{source}") if item.envelope.type == kind]
    events = [FeaturesMaterialized.model_validate(envelope.data) for envelope in stream]
    return [(event.rows, event.held, event.whole) for event in events]


def test_a_function_that_looks_at_other_rows_is_refused() -> None:
    stack = Stack(project("ranked"))
    stack.upload("readings", [reading(float(n), sensor=f"s{n}") for n in range(5)], NOW)
    (event,) = held(stack, "levels")
    assert event.rows == 5
    assert "looks at other rows" in event.reasons[0]
    assert served(stack, "level:level", sensor="s1") is None


def test_numbers_that_cannot_be_added_up_are_held_and_others_of_the_file_are_not() -> None:
    plan = project().model_dump()
    plan["views"]["raw"] = {"entity": ["sensor"], "source": "readings", "windows": ["1d"],
                            "aggregates": {"sum": {"function": "sum", "column": "value"}}}  # fmt: skip
    stack = Stack(Project.model_validate(plan))
    stack.upload("readings", [reading(float("inf"), sensor="b"), reading(1e300, sensor="c"), reading(2.0)], NOW)
    assert served(stack, "raw:sum_1d") == 2.0
    (event,) = held(stack, "readings")
    assert (event.rows, event.upload_key) == (2, "readings/x.parquet")
    assert event.reasons[0] == "column value: a number cannot be added up in 6 decimals (held rows 1, 2)"


def test_the_same_upload_again_derives_nothing_twice() -> None:
    stack = Stack(project())
    delivery = stack.delivery("readings", [reading(3.0)], NOW)
    stack.deliver(delivery)
    stack.deliver(stack.delivery("readings", [reading(3.0)], NOW))
    assert served(stack, "total:sum_1d") == 6.0
