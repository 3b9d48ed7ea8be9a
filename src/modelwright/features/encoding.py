"""Entities as integers: each combination of join keys in a table's rows gets a code, and rows that ask find theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.features.history import Ints, plain
from modelwright.features.layout import spelled

NULL, UNKNOWN = -1, -2
"""Codes of rows of which a join key is null, and of entities that no row is about."""
_LARGEST = 2**62


@dataclass(frozen=True)
class Entities:
    """The entities of some rows.

    Attributes:
        codes: of the rows' entities, from 0; ``NULL`` where a join key is null.
        count: of entities.
    """

    codes: Ints
    count: int
    _values: tuple[Any, ...]
    _combined: tuple[Ints, ...]

    @classmethod
    def of(cls, columns: Sequence[Any]) -> "Entities":
        """Encode the entities of rows by their join keys."""
        found: Ints | None = None
        values, combined = [], []
        absent = np.zeros(len(columns[0]), dtype=bool)
        for column in columns:
            encoded = pc.dictionary_encode(_comparable(column))
            absent |= np.asarray(pc.is_null(encoded))
            indices = np.asarray(pc.fill_null(encoded.indices, 0)).astype(np.int64)
            values.append(encoded.dictionary)
            if found is not None:
                known, indices = np.unique(found * max(len(encoded.dictionary), 1) + indices, return_inverse=True)
                combined.append(known)
            found = indices
        assert found is not None, "a view has an entity"
        count = len(combined[-1]) if combined else len(values[0])
        return cls(np.where(absent, NULL, found), count, tuple(values), tuple(combined))

    def find(self, columns: Sequence[Any]) -> Ints:
        """Return the codes of the entities that rows ask for; ``NULL`` where a join key is null, else ``UNKNOWN``."""
        found: Ints | None = None
        absent = np.zeros(len(columns[0]), dtype=bool)
        missing = absent.copy()
        for place, (column, values) in enumerate(zip(columns, self._values, strict=True)):
            given = _comparable(column)
            absent |= np.asarray(pc.is_null(given))
            indices = pc.index_in(given, value_set=values)
            missing |= np.asarray(pc.is_null(indices))
            mine = np.asarray(pc.fill_null(indices, 0)).astype(np.int64)
            if found is not None:
                known = self._combined[place - 1]
                wanted = found * max(len(values), 1) + mine
                mine = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
                missing |= known[mine] != wanted if len(known) else True
            found = mine
        assert found is not None, "a view has an entity"
        return np.where(absent, NULL, np.where(missing, UNKNOWN, found))


def entity_codes(columns: Sequence[Any]) -> tuple[Ints, dict[str, int]]:
    """Return a code per row, ``NULL`` where a key is null, and the code of each entity in its one spelling."""
    entities = Entities.of(columns)
    codes, first = np.unique(entities.codes, return_index=True)
    chosen = pa.array(first[codes >= 0])
    parts = [plain(column.take(chosen)) for column in columns]
    names = (spelled(values) for values in zip(*parts, strict=True))
    return entities.codes, dict(zip(names, codes[codes >= 0].tolist(), strict=True))


def flat(column: Any) -> Any:
    """Return a column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


class Taken:
    """Takes rows of columns, one column after the other.

    Args:
        places: of the rows; -1 for a null.
    """

    def __init__(self, places: Ints) -> None:
        there = pa.array(places >= 0)
        self._bitmap = there.buffers()[1]
        self._missing = len(places) - there.true_count
        self._places = np.maximum(places, 0)
        self._nullable = pa.array(self._places, mask=places < 0)

    def of(self, column: Any) -> Any:
        """Return the rows of a column."""
        whole = flat(column)
        if not len(whole):
            return pa.nulls(len(self._places), whole.type)
        if whole.null_count or not (pa.types.is_float64(whole.type) or pa.types.is_int64(whole.type)):
            return whole.take(self._nullable)
        values = whole.to_numpy().take(self._places)
        return pa.Array.from_buffers(
            whole.type, len(values), [self._bitmap, pa.py_buffer(values)], null_count=self._missing
        )


def bits(column: Any) -> Any:
    """Return an array of numbers as the 64 bits of each, so that 0.0 and -0.0 differ as their spellings do."""
    return column.view(pa.int64()) if pa.types.is_float64(column.type) else column


def _comparable(column: Any) -> Any:
    return bits(flat(column))


def packed(codes: Ints, places: Ints, width: int) -> Ints:
    """Return one integer per pair that orders as the pair does; places lie in ``[0, width)``."""
    assert not len(codes) or (int(codes.max()) + 1) * width < _LARGEST, "codes and places do not fit into 64 bits"
    return cast(Ints, codes * width + places)
