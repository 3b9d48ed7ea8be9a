"""What a new version's folder says of it, and which folders it may be made of."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk, event_of

from modelwright.adapters.memory import MemoryBlobs
from modelwright.artifacts import environment_digest, new_model_id, new_run_id
from modelwright.context import Call
from modelwright.errors import Unavailable
from modelwright.events import LoggedModelCreated
from modelwright.flavors import Sklearn, open_model
from modelwright.registry import folder
from modelwright.registry.entities import ModelVersion
from modelwright.registry.signatures import Signature
from modelwright.registry.store import RegistryStore

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
RUN, MODEL = new_run_id("7"), new_model_id("7")
PLACE = f"default/7/models/{MODEL}/artifacts/"
INPUTS = [{"name": "age", "type": "double", "required": True}]
SIGNATURE = {"inputs": json.dumps(INPUTS), "outputs": '[{"type": "double"}]', "params": None}
MLMODEL = yaml.safe_dump({"flavors": {"sklearn": {}}, "signature": SIGNATURE}).encode()


def model(desk: Desk, *names: str) -> None:
    for name in names or ("flights",):
        desk.registry.ok("POST", f"{RM}/create", {"name": name})


def make(desk: Desk, source: str, name: str = "flights", **named: str) -> tuple[int, Any]:
    return desk.registry("POST", f"{MV}/create", {"name": name, "source": source, **named})


def stored(desk: Desk, number: int, name: str = "flights") -> ModelVersion:
    store = RegistryStore(desk.tables, Call("default", "test", NOW, "c"))
    return store.version(store.model(name), number)


def put(desk: Desk, **files: bytes) -> None:
    for name, body in files.items():
        desk.blobs.put("artifacts", PLACE + name.replace("__", "."), body)


def test_a_version_knows_its_signature_its_size_and_the_lock_of_its_libraries(desk: Desk) -> None:
    model(desk)
    put(desk, MLmodel=MLMODEL, model__pkl=b"pickle", requirements__txt=b"numpy==2", conda__yaml=b"name: x")
    assert make(desk, f"models:/{MODEL}")[0] == 200
    version = stored(desk, 1)
    assert json.loads(version.signature) == {"inputs": INPUTS, "outputs": [{"type": "double"}]}
    assert version.size == len(MLMODEL) + 6 + 8 + 7
    expected = environment_digest({"requirements.txt": b"numpy==2", "conda.yaml": b"name: x"})
    assert version.environment_digest == expected
    created = desk.stream("MODEL", "flights")[-1].envelope.data
    assert (created["environment_digest"], created["artifact_digest"]) == (
        expected,
        hashlib.sha256(b"pickle").hexdigest(),
    )


def test_the_signature_that_stock_mlflow_writes_is_read() -> None:
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    takes = Schema([ColSpec("double", "age"), ColSpec("string", "name", required=False), ColSpec("integer", "seats")])
    params = ParamSchema([ParamSpec("t", "double", 0.5)])
    written = Model(signature=ModelSignature(takes, Schema([ColSpec("double")]), params)).to_yaml()
    blobs = MemoryBlobs()
    blobs.put("artifacts", "w/p/MLmodel", written.encode())
    read = Signature.read(folder.read("w/p/", blobs).signature)
    assert read
    assert [(c.name, json.loads(c.kind)["type"], c.required) for c in read.inputs] == [
        ("age", "double", True), ("name", "string", False), ("seats", "integer", True),
    ]  # fmt: skip
    assert [c.name for c in read.outputs] == ["#1"]
    assert [c.name for c in read.params] == ["t"]


def test_the_lock_is_the_files_and_not_the_order_they_are_told_in() -> None:
    one = {"requirements.txt": b"a", "conda.yaml": b"b"}
    assert environment_digest(one) == environment_digest(dict(reversed(one.items())))
    others = [{}, {"requirements.txt": b"a"}, {"conda.yaml": b"a"}, {"requirements.txt": b"b", "conda.yaml": b"a"}]
    assert len({environment_digest(each) for each in (one, *others)}) == 5
    assert environment_digest({"MLmodel": b"no lock"}) == ""


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"- a list",
        b"a: [",
        b"signature: 3",
        b"signature: {inputs: '[1, 2]', outputs: '{'}",
        b"signature: {inputs: '" + b"[" * 50_000 + b"'}",
        b"[" * 100_000,
        b'a: &a {b: 1}\nc: {<<: *a}\nsignature: {inputs: \'[{"name": "x", "type": "long"}]\'}',
        b"t: !!python/object/apply:os.system [exit]",
        b"d: 2026-99-99",
        b"x" * 200_001,
        b'signature: {inputs: \'[{"name": "\\ud800"}]\'}',
    ],
)
def test_a_hostile_mlmodel_file_keeps_no_version_from_being_made(desk: Desk, text: bytes) -> None:
    model(desk)
    put(desk, MLmodel=text)
    assert make(desk, f"models:/{MODEL}")[0] == 200
    version = stored(desk, 1)
    assert version.signature == ""
    assert version.size == len(text)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text("{}[]:-&*!'\"\n abc<|>", max_size=200).map(str.encode))
def test_whatever_an_mlmodel_file_holds_is_read_or_not_known(text: bytes) -> None:
    blobs = MemoryBlobs()
    blobs.put("artifacts", "w/p/MLmodel", text)
    assert folder.read("w/p/", blobs).size == len(text)


def test_a_signature_that_is_too_long_is_not_kept(desk: Desk) -> None:
    model(desk)
    wide = json.dumps([{"name": f"column {n}", "type": "double"} for n in range(2000)])
    put(desk, MLmodel=yaml.safe_dump({"signature": {"inputs": wide}}).encode())
    make(desk, f"models:/{MODEL}")
    assert stored(desk, 1).signature == ""


def test_a_folder_of_too_many_files_has_no_known_size(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    model(desk)
    monkeypatch.setattr(folder, "MOST_FILES", 2)
    put(desk, MLmodel=b"a: 1", b=b"1", c=b"1")
    make(desk, f"models:/{MODEL}")
    assert stored(desk, 1).size is None
    make(desk, "s3://elsewhere/x")
    assert stored(desk, 2).size is None


# --- sources -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "named", "status"),
    [
        (f"runs:/{RUN}/clf", {"run_id": RUN}, 200),
        (f"mlflow-artifacts:/7/{RUN}/artifacts/clf", {"run_id": RUN}, 200),
        (f"mlflow-artifacts:/team/files/{RUN}/artifacts/clf", {"run_id": RUN}, 200),
        (f"models:/{MODEL}", {"run_id": RUN, "model_id": MODEL}, 200),
        (f"models:/{MODEL}", {"model_id": MODEL}, 200),
        (f"mlflow-artifacts:/7/models/{MODEL}/artifacts", {"model_id": MODEL}, 200),
        (f"mlflow-artifacts:/7/models/{MODEL}/artifacts/part", {"model_id": MODEL, "run_id": RUN}, 200),
        (f"models:/{MODEL}", {"run_id": RUN}, 200),
        ("s3://elsewhere/x", {"run_id": RUN}, 200),
        (f"runs:/{new_run_id('7')}/clf", {"run_id": RUN}, 400),
        (f"mlflow-artifacts:/7/{new_run_id('7')}/artifacts/clf", {"run_id": RUN}, 400),
        (f"mlflow-artifacts:/8/{RUN}x/artifacts", {"run_id": RUN}, 400),
        (f"mlflow-artifacts:/7/other/{RUN}/artifacts", {"run_id": RUN}, 400),
        (f"mlflow-artifacts:/7/{RUN}", {"run_id": RUN}, 400),
        (f"mlflow-artifacts:/7/{RUN}/artifacts/../../secret", {"run_id": RUN}, 400),
        (f"models:/{new_model_id('7')}", {"model_id": MODEL}, 400),
        (f"runs:/{RUN}/clf", {"run_id": RUN, "model_id": MODEL}, 400),
        (f"mlflow-artifacts:/7/{RUN}/artifacts/clf", {"run_id": RUN, "model_id": MODEL}, 400),
    ],
)
def test_a_source_lies_within_the_run_or_logged_model_that_is_named(
    desk: Desk, source: str, named: dict[str, str], status: int
) -> None:
    model(desk)
    answer, said = make(desk, source, **named)
    assert answer == status, said
    if status == 400:
        assert said["error_code"] == "INVALID_PARAMETER_VALUE"
        assert desk.types("MODEL", "flights") == ["RegisteredModelCreated"]


def test_a_logged_model_of_another_run_is_not_this_runs(desk: Desk) -> None:
    model(desk)
    desk.tell("registry", LoggedModelCreated(model_id=MODEL, experiment_id="7", run_id=new_run_id("7")))
    status, said = make(desk, f"models:/{MODEL}", run_id=RUN)
    assert status == 400
    assert said["message"] == f"Invalid model version source: 'models:/{MODEL}'. It lies outside the run {RUN}."


def test_a_prompt_may_name_what_it_likes(desk: Desk) -> None:
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    desk.registry.ok("POST", f"{RM}/create", {"name": "greeting", "tags": prompt})
    body = {"name": "greeting", "source": "dummy-source", "run_id": RUN, "tags": prompt}
    desk.registry.ok("POST", f"{MV}/create", body)


def test_a_prompts_tag_opens_no_other_runs_files(desk: Desk) -> None:
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    desk.registry.ok("POST", f"{RM}/create", {"name": "greeting", "tags": prompt})
    body = {"name": "greeting", "source": f"runs:/{new_run_id('7')}/clf", "run_id": RUN, "tags": prompt}
    status, said = desk.registry("POST", f"{MV}/create", body)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_logged_model_of_another_run_brings_no_run_that_is_named_with_it(desk: Desk) -> None:
    model(desk)
    desk.tell("registry", LoggedModelCreated(model_id=MODEL, experiment_id="7", run_id=new_run_id("7")))
    status, said = make(desk, f"models:/{MODEL}", run_id=RUN, model_id=MODEL)
    assert status == 400
    assert said["message"] == f"Invalid model version source: 'models:/{MODEL}'. It lies outside the run {RUN}."


@pytest.mark.parametrize("number", ["\u00b2", "\u0661", "9" * 5000, ""])
def test_what_is_no_number_of_a_version_names_none(desk: Desk, number: str) -> None:
    model(desk)
    status, said = make(desk, f"models:/flights/{number}")
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


# --- what is served is what was registered -------------------------------------------------


@pytest.mark.parametrize(("others", "pinned"), [({}, b"good"), ({"model__pkl": b"first"}, b"first")])
def test_a_pickle_that_is_called_otherwise_is_pinned_too(desk: Desk, others: dict[str, bytes], pinned: bytes) -> None:
    model(desk)
    document = yaml.safe_dump({"flavors": {"sklearn": {"pickled_model": "clf.bin"}}}).encode()
    put(desk, MLmodel=document, clf__bin=b"good", **others)
    assert make(desk, f"models:/{MODEL}")[0] == 200
    assert stored(desk, 1).artifact_digest == hashlib.sha256(pinned).hexdigest()


def test_what_was_put_in_place_of_a_pickle_later_is_not_loaded(desk: Desk) -> None:
    model(desk)
    put(desk, MLmodel=yaml.safe_dump({"flavors": {"sklearn": {"pickled_model": "clf.bin"}}}).encode(), clf__bin=b"good")
    make(desk, f"models:/{MODEL}")
    put(desk, clf__bin=b"bad")
    with pytest.raises(Unavailable, match=r"does not load: clf\.bin has the digest"):
        open_model("x", PLACE, digest=stored(desk, 1).artifact_digest, blobs=desk.blobs, flavors=lambda _: Sklearn())


# --- copies ------------------------------------------------------------------------------


def trained(desk: Desk) -> ModelVersion:
    desk.tell(
        "registry",
        event_of(
            "registry-training-completed.json",
            signature='{"inputs":[],"outputs":[{"type":"double"}]}', size=123, parity_digest="p" * 64,
            predictions_digest="q" * 64, environment_digest="e" * 64,
        ),
    )  # fmt: skip
    return stored(desk, 1)


def test_a_training_says_what_lies_beside_its_model(desk: Desk) -> None:
    version = trained(desk)
    assert (version.size, version.parity, version.predictions) == (123, "p" * 64, "q" * 64)
    assert version.environment_digest == "e" * 64
    assert version.signature.endswith('"double"}]}')


def test_a_copy_has_all_that_is_known_of_the_version_whose_files_it_has(desk: Desk) -> None:
    first = trained(desk)
    assert make(desk, "models:/flights/1", run_id=first.run_id)[0] == 200
    copy = stored(desk, 2)
    same = ("artifact_key", "artifact_digest", "features", "metrics", "dataset_digest", "signature", "size", "parity")
    assert {name: getattr(copy, name) for name in same} == {name: getattr(first, name) for name in same}
    assert (copy.copied_from, copy.run_id, copy.evaluation) == ("flights/1", first.run_id, first.evaluation)
    assert copy.predictions == first.predictions
    created = desk.stream("MODEL", "flights")[-1].envelope.data
    assert (created["copied_from"], created["features"]) == ("flights/1", list(first.features))
    assert created["environment_digest"] == "e" * 64


def test_a_copy_for_another_model_was_never_compared_with_its_champion(desk: Desk) -> None:
    first = trained(desk)
    assert first.evaluation
    assert first.evaluation.brier_difference
    model(desk, "delays")
    assert make(desk, "models:/flights/1", "delays")[0] == 200
    copy = stored(desk, 1, "delays")
    assert copy.evaluation
    assert copy.evaluation.challenger_auc == first.evaluation.challenger_auc
    assert (copy.evaluation.brier_difference, copy.evaluation.champion_auc, copy.predictions) == (None, None, "")


def test_a_copy_names_the_run_of_its_origin_or_none(desk: Desk) -> None:
    trained(desk)
    status, said = make(desk, "models:/flights/1", run_id=RUN)
    assert status == 400
    assert "run_id and model_id must be those of flights v1" in said["message"]
