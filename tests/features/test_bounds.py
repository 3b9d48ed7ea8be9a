"""Rows that no item can hold are refused when they are pushed and held when they are uploaded; the others go on."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.feature_cases import Stack
from features.online_cases import NOW, PROJECT, profile, sale
from features.window_cases import PROJECT as TILL
from features.window_cases import sale as till_sale
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import InvalidInput
from modelwright.events import RowsHeld
from modelwright.features import online
from modelwright.features.bounds import ROW
from modelwright.project import Project
from modelwright.storage import Absent, Put

BAD: dict[str, tuple[Project, str, dict[str, Any], dict[str, Any], str]] = {
    "a key": (PROJECT, "sales", sale("good"), sale("bad", shop="x" * 2100), "the join key of view visit"),
    "a key with bars": (PROJECT, "sales", sale("good"), sale("bad", shop="|" * 1020), "the join key of view visit"),
    "a text": (PROJECT, "profiles", profile(1), profile(2, city="x" * ROW), "view profile keeps of it is more than"),
    "accents": (PROJECT, "profiles", profile(1), profile(2, city="é" * 90_000), "keeps of it is more than 250 KB"),
    "a text in a window": (
        TILL,
        "sales",
        till_sale("good", 0),
        till_sale("bad", 1, shop="x" * ROW),
        "view hours keeps",
    ),
    "an integer": (TILL, "sales", till_sale("good", 0), till_sale("bad", 1, pieces=2**53 + 1), "column pieces: "),
    "a negative one": (TILL, "sales", till_sale("good", 0), till_sale("bad", 1, pieces=-(2**63)), "column pieces"),
}


def entries(stack: Stack) -> list[str]:
    return [key.sk for key in stack.tables._items.get("features", {})]


def held(stack: Stack, source: str) -> list[RowsHeld]:
    found = [one.envelope for one in stack.log.read(f"WS#default#SOURCE#{source}")]
    return [RowsHeld.model_validate(one.data) for one in found if one.type == "RowsHeld"]


@pytest.mark.parametrize("case", BAD)
def test_a_push_that_no_item_can_hold_is_refused_and_nothing_of_it_is_kept(case: str) -> None:
    project, source, good, bad, text = BAD[case]
    stack = Stack(project)
    with pytest.raises(InvalidInput) as caught:
        stack.push(source, [good, bad], NOW)
    assert "row 1" in str(caught.value)
    assert text.partition(": ")[0] in str(caught.value)
    assert (entries(stack), list(stack.blobs.list("lake", ""))) == ([], [])
    stack.push(source, [good], NOW)
    assert stack.fold(NOW)[source] == 1


@pytest.mark.parametrize("case", BAD)
def test_an_uploaded_row_that_no_item_can_hold_is_held_and_the_others_go_on(case: str) -> None:
    project, source, good, bad, text = BAD[case]
    stack = Stack(project)
    stack.upload(source, [bad, good], NOW)
    (told,) = held(stack, source)
    assert told.rows == 1
    assert text in told.reasons[0]
    assert any(key in ("LATEST", "WINDOWS") for key in entries(stack))


def test_the_longest_key_and_text_that_are_taken_can_be_stored_and_served() -> None:
    stack = Stack(PROJECT)
    shop, city = "x" * (2048 - len("WS#default#ENTITY#visit@1#1|")), "é" * ((ROW - 200) // 6)
    stack.push("sales", [sale("s", shop=shop)], NOW)
    stack.push("profiles", [profile(1, city=city), profile(1, city=city, ago=timedelta(minutes=1))], NOW)
    stack.fold(NOW)
    asked: dict[str, Any] = {"as_of": NOW, "tables": stack.tables, "workspace": "default"}
    found = online.lookup(PROJECT, {"visit": ("amount",)}, [{"customer": 1, "shop": shop}], **asked)["visit"]
    assert list(found.of_rows(found.features["amount"].values)) == [10.0]
    found = online.lookup(PROJECT, {"profile": ("city",)}, [{"customer": 1}], **asked)["profile"]
    assert list(found.of_rows(found.features["city"].values)) == [city]


def test_text_that_is_none_is_refused() -> None:
    stack = Stack(PROJECT)
    with pytest.raises(InvalidInput, match="row 0, column city: half of a surrogate pair is no text"):
        stack.push("profiles", [profile(1, city="\ud800")], NOW)
    assert entries(stack) == []


@pytest.mark.parametrize(("column", "time_us"), [("since", 2**60), ("since", -(2**61)), ("at", 2**61)])
def test_a_time_that_no_calendar_has_is_held(column: str, time_us: int) -> None:
    stack = Stack(PROJECT)
    delivery = stack.delivery("profiles", [profile(1), profile(2)], NOW)
    table = pq.read_table(io.BytesIO(stack.blobs.get("lake", delivery.event.key).body))
    times = [time_us, table[column].cast(pa.int64())[1].as_py()]
    place = table.column_names.index(column)
    sink = io.BytesIO()
    pq.write_table(table.set_column(place, column, pa.array(times, pa.timestamp("us", tz="UTC"))), sink)
    stack.blobs.put("lake", delivery.event.key, sink.getvalue())
    stack.deliver(delivery)
    (told,) = held(stack, "profiles")
    assert (told.rows, told.reasons) == (1, (f"column {column}: outside the years 1 to 9999 (held rows 1)",))


def test_the_last_moment_that_there_is_can_be_stored() -> None:
    stack = Stack(PROJECT)
    stack.upload("profiles", [profile(1, at=datetime.max.replace(tzinfo=UTC))], NOW)
    assert held(stack, "profiles") == []


def test_memory_refuses_an_item_that_dynamodb_would_refuse() -> None:
    tables = MemoryTables()
    with pytest.raises(ValueError, match="has 409610 bytes"):
        tables.write([Put("features", {"pk": "a", "sk": "b", "x": "y" * (400 * 1024 + 3)}, Absent())])
    tables.write([Put("features", {"pk": "a", "sk": "b", "x": "y" * (400 * 1024 - 7)}, Absent())])
