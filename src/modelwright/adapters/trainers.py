"""Trainers that run in AWS: our own Lambda function, and Step Functions for whatever is bigger."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from modelwright.errors import Unavailable
from modelwright.retraining.trainers import Job

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_stepfunctions import SFNClient

FUNCTION = "MODELWRIGHT_TRAIN_FUNCTION"
STATE_MACHINE = "MODELWRIGHT_TRAIN_STATE_MACHINE"


class LambdaTrainer:
    """Invokes the function ``train`` asynchronously; it does nothing for a training that it has done."""

    def __init__(self, environment: Mapping[str, str], client: "LambdaClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        name = _named(self._environment, FUNCTION)
        client = self._client or boto3.client("lambda")
        payload = json.dumps({"training_id": job.training_id, "workspace": job.workspace}).encode()
        try:
            client.invoke(FunctionName=name, InvocationType="Event", Payload=payload)
        except ClientError as error:
            raise Unavailable(f"{name} did not take training {job.training_id}: {error}") from error
        return f"lambda:{name}:{job.training_id}"


class StepFunctionsTrainer:
    """Starts an execution named by the training, so that a second start is the first one."""

    def __init__(self, environment: Mapping[str, str], client: "SFNClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        machine = _named(self._environment, STATE_MACHINE)
        client = self._client or boto3.client("stepfunctions")
        payload = json.dumps({"training_id": job.training_id, "workspace": job.workspace})
        try:
            answer = client.start_execution(stateMachineArn=machine, name=job.training_id, input=payload)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionAlreadyExists":
                return f"{machine}:{job.training_id}"
            raise Unavailable(f"{machine} did not take training {job.training_id}: {error}") from error
        return answer["executionArn"]


def _named(environment: Mapping[str, str], variable: str) -> str:
    if not (value := environment.get(variable, "")):
        raise Unavailable(f"the trainer needs the environment variable {variable}")
    return value
