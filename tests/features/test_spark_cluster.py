"""Joins that run on a cluster: jobs are handed over, and finished once it has answered."""

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws
from support.http import handler_of

from features.offline_cases import EPOCH
from features.test_jobs import Desk, ann
from features.test_truth_table import seen
from modelwright.adapters import emr
from modelwright.adapters.emr import EmrServerless
from modelwright.errors import InvalidInput, Unavailable
from modelwright.features.remote import Answer, Failure, Part, Query, answer_key
from modelwright.storage import Blobs
from modelwright.wiring import Wiring

if TYPE_CHECKING:
    from mypy_boto3_emr_serverless import EMRServerlessClient

QUERY = "jobs/w/j1.json"
ARN = "arn:aws:emr-serverless:us-east-1:123456789012:/applications/00abc/jobruns/00run"
ENVIRONMENT = {
    "MODELWRIGHT_SPARK_APPLICATION": "00abc",
    "MODELWRIGHT_SPARK_ROLE": "arn:aws:iam::123456789012:role/jobs",
    "MODELWRIGHT_BUCKET_LAKE": "the-lake",
    "MODELWRIGHT_BUCKET_ARTIFACTS": "the-artifacts",
}


@pytest.fixture
def jobs() -> Iterator[tuple[EmrServerless, Stubber]]:
    client = boto3.client("emr-serverless", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    with Stubber(client) as stubber:
        yield EmrServerless(ENVIRONMENT, client), stubber


def test_a_job_is_started_under_its_own_name_so_that_a_second_start_is_the_first(
    jobs: tuple[EmrServerless, Stubber],
) -> None:
    cluster, stubber = jobs
    expected: dict[str, Any] = {
        "applicationId": "00abc",
        "clientToken": "01JOB",
        "executionRoleArn": "arn:aws:iam::123456789012:role/jobs",
        "name": "01JOB",
        "executionTimeoutMinutes": 720,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": "local:///usr/share/modelwright/historical.py",
                "entryPointArguments": ["the-lake", "the-artifacts", QUERY],
                "sparkSubmitParameters": emr.PARAMETERS,
            }
        },
    }
    answer = {"applicationId": "00abc", "jobRunId": "00run", "arn": ARN}
    stubber.add_response("start_job_run", answer, expected)
    assert cluster.start("01JOB", QUERY) == "00run"
    stubber.assert_no_pending_responses()


def test_an_application_that_does_not_take_a_job_is_asked_again(jobs: tuple[EmrServerless, Stubber]) -> None:
    cluster, stubber = jobs
    stubber.add_client_error("start_job_run", "ServiceQuotaExceededException", "too many vCPUs")
    with pytest.raises(Unavailable, match=r"application 00abc did not take job 01JOB: .*too many vCPUs"):
        cluster.start("01JOB", QUERY)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("RUNNING", ""),
        ("SUCCESS", ""),
        ("FAILED", "the Spark job 00run is FAILED: out of disk"),
        ("CANCELLED", "the Spark job 00run is CANCELLED: out of disk"),
    ],
)
def test_a_run_that_ended_without_success_says_why(jobs: tuple[EmrServerless, Stubber], state: str, said: str) -> None:
    cluster, stubber = jobs
    run = {
        "applicationId": "00abc", "jobRunId": "00run", "arn": ARN,
        "createdBy": "arn:aws:iam::123456789012:role/m", "createdAt": EPOCH, "updatedAt": EPOCH,
        "executionRole": "arn:aws:iam::123456789012:role/jobs", "state": state, "stateDetails": "out of disk",
        "releaseLabel": "emr-7.11.0", "jobDriver": {"sparkSubmit": {"entryPoint": "local:///x.py"}},
    }  # fmt: skip
    stubber.add_response("get_job_run", {"jobRun": run}, {"applicationId": "00abc", "jobRunId": "00run"})
    assert cluster.ended("00run") == said


@pytest.mark.parametrize("missing", list(ENVIRONMENT)[:2])
def test_a_stack_that_was_told_of_no_application_or_no_role_has_no_cluster(missing: str) -> None:
    assert emr.cluster(ENVIRONMENT) is not None
    assert emr.cluster({**ENVIRONMENT, missing: ""}) is None


def test_a_request_for_spark_passes_where_there_is_an_application_or_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    emr.require_spark({})  # this machine has pyspark
    monkeypatch.setitem(sys.modules, "pyspark", None)
    emr.require_spark(ENVIRONMENT)
    with pytest.raises(InvalidInput, match=r"deploy infra/spark/template.yaml .* or ask for the engine arrow"):
        emr.require_spark({})


# --- jobs --------------------------------------------------------------------------------


class Clustered(Desk):
    """Both functions over a stack that was told of an application."""

    def __init__(self, application: str, blobs: Blobs | None = None) -> None:
        super().__init__()
        self.application = application
        if blobs is not None:
            self.stack.blobs = self.blobs = blobs  # type: ignore[assignment]
        told = {**ENVIRONMENT, emr.APPLICATION: application}
        settings = self.wiring.settings.model_copy(update={"environment": told})
        self.wiring = Wiring(settings, tables=self.stack.tables, blobs=self.blobs)
        self.features = handler_of("features", self.wiring)
        self.materialize = handler_of("materialize", self.wiring)

    def tick(self) -> None:
        detail = {"name": "materialize", "at": self.now.isoformat()}
        assert self.materialize({"detail-type": "ScheduleDue", "detail": detail}) == {"outcome": "done"}

    def told(self, job_id: str) -> Query:
        return Query.model_validate_json(self.blobs.get("lake", f"jobs/default/{job_id}.told.json").body)

    def answer(self, job_id: str, said: Answer | Failure) -> None:
        body = said.model_dump_json().encode()
        self.blobs.put("lake", answer_key(f"jobs/default/{job_id}.told.json"), body)


def created(client: "EMRServerlessClient") -> str:
    """Return the id of a new application."""
    made = client.create_application(name="a", releaseLabel="emr-7.11.0", type="SPARK", clientToken="t")
    return made["applicationId"]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clustered]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        desk = Clustered(created(boto3.client("emr-serverless")))
        desk.stack.put("profiles", [seen(1, 0, 1.0), seen(2, 2, 2.0)], "a")
        yield desk


def handed(desk: Clustered, **query: Any) -> str:
    job_id = desk.request(**{"features": ["profile:score"], "entities": ann(3, 1), "engine": "spark", **query})
    assert desk.deliver(job_id) == {"outcome": "handled"}
    return job_id


def runs(desk: Clustered) -> list[Any]:
    return list(boto3.client("emr-serverless").list_job_runs(applicationId=desk.application)["jobRuns"])


def test_a_job_is_handed_over_with_everything_that_the_cluster_needs(desk: Clustered) -> None:
    job_id = handed(desk)
    told, (run,) = desk.told(job_id), runs(desk)
    assert run["name"] == job_id
    assert told.workspace == "default"
    assert told.files == (f"jobs/default/{job_id}.parquet",)
    assert told.partitions == {"profiles": desk.stack.history().manifest("profiles").partitions}
    assert told.service.inputs == ("profile:score",)
    assert told.known_by == (desk.now - EPOCH) // timedelta(microseconds=1) + 1_767_225_600_000_000
    assert desk.job(job_id)["state"] == "requested"


def test_an_uploaded_file_is_handed_over_as_it_is(desk: Clustered) -> None:
    _, answer = desk.ask("POST", "/v1/features/uploads", {})
    desk.blobs.put("lake", answer["entities_key"], b"customer,event_timestamp\nann,2026-01-01T03:00:00Z\n")
    job_id = handed(desk, entities=None, entities_key=answer["entities_key"])
    assert desk.told(job_id).files == (answer["entities_key"],)


def test_a_job_that_is_delivered_twice_is_handed_over_once(desk: Clustered) -> None:
    job_id = handed(desk)
    assert desk.deliver(job_id) == {"outcome": "duplicate"}
    assert len(runs(desk)) == 1


def test_an_answer_is_the_end_of_a_job_and_nothing_of_it_is_left(desk: Clustered) -> None:
    job_id = handed(desk)
    part = Part(key="datasets/default/abc.parquet", digest="abc", rows=2)
    desk.answer(job_id, Answer(digest="abc", rows=2, features=("profile:score",), parts=(part,)))
    desk.tick()
    job = desk.job(job_id)
    assert (job["state"], job["digest"], job["key"], job["rows"]) == ("saved", "abc", part.key, 2)
    assert [envelope.type for envelope in desk.events(job_id)][1:] == ["HistoricalFeaturesSaved"]
    assert desk.lies() == []
    desk.tick()
    assert len(desk.events(job_id)) == 2


def test_what_the_cluster_could_not_do_is_the_reason_why_a_job_failed(desk: Clustered) -> None:
    job_id = handed(desk)
    desk.answer(job_id, Failure(reason="column n is no integer: jo@example.org", logged="column n is no integer"))
    desk.tick()
    job = desk.job(job_id)
    assert (job["state"], job["reason"]) == ("failed", "column n is no integer: jo@example.org")
    assert desk.events(job_id)[-1].data["reason"] == "column n is no integer"
    assert desk.lies() == []


def test_a_job_goes_on_as_long_as_its_run_does_and_fails_with_it(desk: Clustered) -> None:
    job_id = handed(desk)
    desk.tick()
    assert desk.job(job_id)["state"] == "requested"
    client, (run,) = boto3.client("emr-serverless"), runs(desk)
    client.cancel_job_run(applicationId=desk.application, jobRunId=run["id"])
    desk.tick()
    job = desk.job(job_id)
    assert job["state"] == "failed"
    assert job["reason"].startswith(f"the Spark job {run['id']} is CANCEL")
    assert desk.events(job_id)[-1].data["reason"] == "the run gave no answer: its job says why"


def test_a_job_that_the_application_refuses_stays_asked_for(desk: Clustered) -> None:
    client = boto3.client("emr-serverless")
    client.stop_application(applicationId=desk.application)
    client.delete_application(applicationId=desk.application)
    job_id = desk.request(features=["profile:score"], entities=ann(1), engine="spark")
    with pytest.raises(Unavailable, match=f"application {desk.application} did not take job {job_id}"):
        desk.deliver(job_id)
    assert desk.job(job_id)["state"] == "requested"


def test_a_job_that_cannot_be_told_to_the_cluster_fails_at_once(desk: Clustered) -> None:
    mixed = {**ann(1, 2), "label": [1, "one"]}
    job = desk.job(handed(desk, entities=mixed))
    assert job["state"] == "failed"
    assert "column label of the entities mixes kinds of values" in job["reason"]
    assert desk.lies() == []


def test_without_an_application_and_without_pyspark_the_request_is_answered_400(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    status, body = Desk().ask(
        "POST", "/v1/historical-features", {"features": ["profile:score"], "entities": ann(1), "engine": "spark"}
    )
    assert status == 400
    assert "the engine spark is not deployed in this stack: deploy infra/spark/template.yaml" in json.dumps(body)
