"""The use case of labels: join them with the predictions they belong to, measure, and say when a champion got worse.

Labels come late, in any order, and some twice; each prediction of a version is counted once,
with the answer that was asked for first (so that nobody improves a figure by asking again when the outcome is
known) and the first label that came. What was joined is kept as ``labelled/<ws>/<model>/<digest>.parquet``
for training and for later comparisons. Champion and time of its promotion come from
``AliasChanged``; while none was heard, the version that answered as champion most often is taken.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, NotFound
from modelwright.events import (
    AliasChanged,
    Comparison,
    Delivery,
    Estimate,
    Event,
    Performance,
    PerformanceDegraded,
    PerformanceMeasured,
    UploadAccepted,
    Window,
)
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import store
from modelwright.monitoring.degradation import Degradation, Labelled, degradation_of
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from modelwright.project import Model, Project, load_current
from modelwright.statistics import auc_interval, brier_interval
from modelwright.storage import Blobs, Tables, Write

ROLES = ("champion", "canary", "shadow")
LABELLED = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("as_of", pa.timestamp("us", tz="UTC")),
        pa.field("version", pa.int32()),
        pa.field("role", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("label", pa.int8()),
    ]
)
_OF_REQUEST = {"request_id": pa.string(), "asked_at": pa.timestamp("us", tz="UTC")}
_LOGGED = ["prediction_id", "as_of", "version", "role", "score", *_OF_REQUEST]
_THREADS = 16
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000


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


def history(call: Call, model: str, *, tables: Tables, limit: int = 100) -> dict[str, object]:
    """Return a model's champion and its measured windows, newest first; raises ``NotFound``."""
    call.authorise("monitoring:read", f"model/{model}")
    load_current(tables, call.workspace).model(model)
    champion = store.champion_of(tables, call.workspace, model)
    windows = store.measured_windows(tables, call.workspace, model, limit)
    return {
        "model": model,
        "champion": champion.version if champion else None,
        "champion_since": champion.since.isoformat() if champion else None,
        "windows": [{"at": one.at.isoformat(), **one.measured.model_dump(mode="json")} for one in windows],
    }


# --- one model ---------------------------------------------------------------------------


def _measure_model(
    event: UploadAccepted, call: Call, name: str, project: Project, tables: Tables, blobs: Blobs
) -> tuple[list[Event], list[Write]]:
    workspace, model = call.workspace, project.model(name)
    time = model.time_column
    if time not in project.sources[event.source].columns:
        time = project.sources[event.source].event_time
    labels = _labels(blobs, event.key, model, time)
    before = store.labels_joined(tables, workspace, name)
    champion = store.champion_of(tables, workspace, name)
    since = champion.since if champion else _EVER
    earlier = store.labelled_files(tables, workspace, name, min(since, event.window.start))
    overlapping = [file for file in earlier if _meets(file.window, event.window)]
    joined = _join(labels, _predictions(blobs, workspace, name, labels))
    joined = _not_counted(joined, [blobs.get("lake", file.key).body for file in overlapping])
    scored = _Scored.of(joined, champion.version if champion else None)
    key = f"labelled/{workspace}/{name}/{event.digest}.parquet" if joined.num_rows else ""
    measured = PerformanceMeasured(
        model=name,
        window=event.window,
        labels_key=event.key,
        labels=labels.num_rows,
        joined=scored.labels.size,
        performances=tuple(scored.performance(version) for version in scored.versions),
        comparisons=scored.comparisons(),
        canary_comparisons=scored.canary_comparisons(),
        labelled_key=key,
        quarantined=_quarantined(project, model, event, workspace, tables),
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
    whole = [file for file in (*earlier, newest) if file.window.end > since and not file.spoiled]
    files = sorted(whole, key=lambda file: file.window.end)
    found = _look(version, files, newest, joined, model, blobs)
    if found is not None:
        events.append(
            PerformanceDegraded(
                model=name,
                version=version,
                window=event.window,
                metric=found.metric,
                value=found.value,
                reference=found.reference,
                reason=found.reason,
            )
        )
    return events, writes


def _quarantined(
    project: Project, model: Model, event: UploadAccepted, workspace: str, tables: Tables
) -> tuple[str, ...]:
    """Return the sources that feed a model and of which files over the labels' window are held back."""
    feeding = {project.views[view].source for view in model.views}
    held = (
        one
        for one in store.open_quarantines(tables, workspace)
        if one.source in feeding and one.scope == "file" and _meets(one.window, event.window)
    )
    return tuple(sorted({one.source for one in held}))


def _meets(window: Window | None, other: Window) -> bool:
    return window is None or (window.start < other.end and other.start < window.end)


def _look(
    version: int,
    files: Sequence[store.LabelledFile],
    newest: store.LabelledFile,
    joined: pa.Table,
    model: Model,
    blobs: Blobs,
) -> Degradation | None:
    """Judge a champion when the newest file completes its newest window; reads the first and newest windows only."""
    policy = model.monitoring
    windows = _windows(version, files, policy.min_rows)
    if not windows or newest not in windows[-1]:
        return None
    most = max(policy.look_backs)
    needed = windows if len(windows) <= 2 * most else [*windows[:most], *windows[-most:]]
    others = [file for window in needed for file in window if file is not newest]
    with ThreadPoolExecutor(_THREADS) as pool:
        bodies = pool.map(lambda file: blobs.get("lake", file.key).body, others)
        tables = {
            file.key: parquet_table(body, ["as_of", "version", "score", "label"])
            for file, body in zip(others, bodies, strict=True)
        }
    tables[newest.key] = joined
    parts = [Labelled.joined([_of_version(tables[file.key], version) for file in window]) for window in needed]
    return degradation_of(parts, policy)


def _windows(version: int, files: Sequence[store.LabelledFile], min_rows: int) -> list[list[store.LabelledFile]]:
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


def _of_version(table: pa.Table, version: int) -> Labelled:
    rows = table.filter(pc.equal(table.column("version"), version))
    return Labelled(
        rows.column("label").to_numpy().astype(bool),
        rows.column("score").to_numpy(),
        rows.column("as_of").cast(pa.int64()).to_numpy() // _DAY_US,
    )


# --- the join ----------------------------------------------------------------------------


def _labels(blobs: Blobs, key: str, model: Model, time: str) -> pa.Table:
    """Return id, time and label of the rows that have one, one row per id."""
    columns = list(dict.fromkeys((model.id_column, time, model.label.column)))
    table = parquet_table(blobs.get("lake", key).body, columns)
    table = table.filter(pc.and_(table.column(model.label.column).is_valid(), table.column(model.id_column).is_valid()))
    label = pc.greater(table.column(model.label.column).cast(pa.float64()), model.label.above).cast(pa.int8())
    identity = table.column(model.id_column).cast(pa.string())
    made = pa.table({"id": identity, "time": table.column(time), "label": label})
    _, first = np.unique(_codes(made.column("id")), return_index=True)
    return made if len(first) == made.num_rows else made.take(pa.array(np.sort(first)))


def _predictions(blobs: Blobs, workspace: str, model: str, labels: pa.Table) -> pa.Table:
    """Read the partitions of the prediction log on the days of the labels' rows, whenever these were asked."""
    days = pc.unique(labels.column("time").drop_null().cast(pa.int64()).combine_chunks()).to_numpy() // _DAY_US
    prefixes = [f"predictions/{workspace}/{model}/dt={_day(day)}/" for day in np.unique(days)]

    def read(key: str) -> pa.Table:
        return parquet_table(blobs.get("lake", key).body, _LOGGED)

    with ThreadPoolExecutor(_THREADS) as pool:
        listings = pool.map(lambda prefix: [listed.key for listed in blobs.list("lake", prefix)], prefixes)
        tables = list(pool.map(read, [key for keys in listings for key in keys]))
    schema = pa.schema([*list(LABELLED)[:5], *(pa.field(name, kind) for name, kind in _OF_REQUEST.items())])
    return pa.concat_tables([table.cast(schema) for table in tables]) if tables else schema.empty_table()


def _join(labels: pa.Table, predictions: pa.Table) -> pa.Table:
    """Join by id; of several answers of a version for an id the one asked first counts, then by request id."""
    ids = labels.column("id").combine_chunks()
    position = pc.index_in(predictions.column("prediction_id"), value_set=ids).combine_chunks()
    known = position.is_valid()
    predictions, position = predictions.filter(known), position.filter(known).to_numpy()
    asked = predictions.column("asked_at").cast(pa.int64()).to_numpy()
    version = predictions.column("version").to_numpy()
    order = np.lexsort((_ranks(predictions.column("request_id")), asked, version, position))
    position, version = position[order], version[order]
    if len(order):
        first = np.concatenate([[True], (position[1:] != position[:-1]) | (version[1:] != version[:-1])])
        order, position = order[first], position[first]
    chosen = predictions.take(pa.array(order)).drop_columns(list(_OF_REQUEST))
    label = labels.column("label").combine_chunks().take(pa.array(position))
    return chosen.append_column("label", label).cast(LABELLED).combine_chunks()


def _not_counted(joined: pa.Table, bodies: Sequence[bytes]) -> pa.Table:
    """Drop what earlier labels already counted."""
    for body in bodies:
        before = parquet_table(body, ["prediction_id", "version"])
        both = pa.concat_tables([before, joined.select(["prediction_id", "version"])])
        pairs = _codes(both.column("prediction_id")) * (1 << 32) + both.column("version").to_numpy()
        counted = np.isin(pairs[before.num_rows :], pairs[: before.num_rows])
        joined = joined.filter(pa.array(~counted))
    return joined


# --- figures -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scored:
    """Joined rows as a matrix: one row per version, one column per label.

    Attributes:
        roles: index into ``ROLES`` (-1: not scored).
        champions: versions that answered as champion, the most frequent first.
    """

    versions: tuple[int, ...]
    labels: npt.NDArray[np.bool_]
    scores: Mapping[int, npt.NDArray[np.float64]]
    roles: Mapping[int, npt.NDArray[np.int64]]
    champions: tuple[int, ...]

    @classmethod
    def of(cls, joined: pa.Table, champion: int | None) -> "_Scored":
        """Arrange joined rows; ``champion`` is the one heard of, which may have answered nobody (canary at 100 %)."""
        _, first, column = np.unique(_codes(joined.column("prediction_id")), return_index=True, return_inverse=True)
        version = joined.column("version").to_numpy()
        role = pc.index_in(joined.column("role"), value_set=pa.array(ROLES)).fill_null(2).to_numpy()
        score = joined.column("score").to_numpy()
        versions = tuple(int(v) for v in np.unique(version))
        scores = {v: np.full(len(first), np.nan) for v in versions}
        roles = {v: np.full(len(first), -1) for v in versions}
        for v in versions:
            rows = version == v
            scores[v][column[rows]] = score[rows]
            roles[v][column[rows]] = role[rows]
        answered = {v: int((roles[v] == 0).sum()) for v in versions}
        champions = sorted((v for v in versions if answered[v]), key=lambda v: -answered[v])
        if not champions and champion in versions:
            champions = [champion]
        labels = joined.column("label").to_numpy()[first].astype(bool)
        return cls(versions, labels, scores, roles, tuple(champions))

    def performance(self, version: int) -> Performance:
        there = self.roles[version] >= 0
        labels, scores = self.labels[there], self.scores[version][there]
        return Performance(
            version=version,
            rows=len(labels),
            positives=int(labels.sum()),
            mean_score=float(scores.mean()),
            auc=_auc(labels, scores),
            brier=_brier(labels, scores),
        )

    def comparisons(self) -> tuple[Comparison, ...]:
        """Every other version against each champion, on rows that both scored and on which it did not lead itself."""
        pairs = [(v, c, self.roles[v] > 0) for c in self.champions for v in self.versions if v != c]
        return self._compared(pairs)

    def canary_comparisons(self) -> tuple[Comparison, ...]:
        """Canary versions against the champion's shadow, on rows that the canary answered."""
        pairs = [(v, c, self.roles[v] == 1) for c in self.champions for v in self.versions if v != c]
        return self._compared(pairs)

    def _compared(self, pairs: Sequence[tuple[int, int, npt.NDArray[np.bool_]]]) -> tuple[Comparison, ...]:
        found = []
        for challenger, champion, rows in pairs:
            both = rows & (self.roles[champion] >= 0)
            if not both.any():
                continue
            labels = self.labels[both]
            ours, theirs = self.scores[challenger][both] - labels, self.scores[champion][both] - labels
            difference = ours**2 - theirs**2
            found.append(
                Comparison(
                    challenger=challenger,
                    champion=champion,
                    rows=int(both.sum()),
                    total=float(difference.sum()),
                    squares=float((difference**2).sum()),
                )
            )
        return tuple(found)


def _auc(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> Estimate | None:
    """AUC with DeLong's interval; none below two rows of a class."""
    positives = int(labels.sum())
    return auc_interval(labels, scores).estimate() if 2 <= positives <= len(labels) - 2 else None


def _brier(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> Estimate:
    """Brier score with its interval, within [0, 1]; of one row nothing is known."""
    if len(labels) < 2:
        return Estimate(value=float((scores[0] - labels[0]) ** 2), low=0.0, high=1.0)
    found = brier_interval(labels, scores)
    return Estimate(value=found.value, low=max(0.0, found.low), high=min(1.0, found.high))


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    return np.asarray(array.dictionary_encode().indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _ranks(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the place of each text among the sorted distinct ones."""
    texts = pc.unique(column).sort()
    return np.asarray(pc.index_in(column, value_set=texts).fill_null(0).to_numpy(), dtype=np.int64)


def _day(number: int) -> date:
    return (_EVER + timedelta(days=int(number))).date()
