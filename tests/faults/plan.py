"""What each writer logs, and what must be there afterwards: both follow from the writer's number alone."""

import math
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

WRITERS = 16
SHARED = 0
"""The place of the run that all write to; writer ``n``'s own has the place ``n + 1``."""
_START = 1_760_000_000_000


class Point(NamedTuple):
    """A point as the protocol tells it: NaN is a word."""

    timestamp: int
    step: int
    value: float | str

    @property
    def rank(self) -> tuple[int, int, float, bool]:
        """MLflow's order of latest values: step, timestamp, value, where NaN counts as zero."""
        nan = self.value == "NaN"
        return self.step, self.timestamp, 0.0 if nan else float(self.value), nan


@dataclass(frozen=True)
class Request:
    """A request of the logging kind about the run at a place."""

    path: str
    place: int
    body: dict[str, Any]


@dataclass
class Expected:
    """What a run must hold in the end."""

    points: dict[str, set[Point]] = field(default_factory=lambda: defaultdict(set))
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)

    def latest(self) -> dict[str, Point]:
        """Return the newest point of each metric."""
        return {key: max(points, key=lambda p: p.rank) for key, points in self.points.items()}

    def add(self, request: Request) -> None:
        """Take in what a request says."""
        body = request.body
        metrics = body.get("metrics", []) if request.path == "log-batch" else [body]
        for metric in metrics if request.path in ("log-batch", "log-metric") else []:
            self.points[metric["key"]].add(Point(metric["timestamp"], metric["step"], _kept(metric["value"])))
        params = body.get("params", []) if request.path == "log-batch" else [body]
        if request.path in ("log-batch", "log-parameter"):
            self.params.update({p["key"]: p["value"] for p in params})
        tags = body.get("tags", []) if request.path == "log-batch" else [body]
        if request.path in ("log-batch", "set-tag"):
            self.tags.update({t["key"]: t["value"] for t in tags})
        self.datasets.update(d["dataset"]["name"] for d in body.get("datasets", []))
        self.models.update(m["model_id"] for m in body.get("models", []))


def expected() -> list[Expected]:
    """Return what the runs must hold when every writer is done, by place."""
    runs = [Expected() for _ in range(WRITERS + 1)]
    for writer in range(WRITERS):
        for request in requests(writer):
            runs[request.place].add(request)
    return runs


def requests(writer: int) -> Iterator[Request]:
    """Yield what a writer sends, in order; the same whenever it is asked."""
    drawn = random.Random(writer)
    for place in (SHARED, writer + 1):
        kinds = [_metric] * 4 + [_batch] * 2 + [_wide, _long, _param, _mixed, _inputs, _outputs, _ended]
        drawn.shuffle(kinds)
        kinds += [_ended, _tag, _tag, _param, _tag, _param, _tag, _tag]  # no metric stands in the way of settling then
        for number, kind in enumerate(kinds):
            path, body = kind(drawn, f"w{writer}", number)
            yield Request(path, place, body)


def _metric(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    return "log-metric", _figure(drawn, drawn.choice(("loss", "loss", f"{name}.own")))


def _batch(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    keys = [*(f"shared{n}" for n in range(6)), *(f"{name}.{n}" for n in range(4))]
    return "log-batch", {"metrics": [_figure(drawn, key) for key in keys]}


def _wide(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    return "log-batch", {"metrics": [_figure(drawn, f"wide{n}") for n in range(60)]}


def _long(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    return "log-batch", {"metrics": [{**_figure(drawn, "long"), "step": drawn.randrange(500)} for _ in range(300)]}


def _param(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    key, value = drawn.choice(((f"{name}.{number}", str(number)), ("common", "the same")))
    return "log-parameter", {"key": key, "value": value}


def _tag(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    return "set-tag", {"key": f"{name}.{number}", "value": str(number)}


def _mixed(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    pairs = [{"key": f"{name}.mixed{n}", "value": str(n)} for n in range(3)]
    return "log-batch", {"metrics": [_figure(drawn, "loss")], "params": pairs, "tags": pairs}


def _inputs(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    dataset = {"name": name, "digest": "d", "source_type": "local", "source": "{}", "schema": "{}", "profile": "{}"}
    return "log-inputs", {"datasets": [{"dataset": dataset, "tags": []}]}


def _outputs(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    return "outputs", {"models": [{"model_id": f"m-{name}", "step": 0}]}


def _ended(drawn: random.Random, name: str, number: int) -> tuple[str, dict[str, Any]]:
    """End the run, which may be settled then; what is logged after that opens it again."""
    return "update", {"status": "FINISHED", "end_time": _START}


def _figure(drawn: random.Random, key: str) -> dict[str, Any]:
    """Return a point; steps and times are few, so that writers tie."""
    value: float | str = drawn.choice([drawn.gauss(0, 1)] * 6 + ["NaN", "Infinity", "-Infinity"])
    return {"key": key, "value": value, "timestamp": _START + drawn.randrange(4), "step": drawn.randrange(-2, 6)}


def _kept(value: float | str) -> float | str:
    """Return how a value is told back: infinities are clamped."""
    number = float(value)
    if math.isinf(number):
        return math.copysign(sys.float_info.max, number)
    return "NaN" if math.isnan(number) else number


def in_order(points: Iterable[Point]) -> list[Point]:
    """Return points in the order of a history, with ties in some order that depends on nothing else."""
    return sorted(points, key=lambda p: (p.timestamp, p.step, str(p.value)))
