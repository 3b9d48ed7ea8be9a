"""Columns of tables as the compared tools see them: arrays of numbers, or of categories."""

import numpy as np
import pyarrow as pa

from modelwright.monitoring.compatibility.binning import Values


def values_of(column: pa.ChunkedArray) -> Values:
    """Return a column in its order: numbers, missing ones as NaN, or categories as objects, missing ones as None."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        values: Values = column.to_numpy()
        return values
    return np.array(column.to_pylist(), dtype=object)


def present(values: Values) -> Values:
    """Return what is not missing."""
    if values.dtype == object:
        return np.array([value for value in values if value is not None])
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def finite(values: Values) -> Values:
    """Return what is neither missing nor infinite."""
    kept = present(values)
    return kept[np.isfinite(kept)] if kept.dtype.kind == "f" else kept
