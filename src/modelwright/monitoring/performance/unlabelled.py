"""Predictions that wait for their labels: what was logged of a version's days, and what is known of it by labels.

A day is taken once it is over, in domain time, and days are taken together until they have as many rows as a window
needs. What was labelled meanwhile is left out: that was measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.events import Window
from modelwright.monitoring import store
from modelwright.monitoring.performance.estimators import Answers
from modelwright.monitoring.performance.joining import LABELLED, days_of, first_asked, labelled_tables, midnight
from modelwright.monitoring.performance.logbook import codes_of, logged, stacked
from modelwright.storage import Blobs

FEATURE = "feature_"
MOST_DAYS = 62
"""That are looked at in one go; the next time goes on."""
KNOWN_ROWS = 20_000
"""Of the newest labelled rows, that estimators learn from: what was long ago was another world."""


@dataclass(frozen=True)
class Waiting:
    """Days of predictions without labels, as the log has them.

    Attributes:
        until: the day after the last.
    """

    rows: pa.Table
    start: date
    until: date

    @property
    def window(self) -> Window:
        """From when to when."""
        return Window(start=midnight(self.start), end=midnight(self.until))


def waiting(
    blobs: Blobs, place: tuple[str, str], version: int, since: date, now: datetime, min_rows: int,
    labelled: Sequence[store.LabelledFile],
) -> Iterator[Waiting]:  # fmt: skip
    """Yield windows of a version's predictions without labels from a day on; what does not fill one waits on.

    Args:
        blobs: the lake.
        place: workspace and model.
        version: whose answers.
        since: the first day.
        now: domain time; a day counts when it is over.
        min_rows: of a window.
        labelled: files of labels, that may be about these days.
    """
    start, parts, rows = since, [], 0
    for number in range(MOST_DAYS):
        day = since + timedelta(days=number)
        if midnight(day + timedelta(days=1)) > now:
            return
        table = _without_labels(blobs, _of_day(blobs, place, version, day), labelled, day)
        parts.append(table)
        rows += table.num_rows
        if rows >= min_rows:
            yield Waiting(stacked(parts, table.schema), start, day + timedelta(days=1))
            start, parts, rows = day + timedelta(days=1), [], 0


def remaining(
    blobs: Blobs, place: tuple[str, str], version: int, window: Window, labelled: Sequence[store.LabelledFile]
) -> int:
    """Return of how many predictions of a window, which is whole days, no label came yet."""
    days = [window.start.date() + timedelta(days=n) for n in range((window.end - window.start).days)]
    return sum(_without_labels(blobs, _of_day(blobs, place, version, day), labelled, day).num_rows for day in days)


def known(blobs: Blobs, files: Sequence[store.LabelledFile], version: int) -> pa.Table:
    """Return the newest labelled rows of a version."""
    chosen: list[str] = []
    rows = 0
    for file in sorted(files, key=lambda one: one.window.end, reverse=True):
        if file.rows.get(str(version), 0) and rows < KNOWN_ROWS:
            chosen.append(file.key)
            rows += file.rows[str(version)]
    whole = stacked(list(labelled_tables(blobs, chosen)), LABELLED)
    return whole.filter(pc.equal(whole.column("version"), version)).slice(0, KNOWN_ROWS)


def answers_of(rows: pa.Table, features: Sequence[str], *, labelled: bool) -> Answers:
    """Return rows as estimators take them, with those of the features that were logged."""
    labels = np.asarray(rows.column("label").to_numpy(), dtype=np.float64) if labelled else None
    scores = np.asarray(rows.column("score").to_numpy(), dtype=np.float64)
    return Answers(scores, days_of(rows), frame_of(rows, features), labels)


def features_of(*tables: pa.Table) -> tuple[str, ...]:
    """Return the features that were logged of all rows' models alike."""
    named = [[n.removeprefix(FEATURE) for n in table.column_names if n.startswith(FEATURE)] for table in tables]
    return tuple(name for name in named[0] if all(name in others for others in named[1:]))


def frame_of(rows: pa.Table, features: Sequence[str]) -> pd.DataFrame:
    """Return what a model was fed: numbers as float64 with NaN for missing, texts as objects with None."""
    columns: dict[str, npt.NDArray[np.float64] | pd.Series[str]] = {}
    for name in features:
        column = rows.column(FEATURE + name)
        if pa.types.is_string(column.type) or pa.types.is_null(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        else:
            column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
            columns[name] = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    return pd.DataFrame(columns)


def _of_day(blobs: Blobs, place: tuple[str, str], version: int, day: date) -> pa.Table:
    table = logged(blobs, *place, [day])
    table = table.filter(pc.equal(table.column("version"), version))
    ids = np.unique(codes_of(table.column("prediction_id")), return_inverse=True)[1]
    return table.take(pa.array(np.sort(first_asked(table, ids))))


def _without_labels(blobs: Blobs, rows: pa.Table, files: Sequence[store.LabelledFile], day: date) -> pa.Table:
    start, end = midnight(day), midnight(day + timedelta(days=1))
    for file in files:
        predicted = file.predicted
        if predicted is None or (predicted.start < end and start < predicted.end):
            (labels,) = labelled_tables(blobs, [file.key], ["prediction_id", "label"])
            told = pc.is_in(rows.column("prediction_id"), value_set=labels.column("prediction_id").combine_chunks())
            rows = rows.filter(pc.invert(told))
    return rows
