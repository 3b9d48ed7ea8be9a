"""What gates are told, what that costs, and the way of a request through light and full gates."""

import hashlib
import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from support.http import Caller, deliver, handler_of
from support.mlflow_desk import API, Desk, event_of, sample

from modelwright.adapters.metering import Meter, MeteredBlobs, MeteredTables
from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.flavors import mlmodel, pickled
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy, Project, current_key
from modelwright.registry.evidence import EVERYTHING, NEEDS, gather, served
from modelwright.registry.store import RegistryStore
from modelwright.storage import Anything, Put

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CALL = Call("default", "ann", NOW, "c")
COLUMNS = {
    "id": {"type": "string"},
    "t": {"type": "timestamp"},
    "temp": {"type": "number"},
    "late": {"type": "integer"},
}
PROJECT: dict[str, Any] = {
    "name": "demo",
    "sources": {
        name: {"prefix": f"{name}/", "columns": COLUMNS, "key": ["id"], "event_time": "t", "labels": name == "arrivals"}
        for name in ("arrivals", "weather", "boats")
    },
    "views": {
        "sky": {"entity": ["id"], "source": "weather", "features": ["temp"]},
        "sea": {"entity": ["id"], "source": "boats", "features": ["temp"]},
        "recent": {
            "entity": ["id"], "source": "weather", "aggregates": {"rows": {"function": "count"}}, "windows": ["2h"],
        },
    },
    "on_demand": {"calendar": {"function": "code:calendar", "inputs": ["t"], "outputs": ["hour"]}},
    "models": {
        "flights": {
            "id_column": "id", "time_column": "t", "request": {"id": "string", "t": "timestamp"},
            "views": ["sky", "recent"], "on_demand": ["calendar"], "inputs": ["temp", "hour"], "trainer": "code:fit",
            "label": {"source": "arrivals", "column": "late", "above": 15},
        }
    },
}  # fmt: skip


def declare(desk: Desk, **gates: Any) -> None:
    models = {"flights": {**PROJECT["models"]["flights"], "gates": gates}}
    project = Project.model_validate({**PROJECT, "models": models})
    item = {**current_key("default")._asdict(), "project": project.model_dump_json()}
    desk.tables.write([Put("governance", item, Anything())])


def training(desk: Desk, identity: str = "t1", **more: Any) -> None:
    desk.tell("registry", event_of("registry-training-completed.json", training_id=identity, **more))


class Gathered:
    """A candidate, and how many calls it took to know of it."""

    def __init__(self, desk: Desk, *gates: str, number: int = 1, tier: str = "dev") -> None:
        store = RegistryStore(desk.tables, CALL)
        model = store.model("flights")
        version, meter = store.version(model, number), Meter()
        tables, blobs = MeteredTables(desk.tables, meter), MeteredBlobs(desk.blobs, meter)
        self.candidate: Candidate = gather(
            CALL, model, version, "champion", store=RegistryStore(tables, CALL), tables=tables, blobs=blobs,
            policy=GatePolicy(gates=gates), tier=tier,
        )  # fmt: skip
        counts = meter.take()
        self.calls = sum(count for name, count in counts.items() if name.endswith("calls"))


def test_a_policy_without_gates_costs_nothing_and_each_gate_only_what_it_reads(desk: Desk) -> None:
    declare(desk)
    training(desk)
    training(desk, "t2")
    costs = {gate: Gathered(desk, gate, number=2).calls for gate in NEEDS}
    assert Gathered(desk, number=2).calls == 0
    assert costs == {
        "metric_floor": 0, "beats_champion": 1, "data_known": 0, "size_budget": 0, "not_inferior": 1,
        "latency_budget": 0, "features_known": 1, "signature_compatible": 2, "card_complete": 1, "no_quarantine": 2,
        "parity_proven": 2,
    }  # fmt: skip
    assert Gathered(desk, *NEEDS, number=2).calls == 5


def test_a_gate_of_somebody_else_is_told_everything(desk: Desk) -> None:
    declare(desk)
    training(desk)
    told = Gathered(desk, "somebody_elses", tier="prod").candidate
    assert told.known_features >= {"temp", "hour"}
    assert told.environment == "prod"
    assert {need for needs in NEEDS.values() for need in needs} == EVERYTHING


def test_a_project_serves_request_columns_features_of_views_and_on_demand_features() -> None:
    project = Project.model_validate(PROJECT)
    assert served(project, project.models["flights"]) == {
        "id", "t", "hour", "temp", "sky__temp", "sky:temp", "rows_2h", "recent__rows_2h", "recent:rows_2h",
    }  # fmt: skip


def test_a_version_that_names_no_features_is_fed_the_columns_of_its_signature(desk: Desk) -> None:
    declare(desk)
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
    signature = {"inputs": json.dumps([{"name": "temp", "type": "double"}, {"type": "double"}])}
    desk.blobs.put("artifacts", "default/1/x/MLmodel", json.dumps({"signature": signature}).encode())
    desk.registry.ok("POST", f"{API}/model-versions/create", {"name": "flights", "source": "mlflow-artifacts:/1/x"})
    assert Gathered(desk, "features_known").candidate.features == ("temp",)


def test_what_a_version_was_trained_on_is_known_by_its_digest(desk: Desk) -> None:
    training(desk)
    assert Gathered(desk).candidate.dataset_digest == event_of("registry-training-completed.json").dataset_digest


# --- parity, predictions, files ----------------------------------------------------------


def proof(rows: int = 16, equal: int = 16) -> bytes:
    return json.dumps({"service": "flights d", "rows": rows, "equal": equal, "digest": "d"}).encode()


@pytest.mark.parametrize(
    ("pinned", "there", "rows"),
    [
        (proof(), proof(), 16),
        (proof(), proof(17, 17), 0),
        (proof(), None, 0),
        (b"", proof(), 0),
        (proof(16, 15), proof(16, 15), 0),
        (proof(0, 0), proof(0, 0), 0),
    ],
)
def test_only_the_trainings_own_proof_of_parity_counts(
    desk: Desk, pinned: bytes, there: bytes | None, rows: int
) -> None:
    digest = hashlib.sha256(pinned).hexdigest() if pinned else ""
    training(desk, artifact_key="default/trainings/t1/model/", parity_digest=digest)
    if there is not None:
        desk.blobs.put("artifacts", "default/trainings/t1/model/parity.json", there)
    told = Gathered(desk, "parity_proven").candidate
    assert (told.parity_rows, told.parity) == (rows, digest if rows else "")


def test_predictions_are_those_that_lay_there_when_the_version_was_made(desk: Desk) -> None:
    place = "default/trainings/t1/model/"
    training(desk, artifact_key=place, predictions_digest=hashlib.sha256(b"said").hexdigest())
    told = Gathered(desk).candidate
    assert told.scored() is None
    desk.blobs.put("artifacts", f"{place}predictions.parquet", b"said")
    assert told.scored() == b"said"
    desk.blobs.put("artifacts", f"{place}predictions.parquet", b"put there later")
    assert told.scored() is None
    desk.blobs.put("artifacts", f"{place}MLmodel", b"flavors")
    assert told.read("MLmodel") == b"flavors"
    with pytest.raises(NotFound):
        told.read("none")


def test_the_code_is_that_which_the_project_names(desk: Desk) -> None:
    training(desk)
    assert Gathered(desk).candidate.code() is None
    wheel = f"projects/default/{hashlib.sha256(b'PK').hexdigest()}.whl"
    item = {**current_key("default")._asdict(), "project": json.dumps({**PROJECT, "wheel": wheel})}
    desk.tables.write([Put("governance", item, Anything())])
    assert Gathered(desk).candidate.code() is None
    desk.blobs.put("artifacts", wheel, b"PK")
    assert Gathered(desk).candidate.code() == b"PK"
    desk.blobs.put("artifacts", wheel, b"another")
    assert Gathered(desk).candidate.code() is None


# --- quarantines and cards ---------------------------------------------------------------


@pytest.mark.parametrize("order", [("began",), ("began", "ended"), ("ended", "began"), ("began", "began")])
def test_a_quarantine_is_open_from_its_begin_to_its_end_in_whichever_order_they_are_told(
    desk: Desk, order: tuple[str, ...]
) -> None:
    declare(desk)
    training(desk)
    samples = {"began": "registry-quality-failed.json", "ended": "registry-quarantine-released.json"}
    for word in order:
        desk.tell("registry", event_of(samples[word]))
    held = () if "ended" in order else ("weather/2013-03-04.parquet of weather",)
    assert Gathered(desk, "no_quarantine").candidate.quarantined == held


def test_neither_single_rows_nor_data_of_others_hold_a_model_back(desk: Desk) -> None:
    declare(desk)
    training(desk)
    desk.tell("registry", event_of("registry-quality-failed.json", scope="rows"))
    desk.tell("registry", event_of("registry-quality-failed.json", source="boats"))
    assert Gathered(desk, "no_quarantine").candidate.quarantined == ()
    desk.tell("registry", event_of("registry-quality-failed.json", source="arrivals"))
    assert len(Gathered(desk, "no_quarantine").candidate.quarantined) == 1


def test_a_card_counts_once_people_wrote_it(desk: Desk) -> None:
    declare(desk, gates=["card_complete"], card=["owner"])
    training(desk)
    assert Gathered(desk, "card_complete").candidate.card == frozenset()
    asked = {"version": 1, "alias": "champion"}
    status, said = desk.registry("POST", "/v1/models/flights/transitions", asked)
    assert (status, "the card of flights v1 lacks owner" in said["message"]) == (409, True)
    desk.registry.ok("PUT", "/v1/models/flights/versions/1/card", {"sections": {"owner": "the team"}})
    assert Gathered(desk, "card_complete").candidate.card == {"owner"}
    assert desk.registry("POST", "/v1/models/flights/transitions", asked)[0] == 200


# --- the whole way -----------------------------------------------------------------------


def folder(desk: Desk, champion: int, *, shift: float) -> str:
    """Put a model with predictions into a folder; return where."""
    frame = pd.DataFrame({"temp": np.arange(60.0), "hour": np.arange(60.0) % 24})
    body = pickled(LogisticRegression().fit(frame, np.arange(60) % 2))
    place = f"default/1/x{shift}/"
    label = np.arange(400) % 2
    scores = np.where(label == 1, 0.6, 0.4) + np.sin(np.arange(400)) / 5
    table = pa.table({"label": label, "champion": scores, "challenger": scores + shift * (label - 0.5)})
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"modelwright.champion": str(champion)}), sink)
    signature = {"inputs": json.dumps([{"name": n, "type": "double"} for n in ("temp", "hour")])}
    files = {
        "model.pkl": body,
        "MLmodel": mlmodel("r", inputs=["temp", "hour"], training_id="", signature=signature),
        "predictions.parquet": sink.getvalue(),
    }
    for name, content in files.items():
        desk.blobs.put("artifacts", place + name, content)
    return f"mlflow-artifacts:/1/x{shift}"


def transition(desk: Desk, number: int) -> dict[str, Any]:
    """Ask for the alias champion, bring the events to the function ``gates``, and return what became of it."""
    registry, gates = Caller(desk.functions["registry"]), handler_of("gates", desk.wiring)
    before = len(desk.stream("MODEL", "flights"))
    registry("POST", "/v1/models/flights/transitions", {"version": number, "alias": "champion"})
    for item in desk.stream("MODEL", "flights")[before:]:
        if item.envelope.data.get("pending"):
            for expected in ("handled", "duplicate"):
                assert deliver(gates, item.envelope) == {"outcome": expected}
    return desk.stream("MODEL", "flights")[-1].envelope.model_dump()


def test_full_gates_run_elsewhere_and_the_request_goes_on(desk: Desk) -> None:
    declare(desk, gates=["size_budget", "latency_budget", "not_inferior"], max_latency_ms=5000, comparison="brier")
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
    for shift in (0.0, 0.2, -0.2):
        body = {"name": "flights", "source": folder(desk, 1, shift=shift)}
        desk.registry.ok("POST", f"{API}/model-versions/create", body)
    first = transition(desk, 1)
    assert (first["type"], first["data"]["version"]) == ("AliasChanged", 1)
    gates = [result["gate"] for result in first["data"]["results"]]
    assert sorted(gates) == ["latency_budget", "not_inferior", "size_budget"]
    declare(desk, gates=["size_budget", "not_inferior"], comparison="brier")
    worse = transition(desk, 3)
    assert worse["type"] == "TransitionRefused"
    (no,) = (result for result in worse["data"]["results"] if not result["passed"])
    assert no["gate"] == "not_inferior"
    assert "brier of v3 against champion v1 on 400 held-out rows differs by +0." in no["text"]
    better = transition(desk, 2)
    assert (better["type"], better["data"]["version"]) == ("AliasChanged", 2)
    stale = transition(desk, 3)
    assert "was compared with 1, which champion v2 is not" in str(stale["data"]["results"])


@pytest.mark.parametrize(
    "policy", [{"gates": {"gates": ["beauty"]}}, {"environments": {"prod": {"gates": ["beauty"]}}}]
)
def test_a_project_that_names_a_gate_which_is_not_installed_does_not_take_effect(
    desk: Desk, policy: dict[str, Any]
) -> None:
    project = {**PROJECT, "models": {"flights": {**PROJECT["models"]["flights"], **policy}}}
    status, said = desk.registry("POST", "/v1/projects", {"project": project})
    assert status == 400
    assert "model flights names no installed gates: beauty; there are beats_champion, card_complete" in said["message"]
    assert "not_inferior" in said["message"]
    assert desk.registry("GET", "/v1/projects/current")[0] == 404


def test_tags_that_are_nonsense_are_said_at_once_also_where_all_gates_run_elsewhere(desk: Desk) -> None:
    declare(desk, gates=["not_inferior"])
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
    tags = [{"key": "modelwright.evaluation", "value": "{"}]
    body = {"name": "flights", "source": "mlflow-artifacts:/1/x", "tags": tags}
    desk.registry.ok("POST", f"{API}/model-versions/create", body)
    status, said = desk.registry("POST", "/v1/models/flights/transitions", {"version": 1, "alias": "champion"})
    assert (status, "is no evaluation" in said["message"]) == (400, True)


@pytest.mark.parametrize("name", ["gates-transition-requested.json", "gates-transition-judged.json"])
def test_a_request_that_is_gone_is_handled_all_the_same(desk: Desk, name: str) -> None:
    gates = handler_of("gates", desk.wiring)
    assert gates(sample(name)) == {"outcome": "handled"}
    assert gates(sample(name)) == {"outcome": "duplicate"}
