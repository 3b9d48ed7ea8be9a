"""Challenger against champion on the rows that the challenger has not seen."""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelwright import statistics, taskmetrics
from modelwright.events import Evaluation, Window
from modelwright.retraining.workshop import Examples


def evaluate(held: Examples, challenger: ArrayLike, champion: ArrayLike | None) -> Evaluation:
    """Compare scores on held-out rows, with intervals that let the rows of one day depend on each other.

    Raises:
        InvalidInput: there are fewer than two rows of a class.
    """
    days = held.times.astype("datetime64[D]")
    clusters = days if len(np.unique(days)) > 1 else None
    if held.labels.dtype.kind == "f":
        return _numbers(held, challenger, champion, days.astype(np.int64))
    evaluation = Evaluation(
        rows=len(held.labels),
        window=window_of(held.times),
        challenger_auc=statistics.auc_interval(held.labels, challenger, clusters).estimate(),
        challenger_brier=statistics.brier_interval(held.labels, challenger).value,
    )
    if champion is None:
        return evaluation
    auc_difference = statistics.auc_difference(held.labels, champion, challenger, clusters)
    brier_difference = statistics.brier_difference(held.labels, champion, challenger, clusters)
    return evaluation.model_copy(
        update={
            "champion_auc": statistics.auc_interval(held.labels, champion, clusters).estimate(),
            "champion_brier": statistics.brier_interval(held.labels, champion).value,
            "auc_difference": auc_difference.estimate(),
            "brier_difference": brier_difference.estimate(),
        }
    )


def _numbers(held: Examples, challenger: ArrayLike, champion: ArrayLike | None, days: NDArray[np.int64]) -> Evaluation:
    """Compare predicted numbers on held-out rows."""
    ours = taskmetrics.regression(held.labels, challenger, days)
    theirs = {} if champion is None else taskmetrics.regression(held.labels, champion, days)
    differences = {} if champion is None else taskmetrics.error_differences(held.labels, champion, challenger, days)
    told = [{name: one.estimate() for name, one in found.items()} for found in (ours, theirs, differences)]
    figures = {"metrics": told[0], "champion_metrics": told[1], "differences": told[2]}
    return Evaluation(rows=len(held.labels), window=window_of(held.times), **figures)


def window_of(times: NDArray[np.datetime64]) -> Window:
    """Return the window from the first of some times to the last."""
    first, last = (datetime.fromisoformat(str(t.astype("datetime64[us]"))) for t in (times.min(), times.max()))
    return Window(start=first.replace(tzinfo=UTC), end=last.replace(tzinfo=UTC) + timedelta(microseconds=1))
