"""How far uploads of a column lie apart, and whether they lie apart because it goes on: serial numbers, clocks."""

from collections.abc import Sequence

import numpy as np

from modelwright.monitoring.checks.files import MIN_UPLOADS
from modelwright.monitoring.profiles import ColumnProfile

_APART = 0.8
_ERRORS = 3.0


def scale_of(uploads: Sequence[ColumnProfile]) -> float:
    """Typical spread of one upload: the difference of its quartiles."""
    last = uploads[0].grid.size - 1
    return float(np.median([u.grid[3 * last // 4] - u.grid[last // 4] for u in uploads]))


def chance_of(now: ColumnProfile, uploads: Sequence[ColumnProfile]) -> float:
    """Return how far the quantiles of a file may lie from those of an upload by chance, on average from 5 % to 95 %.

    The quantile of a share ``p`` of ``n`` values is that of a share off by ``sqrt(p (1 - p) / n)`` (standard error of
    an order statistic; David and Nagaraja, 2003, section 7.1), here of both sides and three times over. Of few values
    with a long tail this is several spreads.

    Args:
        now: a column of numbers.
        uploads: the same in uploads before; the side that tells least counts.

    Returns:
        In units of the values.
    """
    shares = np.linspace(0.05, 0.95, 91)
    found: list[float] = []
    for upload in uploads:
        off = _ERRORS * np.sqrt(shares * (1 - shares) * (1 / now.count + 1 / upload.count))
        steps = upload.grid.size - 1
        above, below = (np.rint(np.clip(shares + side, 0, 1) * steps).astype(int) for side in (off, -off))
        found.extend(float(np.mean(grid[above] / 2 - grid[below] / 2)) for grid in (now.grid, upload.grid))
    return max(found)


def goes_on(uploads: Sequence[ColumnProfile]) -> bool:
    """Say whether a column of numbers rises or falls with time, so that where the next upload lies is no wonder.

    So do serial numbers, ids that hold a time, seconds since 1970 and readings of meters: of at least ``MIN_UPLOADS``,
    four fifths of the pairs lie apart in the order of their times, the middle 80 % of the later above that of the
    earlier (or all below). Shards of one hour may lie upon each other. Weather and prices go up and down: in New York
    in 2013 no measure goes on in any eight weeks.

    Args:
        uploads: a column in several uploads, oldest first.
    """
    if len(uploads) < MIN_UPLOADS or any(upload.kind != "numbers" for upload in uploads):
        return False
    last = uploads[0].grid.size - 1
    lows, highs = (np.array([upload.grid[tenth * last // 10] for upload in uploads]) for tenth in (1, 9))
    earlier, later = np.triu_indices(len(uploads), 1)
    rises, falls = (lows[later] > highs[earlier]).mean(), (highs[later] < lows[earlier]).mean()
    return bool(max(rises, falls) >= _APART)
