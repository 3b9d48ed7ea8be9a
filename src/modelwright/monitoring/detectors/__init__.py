"""Drift detectors: how far a window is from its reference; plugins of ``modelwright.detectors``.

A detector of one column gives an *effect* (a distance with a floor below which nobody cares) and a *p-value* (how
likely so much by chance, were rows independent). Both are needed, and the verdict adds what neither knows: how
much accepted windows differ from each other. They see profiles only, so that a window of any size costs the same.

=================  ===========================================================================
``numbers``        distances of distribution functions: Kolmogorov-Smirnov, Cramér-von Mises, Anderson-Darling,
                   Wasserstein
``binned``         distances of shares: PSI, Jensen-Shannon, Hellinger, L-infinity, total variation, chi-square, G
``rates``          missing, infinite, unseen, out of range, type
``multivariate``   several columns at once, on rows: domain classifier, PCA reconstruction, MMD
``streaming``      errors one by one: ADWIN, DDM, HDDM-A, Page-Hinkley, KSWIN
=================  ===========================================================================
"""

from modelwright.monitoring.detectors.binned import (
    ChiSquare,
    GTest,
    Hellinger,
    JensenShannon,
    LInfinity,
    PopulationStability,
    TotalVariation,
)
from modelwright.monitoring.detectors.numbers import AndersonDarling, CramerVonMises, KolmogorovSmirnov, Wasserstein
from modelwright.monitoring.detectors.protocol import (
    Detector,
    Effect,
    Statistic,
    chi_square_tail,
    kolmogorov_tail,
    shares,
)
from modelwright.monitoring.detectors.rates import (
    InfiniteRateShift,
    MissingRateShift,
    OutOfRange,
    TypeChange,
    UnseenCategories,
)

__all__ = [
    "AndersonDarling",
    "ChiSquare",
    "CramerVonMises",
    "Detector",
    "Effect",
    "GTest",
    "Hellinger",
    "InfiniteRateShift",
    "JensenShannon",
    "KolmogorovSmirnov",
    "LInfinity",
    "MissingRateShift",
    "OutOfRange",
    "PopulationStability",
    "Statistic",
    "TotalVariation",
    "TypeChange",
    "UnseenCategories",
    "Wasserstein",
    "chi_square_tail",
    "kolmogorov_tail",
    "shares",
]
