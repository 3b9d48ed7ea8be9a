"""What tests of features share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> "Iterator[SparkSession]":
    """A small Spark on this machine; the engine ``spark`` joins by it."""
    from features.spark_session import running

    with running() as session:
        yield session
