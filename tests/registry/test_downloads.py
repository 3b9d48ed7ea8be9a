from urllib.parse import quote

import pytest
from support.mlflow_desk import API, Desk

from modelwright.governance.access import Grant

GET = "/model-versions/get-artifact?name=flights&version=1"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.blobs.put("artifacts", "default/1/models/x/MLmodel", b"flavors")
    desk.blobs.put("artifacts", "default/1/models/secret", b"secret")
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
    for source in ("mlflow-artifacts:/1/models/x", "s3://theirs/x"):
        desk.registry.ok("POST", f"{API}/model-versions/create", {"name": "flights", "source": source})
    return desk


def test_a_versions_file_is_signed_or_redirected_to(desk: Desk) -> None:
    assert desk.registry("GET", f"{GET}&path=MLmodel")[0] == 302
    said = desk.registry.ok("GET", f"{GET}&path=MLmodel&presigned=true")
    assert (said["file_size"], said["headers"], said["url"].endswith("/default/1/models/x/MLmodel")) == (7, {}, True)


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        (GET, 400, "'path'"),
        (f"{GET}&path=", 400, "'path'"),
        (f"{GET}&path=none", 404, "No such artifact"),
        (f"{GET.replace('=1', '=7')}&path=MLmodel", 404, "not found"),
        (f"{GET.replace('=1', '=x')}&path=MLmodel", 400, "'version'"),
        (f"{GET.replace('flights', 'nope')}&path=MLmodel", 404, "nope"),
        (f"{GET.replace('=1', '=2')}&path=MLmodel", 400, "with your own credentials"),
        *(
            (f"{GET}&path={quote(path, safe='')}", 400, "Invalid path")
            for path in ("../secret", "%2e%2e/secret", "a//b")
        ),
    ],
)
def test_no_url_is_signed_for_what_is_not_in_the_version(desk: Desk, asked: str, status: int, text: str) -> None:
    said = desk.registry("GET", asked)
    assert (said[0], text in said[1]["message"]) == (status, True), said


def test_who_may_read_the_model_may_read_its_files(desk: Desk) -> None:
    for resources, status in (("model/flights", 302), ("model/other", 403), ("experiment/1", 403)):
        caller = desk.as_caller("registry", grants=(Grant(role="reader", resources=resources),))
        assert caller("GET", f"{GET}&path=MLmodel")[0] == status
    assert desk.as_caller("registry", workspace="other")("GET", f"{GET}&path=MLmodel")[0] == 404
