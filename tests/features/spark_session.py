"""One small Spark on this machine for all tests of a run: starting it takes longer than most of what it is asked."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

LOOPBACK = "127.0.0.1"
SETTINGS: dict[str, bool | float | int | str | None] = {
    "spark.driver.bindAddress": LOOPBACK,
    "spark.driver.host": LOOPBACK,
    "spark.driver.memory": "1g",
    # Workers import what tests may: the functions of the projects of tests among it.
    "spark.executorEnv.PYTHONPATH": str(Path(__file__).parents[1]),
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def running() -> Iterator[SparkSession]:
    """Run Spark with two workers, which are this Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", LOOPBACK)
        session = SparkSession.builder.master("local[2]").appName("tests").config(map=SETTINGS).getOrCreate()
    try:
        yield session
    finally:
        session.stop()
