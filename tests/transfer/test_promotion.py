"""One version from stack to stack: all of it or nothing, however often it is broken off."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.mlflow_desk import API, Desk

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import InvalidInput, Refused, Unavailable
from modelwright.events import ModelVersionCreated, ModelVersionExported
from modelwright.governance import verifier
from modelwright.governance.access import Grant
from modelwright.promotion.addresses import address
from modelwright.promotion.carrying import Carried, carry
from modelwright.promotion.stack import Arrivals, Reference, asked_until
from modelwright.registry.manifests import Manifest, folder_of
from modelwright.storage import Absent, Put, Write
from transfer.carried import FILES, Dying, Flipping, FlippingParts, made, source, stack


@pytest.fixture
def here() -> Desk:
    desk = Desk()
    made(desk)
    return desk


@pytest.fixture
def there() -> Desk:
    return Desk()


def promoted(here: Desk, there: Desk, text: str = "churn/1", name: str = "churn", **ways: Any) -> Carried:
    with stack(here, **ways.get("out", {})) as left, stack(there, **ways.get("into", {})) as right:
        return carry(source(left, text), Arrivals(right, name), threads=1)


def version(desk: Desk, number: int = 1, name: str = "churn") -> dict[str, Any]:
    found: dict[str, Any] = desk.registry.ok("GET", f"{API}/model-versions/get?name={name}&version={number}")
    return dict(found["model_version"])


def files(desk: Desk, number: int = 1, name: str = "churn") -> dict[str, bytes]:
    prefix = f"default/{version(desk, number, name)['source'].removeprefix('mlflow-artifacts:/')}/"
    found = desk.blobs.list("artifacts", prefix)
    return {line.key.removeprefix(prefix): desk.blobs.get("artifacts", line.key).body for line in found}


def births(desk: Desk, name: str = "churn") -> list[ModelVersionCreated]:
    items = desk.stream("MODEL", name)
    return [
        ModelVersionCreated.model_validate(item.envelope.data)
        for item in items
        if item.envelope.type == "ModelVersionCreated"
    ]


def test_a_version_arrives_with_all_that_is_known_of_it(here: Desk, there: Desk) -> None:
    carried = promoted(here, there)
    assert (carried.version, carried.sent, carried.known) == (1, len(FILES), False)
    assert files(there) == FILES
    old, new = version(here), version(there)
    assert new["description"] == old["description"]
    tags = {tag["key"]: tag["value"] for tag in new["tags"]}
    assert tags == {tag["key"]: tag["value"] for tag in old["tags"]} | {"modelwright.origin_run": old["run_id"]}
    assert "run_id" not in new  # that run is at the source
    born = births(there)[0]
    assert born.artifact_digest == births(here)[0].artifact_digest != ""
    assert born.origin == str(carried.manifest.origin)
    assert born.origin.endswith("/default/churn/1")
    assert born.manifest == carried.manifest.digest


def test_the_source_remembers_what_was_carried_and_where(here: Desk, there: Desk) -> None:
    carried = promoted(here, there)
    last = here.stream("MODEL", "churn")[-1].envelope
    assert last.type == "ModelVersionExported"
    assert ModelVersionExported.model_validate(last.data) == ModelVersionExported(
        model="churn", version=1, digest=carried.manifest.digest, target="prod"
    )


def test_the_proof_stands_up_before_the_verifier_that_auditors_have(here: Desk, there: Desk) -> None:
    proof = promoted(here, there).manifest.proof
    items, root = [item.model_dump() for item in proof.items], {"heads": proof.heads}
    assert verifier.verify(items, [root]) == ([], 1, len(items))
    assert verifier.verify(items[:-1], [root])[0] != []


def test_the_same_again_is_the_same_version(here: Desk, there: Desk) -> None:
    first, items = promoted(here, there), there.stream("MODEL", "churn")
    second = promoted(here, there)
    assert (second.version, second.sent, second.known) == (1, 0, True)
    assert first.manifest.content == second.manifest.content
    assert there.stream("MODEL", "churn") == items


def test_what_is_said_of_it_later_makes_no_other_version(here: Desk, there: Desk) -> None:
    promoted(here, there)
    body = {"name": "churn", "version": "1", "key": "reviewed", "value": "yes"}
    here.registry.ok("POST", f"{API}/model-versions/set-tag", body)
    assert promoted(here, there).known
    assert len(births(there)) == 1


def test_each_version_becomes_the_next_one_there(here: Desk, there: Desk) -> None:
    made(there, files={"other": b"1"})
    made(here, files={"model.pkl": b"another"})
    assert [promoted(here, there, text).version for text in ("churn/2", "churn/1", "churn/2")] == [2, 3, 2]
    assert files(there, 2) == {"model.pkl": b"another"}
    assert files(there, 3) == FILES


def test_an_alias_is_followed_and_another_name_given(here: Desk, there: Desk) -> None:
    made(here, files={"model.pkl": b"another"})
    here.registry.ok("POST", f"{API}/registered-models/alias", {"name": "churn", "alias": "blue", "version": "2"})
    assert promoted(here, there, "churn@blue", "churn-live").manifest.origin.version == 2
    assert files(there, 1, "churn-live") == {"model.pkl": b"another"}


def test_a_version_whose_copy_was_deleted_can_come_again(here: Desk, there: Desk) -> None:
    promoted(here, there)
    there.registry.ok("DELETE", f"{API}/model-versions/delete", {"name": "churn", "version": "1"})
    again = promoted(here, there)
    assert (again.version, again.known, again.sent) == (2, False, 0)
    assert files(there, 2) == FILES


def test_people_s_sections_of_the_card_arrive(here: Desk, there: Desk) -> None:
    card = {"sections": {"intended_use": "ask who stays", "owner": "growth"}}
    here.registry.ok("PUT", "/v1/models/churn/versions/1/card", card)
    promoted(here, there)
    assert "CardChanged" in there.types("MODEL", "churn")
    shown = there.registry.ok("GET", "/v1/models/churn/versions/1/card?format=json")
    assert "ask who stays" in str(shown)


# --- what is refused ---------------------------------------------------------------------


def nothing_came(there: Desk) -> bool:
    return there.stream("MODEL", "churn") == [] and list(there.blobs.list("artifacts", "")) == []


def test_a_byte_that_flips_on_its_way_out_is_noticed_before_anything_is_sent_on(here: Desk, there: Desk) -> None:
    with pytest.raises(Refused, match=r"model\.pkl came with the digest .*, the manifest says"):
        promoted(here, there, out={"blobs": Flipping(here, "model.pkl")})
    assert births(there) == []
    promoted(here, there)
    assert files(there) == FILES


def test_bytes_that_flip_on_their_way_in_are_refused_and_removed(here: Desk) -> None:
    there = Desk(blobs=FlippingParts())
    with pytest.raises(Refused) as refused:
        promoted(here, there)
    for path in (path for path, body in FILES.items() if body):
        assert f"{path} has the digest" in str(refused.value)
    assert "code/empty" not in str(refused.value)
    assert nothing_came(there)


def test_a_file_that_is_missing_too_long_or_too_many_is_named(here: Desk, there: Desk, tmp_path: Path) -> None:
    def file(body: bytes) -> Path:
        (tmp_path / "file").write_bytes(body)
        return tmp_path / "file"

    with stack(here) as left, stack(there) as right:
        manifest = source(left).manifest()
        arrivals = Arrivals(right, "churn")
        arrivals.announce(manifest)
        arrivals.put(manifest, "MLmodel", file(FILES["MLmodel"] + b"more"))
        arrivals.put(manifest, "extra/file", file(b"?"))
        with pytest.raises(Refused) as refused:
            arrivals.make(manifest, file(manifest.text))
    message = str(refused.value)
    for fault in (
        "model.pkl is missing", "code/empty is missing", "MLmodel has 16 bytes, not 12",
        "extra/file is there and not in the manifest",
    ):  # fmt: skip
        assert fault in message
    assert nothing_came(there)


@pytest.mark.parametrize("how", ["a tag", "a digest", "the history", "its head", "an item", "the artifact"])
def test_a_manifest_that_was_changed_is_refused(here: Desk, there: Desk, how: str, tmp_path: Path) -> None:
    with stack(here) as left, stack(there) as right:
        honest = source(left).manifest()
        said = changed(honest, how)
        arrivals = Arrivals(right, "churn")
        arrivals.announce(said)
        for path, body in FILES.items():
            (tmp_path / "file").write_bytes(body)
            arrivals.put(said, path, tmp_path / "file")
        digest = honest if how == "a tag" else said
        (tmp_path / "file").write_bytes(said.text)
        with pytest.raises(Refused) as refused:
            arrivals.make(claiming(said, digest.digest), tmp_path / "file")
    assert EXPECTED[how] in str(refused.value)
    assert nothing_came(there)


EXPECTED = {
    "a tag": "the manifest that arrived has the digest",
    "a digest": "MLmodel has the digest",
    "the history": "is not what was hashed",
    "its head": "its head is not",
    "an item": "stands where 3 should",
    "the artifact": "was registered",
}


def changed(manifest: Manifest, how: str) -> Manifest:
    proof = manifest.proof
    if how == "a tag":
        return manifest.model_copy(update={"tags": {"team": "another"}})
    if how == "a digest":
        first = manifest.files[0].model_copy(update={"digest": "0" * 64})
        return manifest.model_copy(update={"files": (first, *manifest.files[1:])})
    if how == "the artifact":
        return manifest.model_copy(update={"artifact_digest": "0" * 64})
    if how == "the history":
        forged = proof.items[0].model_copy(update={"envelope": proof.items[0].envelope.replace("ann", "eve")})
        return manifest.model_copy(update={"proof": proof.model_copy(update={"items": (forged, *proof.items[1:])})})
    if how == "its head":
        heads = {stream: (sequence, "0" * 64) for stream, (sequence, _) in proof.heads.items()}
        return manifest.model_copy(update={"proof": proof.model_copy(update={"heads": heads})})
    items = (proof.items[1], proof.items[0])
    return manifest.model_copy(update={"proof": proof.model_copy(update={"items": items})})


def claiming(manifest: Manifest, digest: str) -> Any:
    """Return what names a manifest's folder, and the digest of another one."""
    return SimpleNamespace(content=manifest.content, digest=digest)


def test_the_same_origin_with_other_files_is_refused(here: Desk, there: Desk) -> None:
    promoted(here, there)
    prefix = next(line.key for line in here.blobs.list("artifacts", "") if line.key.endswith("MLmodel"))
    here.blobs.put("artifacts", prefix, b"flavors: {other: {}}")
    with pytest.raises(Refused, match=r"default/churn/1 came before, as churn v1, and had other files then"):
        promoted(here, there)
    assert files(there) == FILES


def test_a_model_file_that_is_not_the_registered_one_does_not_leave(here: Desk, there: Desk) -> None:
    key = next(line.key for line in here.blobs.list("artifacts", "") if line.key.endswith("model.pkl"))
    here.blobs.put("artifacts", key, b"put there later")
    with pytest.raises(Refused, match=r"churn v1 cannot be carried: model\.pkl is .* was registered"):
        promoted(here, there)
    assert here.types("MODEL", "churn")[-1] != "ModelVersionExported"


def test_a_version_whose_files_lie_elsewhere_is_refused_in_words(here: Desk, there: Desk) -> None:
    here.registry.ok("POST", f"{API}/model-versions/create", {"name": "churn", "source": "s3://theirs/model"})
    with pytest.raises(InvalidInput, match="the files of churn v2 lie at s3://theirs/model"):
        promoted(here, there, "churn/2")


def test_a_version_does_not_arrive_where_it_comes_from(here: Desk) -> None:
    with pytest.raises(InvalidInput, match="churn v1 comes from here: give the copy another name"):
        promoted(here, here)
    assert promoted(here, here, name="churn-copy").version == 1


@pytest.mark.parametrize(
    "grants",
    [
        (Grant(role="reader"),),
        (Grant(role="contributor"),),
        (Grant(role="approver"),),
        (Grant(role="admin", resources="model/other"),),
    ],
)
def test_who_may_not_receive_or_upload_there_is_refused(here: Desk, there: Desk, grants: tuple[Grant, ...]) -> None:
    promoted(here, Desk())
    digest = {"content": "0" * 64, "digest": "0" * 64}
    caller = there.as_caller("registry", grants=grants)
    assert caller("POST", "/v1/models/churn/arrivals", digest)[0] == 403
    assert caller("PUT", f"/v1/models/churn/arrivals/{'0' * 64}", {})[0] == 403


def test_who_may_read_models_but_not_files_gets_no_manifest(here: Desk) -> None:
    only = (Grant(role="reader", resources="model/*"),)
    status, said = here.as_caller("registry", grants=only)("GET", "/v1/models/churn/versions/1/manifest")
    assert (status, "artifacts:read" in said["message"]) == (403, True)


# --- broken off --------------------------------------------------------------------------


def dying(fate: Dying, desk: Desk, side: str) -> dict[str, Any]:
    return {side: {"functions": fate.over(desk)}}


def requests_of_one(there_too: bool) -> int:
    here, there, fate = Desk(), Desk(), Dying()
    made(here)
    promoted(here, there, **dying(fate, there, "into") if there_too else dying(fate, here, "out"))
    return len(fate.seen)


@pytest.mark.parametrize("effective", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("side", ["out", "into"])
def test_killed_at_any_request_and_started_again_it_is_one_whole_version(side: str, effective: bool) -> None:
    count = requests_of_one(side == "into")
    assert count >= 5
    for at in range(1, count + 1):
        here, there = Desk(), Desk()
        made(here)
        fate = Dying(at, effective)
        with pytest.raises(Unavailable):
            promoted(here, there, **dying(fate, here if side == "out" else there, side))
        assert len(births(there)) in ((0, 1) if effective else (0,))
        carried = promoted(here, there)
        assert carried.version == 1
        assert files(there) == FILES, fate.seen
        assert len(births(there)) == 1, fate.seen


def test_files_that_arrived_are_not_sent_again(here: Desk, there: Desk) -> None:
    fate = Dying(requests_of_one(there_too=True) - 1)
    with pytest.raises(Unavailable):
        promoted(here, there, into={"functions": fate.over(there)})
    assert promoted(here, there).sent == 0


def test_files_that_nobody_came_back_for_are_collected_after_a_week(here: Desk, there: Desk) -> None:
    fate = Dying(requests_of_one(there_too=True) - 1)
    with pytest.raises(Unavailable):
        promoted(here, there, **dying(fate, there, "into"))
    promoted(here, there, name="another")
    now = datetime.now(UTC)

    def due(days: int) -> None:
        at = (now + timedelta(days=days)).isoformat()
        there.functions["registry"]({"detail-type": "ScheduleDue", "detail": {"name": "expire", "at": at}})

    kept = list(there.blobs.list("artifacts", ""))
    due(6)
    assert list(there.blobs.list("artifacts", "")) == kept
    due(8)
    assert files(there, name="another") == FILES
    assert len(list(there.blobs.list("artifacts", ""))) == len(FILES) + 1
    assert promoted(here, there).sent == len(FILES)


def test_who_refuses_a_folder_does_not_remove_the_files_of_a_version_that_was_made_meanwhile(
    here: Desk, there: Desk
) -> None:
    """While one request finds the folder wanting, another one makes a version of it."""
    made_: list[Carried] = []

    class Meanwhile(MemoryTables):
        def write(self, writes: Sequence[Write]) -> None:
            first = writes[0]
            if isinstance(first, Put) and first.item["pk"] == "ARRIVING" and first.condition != Absent() and not made_:
                made_.append(Carried(honest, arrivals.make(honest, told), 0, known=False))
            super().write(writes)

    late = Desk(tables=Meanwhile())
    with stack(here) as left, stack(late) as right:
        honest, arrivals = source(left).manifest(), Arrivals(right, "churn")
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "manifest"
            told.write_bytes(honest.text)
            arrivals.announce(honest)
            for file in honest.files:
                (Path(folder) / "file").write_bytes(FILES[file.path])
                arrivals.put(honest, file.path, Path(folder) / "file")
            right.put(f"mlflow-artifacts:/{folder_of('churn', honest.content)}", "manifest.json", told)
            wrong = {"content": honest.content, "digest": "0" * 64}
            answer = right.ask("POST", "/v1/models/churn/arrivals", body=wrong)
    assert len(made_) == 1
    assert answer == {"model": "churn", "version": 1, "made": False}
    assert files(late) == FILES


def test_every_request_twice_is_one_version(here: Desk, there: Desk) -> None:
    class Repeating:
        def __init__(self, function: Any) -> None:
            self.function, self.routes = function, function.routes

        def __call__(self, event: dict[str, Any]) -> Any:
            self.function(event)
            return self.function(event)

    ways: dict[str, Any] = {
        side: {"functions": [Repeating(function) for function in desk.functions.values()]}
        for side, desk in (("out", here), ("into", there))
    }
    assert promoted(here, there, **ways).version == 1
    assert len(births(there)) == 1
    assert here.types("MODEL", "churn").count("ModelVersionExported") == 1


def test_a_measurement_that_gets_no_further_ends() -> None:
    answers = iter([{"measured_bytes": 1, "total_bytes": 9}, {"measured_bytes": 1, "total_bytes": 9}])
    with pytest.raises(Unavailable, match="1 of 9 bytes are measured, and it gets no further"):
        asked_until("version", lambda: next(answers))


# --- the alias, and where stacks are -----------------------------------------------------


def test_an_alias_that_is_asked_for_goes_by_the_target_s_policy(here: Desk, there: Desk) -> None:
    promoted(here, there)
    with stack(there) as right:
        arrivals = Arrivals(right, "churn")
        assert arrivals.request(1, "champion", "because")["state"] == "applied"
        assert arrivals.request(1, "champion", "because")["state"] == "applied"
    assert there.types("MODEL", "churn").count("AliasChanged") == 1


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [("churn@champion", "churn", "@champion"), ("churn/12", "churn", "12"), ("a@b/c@d", "a", "@b/c@d")],
)
def test_versions_are_named_as_people_name_them(text: str, name: str, said: str) -> None:
    assert Reference.read(text) == (name, said)


@pytest.mark.parametrize("text", ["churn", "churn/", "@champion", "churn/champion", ""])
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="names no version"):
        Reference.read(text)


def test_a_stack_is_found_by_its_name_and_its_token_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "modelwright.toml"
    toml.write_text('[stacks.prod]\nendpoint = "https://prod.example"\ntoken_env = "PROD_TOKEN"\n')
    monkeypatch.delenv("PROD_TOKEN", raising=False)
    found = address("prod", tmp_path)
    with pytest.raises(InvalidInput, match="put it into the variable PROD_TOKEN"):
        found.token()
    monkeypatch.setenv("PROD_TOKEN", "mw.x")
    assert (found.endpoint, found.token()) == ("https://prod.example", "mw.x")
    with pytest.raises(InvalidInput, match=r"no \[stacks.dev\] .* it has prod"):
        address("dev", tmp_path)
    toml.write_text('[stacks.prod]\nendpoint = "prod"\ntoken = "secret"\n')
    with pytest.raises(InvalidInput, match=r"stacks\.prod\.endpoint.*stacks\.prod\.token"):
        address("prod", tmp_path)
    with pytest.raises(InvalidInput, match=r"holds no modelwright\.toml"):
        address("prod", tmp_path / "elsewhere")
