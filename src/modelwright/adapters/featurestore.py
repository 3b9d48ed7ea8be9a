"""The feature store as serving and training ask for it: one frame, from online items or from the lake.

Implements ``rollout.serving.Features`` and ``retraining.workshop.TrainingSets`` over the capability ``features``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.adapters.replay import Replay
from modelwright.errors import InvalidInput, Unavailable
from modelwright.events import Window
from modelwright.features import datasets, offline, online
from modelwright.features.frames import frame as fed
from modelwright.features.history import History
from modelwright.features.layout import micros
from modelwright.project import Project
from modelwright.retraining.workshop import Examples
from modelwright.rollout.requests import Mode
from modelwright.storage import Blobs, Item, Key, TableName, Tables
from modelwright.teamcode import loader

if TYPE_CHECKING:
    import pandas as pd


class _ReadOnce:
    """``Tables`` for one request: an item that was read in a batch is not read again."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._found: dict[tuple[Key, tuple[str, ...]], Item | None] = {}

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``."""
        wanted = tuple(attributes)
        missing = [key for key in keys if (key, wanted) not in self._found]
        if missing:
            read = self._tables.batch_get(table, missing, attributes)
            self._found.update({(key, wanted): read.get(key) for key in missing})
        return {key: item for key in keys if (item := self._found[key, wanted]) is not None}

    def __getattr__(self, name: str) -> Any:
        """Pass everything else on."""
        return getattr(self._tables, name)


class FeatureStore:
    """A workspace's features, by the project that it runs now.

    Args:
        project: the definitions.
        workspace: whose.
        tables: online items and manifests.
        blobs: the lake, and the team's code.
        cache: kept between calls (``wiring.cache``).
    """

    def __init__(
        self, project: Project, workspace: str, *, tables: Tables, blobs: Blobs, cache: dict[str, Any]
    ) -> None:
        self._project = project
        self._workspace = workspace
        self._tables = tables
        self._blobs = blobs
        self._cache = cache

    def frame(self, model: str, rows: Sequence[Mapping[str, Any]], *, mode: Mode, now: datetime) -> "pd.DataFrame":
        """See ``Features``."""
        project, tables, workspace = self._project, self._tables, self._workspace
        if mode == "online":
            return fed(project, model, self._online(model, rows, now))
        table = offline.request_table(project.model(model), rows)
        joined = offline.historical(
            project, model, table, blobs=self._blobs, tables=tables, workspace=workspace, cache=self._cache
        )
        return fed(project, model, joined)

    def _online(self, model: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
        """Serve each row as of the time that it is asked for, but of no time before now; items are read once."""
        project, load = self._project, loader(self._project, blobs=self._blobs)
        time_column = project.model(model).time_column
        tables = _ReadOnce(self._tables)
        asked: dict[datetime, list[int]] = {}
        for n, row in enumerate(rows):
            asked.setdefault(max(now, row[time_column]), []).append(n)
        served: dict[int, dict[str, Any]] = {}
        for as_of, numbers in asked.items():
            chosen = [rows[n] for n in numbers]
            answer = online.read(
                project, model, chosen, as_of=as_of, tables=tables, workspace=self._workspace, load=load
            )
            served.update(zip(numbers, answer, strict=True))
        return [served[n] for n in range(len(rows))]

    def examples(self, model: str, window: Window, *, as_of: datetime, labels_until: datetime | None) -> Examples:
        """See ``TrainingSets``."""
        project, declared = self._project, self._project.model(model)
        self._require_labels(declared.label.source, labels_until)
        end = min(window.end, as_of)
        options: dict[str, Any] = {"blobs": self._blobs, "tables": self._tables, "workspace": self._workspace}
        rows = datasets.training_rows(project, model, window.start, end, known_by=as_of, cache=self._cache, **options)
        if not rows.num_rows:
            raise InvalidInput(f"model {model} has no labelled rows in {window.start:%Y-%m-%d}/{end:%Y-%m-%d}")
        query = {"model": model, "start": window.start.isoformat(), "end": end.isoformat()}
        about = datasets.about_model(project, declared, query, as_of)
        digest, key = datasets.save(rows, blobs=self._blobs, workspace=self._workspace, about=about)
        return self._of(model, rows, digest, key)

    def reopen(self, model: str, key: str) -> Examples:
        """Return examples as they were saved under a key of the lake; raises ``NotFound``."""
        body = self._blobs.get("lake", key).body
        rows = pq.read_table(pa.BufferReader(body))
        return self._of(model, rows, hashlib.sha256(body).hexdigest(), key)

    def _of(self, model: str, rows: pa.Table, digest: str, key: str) -> Examples:
        """Return the rows of a training set as a training sees them."""
        project, declared = self._project, self._project.model(model)
        times = rows[declared.time_column].to_numpy().astype("datetime64[us]")
        said = rows[datasets.LABEL].to_numpy()
        classes = declared.task == "classification"
        labels = np.asarray(said, dtype=np.int8) if classes else np.asarray(said, dtype=np.float64)
        ids = np.asarray(rows[declared.id_column].to_pylist(), dtype=object)
        history = History(blobs=self._blobs, tables=self._tables, workspace=self._workspace, cache=self._cache)

        def again(places: Sequence[int]) -> "pd.DataFrame":
            asked = rows.select(list(declared.request)).take(list(places)).to_pylist()
            replay = Replay(project, model, history=history, load=loader(project, blobs=self._blobs))
            return fed(project, model, replay.served(asked))

        return Examples(fed(project, model, rows), labels, times, digest, key, ids, np.arange(len(ids)), again)

    def _require_labels(self, source: str, until: datetime | None) -> None:
        """Raise ``Unavailable`` while the labels that the monitor has seen are still on their way into the store."""
        history = History(blobs=self._blobs, tables=self._tables, workspace=self._workspace, cache=self._cache)
        newest = max((partition.event_high for partition in history.manifest(source).partitions), default=0)
        if until is not None and newest < micros(until) - 1:
            raise Unavailable(f"the labels of {source} up to {until.isoformat()} are not in the feature store yet")
