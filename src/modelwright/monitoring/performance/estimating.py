"""The use case of a schedule: how champions probably do on predictions that have no labels yet, and what they rest on.

Each new window of a champion's predictions is looked at once. Estimators learn from the newest labelled rows of the
champion. Each is judged by one figure, the AUC or the mean absolute error as labels are (the others move with the base
rate): it counts as degraded when its whole interval is beyond the figure of these rows by more than the floor of
the policy and than what chance explains of that figure. That is taken back once labels tell, or when nobody asks any
more. What a model rests on is asked of the model itself, on
rows of its training (``sample.parquet`` beside it) and on rows of the newest window.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from modelwright import taskmetrics
from modelwright.artifacts import SAMPLE
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, PluginError, Unavailable
from modelwright.events import AttributionDrifted, Estimate, Event, PerformanceEstimated
from modelwright.log import Happened, Log, stream_of
from modelwright.monitoring import store
from modelwright.monitoring.performance import alike, records, unlabelled
from modelwright.monitoring.performance.attribution import FLOOR, MOST_ROWS, attribution, changes, compared
from modelwright.monitoring.performance.estimators import Answers, Estimator
from modelwright.monitoring.performance.records import Artifact, Attribution, EstimatedWindow, Progress
from modelwright.monitoring.performance.turns import in_turn
from modelwright.monitoring.performance.unlabelled import Waiting
from modelwright.monitoring.reading import parquet_table
from modelwright.project import Model, MonitoringPolicy, load_current
from modelwright.statistics import Floats, Interval
from modelwright.storage import Blobs, Tables, Write

SEED = 20130101
MOST_WINDOWS = 12
"""Of a model, in one go; the next time goes on."""
_HIGHER_IS_BETTER = ("auc", "accuracy", "precision", "recall", "f1")
_JUDGED = {"classification": "auc", "regression": "mae", "forecasting": "mae"}
"""By which figure an estimate is judged, if it has it."""
_FEWEST = 2
_LEAST_ATTRIBUTED = 32


class Scores(Protocol):
    """A model in memory."""

    def score(self, frame: pd.DataFrame) -> list[float]:
        """Return one score per row; raises ``Unavailable``."""
        ...


Estimators = Callable[[str], Estimator]
"""Returns an estimator by name; raises ``PluginError``."""
Opener = Callable[[str, Artifact], Scores]
"""Loads a version's model by its name, as serving does; raises ``Unavailable``."""


@dataclass(frozen=True)
class Tools:
    """What estimating works with."""

    tables: Tables
    log: Log
    blobs: Blobs
    estimators: Estimators
    opener: Opener


def estimate(call: Call, tools: Tools) -> None:
    """Look at the new predictions of every champion; without a project there is none."""
    try:
        project = load_current(tools.tables, call.workspace)
    except NotFound:
        return

    def of_model(name: str) -> None:
        champion = store.champion_of(tools.tables, call.workspace, name)
        if champion is not None and champion.version is not None:
            _Champion(call, tools, name, project.model(name), champion.version, champion.since).go_on()

    in_turn(project.models, of_model)


class _Champion:
    def __init__(self, call: Call, tools: Tools, name: str, model: Model, version: int, since: datetime) -> None:
        self._call, self._tools, self._name, self._model = call, tools, name, model
        self._version, self._since = version, since
        self._then: Floats | None = None

    def go_on(self) -> None:
        """Look at each window that is complete since the last time, and take back what is over."""
        workspace, blobs = self._call.workspace, self._tools.blobs
        files = store.labelled_files(self._tools.tables, workspace, self._name, self._since)
        whole = [file for file in files if not file.spoiled]
        progress = self._begun(files, whole)
        fresh = unlabelled.waiting(
            blobs, (workspace, self._name), self._version, self._start(progress), self._call.now,
            self._model.monitoring.min_rows, files,
        )  # fmt: skip
        for number, one in enumerate(fresh, 1):
            progress = self._look(one, whole, progress)
            if number == MOST_WINDOWS:
                return

    def _begun(self, files: Sequence[store.LabelledFile], whole: Sequence[store.LabelledFile]) -> Progress:
        """Return how far it came, without the estimates that are over."""
        workspace = self._call.workspace
        before = records.progress_of(self._tools.tables, workspace, self._name)
        if before is None or before.version != self._version:
            progress = Progress(v=before.v if before else 0, version=self._version, until=_day(self._since))
        else:
            progress = before
        ends = {one.estimator: self._over(one, files, whole) for one in before.worse} if before else {}
        over = [end for end in ends.values() if end is not None]
        kept = tuple(one for one in before.worse if ends[one.estimator] is None) if before else ()
        fair, standing = alike.judged(
            self._name, self._version, None, self._model.monitoring, (self._tools.tables, workspace)
        )
        progress = progress.model_copy(update={"worse": kept})
        if not over and not fair:
            return progress
        writes = [records.put_progress(workspace, self._name, progress), *standing]
        self._commit([*over, *fair], writes)
        return progress.model_copy(update={"v": progress.v + 1})

    def _over(
        self, worse: PerformanceEstimated, files: Sequence[store.LabelledFile], whole: Sequence[store.LabelledFile]
    ) -> PerformanceEstimated | None:
        """Return that a bad estimate says no more, with what labels say by now; None while nothing else is known."""
        if worse.version != self._version:
            return _taken_back(worse, f"version {self._version} is the champion now")
        if worse.estimator not in self._model.monitoring.estimators:
            return _taken_back(worse, f"the policy does not name {worse.estimator} any more")
        place, least = (self._call.workspace, self._name), self._model.monitoring.min_rows
        since = [file for file in whole if file.predicted is None or file.predicted.end > worse.window.start]
        rows = unlabelled.known(self._tools.blobs, since, self._version)
        rows = rows.filter(pc.greater_equal(rows.column("as_of"), worse.window.start))
        later = int(pc.sum(pc.greater_equal(rows.column("as_of"), worse.window.end)).as_py() or 0)
        if (
            later < least
            and unlabelled.remaining(self._tools.blobs, place, self._version, worse.window, files) >= least
        ):
            return None
        over = _taken_back(worse, "labels came: this is what they say, and no estimate")
        told = self._told(rows)
        if worse.metric not in told:
            return over
        more = {"rows": rows.num_rows, "value": told[worse.metric].estimate(), "metrics": _estimates(told)}
        return over.model_copy(update=more)

    def _told(self, rows: pa.Table) -> Mapping[str, Interval]:
        """Return the figures of labelled rows, as far as they allow any."""
        if rows.num_rows < _FEWEST:
            return {}
        return reference_of(self._model.task, unlabelled.answers_of(rows, (), labelled=True))

    def _commit(self, events: Sequence[Event], writes: Sequence[Write]) -> None:
        stream = stream_of(self._call.workspace, "PERFORMANCE", self._name)
        self._tools.log.commit(self._call, [Happened(stream, event) for event in events], writes)

    def _start(self, progress: Progress) -> date:
        """Return the first day to look at; what is older than can be looked at in one go is history."""
        return max(progress.until, _day(self._call.now) - timedelta(days=unlabelled.MOST_DAYS))

    def _look(self, fresh: Waiting, files: Sequence[store.LabelledFile], progress: Progress) -> Progress:
        workspace = self._call.workspace
        estimates, text = self._estimates(fresh, files)
        rests = self._attribution(fresh)
        window = EstimatedWindow(
            at=self._call.now,
            version=self._version,
            window=fresh.window,
            rows=fresh.rows.num_rows,
            estimates=estimates,
            attribution=rests,
            text=text,
        )
        events: list[Event] = [*estimates, *self._drifted(fresh, rests)]
        said = {one.estimator for one in estimates}
        bad = [one for one in estimates if one.degraded]
        worse = (*(one for one in progress.worse if one.estimator not in said), *bad)
        after = progress.model_copy(update={"until": fresh.until, "worse": worse})
        writes = [
            records.put_estimated(workspace, self._name, window),
            records.put_progress(workspace, self._name, after),
        ]
        self._commit(events, writes)
        return after.model_copy(update={"v": after.v + 1})

    # --- estimates -----------------------------------------------------------------------

    def _estimates(
        self, fresh: Waiting, files: Sequence[store.LabelledFile]
    ) -> tuple[tuple[PerformanceEstimated, ...], str]:
        policy = self._model.monitoring
        if not policy.estimators:
            return (), ""
        rows = unlabelled.known(self._tools.blobs, files, self._version)
        if rows.num_rows < policy.min_rows:
            return (), f"{rows.num_rows} labelled rows of version {self._version} are too few to learn from"
        features = unlabelled.features_of(rows, fresh.rows)
        known = unlabelled.answers_of(rows, features, labelled=True)
        unknown = unlabelled.answers_of(fresh.rows, features, labelled=False)
        found: list[PerformanceEstimated] = []
        reasons: list[str] = []
        for name in policy.estimators:
            try:
                found.append(self._estimated(self._tools.estimators(name), known, unknown, fresh))
            except (InvalidInput, PluginError) as error:
                reasons.append(f"{name}: {error}")
        return tuple(found), "; ".join(reasons)

    def _estimated(
        self, estimator: Estimator, known: Answers, unknown: Answers, fresh: Waiting
    ) -> PerformanceEstimated:
        if self._model.task not in estimator.tasks:
            raise InvalidInput(f"it does not know models of task {self._model.task}")
        then = reference_of(self._model.task, known)
        found = {name: value for name, value in estimator.estimate(known, unknown, SEED).items() if name in then}
        metric = next((name for name in (_JUDGED[self._model.task], *found) if name in found), None)
        if metric is None:
            raise InvalidInput("it says nothing that labelled rows say too")
        return PerformanceEstimated(
            model=self._name,
            version=self._version,
            window=fresh.window,
            estimator=estimator.name,
            metric=metric,
            rows=len(unknown),
            value=found[metric].estimate(),
            reference=then[metric].value,
            degraded=degraded(metric, found[metric], then[metric], self._model.monitoring),
            assumes=estimator.assumes,
            metrics=_estimates(found),
        )

    # --- attribution ---------------------------------------------------------------------

    def _attribution(self, fresh: Waiting) -> Attribution | None:
        """Return what the champion rests on now; None where nothing is known of its model or of what it was fed."""
        version = records.artifact_of(self._tools.tables, self._call.workspace, self._name, self._version)
        features = unlabelled.features_of(fresh.rows)
        if version is None or not features:
            return None
        try:
            return self._compared(version, fresh.rows, features)
        except NotFound:
            return Attribution(ndcg=None, text=f"beside version {self._version} lies no {SAMPLE} of its training")
        except (Unavailable, InvalidInput, PluginError) as error:
            return Attribution(ndcg=None, text=str(error))

    def _compared(self, version: Artifact, rows: pa.Table, features: Sequence[str]) -> Attribution:
        sample = parquet_table(self._tools.blobs.get("artifacts", version.key + SAMPLE).body).to_pandas()
        names = [str(name) for name in sample.columns]
        if missing := [name for name in names if name not in features]:
            raise InvalidInput(f"what it is fed was not logged: {', '.join(missing)}")
        if len(sample) < _LEAST_ATTRIBUTED:
            raise InvalidInput(f"{len(sample)} rows of its training are too few")
        model = self._tools.opener(f"{self._name} v{self._version}", version)
        if self._then is None:
            self._then = attribution(model.score, _spread_over(sample), SEED)
        fed = self._fed(_spread_over(unlabelled.frame_of(rows, names)), sample)
        return compared(names, self._then, attribution(model.score, fed, SEED))

    def _fed(self, frame: pd.DataFrame, sample: pd.DataFrame) -> pd.DataFrame:
        """Return logged features of the types that the model was trained on."""
        for name in frame.columns:
            if isinstance(sample[name].dtype, pd.CategoricalDtype):
                frame[name] = pd.Categorical(frame[name])
        return frame

    def _drifted(self, fresh: Waiting, found: Attribution | None) -> list[AttributionDrifted]:
        if found is None or found.ndcg is None or not found.drifted:
            return []
        return [
            AttributionDrifted(
                model=self._name,
                version=self._version,
                window=fresh.window,
                ndcg=found.ndcg,
                floor=FLOOR,
                features=changes(found),
            )
        ]


def reference_of(task: str, known: Answers) -> Mapping[str, Interval]:
    """Return the figures of labelled rows."""
    labels = np.asarray(known.labels, dtype=np.float64)
    figures = taskmetrics.classification if task == "classification" else taskmetrics.regression
    return figures(labels, known.scores, known.days)


def degraded(metric: str, value: Interval, then: Interval, policy: MonitoringPolicy) -> bool:
    """Say whether a whole interval is worse than the figure of the labelled rows, by more than matters and chance."""
    if metric in _HIGHER_IS_BETTER:
        return value.high < min(then.low, then.value - policy.auc_fall)
    return value.low > max(then.high, then.value * (1 + policy.error_rise))


def _taken_back(worse: PerformanceEstimated, because: str) -> PerformanceEstimated:
    return worse.model_copy(update={"degraded": False, "assumes": because})


def _estimates(found: Mapping[str, Interval]) -> dict[str, Estimate]:
    kept = {name: each for name, each in found.items() if np.isfinite([each.value, each.low, each.high]).all()}
    return {name: each.estimate() for name, each in kept.items()}


def _spread_over(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows of all of a frame, as many as are needed."""
    places = np.unique(np.linspace(0, len(frame) - 1, MOST_ROWS).astype(np.int64))
    return frame.iloc[places].reset_index(drop=True)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
