"""What an accepted upload sets off in matters of drift: windows, their references, verdicts, votes, and reports.

A window is a file, or all files of a span (``verdict.windows``): then it is judged once, when the span is over, which a
file of a later span shows, or the schedule (``close_due``). What comes after its window was judged is late and changes
nothing: a file whose span was judged, or one that ends before the newest that voted began. It is said that it is not
judged. Nothing in the future counts as later, or one wrong clock would silence all that comes before its time.
Votes are written conditionally: of two who judge at once, one begins again.

Nothing is written here: ``uploads`` commits what is returned, together with the upload.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from modelwright.context import Call
from modelwright.errors import ConditionFailed, NotFound
from modelwright.events import ColumnDrift, DriftDetected, Event, Finding, Window
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import compatibility, measures, report, store
from modelwright.monitoring.accepted import in_common
from modelwright.monitoring.compatibility.judging import Tool
from modelwright.monitoring.detectors.multivariate import MOST_ROWS
from modelwright.monitoring.documents import Profile
from modelwright.monitoring.verdict import Seen, Together, Verdict, enough, judge, telling
from modelwright.monitoring.verdict.comparing import watched
from modelwright.monitoring.verdict.segments import compared_with, segments_of
from modelwright.monitoring.verdict.windows import (
    MICROSECOND,
    Before,
    Detectors,
    Judgeable,
    Watch,
    before,
    sampled,
    span_of,
    spans_over,
)
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import load_current
from modelwright.storage import Blobs, Tables, Write

__all__ = ["Watch", "Watched", "close_due", "close_windows", "history", "watch"]

_REFERENCE_FILES = 8
"""Of so many newest uploads of the reference rows are read, where something looks at rows."""
_COMPARED_ROWS = 100_000
_HISTORY = 30
_ATTEMPTS = 3


@dataclass(frozen=True)
class Watched:
    """What follows from an upload; nothing of it is written yet.

    Attributes:
        events: what happened.
        writes: the state of monitoring.
        bodies: objects of the lake, by key.
        findings: that it is not judged, and why.
    """

    events: tuple[Event, ...] = ()
    writes: tuple[Write, ...] = ()
    bodies: dict[str, bytes] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def watch(watching: Watch, table: pa.Table, profile: Profile, findings: Sequence[Finding] = ()) -> Watched:
    """Judge what an accepted upload completes.

    Args:
        watching: the source and collaborators.
        table: its good rows.
        profile: of these.
        findings: what the quality checks say of it, for the report.
    """
    source, bodies = watching.source, dict[str, bytes]()
    known = watching.segments(watching.reference(profile.start, profile.end).profiles) if source.drift.segments else ()
    segments = segments_of(table, watching.name, source, profile.digest, known)
    if source.drift.segments:
        bodies[watching.segments_key(profile.digest)] = segments.packed()
    votes = store.drift_votes(watching.tables, watching.workspace, watching.name)
    windows: Iterable[Judgeable] = ()
    late = profile.end < votes.began
    if source.drift.every:
        late = span_of(source, profile.end).end <= votes.newest
        shown = min(profile.end, max(profile.start, watching.call.now))
        windows = spans_over(watching, votes.newest, span_of(source, shown).start)
    elif not late:
        own = Window(start=profile.start, end=profile.end + MICROSECOND)
        windows = (Judgeable(own, profile, segments, lambda: table, tuple(findings)),)
    judged = _judged(watching, windows, votes)
    said = (_late(profile, votes),) if late else ()
    return Watched(judged.events, judged.writes, {**bodies, **judged.bodies}, said)


def close_due(watching: Watch) -> Watched:
    """Judge the windows of a source that are over by the call's time, though no later file came."""
    if not watching.source.drift.every:
        return Watched()
    votes = store.drift_votes(watching.tables, watching.workspace, watching.name)
    over = spans_over(watching, votes.newest, span_of(watching.source, watching.call.now).start)
    return _judged(watching, over, votes)


def close_windows(
    call: Call, *, tables: Tables, log: Log, blobs: Blobs, detector: Detectors, cache: dict[str, Any]
) -> None:
    """Judge the windows of all sources that are over, and commit what follows; without a project there are none.

    What is wrong with one source keeps no other from its turn, and is raised when all had theirs, so that the schedule
    fails and is delivered again: windows that were judged are not judged anew.

    Args:
        call: its time says what is over.
        tables: monitoring's own table and the project.
        log: where the events go.
        blobs: the lake is read and written.
        detector: the installed drift detectors by name.
        cache: what is kept while the process lives.
    """
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        return
    watches = (Watch(call, name, source, tables, blobs, detector, cache) for name, source in project.sources.items())
    _close_each(watches, log)


def _close_each(watches: Iterator[Watch], log: Log) -> None:
    for watching in watches:
        try:
            _close(watching, log)
        except Exception as error:  # whatever it is, it is raised once the other sources had their turn
            error.add_note(f"when the windows of source {watching.name} were closed")
            _close_each(watches, log)
            raise


def _close(watching: Watch, log: Log) -> None:
    """Judge what is over and commit it, again if an upload voted meanwhile."""
    for attempt in range(1, _ATTEMPTS + 1):
        found = close_due(watching)
        if not found.writes:
            return
        for key, body in found.bodies.items():
            watching.blobs.put("lake", key, body)
        stream = stream_of(watching.workspace, "SOURCE", watching.name)
        try:
            log.commit(watching.call, [Happened(stream, event) for event in found.events], found.writes)
        except ConditionFailed:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def history(watching: Watch, limit: int = _HISTORY) -> tuple[store.JudgedWindow, ...]:
    """Return the newest verdicts on a source, newest first."""
    return store.judged_windows(watching.tables, watching.workspace, watching.name, limit)


# --- verdicts ----------------------------------------------------------------------------


def _late(profile: Profile, votes: DriftVotes) -> Finding:
    text = f"not judged: its rows end {profile.end:%Y-%m-%d %H:%M}, before the newest window that was judged"
    began = f" (begun {votes.began:%Y-%m-%d %H:%M})" if votes.began.year > 1 else ""
    return Finding(check="drift", severity="warn", text=f"{text}{began}; it is in the reference all the same")


def _judged(watching: Watch, windows: Iterable[Judgeable], votes: DriftVotes) -> Watched:
    """Return what follows from windows, oldest first."""
    events: list[Event] = []
    writes: list[Write] = []
    bodies: dict[str, bytes] = {}
    newest = votes
    shown_before = [_past(one) for one in history(watching)]
    for window in windows:
        bodies |= measures.profile_metrics(
            window.profile, watching.workspace, watching.name, left_out=watching.source.key
        )
        past = before(watching, window)
        if not enough(window.profile, past.reference, watching.source.drift):
            continue
        verdict = _verdict(watching, window, past, newest)
        newest = verdict.votes.after(newest, window.span, watching.call.now)
        shown = _report(watching, window, past, verdict, shown_before)
        key = f"reports/{watching.workspace}/{watching.name}/{window.profile.digest}"
        bodies |= {f"{key}.html": report.page(shown), f"{key}.json": report.document(shown)}
        bodies |= measures.drift_metrics(window.profile, verdict.columns, watching.workspace, watching.name)
        shown_before.append(shown.past())
        kept = _kept(watching, window, verdict, f"{key}.html")
        writes.append(store.put_judged(watching.workspace, watching.name, kept))
        if verdict.drifted:
            events.append(_event(watching, verdict, f"{key}.html"))
    if newest is not votes:
        writes.append(store.put_drift_votes(watching.workspace, watching.name, newest))
    return Watched(tuple(events), tuple(writes), bodies)


def _verdict(watching: Watch, window: Judgeable, past: Before, votes: DriftVotes) -> Verdict:
    policy = watching.source.drift
    if policy.compatibility:
        return _of_another_tool(watching, window, past, votes)
    seen = Seen(
        profile=window.profile,
        reference=past.reference,
        segments=compared_with(window.segments, past.segments(watching), past.text) if policy.segments else {},
        together=tuple(_looked_together(watching, window, past)),
        notes=window.segments.notes,
    )
    return judge(seen, window.span, watching.source, watching.detectors, votes)


def _of_another_tool(watching: Watch, window: Judgeable, past: Before, votes: DriftVotes) -> Verdict:
    """Return a verdict with the choices and thresholds of another tool: one window is enough."""
    policy = watching.source.drift
    kind = cast(Tool, policy.compatibility)
    found: tuple[ColumnDrift, ...] = ()
    if (rows := past.rows(watching, _REFERENCE_FILES, _COMPARED_ROWS)) is not None:
        reference, now = in_common([rows, window.rows()])
        found = compatibility.judge(kind, reference, now, watching.source)
    columns = tuple(
        one.model_copy(update={"reference": past.text, "since": window.span.start if one.drifted else None})
        for one in found
    )
    names = {one.column for one in columns if one.column in watching.source.columns}
    drifted = {one.column for one in columns if one.drifted} & names
    share = len(drifted) / len(names) if names else 0.0
    return Verdict(
        window=window.span,
        rows=window.profile.rows,
        reference=past.text,
        columns=columns,
        moved=tuple(one.drifted for one in columns),
        share=share,
        dataset=bool(drifted) and share >= compatibility.DATASET_SHARES.get(kind, policy.share),
        votes=votes.model_copy(update={"newest": window.span.end}),
        notes=(f"judged as {policy.compatibility} does",),
    )


def _looked_together(watching: Watch, window: Judgeable, past: Before) -> Iterable[Together]:
    """Yield what detectors say of all columns at once, from at most ``MOST_ROWS`` rows of either side."""
    policy = watching.source.drift
    if not policy.multivariate:
        return
    rows, now = past.rows(watching, _REFERENCE_FILES, MOST_ROWS), sampled([window.rows()], MOST_ROWS)
    if rows is None or now is None:
        return
    rows, now = in_common([rows, now])
    names = tuple(one for one in watched(watching.source, window.profile.columns) if one in now.column_names)
    if not names:
        return
    first, second = (side.select(names).to_pandas() for side in (rows, now))
    seed = int(hashlib.sha256(window.profile.digest.encode()).hexdigest()[:8], 16)
    for one in policy.multivariate:
        detector = watching.of_rows(one)
        floor = policy.floors.get(one, detector.floor)
        yield Together(names, one, detector.compare(first, second, seed), floor)


def _event(watching: Watch, verdict: Verdict, report_key: str) -> DriftDetected:
    return DriftDetected(
        source=watching.name,
        window=verdict.window,
        reference=verdict.reference,
        columns=telling.told(verdict.columns),
        drifting=len(verdict.drifted),
        rows=verdict.rows,
        share=verdict.share,
        dataset=verdict.dataset,
        report_key=report_key,
    )


def _kept(watching: Watch, window: Judgeable, verdict: Verdict, report_key: str) -> store.JudgedWindow:
    return store.JudgedWindow(
        window=verdict.window,
        digest=window.profile.digest,
        rows=verdict.rows,
        at=watching.call.now,
        reference=verdict.reference,
        share=verdict.share,
        dataset=verdict.dataset,
        report_key=report_key,
        columns=telling.kept(verdict.columns),
        notes=verdict.notes,
    )


# --- reports -----------------------------------------------------------------------------


def _report(
    watching: Watch, window: Judgeable, past: Before, verdict: Verdict, shown_before: Sequence[report.PastWindow]
) -> report.WindowReport:
    return report.report_of(
        window.profile,
        past.reference,
        verdict.columns,
        workspace=watching.workspace,
        source=watching.name,
        made=watching.call.now,
        text="; ".join((past.text, *verdict.notes)),
        findings=window.findings,
        history=shown_before,
        share=verdict.share,
        dataset=verdict.dataset,
        policy=watching.source.drift.compatibility,
        left_out=watching.source.key,
    )


def _past(judged: store.JudgedWindow) -> report.PastWindow:
    everywhere = [one for one in judged.columns if not one.segment]
    return report.PastWindow(
        start=judged.window.start,
        end=judged.window.end,
        rows=judged.rows,
        strengths={one.column: telling.strength(one) for one in sorted(everywhere, key=telling.strength)},
        drifted=tuple(sorted({one.column for one in judged.columns if one.drifted})),
        share=judged.share,
    )
