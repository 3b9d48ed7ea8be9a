"""Simulated worlds in which estimators' assumptions hold, and others in which they do not."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import brier_score_loss, f1_score, precision_score, recall_score, roc_auc_score

from modelwright.monitoring.performance.estimators import Answers, Estimator

Floats = npt.NDArray[np.float64]
DAYS = 7
EMPTY: Mapping[str, float] = {}


def classes(
    rng: np.random.Generator,
    count: int,
    *,
    shift: float = 0.0,
    concept: float = 0.0,
    day: float = 0.0,
    days: int = DAYS,
) -> Answers:
    """Scores of an overconfident model.

    Args:
        rng: draws it all.
        count: of rows.
        shift: of the inputs.
        concept: how far inputs and labels are related otherwise than they were.
        day: how different days are, of which nobody can know beforehand, in log odds.
        days: of the rows.
    """
    x = rng.normal(shift, 1, count)
    on = rng.integers(0, days, count)
    odds = (1 - concept) * x - 0.3 - 1.2 * concept + rng.normal(0, day, days)[on]
    labels = (rng.uniform(size=count) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return Answers(1 / (1 + np.exp(-(1.6 * x - 0.5))), on, pd.DataFrame({"x": x}), labels)


def numbers(
    rng: np.random.Generator,
    count: int,
    *,
    shift: float = 0.0,
    concept: float = 0.0,
    day: float = 0.0,
    days: int = DAYS,
) -> Answers:
    """Predictions whose errors are larger for larger inputs, and of one kind; arguments as in ``classes``."""
    x = rng.normal(shift, 1, count)
    kind = rng.choice(["a", "b", "c"], count, p=[0.2, 0.3, 0.5] if shift else [0.5, 0.3, 0.2])
    on = rng.integers(0, days, count)
    size = np.exp(0.5 * np.clip(x, -2, 2)) * (1 + 0.8 * (kind == "c"))
    labels = 3 * x + rng.normal(0, 1, count) * size + rng.normal(0, day, days)[on] + concept * 2 * np.abs(x)
    return Answers(3 * x, on, pd.DataFrame({"x": x, "kind": kind.astype(object)}), labels)


def realised(rows: Answers) -> dict[str, float]:
    """Return all figures that estimators know of."""
    assert rows.labels is not None
    errors = np.abs(rows.scores - rows.labels)
    found = {"mae": float(errors.mean()), "rmse": float(np.sqrt((errors**2).mean()))}
    if set(np.unique(rows.labels)) <= {0.0, 1.0}:
        labels, said = rows.labels, rows.scores >= 0.5
        found |= {"auc": float(roc_auc_score(labels, rows.scores)), "accuracy": float((said == labels).mean())}
        found |= {"f1": float(f1_score(labels, said)), "brier": float(brier_score_loss(labels, rows.scores))}
        found |= {"precision": float(precision_score(labels, said)), "recall": float(recall_score(labels, said))}
    return found


def covered(
    estimator: Estimator, windows: int, known: int, fresh: int, world: Mapping[str, float] = EMPTY
) -> Mapping[str, float]:
    """Return the share of simulated windows whose realised figure lies in the interval, by figure."""
    make = classes if estimator.name == "cbpe" else numbers
    hits: dict[str, list[bool]] = {}
    for seed in range(windows):
        rng = np.random.default_rng(seed)
        reference = make(rng, known, days=4 * DAYS, day=world.get("day", 0.0))
        shift, concept, day = (world.get(name, 0.0) for name in ("shift", "concept", "day"))
        window = make(rng, fresh, shift=shift, concept=concept, day=day)
        later = Answers(window.scores, window.days + 1000, window.features)
        truth = realised(window)
        for name, found in estimator.estimate(reference, later, seed).items():
            hits.setdefault(name, []).append(found.low <= truth[name] <= found.high)
    return {name: float(np.mean(each)) for name, each in hits.items()}
