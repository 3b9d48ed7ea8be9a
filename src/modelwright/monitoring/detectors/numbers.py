"""Distances of two distributions of numbers, each a plugin with its effect, p-value, range and source.

The functions take ``Distribution``s: exact ones give what textbooks and scipy give, those of sketches the same
within the sketch's error of a rank. Ties count as they are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelwright.monitoring.detectors.protocol import NOTHING, Effect, Kinds, Statistic, kolmogorov_tail
from modelwright.monitoring.distributions import Distribution
from modelwright.monitoring.profiles import ColumnProfile, Floats

NUMBERS: Kinds = ("numbers",)
_LIMIT_A2 = 6.0
_LIMIT_KS = 20_000


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Largest difference of the two distribution functions, in [0, 1]; see ``kolmogorov_smirnov``.

    A normal that moves by .15 standard deviations makes .06. p takes off what sketches may be wrong by.
    """

    name: str = "ks"
    floor: float = 0.06
    kinds: Kinds = NUMBERS

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return NOTHING
        slack = reference.sketch.error / reference.count + window.sketch.error / window.count
        return Effect(*kolmogorov_smirnov(reference.distribution, window.distribution, slack))


@dataclass(frozen=True)
class CramerVonMises:
    """Root mean square difference of the two distribution functions, in [0, 0.58].

    The effect is ``sqrt(mean (F - G)^2)`` over all values of both; a shift of .15 standard deviations of a normal
    makes .045. The p-value is of ``cramer_von_mises``; where values repeat, for which that is none, of permutations.
    """

    name: str = "cramer_von_mises"
    floor: float = 0.045
    kinds: Kinds = NUMBERS

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return NOTHING
        pooled, f, g = _steps(reference.distribution, window.distribution)
        effect = math.sqrt(float(np.average((f - g) ** 2, weights=pooled)))
        if not effect:
            return NOTHING
        if _tied(pooled):
            return Effect(effect, _permuted(reference.distribution, window.distribution, effect**2, _mean_square))
        return Effect(effect, cramer_von_mises(reference.distribution, window.distribution).p_value)


@dataclass(frozen=True)
class AndersonDarling:
    """Difference of the two distribution functions, weighted where few values lie, in [0, 1].

    The effect is ``sqrt(mean (F - G)^2 / (H (1 - H)))`` with ``H`` the distribution of both together: tails count
    more than in Cramér-von Mises. The p-value is that of the limit law; where values repeat, of permutations.
    """

    name: str = "anderson_darling"
    floor: float = 0.1
    kinds: Kinds = NUMBERS

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return NOTHING
        a2 = _a2(reference.distribution, window.distribution)
        n, m = reference.distribution.count, window.distribution.count
        effect = math.sqrt(max(0.0, a2 * (n + m) / (n * m)))
        if not effect:
            return NOTHING
        pooled, f, g = _steps(reference.distribution, window.distribution)
        if not _tied(pooled):
            return Effect(effect, anderson_darling_tail(a2))
        found = float(_weighted_square(f - g, pooled / pooled.sum()))
        return Effect(effect, _permuted(reference.distribution, window.distribution, found, _weighted_square))


@dataclass(frozen=True)
class Wasserstein:
    """Area between the two distribution functions, in units of the reference's spread, in [0, inf).

    ``W = integral |F - G| dx`` (Vaserstein 1969) over the interquartile range / 1.349, which heavy tails do not
    move (the standard deviation where it is 0). The p-value comes from permutations (``_DRAWS`` resamples of both
    together, seeded), whose tail is a Pearson III distribution with their mean, variance and skewness (Josse, Pages &
    Husson, Comput. Stat. Data Anal. 53, 2008), since so few draws alone could never survive a correction over many
    columns.
    """

    name: str = "wasserstein"
    floor: float = 0.15
    kinds: Kinds = NUMBERS

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return NOTHING
        a, b = reference.distribution, window.distribution
        scale = _spread(a) or _deviation(a) or _deviation(b)
        distance = wasserstein(a, b)
        if not distance or not scale:
            return NOTHING
        gaps = np.diff(Distribution.mixed([a, b]).points)
        return Effect(distance / scale, _permuted(a, b, distance, lambda steps, _: np.abs(steps)[..., :-1] @ gaps))


def kolmogorov_smirnov(a: Distribution, b: Distribution, slack: float = 0.0) -> Statistic:
    """Return ``sup |F - G|`` and its two-sided p-value, which is of so much less as ``slack`` says.

    p is that of the one-sample statistic at ``n m / (n + m)`` values (Simard & L'Ecuyer, J. Stat. Softw. 39, 2011),
    which is close for continuous values and errs on the quiet side where values repeat; of more than ``_LIMIT_KS``
    the limit's with Vrbik's correction (Pioneer J. Theor. Appl. Stat. 15, 2018), since the former takes seconds there.
    """
    _, f, g = _steps(a, b)
    distance = float(np.max(np.abs(f - g), initial=0.0))
    if distance <= 0:
        return Statistic(0.0, 1.0)
    size = a.count * b.count / (a.count + b.count)
    surely = max(0.0, distance - slack)
    if size > _LIMIT_KS:
        scaled = surely * math.sqrt(size)
        return Statistic(distance, kolmogorov_tail(scaled + 1 / (6 * math.sqrt(size)) + (scaled - 1) / (4 * size)))
    from scipy.stats import kstwo

    return Statistic(distance, float(min(1.0, max(0.0, kstwo.sf(surely, max(1, round(size)))))))


def cramer_von_mises(a: Distribution, b: Distribution, precision: float = 1e-17) -> Statistic:
    """Return ``T`` with midranks and its p-value from the limit, with the mean and variance of finite samples.

    Anderson, Ann. Math. Stat. 33 (1962), eq. 9 and 10; Conover, Practical Nonparametric Statistics (1999), p. 461.

    Args:
        a: one sample.
        b: the other.
        precision: where the limit's series stops; scipy's is 1e-7.
    """
    n, m = a.count, b.count
    both, k = n + m, n * m
    total = n * _rank_squares(a, b) + m * _rank_squares(b, a)
    t = total / (k * both) - (4 * k - 1) / (6 * both)
    mean = (1 + 1 / both) / 6
    variance = (both + 1) * (4 * k * both - 3 * (n**2 + m**2) - 2 * k) / (45 * both**2 * 4 * k)
    standard = 1 / 6 + (t - mean) / math.sqrt(45 * variance) if variance > 0 else 0.0
    return Statistic(t, 1.0 if standard < 0.003 else max(0.0, 1 - _cramer_von_mises_limit(standard, precision)))


def anderson_darling(a: Distribution, b: Distribution) -> Statistic:
    """Return the standardized two-sample statistic with midranks, and its p-value interpolated from the table.

    Scholz & Stephens, JASA 82 (1987), eq. 7 and table 1: p lies in [0.001, 0.25] only.
    """
    n, m = a.count, b.count
    standard = (_a2(a, b) - 1) / math.sqrt(_a2_variance(n, m))
    base = np.array([0.675, 1.281, 1.645, 1.96, 2.326, 2.573, 3.085])
    slope = np.array([-0.245, 0.25, 0.678, 1.149, 1.822, 2.364, 3.615])
    square = np.array([-0.105, -0.305, -0.362, -0.391, -0.396, -0.345, -0.154])
    critical, levels = base + slope + square, np.array([0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001])
    if standard < critical.min():
        return Statistic(standard, float(levels.max()))
    if standard > critical.max():
        return Statistic(standard, float(levels.min()))
    fitted = np.polyfit(critical, np.log(levels), 2)
    return Statistic(standard, math.exp(float(np.polyval(fitted, standard))))


def anderson_darling_tail(a2: float) -> float:
    """Return ``P(A^2 > a2)`` of the limit: Marsaglia & Marsaglia (J. Stat. Softw. 9, 2004), beyond 6 Zolotarev's tail.

    The limit is ``sum X_j / (j (j + 1))`` of chi-squares with one degree; the tail of such a sum is that of its first
    term times ``prod (1 - 2 / (j (j + 1)))^(-1/2) = sqrt(3)`` (Zolotarev, Theory Probab. Appl. 6, 1961).
    """
    if a2 <= 0:
        return 1.0
    if a2 >= _LIMIT_A2:
        return math.sqrt(3) * math.erfc(math.sqrt(a2))
    if a2 < 2:
        series = np.polyval([0.00168691, -0.0116720, 0.0347962, -0.0649821, 0.247105, 2.00012], a2)
        below = math.exp(-1.2337141 / a2) / math.sqrt(a2) * float(series)
    else:
        series = np.polyval([-0.0003146, 0.008056, -0.082433, 0.43424, -2.30695, 1.0776], a2)
        below = math.exp(-math.exp(float(series)))
    return min(1.0, max(0.0, 1 - below))


def wasserstein(a: Distribution, b: Distribution) -> float:
    """Return the area between the two distribution functions, in units of the values."""
    points = np.union1d(a.points, b.points)
    gaps = np.abs(a.cumulative(points[:-1]) - b.cumulative(points[:-1]))
    return float(np.sum(gaps * np.diff(points)))


# --- private -----------------------------------------------------------------------------

_DRAWS = 499
_TIED = 0.02
_SMALLEST = 1e-12
_TERMS = 10_000


def _steps(a: Distribution, b: Distribution) -> tuple[Floats, Floats, Floats]:
    """Return weight of both together, and heights of each, at every point of either."""
    pooled = Distribution.mixed([a, b])
    return pooled.weights, a.cumulative(pooled.points), b.cumulative(pooled.points)


def _rank_squares(a: Distribution, b: Distribution) -> float:
    """Return ``sum (rank among both - rank among its own)^2`` over the values of ``a``, with midranks among both."""
    ends = np.cumsum(a.weights)
    own = ends - (a.weights - 1) / 2
    low, high = (np.round(share * b.count) for share in (b.below(a.points), b.cumulative(a.points)))
    middle = ends - a.weights + low + (a.weights + high - low + 1) / 2
    return float(np.sum(a.weights * (middle - own) ** 2 + a.weights * (a.weights**2 - 1) / 12))


def _cramer_von_mises_limit(x: float, precision: float) -> float:
    """Return the limit's distribution function (Csorgo & Faraway, JRSS-B 58, 1996, eq. 1.2)."""
    from scipy.special import gammaln, kve

    total = 0.0
    for k in range(_TERMS):
        y = 4 * k + 1
        q = y**2 / (16 * x)
        factor = math.exp(float(gammaln(k + 0.5)) - float(gammaln(k + 1))) / (math.pi**1.5 * math.sqrt(x))
        term = factor * math.sqrt(y) * math.exp(-2 * q) * float(kve(0.25, q))
        total += term
        if term < precision:
            break
    return total


def _a2(a: Distribution, b: Distribution) -> float:
    pooled = Distribution.mixed([a, b])
    n = np.array([a.count, b.count])
    both = n.sum()
    ties = pooled.weights
    middle = np.cumsum(ties) - ties / 2
    denominator = middle * (both - middle) - both * ties / 4
    real = denominator > 0
    total = 0.0
    for one, size in zip((a, b), n, strict=True):
        within = (one.below(pooled.points) + one.cumulative(pooled.points)) / 2 * size
        squares = (both * within - middle * size) ** 2
        total += float(np.sum(ties[real] / both * squares[real] / denominator[real])) / size
    return float(total * (both - 1) / both)


def _a2_variance(n: float, m: float) -> float:
    both, groups = n + m, 2
    inverse = 1 / n + 1 / m
    harmonic = np.cumsum(1.0 / np.arange(both - 1, 1, -1))
    h = float(harmonic[-1]) + 1
    g = float(np.sum(harmonic / np.arange(2, both)))
    a = (4 * g - 6) * (groups - 1) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * groups**2 + 8 * h * groups + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * groups**2 + (4 * h - 4 * g + 6) * groups + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * groups**2 - 4 * h * groups
    return float((a * both**3 + b * both**2 + c * both + d) / ((both - 1) * (both - 2) * (both - 3)))


def _spread(a: Distribution) -> float:
    low, high = a.quantiles([0.25, 0.75])
    return float(high - low) / 1.349


def _deviation(a: Distribution) -> float:
    mean = float(np.average(a.points, weights=a.weights))
    return math.sqrt(float(np.average((a.points - mean) ** 2, weights=a.weights)))


def _tied(pooled: Floats) -> bool:
    return float(pooled.max()) > _TIED * float(pooled.sum())


def _mean_square(steps: Floats, chances: Floats) -> Floats:
    found: Floats = steps**2 @ chances
    return found


def _weighted_square(steps: Floats, chances: Floats) -> Floats:
    heights = np.cumsum(chances)[:-1]
    found: Floats = steps[..., :-1] ** 2 @ (chances[:-1] / np.maximum(heights * (1 - heights), _SMALLEST))
    return found


def _permuted(a: Distribution, b: Distribution, found: float, measure: Callable[[Floats, Floats], Floats]) -> float:
    """Return how likely so large a distance is, were both drawn from what they are together.

    Args:
        a: one sample.
        b: the other.
        found: how large it is.
        measure: gives it from differences of heights at the points of both, and the points' shares.
    """
    from scipy.special import gammaincc

    pooled = Distribution.mixed([a, b])
    rng = np.random.default_rng(len(pooled.points))
    chances = pooled.weights / pooled.count
    n, m = round(a.count), round(b.count)
    first, second = (np.cumsum(rng.multinomial(size, chances, _DRAWS), axis=1) / size for size in (n, m))
    drawn = measure(first - second, chances)
    mean, deviation = float(drawn.mean()), float(drawn.std())
    if deviation <= 0:
        return 1.0
    skewness = max(float(np.mean(((drawn - mean) / deviation) ** 3)), 1e-3)
    shape, scale = 4 / skewness**2, deviation * skewness / 2
    return float(gammaincc(shape, max(0.0, (found - mean) / scale + shape)))
