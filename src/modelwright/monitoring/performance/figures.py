"""What joined rows say of each version: its figures by the task, and the paired differences that rollouts judge by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright import taskmetrics
from modelwright.events import CalibrationPoint, Comparison, Estimate, Performance
from modelwright.monitoring.performance.joining import days_of
from modelwright.monitoring.performance.logbook import codes_of, stacked
from modelwright.project import Model, Project
from modelwright.statistics import Interval

_LABELS = pa.schema([pa.field("prediction_id", pa.string()), pa.field("label", pa.float64())])
ROLES = ("champion", "canary", "shadow")
Rows = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """How the rows of a model belong together.

    Attributes:
        task: of the model.
        lists: the column whose equal values make one list.
        series: columns whose equal values make one series of forecasts.
        season: of the naive forecast, in steps.
        time: the column that orders a series.
    """

    task: str
    lists: str = ""
    series: tuple[str, ...] = ()
    season: int = 1
    time: str = ""

    @classmethod
    def of(cls, model: Model, project: Project) -> "Shape":
        """Return the shape of a model's rows: a series is what has the same join keys."""
        keys = dict.fromkeys(key for view in model.views for key in project.views[view].entity)
        series = tuple(key for key in keys if key in model.request and key not in (model.id_column, model.time_column))
        return cls(model.task, model.rank_by, series, model.season, model.time_column)


@dataclass(frozen=True)
class Scored:
    """Joined rows as a matrix: one row per version, one column per label.

    Attributes:
        roles: index into ``ROLES`` (-1: not scored).
        champions: versions that answered as champion, the most frequent first.
        asked: of each label, what was asked and fed, as far as it was logged.
        before: labelled rows of before, for what rests on the season before; None where there are none.
    """

    versions: tuple[int, ...]
    labels: Floats
    scores: Mapping[int, Floats]
    roles: Mapping[int, npt.NDArray[np.int64]]
    champions: tuple[int, ...]
    days: npt.NDArray[np.int64]
    asked: pa.Table
    shape: Shape
    before: pa.Table | None = None

    @classmethod
    def of(cls, joined: pa.Table, champion: int | None, shape: Shape, before: pa.Table | None = None) -> "Scored":
        """Arrange joined rows; ``champion`` is the one heard of, which may have answered nobody (canary at 100 %)."""
        _, first, column = np.unique(codes_of(joined.column("prediction_id")), return_index=True, return_inverse=True)
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
        asked = joined.take(pa.array(first))
        labels = np.asarray(asked.column("label").to_numpy(), dtype=np.float64)
        return cls(versions, labels, scores, roles, tuple(champions), days_of(asked), asked, shape, before)

    @property
    def everything(self) -> Rows:
        """All labels."""
        return np.ones(len(self.labels), dtype=bool)

    def answered(self, version: int, among: Rows) -> Rows:
        """Return which labels a version has an answer to."""
        rows: Rows = (self.roles[version] >= 0) & among
        return rows

    def performance(self, version: int, among: Rows | None = None, segment: str = "") -> Performance:
        """Return the figures of a version that has an answer to one of the labels at least."""
        rows = self.answered(version, self.everything if among is None else among)
        labels, scores = self.labels[rows], self.scores[version][rows]
        classes = self.shape.task == "classification"
        found = self._figures(version, rows) if len(labels) >= 2 else {}
        figures = {name: interval.estimate() for name, interval in found.items() if _told(interval)}
        curve = taskmetrics.calibration_curve(labels, scores) if classes and not segment else ()
        return Performance(
            version=version,
            rows=len(labels),
            positives=int((labels > 0).sum()) if self.shape.task in ("classification", "ranking") else 0,
            mean_score=float(scores.mean()),
            auc=figures.get("auc"),
            brier=figures.get("brier", _of_one_row(labels, scores)) if classes else None,
            metrics=figures,
            segment=segment,
            calibration=tuple(CalibrationPoint(score=score, rate=rate, rows=n) for score, rate, n in curve),
        )

    def _figures(self, version: int, rows: Rows) -> dict[str, Interval]:
        labels, scores, days = self.labels[rows], self.scores[version][rows], self.days[rows]
        if self.shape.task == "classification":
            return taskmetrics.classification(labels, scores, days)
        if self.shape.task == "regression":
            return taskmetrics.regression(labels, scores, days)
        if self.shape.task == "forecasting":
            return taskmetrics.forecasting(labels, scores, days, naive=self._naive(rows))
        lists = self.lists
        if lists is None:
            return {}
        known = rows & (lists >= 0)
        return taskmetrics.ranking(self.labels[known], self.scores[version][known], lists[known])

    @property
    def lists(self) -> npt.NDArray[np.int64] | None:
        """Which list each label belongs to (-1: nobody knows); None if that was not logged."""
        name = self.shape.lists
        return codes_of(self.asked.column(name)) if name in self.asked.column_names else None

    def _naive(self, rows: Rows) -> float:
        """Return the error of the naive forecast, NaN where the series were not logged."""
        names = self.asked.column_names
        if self.shape.time not in names or not set(self.shape.series) <= set(names):
            return math.nan
        some = self.asked.filter(pa.array(rows))
        first = 0
        if self.before is not None:
            known = list(dict.fromkeys(("prediction_id", "label", self.shape.time, *self.shape.series)))
            others = _once(self.before, some.column("prediction_id"))
            some, first = stacked([others, some.select(known)], _LABELS), others.num_rows
        keys = [codes_of(some.column(name)) for name in self.shape.series] or [np.zeros(some.num_rows, dtype=np.int64)]
        series = np.unique(np.stack(keys), axis=1, return_inverse=True)[1]
        times = some.column(self.shape.time).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
        labels = np.asarray(some.column("label").to_numpy(), dtype=np.float64)
        return taskmetrics.seasonal_naive(labels, times, series, self.shape.season, first=first)

    # --- comparisons ---------------------------------------------------------------------

    def comparisons(self, spread: float | None) -> tuple[Comparison, ...]:
        """Every other version against each champion, on rows that both scored and on which it did not lead itself.

        Args:
            spread: of earlier labels; None: nobody knows. What is compared must not depend on the rows at hand.
        """
        return self._compared([(v, c, self.roles[v] > 0) for v, c in self._pairs()], spread)

    def canary_comparisons(self, spread: float | None) -> tuple[Comparison, ...]:
        """Canary versions against the champion's shadow, on rows that the canary answered."""
        return self._compared([(v, c, self.roles[v] == 1) for v, c in self._pairs()], spread)

    def _pairs(self) -> list[tuple[int, int]]:
        return [(version, champion) for champion in self.champions for version in self.versions if version != champion]

    def _compared(self, pairs: Sequence[tuple[int, int, Rows]], spread: float | None) -> tuple[Comparison, ...]:
        found = []
        for challenger, champion, rows in pairs:
            both = rows & (self.roles[champion] >= 0)
            ours, theirs = (self._losses(version, both, spread) for version in (challenger, champion))
            if ours is None or theirs is None or not both.any():
                continue
            difference = ours - theirs
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

    def _losses(self, version: int, rows: Rows, spread: float | None) -> Floats | None:
        squares = (self.scores[version][rows] - self.labels[rows]) ** 2
        if self.shape.task == "classification":
            return squares
        if self.shape.task == "ranking" or not spread:
            return None
        return np.minimum(squares / spread**2, 1.0)


def spread_of(labels: Floats) -> float:
    """Return the 95th percentile of the distances of labels from their median: no outlier moves it."""
    return float(np.quantile(np.abs(labels - np.median(labels)), 0.95)) if len(labels) else 0.0


def _once(before: pa.Table, now: pa.ChunkedArray) -> pa.Table:
    """Return one row of each prediction of before, without those of now."""
    others = before.filter(pc.invert(pc.is_in(before.column("prediction_id"), value_set=now.combine_chunks())))
    return others.take(pa.array(np.unique(codes_of(others.column("prediction_id")), return_index=True)[1]))


def _told(interval: Interval) -> bool:
    return all(math.isfinite(value) for value in (interval.value, interval.low, interval.high))


def _of_one_row(labels: Floats, scores: Floats) -> Estimate:
    """Of one row nothing is known."""
    return Estimate(value=float((scores[0] - labels[0]) ** 2), low=0.0, high=1.0)
