"""Sixteen writers, everything twice, a tenth of the AWS calls lost: nothing is missing, doubled or out of date."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from support.cloud import Cloud, cloud
from support.http import Caller, handler_of

from faults.plan import WRITERS, Expected, Point, expected, in_order
from faults.writers import CREATED, Job, Told, keep, write

pytestmark = pytest.mark.e2e
API = "/api/2.0/mlflow"
PLACES = range(WRITERS + 1)


@dataclass
class Aftermath:
    """The store when all writers are done, and what they were told."""

    tracking: Caller
    experiment_id: str
    runs: list[str]
    told: list[Told]
    settled: int

    @cached_property
    def expected(self) -> list[Expected]:
        return expected()

    def run(self, place: int) -> dict[str, Any]:
        found: dict[str, Any] = self.tracking.ok("GET", f"{API}/runs/get?run_id={self.runs[place]}")["run"]
        return found

    def history(self, place: int, key: str) -> list[Point]:
        query = f"{API}/metrics/get-history?run_id={self.runs[place]}&metric_key={key}&max_results=100"
        found, token = [], ""
        while True:
            answer = self.tracking.ok("GET", f"{query}&page_token={token}")
            found += [Point(m["timestamp"], m["step"], m["value"]) for m in answer["metrics"]]
            if not (token := answer.get("next_page_token", "")):
                return found

    def pairs(self, place: int, kind: str) -> dict[str, str]:
        return {pair["key"]: pair["value"] for pair in self.run(place)["data"].get(kind, [])}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


@pytest.fixture(scope="module")
def aftermath(emulator: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    finished = tmp_path_factory.mktemp("faults") / "finished"
    tracking = Caller(handler_of("tracking", emulator.wiring()))
    experiment = tracking.ok("POST", f"{API}/experiments/create", {"name": "faults"})["experiment_id"]
    body = {"experiment_id": experiment, "start_time": 1000}
    runs = [tracking.ok("POST", f"{API}/runs/create", body)["run"]["info"]["run_id"] for _ in PLACES]
    jobs = [Job(n, emulator.environment, experiment, runs, retrying=n % 2 == 0) for n in range(WRITERS)]
    with multiprocessing.get_context("forkserver").Pool(WRITERS + 1) as pool:
        keeping = pool.apply_async(keep, (jobs[0], finished))
        told = pool.map(write, jobs, chunksize=1)
        finished.touch()
        settled = keeping.get()
    return Aftermath(tracking, experiment, runs, told, settled)


def test_every_request_was_taken_in_the_end(aftermath: Aftermath) -> None:
    assert [refused for told in aftermath.told for refused in told.refused] == []


def test_much_was_lost_and_sent_again(aftermath: Aftermath) -> None:
    assert all(told.lost > 5 for told in aftermath.told)
    assert sum(told.resent for told in aftermath.told) > 50


def test_runs_were_settled_while_they_were_written_to(aftermath: Aftermath) -> None:
    assert aftermath.settled > 2


@pytest.mark.parametrize("place", PLACES)
def test_histories_hold_every_point_once(aftermath: Aftermath, place: int) -> None:
    for key, points in aftermath.expected[place].points.items():
        found = aftermath.history(place, key)
        assert in_order(found) == in_order(points), key
        assert [p[:2] for p in found] == sorted(p[:2] for p in found), key


@pytest.mark.parametrize("place", PLACES)
def test_the_latest_values_are_those_of_the_rule(aftermath: Aftermath, place: int) -> None:
    found = {m["key"]: Point(m["timestamp"], m["step"], m["value"]) for m in aftermath.run(place)["data"]["metrics"]}
    assert found == aftermath.expected[place].latest()


@pytest.mark.parametrize("place", PLACES)
def test_params_and_tags_are_complete(aftermath: Aftermath, place: int) -> None:
    assert aftermath.pairs(place, "params") == aftermath.expected[place].params
    tags = aftermath.pairs(place, "tags")
    assert tags.pop("mlflow.runName")
    assert tags == aftermath.expected[place].tags


@pytest.mark.parametrize("place", PLACES)
def test_inputs_and_outputs_are_complete(aftermath: Aftermath, place: int) -> None:
    run = aftermath.run(place)
    datasets = sorted(d["dataset"]["name"] for d in run["inputs"]["dataset_inputs"])
    models = sorted(m["model_id"] for m in run["outputs"]["model_outputs"])
    assert datasets == sorted(aftermath.expected[place].datasets)
    assert models == sorted(aftermath.expected[place].models)


def test_what_was_made_under_a_key_was_made_once(aftermath: Aftermath) -> None:
    runs = {run for told in aftermath.told for ids in told.runs for run in ids}
    models = {model for told in aftermath.told for ids in told.models for model in ids}
    assert len(runs) == len(models) == WRITERS * CREATED
    body = {"experiment_ids": [aftermath.experiment_id], "max_results": 1000}
    found = aftermath.tracking.ok("POST", f"{API}/runs/search", body)["runs"]
    assert sorted(run["info"]["run_id"] for run in found) == sorted(runs | set(aftermath.runs))
    found = aftermath.tracking.ok("POST", f"{API}/logged-models/search", {**body, "max_results": 50})["models"]
    assert sorted(model["info"]["model_id"] for model in found) == sorted(models)


def test_a_search_tells_what_each_run_tells(aftermath: Aftermath) -> None:
    body = {"experiment_ids": [aftermath.experiment_id], "filter": "status = 'FINISHED'", "max_results": 1000}
    runs = aftermath.tracking.ok("POST", f"{API}/runs/search", body)["runs"]
    found = {run["info"]["run_id"]: run for run in runs}
    assert sorted(found) == sorted(aftermath.runs)
    for place in PLACES:
        metrics = found[aftermath.runs[place]]["data"]["metrics"]
        told = {m["key"]: Point(m["timestamp"], m["step"], m["value"]) for m in metrics}
        assert told == aftermath.expected[place].latest()
