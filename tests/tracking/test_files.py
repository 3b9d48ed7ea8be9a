import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http import payload
from support.mlflow_desk import API, Desk, sample

from modelwright.adapters.memory import MemoryBlobs
from modelwright.artifacts import (
    LONGEST_EXPIRY_S,
    checked_path,
    experiment_of,
    key_of_path,
    new_model_id,
    new_run_id,
    path_of,
    signed,
)
from modelwright.context import Call
from modelwright.errors import InvalidInput, TooLarge
from modelwright.governance.access import Grant
from modelwright.tracking import files, proxy

ART = "/api/2.0/mlflow-artifacts"
CLIMBING = [
    "../x", "a/../b", "a//b", "%2e%2e/x", "a/%2e%2e/b", "..%2fx", "c:/x", "a\\b", "//host/x", "%5c..", "a/%00", "/../x",
]  # fmt: skip
LONG = "x" * 901


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


@given(st.text())
def test_any_path_is_a_key_of_the_bucket_or_refused(path: str) -> None:
    try:
        key = key_of_path("a" * 31, path)
    except InvalidInput:
        return
    assert len(key.encode()) <= 1024, "S3 takes no longer keys"


@pytest.mark.parametrize("path", [*CLIMBING, "a/./b", LONG, "\ud800"])
def test_a_path_that_climbs_or_is_none_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid path"):
        checked_path(path)


@pytest.mark.parametrize("path", CLIMBING)
def test_nothing_is_signed_for_a_path_that_climbs(desk: Desk, path: str) -> None:
    assert desk.artifacts("GET", f"{ART}/artifacts?path={quote(path, safe='')}")[0] == 400
    assert desk.artifacts("PUT", f"{ART}/artifacts/{quote(path, safe='/')}", b"x")[0] in (400, 404)


def test_a_uri_of_another_host_is_not_ours() -> None:
    for uri in ("mlflow-artifacts://host:5000/1/r/artifacts", "runs://profile@host/r/x", "s3://bucket/1", "/tmp/x"):
        assert path_of(uri) is None
    with pytest.raises(InvalidInput):
        path_of("mlflow-artifacts://[")


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


NAMES = (
    "a b.txt",
    "ü.txt",
    "100%.txt",
    "a%20b.txt",
    "img%step%0%timestamp%1795416566096%x.png",
    "a+b&c=d;e.txt",
    "#1?.txt",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_found_under_it(desk: Desk, name: str) -> None:
    desk.artifacts.ok("PUT", f"{ART}/artifacts/1/r/{quote(name)}", b"1")
    assert desk.blobs.get("artifacts", f"default/1/r/{name}").body == b"1"
    assert desk.artifacts.ok("GET", f"{ART}/artifacts?path=1/r")["files"][0]["path"] == name
    assert unquote(desk.artifacts.ok("GET", f"{ART}/presigned/1/r/{quote(name)}")["url"]).endswith(f"/{name}")
    made = desk.artifacts.ok("POST", f"{ART}/mpu/create/1/r", {"path": name, "num_parts": 1})
    assert unquote(made["credentials"][0]["url"]).partition("?upload")[0].endswith(f"default/1/r/{name}")


def test_a_file_that_the_gateway_altered_is_refused(desk: Desk) -> None:
    altered = "grün".encode("latin-1").decode(errors="replace").encode()
    headers = {"content_type": "text/plain", "content_length": "4"}
    status, said = desk.artifacts("PUT", f"{ART}/artifacts/1/r/x.txt", altered, **headers)
    assert (status, "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD" in said["message"]) == (400, True)
    assert list(desk.blobs.list("artifacts", "")) == []
    desk.artifacts.ok("PUT", f"{ART}/artifacts/1/r/x.txt", b"gr")


def test_a_file_that_is_too_large_for_the_function_is_refused_with_what_to_do(desk: Desk) -> None:
    status, said = desk.artifacts("PUT", f"{ART}/artifacts/1/r/big.bin", b"x" * 4_500_001)
    assert (status, said["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
    assert "3.18" in said["message"]
    assert "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true" in said["message"]


@given(names=st.sets(st.text(st.characters(codec="utf-8", exclude_characters="/\x00\\"), min_size=1, max_size=8)))
def test_the_pages_of_a_level_are_the_level(names: set[str]) -> None:
    blobs = MemoryBlobs()
    for number, name in enumerate(sorted(names)):
        blobs.put("artifacts", f"w/1/r/{name}" + ("/below" if number % 3 == 0 else ""), b"12")
    whole = files.level("w/1/r", "", "", blobs)
    assert [f["path"] for f in whole["files"]] == sorted(names, key=lambda n: whole_order(n, sorted(names)))
    told: list[Any] = []
    page: dict[str, Any] = {"next_page_token": ""}
    while "next_page_token" in page:
        page = files.level("w/1/r", "", page["next_page_token"], blobs, room=200)
        told += page["files"]
    assert told == whole["files"]


def whole_order(name: str, names: list[str]) -> str:
    return name + ("/" if names.index(name) % 3 == 0 else "")


def test_who_does_not_ask_for_pages_gets_the_whole_level_or_an_error(desk: Desk) -> None:
    for n in range(30):
        desk.blobs.put("artifacts", f"default/1/r/{n:03}.txt", b"")
    call = Call("default", "ann", datetime.now(UTC), "c")
    with pytest.raises(TooLarge, match="max_results"):
        proxy.list_path(call, proxy.ListPath(path="1/r"), blobs=desk.blobs, whole=1000)
    asked = proxy.ListPath(path="1/r", max_results=1000)
    assert len(proxy.list_path(call, asked, blobs=desk.blobs, whole=1000)["files"]) == 30
    for token in ("%C3%BC", "____", "YQ"):
        assert desk.artifacts("GET", f"{ART}/artifacts?path=1/r&page_token={token}")[0] == 400


def test_a_long_list_is_compressed_for_who_takes_that(desk: Desk) -> None:
    for n in range(14_000):
        desk.blobs.put("artifacts", f"default/1/r/{n:032}.txt", b"")
    event = payload("GET", f"{ART}/artifacts?path=1/r", headers={"accept-encoding": "gzip, deflate"})
    answer = desk.functions["artifacts"](event)
    assert answer["headers"]["content-encoding"] == "gzip"
    assert len(answer["body"]) < 200_000
    assert len(json.loads(gzip.decompress(base64.b64decode(answer["body"])))["files"]) == 14_000
    plain = desk.functions["artifacts"](payload("GET", f"{ART}/artifacts?path=1/r"))
    assert len(json.loads(plain["body"])["files"]) == 14_000


def test_the_root_of_a_workspace_is_listed_for_who_may_see_all_of_it(desk: Desk) -> None:
    desk.artifacts.ok("PUT", f"{ART}/artifacts/1/r/x", b"x")
    assert desk.artifacts.ok("GET", f"{ART}/artifacts")["files"] == [{"path": "1", "is_dir": True}]
    assert desk.artifacts.ok("GET", f"{ART}/artifacts?path=1/.")["files"] == [{"path": "r", "is_dir": True}]
    guest = desk.as_caller("artifacts", grants=(Grant(role="reader", resources="experiment/1"),))
    assert guest("GET", f"{ART}/artifacts")[0] == 403


def test_a_url_is_good_for_a_short_time_and_longer_for_a_large_file() -> None:
    class Large(MemoryBlobs):
        def size(self, bucket: Any, key: str) -> int:
            return int(key.rsplit("/", 1)[1])

    for size, expires in ((0, 900), (2**31, 900 + 2048), (2**40, LONGEST_EXPIRY_S)):
        url = signed(f"w/1/{size}", Large()).url
        assert f"expires={expires}" in url
        assert url.endswith(f"filename={size}")


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
    assert desk.artifacts.ok("POST", f"{ART}/mpu/complete/1/r", body) == {}, "an answer may be lost"
    assert len(desk.blobs._objects["artifacts", "default/1/r/big.bin"]) == 1


def test_an_upload_has_as_many_parts_as_s3_takes(desk: Desk) -> None:
    made = desk.artifacts.ok("POST", f"{ART}/mpu/create/1/r", {"path": "f", "num_parts": 10_000})
    assert [c["part_number"] for c in made["credentials"]] == list(range(1, 10_001))
    for number in (10_001, -1):
        status, said = desk.artifacts("POST", f"{ART}/mpu/create/1/r", {"path": "f", "num_parts": number})
        assert (status, "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE" in said["message"]) == (400, True)


def test_an_upload_has_no_more_parts_than_a_client_can_tell_of_when_it_completes(desk: Desk) -> None:
    desk.blobs.base = f"http://bucket/{'credentials' * 120}"
    status, said = desk.artifacts("POST", f"{ART}/mpu/create/1/r", {"path": "f", "num_parts": 10_000})
    assert (status, "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE" in said["message"]) == (400, True)
    most = int(said["message"].split("at most ")[1].split()[0])
    made = desk.artifacts.ok("POST", f"{ART}/mpu/create/1/r", {"path": "f", "num_parts": most})
    told = [{"part_number": c["part_number"], "etag": f'"{"0" * 32}"', "url": c["url"]} for c in made["credentials"]]
    assert len(json.dumps({"path": "f", "upload_id": made["upload_id"], "parts": told})) <= proxy.TALK_LIMIT


PART = {"part_number": 1, "etag": "x"}


@pytest.mark.parametrize(
    ("call", "body", "text"),
    [
        ("create", {"num_parts": 1}, "'path'"),
        ("create", {"path": "a/", "num_parts": 1}, "names no file"),
        ("create", {"path": "..", "num_parts": 1}, "Invalid path"),
        ("create", {"path": "a", "num_parts": "x"}, "'num_parts'"),
        ("complete", {"path": "a", "upload_id": "u"}, "'parts'"),
        ("complete", {"path": "a", "upload_id": "u", "parts": [PART, PART]}, "'parts'"),
        ("complete", {"path": "a", "upload_id": "u", "parts": [{"part_number": 0, "etag": "x"}]}, "'parts'"),
        ("complete", {"path": "a", "upload_id": "u", "parts": [{"part_number": 1}]}, "'parts[0].etag'"),
        ("complete", {"path": "a", "parts": [PART]}, "'upload_id'"),
        ("abort", {"path": "a"}, "'upload_id'"),
    ],
)
def test_a_wrong_upload_is_refused_by_the_field(desk: Desk, call: str, body: Any, text: str) -> None:
    status, said = desk.artifacts("POST", f"{ART}/mpu/{call}/1/r", body)
    assert (status, text in said["message"]) == (400, True), said
    assert list(desk.blobs.list("artifacts", "")) == []


def test_an_upload_that_was_given_up_cannot_be_completed(desk: Desk) -> None:
    made = desk.artifacts.ok("POST", f"{ART}/mpu/create/1/r", {"path": "C:\\local\\a.bin", "num_parts": 1})
    assert made["credentials"][0]["url"].partition("?")[0].endswith("default/1/r/a.bin")
    body = {"path": "a.bin", "upload_id": made["upload_id"], "parts": [PART]}
    assert desk.artifacts("POST", f"{ART}/mpu/complete/1/other", body)[0] == 404
    made = desk.artifacts.ok("POST", f"{ART}/mpu/create/1/r", {"path": "a.bin", "num_parts": 1})
    body["upload_id"] = made["upload_id"]
    desk.artifacts.ok("POST", f"{ART}/mpu/abort/1/r", body)
    assert desk.artifacts("POST", f"{ART}/mpu/complete/1/r", body)[0] == 404


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


# --- of runs and models, by their ids ----------------------------------------------------


@pytest.fixture
def run(desk: Desk) -> str:
    """A run with files, beside another experiment that has some too."""
    identity = desk.run(desk.experiment())
    for path in ("a/b.txt", "c.txt"):
        desk.blobs.put("artifacts", f"default/1/{identity}/artifacts/{path}", b"12")
    desk.blobs.put("artifacts", f"default/2/{identity}/artifacts/secret.txt", b"12")
    return identity


def model_of(desk: Desk, run: str) -> str:
    """Make a logged model with a file."""
    body = {"experiment_id": "1", "name": "m", "source_run_id": run}
    identity: str = desk.tracking.ok("POST", f"{API}/logged-models", body)["model"]["info"]["model_id"]
    desk.blobs.put("artifacts", f"default/1/models/{identity}/artifacts/MLmodel", b"flavors")
    return identity


@pytest.mark.parametrize("path", ["/get-artifact", "/ajax-api/2.0/mlflow/get-artifact"])
@pytest.mark.parametrize("name", ["run_id", "run_uuid"])
def test_a_browser_is_sent_to_the_bucket_for_a_runs_file(desk: Desk, run: str, path: str, name: str) -> None:
    answer = desk.functions["artifacts"](payload("GET", f"{path}?{name}={run}&path=a%2Fb.txt"))
    assert (answer["statusCode"], answer["headers"]["cache-control"]) == (302, "no-store")
    assert answer["headers"]["location"].endswith(f"/default/1/{run}/artifacts/a/b.txt")


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("path=a/b.txt", 400, "'run_id'"),
        ("run_id={run}", 400, "'path'"),
        ("run_id={run}&path=", 400, "'path'"),
        ("run_id={run}&path=a", 400, "directory"),
        ("run_id={run}&path=none", 404, "No such artifact"),
        ("run_id=nope&path=c.txt", 404, "Run with id=nope not found"),
        *((f"run_id={{run}}&path={quote(path, safe='')}", 400, "Invalid path") for path in CLIMBING),
        ("run_id={run}&path=../../../2/{run}/artifacts/secret.txt", 400, "Invalid path"),
    ],
)
def test_no_url_is_signed_for_what_is_not_in_the_run(desk: Desk, run: str, query: str, status: int, text: str) -> None:
    said = desk.artifacts("GET", f"/get-artifact?{query.format(run=run)}")
    assert (said[0], text in said[1]["message"]) == (status, True), said


def test_a_file_is_had_only_by_who_may_read_its_experiment(desk: Desk, run: str) -> None:
    model = model_of(desk, run)
    asked = (
        f"/get-artifact?run_id={run}&path=c.txt",
        f"{API}/logged-models/{model}/artifacts/files?artifact_file_path=MLmodel",
    )
    for path in asked:
        assert (
            desk.as_caller("artifacts", grants=(Grant(role="reader", resources="experiment/1"),))("GET", path)[0] == 302
        )
        assert (
            desk.as_caller("artifacts", grants=(Grant(role="reader", resources="experiment/2"),))("GET", path)[0] == 403
        )
        assert desk.as_caller("artifacts", workspace="other")("GET", path)[0] == 404


def test_a_logged_models_file_is_signed_or_redirected_to(desk: Desk, run: str) -> None:
    path = f"/ajax-api/2.0/mlflow/logged-models/{model_of(desk, run)}/artifacts/files"
    assert desk.artifacts("GET", f"{path}?artifact_file_path=MLmodel")[0] == 302
    said = desk.artifacts.ok("GET", f"{path}?artifact_file_path=MLmodel&presigned=true")
    assert (said["file_size"], said["headers"]) == (7, {})
    assert desk.artifacts("GET", path)[0] == 400
    assert desk.artifacts("GET", path.replace("/m-", "/m-f") + "?artifact_file_path=MLmodel")[0] == 404


def test_a_browser_uploads_notes_by_itself(desk: Desk, run: str) -> None:
    path = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=notes/n.json"
    assert desk.artifacts.ok("POST", path, b'{"a": 1}') == {}
    assert desk.blobs.get("artifacts", f"default/1/{run}/artifacts/notes/n.json").body == b'{"a": 1}'
    assert desk.artifacts("POST", path, b"")[1]["message"] == "Request must specify data."
    assert desk.artifacts("POST", path.partition("&")[0], b"x")[1]["message"] == "Request must specify path."
    assert desk.artifacts("POST", "/ajax-api/2.0/mlflow/upload-artifact?path=x", b"x")[0] == 400
    assert desk.artifacts("POST", f"{path}/../../../../x", b"x")[0] == 400
    desk.tracking.ok("POST", f"{API}/runs/delete", {"run_id": run})
    assert desk.artifacts("POST", path, b"2")[0] == 400
    assert desk.blobs.get("artifacts", f"default/1/{run}/artifacts/notes/n.json").body == b'{"a": 1}'


def test_who_uploads_without_the_mlflow_client_asks_for_urls(desk: Desk, run: str) -> None:
    path, model = f"{API}/artifacts/presigned", model_of(desk, run)
    up = desk.artifacts.ok("POST", f"{path}-upload-url", {"run_id": run, "path": "x/y.bin"})
    assert up["presigned_url"].endswith(f"/default/1/{run}/artifacts/x/y.bin")
    up = desk.artifacts.ok("POST", f"{path}-upload-url", {"model_id": model, "path": "y.bin", "expiration": 60})
    assert up["presigned_url"].endswith(f"/default/1/models/{model}/artifacts/y.bin")
    down = desk.artifacts.ok("POST", f"{path}-download-url", {"run_id": run, "path": "c.txt"})
    assert (down["file_size"], down["presigned_url"].endswith("/c.txt")) == (2, True)
    for wrong in (
        {"run_id": run, "model_id": model},
        {},
        {"run_id": run, "expiration": 0},
        {"run_id": run, "expiration": 10**9},
    ):
        assert desk.artifacts("POST", f"{path}-upload-url", {"path": "x", **wrong})[0] == 400
    assert desk.artifacts("POST", f"{path}-download-url", {"run_id": run, "path": "none"})[0] == 404
    assert desk.artifacts("POST", f"{path}-download-url", {"run_id": run, "path": "../c.txt"})[0] == 400


def test_what_a_training_made_is_read_by_its_run_and_written_by_nobody(desk: Desk) -> None:
    location = {"name": "t", "artifact_location": "mlflow-artifacts:/trainings"}
    run = desk.run(desk.tracking.ok("POST", f"{API}/experiments/create", location)["experiment_id"])
    desk.blobs.put("artifacts", f"default/trainings/{run}/artifacts/model.pkl", b"model")
    assert desk.artifacts("GET", f"/get-artifact?run_id={run}&path=model.pkl")[0] == 302
    assert desk.artifacts("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_id={run}&path=model.pkl", b"x")[0] == 403
    assert (
        desk.artifacts("POST", f"{API}/artifacts/presigned-upload-url", {"run_id": run, "path": "model.pkl"})[0] == 403
    )
    assert desk.blobs.get("artifacts", f"default/trainings/{run}/artifacts/model.pkl").body == b"model"


def test_the_files_of_a_root_elsewhere_are_its_owners(desk: Desk) -> None:
    body = {"name": "own", "artifact_location": "s3://theirs/mlflow"}
    experiment = desk.tracking.ok("POST", f"{API}/experiments/create", body)["experiment_id"]
    run = desk.run(experiment)
    assert desk.get_run(run)["info"]["artifact_uri"] == f"s3://theirs/mlflow/{run}/artifacts"
    model = desk.tracking.ok("POST", f"{API}/logged-models", {"experiment_id": experiment})["model"]["info"]
    assert model["artifact_uri"] == f"s3://theirs/mlflow/models/{model['model_id']}/artifacts"
    models = f"{API}/logged-models/{model['model_id']}/artifacts"
    answers = (
        desk.tracking("GET", f"{API}/artifacts/list?run_id={run}"),
        desk.tracking("GET", f"{models}/directories"),
        desk.artifacts("GET", f"/get-artifact?run_id={run}&path=x"),
        desk.artifacts("GET", f"{models}/files?artifact_file_path=x"),
        desk.artifacts("POST", f"{API}/artifacts/presigned-upload-url", {"run_id": run, "path": "x"}),
        desk.artifacts("POST", f"{API}/artifacts/presigned-download-url", {"run_id": run, "path": "x"}),
        desk.artifacts("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_id={run}&path=x", b"x"),
    )
    for status, said in answers:
        assert (status, "with your own" in said["message"]) == (400, True), said
