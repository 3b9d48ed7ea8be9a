"""The trainer `lambda`, our own function, and `automl`, the built-in search, which runs there or where it is told."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from modelwright.adapters.trainers.batch import BatchTrainer
from modelwright.adapters.trainers.options import asking, named, read
from modelwright.adapters.trainers.sagemaker import SageMakerTrainer
from modelwright.adapters.trainers.stepfunctions import StepFunctionsTrainer
from modelwright.errors import InvalidInput
from modelwright.retraining.trainers import Job, OutsideTrainer, Status, StoppableTrainer, Trainer, TrainerClass

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

FUNCTION = "MODELWRIGHT_TRAIN_FUNCTION"


class NoOptions(BaseModel):
    """The function is the template's, and so is its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LambdaTrainer:
    """Invokes the function ``train`` asynchronously; it does nothing for a training that it has done."""

    def __init__(self, environment: Mapping[str, str], client: "LambdaClient | None" = None) -> None:
        self._environment = environment
        self._client = client

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        name = named(self._environment, FUNCTION)
        read(NoOptions, "lambda", job)
        payload = json.dumps({"training_id": job.training_id, "workspace": job.workspace}).encode()
        with asking(f"{name} did not take training {job.training_id}"):
            self._lambda().invoke(FunctionName=name, InvocationType="Event", Payload=payload)
        return f"lambda:{name}:{job.training_id}"

    def _lambda(self) -> "LambdaClient":
        if self._client is None:
            import boto3

            self._client = boto3.client("lambda")
        return self._client


class AutoMlTrainer:
    """Starts the built-in search where ``trainer_options.on`` says; by default in the function ``train``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def start(self, job: Job) -> str:
        """See ``Trainer``."""
        return self._on(job).start(job)

    def limit_s(self, job: Job) -> float:
        """See ``OutsideTrainer``."""
        on = self._on(job)
        return on.limit_s(job) if isinstance(on, OutsideTrainer) else 0.0

    def price_per_hour(self, job: Job) -> float | None:
        """See ``OutsideTrainer``."""
        on = self._on(job)
        return on.price_per_hour(job) if isinstance(on, OutsideTrainer) else None

    def status(self, job: Job, handle: str) -> Status:
        """See ``OutsideTrainer``."""
        on = self._on(job)
        return on.status(job, handle) if isinstance(on, OutsideTrainer) else Status("running")

    def stop(self, job: Job, handle: str, reason: str) -> None:
        """See ``StoppableTrainer``; our own function stops itself."""
        on = self._on(job)
        if isinstance(on, StoppableTrainer):
            on.stop(job, handle, reason)

    def _on(self, job: Job) -> Trainer:
        on = job.options.get("on", "lambda")
        if on not in _PLACES:
            raise InvalidInput(f"trainer_options.on: {on!r} is no place for a search; there are {', '.join(_PLACES)}")
        return _PLACES[on](self._environment)


_PLACES: dict[str, TrainerClass] = {
    "lambda": LambdaTrainer,
    "sagemaker": SageMakerTrainer,
    "batch": BatchTrainer,
    "stepfunctions": StepFunctionsTrainer,
}
