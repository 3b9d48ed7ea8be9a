import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from support.http import Caller, handler_of, memory_wiring
from support.mlflow_desk import API

from modelwright.adapters.memory import MemoryTables
from modelwright.storage import Item, Key, Page, TableName

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
IS_PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}


class CountedTables(MemoryTables):
    """``MemoryTables`` that count the reads."""

    reads = 0

    def get(self, table: TableName, key: Key) -> Item | None:
        self.reads += 1
        return super().get(table, key)

    def query(self, *where: Any, **options: Any) -> Page:
        self.reads += 1
        return super().query(*where, **options)

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        before = self.reads
        found = super().batch_get(table, keys, attributes)
        self.reads = before + 1
        return found


@pytest.fixture
def tables() -> CountedTables:
    return CountedTables()


@pytest.fixture
def registry(tables: CountedTables) -> Caller:
    return Caller(handler_of("registry", memory_wiring(tables=tables)))


def model(registry: Caller, name: str, **more: Any) -> None:
    registry.ok("POST", f"{RM}/create", {"name": name, **more})


def version(registry: Caller, name: str, **more: Any) -> None:
    registry.ok("POST", f"{MV}/create", {"name": name, "source": "s3://x/y", **more})


def versions(registry: Caller, filter_: str = "", **query: Any) -> list[str]:
    said = registry.ok("GET", f"{MV}/search?{urlencode({'filter': filter_, **query}, doseq=True)}")
    return [f"{found['name']}/{found['version']}" for found in said["model_versions"]]


def models(registry: Caller, filter_: str = "", **query: Any) -> list[str]:
    said = registry.ok("GET", f"{RM}/search?{urlencode({'filter': filter_, **query}, doseq=True)}")
    return [found["name"] for found in said["registered_models"]]


def test_the_versions_of_a_run_are_found_without_a_look_at_the_models(registry: Caller, tables: CountedTables) -> None:
    for n in range(30):
        model(registry, f"model {n}")
        version(registry, f"model {n}", run_id=f"r{n % 10}")
        version(registry, f"model {n}", run_id="other")
    version(registry, "model 7", run_id="r7")
    tables.reads = 0
    assert versions(registry, "run_id = 'r7'") == ["model 7/3", "model 27/1", "model 17/1", "model 7/1"]
    assert tables.reads == 2
    assert len(versions(registry, "run_id IN ('r7', 'r8', 'r7')")) == 7
    assert versions(registry, "run_id = 'nobody'") == []


def test_versions_of_a_run_follow_renames_and_deletions(registry: Caller) -> None:
    for name in ("a", "b", "c"):
        model(registry, name)
        version(registry, name, run_id="r")
    registry.ok("POST", f"{RM}/rename", {"name": "a", "new_name": "z"})
    registry.ok("DELETE", f"{RM}/delete", {"name": "b"})
    registry.ok("DELETE", f"{MV}/delete", {"name": "c", "version": "1"})
    assert versions(registry, "run_id = 'r'") == ["z/1"]
    assert versions(registry, "run_id = 'r' AND name = 'a'") == []
    assert versions(registry, "name = 'z'") == ["z/1"]


def test_versions_without_a_run_are_found_by_that(registry: Caller) -> None:
    model(registry, "a")
    version(registry, "a")
    version(registry, "a", run_id="r")
    assert versions(registry, "run_id = ''") == ["a/1"]
    assert versions(registry, "run_id != 'r'") == ["a/1"]


def test_models_are_found_by_how_their_names_begin(registry: Caller, tables: CountedTables) -> None:
    for name in ("ab", "abc", "a_c", "b", "Abc"):
        model(registry, name)
        version(registry, name)
    assert models(registry, "name LIKE 'ab%'") == ["ab", "abc"]
    assert models(registry, "name LIKE 'a_c'") == ["a_c", "abc"]
    assert models(registry, "name ILIKE 'ab%'") == ["Abc", "ab", "abc"]
    assert models(registry, "name IN ('b', 'abc', 'none', '', 'b')") == ["abc", "b"]
    assert models(registry, "name != 'b' AND name LIKE 'b%'") == []
    assert versions(registry, "name LIKE 'ab%'", order_by="name ASC") == ["ab/1", "abc/1"]


def test_versions_are_compared_by_their_number_and_source(registry: Caller) -> None:
    model(registry, "a")
    for source in ("s3://x/1", "s3://x/2", "S3://x/1"):
        version(registry, "a", source=source)
    assert versions(registry, "version_number >= 2", order_by="version_number ASC") == ["a/2", "a/3"]
    assert versions(registry, "version_number = '2'") == ["a/2"]
    assert versions(registry, "source_path LIKE 's3:%' AND version_number < 2") == ["a/1"]


def test_prompts_are_hidden_until_they_are_asked_for(registry: Caller) -> None:
    model(registry, "plain")
    model(registry, "prompt", tags=[IS_PROMPT])
    version(registry, "plain")
    version(registry, "prompt", tags=[IS_PROMPT])
    version(registry, "prompt")
    key = "tags.`mlflow.prompt.is_prompt`"
    for hiding in ("", f"{key} != 'true'", f"{key} = 'false'", f"{key} LIKE '%'"):
        assert (models(registry, hiding), versions(registry, hiding)) == (["plain"], ["plain/1"])
    for asking in (f"{key} = 'true'", f"{key} = 'true' AND {key} LIKE 't%'", f"{key} != 'false'"):
        assert (models(registry, asking), versions(registry, asking)) == (["prompt"], ["prompt/1"])


def test_pages_stay_what_they_are_while_models_come_and_go(registry: Caller) -> None:
    for name in "bdfhj":
        model(registry, name)
    first = registry.ok("GET", f"{RM}/search?max_results=2")
    model(registry, "a")
    registry.ok("DELETE", f"{RM}/delete", {"name": "b"})
    registry.ok("DELETE", f"{RM}/delete", {"name": "f"})
    model(registry, "e")
    second = registry.ok("GET", f"{RM}/search?max_results=2&page_token={first['next_page_token']}")
    third = registry.ok("GET", f"{RM}/search?max_results=2&page_token={second['next_page_token']}")
    names = [[found["name"] for found in page["registered_models"]] for page in (first, second, third)]
    assert names == [["b", "d"], ["e", "h"], ["j"]]
    assert "next_page_token" not in third


@pytest.mark.parametrize("order", ["", "version_number DESC", "name DESC"])
def test_pages_of_versions_hold_each_once(registry: Caller, order: str) -> None:
    for name in "abc":
        model(registry, name)
        for _ in range(3):
            version(registry, name)
    query: dict[str, Any] = {"max_results": 4} | ({"order_by": order} if order else {})
    found, token = [], ""
    while True:
        said = registry.ok("GET", f"{MV}/search?{urlencode({**query, 'page_token': token})}")
        found += [f"{each['name']}/{each['version']}" for each in said["model_versions"]]
        if not (token := said.get("next_page_token", "")):
            break
    assert found == versions(registry, **({"order_by": order} if order else {}))
    assert len(found) == 9


@pytest.mark.parametrize("token", ["x", "e30=", "WyJhIiwgMV0=", "bnVsbA=="])
def test_a_foreign_page_token_is_refused(registry: Caller, token: str) -> None:
    assert registry("GET", f"{RM}/search?page_token={token}")[0] == 400


def test_a_page_token_of_another_search_is_refused(registry: Caller) -> None:
    for name in "ab":
        model(registry, name)
    token = registry.ok("GET", f"{RM}/search?max_results=1")["next_page_token"]
    assert registry("GET", f"{RM}/search?max_results=1&order_by=name&page_token={token}")[0] == 400


def test_the_newest_version_of_each_stage_is_found_directly(registry: Caller, tables: CountedTables) -> None:
    model(registry, "a")
    for _ in range(4):
        version(registry, "a")

    def latest() -> dict[str, str]:
        found = registry.ok("GET", f"{RM}/get?name=a")["registered_model"].get("latest_versions", [])
        return {each["current_stage"]: each["version"] for each in found}

    def move(number: str, stage: str) -> None:
        registry.ok("POST", f"{MV}/transition-stage", {"name": "a", "version": number, "stage": stage})

    assert latest() == {"None": "4"}
    move("4", "Production")
    move("2", "Production")
    assert latest() == {"None": "3", "Production": "4"}
    registry.ok("DELETE", f"{MV}/delete", {"name": "a", "version": "4"})
    assert latest() == {"None": "3", "Production": "2"}
    move("2", "Archived")
    assert latest() == {"None": "3", "Archived": "2"}
    tables.reads = 0
    latest()
    assert tables.reads == 2
    assert [v["version"] for v in registry.ok("GET", f"{RM}/search")["registered_models"][0]["latest_versions"]] == [
        "3",
        "2",
    ]


def test_a_page_holds_no_more_than_an_answer_may(registry: Caller) -> None:
    long = {"key": "mlflow.prompt.text", "value": '"' * 90_000}
    for name in ("a", "b"):
        model(registry, name)
        for _ in range(20):
            version(registry, name, tags=[long])
    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        said = registry.ok("GET", f"{MV}/search?{urlencode({'order_by': 'name ASC', 'page_token': token})}")
        assert len(json.dumps(json.dumps(said))) < 6_000_000
        seen += [f"{found['name']}/{found['version']}" for found in said["model_versions"]]
        token, pages = said.get("next_page_token", ""), pages + 1
    assert seen == [f"{name}/{number}" for name in "ab" for number in range(20, 0, -1)]
    assert pages == 4
    shown = registry.ok("GET", "/v1/models/a")
    assert len(json.dumps(json.dumps(shown))) < 6_000_000
    assert [each["version"] for each in shown["versions"]] == list(range(shown["versions_left_out"] + 1, 21))


def test_what_does_not_fit_into_an_item_is_refused(registry: Caller) -> None:
    model(registry, "a")
    tags = [{"key": f"k{number}", "value": "x" * 90_000} for number in range(5)]
    status, said = registry("POST", f"{MV}/create", {"name": "a", "source": "s3://x/y", "tags": tags})
    assert status == 413
    assert "a model version with all its texts has 450" in said["message"]
    assert versions(registry) == []
