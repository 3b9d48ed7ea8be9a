"""The rows of Feast's file sources, as files that land here."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.errors import InvalidInput, NotFound
from modelwright.feast import data
from modelwright.feast.sources import Files
from modelwright.sources import Source

SOURCE = Source.model_validate(
    {
        "prefix": "trips/", "key": ["driver_id", "at"], "event_time": "at",
        "columns": {
            "driver_id": {"type": "integer"}, "at": {"type": "timestamp"}, "rate": {"type": "number", "nullable": True},
            "note": {"type": "string", "nullable": True},
        },
    }
)  # fmt: skip
NOON = datetime(2026, 1, 1, 12)
COLUMNS: dict[str, Any] = {
    "driver_id": pa.array([1, 2], pa.int32()),
    "at": pa.array([NOON, NOON], pa.timestamp("ns")),
    "rate": pa.array([0.5, None], pa.float32()),
    "memo": pa.array(["a", None]).dictionary_encode(),
    "vector": [[1.0], [2.0]],
}


def landed(folder: Path, columns: dict[str, Any], source: Source = SOURCE) -> list[pa.Table]:
    """Return what lands of a file with these columns."""
    pq.write_table(pa.table(columns), folder / "trips.parquet")
    files = Files("trips.parquet", {"memo": "note"}, "")
    return [pq.read_table(io.BytesIO(body)) for _, body in data.landing(source, files, folder)]


def test_columns_have_our_names_and_types_and_no_other_is_there(tmp_path: Path) -> None:
    (table,) = landed(tmp_path, COLUMNS)
    assert table.schema.names == ["driver_id", "at", "rate", "note"]
    assert [str(kind) for kind in table.schema.types] == ["int64", "timestamp[us, tz=UTC]", "double", "string"]
    assert table.to_pylist() == [
        {"driver_id": 1, "at": NOON.replace(tzinfo=UTC), "rate": 0.5, "note": "a"},
        {"driver_id": 2, "at": NOON.replace(tzinfo=UTC), "rate": None, "note": None},
    ]


def test_a_time_with_a_zone_is_the_same_moment(tmp_path: Path) -> None:
    berlin = pa.array([NOON.replace(tzinfo=UTC)] * 2, pa.timestamp("ms", tz="Europe/Berlin"))
    (table,) = landed(tmp_path, {**COLUMNS, "at": berlin})
    assert table["at"][0].as_py() == NOON.replace(tzinfo=UTC)


def test_many_rows_land_in_several_files(tmp_path: Path) -> None:
    rows = {"driver_id": [1, 2, 3, 4, 5], "at": [NOON] * 5, "rate": [0.5] * 5, "memo": ["a"] * 5}
    pq.write_table(pa.table(rows), tmp_path / "trips.parquet")
    tables = list(data.tables(SOURCE, Files("trips.parquet", {"memo": "note"}, ""), tmp_path, rows=2))
    assert [table.num_rows for table in tables] == [2, 2, 1]
    assert pa.concat_tables(tables)["driver_id"].to_pylist() == [1, 2, 3, 4, 5]


def test_a_folder_of_files_is_a_source_too(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for n in range(2):
        pq.write_table(pa.table(COLUMNS), tmp_path / "parts" / f"{n}.parquet")
    (found,) = data.landing(SOURCE, Files("parts", {"memo": "note"}, ""), tmp_path)
    assert found[0] == "trips/feast-00000.parquet"
    assert pq.read_table(io.BytesIO(found[1])).num_rows == 4


def test_rows_of_no_entity_get_the_key_that_is_always_empty(tmp_path: Path) -> None:
    columns = {"__dummy_id": {"type": "string"}, **SOURCE.model_dump()["columns"]}
    source = Source.model_validate({**SOURCE.model_dump(), "columns": columns, "key": ["__dummy_id", "at"]})
    (table,) = landed(tmp_path, COLUMNS, source)
    assert table["__dummy_id"].to_pylist() == ["", ""]


def test_a_column_that_is_not_there_or_of_another_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"trips\.parquet has no column rate: it has driver_id, at, note"):
        landed(tmp_path, {name: COLUMNS[name] for name in ("driver_id", "at", "memo")})
    with pytest.raises(InvalidInput, match=r"trips\.parquet: column driver_id is string, which is no integer"):
        landed(tmp_path, {**COLUMNS, "driver_id": ["one", "two"]})


def test_rows_that_are_not_there_or_no_parquet_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there are no rows at gone\.parquet"):
        list(data.landing(SOURCE, Files("gone.parquet", {}, ""), tmp_path))
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(InvalidInput, match=r"bad\.parquet is no Parquet"):
        list(data.landing(SOURCE, Files("bad.parquet", {}, ""), tmp_path))
