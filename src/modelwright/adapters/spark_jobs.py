"""What a job on EMR Serverless does: it answers a ``remote.Query``; ``infra/spark/historical.py`` is its file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelwright.adapters.s3 import S3Blobs
from modelwright.adapters.spark_join import extents, joined, reached
from modelwright.adapters.spark_workers import Work
from modelwright.errors import InvalidInput
from modelwright.features.layout import about_path
from modelwright.features.remote import Answer, Failure, Query, answer_key, dataset_digest
from modelwright.log import canonical
from modelwright.storage import Blobs, BucketName

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(spark: "SparkSession", query_key: str, buckets: Callable[[], Any]) -> Answer | Failure:
    """Answer a query and store the answer, or why there is none.

    Args:
        spark: the job's session.
        query_key: of the query in the lake.
        buckets: gives workers, and this, the lake and the artifacts.
    """
    blobs: Blobs = buckets()
    said = blobs.get("lake", query_key).body
    done: Answer | Failure
    try:
        done = _answered(spark, Query.model_validate_json(said), buckets)
    except InvalidInput as error:
        done = Failure(reason=str(error), logged=error.logged)
    except ValidationError as error:
        done = Failure(reason=str(error))
    blobs.put("lake", answer_key(query_key), done.model_dump_json().encode())
    return done


def _answered(spark: "SparkSession", query: Query, buckets: Callable[[], Any]) -> Answer:
    if not query.files:
        raise InvalidInput("the query names no file of entity rows")
    work = Work(
        query.project,
        query.service,
        query.workspace,
        query.files,
        query.partitions,
        buckets,
        known_by=query.known_by,
        available=query.available,
        about=query.about,
    )
    found = extents(spark, work)
    timed = [extent for extent in found if extent.low <= extent.high]
    span = (min((e.low for e in timed), default=0), max((e.high for e in timed), default=-1))
    needed = reached(work.plan, query.project, query.partitions, span, available=query.available)
    rows = sum(extent.rows for extent in found)
    parts = joined(spark, replace(work, partitions=needed), rows)
    answer = Answer(digest=dataset_digest(parts), rows=rows, features=query.service.inputs, parts=parts)
    if len(parts) > 1:
        told = {**answer.model_dump(mode="json"), **query.about.model_dump(mode="json", exclude={"private"})}
        buckets().put("lake", about_path(query.workspace, answer.digest), canonical(told))
    return answer


@cache
def buckets(lake: str, artifacts: str) -> S3Blobs:
    """Return the two buckets that a job uses, by their deployed names; once in a process."""
    import boto3

    names: Mapping[BucketName, str] = {"lake": lake, "artifacts": artifacts}
    return S3Blobs(partial(boto3.client, "s3"), names)
