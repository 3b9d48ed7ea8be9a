"""The use case of an upload: believed, believed in part, or held back - and what people do about the last.

Bad data never raises: it is quarantined with its reasons and the function goes on. What comes
twice (the same delivery, the same object, the same content under another name) is accepted
once. An accepted file of a window closes the quarantines of that window, because the data came
again correctly.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.events import (
    DriftDetected,
    Event,
    Finding,
    QualityFailed,
    QuarantineReleased,
    UploadAccepted,
    Window,
)
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import store
from modelwright.monitoring.checks import Check, check_file
from modelwright.monitoring.detectors import Detector
from modelwright.monitoring.drift import drift_of
from modelwright.monitoring.profiles import Profile, Reference, profile_of
from modelwright.monitoring.reading import Mask, Rows, parquet_bytes, read_rows
from modelwright.monitoring.rows import RowVerdict, check_rows
from modelwright.project import Source, load_current
from modelwright.storage import Blobs, Tables, Write

UNKNOWN = "unknown"
MOST_HELD = 0.5
"""When more than half of the rows break row checks, the file as a whole is not to be believed."""
ERASURE = "modelwright-erasure"
"""Metadata of an upload that an erasure rewrote: its other rows are known."""
_MOST_RELEASED = 20
_REASONS_KEPT = 1000

Checks = Callable[[str], Check]
"""Returns a check by name; raises ``PluginError``."""
Detectors = Callable[[str], Detector]
"""Returns a detector by name; raises ``PluginError``."""


@dataclass(frozen=True)
class _Landed:
    """An upload and the collaborators that its handling needs."""

    call: Call
    key: str
    version: str
    body: bytes
    tables: Tables
    log: Log
    blobs: Blobs

    @property
    def workspace(self) -> str:
        return self.call.workspace

    def quarantine_id(self, source: str) -> str:
        """The same however often the upload is handled, so that a second attempt writes the same objects."""
        version = self.version or hashlib.sha256(self.body).hexdigest()
        return hashlib.sha256("\n".join((self.workspace, source, self.key, version)).encode()).hexdigest()[:24]


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
    """
    handled = store.upload_outcome(tables, call.workspace, key, version)
    if handled is not None:
        return f"repeated delivery: {handled}"
    try:
        stored = blobs.get("landing", key, version)
    except NotFound:
        return "gone before it was read"
    if key.endswith("/") and not stored.body:
        return "a folder"
    if ERASURE in stored.metadata:
        return f"rewritten by erasure {stored.metadata[ERASURE]}"
    if virtual_time and "as-of" in stored.metadata:
        call = replace(call, now=_time(stored.metadata["as-of"]) or call.now)
    landed = _Landed(call, key, version, stored.body, tables, log, blobs)
    try:
        project = load_current(tables, call.workspace)
        name = project.source_of(key)
    except NotFound as error:
        return _hold_unread(landed, UNKNOWN, "source", str(error))
    source = project.sources[name]
    try:
        rows = read_rows(stored.body, source)
    except InvalidInput as error:
        return _hold_unread(landed, name, "readable", error.logged, str(error))
    return _judge(landed, name, source, rows, check, detector)


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


# --- verdicts ----------------------------------------------------------------------------


def _judge(landed: _Landed, name: str, source: Source, rows: Rows, check: Checks, detector: Detectors) -> str:
    seen = store.seen_content(landed.tables, landed.workspace, name, rows.digest)
    if seen is not None and seen.verdict == "accepted":
        return _forget(landed, f"same content as {seen.upload_key}, which was accepted")
    verdict = check_rows(rows, source)
    if rows.typed.column(source.event_time).null_count == rows.typed.num_rows:
        nothing = Finding(check="event_time", column=source.event_time, severity="block", text="no row has a time")
        return _hold_file(landed, name, (*verdict.findings, nothing), rows.digest, seen, rows.typed.num_rows)
    profile = profile_of(rows.typed, name, source, rows.digest)
    since = profile.start - timedelta(days=source.reference_days)
    reference = store.reference_of(landed.tables, landed.workspace, name, since, profile.end)
    findings = (
        *check_file(profile, reference, source, [check(one) for one in source.checks]),
        *_too_many_held(verdict, rows),
    )
    if any(finding.severity == "block" for finding in findings):
        everything = (*findings, *verdict.findings)
        window = _window(rows.typed, source)
        return _hold_file(landed, name, everything, rows.digest, seen, rows.typed.num_rows, window)
    if not verdict.good.all():
        good = rows.typed.filter(pa.array(verdict.good))
        profile = profile_of(good, name, source, rows.digest)
    else:
        good = rows.typed
    judged = _Judged(name, source, rows, verdict, good, profile, reference, findings, seen)
    return _accept(landed, judged, detector)


def _too_many_held(verdict: RowVerdict, rows: Rows) -> tuple[Finding, ...]:
    held = int(verdict.held.sum()) + len(rows.malformed)
    total = rows.typed.num_rows + len(rows.malformed)
    if held < total and (held <= MOST_HELD * total):
        return ()
    text = f"{held} of {total} rows break row checks: the file as a whole is not believed"
    return (Finding(check="rows", severity="block", text=text),)


@dataclass(frozen=True)
class _Judged:
    name: str
    source: Source
    rows: Rows
    verdict: RowVerdict
    good: pa.Table
    profile: Profile
    reference: Reference
    findings: tuple[Finding, ...]
    seen: store.SeenContent | None

    @property
    def held(self) -> int:
        return int(self.verdict.held.sum()) + len(self.rows.malformed)


def _accept(landed: _Landed, judged: _Judged, detector: Detectors) -> str:
    workspace, name, digest = landed.workspace, judged.name, judged.rows.digest
    window = _window(judged.good, judged.source)
    accepted = UploadAccepted(
        source=name,
        upload_key=landed.key,
        upload_version=landed.version,
        digest=digest,
        key=f"accepted/{workspace}/{name}/{digest}.parquet",
        rows=judged.good.num_rows,
        bad_rows=judged.held,
        window=window,
        profile_key=f"profiles/{workspace}/{name}/{digest}.json",
        findings=(*judged.findings, *(f for f in judged.verdict.findings if f.severity == "warn")),
    )
    bodies = {
        accepted.key: parquet_bytes(judged.good),
        accepted.profile_key: judged.profile.model_dump_json().encode(),
    }
    seen = store.SeenContent(verdict="accepted", upload_key=landed.key)
    events: list[Event] = [accepted]
    outcome = f"accepted {accepted.rows} rows"
    writes: list[Write] = [
        store.put_upload(workspace, landed.key, landed.version, outcome),
        store.put_content(workspace, name, digest, seen, judged.seen),
        store.put_profile(workspace, judged.profile),
    ]
    if judged.held:
        held, objects = _held_rows(landed, judged)
        bodies |= objects
        events.append(_failed(held))
        writes.append(store.put_open(workspace, held))
        outcome += f", held {held.rows}"
    votes = store.drift_votes(landed.tables, workspace, name)
    detectors = [detector(one) for one in judged.source.detectors]
    drifts, voted = drift_of(judged.profile, judged.reference, judged.source, detectors, votes)
    if voted is not votes:
        writes.append(store.put_drift_votes(workspace, name, voted))
    if drifts:
        reference = f"{len(judged.reference.profiles)} uploads of {judged.source.reference_days} days before"
        events.append(DriftDetected(source=name, window=window, reference=reference, columns=drifts))
    for before in _released(landed, name, window):
        reason = f"{landed.key} brought the same window again and passed"
        events.append(QuarantineReleased(source=before.source, quarantine_id=before.id, reason=reason))
        writes.extend(store.close(workspace, before, reason))
    _store(landed.blobs, bodies)
    _commit(landed, events, writes)
    return outcome


def _held_rows(landed: _Landed, judged: _Judged) -> tuple[store.Quarantine, dict[str, bytes]]:
    identity = landed.quarantine_id(judged.name)
    folder = f"quarantine/{landed.workspace}/{judged.name}/{identity}"
    mask: Mask = judged.verdict.held
    findings = tuple(finding for finding in judged.verdict.findings if finding.severity == "block")
    typed = judged.rows.typed.filter(pa.array(mask))
    timed = typed.column(judged.source.event_time).null_count < typed.num_rows
    held = store.Quarantine(
        id=identity,
        source=judged.name,
        upload_key=landed.key,
        upload_version=landed.version,
        scope="rows",
        key=f"{folder}/rows.parquet",
        rows=judged.held,
        at=landed.call.now,
        window=_window(typed if timed else judged.good, judged.source),
        findings=findings,
    )
    raw = judged.rows.raw.filter(pa.array(mask))
    reasons = _reasons(held, malformed=judged.rows.malformed[:_REASONS_KEPT])
    return held, {held.key: parquet_bytes(raw), f"{folder}/reasons.json": reasons}


def _hold_unread(landed: _Landed, name: str, check: str, text: str, quoting: str = "") -> str:
    """Hold a file that nobody could read.

    Args:
        landed: the upload.
        name: of its source.
        check: what it failed.
        text: why, without a word of the file: it goes into the log.
        quoting: why, for who looks into the quarantine.
    """
    digest = hashlib.sha256(landed.body).hexdigest()
    seen = store.seen_content(landed.tables, landed.workspace, name, digest)
    finding = Finding(check=check, severity="block", text=text)
    return _hold_file(landed, name, (finding,), digest, seen, 0, quoting=quoting)


def _hold_file(
    landed: _Landed,
    name: str,
    findings: tuple[Finding, ...],
    digest: str,
    seen: store.SeenContent | None,
    rows: int,
    window: Window | None = None,
    quoting: str = "",
) -> str:
    workspace = landed.workspace
    if seen is not None and _is_open(landed, seen.quarantine_id):
        return _forget(landed, f"same content as {seen.upload_key}, still in quarantine {seen.quarantine_id}")
    identity = landed.quarantine_id(name)
    folder = f"quarantine/{workspace}/{name}/{identity}"
    held = store.Quarantine(
        id=identity,
        source=name,
        upload_key=landed.key,
        upload_version=landed.version,
        scope="file",
        key=f"{folder}/{landed.key.rsplit('/', 1)[-1]}",
        rows=rows,
        at=landed.call.now,
        window=window,
        findings=findings,
    )
    outcome = f"quarantined as {identity}: " + "; ".join(f.text for f in findings if f.severity == "block")
    now_seen = store.SeenContent(verdict="quarantined", upload_key=landed.key, quarantine_id=identity)
    writes = [
        store.put_upload(workspace, landed.key, landed.version, outcome),
        store.put_content(workspace, name, digest, now_seen, seen),
        store.put_open(workspace, held),
    ]
    _store(landed.blobs, {held.key: landed.body, f"{folder}/reasons.json": _reasons(held, quoting=quoting)})
    _commit(landed, [_failed(held)], writes)
    return outcome


def _forget(landed: _Landed, outcome: str) -> str:
    """Remember the object only: nothing happened that anyone need hear of."""
    _commit(landed, [], [store.put_upload(landed.workspace, landed.key, landed.version, outcome)])
    return outcome


def _is_open(landed: _Landed, identity: str) -> bool:
    try:
        store.open_quarantine(landed.tables, landed.workspace, identity)
    except NotFound:
        return False
    return True


def _released(landed: _Landed, name: str, window: Window) -> list[store.Quarantine]:
    """Return the quarantines that an accepted window closes; those without a window by the object's name."""
    found = []
    for held in store.open_quarantines(landed.tables, landed.workspace):
        if held.window is None:
            again = held.upload_key == landed.key and held.source in (name, UNKNOWN)
        else:
            again = held.source == name and _covers(window, held.window)
        if again:
            found.append(held)
    return found[:_MOST_RELEASED]


def _covers(window: Window, held: Window) -> bool:
    """Nine tenths: the corrected file's first or last rows may be held themselves."""
    span = held.end - held.start
    common = min(window.end, held.end) - max(window.start, held.start)
    return common >= 0.9 * span


# --- pieces ------------------------------------------------------------------------------


def _failed(held: store.Quarantine) -> QualityFailed:
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


def _reasons(held: store.Quarantine, malformed: tuple[str, ...] = (), quoting: str = "") -> bytes:
    """Return what is wrong in full, words of the data too: this object lies in quarantine with them."""
    document: dict[str, Any] = held.model_dump(mode="json", exclude={"closed"})
    more = {"quoting": quoting} if quoting else {}
    return json.dumps(document | {"malformed": malformed, **more}, indent=1).encode()


def _window(table: pa.Table, source: Source) -> Window:
    extremes = pc.min_max(table.column(source.event_time)).as_py()
    return Window(start=extremes["min"], end=extremes["max"] + timedelta(microseconds=1))


def _store(blobs: Blobs, bodies: dict[str, bytes]) -> None:
    """Write objects at once; their keys name their content, so writing them again changes nothing."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda pair: blobs.put("lake", *pair), bodies.items()))


def _commit(landed: _Landed, events: list[Event], writes: list[Write]) -> None:
    streams = [stream_of(landed.workspace, "SOURCE", getattr(event, "source", UNKNOWN)) for event in events]
    happened = [Happened(stream, event) for stream, event in zip(streams, events, strict=True)]
    landed.log.commit(landed.call, happened, writes)


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
