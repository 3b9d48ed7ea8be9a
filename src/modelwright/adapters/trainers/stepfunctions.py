"""The trainer `stepfunctions`: a state machine that takes a training's steps one by one, or many at a time.

``infra/training`` has two: a pipeline, and a search for the trainer `automl` (``trainer_options.on``).
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from modelwright.adapters.trainers.options import asking, code_of, named, paid_s, read
from modelwright.retraining.trainers import Job, Status

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

STATE_MACHINE = "MODELWRIGHT_TRAIN_STATE_MACHINE"
_NAME = "stepfunctions"
_TAKEN = "ExecutionAlreadyExists"


class StepFunctionsOptions(BaseModel):
    """Options of an execution.

    Attributes:
        state_machine: its ARN; else the function's variable names one.
        price_per_hour: of whatever machine the steps run on; without it each step says what it cost.
        max_runtime_s: after which an execution is stopped, or sooner, when what was reserved is spent at that price.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    state_machine: str = ""
    price_per_hour: float | None = Field(default=None, gt=0)
    max_runtime_s: int = Field(default=6 * 3600, ge=60)


class StepFunctionsTrainer:
    """Starts an execution named by the training, so that a second start is the first one."""

    def __init__(self, environment: Mapping[str, str], client: "SFNClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        machine = self._machine(job)
        self.limit_s(job)  # what is not paid for is not begun
        payload = json.dumps({"training_id": job.training_id, "workspace": job.workspace})
        with asking(f"{machine} did not take training {job.training_id}"):
            try:
                started = self._states().start_execution(stateMachineArn=machine, name=job.name, input=payload)
            except ClientError as error:
                if code_of(error) != _TAKEN:
                    raise
                return f"{machine.replace(':stateMachine:', ':execution:')}:{job.name}"
        return started["executionArn"]

    def limit_s(self, job: Job) -> float:
        """See ``OutsideTrainer``."""
        options = read(StepFunctionsOptions, _NAME, job)
        if options.price_per_hour is None:
            return float(options.max_runtime_s)
        return float(min(options.max_runtime_s, paid_s(job, options.price_per_hour)))

    def price_per_hour(self, job: Job) -> float | None:
        """See ``OutsideTrainer``."""
        return read(StepFunctionsOptions, _NAME, job).price_per_hour

    def status(self, job: Job, handle: str) -> Status:
        """See ``OutsideTrainer``."""
        with asking(f"Step Functions does not say how {handle} does"):
            found = self._states().describe_execution(executionArn=handle)
        if found["status"] in ("RUNNING", "PENDING_REDRIVE"):
            return Status("running", began=found["startDate"])
        seconds = (found["stopDate"] - found["startDate"]).total_seconds() if "stopDate" in found else None
        billed = seconds if self.price_per_hour(job) else None
        if found["status"] == "SUCCEEDED":
            return Status("ended", seconds=billed)
        why = ": ".join(part for part in (found.get("error", ""), found.get("cause", "")) if part)
        return Status(
            "failed", f"the execution {job.name} is {found['status']}: {why or 'it does not say why'}", billed
        )

    def stop(self, job: Job, handle: str, reason: str) -> None:
        """See ``StoppableTrainer``."""
        with asking(f"Step Functions does not stop {handle}"):
            self._states().stop_execution(executionArn=handle, error="Stopped", cause=reason)

    def _machine(self, job: Job) -> str:
        return read(StepFunctionsOptions, _NAME, job).state_machine or named(self._environment, STATE_MACHINE)

    def _states(self) -> "SFNClient":
        if self._client is None:
            import boto3

            self._client = boto3.client("stepfunctions")
        return self._client
