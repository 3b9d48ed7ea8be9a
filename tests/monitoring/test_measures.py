"""Parquet tables of profiles and verdicts, as others read them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from modelwright.events import ColumnDrift, DriftDetected
from modelwright.monitoring import measures
from modelwright.monitoring.profiles import Profile, profile_of
from modelwright.monitoring.reading import parquet_bytes
from modelwright.monitoring.report import WindowReport
from modelwright.project import Column, Project, Source
from monitoring.desk import Desk

DAY = datetime(2024, 3, 1, tzinfo=UTC)
TRIPS = Source(
    columns={
        "id": Column(type="integer"), "at": Column(type="timestamp"), "distance": Column(type="number", nullable=True),
        "carrier": Column(type="string"), "empty": Column(type="number", nullable=True),
    },
    key=("id",), event_time="at",
)  # fmt: skip


def profile(day: int, rows: int = 100) -> Profile:
    at = [DAY + timedelta(days=day, minutes=place) for place in range(rows)]
    table = pa.table({
        "id": list(range(rows)), "at": pa.array(at, pa.timestamp("us", "UTC")),
        "distance": pa.array([None, *(float(place) for place in range(1, rows))], pa.float64()),
        "carrier": ["AA", "UA"] * (rows // 2), "empty": pa.nulls(rows, pa.float64()),
    })  # fmt: skip
    return profile_of(table, "trips", TRIPS, f"digest{day}")


def verdicts(effect: float) -> list[ColumnDrift]:
    shared = {"detector": "ks", "floor": 0.1, "p_value": 0.01, "reference": "the 28 days before"}
    return [
        ColumnDrift(column="distance", effect=effect, drifted=effect > 0.1, p_adjusted=0.02, since=DAY, **shared),
        ColumnDrift(column="distance", effect=0.3, drifted=True, segment="carrier = AA", **shared),
    ]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    bodies: dict[str, bytes] = {}
    for day in range(3):
        bodies |= measures.profile_metrics(profile(day), "default", "trips")
        bodies |= measures.drift_metrics(profile(day), verdicts(0.05 * (day + 1)), "default", "trips")
        bodies |= measures.profile_metrics(profile(day, 50), "default", "others")
    for key, body in bodies.items():
        place = folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    return folder


def of(lake: Path, table: str) -> pa.Table:
    partitioning = ds.partitioning(pa.schema([("source", pa.string()), ("dt", pa.string())]), flavor="hive")
    return ds.dataset(lake / "tables" / "default" / table, partitioning=partitioning).to_table()


def test_pyarrow_finds_source_and_day_in_the_path(lake: Path) -> None:
    found = of(lake, "profile_metrics")
    assert set(found.column("source").to_pylist()) == {"trips", "others"}
    assert sorted(set(found.column("dt").to_pylist())) == ["2024-03-01", "2024-03-02", "2024-03-03"]
    assert found.schema.names == [*measures.PROFILE_METRICS.names, "source", "dt"]


def test_a_metric_is_what_the_profile_says(lake: Path) -> None:
    found = of(lake, "profile_metrics")
    wanted = (pc.field("source") == "trips") & (pc.field("dt") == "2024-03-02") & (pc.field("column") == "distance")
    told = dict(zip(*(found.filter(wanted).column(name).to_pylist() for name in ("metric", "value")), strict=True))
    values = np.arange(1.0, 100.0)
    assert (told["rows"], told["missing"], told["missing_rate"]) == (100, 1, 0.01)
    assert told["mean"] == pytest.approx(values.mean())
    assert told["deviation"] == pytest.approx(values.std())
    assert told["p50"] == pytest.approx(50)
    assert told["p95"] == pytest.approx(np.quantile(values, 0.95))


def test_a_column_without_values_has_its_missing_rate_and_nothing_more(lake: Path) -> None:
    found = of(lake, "profile_metrics").filter((pc.field("column") == "empty") & (pc.field("dt") == "2024-03-01"))
    assert set(found.column("metric").to_pylist()) == {"rows", "missing", "missing_rate"}


def test_sql_asks_when_a_column_began_to_drift(lake: Path) -> None:
    files = f"{lake}/tables/*/drift_metrics/**/*.parquet"
    found = duckdb.sql(
        "select dt, effect / floor as strength, drifted, p_adjusted from "
        f"read_parquet('{files}', hive_partitioning = true) "
        "where source = 'trips' and \"column\" = 'distance' and segment = '' order by dt"
    )
    assert found is not None
    asked = found.fetchall()
    assert [drifted for _, _, drifted, _ in asked] == [False, False, True]
    assert [strength for _, strength, _, _ in asked] == pytest.approx([0.5, 1.0, 1.5])
    assert {p for *_, p in asked} == {0.02}


def test_keys_name_people_and_are_left_out() -> None:
    (body,) = measures.profile_metrics(profile(0), "default", "trips", left_out=TRIPS.key).values()
    assert "id" not in pq.read_table(pa.BufferReader(body)).column("column").to_pylist()


def test_what_is_not_known_is_null(lake: Path) -> None:
    found = of(lake, "drift_metrics").filter(pc.field("segment") != "")
    assert set(found.column("p_adjusted").to_pylist()) == {None}
    assert set(found.column("since").to_pylist()) == {None}


def test_the_same_window_is_the_same_file_to_the_byte() -> None:
    assert measures.profile_metrics(profile(1), "default", "trips") == measures.profile_metrics(
        profile(1), "default", "trips"
    )
    first, second = (measures.drift_metrics(profile(1), verdicts(0.2), "default", "trips") for _ in range(2))
    assert first == second
    assert list(first) == ["tables/default/drift_metrics/source=trips/dt=2024-03-02/digest1.parquet"]


def test_a_window_that_was_not_compared_has_no_drift_metrics() -> None:
    assert measures.drift_metrics(profile(1), [], "default", "trips") == {}


def body(day: int, shift: float = 0.0) -> bytes:
    random = np.random.default_rng(day)
    at = [DAY + timedelta(days=day, seconds=place) for place in range(300)]
    table = pa.table({
        "id": [day * 1000 + place for place in range(300)], "at": pa.array(at, pa.timestamp("us", "UTC")),
        "distance": random.normal(shift, 1, 300), "carrier": ["AA", "UA"] * 150, "empty": [1.0, 2.0, 3.0] * 100,
    })  # fmt: skip
    return parquet_bytes(table)


def test_accepted_uploads_leave_tables_and_a_report_in_the_lake() -> None:
    source = TRIPS.model_copy(update={"prefix": "trips/", "checks": ()})
    desk = Desk(Project(name="tiny", sources={"trips": source}))
    for day in range(6):
        said = desk.land(f"trips/{day}.parquet", body(day, shift=2.0 if day > 3 else 0.0))
        assert said.startswith("accepted"), said
    keys = [listed.key for listed in desk.blobs.list("lake", "tables/default/")]
    assert len([key for key in keys if "/profile_metrics/source=trips/dt=2024-03-0" in key]) == 6
    newest = next(key for key in keys if "/drift_metrics/source=trips/dt=2024-03-06/" in key)
    table = pq.read_table(pa.BufferReader(desk.blobs.get("lake", newest).body))
    drifted = table.filter(pc.field("drifted")).column("column").to_pylist()
    assert set(drifted) == {"distance"}
    (event,) = desk.events(DriftDetected, "trips")
    report = WindowReport.model_validate_json(desk.blobs.get("lake", event.report_key.replace(".html", ".json")).body)
    assert {one.name for one in report.columns if one.drifted} == {"distance"}
    assert "id" not in {one.name for one in report.columns}
    assert desk.blobs.get("lake", event.report_key).body.startswith(b"<!doctype html>")
