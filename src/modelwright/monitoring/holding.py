"""Quarantine: what is held back of an upload, with its reasons; ``releasing`` says what closes it again.

What is wrong is told in full beside the data. Events and items, which have to stay small, tell the first of it: a file
of hundreds of columns can fail thousands of checks.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa

from modelwright.errors import NotFound
from modelwright.events import Finding, QualityFailed, Window
from modelwright.monitoring import store
from modelwright.monitoring.landed import MICROSECOND, Landed, Outcome, forgotten, window_of
from modelwright.monitoring.reading import Rows, parquet_bytes
from modelwright.monitoring.rows import RowVerdict
from modelwright.project import Source

_REASONS, _ROWS = "reasons.json", "rows.parquet"
_MOST_TOLD = 100
_LONGEST_TEXT = 800
_CADENCE = 4
_REGULAR = 0.2
"""Files come regularly when the times between them differ by at most this share of the usual one."""


def held_rows(
    landed: Landed, name: str, source: Source, rows: Rows, verdict: RowVerdict, good: pa.Table
) -> tuple[store.Quarantine, dict[str, bytes]]:
    """Return the quarantine of some rows, and its objects.

    Args:
        landed: the upload.
        name: of its source.
        source: its source.
        rows: all of its rows.
        verdict: which are held.
        good: those that go on.
    """
    identity = landed.quarantine_id(name)
    folder = f"quarantine/{landed.workspace}/{name}/{identity}"
    findings = tuple(finding for finding in verdict.findings if finding.severity == "block")
    chosen = pa.array(verdict.held)
    times = rows.typed.column(source.event_time)
    held = store.Quarantine(
        id=identity,
        source=name,
        upload_key=landed.key,
        upload_version=landed.version,
        scope="rows",
        key=f"{folder}/{_ROWS}",
        rows=int(verdict.held.sum()) + len(rows.malformed),
        at=landed.call.now,
        window=_likely(window_of(times.filter(chosen)), window_of(good.column(source.event_time))),
        findings=told(findings),
    )
    reasons = _reasons(held, findings, malformed=rows.malformed)
    return held, {held.key: parquet_bytes(rows.raw.filter(chosen)), f"{folder}/{_REASONS}": reasons}


def _likely(held: Window | None, good: Window | None) -> Window | None:
    """Return the window of held rows as far as their times can be true: within that of the rows beside them."""
    if held is None or good is None:
        return held or good
    start, end = max(held.start, good.start), min(held.end, good.end)
    return Window(start=start, end=end) if start < end else good


def hold_unread(
    landed: Landed, name: str, findings: tuple[Finding, ...], quoting: str = "", window: Window | None = None
) -> Outcome:
    """Hold a file that nobody could read.

    Args:
        landed: the upload.
        name: of its source.
        findings: what it failed, without a word of the file: it goes into the log.
        quoting: why, for who looks into the quarantine.
        window: of its rows, where that shows; else the next of its source's usual windows is supposed.
    """
    digest = hashlib.sha256(landed.body).hexdigest()
    supposed = window or _next_window(landed, name)
    return hold_file(landed, name, findings, digest, 0, supposed, quoting)


def hold_large(landed: Landed, name: str, finding: Finding, size: int) -> Outcome:
    """Hold a file that is too large to be read, in which nobody looks: it stays in the landing bucket.

    Args:
        landed: the upload, whose body may be empty.
        name: of its source.
        finding: how large it is.
        size: its bytes.
    """
    digest = hashlib.sha256(f"{landed.key}\n{landed.version}\n{size}".encode()).hexdigest()
    return hold_file(landed, name, (finding,), digest, 0, _next_window(landed, name), copied=False)


def hold_file(
    landed: Landed,
    name: str,
    findings: tuple[Finding, ...],
    digest: str,
    rows: int,
    window: Window | None = None,
    quoting: str = "",
    *,
    copied: bool = True,
) -> Outcome:
    """Hold a file as a whole.

    Args:
        landed: the upload.
        name: of its source.
        findings: what is wrong with it.
        digest: of its content.
        rows: how many it has; 0: nobody could read it.
        window: of its rows.
        quoting: why, for who looks into the quarantine.
        copied: whether it is kept in quarantine too; if not, only why it is held is.
    """
    workspace = landed.workspace
    seen = store.seen_content(landed.tables, workspace, name, digest)
    if seen is not None and _is_open(landed, seen.quarantine_id):
        return forgotten(landed, f"same content as {seen.upload_key}, still in quarantine {seen.quarantine_id}")
    identity = landed.quarantine_id(name)
    folder = f"quarantine/{workspace}/{name}/{identity}"
    held = store.Quarantine(
        id=identity,
        source=name,
        upload_key=landed.key,
        upload_version=landed.version,
        scope="file",
        key=f"{folder}/{_apart(landed.key.rsplit('/', 1)[-1]) if copied else _REASONS}",
        rows=rows,
        at=landed.call.now,
        window=window,
        findings=told(findings),
    )
    text = f"quarantined as {identity}: " + "; ".join(f.text for f in held.findings if f.severity == "block")
    now_seen = store.SeenContent(verdict="quarantined", upload_key=landed.key, quarantine_id=identity)
    writes = (
        store.put_upload(workspace, landed.key, landed.version, text),
        store.put_content(workspace, name, digest, now_seen, seen),
        store.put_open(workspace, held),
    )
    kept = {held.key: landed.body} if copied else {}
    bodies = {**kept, f"{folder}/{_REASONS}": _reasons(held, findings, quoting=quoting)}
    return Outcome(text, False, (failed(held),), writes, bodies, findings, rows)


def told(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return what is told of findings in events and items: the first, those that block before warnings."""
    first = sorted(findings, key=lambda one: one.severity != "block")[:_MOST_TOLD]
    if len(findings) == len(first) and all(len(one.text) <= _LONGEST_TEXT for one in first):
        return tuple(findings)
    short = [one.model_copy(update={"text": _shortened(one.text)}) for one in first]
    if more := len(findings) - len(first):
        rest = f"and {more} findings more, which {_REASONS} in the quarantine or the report has in full"
        short.append(Finding(check="findings", severity="warn", text=rest))
    return tuple(short)


def failed(held: store.Quarantine) -> QualityFailed:
    """Return what says that a quarantine is open."""
    return QualityFailed(
        source=held.source,
        upload_key=held.upload_key,
        upload_version=held.upload_version,
        quarantine_id=held.id,
        quarantine_key=held.key,
        rows=held.rows,
        window=held.window,
        findings=held.findings,
        scope=held.scope,
    )


def _next_window(landed: Landed, name: str) -> Window | None:
    """Return where the next file of a source would lie whose files follow one another regularly."""
    newest = store.newest_profile(landed.tables, landed.workspace, name)
    if newest is None:
        return None
    span = newest.end - newest.start
    since = newest.end - min(2 * _CADENCE * max(span, timedelta(hours=1)), timedelta(days=730))
    before = store.kept_profiles(landed.tables, landed.workspace, name, since, newest.end)[-_CADENCE:]
    steps = [after.start - one.start for one, after in pairwise(before)]
    if len(steps) < _CADENCE - 1 or max(steps) - min(steps) > _REGULAR * max(steps):
        return None
    start, end = newest.start + steps[-1], newest.end + steps[-1] + MICROSECOND
    return Window(start=start, end=end) if start < landed.call.now else None


def _reasons(
    held: store.Quarantine, findings: Sequence[Finding], malformed: tuple[str, ...] = (), quoting: str = ""
) -> bytes:
    """Return what is wrong in full, words of the data too: this object lies in quarantine with them."""
    document: dict[str, Any] = held.model_dump(mode="json", exclude={"closed"})
    more: dict[str, Any] = {"quoting": quoting} if quoting else {}
    full = [one.model_dump(mode="json") for one in findings]
    return json.dumps(document | {"findings": full, "malformed": malformed, **more}, indent=1).encode()


def _apart(name: str) -> str:
    """Return a name for a file that none of our own objects beside it has."""
    return f"landed-{name}" if name in (_REASONS, _ROWS) else name


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."


def _is_open(landed: Landed, identity: str) -> bool:
    try:
        store.open_quarantine(landed.tables, landed.workspace, identity)
    except NotFound:
        return False
    return True
