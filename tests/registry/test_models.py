import hashlib
from typing import Any

import pytest
from support.mlflow_desk import API, Desk, sample

from modelwright.artifacts import new_model_id
from modelwright.governance.access import Grant
from modelwright.registry import folder

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
SOURCE = "mlflow-artifacts:/1/models/m-1/artifacts"


def model(desk: Desk, name: str = "flights", **more: Any) -> str:
    desk.registry.ok("POST", f"{RM}/create", {"name": name, **more})
    return name


def version(desk: Desk, name: str = "flights", source: str = SOURCE, **more: Any) -> str:
    made = desk.registry.ok("POST", f"{MV}/create", {"name": name, "source": source, **more})
    number: str = made["model_version"]["version"]
    return number


def test_a_sample_payload_makes_a_model_once(desk: Desk) -> None:
    assert desk.functions["registry"](sample("http-registry.json"))["statusCode"] == 200
    status, said = desk.registry("POST", f"{RM}/create", {"name": "flights"})
    assert (status, said["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
    assert desk.types("MODEL", "flights") == ["RegisteredModelCreated"]


@pytest.mark.parametrize("name", ["", "a/b", "a:b", ".", "x" * 257])
def test_a_name_has_rules(desk: Desk, name: str) -> None:
    assert desk.registry("POST", f"{RM}/create", {"name": name})[0] == 400


def test_a_version_is_one_above_the_highest_ever(desk: Desk) -> None:
    model(desk)
    assert [version(desk), version(desk)] == ["1", "2"]
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "flights", "version": "2"})
    assert version(desk) == "3"
    assert desk.registry("GET", f"{MV}/get?name=flights&version=2")[0] == 404
    assert desk.registry("GET", f"{MV}/get?name=flights&version=two")[0] == 400
    assert desk.registry("POST", f"{MV}/create", {"name": "nobody", "source": SOURCE})[0] == 404


def test_a_copy_that_keeps_its_number_leaves_numbers_for_others(desk: Desk) -> None:
    model(desk)
    status, said = desk.registry("POST", f"{MV}/create", {"name": "flights", "source": SOURCE, "number": 999_999_999})
    assert (status, said["message"]) == (400, "flights v999999999 cannot be made: v0 was the last")
    assert version(desk, number=100_000) == "100000"


def test_a_rename_keeps_versions_aliases_and_history(desk: Desk) -> None:
    model(desk)
    version(desk)
    desk.registry.ok("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "1"})
    desk.registry.ok("POST", f"{RM}/rename", {"name": "flights", "new_name": "delays"})
    assert desk.registry("GET", f"{RM}/get?name=flights")[0] == 404
    found = desk.registry.ok("GET", f"{RM}/alias?name=delays&alias=blue")["model_version"]
    assert (found["name"], found["version"]) == ("delays", "1")
    model(desk, "flights")
    assert version(desk, "flights") == "1"
    history = desk.registry.ok("GET", "/v1/models/delays/history")["events"]
    assert [e["type"] for e in history][-1] == "RegisteredModelChanged"
    assert desk.registry("POST", f"{RM}/rename", {"name": "delays", "new_name": "flights"})[0] == 400


def test_a_deleted_model_leaves_its_name_and_nothing_else(desk: Desk) -> None:
    model(desk)
    version(desk)
    desk.registry.ok("DELETE", f"{RM}/delete", {"name": "flights"})
    assert desk.registry("GET", f"{RM}/get?name=flights")[0] == 404
    model(desk)
    assert version(desk) == "1"
    assert [v["version"] for v in desk.registry.ok("GET", f"{MV}/search?filter=name='flights'")["model_versions"]] == [
        "1"
    ]


def test_descriptions_and_tags_come_and_go(desk: Desk) -> None:
    model(desk, tags=[{"key": "team", "value": "x"}])
    version(desk, tags=[{"key": "t", "value": "1"}], description="first")
    desk.registry.ok("PATCH", f"{RM}/update", {"name": "flights", "description": "late?"})
    desk.registry.ok("PATCH", f"{MV}/update", {"name": "flights", "version": "1", "description": "second"})
    desk.registry.ok("POST", f"{RM}/set-tag", {"name": "flights", "key": "a", "value": "b"})
    desk.registry.ok("POST", f"{MV}/set-tag", {"name": "flights", "version": "1", "key": "c", "value": "d"})
    desk.registry.ok("DELETE", f"{RM}/delete-tag", {"name": "flights", "key": "team"})
    desk.registry.ok("DELETE", f"{MV}/delete-tag", {"name": "flights", "version": "1", "key": "t"})
    found = desk.registry.ok("GET", f"{RM}/get?name=flights")["registered_model"]
    assert (found["description"], found["tags"]) == ("late?", [{"key": "a", "value": "b"}])
    (latest,) = found["latest_versions"]
    assert (latest["description"], latest["tags"]) == ("second", [{"key": "c", "value": "d"}])


def test_sources_become_prefixes_of_the_artifacts_bucket(desk: Desk) -> None:
    model(desk)
    model(desk, "m-named-so")
    version(desk, "m-named-so")
    model_id, elsewhere = new_model_id("7"), new_model_id("8")
    desk.blobs.put("artifacts", f"default/7/models/{model_id}/artifacts/MLmodel", b"flavors")
    sources = {
        SOURCE: "default/1/models/m-1/artifacts/",
        f"models:/{model_id}": f"default/7/models/{model_id}/artifacts/",
        f"runs:/{model_id[2:]}/clf": f"default/7/{model_id[2:]}/artifacts/clf/",
        "models:/flights/1": "default/1/models/m-1/artifacts/",
        "models:/m-named-so/1": "default/1/models/m-1/artifacts/",
        "s3://elsewhere/x": "",
        f"models:/{elsewhere}": "",
    }
    for number, (source, key) in enumerate(sources.items(), 1):
        assert version(desk, source=source) == str(number)
        created = desk.stream("MODEL", "flights")[-1].envelope.data
        assert (created["source"], created["artifact_key"]) == (source, key)
    uri = desk.registry.ok("GET", f"{MV}/get-download-uri?name=flights&version=4")["artifact_uri"]
    assert uri == SOURCE
    assert (
        desk.registry.ok("GET", f"{MV}/get-download-uri?name=flights&version=6")["artifact_uri"] == "s3://elsewhere/x"
    )
    uri = desk.registry.ok("GET", f"{MV}/get-download-uri?name=flights&version=7")["artifact_uri"]
    assert uri == f"models:/{elsewhere}", "clients ask where that lies"


@pytest.mark.parametrize(
    "source",
    [
        "mlflow-artifacts:/1/../../other/x", "mlflow-artifacts:/", "mlflow-artifacts:/1/a?b=c",
        "models:/x", "models:/m-1", "models:/flights/9", "runs:/r/%2e%2e/x",
    ],
)  # fmt: skip
def test_a_source_outside_is_refused(desk: Desk, source: str) -> None:
    model(desk)
    assert desk.registry("POST", f"{MV}/create", {"name": "flights", "source": source})[0] in (400, 404)
    assert desk.types("MODEL", "flights") == ["RegisteredModelCreated"]


def test_a_version_of_files_that_the_caller_may_not_read_is_refused(desk: Desk) -> None:
    model(desk)
    grants = (Grant(role="admin", resources="model/*"), Grant(role="admin", resources="experiment/2"))
    guest = desk.as_caller("registry", grants=grants)
    assert guest("POST", f"{MV}/create", {"name": "flights", "source": SOURCE})[0] == 403
    own = SOURCE.replace("/1/", "/2/")
    assert guest("POST", f"{MV}/create", {"name": "flights", "source": own})[0] == 200


def test_a_version_is_pinned_to_the_file_that_lies_there_when_it_is_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(desk)
    place = "default/1/models/m-1/artifacts/"
    version(desk)
    desk.blobs.put("artifacts", place + "model.pkl", b"first")
    version(desk)
    desk.blobs.put("artifacts", place + "model.pkl", b"put there later")
    version(desk, source="models:/flights/2")
    version(desk)
    monkeypatch.setattr(folder, "PINNED_BYTES", 14)
    version(desk)
    version(desk, source="models:/flights/5")
    first, later = (hashlib.sha256(body).hexdigest() for body in (b"first", b"put there later"))
    created = [e.envelope for e in desk.stream("MODEL", "flights") if e.envelope.type == "ModelVersionCreated"]
    assert [e.data["artifact_digest"] for e in created] == ["", first, first, later, "", ""]
    shown = desk.registry.ok("GET", "/v1/models/flights")["versions"]
    unpinned = {v["version"]: v["tags"] for v in shown if v["tags"]}
    text = "model.pkl has 15 bytes; up to 14 are read to know its digest"
    assert unpinned == {number: {"modelwright.unpinned": text} for number in (5, 6)}


def test_models_and_versions_are_found_and_prompts_hidden(desk: Desk) -> None:
    model(desk, "b", tags=[{"key": "team", "value": "x"}])
    model(desk, "a")
    model(desk, "prompt", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}])
    version(desk, "a", source="mlflow-artifacts:/1/r1/artifacts/clf", run_id="r1")
    version(desk, "b")

    def models(query: str = "") -> list[str]:
        return [m["name"] for m in desk.registry.ok("GET", f"{RM}/search?{query}").get("registered_models", [])]

    assert models() == ["a", "b"]
    assert models("filter=tags.team%3D'x'") == ["b"]
    assert models("filter=name ILIKE '%25A%25'&order_by=name DESC") == ["a"]
    assert models("order_by=name DESC&max_results=1") == ["b"]
    assert models("filter=tags.`mlflow.prompt.is_prompt` != 'true'") == ["a", "b"]
    assert models("filter=tags.`mlflow.prompt.is_prompt` = 'true'") == ["prompt"]
    found = desk.registry.ok("GET", f"{MV}/search?filter=run_id='r1'")["model_versions"]
    assert [(v["name"], v["version"]) for v in found] == [("a", "1")]
    assert desk.registry("GET", f"{MV}/search?filter=colour='r1'")[0] == 400


def test_a_version_of_a_logged_model_knows_its_run(desk: Desk) -> None:
    model(desk)
    payload = sample("registry-logged-model-created.json")
    assert desk.functions["registry"](payload) == {"outcome": "handled"}
    model_id, run_id = payload["detail"]["data"]["model_id"], payload["detail"]["data"]["run_id"]
    made = desk.registry.ok("POST", f"{MV}/create", {"name": "flights", "source": f"models:/{model_id}"})[
        "model_version"
    ]
    assert (made["run_id"], made["model_id"]) == (run_id, model_id)


def test_stages_still_work(desk: Desk) -> None:
    model(desk)
    for _ in range(2):
        version(desk)
    body = {"name": "flights", "stage": "production", "archive_existing_versions": True}
    for number in "12":
        desk.registry.ok("POST", f"{MV}/transition-stage", {**body, "version": number})
    latest = desk.registry.ok("POST", f"{RM}/get-latest-versions", {"name": "flights"})["model_versions"]
    assert [(v["version"], v["current_stage"]) for v in latest] == [("2", "Production"), ("1", "Archived")]
    assert desk.registry("POST", f"{MV}/transition-stage", {**body, "version": "1", "stage": "Live"})[0] == 400


def test_another_workspace_sees_nothing(desk: Desk) -> None:
    model(desk)
    stranger = desk.as_caller("registry", workspace="other")
    assert stranger("GET", f"{RM}/get?name=flights")[0] == 404
    assert stranger("GET", "/v1/models/flights")[0] == 404
    assert stranger.ok("GET", f"{RM}/search")["registered_models"] == []
