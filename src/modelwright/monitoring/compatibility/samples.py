"""Tests of two samples of rows, with what the compared tools let pass: NaN results, clipped tails, tables as given."""

import warnings
from typing import Literal, NamedTuple

import numpy as np

from modelwright.monitoring.compatibility.binning import Values, counted
from modelwright.monitoring.distributions import Floats


class Result(NamedTuple):
    """A test's result."""

    statistic: float
    p_value: float


def anderson(first: Values, second: Values) -> Result:
    """Return the two-sample Anderson-Darling statistic and its p-value (Scholz & Stephens 1987), in [0.001, 0.25].

    Raises:
        ValueError: all values are the same.
    """
    from scipy.stats import anderson_ksamp

    with warnings.catch_warnings():
        # the two samples are compared with midranks, and p-values beyond the table are its ends: both as wanted
        warnings.simplefilter("ignore")
        found = anderson_ksamp([first, second])
    return Result(float(found.statistic), float(found.pvalue))


def t_test(first: Values, second: Values, *, equal_variances: bool) -> Result:
    """Return Student's or Welch's t and its p-value: NaN where no value differs, infinite where only the means do."""
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        # scipy warns of values that are nearly the same, and divides by their variance all the same
        warnings.simplefilter("ignore", RuntimeWarning)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = ttest_ind(first, second, equal_var=equal_variances)
    return Result(float(found.statistic), float(found.pvalue))


def epps_singleton(first: Values, second: Values) -> Result:
    """Return the statistic of the two samples' characteristic functions and its p-value (Epps & Singleton 1986).

    Raises:
        LinAlgError: no value differs.
    """
    from scipy.stats import epps_singleton_2samp

    with warnings.catch_warnings():
        # samples that are constants, or far apart, have a covariance without full rank: the compared tools go on
        warnings.simplefilter("ignore")
        found = epps_singleton_2samp(first, second)
    return Result(float(found.statistic), float(found.pvalue))


def mann_whitney(first: Values, second: Values, alternative: Literal["two-sided", "less"]) -> Result:
    """Return U of the first sample and its p-value (Mann & Whitney 1947), corrected for ties and continuity."""
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(first, second, alternative=alternative)
    return Result(float(found.statistic), float(found.pvalue))


def table(first: Values, second: Values) -> Floats:
    """Return the contingency table of two samples of categories, one row each."""
    rows = counted(first), counted(second)
    names = sorted({*rows[0], *rows[1]})
    return np.array([[row.get(name, 0) for name in names] for row in rows], dtype=np.float64)


def contingency(counts: Floats) -> Result:
    """Return chi-square of homogeneity and its p-value, with Yates' correction where there are two categories."""
    from scipy.stats import chi2_contingency

    found = chi2_contingency(counts)
    return Result(float(found.statistic), float(found.pvalue))


def fit(counts: Floats) -> Result:
    """Return chi-square of the second row against the first, scaled, as if that were known exactly; and its p-value.

    A category that the first row lacks makes it infinite.
    """
    from scipy.stats import chisquare

    with np.errstate(divide="ignore"):
        found = chisquare(counts[1], counts[0] * (counts[1].sum() / counts[0].sum()))
    return Result(float(found.statistic), float(found.pvalue))


def fisher(counts: Floats, alternative: Literal["two-sided", "greater"] = "two-sided") -> Result:
    """Return the odds ratio of a table of two rows and columns, and the p-value of Fisher's exact test (1922)."""
    from scipy.stats import fisher_exact

    found = fisher_exact(counts.astype(np.int64), alternative=alternative)
    return Result(float(found.statistic), float(found.pvalue))
