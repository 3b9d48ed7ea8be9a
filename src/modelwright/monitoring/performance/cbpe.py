"""Confidence-based performance estimation: what a model's own probabilities say of how often it is right.

If scores are calibrated, a row with score .8 is positive in 8 of 10 cases, whatever its label will be: summed over the
rows that gives the expected confusion matrix at every threshold, and all figures of one. NannyML published the method
("Confidence-based Performance Estimation", docs 0.5, 2022; Bialek, Kuberski & Perrakis, "Estimating Model Performance
Under Covariate Shift Without Labels", arXiv:2401.08348, 2024). Ours differs in two ways: scores are calibrated by
whichever of three maps predicts labels best that it has not seen (as they are; beta calibration: Kull, Silva Filho &
Flach, AISTATS 2017; isotonic: Zadrozny & Elkan, KDD 2002), and intervals hold not only what chance the labels will
bring, but also what of the map is chance (the known days are drawn anew), and that labels of one day go together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from modelwright.errors import InvalidInput
from modelwright.flavors import single_thread
from modelwright.monitoring.performance.estimators import Answers, Days, design_effect, folds_of, within_day
from modelwright.statistics import Floats, Interval
from modelwright.taskmetrics import THRESHOLD

Calibration = Callable[[Floats], Floats]
Method = Literal["none", "beta", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "beta", "isotonic")
BINS = 500
_FOLDS = 5
_REFITS, _DRAWS = 40, 15
_EDGE = 1e-6
_BETTER = 0.002
"""By which share a map must reduce the loss to be preferred to a simpler one."""


class ConfidenceBased:
    """See the module; estimates ``auc``, ``accuracy``, ``precision``, ``recall``, ``f1`` (at .5) and ``brier``."""

    name = "cbpe"
    tasks = ("classification",)
    assumes = (
        "assumes that rows with the same score are positive as often as on the labelled rows (no concept drift), that "
        "scores are like those which were labelled, and that the model's features come from the same world"
    )

    def estimate(self, known: Answers, unknown: Answers, seed: int) -> dict[str, Interval]:
        """See ``Estimator``."""
        with single_thread()():
            return self._estimated(known, unknown, seed)

    def _estimated(self, known: Answers, unknown: Answers, seed: int) -> dict[str, Interval]:
        labels, scores = _checked(known), np.asarray(known.scores, dtype=np.float64)
        rng = np.random.default_rng(seed)
        method, unseen = chosen(scores, labels, known.days, seed)
        spread = _spread(known, labels - unseen, unknown.days, calibration(method, scores, labels))
        binned = Binned.of(unknown.scores, calibration(method, scores, labels))
        expected = binned.expected()
        samples: dict[str, list[Floats]] = {name: [] for name in expected}
        for rows in _redrawn(known.days, rng):
            if not 0 < labels[rows].sum() < len(rows):
                continue
            again = Binned.of(unknown.scores, calibration(method, scores[rows], labels[rows]))
            middle = again.expected()
            drawn = again.figures(rng.binomial(again.rows, again.rates, (_DRAWS, len(again.rows))).astype(np.float64))
            for name, values in drawn.items():
                samples[name].append(middle[name] + (values - middle[name]) * spread[name])
        return {name: _interval(value, np.concatenate(samples[name])) for name, value in expected.items()}


@dataclass(frozen=True)
class Binned:
    """Scores taken together with their neighbours; none of a bin is on the other side of the threshold.

    Attributes:
        rows: of each bin, the lowest scores first.
        rates: how many of them are positive, as a share.
        scores: their mean.
        squares: the mean of their squares.
        edges: upper ends of all bins but the last.
        there: which bins have rows.
    """

    rows: npt.NDArray[np.int64]
    rates: Floats
    scores: Floats
    squares: Floats
    edges: Floats
    there: npt.NDArray[np.intp]

    @classmethod
    def of(cls, scores: Floats, calibrated: Calibration) -> "Binned":
        """Take scores together."""
        p = np.sort(np.asarray(scores, dtype=np.float64))
        edges = p if len(p) <= BINS else np.quantile(p, np.arange(1, BINS) / BINS)
        edges = np.unique(np.concatenate([edges, [np.nextafter(THRESHOLD, 0.0)]]))
        places = np.searchsorted(edges, p, side="left")
        there, bins = np.unique(places, return_inverse=True)
        rows = np.bincount(bins)
        rates, means, squares = (np.bincount(bins, weights=values) / rows for values in (calibrated(p), p, p**2))
        return cls(rows, rates, means, squares, edges, there)

    def weights(self, scores: Floats) -> dict[str, Floats]:
        """Return by how much each figure changes per positive more, in the bin of each of the scores taken together."""
        positives = self.rows * self.rates
        before, after = self.expected(), self.figures(positives + np.eye(len(positives)))
        bins = np.searchsorted(self.there, np.searchsorted(self.edges, scores, side="left"))
        return {name: (values - before[name])[bins] for name, values in after.items()}

    def expected(self) -> dict[str, float]:
        """Return the figures of the expected numbers of positives."""
        return {name: float(values[0]) for name, values in self.figures((self.rows * self.rates)[None, :]).items()}

    def figures(self, positives: Floats) -> dict[str, Floats]:
        """Return figures by name, of shape (k,).

        Args:
            positives: how many rows of each bin are positive, shape (k, bins).
        """
        rows, said = self.rows.astype(np.float64), self.scores >= THRESHOLD
        total, every = positives.sum(axis=1), rows.sum()
        hits, answers = positives[:, said].sum(axis=1), rows[said].sum()
        negatives = rows - positives
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = total * (every - total)
        won = (positives * (below + 0.5 * negatives)).sum(axis=1)
        right = hits + (every - answers) - (total - hits)
        found = {"accuracy": right / every, "f1": _share(2 * hits, total + answers, 0.0)}
        found["auc"] = _share(won, pairs, 0.5)
        found["precision"] = _share(hits, np.full(len(hits), answers), 0.0)
        found["recall"] = _share(hits, total, 0.0)
        squares = float((rows * self.squares).sum())
        found["brier"] = (squares - 2 * positives @ self.scores + total) / every
        return found


def chosen(scores: Floats, labels: Floats, days: Days, seed: int) -> tuple[Method, Floats]:
    """Return the map that predicts labels best which it has not seen, and what it says of each row unseen."""
    folds = folds_of(days, _FOLDS, seed)
    losses: dict[Method, float] = {}
    said: dict[Method, Floats] = {}
    for method in METHODS:
        unseen = np.empty(len(scores))
        for fold in range(_FOLDS):
            out = folds == fold
            enough = out.any() and 0 < labels[~out].sum() < (~out).sum()
            fitted = calibration(method if enough else "none", scores[~out], labels[~out])
            unseen[out] = fitted(scores[out])
        said[method] = unseen
        safe = np.clip(unseen, _EDGE, 1 - _EDGE)
        losses[method] = -float(np.mean(labels * np.log(safe) + (1 - labels) * np.log(1 - safe)))
    best: Method = "none"
    for method in METHODS[1:]:
        if losses[method] < losses[best] * (1 - _BETTER):
            best = method
    return best, said[best]


def calibration(method: Method, scores: Floats, labels: Floats) -> Calibration:
    """Return a map from scores to probabilities, fitted to labelled rows."""
    if method == "none":
        return _as_they_are
    if method == "isotonic":
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, labels)
        return lambda p: np.asarray(fitted.predict(p), dtype=np.float64)
    logistic = LogisticRegression(C=1e4, max_iter=200).fit(_odds(scores), labels)
    return lambda p: np.asarray(logistic.predict_proba(_odds(p))[:, 1], dtype=np.float64)


def _spread(known: Answers, residuals: Floats, days: Days, calibrated: Calibration) -> dict[str, float]:
    """Return by how much each figure varies more than if labels of the same day were independent."""
    weights = Binned.of(known.scores, calibrated).weights(known.scores)
    return {
        name: design_effect(within_day(each * residuals, known.days), days) ** 0.5 for name, each in weights.items()
    }


def _as_they_are(scores: Floats) -> Floats:
    return np.asarray(scores, dtype=np.float64)


def _odds(scores: Floats) -> Floats:
    p = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.stack([np.log(p), -np.log(1 - p)], axis=1)


def _redrawn(days: Days, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of days that were drawn with replacement; of rows, where there are few days (Efron 1979)."""
    codes = np.unique(days, return_inverse=True)[1]
    units = int(codes.max()) + 1
    if units < _FOLDS:
        codes, units = np.arange(len(days)), len(days)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(units + 1))
    for _ in range(_REFITS):
        drawn = rng.integers(0, units, units)
        yield np.concatenate([order[starts[unit] : starts[unit + 1]] for unit in drawn])


def _checked(known: Answers) -> Floats:
    labels = np.asarray(known.labels, dtype=np.float64)
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < _FOLDS:
        raise InvalidInput(
            f"{positives} of {len(labels)} labelled rows are positive: cbpe needs {_FOLDS} of each class"
        )
    return labels


def _share(above: Floats, below: Floats, otherwise: float) -> Floats:
    found: Floats = np.divide(above, below, out=np.full(len(above), otherwise), where=below > 0)
    return found


def _interval(value: float, sample: Floats) -> Interval:
    low, high = (float(each) for each in np.quantile(sample, [0.025, 0.975]))
    return Interval(value, float(sample.std(ddof=1)), max(0.0, min(low, value)), min(1.0, max(high, value)))
