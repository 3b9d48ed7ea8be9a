from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk, sample

from modelwright.artifacts import checked_path, experiment_of, key_of_path, new_model_id, new_run_id, path_of
from modelwright.errors import InvalidInput
from modelwright.governance.access import Grant

ART = "/api/2.0/mlflow-artifacts"


@given(st.integers(0, 16**12 - 1))
def test_an_id_names_its_experiment(number: int) -> None:
    assert experiment_of(new_run_id(str(number))) == str(number)
    model_id = new_model_id(str(number))
    assert path_of(f"models:/{model_id}") == f"{number}/models/{model_id}/artifacts"


@given(st.text())
def test_no_path_leaves_the_workspace(path: str) -> None:
    try:
        key = key_of_path("default", path)
    except InvalidInput:
        return
    assert key.startswith("default/")
    assert not {"..", "."} & set(key.split("/"))


@pytest.mark.parametrize(
    "path", ["../x", "a/../b", "a//b", "a/./b", "%2e%2e/x", "a/%2e%2e/b", "c:/x", "a\\b", "//host/x"]
)
def test_a_path_that_climbs_is_refused(desk: Desk, path: str) -> None:
    with pytest.raises(InvalidInput):
        checked_path(path)
    assert desk.artifacts("GET", f"{ART}/artifacts?path={quote(path, safe='')}")[0] == 400
    assert desk.artifacts("PUT", f"{ART}/artifacts/{quote(path, safe='/')}", b"x")[0] in (400, 404)


def test_the_name_of_another_prefix_is_no_workspace() -> None:
    with pytest.raises(InvalidInput):
        key_of_path("projects", "default/x.whl")


def test_a_small_file_goes_through_and_is_fetched_from_the_bucket(desk: Desk) -> None:
    desk.artifacts.ok("PUT", f"{ART}/artifacts/1/r/artifacts/a/b.txt", b"hello")
    assert desk.blobs.get("artifacts", "default/1/r/artifacts/a/b.txt").body == b"hello"
    assert desk.artifacts("GET", f"{ART}/artifacts/1/r/artifacts/a/b.txt")[0] == 302
    signed = desk.artifacts.ok("GET", f"{ART}/presigned/1/r/artifacts/a/b.txt")
    assert (signed["file_size"], signed["url"].endswith("/default/1/r/artifacts/a/b.txt")) == (5, True)
    assert desk.artifacts("GET", f"{ART}/presigned/1/r/artifacts/none")[0] == 404


def test_a_listing_shows_one_level(desk: Desk) -> None:
    for path in ("x.txt", "a/b.txt", "a/c/d.txt"):
        desk.artifacts.ok("PUT", f"{ART}/artifacts/1/r/{path}", b"12")
    files = desk.artifacts.ok("GET", f"{ART}/artifacts?path=1/r")["files"]
    assert files == [{"path": "a", "is_dir": True}, {"path": "x.txt", "is_dir": False, "file_size": 2}]
    assert desk.artifacts.ok("GET", f"{ART}/artifacts?path=1/r/x.txt")["files"] == []
    desk.artifacts.ok("DELETE", f"{ART}/artifacts/1/r/a")
    assert [f["path"] for f in desk.artifacts.ok("GET", f"{ART}/artifacts?path=1/r")["files"]] == ["x.txt"]


def test_a_large_file_goes_in_parts(desk: Desk) -> None:
    made = desk.artifacts.ok("POST", f"{ART}/mpu/create/1/r", {"path": "big.bin", "num_parts": 2})
    etags = [
        {
            "part_number": c["part_number"],
            "etag": f'"{desk.blobs.take_part(made["upload_id"], c["part_number"], b"x")}"',
        }
        for c in made["credentials"]
    ]
    body = {"path": "big.bin", "upload_id": made["upload_id"], "parts": etags}
    desk.artifacts.ok("POST", f"{ART}/mpu/complete/1/r", body)
    assert desk.blobs.get("artifacts", "default/1/r/big.bin").body == b"xx"
    assert desk.artifacts("POST", f"{ART}/mpu/abort/1/r", body)[0] == 404
    assert desk.artifacts("POST", f"{ART}/mpu/create/1/r", {"path": "f", "num_parts": 10_001})[0] == 400


def test_a_sample_payload_begins_an_upload(desk: Desk) -> None:
    assert desk.functions["artifacts"](sample("http-artifacts.json"))["statusCode"] == 200


def test_a_grant_on_one_experiment_covers_its_files_alone(desk: Desk) -> None:
    guest = desk.as_caller("artifacts", grants=(Grant(role="contributor", resources="experiment/1"),))
    assert guest("PUT", f"{ART}/artifacts/1/r/x", b"x")[0] == 200
    assert guest("PUT", f"{ART}/artifacts/2/r/x", b"x")[0] == 403
    assert guest("PUT", f"{ART}/artifacts/trainings/t/x", b"x")[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "artifacts/trainings/t1/model/model.pkl", b"x"),
        ("DELETE", "artifacts/trainings/t1/model/model.pkl", b""),
        ("DELETE", "artifacts/trainings", b""),
        ("POST", "mpu/create/trainings/t1/model", {"path": "model.pkl", "num_parts": 1}),
        ("POST", "mpu/create/trainings", {"path": "model.pkl", "num_parts": 0}),
        ("POST", "mpu/complete/trainings/t1/model", {"path": "model.pkl", "upload_id": "empty"}),
    ],
)
def test_what_a_training_made_is_written_by_nobody_else(desk: Desk, method: str, path: str, body: Any) -> None:
    key = "default/trainings/t1/model/model.pkl"
    desk.blobs.put("artifacts", key, b"model")
    status, answer = desk.artifacts(method, f"{ART}/{path}", body)
    assert (status, "is the platform's" in str(answer)) == (403, True)
    assert desk.blobs.get("artifacts", key).body == b"model"
    assert desk.artifacts("GET", f"{ART}/artifacts/trainings/t1/model/model.pkl")[0] == 302


def test_another_workspace_has_other_files(desk: Desk) -> None:
    desk.artifacts.ok("PUT", f"{ART}/artifacts/1/r/x", b"x")
    assert desk.as_caller("artifacts", workspace="other")("GET", f"{ART}/artifacts/1/r/x")[0] == 404


def test_a_runs_files_are_listed_below_its_root(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment)
    desk.artifacts.ok("PUT", f"{ART}/artifacts/{experiment}/{run}/artifacts/a/b.txt", b"1")
    top = desk.tracking.ok("GET", f"{API}/artifacts/list?run_id={run}")
    assert (top["root_uri"], top["files"]) == (
        f"mlflow-artifacts:/{experiment}/{run}/artifacts",
        [{"path": "a", "is_dir": True}],
    )
    below = desk.tracking.ok("GET", f"{API}/artifacts/list?run_id={run}&path=a")["files"]
    assert below == [{"path": "a/b.txt", "is_dir": False, "file_size": 1}]
    assert desk.tracking("GET", f"{API}/artifacts/list?run_id={run}&path=../..")[0] == 400


def test_an_experiment_placed_over_another_does_not_open_it(desk: Desk) -> None:
    secret = desk.experiment("secret")
    body = {"name": "thief", "artifact_location": f"mlflow-artifacts:/{secret}"}
    thief = desk.tracking.ok("POST", f"{API}/experiments/create", body)["experiment_id"]
    run = desk.run(thief)
    guest = desk.as_caller("tracking", grants=(Grant(role="contributor", resources=f"experiment/{thief}"),))
    assert guest("GET", f"{API}/artifacts/list?run_id={run}")[0] == 403
