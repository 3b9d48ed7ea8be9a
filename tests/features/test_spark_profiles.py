"""Spark profiles what one machine profiles: counts exactly, distributions within the sketch's error."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.adapters import spark_profiles
from modelwright.errors import InvalidInput
from modelwright.monitoring.profiles import TOP, profile_file
from modelwright.project import Source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KINDS = {"id": "integer", "at": "timestamp", "x": "number", "n": "integer", "few": "string", "many": "string"}
SOURCE = Source.model_validate(
    {"columns": {name: {"type": kind} for name, kind in KINDS.items()}, "key": ["id", "few"], "event_time": "at"}
)
START = datetime(2026, 3, 2, 0, 0, 0, 7, tzinfo=UTC)


def rows(size: int) -> pa.Table:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(size)
    x[:30], x[30:50], x[50:60] = np.inf, -np.inf, np.nan
    columns: dict[str, Any] = {
        "id": rng.integers(0, size, size),
        "at": pa.array([START + timedelta(seconds=n) for n in range(size)], pa.timestamp("us", tz="UTC")),
        "x": pa.array(x, mask=rng.random(size) < 0.1),
        "n": rng.poisson(3, size),
        "few": [f"w{n}" for n in rng.integers(0, 9, size)],
        "many": [f"ä{n:05}" for n in rng.zipf(1.3, size).clip(1, 5000)],
    }
    return pa.table(columns)


def test_spark_profiles_what_one_machine_does(spark: "SparkSession", tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(rows(30_000), path)
    frame = spark.read.parquet(str(path)).repartition(3)
    found, expected = spark_profiles.profile(frame, "rows", SOURCE, "d"), profile_file(path, "rows", SOURCE, "d")
    estimated = {"sketch", "mean", "m2", "m3", "m4", "distinct", "mode_share"}
    assert found.model_dump(exclude={"columns"}) == expected.model_dump(exclude={"columns"})
    assert (found.duplicates or 0) > 1000
    for name, column in found.columns.items():
        whole = expected.columns[name]
        assert column.model_dump(exclude=estimated) == whole.model_dump(exclude=estimated), name
        if column.kind == "numbers":
            moments = [(one.mean, one.deviation, one.skewness, one.kurtosis) for one in (column, whole)]
            assert moments[0] == pytest.approx(moments[1], rel=1e-9, abs=1e-9)
            apart = np.max(np.abs(column.cumulative(whole.grid) - whole.cumulative(whole.grid)))
            assert apart <= (column.sketch.error + whole.sketch.error) / whole.count < 0.004
        else:
            assert (column.distinct, column.mode_share) == (whole.distinct, whole.mode_share)
    assert len(found.columns["many"].top) == TOP < found.columns["many"].distinct


def test_spark_says_what_it_cannot_profile(spark: "SparkSession") -> None:
    with pytest.raises(InvalidInput, match="no column n, few, many"):
        spark_profiles.profile(spark.sql("SELECT 1L id, current_timestamp() at, 2D x"), "rows", SOURCE, "d")
    untimed = spark.sql("SELECT 1L id, CAST(NULL AS TIMESTAMP) at, 2D x, 3L n, 'a' few, 'b' many")
    with pytest.raises(InvalidInput, match="no row has an event time"):
        spark_profiles.profile(untimed, "rows", SOURCE, "d")
