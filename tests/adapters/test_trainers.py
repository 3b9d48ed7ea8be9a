"""Trainers that run in AWS, against botocore's stubs."""

import io
import json

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from modelwright.adapters.trainers import FUNCTION, STATE_MACHINE, LambdaTrainer, StepFunctionsTrainer
from modelwright.errors import Unavailable
from modelwright.retraining.trainers import Job

JOB = Job("default", "01TRAINING", "flights")
SAID = json.dumps({"training_id": "01TRAINING", "workspace": "default"})
MACHINE = "arn:aws:states:us-east-1:111122223333:stateMachine:train"
SESSION = boto3.Session("test", "test", region_name="us-east-1")


def test_the_function_train_is_invoked_without_waiting() -> None:
    client = SESSION.client("lambda")
    with Stubber(client) as stub:
        asked = {"FunctionName": "mw-train", "InvocationType": "Event", "Payload": SAID.encode()}
        stub.add_response("invoke", {"StatusCode": 202, "Payload": StreamingBody(io.BytesIO(b""), 0)}, asked)
        assert LambdaTrainer({FUNCTION: "mw-train"}, client).start(JOB).startswith("lambda:mw-train:")
        stub.add_client_error("invoke", "TooManyRequestsException")
        with pytest.raises(Unavailable, match="mw-train did not take training 01TRAINING"):
            LambdaTrainer({FUNCTION: "mw-train"}, client).start(JOB)


def test_an_execution_is_named_by_its_training_and_started_once() -> None:
    client = SESSION.client("stepfunctions")
    with Stubber(client) as stub:
        asked = {"stateMachineArn": MACHINE, "name": "01TRAINING", "input": SAID}
        started = {"executionArn": "arn:aws:states:us-east-1:111122223333:execution:train:01TRAINING", "startDate": 0}
        stub.add_response("start_execution", started, asked)
        trainer = StepFunctionsTrainer({STATE_MACHINE: MACHINE}, client)
        assert trainer.start(JOB) == started["executionArn"]
        stub.add_client_error("start_execution", "ExecutionAlreadyExists")
        assert trainer.start(JOB) == f"{MACHINE}:01TRAINING"
        stub.add_client_error("start_execution", "StateMachineDoesNotExist")
        with pytest.raises(Unavailable, match="did not take"):
            trainer.start(JOB)


def test_a_trainer_without_its_variable_says_which() -> None:
    with pytest.raises(Unavailable, match=FUNCTION):
        LambdaTrainer({}).start(JOB)
    with pytest.raises(Unavailable, match=STATE_MACHINE):
        StepFunctionsTrainer({}).start(JOB)
