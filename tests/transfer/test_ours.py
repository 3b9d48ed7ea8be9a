"""Our end of a copy, against the platform's own functions over HTTP."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from support.http import serve
from support.mlflow_desk import API, Desk

from modelwright.cli.transfer import connect, copy
from modelwright.client import TOKEN
from modelwright.errors import InvalidInput, NotFound, Unavailable
from modelwright.runtime import Function
from modelwright.storage import Anything, Delete, Key
from modelwright.transfer import bucket
from modelwright.transfer.ours import Ours
from modelwright.transfer.plan import Options
from modelwright.transfer.records import RegisteredModel, Run, Version
from transfer.made import made
from transfer.memory import MemorySide
from transfer.test_copying import copied, target, told


@pytest.fixture
def desk() -> Desk:
    return Desk()


@contextmanager
def stack(desk: Desk, functions: Sequence[Any] = ()) -> Iterator[Ours]:
    with serve(cast(Sequence[Function], functions or tuple(desk.functions.values())), desk.blobs) as url:
        yield Ours(url, "mw.default.0123456789abcdef.secret", pauses_s=(0,) * 30)


@dataclass
class Repeating:
    """A function to which every request comes twice, the answer to the first one having been lost."""

    function: Function

    @property
    def routes(self) -> Any:
        return self.function.routes

    def __call__(self, event: dict[str, Any]) -> Any:
        self.function(event)
        return self.function({**event, "requestContext": {**event["requestContext"], "requestId": "another"}})


@dataclass
class Busy:
    """A function that is too busy for the first of every three requests, and does the second and forgets to answer."""

    function: Function
    seen: list[str] = field(default_factory=list)

    @property
    def routes(self) -> Any:
        return self.function.routes

    def __call__(self, event: dict[str, Any]) -> Any:
        self.seen.append(event["rawPath"])
        answer = self.function(event) if len(self.seen) % 3 != 1 else {}
        if len(self.seen) % 3 == 0:
            return answer
        body = '{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}'
        return {"statusCode": 503, "headers": {"content-type": "application/json"}, "body": body}


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_in_comes_out_again(desk: Desk, seed: int) -> None:
    source, again = made(seed), target(chooses_numbers=False)
    with stack(desk) as ours:
        tally = copied(source, ours)
        assert tally.complete, tally.differences
        back = copied(ours, again)
        assert back.complete, back.differences
    assert told(again) == told(source)


@pytest.mark.parametrize("kind", [Repeating, Busy])
def test_answers_that_are_lost_do_no_harm(desk: Desk, kind: Any) -> None:
    source, again = made(5, size=2), target(chooses_numbers=False)
    with stack(desk, [kind(function) for function in desk.functions.values()]) as ours:
        tally = copied(source, ours)
        assert tally.complete, tally.differences
        copied(ours, again)
    assert told(again) == told(source)


def test_a_stack_that_stays_away_ends_the_copy(desk: Desk) -> None:
    with stack(desk) as ours:
        pass
    with pytest.raises(Unavailable, match="does not answer"):
        copied(made(1), ours)


def test_a_run_that_was_removed_for_good_is_copied_anew(desk: Desk) -> None:
    with stack(desk) as ours:
        run = Run("", "0", "first", "ann", start=1)
        list(ours.experiments())
        first = ours.add_run(run, key="k")
        assert ours.add_run(run, key="k") == first
        desk.tables.write([Delete("tracking", Key("WS#default#EXPERIMENT#0", f"OPEN#{first}"), Anything())])
        second = ours.add_run(run, key="k")
        assert second != first
        assert ours.run(second).name == "first"


def test_a_version_can_have_the_number_that_it_had_elsewhere(desk: Desk) -> None:
    with stack(desk) as ours:
        ours.add_registered_model(RegisteredModel("m"))
        assert ours.add_version(Version("m", 7, "s3://x/y")) == 7
        with pytest.raises(InvalidInput, match="m v7 cannot be made: the next version is v8"):
            ours.add_version(Version("m", 7, "s3://x/y"))
        with pytest.raises(InvalidInput):
            ours.add_version(Version("m", 3, "s3://x/y"))
        ours.drop_version("m", 7)
        with pytest.raises(InvalidInput):
            ours.add_version(Version("m", 7, "s3://x/y"))
    plain = {"name": "m", "source": "s3://x/y"}
    assert desk.registry.ok("POST", f"{API}/model-versions/create", plain)["model_version"]["version"] == "8"


def test_a_file_goes_in_parts_and_comes_back(desk: Desk, tmp_path: Path) -> None:
    body = bytes(range(256)) * 40
    (tmp_path / "big.bin").write_bytes(body)
    (tmp_path / "none").write_bytes(b"")
    with stack(desk) as ours:
        list(ours.experiments())
        uri = ours.run(ours.add_run(Run("", "0", "r"), key="k")).artifact_uri

        def ask(step: str, told_: Any) -> Any:
            path = uri.removeprefix("mlflow-artifacts:/")
            return ours._send("POST", f"/api/2.0/mlflow-artifacts/mpu/{step}/{path}", body={"path": "big.bin", **told_})

        bucket.upload(tmp_path / "big.bin", ask, part_bytes=1000)
        ours.put(uri, "empty/none", tmp_path / "none")
        listed = {entry.path: entry.size for entry in (*ours.level(uri, ""), *ours.level(uri, "empty"))}
        fetched = ours.fetch(uri, "big.bin", tmp_path).read_bytes()
    assert listed == {"big.bin": len(body), "empty": 0, "empty/none": 0}
    assert fetched == body
    assert len(desk.blobs.get("artifacts", f"default/{uri.removeprefix('mlflow-artifacts:/')}/big.bin").body) == 10_240


def test_an_upload_that_fails_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    steps: list[str] = []

    def ask(step: str, body: Any) -> Any:
        steps.append(step)
        return {"upload_id": "u", "credentials": [{"url": "http://127.0.0.1:9/x", "part_number": 1, "headers": {}}]}

    with pytest.raises(Unavailable, match="the bucket does not take part 1"):
        bucket.upload(tmp_path / "f", ask, pauses_s=())
    assert steps == ["create", "abort"]


def test_files_that_lie_elsewhere_are_not_looked_for_in_our_bucket(desk: Desk) -> None:
    with stack(desk) as ours, pytest.raises(NotFound, match="do not lie in this platform's bucket"):
        ours.level("s3://elsewhere/x", "")


def test_our_token_is_not_left_for_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWRIGHT_ENDPOINT", "http://127.0.0.1:9/")
    monkeypatch.setenv(TOKEN, "mw.default.ours")
    assert connect("").name == "http://127.0.0.1:9"
    assert TOKEN not in os.environ


def test_with_a_token_of_its_own_the_other_server_keeps_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWRIGHT_ENDPOINT", "http://127.0.0.1:9/")
    monkeypatch.setenv("MODELWRIGHT_TOKEN", "mw.default.ours")
    monkeypatch.setenv(TOKEN, "theirs")
    connect("")
    assert os.environ[TOKEN] == "theirs"


def test_nothing_is_copied_into_itself() -> None:
    side = MemorySide("a")
    with pytest.raises(InvalidInput, match="a cannot be copied into itself"):
        copy(side, side, Options(), dry_run=False)
