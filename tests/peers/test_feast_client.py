"""The stock Feast client against the function: reading, writing, and errors that it does not ask for again."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from features.online_cases import Shop
from support.http import Exchange, ServedBlobs, serve

pytestmark = pytest.mark.peers
SCRIPT = Path(__file__).with_name("feast_online_script.py")


class Session(NamedTuple):
    """What the client told, and the requests that it sent."""

    told: dict[str, Any]
    seen: list[Exchange]


@pytest.fixture(scope="module")
def session(feast_python: str, tmp_path_factory: pytest.TempPathFactory) -> Session:
    seen: list[Exchange] = []
    folder = tmp_path_factory.mktemp("feast")
    with serve([Shop().function], ServedBlobs(), seen) as url:
        command = [feast_python, str(SCRIPT), url, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return Session(json.loads(done.stdout.splitlines()[-1]), seen)


def test_features_are_got_by_a_list_of_names(session: Session) -> None:
    assert session.told["list"] == {
        "customer": [2, 1, 9], "age": [31, 30, None], "city": ["Oslo", "Rome", None], "vip": [False, True, None]
    }  # fmt: skip


def test_composite_keys_are_joined_by_all_of_their_parts(session: Session) -> None:
    found = session.told["composite"]
    assert (found["amount"], found["sale"]) == ([2.5, 1.5, None], ["y", "x", None])


def test_a_service_is_got_by_its_name_with_request_data_for_its_on_demand_features(session: Session) -> None:
    found = session.told["service"]
    assert "price" not in found, "request data is consumed"
    assert (found["age"], found["worth"]) == ([30, 30, 31], [1.5, 1.5, 6.0])


@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        ("no_feature", "KeyError", "feature view profile has no feature height: it has age"),
        ("no_view", "KeyError", "there is no feature view person: there are profile"),
        ("no_service", "KeyError", "there is no feature service payment: there are checkout"),
        ("no_key", "ValueError", "view visit needs shop"),
        ("bad_row", "ValueError", "row 0, column age: 200 is above 150"),
    ],
)
def test_an_error_is_raised_as_the_class_that_it_is(session: Session, what: str, kind: str, said: str) -> None:
    name, message = session.told[what]
    assert (name, said in message) == (kind, True), message


def test_nothing_is_asked_twice(session: Session) -> None:
    paths = [(one.path, one.status) for one in session.seen]
    assert paths == [
        ("/write-to-online-store", 200), ("/write-to-online-store", 200),
        *[("/get-online-features", 200)] * 3,
        *[("/get-online-features", 404)] * 3,
        ("/get-online-features", 400), ("/write-to-online-store", 400),
    ]  # fmt: skip
