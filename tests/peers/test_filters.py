"""Our filters beside MLflow's own, on the same things: the same are refused, and the same are found in the same order.

``MODELWRIGHT_PEER`` names another interpreter, to compare with the MLflow that it has.
"""

import importlib.util
import json
import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from support.http import Caller, handler_of, memory_wiring

from modelwright.errors import InvalidInput
from modelwright.filters import EXPERIMENTS, LOGGED_MODELS, RUNS, TRACES, Actual, Order, Searchable, matches, rank
from peers.expressions import (
    EXPERIMENT,
    MODEL,
    REGISTERED,
    RUN,
    TEXTS,
    TRACE,
    VERSION,
    filters,
    orders,
)

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="the mlflow client is not installed"),
]
STATES = ("OK", "ERROR", "IN_PROGRESS")
FIGURES = ("NaN", "-1.5", "0", "0.5", "1", "1e300", "-0.0")
EXAMPLES = int(os.environ.get("MODELWRIGHT_PEER_EXAMPLES", "400"))


def things() -> dict[str, list[Any]]:
    """Return what is searched; the same every time."""
    chance = random.Random(20)

    def some(keys: Sequence[str], values: Sequence[str]) -> dict[str, str]:
        return {key: chance.choice(values) for key in keys if chance.random() < 0.6}

    filled = [text for text in TEXTS if text]
    runs = [
        {
            "name": f"{chance.choice(filled)}{n}", "user_id": chance.choice(TEXTS), "start_time": 1000 - 7 * n,
            "end_time": None if n % 3 else 2000 - n, "status": chance.choice(["FINISHED", "FAILED", "KILLED"]),
            "metrics": some(["acc", "val loss", "a/b"], FIGURES), "params": some(["lr", "a b", "x.y"], filled),
            "tags": some(["team", "a b", "mlflow.x", "it's"], filled),
            "datasets": [
                {"name": chance.choice(filled), "digest": f"d{d}{n % 4}", "context": chance.choice(["", *filled])}
                for d in range(n % 3)
            ],
        }
        for n in range(30)
    ]  # fmt: skip
    models = [
        {
            "name": f"m{chance.choice(['A', 'a', '_'])}{n}", "status": chance.choice(["READY", "PENDING", "FAILED"]),
            "source_run_id": chance.choice([None, "r1", "R1"]), "model_type": chance.choice([None, "clf", "it's"]),
            "metrics": some(["acc", "loss"], FIGURES[1:-2]), "params": some(["lr", "a b"], filled),
            "tags": some(["team", "x.y"], filled),
        }
        for n in range(20)
    ]  # fmt: skip
    experiments = [{"name": f"{text}{n}", "tags": some(["team", "a b"], filled)} for n, text in enumerate(filled)]
    traces = [
        {
            "request_id": f"tr-{chance.choice('aAb')}{n}", "timestamp_ms": 900 + 7 * n, "status": chance.choice(STATES),
            "execution_time_ms": n * 40 if n % 3 else None, "client_request_id": chance.choice([None, "r1", "R1"]),
            "tags": some(["team", "a b", "mlflow.traceName"], filled),
            "metadata": some(["user", "mlflow.sourceRun"], filled),
        }
        for n in range(25)
    ]  # fmt: skip
    prompt = "mlflow.prompt.is_prompt"
    registry = [
        {
            "name": f"{'abcABC'[n % 6]}{n}",
            "tags": some(["team", "a b"], filled) | ({prompt: "true"} if n % 4 == 3 else {}),
            "versions": [
                {
                    "source": f"s3://x/{v % 2}", "run_id": chance.choice(["r1", "R1", "r2", ""]),
                    "tags": some(["team"], filled) | ({prompt: "true"} if n % 4 == 3 else {}),
                }
                for v in range(n % 3)
            ],
        }
        for n in range(12)
    ]  # fmt: skip
    return {"runs": runs, "models": models, "experiments": experiments, "traces": traces, "registry": registry}


Thing = dict[tuple[str, str], Sequence[Actual]]


def thing(attributes: dict[str, Any], **entities: dict[str, Any]) -> Thing:
    pairs = {("attributes", key): (value,) for key, value in attributes.items()}
    return pairs | {(entity, k): (v,) for entity, values in entities.items() for k, v in values.items()}


def datasets(told: dict[str, Any]) -> Thing:
    return {
        ("datasets", key): tuple(each[key] or None for each in told["datasets"])
        for key in ("name", "digest", "context")
    }


class Peers:
    """MLflow in a process of its own, and the same things for us."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        told = things()
        made = self._ask(told)
        self.version = tuple(int(part) for part in made["version"].split(".")[:2])
        self.experiments = [
            (e["name"], thing({**made["experiments"][e["name"]], "name": e["name"]}, tags=e["tags"]))
            for e in sorted(told["experiments"], key=lambda e: -made["experiments"][e["name"]]["creation_time"])
        ]
        self.runs = [(run["name"], self._run(run, made["runs"][run["name"]])) for run in told["runs"]]
        self.models = [(m["name"], self._model(m, made["models"][m["name"]])) for m in told["models"]]
        self.models.sort(key=lambda pair: (-self._at(pair[1]), pair[1]["attributes", "model_id"]))
        self.traces = [(trace["request_id"], self._trace(trace)) for trace in reversed(told["traces"])]
        self.registry = registry(told["registry"])

    def _ask(self, said: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def _at(self, model: Thing) -> float:
        return cast("float", model["attributes", "creation_timestamp_ms"][0])

    def _run(self, told: dict[str, Any], made: dict[str, Any]) -> Thing:
        own = {"run_name": told["name"], **{key: told[key] for key in ("user_id", "start_time", "end_time")}, **made}
        tags = {**told["tags"], "mlflow.runName": told["name"]}
        metrics = {key: float(value) for key, value in told["metrics"].items()}
        return thing(own, metrics=metrics, params=told["params"], tags=tags) | datasets(told)

    def _model(self, told: dict[str, Any], made: dict[str, Any]) -> Thing:
        status = {"PENDING": "LOGGED_MODEL_PENDING", "READY": "LOGGED_MODEL_READY"}
        own = {key: told[key] for key in ("name", "source_run_id", "model_type")} | {"lifecycle_stage": "active"}
        own["status"] = status.get(told["status"], "LOGGED_MODEL_UPLOAD_FAILED")
        metrics = {key: float(value) for key, value in told["metrics"].items()}
        return thing({**own, **made}, metrics=metrics, params=told["params"], tags=told["tags"])

    def _trace(self, told: dict[str, Any]) -> Thing:
        own = {key: value for key, value in told.items() if key not in ("tags", "metadata")}
        own["end_time_ms"] = told["timestamp_ms"] + (told["execution_time_ms"] or 0)
        own |= {"name": told["tags"].get("mlflow.traceName"), "run_id": told["metadata"].get("mlflow.sourceRun")}
        return thing(own, tags=told["tags"], metadata=told["metadata"])

    def theirs(self, kind: str, text: str, order: Sequence[Any] = ()) -> list[str] | str:
        """Return the names that MLflow finds, or ``refused``."""
        said = self._ask({"kind": kind, "filter": text, "order_by": list(order)})
        return cast("list[str]", said["found"]) if "found" in said else "refused"


def registry(told: list[Any]) -> Caller:
    """Return our registry with the same in it, made in the same order at distinct times."""
    ours, minute = Caller(handler_of("registry", memory_wiring())), iter(range(10_000))

    def make(path: str, body: dict[str, Any]) -> None:
        at = f"2026-01-01T{(m := next(minute)) // 60:02}:{m % 60:02}:00+00:00"
        status, said = ours("POST", f"/api/2.0/mlflow/{path}/create", body, x_modelwright_as_of=at)
        assert status == 200, said

    def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in tags.items()]

    for model in told:
        make("registered-models", {"name": model["name"], "tags": pairs(model["tags"])})
        for version in model["versions"]:
            body = {key: version[key] for key in ("source", "run_id")}
            make("model-versions", {**body, "name": model["name"], "tags": pairs(version["tags"])})
    return ours


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    python, script = os.environ.get("MODELWRIGHT_PEER", sys.executable), Path(__file__).with_name("oracle.py")
    command = [python, "-W", "ignore", str(script)]
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, cwd="/", **quiet) as process:  # type: ignore[call-overload]
        yield Peers(process)
        process.stdin.close()


def comparable(text: str) -> bool:
    """Say whether the two are meant to agree: SQLite's ILIKE knows the case of English letters alone."""
    return not ("ilike" in text.lower() and "ä" in text.lower())


def ours(searchable: Searchable, all_: list[tuple[str, Thing]], text: str, orders: Sequence[Order]) -> list[str]:
    """Return the names of what matches, in order."""
    clauses = searchable.parse(text)
    found = [(name, each) for name, each in all_ if matches(clauses, partial(_value, each))]
    for order in reversed(orders):
        found.sort(key=partial(_place, order=order))
    return [name for name, _ in found]


def _value(each: Thing, entity: str, key: str) -> Sequence[Actual]:
    return each.get((entity, key), (None,))


def _place(pair: tuple[str, Thing], order: Order) -> tuple[int, float, tuple[int, ...]]:
    (actual, *_) = pair[1].get((order.entity, order.key), (None,))
    number = (order.entity, order.key) == ("attributes", "experiment_id")
    return rank(float(actual) if number and actual is not None else actual, ascending=order.ascending)


def refusing(search: Callable[[], list[str]]) -> list[str] | str:
    try:
        return search()
    except InvalidInput:
        return "refused"


law = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@law
@given(text=filters(RUN).filter(comparable), order=orders(RUN))
@example(text="", order=[])
@example(text="metrics.acc != 5 and datasets.name != 'x'", order=["metrics.acc", "params.lr DESC"])
def test_runs(peers: Peers, text: str, order: list[str]) -> None:
    if order:
        found = refusing(lambda: ours(RUNS, peers.runs, "", RUNS.orders(order)))
        assert found == peers.theirs("runs", "", order)
    assert refusing(lambda: ours(RUNS, peers.runs, text, ())) == peers.theirs("runs", text)


@law
@given(
    text=filters(MODEL).filter(comparable),
    fields=st.lists(st.sampled_from(MODEL.orders * 3 + MODEL.keys), max_size=2),
    ascending=st.booleans(),
)
def test_logged_models(peers: Peers, text: str, fields: list[str], ascending: bool) -> None:
    assume('"' not in text and "experiment_id" not in text)
    said = [{"field_name": name, "ascending": ascending} for name in fields]

    def ordered() -> list[str]:
        by = [LOGGED_MODELS.order_of_field(name, ascending=ascending) for name in fields]
        return ours(LOGGED_MODELS, peers.models, "", by)

    assert refusing(ordered) == peers.theirs("models", "", said)
    assert refusing(lambda: ours(LOGGED_MODELS, peers.models, text, ())) == peers.theirs("models", text)


@law
@given(text=filters(EXPERIMENT).filter(comparable), order=orders(EXPERIMENT))
def test_experiments(peers: Peers, text: str, order: list[str]) -> None:
    assume(peers.version >= (3, 18) or not re.search(r"\b(i?like|in)\b", text))  # before, they had to be capitals
    everything = [name for name, _ in peers.experiments]

    def theirs(found: list[str] | str) -> list[str] | str:
        return [name for name in found if name in everything] if isinstance(found, list) else found

    if order:
        by = [*order, "experiment_id DESC"]
        found = refusing(lambda: ours(EXPERIMENTS, peers.experiments, "", EXPERIMENTS.orders(by)))
        assert found == theirs(peers.theirs("experiments", "", order))
    found = refusing(lambda: sorted(ours(EXPERIMENTS, peers.experiments, text, ())))
    wanted = theirs(peers.theirs("experiments", text))
    assert found == (sorted(wanted) if isinstance(wanted, list) else wanted)


@law
@given(text=filters(TRACE).filter(comparable), order=orders(TRACE))
def test_traces(peers: Peers, text: str, order: list[str]) -> None:
    assume(peers.version >= (3, 18) or "end_time" not in text + "".join(order))  # which came with 3.18
    assume(not re.search(r"(time|timestamp|_ms)\W{1,6}['\"]|rlike", text.lower()))  # times are no texts to us
    if order:
        found = refusing(lambda: ours(TRACES, peers.traces, "", TRACES.orders(order)))
        assert found == peers.theirs("traces", "", order)
    assert refusing(lambda: ours(TRACES, peers.traces, text, ())) == peers.theirs("traces", text)


def listed(peers: Peers, what: str, text: str, order: list[str]) -> list[str] | str:
    query = urlencode({"filter": text, "order_by": order}, doseq=True)
    status, said = peers.registry("GET", f"/api/2.0/mlflow/{what.replace('_', '-')}/search?{query}")
    if status != 200:
        assert status == 400, said
        return "refused"
    return [f"{each['name']}/{each['version']}" if "version" in each else each["name"] for each in said.get(what, ())]


@law
@given(text=filters(REGISTERED).filter(comparable), order=orders(REGISTERED))
def test_registered_models(peers: Peers, text: str, order: list[str]) -> None:
    assert listed(peers, "registered_models", text, order) == peers.theirs("registered", text, order)


@law
@given(text=filters(VERSION).filter(comparable), order=orders(VERSION))
def test_model_versions(peers: Peers, text: str, order: list[str]) -> None:
    assert listed(peers, "model_versions", text, order) == peers.theirs("versions", text, order)


def test_nan_in_the_things_is_nan(peers: Peers) -> None:
    """Guards the tests above: what is searched has NaN, and MLflow finds something and refuses something."""
    values = [each.get(("metrics", "acc"), (None,))[0] for _, each in peers.runs]
    assert any(isinstance(value, float) and math.isnan(value) for value in values)
    assert peers.theirs("runs", "params.lr ILIKE 'b%'")
    assert peers.theirs("runs", "params.lr > '0.1'") == "refused"
