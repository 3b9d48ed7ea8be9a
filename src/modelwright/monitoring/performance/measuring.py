"""The use case of labels: join them with the predictions they belong to, measure, and say when a champion got worse.

What was joined is kept as ``labelled/<ws>/<model>/<digest>.parquet`` for training and for later comparisons. Champion
and time of its promotion come from ``AliasChanged``; while none was heard, the version that answered as champion most
often is taken.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, NotFound
from modelwright.events import (
    AliasChanged,
    Delivery,
    Event,
    ModelVersionCreated,
    PerformanceDegraded,
    PerformanceMeasured,
    UploadAccepted,
    Window,
)
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import store
from modelwright.monitoring.degradation import Degradation, Labelled, degradation_of
from modelwright.monitoring.performance import records, streams
from modelwright.monitoring.performance.alike import judged
from modelwright.monitoring.performance.figures import Scored, Shape, spread_of
from modelwright.monitoring.performance.joining import (
    EPOCH,
    LABELLED,
    days_of,
    join,
    labelled_tables,
    labels_of,
    not_counted,
    predictions_of,
    stacked,
)
from modelwright.monitoring.performance.segments import segmented
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from modelwright.project import Model, Project, load_current
from modelwright.storage import Blobs, Tables, Write

Outcome = tuple[list[Event], list[Write]]


def measure(delivery: Delivery, call: Call, *, tables: Tables, log: Log, blobs: Blobs) -> None:
    """Join an accepted upload of labels with the predictions of each model that it labels.

    Raises:
        AlreadyHandled: the delivery came before.
    """
    event: UploadAccepted = delivery.event
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        return
    models = [name for name, model in project.models.items() if model.label.source == event.source]
    if not models:
        return
    if log.handled("monitoring", delivery):
        raise AlreadyHandled(f"monitor joined the labels of {event.upload_key} before")
    events: list[Happened] = []
    writes: list[Write] = []
    for name in models:
        more_events, more_writes = _measure_model(event, call, name, project, tables, blobs)
        events += [Happened(stream_of(call.workspace, "PERFORMANCE", name), one) for one in more_events]
        writes += more_writes
    log.commit(call, events, writes, delivery=delivery, table="monitoring")


def follow_alias(delivery: Delivery, call: Call, *, tables: Tables, log: Log) -> None:
    """Take over a new champion: its reference performance begins at the event's time, however late the event comes."""
    event: AliasChanged = delivery.event
    if event.alias != "champion":
        return
    before = store.champion_of(tables, call.workspace, event.model)
    envelope = delivery.envelope
    if before is not None and (before.since, before.sequence) >= (envelope.at, envelope.sequence):
        return
    champion = store.Champion(version=event.version, since=envelope.at, sequence=envelope.sequence)
    write = store.put_champion(call.workspace, event.model, champion, before)
    log.commit(call, [], [write], delivery=delivery, table="monitoring")


def follow_version(delivery: Delivery, call: Call, *, tables: Tables) -> None:
    """Remember where a new version's model lies: what it rests on is asked of itself. Again is the same."""
    event: ModelVersionCreated = delivery.event
    tables.write([records.put_artifact(call.workspace, event)])


# --- one model ---------------------------------------------------------------------------


def _measure_model(
    event: UploadAccepted, call: Call, name: str, project: Project, tables: Tables, blobs: Blobs
) -> Outcome:
    workspace, model = call.workspace, project.model(name)
    time = model.time_column
    if time not in project.sources[event.source].columns:
        time = project.sources[event.source].event_time
    labels = labels_of(blobs, event.key, model, time)
    before = store.labels_joined(tables, workspace, name)
    champion = store.champion_of(tables, workspace, name)
    since = champion.since if champion else EPOCH
    earlier = store.labelled_files(tables, workspace, name, min(since, event.window.start))
    overlapping = [file for file in earlier if meets(file.window, event.window)]
    joined = join(labels, predictions_of(blobs, workspace, name, labels))
    joined = not_counted(joined, [blobs.get("lake", file.key).body for file in overlapping])
    scored = Scored.of(joined, champion.version if champion else None, Shape.of(model, project))
    spread = _spread(model, workspace, name, tables, blobs)
    key = f"labelled/{workspace}/{name}/{event.digest}.parquet" if joined.num_rows else ""
    measured = PerformanceMeasured(
        model=name,
        window=event.window,
        labels_key=event.key,
        labels=labels.num_rows,
        joined=scored.labels.size,
        performances=tuple(scored.performance(version) for version in scored.versions),
        comparisons=scored.comparisons(spread),
        canary_comparisons=scored.canary_comparisons(spread),
        labelled_key=key,
        quarantined=_quarantined(project, model, event, workspace, tables),
        segments=segmented(scored, model.monitoring.segments),
    )
    events: list[Event] = [measured]
    writes: list[Write] = [store.put_measured(workspace, event.digest, store.Measured(at=call.now, measured=measured))]
    if not key:
        return events, writes
    blobs.put("lake", key, parquet_bytes(joined))
    rows = {str(p.version): p.rows for p in measured.performances}
    newest = store.LabelledFile(window=event.window, key=key, rows=rows, spoiled=bool(measured.quarantined))
    writes.append(store.put_labelled(workspace, name, event.digest, newest))
    writes.append(store.put_labels_joined(workspace, name, before))
    version = champion.version if champion else (scored.champions or (None,))[0]
    if version is None:
        return events, writes
    if model.monitoring.streams and not newest.spoiled:
        changed, told = _told(name, version, event.window, joined, model, tables, workspace)
        events += changed
        writes.append(told)
    whole = [file for file in (*earlier, newest) if file.window.end > since and not file.spoiled]
    windows = windows_of(version, sorted(whole, key=lambda file: file.window.end), model.monitoring.min_rows)
    if not windows or newest not in windows[-1]:
        return events, writes
    judging = _Judging(name, version, model, event.window, blobs)
    found = judging.degraded(windows, newest, joined)
    recent = judging.rows(windows[-1], newest, joined) if model.monitoring.fairness else None
    if recent is not None:
        more, standing = judged(name, version, event.window, recent, model.monitoring, (tables, workspace))
        events += more
        writes += standing
    return [*events, *found], writes


def _told(
    name: str, version: int, window: Window, joined: pa.Table, model: Model, tables: Tables, workspace: str
) -> tuple[list[Event], Write]:
    """Tell the champion's errors to the detectors of streams that its policy names."""
    known = streams.load(tables, workspace, name)
    standing, found = streams.follow(
        name, version, window, joined, model.monitoring.streams, streams.installed, known,
        classification=model.task == "classification",
    )  # fmt: skip
    return [*found], streams.put(workspace, name, standing)


def _spread(model: Model, workspace: str, name: str, tables: Tables, blobs: Blobs) -> float | None:
    """Return the spread of the earliest labels that were joined: what is compared now has no part in it."""
    if model.task not in ("regression", "forecasting"):
        return None
    first = records.first_labelled(tables, workspace, name)
    if first is None:
        return None
    labels = parquet_table(blobs.get("lake", first.key).body, ["label"]).column("label")
    return spread_of(np.asarray(labels.cast(pa.float64()).to_numpy(), dtype=np.float64)) or None


def _quarantined(
    project: Project, model: Model, event: UploadAccepted, workspace: str, tables: Tables
) -> tuple[str, ...]:
    """Return the sources that feed a model and of which files over the labels' window are held back."""
    feeding = {project.views[view].source for view in model.views}
    held = (
        one
        for one in store.open_quarantines(tables, workspace)
        if one.source in feeding and one.scope == "file" and meets(one.window, event.window)
    )
    return tuple(sorted({one.source for one in held}))


def meets(window: Window | None, other: Window) -> bool:
    """Say whether two windows overlap; an unknown one overlaps all."""
    return window is None or (window.start < other.end and other.start < window.end)


def windows_of(version: int, files: Sequence[store.LabelledFile], min_rows: int) -> list[list[store.LabelledFile]]:
    """Take files together until each window has enough rows of the version; an unfinished last one is left out."""
    windows: list[list[store.LabelledFile]] = []
    open_window: list[store.LabelledFile] = []
    rows = 0
    for file in files:
        if file.rows.get(str(version), 0):
            open_window.append(file)
            rows += file.rows[str(version)]
        if rows >= min_rows:
            windows.append(open_window)
            open_window, rows = [], 0
    return windows


class _Judging:
    """A champion when the newest file completes its newest window; reads the first and newest windows only."""

    def __init__(self, name: str, version: int, model: Model, window: Window, blobs: Blobs) -> None:
        self._name, self._version, self._model, self._window, self._blobs = name, version, model, window, blobs

    def degraded(
        self, windows: Sequence[Sequence[store.LabelledFile]], newest: store.LabelledFile, joined: pa.Table
    ) -> list[Event]:
        """Say so if the champion got worse."""
        policy = self._model.monitoring
        most = max(policy.look_backs)
        needed = windows if len(windows) <= 2 * most else [*windows[:most], *windows[-most:]]
        columns = ["as_of", "version", "score", "label"]
        columns += [self._model.rank_by] if self._model.task == "ranking" else []
        others = [file.key for window in needed for file in window if file is not newest]
        tables = dict(zip(others, labelled_tables(self._blobs, others, columns), strict=True))
        tables[newest.key] = joined
        parts = [Labelled.joined([self._labelled(tables[file.key]) for file in window]) for window in needed]
        found = degradation_of(parts, policy, self._model.task)
        return [] if found is None else [self._event(found)]

    def rows(self, window: Sequence[store.LabelledFile], newest: store.LabelledFile, joined: pa.Table) -> pa.Table:
        """Return the champion's rows of a window with all that was logged of them."""
        others = [file.key for file in window if file is not newest]
        whole = stacked([*labelled_tables(self._blobs, others), joined], LABELLED)
        return whole.filter(pc.equal(whole.column("version"), self._version))

    def _labelled(self, table: pa.Table) -> Labelled:
        rows = table.filter(pc.equal(table.column("version"), self._version))
        label = np.asarray(rows.column("label").to_numpy(), dtype=np.float64)
        lists = None
        if self._model.task == "ranking":
            lists = np.array(rows.column(self._model.rank_by).cast(pa.string()).to_pylist(), dtype=np.str_)
        truth = label.astype(bool) if self._model.task == "classification" else label
        return Labelled(truth, rows.column("score").to_numpy(), days_of(rows), lists)

    def _event(self, found: Degradation) -> PerformanceDegraded:
        return PerformanceDegraded(
            model=self._name,
            version=self._version,
            window=self._window,
            metric=found.metric,
            value=found.value,
            reference=found.reference,
            reason=found.reason,
        )
