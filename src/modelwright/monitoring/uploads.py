"""The use case of an upload: believed, believed in part, or held back - and what people do about the last.

Bad data never raises: it is quarantined with its reasons and the function goes on. What comes
twice (the same delivery, the same object, the same content under another name) is accepted
once. An accepted file closes the quarantines of the rows that it brings again (``releasing``).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.context import Call
from modelwright.errors import Forbidden, NotFound
from modelwright.events import Delivery, Event, Finding, QuarantineReleased, UploadAccepted, Window
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import store
from modelwright.monitoring.accepted import accepted_key, accepted_rows, in_common
from modelwright.monitoring.checks import Check, Checks, Fault, File, checks_of, faults_of, renamed
from modelwright.monitoring.detectors import Detector
from modelwright.monitoring.documents import Profile, Reference
from modelwright.monitoring.holding import failed, held_rows, hold_file, hold_large, hold_unread, told
from modelwright.monitoring.landed import MICROSECOND, UNKNOWN, Landed, Outcome, window_of
from modelwright.monitoring.profiles import profile_of, stored_as
from modelwright.monitoring.reading import (
    Mask,
    Rows,
    Unreadable,
    parquet_bytes,
    read_rows,
    typed_array,
)
from modelwright.monitoring.references import reference_of
from modelwright.monitoring.releasing import Arrived, close_rest, closing, overlapping, released, room
from modelwright.monitoring.rows import RowVerdict, check_rows, expanded
from modelwright.monitoring.sizes import too_large, too_many
from modelwright.monitoring.watching import Watch, watch
from modelwright.project import Baseline, Source, load_current
from modelwright.storage import Blobs, Stored, TableName, Tables, Write

__all__ = [
    "ERASURE",
    "MOST_HELD",
    "UNKNOWN",
    "Checks",
    "Detectors",
    "Landed",
    "Outcome",
    "assess",
    "commit",
    "discard",
    "quarantined",
    "receive",
]

MOST_HELD = 0.5
"""When more than half of the rows break row checks, the file as a whole is not to be believed."""
ERASURE = "modelwright-erasure"
"""Metadata of an upload that an erasure rewrote: its other rows are known."""
_LONGEST = timedelta(days=31)
"""Files that span longer are not looked at as what came before, or of another source."""

Detectors = Callable[[str], Detector]
"""Returns a detector by name; raises ``PluginError``."""


def receive(
    call: Call,
    key: str,
    version: str,
    *,
    tables: Tables,
    log: Log,
    blobs: Blobs,
    check: Checks,
    detector: Detectors,
    virtual_time: bool = False,
    cache: dict[str, Any] | None = None,
    size: int = 0,
) -> str:
    """Judge an object of the landing bucket and commit what follows; returns the outcome in words.

    Args:
        call: the platform's; with virtual time its ``now`` is the object's metadata ``as-of``, if it has that.
        key: the object's key.
        version: its version, empty in a bucket without versions.
        tables: monitoring's own table and the project.
        log: where the events go.
        blobs: landing is read, lake is written.
        check: the installed checks by name.
        detector: the installed drift detectors by name.
        virtual_time: whether ``as-of`` is honoured.
        cache: what is kept while the process lives.
        size: the object's bytes, where that is known.
    """
    handled = store.upload_outcome(tables, call.workspace, key, version)
    if handled is not None:
        left = store.left_to_close(tables, call.workspace, key, version)
        close_rest(Landed(call, key, version, b"", tables, log, blobs), left)
        return f"repeated delivery: {handled}"
    kept = {} if cache is None else cache
    try:
        size = size or blobs.size("landing", key)
        large = too_large(size)
        stored = Stored(b"", version, "", {}) if large else blobs.get("landing", key, version)
    except NotFound:
        return "gone before it was read"
    if key.endswith("/") and not size:
        return "a folder"
    if ERASURE in stored.metadata:
        return f"rewritten by erasure {stored.metadata[ERASURE]}"
    if virtual_time and "as-of" in stored.metadata:
        call = replace(call, now=_time(stored.metadata["as-of"]) or call.now)
    landed = Landed(call, key, version, stored.body, tables, log, blobs, kept)
    return commit(landed, _outcome(landed, large or too_many(stored.body), size, check, detector))


def _outcome(landed: Landed, large: Finding | None, size: int, check: Checks, detector: Detectors) -> Outcome:
    """Return what follows from an object, whatever it is."""
    try:
        project = load_current(landed.tables, landed.call.workspace)
        name = project.source_of(landed.key)
    except NotFound as error:
        finding = Finding(check="source", severity="block", text=str(error))
        return hold_large(landed, UNKNOWN, large, size) if large else hold_unread(landed, UNKNOWN, (finding,))
    if large:
        return hold_large(landed, name, large, size)
    source = project.sources[name]
    try:
        rows = read_rows(landed.body, source)
    except Unreadable as error:
        return _unread(landed, name, source, error)
    return assess(landed, name, source, rows, check=check, detector=detector)


def commit(
    landed: Landed,
    outcome: Outcome,
    more_events: Sequence[Event] = (),
    more_writes: Sequence[Write] = (),
    delivery: Delivery | None = None,
) -> str:
    """Store what an outcome has of objects, then all the rest in one transaction; returns the outcome in words.

    Args:
        landed: the upload.
        outcome: what ``assess`` says of it.
        more_events: what else happened, after it.
        more_writes: what else is to be remembered.
        delivery: the event that caused this, if one did.
    """
    _store(landed.blobs, outcome.bodies)
    events = (*outcome.events, *more_events)
    streams = [stream_of(landed.workspace, "SOURCE", getattr(event, "source", UNKNOWN)) for event in events]
    happened = [Happened(stream, event) for stream, event in zip(streams, events, strict=True)]
    table: TableName | None = "monitoring" if delivery else None
    landed.log.commit(landed.call, happened, (*outcome.writes, *more_writes), delivery=delivery, table=table)
    close_rest(landed, outcome.closes)
    return outcome.text


def quarantined(call: Call, *, tables: Tables) -> list[store.Quarantine]:
    """Return the open quarantines of the sources that the caller may read."""
    return [found for found in store.open_quarantines(tables, call.workspace) if _may_read(call, found.source)]


def discard(call: Call, identity: str, *, tables: Tables, log: Log) -> store.Quarantine:
    """Close a quarantine without its data, on a person's word; raises ``NotFound`` when it is not open."""
    found = store.open_quarantine(tables, call.workspace, identity)
    call.authorise("quarantine:write", f"source/{found.source}")
    reason = f"discarded by {call.actor}"
    event = QuarantineReleased(source=found.source, quarantine_id=identity, reason=reason)
    happened = Happened(stream_of(call.workspace, "SOURCE", found.source), event)
    log.commit(call, [happened], store.close(call.workspace, found, reason))
    return found.model_copy(update={"closed": reason})


def _unread(landed: Landed, name: str, source: Source, error: Unreadable) -> Outcome:
    """Hold a file that is none of its source's, and say which column may have another name."""
    findings = (Finding(check=error.check, severity="block", text=error.logged),)
    if error.table is None:
        return hold_unread(landed, name, findings, str(error))
    window = None
    if source.event_time in error.table.column_names:
        times, _ = typed_array(error.table.column(source.event_time), "timestamp")
        window = window_of(pa.chunked_array([times]))
    reference = Reference(())
    if window is not None:
        stores: Any = {"tables": landed.tables, "blobs": landed.blobs, "cache": landed.cache}
        reference = reference_of(landed.call, name, source, window.start, window.end, baseline=Baseline(), **stores)
    return hold_unread(landed, name, (*renamed(error.table, source, reference), *findings), str(error), window)


# --- verdicts ----------------------------------------------------------------------------


def assess(
    landed: Landed,
    name: str,
    source: Source,
    rows: Rows,
    *,
    check: Checks,
    detector: Detectors,
    repairing: str = "",
) -> Outcome:
    """Judge rows of a source and say what follows; writes nothing.

    Args:
        landed: where the rows come from.
        name: of their source.
        source: its declaration.
        rows: as they were read.
        check: the installed checks by name.
        detector: the installed drift detectors by name.
        repairing: the quarantine of which these rows are the repair; whoever repairs closes it.
    """
    seen = store.seen_content(landed.tables, landed.workspace, name, rows.digest)
    if seen is not None and seen.verdict == "accepted":
        known = Outcome(f"same content as {seen.upload_key}, which was accepted", False)
        window = window_of(rows.typed.column(source.event_time))
        arrived = Arrived(landed, name, source, window, rows.typed) if window else None
        return _with_ends(landed, known, released(arrived, repairing) if arrived else ())
    types = {field.name: stored_as(field.type) for field in rows.raw.schema} if landed.body[:4] == b"PAR1" else {}
    file = File(name, source, rows, landed.call.now, others=partial(_accepted_rows, landed), types=types)
    judged = _judge(landed, file, checks_of(source, check), repairing)
    if any(finding.severity == "block" for finding in judged.of_file):
        findings = (*judged.of_file, *judged.verdict.findings)
        window = window_of(rows.typed.column(source.event_time))
        return hold_file(landed, name, findings, rows.digest, rows.typed.num_rows, window)
    return _accept(landed, judged, detector, seen, repairing)


@dataclass(frozen=True)
class _Judged:
    """A file with what checks say of it.

    Attributes:
        file: all of its rows.
        verdict: which go on.
        of_file: why the file as a whole is not to be believed.
        profile: of the rows that go on, where it is known already.
    """

    file: File
    verdict: RowVerdict
    of_file: tuple[Finding, ...]
    profile: Profile | None = None

    @property
    def held(self) -> int:
        return int(self.verdict.held.sum()) + len(self.file.rows.malformed)

    def with_faults(self, faults: Sequence[Fault], among: Mask) -> "_Judged":
        """Add faults of some rows, or of the whole."""
        verdict, of_file = self.verdict, self.of_file
        for fault in faults:
            if fault.rows is None and fault.finding.severity == "block":
                of_file = (*of_file, fault.finding)
            else:
                verdict = verdict.without(fault._replace(rows=expanded(fault.rows, among)))
        return replace(self, verdict=verdict, of_file=of_file)


def _judge(landed: Landed, file: File, checks: Sequence[Check], repairing: str) -> _Judged:
    rows, source = file.rows, file.source
    faults = faults_of(file, checks, learned=False)
    verdict = check_rows(rows, source, [fault for fault in faults if _is_of_rows(fault)])
    judged = _Judged(file, verdict, tuple(fault.finding for fault in faults if not _is_of_rows(fault)))
    times = rows.typed.column(source.event_time)
    if times.null_count == len(times):
        text = "no row has a time"
        nothing = Finding(check="event_time", column=source.event_time, severity="block", text=text)
        return replace(judged, of_file=(*judged.of_file, nothing))
    # what is learned is compared with rows that are good so far; of a file that is lost, with all, to say why
    among = verdict.good if not _too_many_held(judged) else np.ones(len(times), dtype=bool)
    part = _with_past(landed, file.only(among), repairing)
    judged = judged.with_faults(faults_of(part, checks, learned=True), among)
    known = part.profile if (judged.verdict.good == among).all() else None
    return replace(judged, of_file=(*judged.of_file, *_too_many_held(judged)), profile=known)


def _is_of_rows(fault: Fault) -> bool:
    """Say whether a fault leaves the file as a whole alone."""
    return fault.rows is not None or fault.finding.severity == "warn"


def _with_past(landed: Landed, file: File, repairing: str) -> File:
    """Return a file with what was accepted before it."""
    window = window_of(file.rows.typed.column(file.source.event_time))
    if window is None:
        return file
    stores: Any = {"tables": landed.tables, "blobs": landed.blobs, "cache": landed.cache}
    until = window.end - MICROSECOND
    reference = reference_of(landed.call, file.name, file.source, window.start, until, baseline=Baseline(), **stores)
    newest = store.newest_profile(landed.tables, landed.workspace, file.name)
    later = newest is not None and newest.end > until
    expected = bool(later and (repairing or _corrects(landed, file.name, window)))
    return replace(file, reference=reference, newest=newest.end if newest else None, expected=expected)


def _corrects(landed: Landed, name: str, window: Window) -> bool:
    """Say whether rows of a window came before: accepted, or held back."""
    if overlapping(landed, name, window):
        return True
    ends = (window.start, window.end + _LONGEST)
    kept = store.kept_profiles(landed.tables, landed.workspace, name, *ends)
    common = [Window(start=max(one.start, window.start), end=min(one.end + MICROSECOND, window.end)) for one in kept
              if one.start < window.end and one.end >= window.start]  # fmt: skip
    return sum((one.end - one.start for one in common), timedelta(0)) >= 0.9 * (window.end - window.start)


def _accepted_rows(landed: Landed, name: str, start: datetime, end: datetime) -> pa.Table | None:
    """Return accepted rows of another source around a span; see ``Others``."""
    kept = store.kept_profiles(landed.tables, landed.workspace, name, start, end + _LONGEST)
    found = []
    for one in (one for one in kept if one.start <= end):
        digest = one.key.rsplit("/", 1)[-1].partition(".")[0]
        if (rows := accepted_rows(landed.blobs, landed.workspace, name, digest)) is not None:
            found.append(rows)
    return pa.concat_tables(in_common(found)) if found else None


def _too_many_held(judged: _Judged) -> tuple[Finding, ...]:
    held, rows = judged.held, judged.file.rows
    total = rows.typed.num_rows + len(rows.malformed)
    if held < total and (held <= MOST_HELD * total):
        return ()
    text = f"{held} of {total} rows break row checks: the file as a whole is not believed"
    return (Finding(check="rows", severity="block", text=text),)


def _accept(
    landed: Landed, judged: _Judged, detector: Detectors, seen: store.SeenContent | None, repairing: str
) -> Outcome:
    workspace, file = landed.workspace, judged.file
    name, source, rows = file.name, file.source, file.rows
    good = rows.typed.filter(pa.array(judged.verdict.good))
    figures = rows.only(judged.verdict.good).figures
    profile = judged.profile or profile_of(figures, name, source, rows.digest, file.types)
    profile = profile.model_copy(update={"landed": landed.call.now, "undeclared": rows.undeclared})
    window = Window(start=profile.start, end=profile.end + MICROSECOND)
    warnings = tuple(finding for finding in judged.verdict.findings if finding.severity == "warn")
    watching = Watch(landed.call, name, source, landed.tables, landed.blobs, detector, landed.cache)
    watched = watch(watching, good, profile, warnings)
    accepted = UploadAccepted(
        source=name,
        upload_key=landed.key,
        upload_version=landed.version,
        digest=rows.digest,
        key=accepted_key(workspace, name, rows.digest),
        rows=good.num_rows,
        bad_rows=judged.held,
        window=window,
        profile_key=store.profile_key(workspace, name, rows.digest),
        findings=told((*warnings, *watched.findings)),
    )
    bodies = {accepted.key: parquet_bytes(good), accepted.profile_key: profile.packed(), **watched.bodies}
    events: list[Event] = [accepted]
    now_seen = store.SeenContent(verdict="accepted", upload_key=landed.key)
    writes: list[Write] = [
        store.put_content(workspace, name, rows.digest, now_seen, seen),
        store.put_profile(workspace, profile),
    ]
    text = f"accepted {accepted.rows} rows"
    if judged.held:
        held, objects = held_rows(landed, name, source, rows, judged.verdict, good)
        bodies |= objects
        events.append(failed(held))
        writes.append(store.put_open(workspace, held))
        text += f", held {held.rows}"
    events.extend(watched.events)
    writes.extend(watched.writes)
    outcome = Outcome(text, True, tuple(events), tuple(writes), bodies, judged.verdict.findings, judged.held)
    return _with_ends(landed, outcome, released(Arrived(landed, name, source, window, rows.typed), repairing))


def _with_ends(landed: Landed, outcome: Outcome, over: Sequence[store.Quarantine]) -> Outcome:
    """Return what follows with the ends of quarantines, as many as one transaction takes, and the upload's mark."""
    at_once = room(len(outcome.writes) + 1, len(outcome.events))
    ended, ends = closing(landed, over[:at_once])
    closes = tuple(one.id for one in over[at_once:])
    mark = store.put_upload(landed.workspace, landed.key, landed.version, outcome.text, closes)
    return replace(outcome, events=(*outcome.events, *ended), writes=(mark, *outcome.writes, *ends), closes=closes)


# --- pieces ------------------------------------------------------------------------------


def _store(blobs: Blobs, bodies: dict[str, bytes]) -> None:
    """Write objects at once; their keys name their content, so writing them again changes nothing."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda pair: blobs.put("lake", *pair), bodies.items()))


def _may_read(call: Call, source: str) -> bool:
    try:
        call.authorise("quarantine:read", f"source/{source}")
    except Forbidden:
        return False
    return True


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
