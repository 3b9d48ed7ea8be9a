"""Trainers that run in AWS, against botocore's stubs, which hold each request and answer to the service's own model."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from modelwright.adapters.trainers import (
    ENVIRONMENT,
    FUNCTION,
    STATE_MACHINE,
    AutoMlTrainer,
    BatchTrainer,
    LambdaTrainer,
    SageMakerTrainer,
    StepFunctionsTrainer,
)
from modelwright.errors import InvalidInput, Unavailable
from modelwright.retraining.trainers import Job, OutsideTrainer, Status, StoppableTrainer, Trainer, job_named

ID = "01KJP8TRAINING000000000001"
NAME = f"default-{ID}"
JOB = Job("default", ID, "flights", reserved=0.5)
SAID = json.dumps({"training_id": ID, "workspace": "default"})
MACHINE = "arn:aws:states:us-east-1:111122223333:stateMachine:train"
EXECUTION = f"arn:aws:states:us-east-1:111122223333:execution:train:{NAME}"
ROLE = "arn:aws:iam::111122223333:role/training"
IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/modelwright:1"
SESSION = boto3.Session("test", "test", region_name="us-east-1")
TOLD = {"MODELWRIGHT_BUCKET_ARTIFACTS": "artifacts-1", "MODELWRIGHT_TABLE_LOG": "log-1"}
TRAIN = {ENVIRONMENT: json.dumps(TOLD)}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
COMMAND = ["python", "-m", "modelwright.trainer"]
ARGUMENTS = ["--workspace", "default", "--training-id", ID, "--price-per-hour", "0.25"]
SAGEMAKER = replace(JOB, options={"image": IMAGE, "role": ROLE, "price_per_hour": 0.25, "max_runtime_s": 1800})
BATCH = replace(JOB, options={"job_queue": "q", "job_definition": "train:3", "price_per_hour": 0.25, "vcpus": 2})
STATES = replace(JOB, options={"state_machine": MACHINE})


# --- our own function --------------------------------------------------------------------


def test_the_function_train_is_invoked_without_waiting() -> None:
    client = SESSION.client("lambda")
    with Stubber(client) as stub:
        asked = {"FunctionName": "mw-train", "InvocationType": "Event", "Payload": SAID.encode()}
        stub.add_response("invoke", {"StatusCode": 202, "Payload": StreamingBody(io.BytesIO(b""), 0)}, asked)
        assert LambdaTrainer({FUNCTION: "mw-train"}, client).start(JOB).startswith("lambda:mw-train:")
        stub.add_client_error("invoke", "TooManyRequestsException")
        with pytest.raises(Unavailable, match=f"mw-train did not take training {ID}"):
            LambdaTrainer({FUNCTION: "mw-train"}, client).start(JOB)


def test_the_function_takes_no_options_but_those_of_a_search() -> None:
    with pytest.raises(
        InvalidInput, match=r"trainer_options.image: .* \(trainer lambda of model flights; it takes none"
    ):
        LambdaTrainer({FUNCTION: "mw-train"}).start(SAGEMAKER)


def test_a_search_runs_where_its_options_say() -> None:
    automl = AutoMlTrainer(TRAIN)
    with pytest.raises(Unavailable, match=FUNCTION):
        automl.start(JOB)
    with pytest.raises(
        InvalidInput, match=r"trainer_options\.on: 'moon' is no place for a search; there are lambda, sage"
    ):
        automl.start(replace(JOB, options={"on": "moon"}))
    far = replace(SAGEMAKER, options={**SAGEMAKER.options, "on": "sagemaker", "search": {"candidates": 3}})
    assert automl.limit_s(far) == 1800
    assert automl.price_per_hour(far) == 0.25
    assert (automl.limit_s(JOB), automl.price_per_hour(JOB)) == (0, None)
    assert automl.status(JOB, "lambda:x") == Status("running")


# --- SageMaker ---------------------------------------------------------------------------


def created(limit: int) -> dict[str, Any]:
    return {
        "TrainingJobName": NAME,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": COMMAND,
            "ContainerArguments": ARGUMENTS,
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://artifacts-1/default/trainings/{ID}/job/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": limit},
        "Environment": TOLD,
        "HyperParameters": {"workspace": "default", "training_id": ID, "model": "flights"},
        "Tags": [{"Key": "modelwright:workspace", "Value": "default"}],
    }


def test_a_training_job_runs_our_image_and_is_created_once() -> None:
    client = SESSION.client("sagemaker")
    trainer = SageMakerTrainer(TRAIN, client)
    with Stubber(client) as stub:
        arn = {"TrainingJobArn": f"arn:aws:sagemaker:us-east-1:111122223333:training-job/{NAME}"}
        stub.add_response("create_training_job", arn, created(1800))
        assert trainer.start(SAGEMAKER) == f"sagemaker:{NAME}"
        stub.add_client_error("create_training_job", "ResourceInUse")
        assert trainer.start(SAGEMAKER) == f"sagemaker:{NAME}"
        stub.add_client_error("create_training_job", "ResourceLimitExceeded", "no ml.m5.large is left")
        with pytest.raises(Unavailable, match=rf"SageMaker did not take training {ID} .* no ml\.m5\.large is left"):
            trainer.start(SAGEMAKER)
        stub.add_client_error("create_training_job", "ValidationException", "no such instance type")
        with pytest.raises(InvalidInput, match="no such instance type"):
            trainer.start(SAGEMAKER)


def test_a_job_is_stopped_when_what_was_reserved_is_spent() -> None:
    client = SESSION.client("sagemaker")
    with Stubber(client) as stub:
        asked = created(720) | {"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}}
        stub.add_response("create_training_job", {"TrainingJobArn": "arn:aws:sagemaker:x"}, asked)
        inside = {**SAGEMAKER.options, "subnets": ["subnet-1"], "security_groups": ["sg-1"]}
        SageMakerTrainer(TRAIN, client).start(replace(SAGEMAKER, reserved=0.05, options=inside))
    with pytest.raises(InvalidInput, match=r"reserve: \$0\.0010 pays 14 s"):
        SageMakerTrainer(TRAIN).limit_s(replace(SAGEMAKER, reserved=0.001))


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"TrainingJobStatus": "InProgress"}, Status("running")),
        ({"TrainingJobStatus": "InProgress", "TrainingStartTime": BEGAN}, Status("running", began=BEGAN)),
        ({"TrainingJobStatus": "Stopping"}, Status("running")),
        ({"TrainingJobStatus": "Completed", "BillableTimeInSeconds": 90}, Status("ended", seconds=90)),
        (
            {"TrainingJobStatus": "Failed", "BillableTimeInSeconds": 5, "FailureReason": "AlgorithmError: exit 1"},
            Status("failed", f"the SageMaker training job {NAME} is Failed: AlgorithmError: exit 1", 5),
        ),
        (
            {"TrainingJobStatus": "Stopped", "BillableTimeInSeconds": 720, "SecondaryStatus": "MaxRuntimeExceeded"},
            Status(
                "failed", f"the SageMaker training job {NAME} is Stopped: stopped after 720 s, MaxRuntimeExceeded", 720
            ),
        ),
    ],
)
def test_how_a_training_job_does(said: dict[str, Any], status: Status) -> None:
    client = SESSION.client("sagemaker")
    always = {
        "TrainingJobName": NAME,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:111122223333:training-job/{NAME}",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://x"},
        "SecondaryStatus": "Training",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 30},
        "StoppingCondition": {},
        "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
    }
    with Stubber(client) as stub:
        stub.add_response("describe_training_job", {**always, **said}, {"TrainingJobName": NAME})
        assert SageMakerTrainer(TRAIN, client).status(SAGEMAKER, f"sagemaker:{NAME}") == status
        stub.add_client_error("describe_training_job", "ThrottlingException")
        with pytest.raises(Unavailable, match=f"SageMaker does not say how {NAME} does"):
            SageMakerTrainer(TRAIN, client).status(SAGEMAKER, "")


# --- Batch -------------------------------------------------------------------------------

LISTED = {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": [NAME]}]}


def test_a_batch_job_is_submitted_unless_there_is_one_of_its_name() -> None:
    client = SESSION.client("batch")
    trainer = BatchTrainer(TRAIN, client)
    with Stubber(client) as stub:
        asked = {
            "jobName": NAME,
            "jobQueue": "q",
            "jobDefinition": "train:3",
            "containerOverrides": {
                "command": [*COMMAND, *ARGUMENTS],
                "environment": [{"name": name, "value": value} for name, value in sorted(TOLD.items())],
                "resourceRequirements": [{"type": "VCPU", "value": "2"}],
            },
            "timeout": {"attemptDurationSeconds": 3600},
            "tags": {"modelwright:workspace": "default"},
        }
        stub.add_response("list_jobs", {"jobSummaryList": []}, LISTED)
        stub.add_response("submit_job", {"jobName": NAME, "jobId": "j-1"}, asked)
        assert trainer.start(BATCH) == "j-1"
        stub.add_response("list_jobs", {"jobSummaryList": [{"jobId": "j-1", "jobName": NAME}]}, LISTED)
        assert trainer.start(BATCH) == "j-1"
        stub.add_client_error("list_jobs", "ServerException")
        with pytest.raises(Unavailable, match=f"Batch did not take training {ID} in q"):
            trainer.start(BATCH)
        stub.add_client_error("list_jobs", "ClientException", "there is no queue q")
        with pytest.raises(InvalidInput, match="there is no queue q"):
            trainer.start(BATCH)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"status": "RUNNABLE"}, Status("running")),
        ({"status": "RUNNING", "startedAt": 1_767_225_600_000}, Status("running", began=BEGAN)),
        ({"status": "SUCCEEDED", "startedAt": 1_000, "stoppedAt": 61_000}, Status("ended", seconds=60)),
        (
            {"status": "FAILED", "statusReason": "Task failed", "container": {"reason": "OutOfMemoryError"}},
            Status("failed", f"the Batch job {NAME} is FAILED: Task failed, OutOfMemoryError", 0),
        ),
        (None, Status("failed", f"Batch no longer knows the job {NAME} (j-1)")),
    ],
)
def test_how_a_batch_job_does(said: dict[str, Any] | None, status: Status) -> None:
    client = SESSION.client("batch")
    always = {"jobName": NAME, "jobId": "j-1", "jobQueue": "q", "jobDefinition": "train:3", "startedAt": 0}
    with Stubber(client) as stub:
        jobs = [] if said is None else [{**always, **said}]
        stub.add_response("describe_jobs", {"jobs": jobs}, {"jobs": ["j-1"]})
        assert BatchTrainer(TRAIN, client).status(BATCH, "j-1") == status


# --- Step Functions ----------------------------------------------------------------------


def test_an_execution_is_named_by_its_training_and_started_once() -> None:
    client = SESSION.client("stepfunctions")
    with Stubber(client) as stub:
        asked = {"stateMachineArn": MACHINE, "name": NAME, "input": SAID}
        started = {"executionArn": EXECUTION, "startDate": 0}
        stub.add_response("start_execution", started, asked)
        trainer = StepFunctionsTrainer({STATE_MACHINE: MACHINE}, client)
        assert trainer.start(JOB) == EXECUTION
        stub.add_client_error("start_execution", "ExecutionAlreadyExists")
        assert trainer.start(STATES) == EXECUTION
        stub.add_client_error("start_execution", "StateMachineDoesNotExist")
        with pytest.raises(Unavailable, match="did not take"):
            trainer.start(JOB)


@pytest.mark.parametrize(
    ("said", "price", "status"),
    [
        ({"status": "RUNNING"}, None, Status("running", began=BEGAN)),
        ({"status": "SUCCEEDED"}, None, Status("ended")),
        ({"status": "SUCCEEDED"}, 0.2, Status("ended", seconds=120)),
        (
            {"status": "TIMED_OUT", "error": "States.Timeout"},
            0.2,
            Status("failed", f"the execution {NAME} is TIMED_OUT: States.Timeout", 120),
        ),
        ({"status": "ABORTED"}, None, Status("failed", f"the execution {NAME} is ABORTED: it does not say why")),
    ],
)
def test_how_an_execution_does(said: dict[str, Any], price: float | None, status: Status) -> None:
    client = SESSION.client("stepfunctions")
    always = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "startDate": datetime(2026, 1, 1, tzinfo=UTC)}
    if said["status"] != "RUNNING":
        always["stopDate"] = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
    job = replace(STATES, options={**STATES.options, "price_per_hour": price})
    with Stubber(client) as stub:
        stub.add_response("describe_execution", {**always, **said}, {"executionArn": EXECUTION})
        assert StepFunctionsTrainer({}, client).status(job, EXECUTION) == status


def test_an_execution_whose_price_is_known_lasts_no_longer_than_what_was_reserved() -> None:
    trainer = StepFunctionsTrainer({STATE_MACHINE: MACHINE})
    assert trainer.limit_s(JOB) == 6 * 3600
    priced = replace(STATES, options={**STATES.options, "price_per_hour": 0.5}, reserved=0.25)
    assert trainer.limit_s(priced) == 1800
    with pytest.raises(InvalidInput, match=r"reserve: \$0\.0010 pays 7 s"):
        trainer.start(replace(priced, reserved=0.001))


def test_every_job_elsewhere_can_be_stopped() -> None:
    said: dict[str, Any] = {"error": "Stopped", "cause": "too long"}
    calls: list[tuple[str, Any, str, dict[str, Any], dict[str, Any]]] = [
        ("sagemaker", SageMakerTrainer, "stop_training_job", {}, {"TrainingJobName": NAME}),
        ("batch", BatchTrainer, "terminate_job", {}, {"jobId": "j-1", "reason": "too long"}),
        ("stepfunctions", StepFunctionsTrainer, "stop_execution", {"stopDate": BEGAN}, {"executionArn": "j-1", **said}),
    ]
    for service, trainer, operation, answer, asked in calls:
        client = SESSION.client(service)  # type: ignore[call-overload] # one of three
        with Stubber(client) as stub:
            stub.add_response(operation, answer, asked)
            trainer(TRAIN, client).stop(JOB, "j-1", "too long")
            stub.add_client_error(operation, "ThrottlingException")
            with pytest.raises(Unavailable, match="does not stop"):
                trainer(TRAIN, client).stop(JOB, "j-1", "too long")
    AutoMlTrainer(TRAIN).stop(JOB, "lambda:x", "our own function stops itself")


# --- what all of them lack ---------------------------------------------------------------


def test_a_trainer_without_its_variable_says_which() -> None:
    with pytest.raises(Unavailable, match=FUNCTION):
        LambdaTrainer({}).start(JOB)
    with pytest.raises(Unavailable, match=STATE_MACHINE):
        StepFunctionsTrainer({}).start(JOB)
    for trainer, job in ((SageMakerTrainer({}), SAGEMAKER), (BatchTrainer({}), BATCH)):
        with pytest.raises(Unavailable, match=ENVIRONMENT):
            trainer.start(job)
    with pytest.raises(Unavailable, match="is no JSON"):
        BatchTrainer({ENVIRONMENT: "{"}).start(BATCH)
    with pytest.raises(Unavailable, match="MODELWRIGHT_BUCKET_ARTIFACTS"):
        SageMakerTrainer({ENVIRONMENT: "{}"}).start(SAGEMAKER)


@pytest.mark.parametrize(
    ("trainer", "job", "missing"),
    [
        (SageMakerTrainer(TRAIN), SAGEMAKER, ("image", "role", "price_per_hour")),
        (BatchTrainer(TRAIN), BATCH, ("job_queue", "job_definition", "price_per_hour")),
    ],
)
def test_an_option_that_is_missing_is_named(trainer: Trainer, job: Job, missing: tuple[str, ...]) -> None:
    for name in missing:
        with pytest.raises(
            InvalidInput, match=rf"trainer_options.{name}: Field required \(trainer .* of model flights"
        ):
            trainer.start(replace(job, options={k: v for k, v in job.options.items() if k != name}))
    with pytest.raises(InvalidInput, match=r"trainer_options.colour: Extra inputs"):
        trainer.start(replace(job, options={**job.options, "colour": "red"}))


@pytest.mark.parametrize("made", [SageMakerTrainer, BatchTrainer, StepFunctionsTrainer, AutoMlTrainer])
def test_whoever_runs_elsewhere_can_be_asked(made: Callable[[Mapping[str, str]], Trainer]) -> None:
    environment: Mapping[str, str] = {}
    assert isinstance(made(environment), StoppableTrainer)
    assert isinstance(made(environment), OutsideTrainer)
    assert not isinstance(LambdaTrainer({}), OutsideTrainer)


def test_a_job_is_found_again_by_its_name_alone() -> None:
    assert job_named(replace(JOB, workspace="team-a").name) == ("team-a", ID)
    assert job_named("somebody") == ("", "")
