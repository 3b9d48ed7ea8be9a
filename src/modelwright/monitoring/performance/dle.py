"""Direct loss estimation: a second model says, from the features, how far off the first one will be.

On labelled rows the loss of each row is known: the absolute and the squared error of a number, the squared error of a
probability. A second model learns it from what the first was fed and what it said; its mean over rows without labels
is the estimate. NannyML published the method ("Direct Loss Estimation", docs 0.6, 2022). Ours adds intervals: of what
the losses vary around what the second model says (by size of that, on rows that it has not seen), of what the second
model itself varies when a fifth of its rows is left out (grouped jackknife; Efron & Tibshirani, "An Introduction to
the Bootstrap", 1993, ch. 11), and of how losses of one day go together.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from modelwright.errors import InvalidInput
from modelwright.flavors import single_thread
from modelwright.monitoring.performance.estimators import Answers, design_effect, folds_of, within_day
from modelwright.statistics import Floats, Interval

_FOLDS = 5
_MOST_VALUES = 200
"""Categories that the second model tells apart, of each feature; it takes 254 at most."""
_BINS = 10
_LEAST = 50
_Z = 1.959963984540054
_NUMBER = (("mae", 1), ("rmse", 2))
_PROBABILITY = (("brier", 2),)


class DirectLoss:
    """See the module; estimates ``mae`` and ``rmse`` of numbers and forecasts, ``brier`` of probabilities."""

    name = "dle"
    tasks = ("classification", "regression", "forecasting")
    assumes = (
        "assumes that rows with the same features are as hard as on the labelled rows (no concept drift), that rows "
        "like these were among them, and that the features tell hard rows from easy ones"
    )

    def estimate(self, known: Answers, unknown: Answers, seed: int) -> dict[str, Interval]:
        """See ``Estimator``."""
        if len(known) < _LEAST or known.labels is None:
            raise InvalidInput(f"{len(known)} labelled rows are too few: dle needs {_LEAST}")
        if known.features.empty or list(known.features) != list(unknown.features):
            raise InvalidInput("the features of labelled and new predictions were not logged alike: dle needs them")
        error = np.abs(known.scores - known.labels)
        classes = set(np.unique(known.labels)) <= {0.0, 1.0} and known.scores.min() >= 0 and known.scores.max() <= 1
        inputs, asked = _inputs(known, unknown)
        found = {}
        with single_thread()():
            for name, power in _PROBABILITY if classes else _NUMBER:
                mean = _mean_loss(error**power, inputs, asked, (known, unknown), seed)
                found[name] = _root(mean) if name == "rmse" else mean
        return found


def _mean_loss(
    losses: Floats, inputs: pd.DataFrame, asked: pd.DataFrame, both: tuple[Answers, Answers], seed: int
) -> Interval:
    known, unknown = both
    folds = folds_of(known.days, _FOLDS, seed)
    said, ahead = np.empty(len(losses)), []
    for fold in range(_FOLDS):
        out = folds == fold
        model = _fitted(inputs[~out], losses[~out], seed)
        if out.any():
            said[out] = model.predict(inputs[out])
        ahead.append(np.maximum(np.asarray(model.predict(asked), dtype=np.float64), 0.0))
    residuals = losses - np.maximum(said, 0.0)
    each = np.mean(ahead, axis=0)
    means = np.array([values.mean() for values in ahead])
    value = float(each.mean() + residuals.mean())
    correlation = within_day(residuals, known.days)
    chance = _variance(np.maximum(said, 0.0), residuals, each) / len(each) * design_effect(correlation, unknown.days)
    bias = float(residuals.var(ddof=1)) / len(residuals) * design_effect(correlation, known.days)
    # folds share most of their rows: the jackknife's factor makes up for it
    model_variance = (_FOLDS - 1) / _FOLDS * float(((means - means.mean()) ** 2).sum())
    se = math.sqrt(chance + bias + model_variance)
    return Interval(max(0.0, value), se, max(0.0, value - _Z * se), value + _Z * se)


def _variance(said: Floats, residuals: Floats, ahead: Floats) -> float:
    """Return the mean variance of losses around what is said of them, which grows with it."""
    edges = np.unique(np.quantile(said, np.arange(1, _BINS) / _BINS))
    bins, places = np.searchsorted(edges, said), np.searchsorted(edges, ahead)
    rows = np.bincount(bins, minlength=len(edges) + 1)
    squares = np.bincount(bins, weights=residuals**2, minlength=len(edges) + 1) / np.maximum(rows, 1)
    means = np.bincount(bins, weights=said, minlength=len(edges) + 1) / np.maximum(rows, 1)
    # beyond the largest loss that was said so far the spread goes on in proportion
    beyond = np.where(places == len(edges), np.maximum(ahead / max(means[-1], 1e-300), 1.0) ** 2, 1.0)
    return float((squares[places] * beyond).mean())


def _fitted(inputs: pd.DataFrame, losses: Floats, seed: int) -> Any:
    model = HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1.0,
        categorical_features="from_dtype", early_stopping=False, random_state=seed % 2**32,
    )  # fmt: skip
    return model.fit(inputs, losses)


def _inputs(known: Answers, unknown: Answers) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the second model is fed: the features, and what the first one said."""
    first: dict[str, Any] = {"score": known.scores}
    second: dict[str, Any] = {"score": unknown.scores}
    for name in known.features.columns:
        one, other = known.features[name], unknown.features[name]
        if one.dtype.kind == "f" and other.dtype.kind == "f":
            first[f"feature {name}"], second[f"feature {name}"] = one.to_numpy(), other.to_numpy()
        else:
            values = one.dropna().astype(str).value_counts().index[:_MOST_VALUES]
            for told, column in ((first, one), (second, other)):
                told[f"feature {name}"] = pd.Categorical(column.astype(str).where(column.notna()), categories=values)
    return pd.DataFrame(first), pd.DataFrame(second)


def _root(found: Interval) -> Interval:
    """Return the root of a mean of squares with its interval."""
    value, low, high = (math.sqrt(max(0.0, each)) for each in (found.value, found.low, found.high))
    return Interval(value, found.se / (2 * value) if value > 0 else found.se, low, high)
