"""Detectors of change in a stream of errors, one at a time, in bounded memory.

Each is told one error after another (0 or 1, or for ``Adwin``, ``PageHinkley``, ``HddmA`` and ``Kswin`` a loss; the
bounds of ``Adwin`` and ``HddmA`` hold for losses in [0, 1]) and says after each whether the stream changed. What
they keep is plain data (``state``), so that a function can put it away between two invocations.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np


class StreamDetector(Protocol):
    """Says after each error whether the stream changed; begins anew after a change."""

    def update(self, error: float) -> bool:
        """Take the next error; return whether the stream changed."""
        ...


class _Stateful:
    """What is kept, as plain data."""

    def state(self) -> dict[str, Any]:
        """Return all that it knows, as JSON can say it."""
        return {name: list(value) if isinstance(value, list) else value for name, value in vars(self).items()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return a detector as it was when ``state`` was taken."""
        made = cls()
        for name, value in state.items():
            setattr(made, name, list(value) if isinstance(value, list) else value)
        return made

    def changes(self, errors: Iterable[float]) -> list[int]:
        """Return the places of the errors after which the stream changed."""
        return [place for place, error in enumerate(errors) if self.update(error)]

    def update(self, error: float) -> bool:
        """See ``StreamDetector``."""
        raise NotImplementedError


@dataclass
class Ddm(_Stateful):
    """Drift detection method (Gama, Medas, Castillo & Rodrigues, SBIA 2004): the error rate rose over its lowest.

    Change when ``p + s >= p_min + level * s_min`` with ``s = sqrt(p (1 - p) / n)``, after ``least`` errors.
    """

    level: float = 3.0
    least: int = 30
    n: int = 0
    p: float = 0.0
    best: float = math.inf
    best_p: float = math.inf
    best_s: float = math.inf

    def update(self, error: float) -> bool:
        """See ``StreamDetector``."""
        self.n += 1
        self.p += (error - self.p) / self.n
        s = math.sqrt(max(0.0, self.p * (1 - self.p)) / self.n)
        if self.n < self.least:
            return False
        if self.p + s <= self.best:
            self.best, self.best_p, self.best_s = self.p + s, self.p, s
        if self.p + s <= self.best_p + self.level * self.best_s or self.p <= self.best_p:
            return False
        self.n, self.p, self.best, self.best_p, self.best_s = 0, 0.0, math.inf, math.inf, math.inf
        return True


@dataclass
class PageHinkley(_Stateful):
    """Page-Hinkley test of a rise of the mean (Page, Biometrika 41, 1954; Hinkley, Biometrika 58, 1971).

    Change when ``m - min m > threshold`` with ``m = sum (x - mean - delta)``, after ``least`` errors.
    """

    delta: float = 0.005
    threshold: float = 50.0
    least: int = 30
    n: int = 0
    mean: float = 0.0
    total: float = 0.0
    lowest: float = 0.0

    def update(self, error: float) -> bool:
        """See ``StreamDetector``."""
        self.n += 1
        self.mean += (error - self.mean) / self.n
        self.total += error - self.mean - self.delta
        self.lowest = min(self.lowest, self.total)
        if self.n < self.least or self.total - self.lowest <= self.threshold:
            return False
        self.n, self.mean, self.total, self.lowest = 0, 0.0, 0.0, 0.0
        return True


@dataclass
class HddmA(_Stateful):
    """Hoeffding's bounds on moving averages, a rise of the mean (Frias-Blanco et al., IEEE TKDE 27, 2015, test A).

    The prefix with the lowest upper bound of its mean is kept; change when the mean of all that came since is higher
    by Hoeffding's bound at ``confidence``. Errors lie in [0, 1].
    """

    confidence: float = 0.001
    n: int = 0
    total: float = 0.0
    cut_n: int = 0
    cut_total: float = 0.0

    def update(self, error: float) -> bool:
        """See ``StreamDetector``."""
        self.n += 1
        self.total += error
        log = math.log(1 / self.confidence)
        upper = self.total / self.n + math.sqrt(log / (2 * self.n))
        if not self.cut_n or upper <= self.cut_total / self.cut_n + math.sqrt(log / (2 * self.cut_n)):
            self.cut_n, self.cut_total = self.n, self.total
            return False
        since = self.n - self.cut_n
        bound = math.sqrt(since / (2 * self.cut_n * self.n) * log)
        if self.total / self.n - self.cut_total / self.cut_n < bound:
            return False
        self.n, self.total, self.cut_n, self.cut_total = 0, 0.0, 0, 0.0
        return True


@dataclass
class Adwin(_Stateful):
    """Adaptive windowing (Bifet & Gavalda, SDM 2007): the window is cut where its two parts differ.

    An exponential histogram: buckets of ``2^k`` errors, at most ``most`` of each size. After every ``every`` errors
    each cut is tested with ``eps = sqrt(2 / m * v * ln(2 / d)) + 2 / (3 m) * ln(2 / d)``, ``m`` the harmonic sum of
    both lengths, ``v`` the variance, ``d = delta / ln n``; older parts that differ are dropped.
    """

    delta: float = 0.002
    most: int = 5
    every: int = 32
    least: int = 10
    seen: int = 0
    sizes: list[int] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Errors in the window."""
        return sum(self.sizes)

    @property
    def mean(self) -> float:
        """Mean of the window."""
        return sum(self.totals) / max(1, self.n)

    def update(self, error: float) -> bool:
        """See ``StreamDetector``."""
        self.seen += 1
        self.sizes.append(1)
        self.totals.append(error)
        self.squares.append(error * error)
        self._merge()
        if self.seen % self.every or self.n < 2 * self.least:
            return False
        changed = False
        while self._cut():
            changed = True
        return changed

    def _merge(self) -> None:
        """Join the two oldest buckets of a size of which there are too many, from the smallest size up."""
        end = len(self.sizes)
        while end > 0:
            size = self.sizes[end - 1]
            start = end
            while start > 0 and self.sizes[start - 1] == size:
                start -= 1
            if end - start <= self.most:
                return
            for values in (self.sizes, self.totals, self.squares):
                values[start : start + 2] = [values[start] + values[start + 1]]  # type: ignore[list-item]
            end = start + 1

    def _cut(self) -> bool:
        """Drop the oldest bucket if some cut shows two different means."""
        n, total = self.n, sum(self.totals)
        variance = max(0.0, sum(self.squares) / n - (total / n) ** 2)
        log = math.log(2 * math.log(n) / self.delta)
        before, before_total = 0, 0.0
        for size, part in zip(self.sizes[:-1], self.totals[:-1], strict=True):
            before, before_total = before + size, before_total + part
            after = n - before
            if min(before, after) < self.least:
                continue
            m = 1 / (1 / before + 1 / after)
            bound = math.sqrt(2 / m * variance * log) + 2 / (3 * m) * log
            if abs(before_total / before - (total - before_total) / after) > bound:
                for values in (self.sizes, self.totals, self.squares):
                    del values[0]
                return True
        return False


@dataclass
class Kswin(_Stateful):
    """Kolmogorov-Smirnov windowing (Raab, Heusinger & Schleif, Neurocomputing 416, 2020).

    The newest ``newest`` errors of a window of ``size`` against as many drawn from the older ones (seeded); change
    when ``D > sqrt(-ln(alpha) / newest)`` (their bound), and the window is cut to the newest.
    """

    alpha: float = 0.0001
    size: int = 300
    newest: int = 30
    seed: int = 1
    drawn: int = 0
    window: list[float] = field(default_factory=list)

    def update(self, error: float) -> bool:
        """See ``StreamDetector``."""
        self.window = [*self.window, error][-self.size :]
        if len(self.window) < self.size:
            return False
        self.drawn += 1
        old, new = np.array(self.window[: -self.newest]), np.sort(self.window[-self.newest :])
        rng = np.random.default_rng((self.seed, self.drawn))
        some = np.sort(rng.choice(old, self.newest, replace=False))
        points = np.concatenate([some, new])
        gaps = np.searchsorted(some, points, side="right") - np.searchsorted(new, points, side="right")
        distance = float(np.max(np.abs(gaps))) / self.newest
        if distance <= math.sqrt(-math.log(self.alpha) / self.newest):
            return False
        self.window = self.window[-self.newest :]
        return True
