"""The feature store as serving and training ask for it: one frame, from online items or from the lake.

Implements ``rollout.serving.Features`` and ``retraining.training.TrainingSets`` over the capability ``features``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from modelwright.errors import InvalidInput
from modelwright.events import Window
from modelwright.features import datasets, offline, online
from modelwright.features.frames import frame as fed
from modelwright.project import Project
from modelwright.retraining.training import Examples
from modelwright.rollout.requests import Mode
from modelwright.storage import Blobs, Tables
from modelwright.teamcode import loader

if TYPE_CHECKING:
    import pandas as pd


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
            load = loader(project, blobs=self._blobs)
            served = online.read(project, model, rows, as_of=now, tables=tables, workspace=workspace, load=load)
            return fed(project, model, served)
        table = offline.request_table(project.model(model), rows)
        joined = offline.historical(
            project, model, table, blobs=self._blobs, tables=tables, workspace=workspace, cache=self._cache
        )
        return fed(project, model, joined)

    def examples(self, model: str, window: Window, *, as_of: datetime, request_id: str) -> Examples:
        """See ``TrainingSets``."""
        project, declared = self._project, self._project.model(model)
        end = min(window.end, as_of)
        options: dict[str, Any] = {"blobs": self._blobs, "tables": self._tables, "workspace": self._workspace}
        rows = datasets.training_rows(project, model, window.start, end, cache=self._cache, **options)
        if not rows.num_rows:
            raise InvalidInput(f"model {model} has no labelled rows in {window.start:%Y-%m-%d}/{end:%Y-%m-%d}")
        digest, key = datasets.save(rows, blobs=self._blobs, workspace=self._workspace)
        times = rows[declared.time_column].to_numpy().astype("datetime64[us]")
        labels = np.asarray(rows[datasets.LABEL].to_numpy(), dtype=np.int8)
        return Examples(fed(project, model, rows), labels, times, digest, key)
