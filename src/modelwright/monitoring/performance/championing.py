"""What new labels say about a champion: its windows, whether it got worse, and its errors one by one.

Small label files are taken together until a window has enough rows; of a file that completes a window the first and
the newest windows are compared (``degradation``), and the newest is looked at for fairness.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.events import Event, PerformanceDegraded, Window
from modelwright.monitoring import store
from modelwright.monitoring.degradation import Degradation, Labelled, degradation_of
from modelwright.monitoring.performance.joining import LABELLED, days_of, labelled_tables
from modelwright.monitoring.performance.logbook import stacked
from modelwright.project import Model
from modelwright.storage import Blobs


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


class Judging:
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
        of_file = zip(others, labelled_tables(self._blobs, others, columns), strict=True)
        rows = {key: self._labelled(table) for key, table in of_file}
        rows[newest.key] = self._labelled(joined)
        parts = [Labelled.joined([rows[file.key] for file in window]) for window in needed]
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
