"""What tests of maintenance share: a desk with ended runs, workers that are interrupted, and what must hold after."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from support.mlflow_desk import API, Desk

from modelwright.adapters.parquet import ParquetTables
from modelwright.context import Call
from modelwright.storage import Blobs, Tables, every
from modelwright.tracking.compaction import Compacted, compact, sweep
from modelwright.tracking.maintenance import Upkeep

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
Before = Callable[[int, str], None]
Shown = dict[str, dict[str, Any]]


class Interrupted(Exception):
    """The worker's process ended here."""


def stopping_at(number: int) -> Before:
    """Let the call of a number not happen, and none after it."""

    def stop(call: int, name: str) -> None:
        if call >= number:
            raise Interrupted(f"{call} {name}")

    return stop


def doing_at(number: int, action: Callable[[], object]) -> Before:
    """Do something once, before the call of a number."""

    def act(call: int, name: str) -> None:
        if call == number:
            action()

    return act


class Watched:
    """Tables or buckets whose every call is announced, with its number among all calls of one worker.

    Pages of queries hold one item, so that something can happen between any two items that are read.
    """

    def __init__(self, target: object, numbers: Iterator[int], before: Before) -> None:
        self._target = target
        self._numbers = numbers
        self._before = before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._before(next(self._numbers), name)
            short = {"limit": 1} if name == "query" and not options.get("limit") else {}
            return method(*arguments, **options, **short)

        return call


@dataclass
class Yard:
    """A desk, and whoever maintains it."""

    desk: Desk = field(default_factory=Desk)
    wall: datetime = NOON
    names: Iterator[int] = field(default_factory=count)

    experiment: str = ""

    def __post_init__(self) -> None:
        self.experiment = self.experiment or self.desk.experiment()
        self.call = Call("default", "platform", NOON, "c-1")

    def copied(self) -> "Yard":
        """Return a yard with the same in it, for one more attempt."""
        desk = Desk()
        desk.tables._items, desk.tables._order = copy.deepcopy((self.desk.tables._items, self.desk.tables._order))
        desk.blobs._objects = {key: list(versions) for key, versions in self.desk.blobs._objects.items()}
        desk.blobs._deleted = set(self.desk.blobs._deleted)
        return Yard(desk, self.wall, count(1000), self.experiment)

    # --- runs -----------------------------------------------------------------------------

    def ended(self, number: int, **more: Any) -> str:
        """Make a run that ended, all of whose figures tell its number."""
        desk = self.desk
        run_id = desk.run(self.experiment, start_time=1_000 + number, run_name=f"run {number}", **more)
        metrics = [("loss", number + step / 10, 1_000, step) for step in range(3)]
        assert desk.log_batch(run_id, metrics=metrics, params={"number": str(number)})[0] == 200
        self.end(run_id)
        return run_id

    def end(self, run_id: str) -> None:
        body = {"run_id": run_id, "status": "FINISHED", "end_time": 5_000}
        self.desk.tracking.ok("POST", f"{API}/runs/update", body)

    def tag(self, run_id: str, value: str) -> None:
        self.desk.tracking.ok("POST", f"{API}/runs/set-tag", {"run_id": run_id, "key": "note", "value": value})

    def log(self, run_id: str, value: float, step: int, key: str = "loss") -> None:
        body = {"run_id": run_id, "key": key, "value": value, "timestamp": 2_000, "step": step}
        self.desk.tracking.ok("POST", f"{API}/runs/log-metric", body)

    def delete(self, run_id: str) -> None:
        self.desk.tracking.ok("POST", f"{API}/runs/delete", {"run_id": run_id})

    def restore(self, run_id: str) -> None:
        self.desk.tracking.ok("POST", f"{API}/runs/restore", {"run_id": run_id})

    def history(self, run_id: str, key: str = "loss") -> list[tuple[int, float]]:
        """Return (step, value) of a metric."""
        path = f"{API}/metrics/get-history?run_id={run_id}&metric_key={key}&max_results=25000"
        return [(m["step"], m["value"]) for m in self.desk.tracking.ok("GET", path)["metrics"]]

    # --- maintenance ----------------------------------------------------------------------

    def upkeep(self, before: Before = lambda call, name: None, spare: Callable[[], bool] = lambda: True) -> Upkeep:
        numbers = count()
        return Upkeep(
            cast(Tables, Watched(self.desk.tables, numbers, before)),
            cast(Blobs, Watched(self.desk.blobs, numbers, before)),
            ParquetTables(),
            lambda: self.wall,
            lambda: f"name-{next(self.names):06d}",
            spare,
        )

    def compact(self, before: Before = lambda call, name: None, *, least: int = 1) -> Compacted:
        return compact(self.call, self.experiment, self.upkeep(before), least=least)

    def sweep_later(self) -> int:
        """Sweep when the hour of every trial is over."""
        self.wall += timedelta(hours=2)
        return sweep(self.call, self.upkeep())

    # --- what is true ---------------------------------------------------------------------

    def shown(self) -> Shown:
        """Return every run that a search finds, by id; no run comes twice."""
        runs, token = [], ""
        while True:
            body = {"experiment_ids": [self.experiment], "run_view_type": "ALL", "max_results": 7, "page_token": token}
            page = self.desk.tracking.ok("POST", f"{API}/runs/search", body)
            runs += page.get("runs", [])
            if not (token := page.get("next_page_token", "")):
                break
        found = {run["info"]["run_id"]: run for run in runs}
        assert len(found) == len(runs)
        return found

    def told(self, run_ids: list[str]) -> Shown:
        """Return every run as it is told by itself."""
        return {run_id: self.desk.get_run(run_id) for run_id in run_ids}

    def is_whole(self, run_ids: list[str]) -> Shown:
        """Check that a search tells of each run what the run tells of itself, and return it."""
        shown, told = self.shown(), self.told(run_ids)
        assert {i: _sorted(run) for i, run in shown.items()} == {i: _sorted(run) for i, run in told.items()}
        return told

    def heads(self, prefix: str) -> list[str]:
        """Return the run ids of the heads that begin so."""
        items = every(self.desk.tables, "tracking", f"WS#default#EXPERIMENT#{self.experiment}", prefix=prefix)
        return [item["sk"].removeprefix(prefix) for item in items if not item["sk"].endswith("~")]

    def objects(self, folder: str = "tracking/default/") -> list[str]:
        """Return the keys of the lake."""
        return [listed.key for listed in self.desk.blobs.list("lake", folder)]


def _sorted(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run whose params, tags and metrics are in order."""
    data = {kind: sorted(pairs, key=lambda pair: str(pair["key"])) for kind, pairs in run["data"].items()}
    return {**run, "data": data}


def note(run: dict[str, Any]) -> str:
    """Return what a run was tagged with last."""
    return next((tag["value"] for tag in run["data"]["tags"] if tag["key"] == "note"), "")


def loss(run: dict[str, Any]) -> tuple[int, float]:
    """Return step and value of a run's newest loss."""
    (metric,) = [metric for metric in run["data"]["metrics"] if metric["key"] == "loss"]
    return metric["step"], metric["value"]
