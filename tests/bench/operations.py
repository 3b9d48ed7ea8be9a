"""The operations that are measured, in the words of MLflow's protocol, and what is asked of ours."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlencode

from bench.costs import Cost, Failed, Measured, Side

Step: TypeAlias = Callable[[int], object]
Prepare: TypeAlias = Callable[["Side"], Step]

_made = count()
USER = [{"key": "mlflow.user", "value": "b"}, {"key": "mlflow.source.name", "value": "bench.py"}]


@dataclass(frozen=True)
class Asked:
    """What an operation of ours must reach; what is None is not asked.

    Attributes:
        times: as fast as the better of MLflow's two.
        ms: latency.
    """

    times: float | None = None
    ms: float | None = None
    cpu_ms: float | None = None
    calls: int | None = None
    transactions: int | None = None
    write_units: int | None = None
    rss_mb: int | None = None

    def misses(self, ours: Measured, best_ms: float | None) -> list[str]:
        """Return what is short of what is asked, in words."""
        if ours.failure:
            return [ours.failure]
        found: list[str] = []
        if self.times is not None and best_ms is not None and best_ms / ours.p50("ms") < self.times:
            found.append(f"{best_ms / ours.p50('ms'):.1f}x, asked {self.times:g}x")
        for name, limit in (("ms", self.ms), ("cpu_ms", self.cpu_ms)):
            if limit is not None and ours.p50(name) > limit:
                found.append(f"{name} {ours.p50(name):.1f}, asked {limit:g}")
        for name in ("calls", "transactions", "write_units", "rss_mb"):
            limit = getattr(self, name)
            if limit is not None and ours.most(name) > limit:
                found.append(f"{name} {ours.most(name)}, asked {limit}")
        return found

    def __str__(self) -> str:
        """Say what is asked in a few characters."""
        said = {"times": "{:g}x", "ms": "{:g} ms", "cpu_ms": "{:g} ms cpu", "calls": "{} calls"}
        said |= {"transactions": "{} transaction", "write_units": "{} wu", "rss_mb": "{} MB"}
        known = ((text, getattr(self, name)) for name, text in said.items())
        return ", ".join(text.format(value) for text, value in known if value is not None)


@dataclass(frozen=True)
class Operation:
    """Something that is done ``n`` times, after it was prepared."""

    name: str
    prepare: Prepare
    n: int
    asked: Asked = field(default_factory=Asked)

    def measure(self, side: Side, quick: int = 1) -> Measured:
        """Do it, a ``quick``-th as often, and return what each time cost."""
        costs = []
        try:
            step = self.prepare(side)
            for number in range(max(3, self.n // quick)):
                side.spent = Cost()
                step(number)
                costs.append(side.spent)
        except Failed as failure:
            return Measured((), str(failure))
        return Measured(tuple(costs))


def now() -> int:
    """Return the time as MLflow tells it."""
    return time.time_ns() // 1_000_000


def new_experiment(side: Side) -> str:
    """Make an experiment and return its id."""
    return str(side.ask("POST", "experiments/create", {"name": f"bench-{now()}-{next(_made)}"})["experiment_id"])


def new_run(side: Side, experiment_id: str) -> str:
    """Begin a run and return its id."""
    body = {"experiment_id": experiment_id, "start_time": now(), "tags": USER}
    return str(side.ask("POST", "runs/create", body)["run"]["info"]["run_id"])


def batch(side: Side, run_id: str, points: Sequence[tuple[str, int]]) -> None:
    """Log points, given as key and step, with random values."""
    metrics = [{"key": key, "value": random.random(), "timestamp": now(), "step": step} for key, step in points]
    side.ask("POST", "runs/log-batch", {"run_id": run_id, "metrics": metrics})


def one_key(number: int, size: int = 1000, key: str = "one") -> list[tuple[str, int]]:
    """Return consecutive steps of one metric."""
    return [(key, number * size + step) for step in range(size)]


def many_keys(number: int, size: int = 1000) -> list[tuple[str, int]]:
    """Return one step of many metrics."""
    return [(f"k{key}", number) for key in range(size)]


# --- writing ------------------------------------------------------------------------------


def _create_run(side: Side) -> Step:
    experiment = new_experiment(side)
    return lambda _: new_run(side, experiment)


def _log_metric(runs: int, keys: int) -> Prepare:
    def prepare(side: Side) -> Step:
        experiment = new_experiment(side)
        ids = [new_run(side, experiment) for _ in range(runs)]

        def step(n: int) -> None:
            point = {"key": f"m{n % keys}", "value": 1 / (n + 1), "timestamp": now(), "step": n}
            side.ask("POST", "runs/log-metric", {"run_id": ids[n % runs], **point})

        return step

    return prepare


def _batches(points: Callable[[int], list[tuple[str, int]]], runs: int) -> Prepare:
    def prepare(side: Side) -> Step:
        experiment = new_experiment(side)
        ids = [new_run(side, experiment) for _ in range(runs)]
        return lambda n: batch(side, ids[n % runs], points(n))

    return prepare


def _whole_run(side: Side) -> Step:
    experiment = new_experiment(side)

    def step(_: int) -> None:
        run = new_run(side, experiment)
        side.spent = Cost()
        for number in range(5):
            batch(side, run, one_key(number))

    return step


# --- reading ------------------------------------------------------------------------------


def _get_run(points: Callable[[int], list[tuple[str, int]]]) -> Prepare:
    def prepare(side: Side) -> Step:
        run = new_run(side, new_experiment(side))
        batch(side, run, points(0))
        return lambda _: side.ask("GET", f"runs/get?run_id={run}")

    return prepare


def _history(path: str, size: int, name: str) -> Prepare:
    def prepare(side: Side) -> Step:
        run = new_run(side, new_experiment(side))
        for number in range(9):
            batch(side, run, one_key(number, key="long"))
        query = urlencode({name: run, "metric_key": "long", "max_results": size})
        return lambda _: side.ask("GET", f"metrics/{path}?{query}")

    return prepare


BASIC = (
    Operation("create_run", _create_run, 200, Asked(transactions=1, cpu_ms=4)),
    Operation("log_metric, 1 run, 1 key", _log_metric(1, 1), 300, Asked(calls=2, write_units=2, cpu_ms=4)),
    Operation("log_metric, 8 runs, 5 keys", _log_metric(8, 5), 300, Asked(calls=2, write_units=2, cpu_ms=4)),
    Operation("log_batch 10 metrics", _batches(lambda n: many_keys(n, 10), 8), 200),
    Operation("log_batch 1,000 of 1 key", _batches(one_key, 30), 30, Asked(times=5, calls=3, write_units=30)),
    Operation("log_batch 1,000 of 1,000 keys", _batches(many_keys, 30), 30, Asked(times=5, calls=3, write_units=30)),
    Operation("5 x log_batch 1,000 of 1 key", _whole_run, 6, Asked(write_units=60)),
    Operation("get_run, 1 metric", _get_run(lambda n: one_key(n, 1)), 200),
    Operation("get_run, 1,000 metrics", _get_run(many_keys), 30, Asked(times=2)),
    Operation("history of 9,000 points", _history("get-history", 25_000, "run_id"), 10, Asked(times=5)),
    Operation("bulk-interval, 320 of 9,000", _history("get-history-bulk-interval", 320, "run_ids"), 20),
)


# --- searching ------------------------------------------------------------------------------

METRIC_SEARCH: Mapping[str, Any] = {"filter": "metrics.acc > 0.5", "order_by": ["metrics.acc DESC"]}
SEARCHES: tuple[tuple[str, Mapping[str, Any], bool], ...] = (
    ("no filter", {}, False),
    ("metric filter + order", METRIC_SEARCH, True),
    (
        "3 filters + order",
        {
            "filter": "metrics.acc > 0.5 and params.lr = '0.1' and tags.team = 'a'",
            "order_by": ["metrics.acc DESC"],
        },
        False,
    ),
    (
        "ILIKE, 2 orders",
        {"filter": "params.model ILIKE '%X%'", "order_by": ["metrics.loss ASC", "params.depth DESC"]},
        False,
    ),
    (
        "metric filter + order, 1,000",
        {"filter": "metrics.acc > 0.2", "order_by": ["metrics.acc DESC"], "max_results": 1000},
        False,
    ),
)


def searches(scale: int, experiment: str) -> tuple[Operation, ...]:
    """Return the searches over an experiment of so many runs."""

    def search(more: Mapping[str, Any]) -> Prepare:
        def prepare(side: Side) -> Step:
            body = {"experiment_ids": [experiment], "max_results": 100, **more}
            return lambda _: side.ask("POST", "runs/search", body)

        return prepare

    def pages(side: Side) -> Step:
        body: dict[str, Any] = {"experiment_ids": [experiment], "max_results": 1000}

        def step(_: int) -> None:
            answer = side.ask("POST", "runs/search", body)
            while token := answer.get("next_page_token"):
                answer = side.ask("POST", "runs/search", {**body, "page_token": token})

        return step

    asked = Asked(times=3) if scale >= 10_000 else Asked()
    named = f"search {scale:,}: "
    found = [Operation(named + name, search(more), 12, asked if must else Asked()) for name, more, must in SEARCHES]
    return (*found, Operation(named + "page through all", pages, 3))
