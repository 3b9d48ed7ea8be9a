"""Figures by segment: the values of request columns or expressions over them.

A value is told only where enough rows have it: the figures of a few rows are noise, and events, which are kept for
ever, must not tell of single rows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.events import Performance
from modelwright.monitoring import formulas
from modelwright.monitoring.performance.figures import Rows, Scored

MIN_ROWS = 50
MOST_VALUES = 10
"""Of a column or expression, by rows."""
MOST = 60
"""Of all figures of a window, by rows: an event has its limits."""
_LONGEST = 100


def segmented(scored: Scored, expressions: Sequence[str]) -> tuple[Performance, ...]:
    """Return the figures of each version by value of each column or expression, the largest of each first."""
    found = [
        scored.performance(version, rows, name)
        for expression in expressions
        for name, rows in parts(expression, scored.asked)
        for version in scored.versions
        if scored.answered(version, rows).sum() >= MIN_ROWS
    ]
    if len(found) > MOST:
        least = sorted((one.rows for one in found), reverse=True)[MOST - 1]
        found = [one for one in found if one.rows >= least][:MOST]
    return tuple(found)


def parts(expression: str, asked: pa.Table, *, most: int = MOST_VALUES) -> Iterator[tuple[str, Rows]]:
    """Yield ``carrier = UA`` and its rows for the most frequent values; nothing where its columns were not logged."""
    values = values_of(expression, asked)
    if values is None:
        return
    counts = sorted(
        ((str(one["values"]), int(one["counts"])) for one in pc.value_counts(values.drop_null()).to_pylist()),
        key=lambda pair: (-pair[1], pair[0]),
    )
    for value, count in counts[:most]:
        if count >= MIN_ROWS:
            rows: npt.NDArray[np.bool_] = np.asarray(pc.equal(values, value).fill_null(False))
            yield f"{expression} = {value}", rows


def values_of(expression: str, asked: pa.Table) -> pa.Array | None:
    """Return the value of each row as text, null where it is missing; None if columns of it were not logged."""
    if not set(formulas.columns_of(expression)) <= set(asked.column_names):
        return None
    try:
        found = formulas.evaluate(expression, asked)
    except InvalidInput:  # of rows of another time, when a column was something else
        return None
    return pc.utf8_slice_codeunits(found.cast(pa.string()), 0, _LONGEST)
