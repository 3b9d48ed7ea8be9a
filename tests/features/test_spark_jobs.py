"""Joins as jobs on EMR Serverless: a query in, a dataset out; and how a job is started."""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from features.offline_cases import EPOCH, Offline
from features.spark_cases import FEATURES, PROJECT
from features.test_jobs import ann
from features.test_spark_cluster import Clustered, created
from features.test_truth_table import seen
from modelwright.adapters import emr, spark_jobs
from modelwright.adapters.spark import Folder
from modelwright.errors import NotFound
from modelwright.features import datasets
from modelwright.features.history import decoded, parquet
from modelwright.features.layout import partition_path
from modelwright.features.plan import service_of
from modelwright.features.remote import Answer, Failure, Query, outcome

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUERY = "jobs/w/j1.json"
ABOUT = datasets.About(query={"engine": "spark"}, as_of=EPOCH, features=FEATURES, views={"ever": 1}, project="p")
JOB = Path(__file__).parents[2] / "infra" / "spark" / "historical.py"


@pytest.fixture
def store() -> Offline:
    """Two weeks of sales, some of them corrected."""
    store = Offline(PROJECT)
    for arrival, factor in (("a", 1), ("b", 7)):
        store.put("sales", [sold(n, factor) for n in range(0, 300, factor)], arrival)
    store.put("ratings", [{"shop": "north", "at": EPOCH, "stars": 4.5}], "c")
    return store


def sold(n: int, factor: int) -> dict[str, Any]:
    at = EPOCH + timedelta(hours=n)
    known = at + timedelta(minutes=90 * factor)
    return {
        "id": n, "shop": ["north", "so|uth", None][n % 3], "shelf": n % 2, "at": at, "known": known,
        "n": n * factor, "x": n * factor / 4, "flag": n % 5 == 0, "word": f"w{n % 7}",
    }  # fmt: skip


def asked(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "shop": ["so|uth", "north", None, "nobody's"][n % 4], "shelf": n % 2, "amount": 0.5,
            "event_timestamp": EPOCH + timedelta(hours=n * 7 % 320),
        }
        for n in range(first, first + count)
    ]  # fmt: skip


def put(store: Offline, blobs: Any, files: Sequence[pa.Table], **changed: Any) -> Query:
    """Store a query, and what it names, for a job."""
    service = service_of(PROJECT, FEATURES)
    history = store.history()
    sources = {PROJECT.views[view].source for view in service.views}
    partitions = {source: history.manifest(source).partitions for source in sources}
    for source, there in partitions.items():
        for each in there:
            path = partition_path("w", source, each.week, each.digest)
            blobs.put("lake", path, store.blobs.get("lake", path).body)
    keys = tuple(f"jobs/w/j1/{n}.parquet" for n in range(len(files)))
    for key, rows in zip(keys, files, strict=True):
        blobs.put("lake", key, parquet(rows))
    query = Query(
        project=PROJECT, service=service, workspace="w", files=keys, partitions=partitions, about=ABOUT
    ).model_copy(update=changed)
    blobs.put("lake", QUERY, query.model_dump_json().encode())
    return query


def test_one_file_of_entity_rows_is_the_dataset_that_the_other_engine_saves(
    store: Offline, spark: "SparkSession", tmp_path: Path
) -> None:
    rows = store.request(asked(90), FEATURES)
    put(store, Folder(str(tmp_path)), [rows])
    answer = spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path)))
    about = ABOUT.model_copy(update={"private": ("event_timestamp", "shop", "shelf", "amount")})
    digest, key = datasets.save(store.asked(rows, FEATURES), blobs=store.blobs, workspace="w", about=about)
    assert isinstance(answer, Answer)
    assert answer.digest == digest
    assert [part.model_dump() for part in answer.parts] == [{"key": key, "digest": digest, "rows": 90}]
    for path in (key, key.replace(".parquet", ".json")):
        assert Folder(str(tmp_path)).get("lake", path).body == store.blobs.get("lake", path).body


def test_several_files_are_answered_by_several_in_their_order_one_without_rows_among_them(
    store: Offline, spark: "SparkSession", tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path))
    files = [store.request(asked(count, first), FEATURES) for count, first in ((40, 0), (0, 0), (25, 40), (1, 65))]
    put(store, folder, files)
    answer = spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path)))
    assert isinstance(answer, Answer)
    assert (answer.rows, [part.rows for part in answer.parts]) == (66, [40, 0, 25, 1])
    for rows, part in zip(files, answer.parts, strict=True):
        body = folder.get("lake", part.key).body
        assert hashlib.sha256(body).hexdigest() == part.digest
        assert decoded(body).equals(store.asked(rows, FEATURES))
    lines = "".join(f"{part.digest}\n" for part in answer.parts)
    assert answer.digest == hashlib.sha256(lines.encode()).hexdigest()
    said = json.loads(folder.get("lake", f"datasets/w/{answer.digest}.json").body)
    assert (said["digest"], said["rows"], said["views"]) == (answer.digest, 66, {"ever": 1})
    assert said["parts"] == [part.model_dump() for part in answer.parts]


def test_the_same_query_has_the_same_answer_though_history_went_on(
    store: Offline, spark: "SparkSession", tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path))
    put(store, folder, [store.request(asked(30), FEATURES)])
    before = spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path)))
    store.put("sales", [sold(n, 3) for n in range(0, 300, 2)], "z")
    again = spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path)))
    assert again == before
    assert outcome(QUERY, blobs=folder) == before  # type: ignore[arg-type]


def test_a_file_that_lacks_a_column_is_a_failure_that_names_it(
    store: Offline, spark: "SparkSession", tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path))
    put(store, folder, [store.request(asked(3), FEATURES).drop_columns("shelf")])
    done = spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path)))
    assert isinstance(done, Failure)
    assert "the rows lack the column shelf: they need" in done.reason
    assert outcome(QUERY, blobs=folder) == done  # type: ignore[arg-type]


def test_a_query_without_files_and_one_that_is_none_are_failures(
    spark: "SparkSession", store: Offline, tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path))
    put(store, folder, [])
    assert spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path))) == Failure(
        reason="the query names no file of entity rows", logged="the query names no file of entity rows"
    )
    folder.put("lake", QUERY, b'{"files": 3}')
    assert isinstance(spark_jobs.run(spark, QUERY, partial(Folder, str(tmp_path))), Failure)


def test_a_job_that_is_not_over_has_no_outcome(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        outcome(QUERY, blobs=Folder(str(tmp_path)))  # type: ignore[arg-type]


# --- the job's file ----------------------------------------------------------------------


@pytest.fixture
def s3(spark: "SparkSession", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """S3 on this machine, which the job and its workers find in their environment."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(spark.sparkContext.environment, name, value)
    spark_jobs.buckets.cache_clear()
    try:
        client = boto3.client("s3")
        for bucket in ("the-lake", "the-artifacts"):
            client.create_bucket(Bucket=bucket)
        yield environment["AWS_ENDPOINT_URL"]
    finally:
        spark_jobs.buckets.cache_clear()
        server.stop()


def main(arguments: Sequence[str]) -> int:
    spec = importlib.util.spec_from_file_location("historical", JOB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    code: int = module.main(arguments)
    return code


@pytest.mark.usefixtures("s3")
def test_the_job_reads_its_query_from_s3_and_writes_its_dataset_there(
    store: Offline, capsys: pytest.CaptureFixture[str]
) -> None:
    blobs = spark_jobs.buckets("the-lake", "the-artifacts")
    rows = store.request(asked(50), FEATURES)
    put(store, blobs, [rows])
    assert main(["the-lake", "the-artifacts", QUERY]) == 0
    answer = outcome(QUERY, blobs=blobs)
    assert json.loads(capsys.readouterr().out) == answer.model_dump(mode="json")
    assert isinstance(answer, Answer)
    assert decoded(blobs.get("lake", answer.parts[0].key).body).equals(store.asked(rows, FEATURES))


@pytest.mark.usefixtures("s3")
def test_a_job_without_an_answer_ends_in_failure(store: Offline) -> None:
    put(store, spark_jobs.buckets("the-lake", "the-artifacts"), [])
    assert main(["the-lake", "the-artifacts", QUERY]) == 1


def test_a_job_that_is_asked_for_over_http_is_joined_by_spark_and_saved_as_the_other_engine_does(s3: str) -> None:
    blobs = spark_jobs.buckets("the-lake", "the-artifacts")
    client = boto3.client("emr-serverless")
    desk = Clustered(created(client), blobs)
    desk.stack.put("profiles", [seen(1, 0, 1.0), seen(2, 2, 2.0)], "a")
    question = {"service": "scores", "entities": {**ann(3, 1, None, 3), "label": [1, 0, 0, 1]}}
    job_id = desk.request(**question, engine="spark")
    assert desk.deliver(job_id) == {"outcome": "handled"}
    (run,) = client.list_job_runs(applicationId=desk.application)["jobRuns"]
    driver = client.get_job_run(applicationId=desk.application, jobRunId=run["id"])["jobRun"]["jobDriver"]
    assert main(driver["sparkSubmit"]["entryPointArguments"]) == 0
    desk.tick()
    job = desk.job(job_id)
    assert (job["state"], job["rows"]) == ("saved", 4)
    assert desk.table(job)["twice"].to_pylist() == [4.0, 2.0, None, 4.0]
    assert job["digest"] == desk.done(**question)["digest"]


# --- the image ---------------------------------------------------------------------------


def test_the_image_has_the_job_where_it_is_started_and_the_python_that_it_is_started_with() -> None:
    image = JOB.with_name("Dockerfile").read_text()
    assert f"infra/spark/historical.py {emr.ENTRY_POINT.removeprefix('local://')}" in image
    assert "python3.11 -m pip" in image
    assert "PYSPARK_PYTHON=/usr/bin/python3.11" in emr.PARAMETERS
