"""Detectors that look at several columns at once, for what no column shows alone: relations that change.

They need rows, not profiles: at most ``MOST_ROWS`` of the reference and of the window, drawn by the caller. Numbers
are standardized by the reference's median and spread; missing values become the median, and a column of its own says
that they were missing; categories become their frequency in the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from modelwright.monitoring.detectors.protocol import NOTHING, Effect, normal_tail
from modelwright.monitoring.profiles import Floats
from modelwright.statistics import auc_interval

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 5_000
_PAIRS = 1_000
_DRAWS = 499
_FEWEST = 20


class MultivariateDetector(Protocol):
    """A plugin that compares rows of a window with rows of the reference; made without arguments, keeps no state."""

    @property
    def name(self) -> str:
        """How configuration and events call it."""
        ...

    @property
    def floor(self) -> float:
        """The smallest effect that matters."""
        ...

    def compare(self, reference: "pd.DataFrame", window: "pd.DataFrame", seed: int) -> Effect:
        """Compare two frames of the same columns, neither of them key or time; the same seed gives the same effect."""
        ...


@dataclass(frozen=True)
class DomainClassifier:
    """How well a classifier tells rows of the window from rows of the reference: ``2 AUC - 1``, in [0, 1].

    Boosted trees, five folds, scores out of fold (Lopez-Paz & Oquab, ICLR 2017); p is that of an AUC of one half
    (DeLong, Biometrics 44, 1988).
    """

    name: str = "domain_classifier"
    floor: float = 0.2

    def compare(self, reference: "pd.DataFrame", window: "pd.DataFrame", seed: int) -> Effect:
        """See ``MultivariateDetector``."""
        if min(len(reference), len(window)) < _FEWEST:
            return NOTHING
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        first, second = standardized(reference, window)
        rows = np.concatenate([first, second])
        labels = np.repeat([0, 1], [len(first), len(second)])
        model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, random_state=seed)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        scores = cross_val_predict(model, rows, labels, cv=folds, method="predict_proba")[:, 1]
        found = auc_interval(labels, scores)
        z = (found.value - 0.5) / found.se if found.se > 0 else np.inf
        return Effect(max(0.0, 2 * found.value - 1), normal_tail(z) / 2 if z > 0 else 1.0)


@dataclass(frozen=True)
class Reconstruction:
    """How much worse the window's rows are rebuilt from the reference's principal components than its own rows.

    Components with 65 % of the variance of one half of the reference; the effect is the difference of mean errors of
    the window and of the other half, in standard deviations of the latter, in [0, inf) (Hoffmann, Pattern Recognit.
    40, 2007). p: Welch's test on the errors of rows.
    """

    name: str = "pca_reconstruction"
    floor: float = 0.25
    variance: float = 0.65

    def compare(self, reference: "pd.DataFrame", window: "pd.DataFrame", seed: int) -> Effect:
        """See ``MultivariateDetector``."""
        if min(len(reference), len(window)) < _FEWEST:
            return NOTHING
        from scipy.stats import ttest_ind

        order = np.random.default_rng(seed).permutation(len(reference))
        half = reference.iloc[order[::2]]
        first, rest = standardized(half, reference.iloc[order[1::2]])
        _, second = standardized(half, window)
        center = first.mean(axis=0)
        _, strengths, directions = np.linalg.svd(first - center, full_matrices=False)
        explained = np.cumsum(strengths**2) / max(float(np.sum(strengths**2)), 1e-300)
        kept = directions[: int(np.searchsorted(explained, self.variance)) + 1]
        usual, now = (self._errors(rows - center, kept) for rows in (rest, second))
        spread = float(usual.std())
        if spread == 0:
            return NOTHING
        p_value = float(ttest_ind(usual, now, equal_var=False).pvalue)
        return Effect(abs(float(now.mean() - usual.mean())) / spread, p_value if np.isfinite(p_value) else 1.0)

    def _errors(self, rows: Floats, kept: Floats) -> Floats:
        errors: Floats = np.linalg.norm(rows - rows @ kept.T @ kept, axis=1)
        return errors


@dataclass(frozen=True)
class MaximumMeanDiscrepancy:
    """Distance of the means in the space of a Gaussian kernel, ``sqrt(max(0, MMD^2))``, in [0, 1.42].

    Unbiased estimate (Gretton et al., JMLR 13, 2012, eq. 3), bandwidth the median distance, at most ``_PAIRS`` rows
    of each; p from ``_DRAWS`` seeded permutations with a Pearson III tail.
    """

    name: str = "mmd"
    floor: float = 0.1

    def compare(self, reference: "pd.DataFrame", window: "pd.DataFrame", seed: int) -> Effect:
        """See ``MultivariateDetector``."""
        if min(len(reference), len(window)) < _FEWEST:
            return NOTHING
        from scipy.special import gammaincc

        rng = np.random.default_rng(seed)
        first, second = (_some(rows, rng) for rows in standardized(reference, window))
        rows = np.concatenate([first, second])
        kernel = gaussian_kernel(rows, rows, median_distance(rows))
        real = (np.arange(len(rows)) < len(first)).astype(np.float64)
        found, *draws = _mmd2(kernel, np.column_stack([real, *(rng.permutation(real) for _ in range(_DRAWS))]))
        drawn = np.array(draws)
        mean, deviation = float(drawn.mean()), float(drawn.std())
        if deviation == 0 or found <= 0:
            return NOTHING
        skewness = max(float(np.mean(((drawn - mean) / deviation) ** 3)), 1e-3)
        shape, scale = 4 / skewness**2, deviation * skewness / 2
        return Effect(float(np.sqrt(found)), float(gammaincc(shape, max(0.0, (found - mean) / scale + shape))))


def standardized(reference: "pd.DataFrame", window: "pd.DataFrame") -> tuple[Floats, Floats]:
    """Return both frames as numbers, each column by the reference alone."""
    pairs = [_column(reference[name], window[name]) for name in reference.columns]
    first, second = (np.column_stack([pair[side] for pair in pairs]) for side in (0, 1))
    return first, second


def gaussian_kernel(x: Floats, y: Floats, sigma: float) -> Floats:
    """Return ``exp(-|x - y|^2 / (2 sigma^2))`` of all pairs of rows."""
    kernel: Floats = np.exp(-_squares(x, y) / (2 * sigma**2))
    return kernel


def median_distance(rows: Floats) -> float:
    """Return the median of the distances of different rows; 1 where all are alike."""
    squares = _squares(rows, rows)[np.triu_indices(len(rows), 1)]
    return float(np.sqrt(np.median(squares))) or 1.0


def mmd2(x: Floats, y: Floats, sigma: float) -> float:
    """Return the unbiased estimate of MMD^2 of two sets of rows."""
    rows = np.concatenate([x, y])
    first = (np.arange(len(rows)) < len(x)).astype(np.float64)[:, None]
    return float(_mmd2(gaussian_kernel(rows, rows, sigma), first)[0])


# --- private -----------------------------------------------------------------------------


def _squares(x: Floats, y: Floats) -> Floats:
    squares: Floats = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    return np.maximum(squares, 0.0)


def _mmd2(kernel: Floats, first: Floats) -> Floats:
    """Return MMD^2 for several ways to say which rows are the first sample.

    Args:
        kernel: of all pairs of rows.
        first: 1 for rows of the first sample, else 0; a column per way, each with as many rows.
    """
    n = float(first[:, 0].sum())
    m = len(first) - n
    within = np.einsum("ij,ij->j", first, kernel @ first)
    touching = kernel.sum(axis=1) @ first
    rest = kernel.sum() - 2 * touching + within
    squares: Floats = (within - n) / (n * (n - 1)) + (rest - m) / (m * (m - 1)) - 2 * (touching - within) / (n * m)
    return squares


def _some(rows: Floats, rng: np.random.Generator) -> Floats:
    if len(rows) <= _PAIRS:
        return rows
    chosen: Floats = rows[np.sort(rng.choice(len(rows), _PAIRS, replace=False))]
    return chosen


def _column(reference: "pd.Series[float]", window: "pd.Series[float]") -> Sequence[Floats]:
    """Return a column of both as one or two columns of numbers."""
    import pandas as pd

    both = (reference, window)
    if pd.api.types.is_bool_dtype(reference) or not pd.api.types.is_numeric_dtype(reference):
        often = reference.astype("string").value_counts(normalize=True)
        told = [one.astype("string").map(often).fillna(0.0).to_numpy(np.float64) for one in both]
        spread = float(told[0].std()) or 1.0
        return [((one - told[0].mean()) / spread)[:, None] for one in told]
    values = [one.to_numpy(np.float64, na_value=np.nan) for one in both]
    there = values[0][np.isfinite(values[0])]
    middle = float(np.median(there)) if there.size else 0.0
    low, high = np.quantile(there, [0.25, 0.75]) if there.size else (0.0, 0.0)
    scale = float(high - low) / 1.349 or float(there.std() if there.size else 0.0) or 1.0
    filled = [np.where(np.isfinite(one), one, middle) for one in values]
    scaled = [np.clip((one - middle) / scale, -_FAR, _FAR) for one in filled]
    if all(np.isfinite(one).all() for one in values):
        return [one[:, None] for one in scaled]
    return [np.column_stack([s, ~np.isfinite(v)]) for s, v in zip(scaled, values, strict=True)]


_FAR = 10.0
"""Spreads from the middle beyond which values count the same: one outlier must not be all that is seen."""
