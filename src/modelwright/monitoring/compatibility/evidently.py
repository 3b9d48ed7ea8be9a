"""What Evidently computes and decides by default, faults included, for people who move over.

Its choice hangs on the reference's rows and on the column (``default_method``); every column that its method calls
drifted counts, without correction for how many there are, without a floor and without a second window; missing and
infinite values are dropped before anything is looked at. Known faults that are kept: the chi-square test takes the
reference as exact, the G test raises whenever the samples differ in size, Mann-Whitney looks at one side only, ``z``
compares one category with all others, and a p-value of many rows calls the smallest shift drift.

Figures are those of version 0.7 (``tests/monitoring/data/drift/evidently.json``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modelwright.monitoring.compatibility import samples
from modelwright.monitoring.compatibility.binning import Shares, Values, by_category, by_width, counted, jensen_shannon

MANY_ROWS = 1000
"""References with more rows are compared by a distance, others by a test."""
FEW_VALUES = 5
BINARY = 2
DRIFT_SHARE = 0.5
"""Share of drifted columns from which the data set drifts."""
_DISCRETE = 20
_ZERO_SHARE = 0.0001

Kind = Literal["num", "cat"]


@dataclass(frozen=True)
class Method:
    """One of its tests.

    Attributes:
        title: how its reports call it.
        kinds: what it is registered for.
        threshold: its default.
        score: of reference and window, without missing and infinite values.
        small_is_drift: whether the score is a p-value.
        at_threshold: whether a score at the threshold is drift.
    """

    title: str
    kinds: tuple[Kind, ...]
    threshold: float
    score: Callable[[Values, Values, Kind], float]
    small_is_drift: bool = True
    at_threshold: bool = False

    def drifted(self, score: float, threshold: float | None = None) -> bool:
        """Say what it makes of a score."""
        limit = self.threshold if threshold is None else threshold
        beyond = score < limit if self.small_is_drift else score > limit
        return beyond or (self.at_threshold and score == limit)


def default_method(reference: Values, window: Values, kind: Kind) -> str:
    """Return the name of the method that it takes where none is named."""
    distinct = len(counted(np.concatenate([reference, window])))
    if len(reference) > MANY_ROWS:
        return "wasserstein" if kind == "num" and distinct > FEW_VALUES else "jensenshannon"
    if kind == "num" and distinct > FEW_VALUES:
        return "ks"
    return "chisquare" if distinct > BINARY else "z"


def kolmogorov_smirnov(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of the two-sided test."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(reference, window).pvalue)


def wasserstein(reference: Values, window: Values, kind: Kind) -> float:
    """Return the distance over the reference's standard deviation, which it takes to be at least 0.001."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(reference, window)) / max(float(np.std(reference)), 0.001)


def jensen_shannon_distance(reference: Values, window: Values, kind: Kind) -> float:
    """Return the distance to base e, in [0, .83]."""
    return jensen_shannon(_shares(reference, window, kind))


def stability_index(reference: Values, window: Values, kind: Kind) -> float:
    """Return PSI, empty bins raised."""
    p, q = _raised(_shares(reference, window, kind))
    return float(np.sum((p - q) * np.log(p / q)))


def divergence(reference: Values, window: Values, kind: Kind) -> float:
    """Return the Kullback-Leibler divergence, empty bins raised."""
    from scipy.stats import entropy

    return float(entropy(*_raised(_shares(reference, window, kind))))


def hellinger(reference: Values, window: Values, kind: Kind) -> float:
    """Return the Hellinger distance; the bins of numbers follow from the *different* values of both samples."""
    if kind == "cat":
        p, q = by_category(reference, window)
    else:
        edges = np.histogram_bin_edges(np.unique(np.concatenate([reference, window])), bins="sturges")
        p, q = (np.histogram(one, edges)[0] / len(one) for one in (reference, window))
    return math.sqrt(1 - min(1.0, max(0.0, float(np.sum(np.sqrt(p * q))))))


def chi_square(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of a test of fit that takes the reference's shares as known exactly."""
    return samples.fit(samples.table(reference, window)).p_value


def z_test(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value for the share of the first category, by value, against all others together."""
    from scipy.stats import norm

    names = sorted({*counted(reference), *counted(window)})
    if len(names) == 1:
        return 1.0
    n, m = len(reference), len(window)
    p, q = (float(np.mean(one != names[0])) for one in (reference, window))
    pooled = (p * n + q * m) / (n + m)
    statistic = (p - q) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return float(2 * (1 - norm.cdf(abs(statistic))))


def g_test(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of a likelihood ratio test of fit.

    Raises:
        ValueError: the samples differ in size, for the reference's counts are not scaled.
    """
    from scipy.stats import power_divergence

    first, second = counted(reference), counted(window)
    names = sorted({*first, *second})
    observed, expected = [second.get(n, 0) for n in names], [first.get(n, 0) for n in names]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(power_divergence(observed, expected, lambda_="log-likelihood").pvalue)


def fisher_exact(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of Fisher's exact test.

    Raises:
        ValueError: there are more than two categories, or the samples differ in size.
    """
    found = samples.table(reference, window)
    if found.shape[1] > BINARY:
        raise ValueError("Fisher's exact test needs columns of two categories")
    if len(reference) != len(window):
        raise ValueError(f"this Fisher's exact test needs samples of one size, not {len(reference)} and {len(window)}")
    return samples.fisher(found[::-1]).p_value if found.shape[1] == BINARY else 1.0


def anderson_darling(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of the two-sample test, which is between 0.001 and 0.25."""
    return samples.anderson(reference, window).p_value


def cramer_von_mises(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of the two-sample test."""
    from scipy.stats import cramervonmises_2samp

    return float(cramervonmises_2samp(reference, window).pvalue)


def energy(reference: Values, window: Values, kind: Kind) -> float:
    """Return the energy distance, in the square root of the values' unit."""
    from scipy.stats import energy_distance

    return float(energy_distance(reference, window))


def epps_singleton(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of the test of the characteristic functions.

    Raises:
        ValueError: half of all values are the same.
    """
    from scipy.stats import iqr

    if iqr(np.concatenate([reference, window])) == 0:
        raise ValueError("the Epps-Singleton test needs values whose middle half differs")
    return samples.epps_singleton(reference, window).p_value


def mann_whitney(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value against the reference being smaller; a fall of the values it never sees."""
    return samples.mann_whitney(reference, window, "less").p_value


def student(reference: Values, window: Values, kind: Kind) -> float:
    """Return the p-value of Student's test, which takes the variances to be equal; NaN where both are 0 and alike."""
    return samples.t_test(reference, window, equal_variances=True).p_value


METHODS: dict[str, Method] = {
    "anderson": Method("Anderson-Darling", ("num",), 0.1, anderson_darling),
    "chisquare": Method("chi-square p_value", ("cat",), 0.05, chi_square),
    "cramer_von_mises": Method("Cramer-von Mises", ("num",), 0.1, cramer_von_mises, at_threshold=True),
    "ed": Method("Energy-distance", ("num",), 0.1, energy, small_is_drift=False),
    "es": Method("Epps-Singleton", ("num",), 0.05, epps_singleton),
    "fisher_exact": Method("Fisher's Exact test", ("cat",), 0.1, fisher_exact),
    "g_test": Method("g_test", ("cat",), 0.1, g_test),
    "hellinger": Method("Hellinger distance", ("cat", "num"), 0.1, hellinger, False, True),
    "jensenshannon": Method("Jensen-Shannon distance", ("cat", "num"), 0.1, jensen_shannon_distance, False, True),
    "kl_div": Method("Kullback-Leibler divergence", ("cat", "num"), 0.1, divergence, False, True),
    "ks": Method("K-S p_value", ("num",), 0.05, kolmogorov_smirnov, at_threshold=True),
    "mannw": Method("Mann-Whitney U-rank test", ("num",), 0.05, mann_whitney),
    "psi": Method("PSI", ("cat", "num"), 0.1, stability_index, False, True),
    "t_test": Method("t_test", ("num",), 0.05, student),
    "wasserstein": Method("Wasserstein distance (normed)", ("num",), 0.1, wasserstein, False, True),
    "z": Method("Z-test p_value", ("cat",), 0.05, z_test),
}
"""Its tests by the names under which it registers them."""


def _shares(reference: Values, window: Values, kind: Kind) -> Shares:
    if kind == "num" and len(counted(reference)) > _DISCRETE:
        return by_width(reference, window, "sturges", pooled=True)
    return by_category(reference, window)


def _raised(shares: Shares) -> Shares:
    return Shares(*(np.where(one == 0, _least(one), one) for one in shares))


def _least(shares: Values) -> float:
    smallest = float(shares[shares != 0].min())
    return smallest / 1e6 if smallest <= _ZERO_SHARE else _ZERO_SHARE
