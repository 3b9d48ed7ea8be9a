"""Searches of runs, logged models and experiments, through the function. What filters say is tested elsewhere."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk
from support.snapshots import World

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import InvalidInput
from modelwright.filters import RUNS
from modelwright.tracking import messages as m
from modelwright.tracking import runs
from modelwright.tracking.ordering import Ordering, Spot

LAMBDA_BYTES = 6 * 1024 * 1024


class CountedTables(MemoryTables):
    """Remembers the partitions that were read, one call after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, table: Any, key: Any) -> Any:
        self.read.append(key[0])
        return super().get(table, key)

    def query(self, table: Any, pk: str, **options: Any) -> Any:
        self.read.append(pk)
        return super().query(table, pk, **options)

    def batch_get(self, table: Any, keys: Any, attributes: Any = ()) -> Any:
        found = {key: item for key in keys if (item := super(CountedTables, self).get(table, key)) is not None}
        self.read.append("several")
        return found


@pytest.fixture
def names(desk: Desk) -> Any:
    """Five runs; returns a search that gives their names."""
    experiment = desk.experiment()
    metrics: dict[str, Any] = {"a": 1.0, "b": 3.0, "c": "NaN", "e": 2.0}
    for n, name in enumerate("abcde"):
        run = desk.run(experiment, run_name=name, start_time=n)
        if name in metrics:
            desk.log_batch(run, metrics=[("auc", metrics[name], 1, 0)])
        desk.log_batch(run, params={"depth": str(n)}, tags={"Team": "Ab" if n % 2 else "aB"})

    def search(filter_: str = "", *order_by: str, **more: Any) -> str:
        body = {"experiment_ids": [experiment], "filter": filter_, "order_by": order_by, **more}
        return "".join(r["info"]["run_name"] for r in desk.tracking.ok("POST", f"{API}/runs/search", body)["runs"])

    return search


# --- runs --------------------------------------------------------------------------------


def test_runs_are_filtered_as_mlflow_does(names: Any) -> None:
    assert names() == "edcba"
    assert names("metrics.auc > 1") == "eb"
    assert names("metrics.auc != 1") == "ecb"
    assert names("metrics.auc <= 3 AND params.depth = '4'") == "e"
    assert names("params.nothing != 'x'") == ""
    assert names("tags.Team LIKE 'A%'") == "db"
    assert names("tags.Team ILIKE 'A%'") == "edcba"
    assert names("tags.nothing IS NULL and attributes.start_time >= 3") == "ed"
    assert names("attributes.status = 'RUNNING' and `Run name` = 'a'") == "a"


def test_runs_are_ordered_as_mlflow_does(names: Any) -> None:
    assert names("", "metrics.auc DESC") == "beacd"
    assert names("", "metrics.auc") == "aebcd"
    assert names("", "tags.Team DESC", "params.depth ASC") == "acebd"
    assert names("", "start_time ASC") == "abcde"


def test_runs_come_in_pages(desk: Desk) -> None:
    experiment = desk.experiment()
    for n in range(5):
        desk.run(experiment, run_name=str(n), start_time=n)
    token, seen = "", ""
    for _ in range(3):
        body = {"experiment_ids": [experiment], "max_results": 2, "page_token": token}
        answer = desk.tracking.ok("POST", f"{API}/runs/search", body)
        seen += "".join(r["info"]["run_name"] for r in answer["runs"])
        token = answer.get("next_page_token", "")
    assert (seen, token) == ("43210", "")


@pytest.mark.parametrize("change", [{"max_results": 50_001}, {"max_results": -1}, {"run_view_type": "SOME"},
                                    {"order_by": ["metrics.a", "metrics.a DESC"]}, {"order_by": ["metrics.a SIDEWAYS"]},
                                    {"experiment_ids": ["x"]}, {"filter": "a or b"}, {"page_token": "x"}])  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused(desk: Desk, change: dict[str, Any]) -> None:
    body = {"experiment_ids": ["0"], **change}
    status, said = desk.tracking("POST", f"{API}/runs/search", body)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_an_experiment_that_is_not_there_has_no_runs(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment)
    for asked in (["0", "77", experiment, experiment], [experiment]):
        found = desk.tracking.ok("POST", f"{API}/runs/search", {"experiment_ids": asked})
        assert [r["info"]["run_id"] for r in found["runs"]] == [run]
    assert desk.tracking.ok("POST", f"{API}/runs/search", {"experiment_ids": []}) == {"runs": []}


def test_a_search_of_ten_settled_runs_and_one_that_is_open_is_three_reads() -> None:
    world = World(tables=CountedTables())
    for start in range(11):
        world.log(world.begin(start, 0), {"a": float(start)}, {}, {})
    world.settle(0, set(world.run_ids[:10]).__contains__)
    asked: dict[str, Any] = {"filter": "metrics.a > 1", "order_by": ["metrics.a DESC"]}
    world.search(experiment_ids=world.experiments[:1], **asked)
    assert isinstance(world.tables, CountedTables)
    world.tables.read.clear()
    world.blobs.asked.clear()
    found, _ = world.search(experiment_ids=world.experiments[:1], **asked)
    assert len(found) == 9
    assert world.blobs.asked == []
    assert sorted(world.tables.read) == ["WS#default#EXPERIMENT#1", "WS#default#EXPERIMENTS", "several"]


def test_a_search_back_in_time_opens_no_part_before_it_gets_there() -> None:
    world = World()
    for start in range(9):
        world.begin(start, 0)
    for first in (0, 3, 6):
        world.settle(0, set(world.run_ids[first : first + 3]).__contains__)

    def opened() -> int:
        return len({key.rpartition(".")[0] for key in world.blobs.asked})

    world.blobs.asked.clear()
    pages = world.pages([2], experiment_ids=world.experiments[:1])
    assert [(len(page), opened()) for page in pages] == [(2, 1), (2, 2), (2, 3), (2, 3), (1, 3)]
    world.cache.clear()
    world.blobs.asked.clear()
    world.search(order_by=["attributes.end_time"], max_results=1)
    assert opened() == 3


@pytest.mark.parametrize("settled", [(), (0,), (0, 1, 2, 3)])
@pytest.mark.parametrize(("hard", "pages"), [("x", [2, 2]), ("\\", [1, 1, 1, 1]), ("é", [2, 2])])
def test_a_page_ends_before_its_answer_is_too_long(settled: tuple[int, ...], hard: str, pages: list[int]) -> None:
    world = World()
    for start in range(4):
        run_id = world.begin(start, 0)
        for part in range(2):
            text = hard * (8000 // len(json.dumps(hard, ensure_ascii=False)[1:-1].encode()))
            world.log(run_id, {}, {}, {f"t{part}.{n}": text for n in range(100)})
    world.settle(0, lambda run_id: world.run_ids.index(run_id) in settled)
    seen = list(world.pages([4]))
    assert [len(page) for page in seen] == pages
    assert [run["info"]["run_id"] for page in seen for run in page] == world.run_ids[::-1]
    for page in seen:
        body = json.dumps({"runs": page}, ensure_ascii=False)
        assert len(json.dumps(body, ensure_ascii=False).encode()) < LAMBDA_BYTES


@pytest.mark.parametrize("settled", [False, True])
def test_a_run_that_is_too_long_by_itself_is_told_without_what_its_dataset_looks_like(settled: bool) -> None:
    world = World()
    run_id = world.begin(1, 0)
    dataset = m.Dataset.model_validate({"name": "a", "digest": "d", "profile": '"' * 1_500_000, "schema": "{}"})
    message = m.LogInputs(run_id=run_id, datasets=(m.DatasetInput(dataset=dataset),))
    runs.log_inputs(world.call(), message, **world.given)
    world.begin(0, 0)
    world.settle(0, lambda _: settled)
    first, second = world.pages([10])
    read = [one["dataset"] for one in first[0]["inputs"]["dataset_inputs"]]
    assert read == [{"name": "a", "digest": "d", "schema": "{}"}]
    assert len(second) == 1


def test_a_snapshot_that_was_replaced_meanwhile_is_read_again(desk: Desk) -> None:
    world = World(tables=desk.tables)
    experiment = world.experiments[0]
    world.begin(1, 0)
    world.settle(0, lambda _: True)
    parts, v = world.store.parts(experiment)
    world.tables.write([world.store.put_parts(experiment, [parts[0].model_copy(update={"id": "removed"})], v)])
    body = {"experiment_ids": [experiment]}
    assert desk.tracking("POST", f"{API}/runs/search", body)[0] in (409, 503)
    world.tables.write([world.store.put_parts(experiment, [], v + 1)])
    assert desk.tracking.ok("POST", f"{API}/runs/search", body) == {"runs": []}


# --- tokens ------------------------------------------------------------------------------


def test_a_token_is_of_one_search_alone() -> None:
    world = World()
    for start in range(3):
        world.begin(start, 0)
    asked: dict[str, Any] = {"filter": "start_time >= 0", "order_by": ["metrics.a"], "run_view_type": "ALL"}
    _, token = world.search(max_results=1, **asked)
    assert len(world.search(max_results=2, page_token=token, **asked)[0]) == 2
    for change in (
        {"filter": "start_time >= 1"},
        {"order_by": ["metrics.a DESC"]},
        {"run_view_type": "ACTIVE_ONLY"},
        {"experiment_ids": ["1"]},
    ):
        with pytest.raises(InvalidInput, match="page token"):
            world.search(page_token=token, **{**asked, **change})


@pytest.mark.parametrize(
    "said",
    [
        [[], 1, "r"],
        [["x"], 1, "r"],
        [[0.5], "1", "r"],
        [[0.5], 1, 1],
        [[0.5], 2**63, "r"],
        [[True], 1, "r"],
        [[[]], 1, "r"],
    ],
)
def test_a_token_that_fits_no_order_is_refused(said: list[Any]) -> None:
    orders = RUNS.orders(["metrics.a"])
    known = Ordering.of(orders, "said", "", numbers=RUNS.numbers)
    assert Ordering.of(orders, "said", known.token(Spot((0.5,), 1, "r")), numbers=RUNS.numbers).after == (
        (0.5,),
        1,
        "r",
    )
    token = urlsafe_b64encode(json.dumps([known.digest, *said]).encode()).decode()
    with pytest.raises(InvalidInput, match="page token"):
        Ordering.of(orders, "said", token, numbers=RUNS.numbers)


def test_letters_that_are_none_are_found_nowhere() -> None:
    world = World()
    for start in (1, 2):
        world.begin(start, 0)
    world.settle(0, {world.run_ids[0]}.__contains__)
    for filter_ in ("attributes.run_id = '\ud800'", "tags.t = '\ud800'"):
        assert world.search(filter=filter_) == ([], "")


VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.just([1])


@settings(max_examples=300)
@given(
    st.lists(VALUES, max_size=3) | VALUES,
    VALUES,
    VALUES,
    st.lists(st.sampled_from(["metrics.a", "tags.t"]), unique=True),
)
def test_a_forged_token_is_refused_or_harmless(values: Any, time: Any, identity: Any, keys: list[str]) -> None:
    orders = RUNS.orders(keys)
    digest = Ordering.of(orders, "said", "", numbers=()).digest
    token = urlsafe_b64encode(json.dumps([digest, values, time, identity]).encode()).decode()
    try:
        ordering = Ordering.of(orders, "said", token, numbers=())
    except InvalidInput:
        return
    assert ordering.after is not None
    known = [Spot(tuple(0.5 if key == "metrics.a" else "x" for key in keys), 1, "r"), Spot((None,) * len(keys), 1, "r")]
    assert set(ordering.rest(known, lambda spot: spot)) <= set(known)
    assert Ordering.of(orders, "said", ordering.token(ordering.after), numbers=()).token(ordering.after) == (
        ordering.token(ordering.after)
    )


@given(st.text(max_size=30) | st.binary(max_size=30).map(lambda raw: urlsafe_b64encode(raw).decode()))
def test_any_text_as_a_token_is_refused(text: str) -> None:
    if text:
        with pytest.raises(InvalidInput, match="page token"):
            Ordering.of((), "said", text, numbers=())


# --- logged models -----------------------------------------------------------------------


@pytest.fixture
def models(desk: Desk) -> Any:
    """Four logged models with metrics; returns a search that gives their names, page by page."""
    experiment = desk.experiment()
    run = desk.run(experiment)
    measured: dict[str, list[tuple[Any, int, str, str]]] = {
        "a": [(0.9, 0, "train", "1"), (0.4, 0, "test", "2")],
        "b": [(0.8, 0, "train", "1"), (0.1, 1, "train", "3")],
        "c": [("NaN", 0, "test", "2")],
        "d": [],
    }
    for name, metrics in measured.items():
        body = {"experiment_id": experiment, "name": name, "tags": [{"key": "t", "value": name.upper()}]}
        model = desk.tracking.ok("POST", f"{API}/logged-models", body)["model"]["info"]["model_id"]
        for value, step, dataset, digest in metrics:
            point = {"run_id": run, "key": "auc", "value": value, "timestamp": 1, "step": step, "model_id": model}
            desk.tracking.ok(
                "POST", f"{API}/runs/log-metric", {**point, "dataset_name": dataset, "dataset_digest": digest}
            )

    def search(filter_: str = "", *order_by: Any, pages: int = 1, **more: Any) -> str:
        order = [{"field_name": field} if isinstance(field, str) else field for field in order_by]
        body: dict[str, Any] = {"experiment_ids": [experiment], "filter": filter_, "order_by": order, **more}
        names = []
        for _ in range(pages):
            answer = desk.tracking.ok("POST", f"{API}/logged-models/search", body)
            names.append("".join(model["info"]["name"] for model in answer["models"]))
            body["page_token"] = answer.get("next_page_token", "")
        assert not body["page_token"]
        return " ".join(names)

    search.body = {"experiment_ids": [experiment]}  # type: ignore[attr-defined]
    return search


def test_logged_models_are_filtered_by_what_was_measured_last(models: Any) -> None:
    assert models("metrics.auc > 0.3", "name") == "a"
    assert models("metrics.auc <= 0.1") == "b"
    assert models("metrics.auc != 7", "name") == "abc"
    assert models("tags.t = 'D'") == "d"
    assert models("name IN ('a', 'd')", "name") == "ad"


def test_logged_models_are_filtered_by_what_was_measured_on_a_dataset(models: Any) -> None:
    assert models("", "name", datasets=[{"dataset_name": "train"}]) == "ab"
    assert models("", "name", datasets=[{"dataset_name": "train", "dataset_digest": "3"}]) == "b"
    assert models("", datasets=[{"dataset_name": "nothing"}]) == ""
    assert models("metrics.auc > 0.5", "name", datasets=[{"dataset_name": "train"}]) == "a"
    both = [{"dataset_name": "train", "dataset_digest": "1"}, {"dataset_name": "test"}]
    assert models("metrics.auc > 0.5", "name", datasets=both) == "ab"
    assert models("", "name", datasets=both) == "abc"


def test_logged_models_are_ordered_by_what_was_measured_on_a_dataset(models: Any) -> None:
    assert models("", "metrics.auc", "name")[:2] == "ba"
    assert models("", "metrics.auc", "name")[2:] == "cd"
    falling = {"field_name": "metrics.auc", "ascending": False, "dataset_name": "train", "dataset_digest": "1"}
    assert models("", falling, "name") == "abcd"
    assert models("", {**falling, "ascending": True}, "name") == "bacd"
    assert models(
        "", {"field_name": "metrics.auc", "dataset_name": "test"}, {"field_name": "name", "ascending": False}
    ) == ("acdb")


def test_logged_models_come_in_pages_of_one_search(models: Any, desk: Desk) -> None:
    assert models("", "metrics.auc", "name", max_results=1, pages=4) == "b a c d"
    assert models("", {"field_name": "name", "ascending": False}, max_results=3, pages=2) == "dcb a"
    first = desk.tracking.ok("POST", f"{API}/logged-models/search", {**models.body, "max_results": 1})
    for change in (
        {"filter": "name != 'x'"},
        {"order_by": [{"field_name": "name"}]},
        {"datasets": [{"dataset_name": "train"}]},
        {"experiment_ids": ["0"]},
    ):
        body = {**models.body, "page_token": first["next_page_token"], **change}
        status, said = desk.tracking("POST", f"{API}/logged-models/search", body)
        assert (status, "page token" in said["message"]) == (400, True)


@pytest.mark.parametrize(
    "change",
    [
        {"experiment_ids": []}, {"datasets": [{"dataset_digest": "1"}]}, {"order_by": [{"field_name": "colour"}]},
        {"order_by": [{"field_name": "params.a"}]}, {"filter": "metrics.auc > 'x'"}, {"max_results": -1},
        {"order_by": [{"field_name": "metrics.auc", "dataset_digest": "1"}]}, {"order_by": [{}]},
    ],
)  # fmt: skip
def test_a_search_of_logged_models_that_makes_no_sense_is_refused(
    models: Any, desk: Desk, change: dict[str, Any]
) -> None:
    assert desk.tracking("POST", f"{API}/logged-models/search", {**models.body, **change})[0] == 400


# --- experiments -------------------------------------------------------------------------


def test_experiments_are_ordered_by_number_not_by_digits(desk: Desk) -> None:
    for number in range(11):
        desk.experiment(f"e{number}")

    def ids(**what: Any) -> list[str]:
        found = desk.tracking.ok("POST", f"{API}/experiments/search", what)
        return [experiment["experiment_id"] for experiment in found["experiments"]]

    assert ids(order_by=["experiment_id DESC"]) == [str(number) for number in range(11, -1, -1)]
    assert ids(order_by=["attributes.experiment_id ASC"], max_results=3) == ["0", "1", "2"]
    assert ids(filter="attribute.experiment_id = '10'") == ["10"]


def test_experiments_of_one_time_come_by_their_ids(desk: Desk) -> None:
    at = {"x_modelwright_as_of": "2026-03-02T00:00:00Z"}
    for number in range(3):
        desk.tracking("POST", f"{API}/experiments/create", {"name": f"e{number}"}, **at)
    found = desk.tracking("POST", f"{API}/experiments/search", {"filter": "name LIKE 'e%'"}, **at)[1]
    assert [experiment["experiment_id"] for experiment in found["experiments"]] == ["1", "2", "3"]
    body = {"filter": "name LIKE 'e%'", "order_by": ["creation_time"]}
    found = desk.tracking("POST", f"{API}/experiments/search", body, **at)[1]
    assert [experiment["experiment_id"] for experiment in found["experiments"]] == ["3", "2", "1"]


def test_no_experiment_comes_twice_when_others_are_made_between_pages(desk: Desk) -> None:
    for number in range(4):
        desk.experiment(f"e{number}")
    seen, token = [], ""
    for number in range(3):
        body = {"filter": "name LIKE 'e%'", "max_results": 2, "page_token": token}
        answer = desk.tracking.ok("POST", f"{API}/experiments/search", body)
        seen += [experiment["name"] for experiment in answer["experiments"]]
        if not (token := answer.get("next_page_token", "")):
            break
        desk.experiment(f"extra{number}")
    assert sorted(name for name in seen if not name.startswith("extra")) == ["e0", "e1", "e2", "e3"]
    assert len(set(seen)) == len(seen)


def test_a_token_of_experiments_is_of_one_search_alone(desk: Desk) -> None:
    desk.experiment()
    first = desk.tracking.ok("GET", f"{API}/experiments/search?max_results=1")
    token = first["next_page_token"]
    assert desk.tracking("GET", f"{API}/experiments/search?max_results=1&page_token={token}")[0] == 200
    assert desk.tracking("GET", f"{API}/experiments/search?view_type=ALL&page_token={token}")[0] == 400
