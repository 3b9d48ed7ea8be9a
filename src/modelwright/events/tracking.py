"""Events of experiments, runs and logged models."""

from typing import Literal

from pydantic import Field

from modelwright.events.envelope import Event


class ExperimentCreated(Event):
    """An experiment exists."""

    experiment_id: str
    name: str


class ExperimentChanged(Event):
    """An experiment was renamed, deleted or restored."""

    experiment_id: str
    change: Literal["renamed", "deleted", "restored"]


class RunCreated(Event):
    """A run began."""

    run_id: str
    experiment_id: str
    training_id: str = ""


class TrainingRecorded(Event):
    """A training is a run by now, under an id that only its experiment's number makes whole."""

    training_id: str
    run_id: str
    experiment_id: str


class RunEnded(Event):
    """A run reached a final status."""

    run_id: str
    experiment_id: str
    status: str


class RunChanged(Event):
    """A run was deleted or restored."""

    run_id: str
    experiment_id: str
    change: Literal["deleted", "restored"]


class LoggedModelCreated(Event):
    """A logged model exists."""

    model_id: str
    experiment_id: str
    run_id: str = ""


class LoggedModelChanged(Event):
    """A logged model was finalized or deleted."""

    model_id: str
    experiment_id: str
    change: Literal["ready", "failed", "deleted"]


class RunRegistered(Event):
    """A version came out of a run: what the run was then. It answers ``ModelVersionCreated``.

    Attributes:
        model_id: the registered model's id, which a rename leaves as it is.
        code: the commit (or the entry point) that the run was started from; empty when it said none.
        datasets: digests of the datasets that it was given.
        metrics: its newest figures, those that are finite.
    """

    run_id: str
    experiment_id: str
    model: str
    model_id: str
    version: int
    code: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)


class RunsCollected(Event):
    """What had been deleted was removed for good, with all that belonged to it.

    Attributes:
        run_ids: the runs.
        model_ids: the logged models.
        whole: whether the experiment itself was removed too.
    """

    experiment_id: str
    run_ids: tuple[str, ...] = ()
    model_ids: tuple[str, ...] = ()
    whole: bool = False
