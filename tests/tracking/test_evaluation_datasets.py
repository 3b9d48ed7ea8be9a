import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.client import needs_mlflow, run_client
from support.http import ServedBlobs
from support.mlflow_desk import Desk

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import Unavailable
from modelwright.governance.access import Grant
from modelwright.storage import BucketName, Item, Key, Stored, TableName, Write

V3 = "/api/3.0/mlflow/datasets"
INVALID, UNKNOWN = (400, "INVALID_PARAMETER_VALUE"), (404, "RESOURCE_DOES_NOT_EXIST")


class Hindered(MemoryTables):
    """``MemoryTables`` that do something else before one of their writes, which may be to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: dict[int, Callable[[], None]] = {}
        self.writes = 0
        self.reading: Callable[[], None] | None = None

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        number, self.writes = self.writes, self.writes + 1
        if deed := self.plan.pop(number, None):
            deed()
        super().write(writes)

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``."""
        deed, self.reading = self.reading, None
        if deed:
            deed()
        return super().batch_get(table, keys, attributes)


class HinderedBlobs(ServedBlobs):
    """``ServedBlobs`` that do something else before the next reading."""

    deed: Callable[[], None] | None = None

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        deed, self.deed = self.deed, None
        if deed:
            deed()
        return super().get(bucket, key, version)


def fail() -> None:
    raise Unavailable("the table did not answer")


def create(desk: Desk, *experiments: str, name: str = "questions", **tags: Any) -> str:
    body = {"name": name, "experiment_ids": list(experiments), "tags": json.dumps(tags)}
    identity: str = desk.tracking.ok("POST", f"{V3}/create", body)["dataset"]["dataset_id"]
    return identity


def get(desk: Desk, dataset: str) -> dict[str, Any]:
    found: dict[str, Any] = desk.tracking.ok("GET", f"{V3}/{dataset}")["dataset"]
    return found


def question(number: int, **more: Any) -> dict[str, Any]:
    return {"inputs": {"question": number}, **more}


def upsert(desk: Desk, dataset: str, *records: dict[str, Any]) -> tuple[int, int]:
    said = desk.tracking.ok("POST", f"{V3}/{dataset}/records", {"records": json.dumps(records)})
    return said["inserted_count"], said["updated_count"]


def records(desk: Desk, dataset: str, limit: int = 1000) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = desk.tracking.ok("GET", f"{V3}/{dataset}/records?max_results={limit}&page_token={token}")
        found += json.loads(page["records"])
        if not (token := page.get("next_page_token", "")):
            return found


def numbers(desk: Desk, dataset: str, limit: int = 1000) -> list[int]:
    return [record["inputs"]["question"] for record in records(desk, dataset, limit)]


def search(desk: Desk, filter_: str = "", **more: Any) -> list[str]:
    found = desk.tracking.ok("POST", f"{V3}/search", {"filter_string": filter_, **more})
    return [dataset["name"] for dataset in found["datasets"]]


def left(desk: Desk) -> list[str]:
    """Return what is kept of evaluation datasets."""
    items = [key.pk for key in desk.tables._items["tracking"] if "EVALUATION" in key.pk]
    return items + [line.key for line in desk.blobs.list("lake", "tracking/default/evaluation_datasets/")]


@pytest.mark.peers
@needs_mlflow
def test_the_stock_client_keeps_evaluation_datasets(desk: Desk, tmp_path: Path) -> None:
    run_client(desk, Path(__file__).with_name("evaluated.py"), tmp_path)


def test_what_is_told_of_a_record_comes_back(desk: Desk) -> None:
    dataset = create(desk, "0", team="x", round=2)
    source = {"source_type": "trace", "source_data": {"trace_id": "tr-1"}}
    told = question(1, outputs=[1], expectations={"a": None}, tags={"mlflow.user": "bob"}, source=source)
    assert upsert(desk, dataset, told, question(2), question(2, outputs=None, tags={"t": "1"})) == (2, 1)
    first, second = records(desk, dataset)
    assert (first["dataset_id"], first["outputs"], first["expectations"]) == (dataset, [1], {"a": None})
    assert (first["source"]["source_type"], first["source_type"], first["source_id"]) == ("TRACE", "TRACE", "tr-1")
    assert (first["created_by"], first["last_updated_by"]) == ("bob", "bob")
    assert ("outputs" in second, second["tags"], "source" in second) == (False, {"t": "1"}, False)
    found = get(desk, dataset)
    assert json.loads(found["tags"]) == {"team": "x", "round": "2"}
    assert json.loads(found["schema"]) == {
        "inputs": {"question": "integer"}, "outputs": "array", "expectations": {"a": "null"}, "version": "1.0",
    }  # fmt: skip
    assert (json.loads(found["profile"]), found["last_updated_by"]) == ({"num_records": 2}, "bob")


@given(
    deeds=st.lists(
        st.tuples(st.sampled_from(["upsert", "delete"]), st.sets(st.integers(0, 700), max_size=300), st.randoms()),
        max_size=5,
    )
)
def test_records_are_those_that_were_told_in_the_order_in_which_they_came(
    deeds: list[tuple[str, set[int], random.Random]],
) -> None:
    desk = Desk()
    dataset = create(desk, "0")
    expected: dict[int, int] = {}
    for turn, (deed, chosen, shuffle) in enumerate(deeds):
        each = shuffle.sample(sorted(chosen), len(chosen))
        if deed == "upsert":
            new = len(chosen - expected.keys())
            told = (question(n, expectations={"turn": turn}) for n in each)
            assert upsert(desk, dataset, *told) == (new, len(chosen) - new)
            expected |= dict.fromkeys(each, turn)
        else:
            ids = [r["dataset_record_id"] for r in records(desk, dataset) if r["inputs"]["question"] in chosen]
            said = desk.tracking.ok("DELETE", f"{V3}/{dataset}/records", {"dataset_record_ids": [*ids, "dr-no"]})
            assert said == {"deleted_count": len(chosen & expected.keys())}
            expected = {n: turn for n, turn in expected.items() if n not in chosen}
        found = records(desk, dataset, limit=150)
        assert [(r["inputs"]["question"], r["expectations"]["turn"]) for r in found] == list(expected.items())
    assert json.loads(get(desk, dataset).get("profile", "{}")).get("num_records", 0) == len(expected)
    desk.tracking.ok("DELETE", f"{V3}/{dataset}")
    assert left(desk) == []


def test_an_upsert_that_is_interrupted_anywhere_changed_all_or_nothing_and_may_come_again() -> None:
    seen = set()
    for number in range(20):
        desk = Desk(tables=Hindered())
        assert isinstance(desk.tables, Hindered)
        dataset = create(desk, "0")
        upsert(desk, dataset, *map(question, range(300)))
        desk.tables.plan = {desk.tables.writes + number: fail}
        told = [question(n, tags={"again": "1"}) for n in range(100, 900)]
        status, _ = desk.tracking("POST", f"{V3}/{dataset}/records", {"records": json.dumps(told)})
        count = len(numbers(desk, dataset))
        assert [("again" in r["tags"]) for r in records(desk, dataset)].count(True) in (0, 800)
        assert count in (300, 900)
        seen.add((status, count))
        desk.tables.plan.clear()
        upsert(desk, dataset, *told)
        assert numbers(desk, dataset) == list(range(900))
        if status == 200:
            break
    assert seen == {(503, 300), (503, 900), (200, 900)}


def test_upserts_that_meet_both_happen() -> None:
    for number in range(5):
        desk = Desk(tables=Hindered())
        assert isinstance(desk.tables, Hindered)
        dataset = create(desk, "0")
        upsert(desk, dataset, *map(question, range(10)))

        def meet(desk: Desk = desk, dataset: str = dataset) -> None:
            upsert(desk, dataset, question(5, tags={"t": "other"}), question(100))

        desk.tables.plan = {desk.tables.writes + number: meet}
        upsert(desk, dataset, question(5, expectations={"a": 1}), question(200))
        met = desk.tables.plan == {}
        found = {record["inputs"]["question"]: record for record in records(desk, dataset)}
        assert sorted(found) == [*range(10), *([100] if met else []), 200]
        assert (found[5]["expectations"], found[5]["tags"]) == ({"a": 1}, {"t": "other"} if met else {})


@pytest.mark.parametrize("long", [False, True])
def test_who_reads_while_records_change_reads_them_as_they_are_then(long: bool) -> None:
    tables, blobs = Hindered(), HinderedBlobs()
    desk = Desk(tables=tables, blobs=blobs)
    dataset = create(desk, "0")
    upsert(desk, dataset, question(1, outputs=random.Random(1).randbytes(400_000).hex()))

    def change() -> None:
        upsert(desk, dataset, question(1, outputs="new"))

    if long:
        blobs.deed = change
    else:
        tables.reading = change
    assert [record["outputs"] for record in records(desk, dataset)] == ["new"]
    assert blobs.deed is tables.reading is None


def test_a_deletion_that_is_interrupted_hides_the_dataset_and_may_come_again() -> None:
    for number in range(3):
        desk = Desk(tables=Hindered())
        assert isinstance(desk.tables, Hindered)
        dataset = create(desk, "0")
        upsert(
            desk, dataset, *map(question, range(10)), question(99, outputs=random.Random(1).randbytes(400_000).hex())
        )
        desk.tables.plan = {desk.tables.writes + number: fail}
        assert desk.tracking("DELETE", f"{V3}/{dataset}")[0] == 503
        assert (search(desk) == []) == (number > 0)
        assert desk.tracking("GET", f"{V3}/{dataset}/records")[0] == (404 if number else 200)
        desk.tracking.ok("DELETE", f"{V3}/{dataset}")
        assert left(desk) == []


def test_long_records_come_back_and_answers_stay_short(desk: Desk) -> None:
    dataset = create(desk, "0")
    texts = [random.Random(n).randbytes(500_000).hex() for n in range(4)]
    for number, text in enumerate(texts):
        upsert(desk, dataset, question(number, outputs=text))
    upsert(desk, dataset, question(0, outputs="short"))
    assert [record["outputs"] for record in records(desk, dataset)] == ["short", *texts[1:]]
    for number in range(10, 14):
        upsert(desk, dataset, question(number, outputs='"\\' * 100_000))
    first = desk.tracking.ok("GET", f"{V3}/{dataset}/records")
    assert len(json.dumps(json.dumps(first))) < 6_000_000
    assert numbers(desk, dataset) == [0, 1, 2, 3, 10, 11, 12, 13]
    too_long = [question(20), question(21, outputs='"' * 900_000)]
    status, said = desk.tracking("POST", f"{V3}/{dataset}/records", {"records": json.dumps(too_long)})
    assert (status, "5000000" in said["message"]) == (413, True)
    assert numbers(desk, dataset) == [0, 1, 2, 3, 10, 11, 12, 13]


def test_datasets_are_searched_page_by_page(desk: Desk) -> None:
    one, two = desk.experiment("one"), desk.experiment("two")
    for name, places, team in (("a", [one], "x"), ("b", [one, two], "y"), ("c", [two], "x"), ("d", [], "y")):
        create(desk, *places, name=name, team=team)
    assert sorted(search(desk)) == ["a", "b", "c", "d"]
    assert search(desk, experiment_ids=[one], order_by=["name DESC"]) == ["b", "a"]
    assert search(desk, "tags.team = 'x' AND created_time > 0", order_by=["name"]) == ["a", "c"]
    assert search(desk, "name IN ('a', 'd') AND created_by = 'ann'", order_by=["name"]) == ["a", "d"]
    found, token = [], ""
    while True:
        query = f"max_results=2&order_by=name&experiment_ids={one}&experiment_ids={two}&page_token={token}"
        page = desk.tracking.ok("GET", f"{V3}/search?{query}")
        found += [dataset["name"] for dataset in page["datasets"]]
        if not (token := page.get("next_page_token", "")):
            break
    assert found == ["a", "b", "c"]


def test_the_same_request_makes_one_dataset(desk: Desk) -> None:
    body = {"name": "questions", "experiment_ids": ["0"]}
    first, again = (desk.tracking("POST", f"{V3}/create", body, idempotency_key="k") for _ in range(2))
    assert first == again
    assert len(search(desk)) == 1
    assert desk.tracking("POST", f"{V3}/create", {"name": "other"}, idempotency_key="k")[0] == 400


def test_what_makes_no_sense_is_refused(desk: Desk) -> None:
    dataset = create(desk, "0")
    upsert(desk, dataset, question(1))
    of, before = f"/{dataset}", get(desk, dataset)
    deep = "[" * 5000 + "]" * 5000
    cases: list[tuple[str, str, dict[str, Any], tuple[int, str]]] = [
        ("POST", "/create", {"name": ""}, INVALID),
        ("POST", "/create", {"name": "x" * 256}, INVALID),
        ("POST", "/create", {"name": "x", "tags": "["}, INVALID),
        ("POST", "/create", {"name": "x", "tags": {"a": "b"}}, INVALID),
        ("POST", "/create", {"name": "x", "tags": '{"a": "\\ud800"}'}, INVALID),
        ("POST", "/create", {"name": "x", "experiment_ids": ["99"]}, UNKNOWN),
        ("POST", "/create", {"name": "x", "experiment_ids": ["x"]}, INVALID),
        ("POST", "/create", {"name": "x", "experiment_ids": ["0"] * 101}, INVALID),
        ("POST", "/search", {"filter_string": "color = 'x'"}, INVALID),
        ("POST", "/search", {"order_by": ["tags.x"]}, INVALID),
        ("POST", "/search", {"page_token": "x"}, INVALID),
        ("POST", "/search", {"max_results": 0}, INVALID),
        ("PATCH", f"{of}/tags", {}, INVALID),
        ("PATCH", f"{of}/tags", {"tags": json.dumps({"x" * 251: "a"})}, INVALID),
        ("PATCH", f"{of}/tags", {"tags": json.dumps({"x": "a" * 5001})}, INVALID),
        ("POST", f"{of}/records", {}, INVALID),
        *(
            ("POST", f"{of}/records", {"records": wrong}, INVALID)
            for wrong in (
                "x",
                "{}",
                "[3]",
                deep,
                '[{"inputs": 3}]',
                '[{"inputs": {}, "source": {"source_type": "no"}}]',
            )
        ),
        ("GET", f"{of}/records?page_token=x", {}, INVALID),
        ("POST", f"{of}/add-experiments", {"experiment_ids": ["99"]}, UNKNOWN),
        ("DELETE", f"{of}/records", {}, INVALID),
    ]
    for method, path, body, expected in cases:
        status, said = desk.tracking(method, f"{V3}{path}", body)
        assert (status, said.get("error_code")) == expected, (method, path, said)
    assert (get(desk, dataset), numbers(desk, dataset)) == (before, [1])


def test_an_unknown_dataset_is_not_found(desk: Desk) -> None:
    cases: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "", None), ("DELETE", "", None), ("PATCH", "/tags", {"tags": "{}"}), ("DELETE", "/tags/k", None),
        ("POST", "/records", {"records": "[]"}), ("GET", "/records", None), ("GET", "/experiment-ids", None),
        ("DELETE", "/records", {"dataset_record_ids": []}), ("POST", "/add-experiments", {"experiment_ids": ["0"]}),
        ("POST", "/remove-experiments", {"experiment_ids": ["0"]}),
    ]  # fmt: skip
    for method, path, body in cases:
        status, said = desk.tracking(method, f"{V3}/d-nothing{path}", body)
        assert (status, said["error_code"]) == UNKNOWN, path
        assert "not found" in said["message"]


def test_who_may_read_an_experiment_reads_its_datasets_and_who_may_change_all_of_them_changes_these(desk: Desk) -> None:
    one, two = desk.experiment("one"), desk.experiment("two")
    shared, free = create(desk, one, two, name="shared"), create(desk, name="free")
    upsert(desk, shared, question(1))

    def caller(*experiments: str) -> Any:
        grants = [Grant(role="contributor", resources=f"experiment/{each}") for each in experiments]
        return desk.as_caller("tracking", grants=grants)

    told = {"records": json.dumps([question(2)])}
    assert caller(one).ok("GET", f"{V3}/{shared}/records")["records"]
    assert [d["name"] for d in caller(one).ok("GET", f"{V3}/search")["datasets"]] == ["shared"]
    assert caller("99").ok("GET", f"{V3}/search")["datasets"] == []
    for who, path, status in (("99", shared, 403), (one, free, 403), (one, shared, 200)):
        assert caller(who)("GET", f"{V3}/{path}")[0] == status
    assert caller(one)("POST", f"{V3}/{shared}/records", told)[0] == 403
    assert caller(one, two)("POST", f"{V3}/{shared}/records", told)[0] == 200
    own = create(desk, one, name="own")
    body = {"experiment_ids": [two]}
    assert caller(one)("POST", f"{V3}/{own}/add-experiments", body)[0] == 403
    assert caller(two)("POST", f"{V3}/{own}/add-experiments", body)[0] == 403
    assert caller(one, two)("POST", f"{V3}/{own}/add-experiments", body)[0] == 200
    assert caller(two)("POST", f"{V3}/create", {"name": "x", "experiment_ids": [one]})[0] == 403
    assert numbers(desk, shared) == [1, 2]
