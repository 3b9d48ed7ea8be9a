"""One model and labels of one upload: what they say of it, and what is remembered of them.

What was joined is kept as ``labelled/<ws>/<model>/<digest>.parquet`` for training and for later comparisons; labels
whose predictions are not in the log are remembered by their upload, and looked at again when the log has more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, PluginError
from modelwright.events import Event, PerformanceMeasured, Window
from modelwright.monitoring import store
from modelwright.monitoring.performance import alike, records, streams
from modelwright.monitoring.performance.championing import Judging, windows_of
from modelwright.monitoring.performance.figures import Scored, Shape, spread_of
from modelwright.monitoring.performance.joining import (
    days_asked,
    join,
    labels_of,
    not_counted,
    spanned,
    unjoined,
)
from modelwright.monitoring.performance.logbook import EPOCH, Partitions, stacked
from modelwright.monitoring.performance.records import Unjoined
from modelwright.monitoring.performance.segments import segmented
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from modelwright.project import Model, Project
from modelwright.storage import Blobs, Tables, Write

WAIT = timedelta(days=30)
"""So long labels wait for predictions that come after them."""
_MOST_READ = 200
"""Earlier labelled files that are looked through for the season before."""

_KNOWN = pa.schema([pa.field("prediction_id", pa.string()), pa.field("label", pa.float64())])

Outcome = tuple[list[Event], list[Write]]


@dataclass(frozen=True)
class Ground:
    """Where a workspace's labels are measured."""

    call: Call
    project: Project
    tables: Tables
    blobs: Blobs


class Labelling:
    """Labels of an upload, about one model.

    Args:
        ground: where.
        name: of the model.
        upload: the labels; ``tries`` says how often they were joined before.
        answers: the model's prediction log.
    """

    def __init__(self, ground: Ground, name: str, upload: Unjoined, answers: Partitions) -> None:
        self._ground, self._name, self._upload, self._answers = ground, name, upload, answers
        self._workspace, self._tables, self._blobs = ground.call.workspace, ground.tables, ground.blobs
        self._text: list[str] = []

    def measured(self) -> Outcome:
        """Return what happened and what is to be remembered; the joined rows lie in the lake then."""
        try:
            labels = labels_of(self._blobs, self._upload.key, self._model, self._time)
        except InvalidInput as error:
            return self._nothing(str(error))
        days = days_asked(labels)
        seen = self._answers.seen(days)
        before = store.labels_joined(self._tables, self._workspace, self._name)
        predictions = self._answers.rows(days)
        missing = unjoined(labels, predictions).num_rows
        joined, earlier = self._joined(labels, predictions, days)
        writes = [self._waits(missing, days, seen)]
        if self._upload.tries and not joined.num_rows:
            return [], writes
        if joined.num_rows:  # or somebody joined others since, which may be the same
            writes.append(store.put_labels_joined(self._workspace, self._name, before))
        events, more = self._figures(labels.num_rows, joined, earlier, days)
        return events, [*writes, *more]

    # --- joining -------------------------------------------------------------------------

    @property
    def _model(self) -> Model:
        return self._ground.project.model(self._name)

    @property
    def _time(self) -> str:
        """The column by which labels find the day of their predictions."""
        source = self._ground.project.sources[self._upload.source]
        return self._model.time_column if self._model.time_column in source.columns else source.event_time

    @cached_property
    def _champion(self) -> store.Champion | None:
        return store.champion_of(self._tables, self._workspace, self._name)

    @property
    def _since(self) -> datetime:
        return self._champion.since if self._champion else EPOCH

    @property
    def _own(self) -> str:
        """What names these labels: of those that are joined later, also which time it was."""
        return self._upload.digest + (f"-{self._upload.tries}" if self._upload.tries else "")

    def _joined(
        self, labels: pa.Table, predictions: pa.Table, days: Sequence[date]
    ) -> tuple[pa.Table, Sequence[store.LabelledFile]]:
        """Return rows that were not counted before, and the earlier labelled files."""
        span = spanned(days)
        start = self._upload.window.start if span is None else min(self._upload.window.start, span.start)
        earlier = store.labelled_files(self._tables, self._workspace, self._name, min(self._since, start))
        same = [file.key for file in earlier if span is not None and meets(file.predicted, span)]
        return not_counted(join(labels, predictions), self._blobs, same), earlier

    def _waits(self, missing: int, days: Sequence[date], seen: str) -> Write:
        """Remember the labels while some have no prediction; else forget them."""
        if not missing:
            return records.forget_unjoined(self._workspace, self._name, self._upload.digest)
        after = {"labels": missing, "days": tuple(days), "seen": seen, "tries": self._upload.tries + 1}
        return records.put_unjoined(self._workspace, self._name, self._upload.model_copy(update=after))

    def _nothing(self, reason: str) -> Outcome:
        upload = self._upload
        event = PerformanceMeasured(
            model=self._name, window=upload.window, labels_key=upload.key, labels=0, joined=0, performances=(),
            comparisons=(), canary_comparisons=(), reason=reason,
        )  # fmt: skip
        return [event], [self._shown(event)]

    # --- what they say -------------------------------------------------------------------

    def _figures(
        self, labels: int, joined: pa.Table, earlier: Sequence[store.LabelledFile], days: Sequence[date]
    ) -> Outcome:
        champion, upload = self._champion, self._upload
        shape = Shape.of(self._model, self._ground.project)
        before = self._season_before(shape, joined, days) if joined.num_rows else None
        scored = Scored.of(joined, champion.version if champion else None, shape, before)
        spread = self._spread()
        key = f"labelled/{self._workspace}/{self._name}/{self._own}.parquet" if joined.num_rows else ""
        measured = PerformanceMeasured(
            model=self._name,
            window=upload.window,
            labels_key=upload.key,
            labels=scored.labels.size if upload.tries else labels,
            joined=scored.labels.size,
            performances=tuple(scored.performance(version) for version in scored.versions),
            comparisons=scored.comparisons(spread),
            canary_comparisons=scored.canary_comparisons(spread),
            labelled_key=key,
            quarantined=self._quarantined(),
            segments=segmented(scored, self._model.monitoring.segments),
            again=upload.tries > 0,
        )
        if not key:
            return [measured], [self._shown(measured)]
        self._blobs.put("lake", key, parquet_bytes(joined))
        rows = {str(p.version): p.rows for p in measured.performances}
        newest = store.LabelledFile(
            window=upload.window, key=key, rows=rows, spoiled=bool(measured.quarantined), predicted=spanned(days)
        )
        version = champion.version if champion else (scored.champions or (None,))[0]
        events, writes = ([], []) if version is None else self._judged(version, joined, earlier, newest)
        return [measured, *events], [
            self._shown(measured),
            store.put_labelled(self._workspace, self._name, self._own, newest),
            *writes,
        ]

    def _shown(self, measured: PerformanceMeasured) -> Write:
        shown = store.Measured(at=self._ground.call.now, measured=measured, text="; ".join(self._text))
        return store.put_measured(self._workspace, self._own, shown)

    def _judged(
        self, version: int, joined: pa.Table, earlier: Sequence[store.LabelledFile], newest: store.LabelledFile
    ) -> Outcome:
        """Return what follows for the champion."""
        policy, window = self._model.monitoring, self._upload.window
        events, writes = ([], []) if newest.spoiled else self._told(version, joined)
        whole = [file for file in (*earlier, newest) if file.window.end > self._since and not file.spoiled]
        windows = windows_of(version, sorted(whole, key=lambda file: file.window.end), policy.min_rows)
        recent = None
        if windows and newest in windows[-1]:
            judging = Judging(self._name, version, self._model, window, self._blobs)
            events += judging.degraded(windows, newest, joined)
            recent = (window, judging.rows(windows[-1], newest, joined)) if policy.fairness else None
        place = (self._tables, self._workspace)
        changed, standing = alike.judged(self._name, version, recent, policy, place)
        return [*events, *changed], [*writes, *standing]

    def _told(self, version: int, joined: pa.Table) -> Outcome:
        """Tell the champion's errors to the detectors of streams that its policy names."""
        names, task = self._model.monitoring.streams, self._model.task
        if not names:
            return [], []
        known = streams.load(self._tables, self._workspace, self._name)
        try:
            standing, found = streams.follow(
                self._name, version, self._upload.window, joined, names, streams.installed, known,
                classification=task == "classification",
            )  # fmt: skip
        except PluginError as error:
            self._text.append(str(error))
            return [], []
        return [*found], [streams.put(self._workspace, self._name, standing)]

    def _season_before(self, shape: Shape, joined: pa.Table, days: Sequence[date]) -> pa.Table | None:
        """Return labelled rows of the season before, that the naive forecast of the first rows rests on."""
        span, needed = spanned(days), [*shape.series, shape.time]
        if shape.task != "forecasting" or span is None or not set(needed) <= set(joined.column_names):
            return None
        tables = list(self._before(shape, joined, span.end, ["prediction_id", "label", *needed]))
        return stacked(tables, _KNOWN) if tables else None

    def _before(self, shape: Shape, joined: pa.Table, end: datetime, columns: list[str]) -> Iterator[pa.Table]:
        series = len(joined.group_by(list(shape.series)).aggregate([])) if shape.series else 1
        rows = shape.season * series
        files = records.newest_labelled(self._tables, self._workspace, self._name, end)
        for _, file in zip(range(_MOST_READ), files, strict=False):
            try:
                table = parquet_table(self._blobs.get("lake", file.key).body)
            except NotFound:  # erased
                continue
            if set(columns) <= set(table.column_names):
                yield table.select(columns).set_column(1, "label", table.column("label").cast(pa.float64(), safe=False))
                rows -= max(file.rows.values(), default=0)
            if rows <= 0:
                return

    def _spread(self) -> float | None:
        """Return the spread of the earliest labels that were joined: what is compared now has no part in it."""
        if self._model.task not in ("regression", "forecasting"):
            return None
        first = records.first_labelled(self._tables, self._workspace, self._name)
        if first is None:
            return None
        labels = parquet_table(self._blobs.get("lake", first.key).body, ["label"]).column("label")
        return spread_of(np.asarray(labels.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)) or None

    def _quarantined(self) -> tuple[str, ...]:
        """Return the sources that feed the model and of which files over the labels' window are held back."""
        project = self._ground.project
        feeding = {project.views[view].source for view in self._model.views}
        held = (
            one
            for one in store.open_quarantines(self._tables, self._workspace)
            if one.source in feeding and one.scope == "file" and meets(one.window, self._upload.window)
        )
        return tuple(sorted({one.source for one in held}))


def meets(window: Window | None, other: Window) -> bool:
    """Say whether two windows overlap; an unknown one overlaps all."""
    return window is None or (window.start < other.end and other.start < window.end)
