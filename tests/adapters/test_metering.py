"""What is counted: DynamoDB's documented units."""

from typing import Any

import pytest

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.adapters.metering import Meter, MeteredBlobs, MeteredTables, item_size
from modelwright.storage import Absent, Anything, Is, Key, Put, Update


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def tables(meter: Meter) -> MeteredTables:
    return MeteredTables(MemoryTables(), meter)


def put(sk: str, size: int, **more: Any) -> Put:
    item = {"pk": "p", "sk": sk, "x": "", **more}
    return Put("log", {**item, "x": "x" * (size - item_size(item))}, Absent())


def test_the_size_of_an_item_is_that_of_its_names_and_values() -> None:
    assert item_size({"pk": "12", "n": 100, "b": b"123", "t": True}) == (2 + 2) + (1 + 3) + (1 + 3) + (1 + 1)
    assert item_size({"m": {"ab": "c"}, "l": ["é"]}) == (1 + 3 + 2 + 1 + 1) + (1 + 3 + 1 + 2)


@pytest.mark.parametrize(("size", "units"), [(100, 1), (1024, 1), (1025, 2), (4096, 4)])
def test_a_write_costs_a_unit_per_started_kilobyte(tables: MeteredTables, meter: Meter, size: int, units: int) -> None:
    tables.write([put("a", size)])
    assert (meter.write_units, meter.table_calls) == (units, 1)


def test_a_transaction_costs_twice_but_an_index_once(tables: MeteredTables, meter: Meter) -> None:
    tables.write([put("a", 1000), put("b", 1500, by_hour_pk="h", by_hour_sk="1")])
    assert meter.write_units == 2 * 1 + 2 * 2 + 2


def test_raising_entries_costs_the_whole_item_even_if_refused(tables: MeteredTables, meter: Meter) -> None:
    tables.write([Put("log", {"pk": "p", "sk": "a", "s": "open", "n": 0, "m": {}, "x": "x" * 1500}, Anything())])
    meter.take()
    for _ in range(2):
        tables.raise_entries("log", Key("p", "a"), "m", {"k": b"1"}, guard=Is("s", "open"), counter="n")
    assert (meter.write_units, meter.table_calls) == (4, 2)
    tables.raise_entries("log", Key("p", "none"), "m", {"k": b"1"}, guard=Is("s", "open"), counter="n")
    assert meter.write_units == 5


def test_reads_cost_a_unit_per_started_four_kilobytes(tables: MeteredTables, meter: Meter) -> None:
    tables.write_many("log", [put(f"{n:03d}", 1024).item for n in range(10)])
    assert meter.take()["write_units"] == 10
    tables.query("log", "p")
    assert (meter.read_units, meter.table_calls) == (3, 1)
    meter.take()
    tables.batch_get("log", [Key("p", f"{n:03d}") for n in range(10)])
    assert meter.read_units == 10
    assert tables.get("log", Key("p", "none")) is None
    assert meter.read_units == 11


def test_an_update_costs_at_least_a_unit(tables: MeteredTables, meter: Meter) -> None:
    tables.write([put("a", 100)])
    tables.write([Update("log", Key("p", "a"), {"y": "1"})])
    assert meter.write_units == 2


def test_objects_cost_calls_and_bytes(meter: Meter) -> None:
    blobs = MeteredBlobs(MemoryBlobs(), meter)
    blobs.put("lake", "a", b"12345")
    assert blobs.get_range("lake", "a", 1, 3) == b"234"
    blobs.get("lake", "a")
    assert meter.take() | {} == {
        "read_units": 0, "write_units": 0, "table_calls": 0, "s3_reads": 2, "s3_writes": 1, "s3_bytes": 5 + 3 + 5,
        "answers_not_logged": 0,
    }  # fmt: skip
