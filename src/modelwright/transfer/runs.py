"""Copies the content of one run: writes what is missing, then reads the run again and compares."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from modelwright.errors import ModelwrightError, NotFound
from modelwright.transfer.files import Files
from modelwright.transfer.records import DatasetInput, History, ModelPoint, Place, Point, Run
from modelwright.transfer.renaming import Renaming
from modelwright.transfer.sides import FATAL, PAIRS_AT_ONCE, POINTS_AT_ONCE, Source, Target
from modelwright.transfer.tally import Tally

T = TypeVar("T")
OfModels = Mapping[str, Sequence[tuple[str, ModelPoint]]]
"""The points that runs logged of models, by run: the model's id and the point, with the source's ids."""


class RunCopy:
    """Copies runs, one per thread and call.

    What the target holds besides, such as a tag that somebody set there, stays and is no difference. No more
    than the points of one metric are in memory at once.

    Args:
        source: where from.
        target: where to.
        renaming: the ids of both.
        of_models: which points are of logged models.
        files: copies artifacts.
        tally: where everything is counted.
    """

    def __init__(
        self, source: Source, target: Target, renaming: Renaming, of_models: OfModels, files: Files, tally: Tally
    ) -> None:
        self._source, self._target, self._renaming = source, target, renaming
        self._of_models, self._files, self._tally = of_models, files, tally
        self._datasets = threading.Lock()

    def copy(self, run_id: str, what: str, *, delete: bool, wake: Callable[[], None] | None = None) -> None:
        """Copy a run that was made before.

        Args:
            run_id: the source's.
            what: how messages call it.
            delete: whether it ends in the deleted stage; else it is brought back if it is there.
            wake: of a run that is deleted with its experiment: brings that back before anything is written.
        """
        given = self._source.run(run_id)
        wanted = self._renaming.run(given)
        there = self._target.run(wanted.run_id)
        pen = Pen(self._target, there, what, self._tally, wake)
        self._write_summary(pen, wanted, there)
        written = self._write_points(pen, given, there)
        self._files.copy(what, given.artifact_uri, there.artifact_uri)
        if (wanted.status, wanted.end) != (there.status, there.end):
            pen.close(wanted.status, wanted.end)
        self._compare(what, wanted, self._target.run(wanted.run_id) if pen.used else there)
        self._compare_points(what, run_id, wanted.run_id, written)
        pen.leave(deleted=delete)

    def _write_summary(self, pen: "Pen", wanted: Run, there: Run) -> None:
        params = {k: v for k, v in wanted.params.items() if there.params.get(k) != v}
        tags = {k: v for k, v in wanted.tags.items() if there.tags.get(k) != v}
        pen.describe(params, tags)
        with self._datasets:  # servers of MLflow fail when two runs of an experiment name a new one at once
            for dataset in wanted.datasets:
                if dataset not in there.datasets:
                    pen.read_dataset(dataset)
        pen.connect(
            [identity for identity in dict.fromkeys(wanted.model_inputs) if identity not in there.model_inputs],
            [output for output in dict.fromkeys(wanted.model_outputs) if output not in there.model_outputs],
        )

    def _write_points(self, pen: "Pen", given: Run, there: Run) -> dict[str, tuple[History, bool]]:
        """Write what is missing; return each metric's history, and whether any of it was missing.

        A point of a model is logged with the model, and so not as the run's alone.
        """
        of_models, written = self._missing_of_models(given.run_id), {}
        for key in sorted(given.metrics | of_models.keys()):
            points = {p.place: p for p in self._source.points(given.run_id, key)} if key in given.metrics else {}
            known = {p.place for p in self._target.points(there.run_id, key)} if key in there.metrics else set()
            of_model = [(model, _as_logged(point, points)) for model, point in of_models[key]]
            with_model = {point.point.place for _, point in of_model}
            missing = [p for place, p in points.items() if place not in known and place not in with_model]
            pen.points([*of_model, *(("", ModelPoint("", key, point)) for point in missing)])
            written[key] = History.of(points.values()), bool(missing or of_model)
        pen.flush()
        return {key: history for key, history in written.items() if key in given.metrics}

    def _missing_of_models(self, run_id: str) -> dict[str, list[tuple[str, ModelPoint]]]:
        """Return the points of models that the target's models lack, by metric, with the target's ids."""
        missing: dict[str, list[tuple[str, ModelPoint]]] = defaultdict(list)
        there: dict[str, set[object]] = {}
        for model, point in self._of_models.get(run_id, ()):
            if model not in self._renaming.models:
                continue
            new, moved = self._renaming.models[model], point._replace(run_id=self._renaming.runs[run_id])
            if new not in there:
                there[new] = {p.place for p in self._target.logged_model(new).points}
            if moved.place not in there[new]:
                missing[point.key].append((new, moved))
        return missing

    def _compare(self, what: str, wanted: Run, there: Run) -> None:
        for name in ("name", "user", "status", "start", "end"):
            old, new = getattr(wanted, name), getattr(there, name)
            if old != new and (old or name == "end"):
                self._tally.differs(what, f"its {name} is {new!r}, not {old!r}")
        for kind, old_items, new_items in (
            ("params", wanted.params.items(), there.params.items()),
            ("tags", wanted.tags.items(), there.tags.items()),
            ("metrics", wanted.metrics, there.metrics),
            ("datasets", wanted.datasets, there.datasets),
            ("models read", set(wanted.model_inputs), there.model_inputs),
            ("models made", set(wanted.model_outputs), there.model_outputs),
        ):
            missing = [item for item in old_items if item not in new_items]
            self._tally.count(kind, len(old_items), len(old_items) - len(missing))
            if missing:
                self._tally.differs(
                    what, f"{len(missing)} of {len(old_items)} {kind} differ, such as {_short(missing[0])}"
                )

    def _compare_points(self, what: str, old: str, new: str, written: Mapping[str, tuple[History, bool]]) -> None:
        for key, (history, incomplete) in written.items():
            found = history.points
            if incomplete and History.of(there := self._target.points(new, key)) != history:
                places = {point.place for point in there}
                found = len({p.place for p in self._source.points(old, key)} & places)
            self._tally.count("metric points", history.points, found)
            if found < history.points:
                self._tally.differs(what, f"{history.points - found} of {history.points} points of {key} are missing")


class Pen:
    """Writes to a run of the target, which it brings back first if it is deleted, or its experiment is.

    What is refused is halved until what is refused stands alone and is named.

    Args:
        target: where the run is.
        run: the run as it was read.
        what: how messages call it.
        tally: where what is refused is named.
        wake: brings the experiment back, with which the run is deleted in the end.
    """

    def __init__(
        self, target: Target, run: Run, what: str, tally: Tally, wake: Callable[[], None] | None = None
    ) -> None:
        self._target, self._run_id, self._what, self._tally = target, run.run_id, what, tally
        self._wake = wake
        self._deleted = run.deleted
        self._points: list[tuple[str, ModelPoint]] = []
        self.used = False

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Set params and tags."""
        pairs = [("param", *pair) for pair in params.items()] + [("tag", *pair) for pair in tags.items()]
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            self._each(pairs[start : start + PAIRS_AT_ONCE], self._describe, lambda pair: f"the {pair[0]} {pair[1]}")

    def points(self, points: Sequence[tuple[str, ModelPoint]]) -> None:
        """Log points, once there are enough for a request."""
        self._points += points
        while len(self._points) >= POINTS_AT_ONCE:
            now, self._points = self._points[:POINTS_AT_ONCE], self._points[POINTS_AT_ONCE:]
            self._log(now)

    def flush(self) -> None:
        """Log the points that are left."""
        now, self._points = self._points, []
        self._log(now)

    def read_dataset(self, dataset: DatasetInput) -> None:
        """Record a dataset that the run read."""
        self._each(
            [dataset], lambda some: self._target.link(self._run_id, datasets=some), lambda d: f"the dataset {d.name}"
        )

    def connect(self, inputs: Sequence[str], outputs: Sequence[tuple[str, int]]) -> None:
        """Record logged models that the run read and made."""
        self._each(inputs, lambda some: self._target.link(self._run_id, inputs=some), lambda i: f"the model {i}")
        self._each(outputs, lambda some: self._target.link(self._run_id, outputs=some), lambda o: f"the model {o[0]}")

    def close(self, status: str, end: int | None) -> None:
        """Set status and end."""
        self._open()
        self._target.close_run(self._run_id, status, end)

    def leave(self, *, deleted: bool) -> None:
        """Leave the run in its stage."""
        if deleted != self._deleted and self._wake is None:
            self._target.move_run(self._run_id, deleted=deleted)

    def _open(self) -> None:
        self.used = True
        if self._wake is not None:
            self._wake()
        elif self._deleted:
            self._target.move_run(self._run_id, deleted=False)
            self._deleted = False

    def _describe(self, pairs: Sequence[tuple[str, str, str]]) -> None:
        params = {key: value for kind, key, value in pairs if kind == "param"}
        tags = {key: value for kind, key, value in pairs if kind == "tag"}
        self._target.log(self._run_id, params=params, tags=tags)

    def _log(self, points: Sequence[tuple[str, ModelPoint]]) -> None:
        self._each(points, lambda some: self._target.log(self._run_id, points=some), lambda p: f"a point of {p[1].key}")

    def _each(self, items: Sequence[T], write: Callable[[Sequence[T]], None], name: Callable[[T], str]) -> None:
        if not items:
            return
        self._open()
        try:
            write(items)
        except (*FATAL, NotFound):
            raise
        except ModelwrightError as error:
            if len(items) == 1:
                self._tally.differs(self._what, f"{name(items[0])} is refused: {error}")
                return
            half = len(items) // 2
            self._each(items[:half], write, name)
            self._each(items[half:], write, name)


def _as_logged(point: ModelPoint, points: Mapping[Place, Point]) -> ModelPoint:
    """Return a model's point with the run's value: MLflow's databases say 0.0 of a model that got NaN."""
    if point.point.place in points or point.point.value != 0:
        return point
    nan = point.point._replace(value=float("nan"))
    return point._replace(point=nan) if nan.place in points else point


def _short(item: object) -> str:
    text = repr(item)
    return text if len(text) <= 120 else f"{text[:120]}..."
