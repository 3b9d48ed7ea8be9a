"""How a model does on the rows of each category: figures per value of each categorical input.

A value is told only where enough rows have it: the figures of a few rows are noise, and events, which are kept for
ever, must not tell of single rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from modelwright.events import Slice
from modelwright.statistics import midranks

MOST_VALUES = 10
"""Of a column, by rows."""

MIN_ROWS = 50
LONGEST = 100
MISSING = "(missing)"


def by_category(
    columns: pd.DataFrame | Mapping[str, Iterable[object]],
    names: Sequence[str],
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    most: int = MOST_VALUES,
    min_rows: int = MIN_ROWS,
) -> tuple[Slice, ...]:
    """Return the figures of each column's largest categories, by column as named and then by rows.

    Args:
        columns: values by column, one per row; a data frame will do.
        names: the columns to slice by; those that are not there are left out.
        labels: 0 or 1, shape (n,).
        scores: probabilities, shape (n,).
        most: of each column, so many values at most.
        min_rows: values with fewer rows are left out.
    """
    y, p = np.asarray(labels, dtype=np.int8), np.asarray(scores, dtype=np.float64)
    found: list[Slice] = []
    for name in names:
        if name in columns:
            told = [(value, rows) for value, rows in _rows_by_value(columns[name]) if len(rows) >= min_rows]
            told.sort(key=lambda pair: (-len(pair[1]), pair[0]))
            found += [_slice(name, value, y[rows], p[rows]) for value, rows in told[:most]]
    return tuple(found)


def _rows_by_value(values: Iterable[object]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield each category as text with the rows that have it."""
    given = pd.Series(list(values), dtype=object)
    texts = given.astype(str).str.slice(stop=LONGEST).where(given.notna(), MISSING)
    codes, known = pd.factorize(texts)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return ((str(value), rows) for value, rows in zip(known, parts, strict=True))


def _slice(column: str, value: str, labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Slice:
    positives = int(labels.sum())
    negatives = len(labels) - positives
    auc = None
    if positives and negatives:
        ranks = float(midranks(scores)[labels == 1].sum())
        auc = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    brier = float(np.mean((scores - labels) ** 2))
    return Slice(column=column, value=value, rows=len(labels), positives=positives, auc=auc, brier=brier)
