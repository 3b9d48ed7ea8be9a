"""Who trains: plugins of the group ``modelwright.trainers``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

GROUP = "modelwright.trainers"

SEARCHED_BY_US = "automl"
"""The trainer for which a model names no function of the team's code."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training to start.

    Attributes:
        training_id: names it; to start a training twice must do no harm.
        options: what the policy tells its trainer besides (``RetrainingPolicy.trainer_options``).
        reserved: what it may cost, in US dollars.
    """

    workspace: str
    training_id: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reserved: float = 0.0

    @property
    def name(self) -> str:
        """What a job is called elsewhere: workspace and training, so that its name alone tells which it is."""
        return f"{self.workspace}-{self.training_id}"


class Trainer(Protocol):
    """Starts trainings; made with the function's ``MODELWRIGHT_*`` variables."""

    def start(self, job: Job) -> str:
        """Start a job and return what names it there; it is not waited for.

        Raises:
            Unavailable: the job was not taken.
            InvalidInput: it never will be: an option is missing or wrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """How a job does.

    Attributes:
        state: whether it is on, came to its end, or died.
        reason: why it died.
        seconds: that are billed; None where nobody says.
        began: wall time since which one that is on is billed; None: it waits, or nobody says.
    """

    state: Literal["running", "ended", "failed"]
    reason: str = ""
    seconds: float | None = None
    began: datetime | None = None


@runtime_checkable
class OutsideTrainer(Trainer, Protocol):
    """A trainer whose jobs run where they can be asked for, and may take longer than a function."""

    def limit_s(self, job: Job) -> float:
        """Return after how many seconds the job is stopped there; raises ``InvalidInput`` as ``start`` does."""
        ...

    def price_per_hour(self, job: Job) -> float | None:
        """Return US dollars per billed hour; None where the training itself says what it cost."""
        ...

    def status(self, job: Job, handle: str) -> Status:
        """Return how a job does.

        Args:
            job: the training.
            handle: what ``start`` returned.

        Raises:
            Unavailable: nobody answers.
        """
        ...


@runtime_checkable
class StoppableTrainer(OutsideTrainer, Protocol):
    """One whose jobs can be stopped."""

    def stop(self, job: Job, handle: str, reason: str) -> None:
        """Stop a job; one that is over stays as it is.

        Args:
            job: the training.
            handle: what ``start`` returned.
            reason: for whoever looks at the service.

        Raises:
            Unavailable: nobody answers.
        """
        ...


Trainers = Callable[[str], Trainer]
"""Returns a trainer by name; raises ``PluginError``."""

TrainerClass = Callable[[Mapping[str, str]], Trainer]
"""What an entry point of the group names."""


def job_named(name: str) -> tuple[str, str]:
    """Return workspace and training of a job's name (``Job.name``); two empty texts of any other name."""
    workspace, _, training_id = name.rpartition("-")
    return (workspace, training_id) if workspace and training_id else ("", "")
