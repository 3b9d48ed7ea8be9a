"""What closes a quarantine: the same rows again, accepted this time.

The same rows are those of a file with the same name, whose window has as good as all of the held one's, or those of any
file among whose keys are all that the held rows have. Another file of the same window is no correction, as a day that
comes in parts shows; nor is any but the same name of what nobody could read, or of a source without a key.

``room`` quarantines are closed together with the upload; the others, which the upload remembers, by commits after it,
or if the process dies before them, when the upload is delivered again.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.errors import ConditionFailed, NotFound
from modelwright.events import Event, QuarantineReleased, Window
from modelwright.log import Happened, stream_of
from modelwright.monitoring import counting, store
from modelwright.monitoring.landed import UNKNOWN, Landed
from modelwright.monitoring.reading import Unreadable, read_rows, typed_array
from modelwright.project import Source
from modelwright.storage import TRANSACTION_LIMIT, Write

_SHARE = 0.9
"""Of a held window that a correction covers, and of held rows whose keys can be told."""
_RESERVED = 12
"""Writes of a transaction that are left for who commits an upload: the end of a repair, marks, the log's items."""
_EACH = 3
"""Writes that closing one takes, with its item in the log."""
_AT_ONCE = 30
_LARGEST = 64 * 2**20
"""Bytes of held text that is read for its keys; what is larger is closed by its name."""

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Arrived:
    """The rows of an upload that is accepted, as far as quarantines are concerned.

    Attributes:
        name: of its source.
        source: its source.
        window: of its rows.
        rows: all of them, also those that are held back again.
    """

    landed: Landed
    name: str
    source: Source
    window: Window
    rows: pa.Table

    @cached_property
    def keys(self) -> Keys:
        """The rows' keys in order, as hashes."""
        return np.sort(_hashes(self.rows.select(list(self.source.key)).drop_null()))

    def has(self, held: store.Quarantine) -> bool:
        """Say whether all keys that held rows have are among those of these rows."""
        if not self.source.key:
            return False
        table = _keys_held(self.landed, held, self.source)
        if table is None or table.num_rows < max(1, _SHARE * held.rows):
            return False
        hashes = _hashes(table)
        places = np.searchsorted(self.keys, hashes).clip(max=len(self.keys) - 1)
        return bool((self.keys[places] == hashes).all())


def overlapping(landed: Landed, name: str, window: Window) -> list[store.Quarantine]:
    """Return the open quarantines of a source whose windows a window covers."""
    return [held for held in store.open_quarantines(landed.tables, landed.workspace) if _spans(held, name, window)]


def released(arrived: Arrived, repairing: str) -> list[store.Quarantine]:
    """Return the quarantines that an accepted upload closes.

    Args:
        arrived: the upload.
        repairing: a quarantine that is closed otherwise.
    """
    landed = arrived.landed
    opened = store.open_quarantines(landed.tables, landed.workspace)
    return [held for held in opened if held.id != repairing and _closes(arrived, held)]


def room(writes: int, events: int) -> int:
    """Return how many quarantines can be closed in one transaction with so many writes and events."""
    return max(0, (TRANSACTION_LIMIT - _RESERVED - writes - events) // _EACH)


def closing(landed: Landed, held: Sequence[store.Quarantine]) -> tuple[list[Event], list[Write]]:
    """Return what closes quarantines, because their rows came again."""
    reason = f"{landed.key} brought the same rows again and passed"
    events: list[Event] = [QuarantineReleased(source=q.source, quarantine_id=q.id, reason=reason) for q in held]
    return events, [write for one in held for write in store.close(landed.workspace, one, reason)]


def close_rest(landed: Landed, identities: Sequence[str]) -> None:
    """Close what had no room in the transaction of an upload; what is closed meanwhile stays so."""
    for start in range(0, len(identities), _AT_ONCE):
        left = identities[start : start + _AT_ONCE]
        try:
            _close(landed, left)
        except ConditionFailed:  # somebody closed one of them just now
            for one in left:
                _close(landed, [one])


def covered(window: Window, held: Sequence[Window]) -> bool:
    """Say whether a window has as good as all of others: a corrected file's first or last rows may be held themselves.

    Args:
        window: that covers.
        held: that are covered, nine tenths of them together.
    """
    spans = sum((one.end - one.start for one in held), timedelta(0))
    common = (min(window.end, one.end) - max(window.start, one.start) for one in held)
    return sum((max(each, timedelta(0)) for each in common), timedelta(0)) >= _SHARE * spans


# --- private -----------------------------------------------------------------------------


def _closes(arrived: Arrived, held: store.Quarantine) -> bool:
    again = held.upload_key == arrived.landed.key
    if again and held.source in (arrived.name, UNKNOWN) and held.scope == "file" and not held.rows:
        return True
    return _spans(held, arrived.name, arrived.window) and (again or arrived.has(held))


def _spans(held: store.Quarantine, name: str, window: Window) -> bool:
    return held.source == name and held.window is not None and covered(window, [held.window])


def _close(landed: Landed, identities: Sequence[str]) -> None:
    found = [one for identity in identities for one in _open(landed, identity)]
    events, writes = closing(landed, found)
    if events:
        happened = [
            Happened(stream_of(landed.workspace, "SOURCE", one.source), e) for one, e in zip(found, events, strict=True)
        ]
        landed.log.commit(landed.call, happened, writes)


def _open(landed: Landed, identity: str) -> Iterator[store.Quarantine]:
    try:
        yield store.open_quarantine(landed.tables, landed.workspace, identity)
    except NotFound:
        return


def _keys_held(landed: Landed, held: store.Quarantine, source: Source) -> pa.Table | None:
    """Return the keys of held rows that have one, in canonical types; None where nobody can tell them."""
    try:
        body = landed.blobs.get("lake", held.key).body
    except NotFound:
        return None
    table = _parquet_keys(body, source) if body[:4] == b"PAR1" else _text_keys(body, source)
    if table is None:
        return None
    columns = {name: typed_array(table.column(name), source.columns[name].type)[0] for name in source.key}
    return pa.table(columns).drop_null()


def _parquet_keys(body: bytes, source: Source) -> pa.Table | None:
    try:
        with pq.ParquetFile(io.BytesIO(body)) as file:
            return file.read(list(source.key)) if _has_keys(file.schema_arrow.names, source) else None
    except pa.ArrowInvalid:
        return None


def _text_keys(body: bytes, source: Source) -> pa.Table | None:
    if len(body) > _LARGEST:
        return None
    try:
        return read_rows(body, source).typed
    except Unreadable as error:
        table = error.table
        return table if table is not None and _has_keys(table.column_names, source) else None


def _has_keys(names: Sequence[str], source: Source) -> bool:
    return all(names.count(name) == 1 for name in source.key)


def _hashes(table: pa.Table) -> Keys:
    pieces = [table.slice(start, counting.PIECE) for start in range(0, table.num_rows, counting.PIECE)]
    return np.concatenate([np.empty(0, np.uint64), *(counting.hashes_of(piece.to_pandas()) for piece in pieces)])
