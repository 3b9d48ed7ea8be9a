"""A quarantine under repair: the file that landed, what quality says of it and of what repairs make of it.

Of a file whose rows were held while the others went on, the file as it landed is repaired, because what is wrong with
some rows shows among all: it must pass whole, every row that went on must still be in it, and only the others go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import Finding
from modelwright.log import Log
from modelwright.monitoring import store, uploads
from modelwright.monitoring.accepted import accepted_rows, in_common
from modelwright.monitoring.healing.past import Past
from modelwright.monitoring.healing.repairs import Damaged, Repair
from modelwright.monitoring.healing.searching import Verdict
from modelwright.monitoring.reading import Rows, parquet_bytes, read_rows
from modelwright.monitoring.rows import codes_of
from modelwright.project import Column, Source
from modelwright.storage import Blobs, Tables

Repairs = Callable[[str], Repair]
"""Returns a repair by name; raises ``PluginError``."""
REMEMBERED = 8
"""Accepted uploads that a repair is compared with."""
MARK = "+repaired"
"""What stands behind the key of an upload whose held rows were released by themselves."""
_LONG_AGO = timedelta(days=400)


@dataclass(frozen=True)
class Shop:
    """What repairing works with.

    Attributes:
        check: the installed checks by name.
        detector: the installed drift detectors by name.
        repair: the installed repairs by name.
        cache: kept between calls.
    """

    call: Call
    tables: Tables
    log: Log
    blobs: Blobs
    check: uploads.Checks
    detector: uploads.Detectors
    repair: Repairs
    cache: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ward:
    """One quarantine under repair.

    Attributes:
        held: the quarantine.
        source: whose data it is.
        outcomes: what was found of each file that was judged, by its digest: nothing is judged twice.
    """

    shop: Shop
    held: store.Quarantine
    source: Source
    outcomes: dict[bytes, uploads.Outcome] = field(default_factory=dict)

    @cached_property
    def body(self) -> bytes:
        """The file as it landed.

        Raises:
            NotFound: it is gone.
        """
        blobs, held = self.shop.blobs, self.held
        if held.scope == "file":
            return blobs.get("lake", held.key).body
        before = self._repaired_before()
        if before is not None:
            return blobs.get("lake", before.key).body
        return blobs.get("landing", held.upload_key, held.upload_version).body

    @cached_property
    def damaged(self) -> Damaged:
        """The file as repairs see it."""
        return Damaged(self.body, self.source, self.held.findings, self.past, self.held.at)

    @cached_property
    def past(self) -> Past:
        """What was accepted before; of a file whose other rows went on, not these."""
        since = (self.held.window.start if self.held.window else self.held.at) - _LONG_AGO
        ws, name = self.shop.call.workspace, self.held.source
        digests = store.accepted_digests(self.shop.tables, ws, name, since, REMEMBERED + 1)
        tables = [self._accepted(digest) for digest in digests if digest != self._went_on]
        return Past(self.source, tuple(table for table in tables[-REMEMBERED:] if table is not None))

    @cached_property
    def went_on(self) -> pa.Table | None:
        """The rows of the file that were accepted; None where none was."""
        return self._accepted(self._went_on) if self._went_on else None

    def judge(self, body: bytes) -> Verdict:
        """Say whether a file would pass."""
        try:
            rows = read_rows(body, self.source)
        except InvalidInput as error:
            finding = Finding(check=getattr(error, "check", "readable"), severity="block", text=error.logged)
            return Verdict(False, 0, (finding,))
        if self._known(rows.digest):
            return Verdict(True, 0, (), rows.digest)
        outcome = self.outcomes[body] = self._assessed(rows, body, self.source)
        passes = outcome.accepted and (self.held.scope == "file" or (not outcome.held and self._keeps(rows)))
        return Verdict(passes, outcome.held, outcome.findings, rows.digest)

    def outcome(self, body: bytes) -> tuple[uploads.Landed, uploads.Outcome] | None:
        """Return what is to be committed for a repaired file that passed; None where its rows are known already.

        Held rows that go on by themselves do not meet the checks of files: the file passed these as a whole.
        """
        rows = read_rows(body, self.source)
        if self._known(rows.digest):
            return None
        if self.held.scope == "file":
            return self._landed(body), self.outcomes[body]
        landed = self._landed(parquet_bytes(self._new(rows.typed)), mark=MARK)
        new = read_rows(landed.body, self.source)
        bare = self.source.model_copy(update={"checks": ()})
        return None if self._known(new.digest) else (landed, self._judged(landed, new, bare))

    def as_it_is(self) -> tuple[uploads.Landed, uploads.Outcome]:
        """Return what is to be committed when a person says that the data is right; types and keys still count.

        Raises:
            InvalidInput: it cannot be read, or there are no such rows any more.
        """
        columns = {name: _free(column) for name, column in self.source.columns.items()}
        free = self.source.model_copy(update={"checks": (), "rules": {}, "columns": columns})
        if self.held.scope == "file":
            landed = self._landed(self.body)
            return landed, self._judged(landed, read_rows(self.body, free), free)
        body = self.shop.blobs.get("lake", self.held.key).body
        landed = self._landed(body, mark=MARK)
        return landed, self._judged(landed, read_rows(body, free), free)

    def repairs(self, names: Sequence[str]) -> list[Repair]:
        """Return repairs by name."""
        return [self.shop.repair(name) for name in names]

    def _assessed(self, rows: Rows, body: bytes, source: Source) -> uploads.Outcome:
        return self._judged(self._landed(body), rows, source)

    def _judged(self, landed: uploads.Landed, rows: Rows, source: Source) -> uploads.Outcome:
        check, detector = self.shop.check, self.shop.detector
        said = {"check": check, "detector": detector, "repairing": self.held.id}
        return uploads.assess(landed, self.held.source, source, rows, **said)  # type: ignore[arg-type]

    def _landed(self, body: bytes, mark: str = "") -> uploads.Landed:
        shop, held = self.shop, self.held
        key, version = f"{held.upload_key}{mark}", f"{held.upload_version}+{held.id}"
        return uploads.Landed(shop.call, key, version, body, shop.tables, shop.log, shop.blobs, cache=shop.cache)

    def _repaired_before(self) -> store.Repaired | None:
        """Return the repair of which some rows were held again, if these are such."""
        identity = self.held.upload_version.rpartition("+")[2]
        try:
            return store.closed_quarantine(self.shop.tables, self.shop.call.workspace, identity).repaired
        except NotFound:
            return None

    def _known(self, digest: str) -> bool:
        seen = store.seen_content(self.shop.tables, self.shop.call.workspace, self.held.source, digest)
        return seen is not None and seen.verdict == "accepted"

    @cached_property
    def _went_on(self) -> str:
        """Return the digest of the file's content, by which its accepted rows are called; empty where none went on."""
        try:
            return read_rows(self.body, self.source).digest if self.held.scope == "rows" else ""
        except InvalidInput:
            return ""

    def _accepted(self, digest: str) -> pa.Table | None:
        return accepted_rows(self.shop.blobs, self.shop.call.workspace, self.held.source, digest)

    def _keeps(self, rows: Rows) -> bool:
        return self.went_on is not None and bool(_within(self.went_on, rows.typed).all())

    def _new(self, rows: pa.Table) -> pa.Table:
        return rows if self.went_on is None else rows.filter(pa.array(~_within(rows, self.went_on)))


def _within(rows: pa.Table, others: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Say which rows are among others."""
    both = codes_of(pa.concat_tables(in_common([others, rows])[::-1]).combine_chunks())
    return np.isin(both[: rows.num_rows], both[rows.num_rows :])


def _free(column: Column) -> Column:
    """Return a column without what its values were expected to be."""
    free = {"low": None, "high": None, "values": (), "regex": "", "unique": False, "nullable": True}
    return column.model_copy(update=free)
