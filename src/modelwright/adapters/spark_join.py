"""The point-in-time join over Spark: what goes to which worker.

Spark moves bytes and knows no column. Its workers (``spark_workers``) read files of entity rows and partitions of
history and cut them into buckets by the join key's one spelling; Spark brings a bucket together; a worker runs
``arrow.point_in_time`` on it, as the engine ``arrow`` does; and the features go back to the file that their rows came
from, in its order. What one worker gives to another is a row ``(place, kind, body)`` whose body is a table as an Arrow
stream: no value is converted on its way, and the same plan runs on Spark 3.5, which EMR Serverless has, and on Spark 4.

There is one shuffle for each combination of join keys, and one that puts rows in order. One worker joins all rows of an
entity, so that its history has to fit there; rows that join nothing, because a key is null, are spread.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from modelwright.adapters import spark_workers as workers
from modelwright.adapters.spark_workers import Extent, Work
from modelwright.errors import InvalidInput
from modelwright.features import aggregates, arrow
from modelwright.features.history import Partition
from modelwright.features.plan import Plan
from modelwright.features.remote import Part
from modelwright.project import Project

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_SPREAD = 16
_SETTINGS = {"spark.sql.adaptive.enabled": "false", "spark.sql.execution.arrow.maxRecordsPerBatch": "8"}
"""A row is a table here, so that few fill a batch; and partitions are even already."""


def reached(
    plan: Plan,
    project: Project,
    partitions: Mapping[str, Sequence[Partition]],
    span: tuple[int, int],
    *,
    available: bool,
) -> dict[str, tuple[Partition, ...]]:
    """Return those partitions of the sources that rows as of times in a span can need.

    Raises:
        InvalidInput: a view's aggregations do not fit its source, or its join keys have another type in the request.
    """
    found: dict[str, dict[Partition, None]] = {}
    for name, view in plan.views.items():
        source = project.sources[view.source]
        aggregates.sound(name, view, source)
        arrow.joinable(plan, name, view, source)
        chosen = arrow.needed(view, plan.features(name), partitions[view.source], span, available=available)
        found.setdefault(view.source, {}).update(dict.fromkeys(chosen))
    return {source: tuple(chosen) for source, chosen in found.items()}


def joined(spark: "SparkSession", work: Work, rows: int) -> tuple[Part, ...]:
    """Join all files of entity rows and return the answer's parts, one for each of them, in order.

    Args:
        spark: a session; its settings are left as they are.
        work: what to join.
        rows: how many entity rows there are, about.

    Raises:
        InvalidInput: a file lacks a request column, or a value is too large to be added up.
    """
    spark = _configured(spark)
    places = even_places(spark, len(work.files))
    answers = _read(spark, len(work.files), partial(workers.addressed, places))
    for entity in work.stages():
        history = sum(p.rows for source in work.sources(entity) for p in work.partitions[source])
        buckets = even_places(spark, -(-(rows + history) // work.bucket_rows) or 1)
        tasks = len(work.files) + sum(len(work.partitions[source]) for source in work.sources(entity))
        cut = _read(spark, tasks, partial(workers.cut, work, entity, buckets)).repartition(len(buckets), "place")
        answers = answers.union(_mapped(cut, partial(workers.joined, work, entity, places)))
    parts = _collected(_mapped(answers.repartition(len(places), "place"), partial(workers.assembled, work)))
    found = {int(row["place"]): Part.model_validate_json(row["kind"]) for row in parts}
    return tuple(found[n] for n in range(len(work.files)))


def extents(spark: "SparkSession", work: Work) -> tuple[Extent, ...]:
    """Return what each file of entity rows holds, without joining it."""
    spark = _configured(spark)
    rows = _collected(_read(spark, len(work.files), partial(workers.measured, work)))
    found = {int(row["place"]): Extent.model_validate_json(row["kind"]) for row in rows}
    return tuple(found[n] for n in range(len(work.files)))


def _configured(spark: "SparkSession") -> "SparkSession":
    """Return a session of the same application with settings of its own."""
    session = spark.newSession()
    for name, value in _SETTINGS.items():
        session.conf.set(name, value)
    return session


def _read(spark: "SparkSession", tasks: int, function: Callable[..., Any]) -> "DataFrame":
    """Let workers make messages of the numbers of tasks."""
    parallel = spark.sparkContext.defaultParallelism
    return _mapped(spark.range(0, tasks, 1, max(1, min(tasks, _SPREAD * parallel))), function)


def _mapped(frame: "DataFrame", function: Callable[..., Any]) -> "DataFrame":
    with warnings.catch_warnings():
        # Spark doubts pandas 3, of which no function here makes use.
        warnings.simplefilter("ignore", FutureWarning)
        return frame.mapInArrow(function, workers.SCHEMA)


def _collected(frame: "DataFrame") -> "list[Row]":
    """Return the rows of a frame; raises ``InvalidInput`` where a worker did."""
    from pyspark.errors import PythonException

    try:
        return frame.collect()
    except PythonException as error:
        for line in str(error).splitlines():
            name, found, text = line.partition(": ")
            if found and name.strip() == f"{InvalidInput.__module__}.{InvalidInput.__name__}":
                raise InvalidInput(text, logged="a column of the entities or rows is not as declared") from error
        raise


def even_places(spark: "SparkSession", count: int) -> tuple[int, ...]:
    """Return so many numbers that Spark puts into as many different partitions, one each.

    Small numbers would collide, and leave some workers with two buckets and others with none.
    """
    from pyspark.sql import functions

    if count == 1:
        return (0,)
    partition = functions.pmod(functions.hash("id"), functions.lit(count)).alias("partition")
    candidates = spark.range(0, _SPREAD * count, 1, 1).select("id", partition).collect()
    found = {row["partition"]: row["id"] for row in reversed(candidates)}
    # Spark may divide otherwise one day: then there are collisions, and still all of a number in one place.
    return tuple(found.get(n, _SPREAD * count + n) for n in range(count))
