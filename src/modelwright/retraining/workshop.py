"""What a training is given: labelled examples, a recipe for the estimator, and the stores that it works with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import InvalidInput
from modelwright.events import SearchCandidate, Window
from modelwright.flavors import Flavors
from modelwright.log import Log
from modelwright.project import Project
from modelwright.retraining.attempts import Runner
from modelwright.storage import Blobs, Tables

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 100
"""Below this neither a model nor a comparison says anything."""

GB_SECOND = 0.0000133334
INVOCATION = 0.20 / 1_000_000
"""Prices of Lambda on arm64, us-east-1, in US dollars."""

TrainFunction = Callable[["pd.DataFrame", NDArray[np.int8] | NDArray[np.float64], dict[str, float]], Any]
"""The team's trainer: (frame, labels, parameters) -> estimator with ``predict_proba``, or ``predict`` for numbers."""


@dataclass(frozen=True)
class Examples:
    """Labelled rows with the model's inputs as they were at each row's time.

    Attributes:
        frame: inputs, in the model's order.
        labels: 0 or 1 as int8; the numbers themselves as float64.
        times: the model's time column, as UTC ``datetime64[us]``.
        digest: of the saved set.
        key: where the saved set lies in the lake.
        ids: what names each row; None where nothing does.
        places: the place of each row in the saved set; None: in order, from 0.
        again: computes the inputs of rows of the saved set, by their places, as they are served; None if it cannot.
    """

    frame: "pd.DataFrame"
    labels: NDArray[np.int8] | NDArray[np.float64]
    times: NDArray[np.datetime64]
    digest: str
    key: str
    ids: "NDArray[np.object_] | None" = None
    places: "NDArray[np.int64] | None" = None
    again: "Callable[[Sequence[int]], pd.DataFrame] | None" = None


def unlimited() -> float:
    """Return the seconds that a process has which nobody stops."""
    return math.inf


class TrainingSets(Protocol):
    """The feature store, as training needs it."""

    def examples(self, model: str, window: Window, *, as_of: datetime, labels_until: datetime | None) -> Examples:
        """Return and save the examples whose time lies in a window and whose label was known by ``as_of``.

        Args:
            model: its name in the project.
            window: of the model's time column.
            as_of: labels that became known later are not seen.
            labels_until: end of the newest label window that came; the store must have it.

        Raises:
            InvalidInput: there are none, or the data does not fit the declarations.
            Unavailable: the newest labels are not in the store yet; the invocation should be repeated.
        """
        ...


@dataclass(frozen=True)
class Workshop:
    """What a training works with.

    Attributes:
        load: returns a function of the team's code by reference.
        clock: seconds that pass; for the cost.
        memory_mb: what Lambda bills by.
        price_per_hour: of the machine, where it is not Lambda's.
        remaining: seconds until the function is stopped.
        stepwise: whether what is made on the way is kept for the next step, which may run elsewhere.
        reopen: returns a saved training set by the model's name and its key, so that nothing is joined again; None if
            that cannot be done.
        owner: of attempts (``attempts.Runner``).
        wall: says what time it is.
        runner: of the attempt that is on.
    """

    project: Project
    tables: Tables
    blobs: Blobs
    log: Log
    sets: TrainingSets
    flavors: Flavors
    load: Callable[[str], TrainFunction]
    clock: Callable[[], float]
    memory_mb: int
    price_per_hour: float | None = None
    remaining: Callable[[], float] = unlimited
    stepwise: bool = False
    reopen: Callable[[str, str], Examples] | None = None
    owner: str = field(default_factory=lambda: uuid4().hex)
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    runner: Runner | None = None

    def cost(self, seconds: float) -> float:
        """Return what so many seconds cost, in US dollars."""
        return seconds * self.rate + (INVOCATION if self.price_per_hour is None else 0.0)

    @property
    def rate(self) -> float:
        """US dollars per second."""
        return self.memory_mb / 1024 * GB_SECOND if self.price_per_hour is None else self.price_per_hour / 3600


@dataclass(frozen=True)
class Recipe:
    """What makes the estimator.

    Attributes:
        parameters: for the function.
        told: parameters for the event.
        candidates: what a search tried, best first.
        searched_by: the metric of these.
    """

    function: TrainFunction
    name: str
    parameters: dict[str, float]
    told: dict[str, str]
    candidates: tuple[SearchCandidate, ...] = ()
    searched_by: str = ""


def split(examples: Examples, holdout_days: int) -> tuple[Examples, Examples]:
    """Return what is before the newest days, and these.

    Raises:
        InvalidInput: there are too few rows, or of a class too few.
    """
    if len(examples.labels) < MIN_ROWS:
        raise InvalidInput(f"{len(examples.labels)} labelled rows are too few: a training needs {MIN_ROWS}")
    newest = examples.times >= examples.times.max() - np.timedelta64(holdout_days, "D")
    parts = _part(examples, ~newest), _part(examples, newest)
    for part, name in zip(parts, ("before the holdout", "of the holdout"), strict=True):
        if part.labels.dtype.kind == "f":
            if len(part.labels) < 2:
                raise InvalidInput(f"{len(part.labels)} labelled rows {name} ({holdout_days} days) are too few")
            continue
        positives = int(part.labels.sum())
        if min(positives, len(part.labels) - positives) < 2:
            text = f"{positives} of {len(part.labels)} labelled rows {name} ({holdout_days} days) are positive"
            raise InvalidInput(f"{text}: both classes are needed")
    return parts


def _part(examples: Examples, mask: NDArray[np.bool_]) -> Examples:
    places = np.arange(len(examples.labels)) if examples.places is None else examples.places
    return replace(
        examples,
        frame=examples.frame[mask],
        labels=examples.labels[mask],
        times=examples.times[mask],
        ids=None if examples.ids is None else examples.ids[mask],
        places=places[mask],
    )
