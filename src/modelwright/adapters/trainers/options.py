"""What trainers outside our own function have in common: options, the job's command and variables, and its limit."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwright.errors import InvalidInput, Unavailable
from modelwright.retraining.trainers import Job

ENVIRONMENT = "MODELWRIGHT_TRAIN_ENVIRONMENT"
"""Names the variables of the function `train`, as JSON: jobs elsewhere get the same."""

ARTIFACTS = "MODELWRIGHT_BUCKET_ARTIFACTS"
_COMMAND = ("python", "-m", "modelwright.trainer")
_OURS = frozenset({"on", "search"})
"""Options that are the search's, whoever runs it."""

_WRONG = frozenset(
    {"ValidationException", "ValidationError", "ClientException", "InvalidParameterException", "InvalidArn"}
)
"""Codes by which a service says that the request can never be taken."""


class RunOptions(BaseModel):
    """Options of every service that bills by time.

    Attributes:
        price_per_hour: US dollars of an hour of the machine.
        max_runtime_s: after which the service stops the job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    price_per_hour: float = Field(gt=0)
    max_runtime_s: int = Field(default=3600, ge=60, le=5 * 86_400)

    def limit_s(self, job: Job) -> float:
        """Return after how many seconds a job is stopped; see ``paid_s``."""
        return float(min(self.max_runtime_s, paid_s(job, self.price_per_hour)))


def paid_s(job: Job, price_per_hour: float) -> int:
    """Return after how many seconds what was reserved for a job is spent.

    Raises:
        InvalidInput: it does not pay for a minute.
    """
    paid = job.reserved / price_per_hour * 3600
    if paid < 60:
        raise InvalidInput(
            f"reserve: ${job.reserved:.4f} pays {paid:.0f} s at ${price_per_hour}/h, and a job needs a minute"
        )
    return int(paid)


Options = TypeVar("Options", bound=BaseModel)


def read(kind: type[Options], trainer: str, job: Job) -> Options:
    """Read a policy's ``trainer_options``.

    Raises:
        InvalidInput: one is missing or wrong; names it.
    """
    try:
        return kind.model_validate({name: value for name, value in job.options.items() if name not in _OURS})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.model_fields) or "none"
        raise InvalidInput(
            f"trainer_options.{name}: {first['msg']} (trainer {trainer} of model {job.model}; it takes {known})"
        ) from error


def command(job: Job, price_per_hour: float) -> list[str]:
    """Return what the container runs: the same training that the function `train` does."""
    said = {"workspace": job.workspace, "training-id": job.training_id, "price-per-hour": repr(price_per_hour)}
    return [*_COMMAND, *(part for name, value in said.items() for part in (f"--{name}", value))]


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a job elsewhere; raises ``Unavailable`` where the function was not told them."""
    try:
        told = json.loads(named(environment, ENVIRONMENT))
    except ValueError as error:
        raise Unavailable(f"{ENVIRONMENT} is no JSON: {error}") from error
    return {str(name): str(value) for name, value in told.items()}


def named(environment: Mapping[str, str], variable: str) -> str:
    """Return a variable's value; raises ``Unavailable`` where it has none."""
    if not (value := environment.get(variable, "")):
        raise Unavailable(f"the trainer needs the environment variable {variable}")
    return value


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Say what an AWS service refused in the platform's own words.

    Raises:
        InvalidInput: the service says that it never will.
        Unavailable: it does not now.
    """
    try:
        yield
    except ClientError as error:
        kind = InvalidInput if code_of(error) in _WRONG else Unavailable
        raise kind(f"{what}: {error}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{what}: {error}") from error


def code_of(error: ClientError) -> str:
    """Return an error's code."""
    said: Any = error.response.get("Error", {}).get("Code", "")
    return str(said)
