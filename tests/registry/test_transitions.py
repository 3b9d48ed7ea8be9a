import json
from datetime import UTC, datetime
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from support.mlflow_desk import API, Desk, event_of, sample

from modelwright import plugins
from modelwright.errors import PluginError
from modelwright.events import Estimate, Evaluation, GateResult
from modelwright.governance.access import Grant
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy, Project
from modelwright.registry.gates import BeatsChampion, DataKnown, MetricFloor
from modelwright.storage import Anything, Put
from modelwright.testing import GATE_CHECKS

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
GATES = {"metric_floor": MetricFloor, "beats_champion": BeatsChampion, "data_known": DataKnown}
KNOWN = [{"key": "modelwright.metric.auc", "value": "0.7"}, {"key": "modelwright.dataset_digest", "value": "d1"}]


@pytest.fixture(autouse=True)
def installed_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the gates these and one that is broken; of all other kinds what is installed."""
    points = [
        EntryPoint(name, f"modelwright.registry.gates:{kind.__name__}", "modelwright.gates")
        for name, kind in GATES.items()
    ]
    points.append(EntryPoint("broken", "modelwright.nowhere:Gate", "modelwright.gates"))

    def entry_points(group: str, name: str = "") -> list[EntryPoint]:
        there = points if group == "modelwright.gates" else list(metadata.entry_points(group=group))
        return [point for point in there if name in ("", point.name)]

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def apply_project(desk: Desk, **gates: Any) -> None:
    """Declare the model ``flights`` with a gate policy."""
    columns = {"id": {"type": "string"}, "t": {"type": "timestamp"}, "late": {"type": "integer"}}
    source = {"prefix": "arrivals/", "columns": columns, "key": ["id"], "event_time": "t", "labels": True}
    declared = {
        "id_column": "id", "time_column": "t", "request": {"id": "string", "x": "number"}, "views": [], "inputs": ["x"],
        "label": {"source": "arrivals", "column": "late", "above": 15}, "trainer": "code:fit", "gates": gates,
    }  # fmt: skip
    project = {"name": "demo", "sources": {"arrivals": source}, "models": {"flights": declared}}
    desk.registry.ok("POST", "/v1/projects", {"project": project})


def model(desk: Desk, *versions: list[dict[str, str]]) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "flights"})
    for tags in versions:
        body = {"name": "flights", "source": "mlflow-artifacts:/1/x", "tags": tags}
        desk.registry.ok("POST", f"{MV}/create", body)


def ask(desk: Desk, number: int, alias: str = "champion", **more: Any) -> tuple[int, Any]:
    return desk.registry("POST", "/v1/models/flights/transitions", {"version": number, "alias": alias, **more})


def aliases(desk: Desk) -> dict[str, int]:
    found: dict[str, int] = desk.registry.ok("GET", "/v1/models/flights")["aliases"]
    return found


def test_without_a_project_there_are_no_gates(desk: Desk) -> None:
    model(desk, [])
    assert ask(desk, 1)[0] == 200
    assert aliases(desk) == {"champion": 1}
    assert desk.types("MODEL", "flights")[-2:] == ["TransitionRequested", "AliasChanged"]


def test_a_version_that_passes_every_gate_takes_the_alias(desk: Desk) -> None:
    apply_project(desk, metric="auc", floor=0.6)
    model(desk, KNOWN)
    status, said = ask(desk, 1, reason="first")
    assert (status, said["transition"]["state"]) == (200, "applied")
    changed = desk.stream("MODEL", "flights")[-1].envelope.data
    assert [(r["gate"], r["passed"]) for r in changed["results"]] == [(g, True) for g in GATES]


def test_a_refusal_names_every_reason_and_is_in_the_log(desk: Desk) -> None:
    apply_project(desk)
    model(desk, [])
    status, said = ask(desk, 1)
    assert (status, said["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert "metric_floor" in said["message"]
    assert "data_known" in said["message"]
    assert aliases(desk) == {}
    assert desk.types("MODEL", "flights")[-2:] == ["TransitionRequested", "TransitionRefused"]
    assert desk.registry.ok("GET", "/v1/models/flights")["transitions"][0]["state"] == "refused"


@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_mlflows_alias_call_goes_the_same_way(desk: Desk, alias: str) -> None:
    apply_project(desk)
    model(desk, [], KNOWN)
    assert desk.registry("POST", f"{RM}/alias", {"name": "flights", "alias": alias, "version": "1"})[0] == 409
    assert desk.registry("POST", f"{RM}/alias", {"name": "flights", "alias": alias, "version": "2"})[0] == 200
    assert aliases(desk) == {alias: 2}


def test_other_aliases_are_free(desk: Desk) -> None:
    apply_project(desk)
    model(desk, [])
    desk.registry.ok("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "1"})
    assert desk.registry.ok("GET", f"{RM}/alias?name=flights&alias=blue")["model_version"]["aliases"] == ["blue"]
    desk.registry.ok("DELETE", f"{RM}/alias?name=flights&alias=blue")
    status, said = desk.registry("GET", f"{RM}/alias?name=flights&alias=blue")
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("alias", ["latest", "v1", "V22", "a b", "", "a/b"])
def test_an_alias_has_rules(desk: Desk, alias: str) -> None:
    model(desk, [])
    assert desk.registry("POST", f"{RM}/alias", {"name": "flights", "alias": alias, "version": "1"})[0] == 400
    assert ask(desk, 1, alias)[0] == 400


def test_only_an_administrator_overrides_and_only_with_a_reason(desk: Desk) -> None:
    apply_project(desk)
    model(desk, [])
    contributor = desk.as_caller("registry", grants=(Grant(role="contributor"),))
    body = {"version": 1, "alias": "champion", "force": True, "reason": "outage"}
    assert contributor("POST", "/v1/models/flights/transitions", body)[0] == 403
    assert ask(desk, 1, force=True)[0] == 400
    assert ask(desk, 1, force=True, reason="outage")[0] == 200
    changed = desk.stream("MODEL", "flights")[-1].envelope.data
    assert (changed["forced"], [r["passed"] for r in changed["results"]]) == ("outage", [False, True, False])


def test_a_reader_may_not_ask(desk: Desk) -> None:
    model(desk, [])
    reader = desk.as_caller("registry", grants=(Grant(role="reader"),))
    assert reader("POST", "/v1/models/flights/transitions", {"version": 1, "alias": "champion"})[0] == 403
    assert reader("POST", f"{RM}/alias", {"name": "flights", "alias": "champion", "version": "1"})[0] == 403


def test_the_alias_a_version_has_is_no_change(desk: Desk) -> None:
    model(desk, [])
    ask(desk, 1)
    before = desk.types("MODEL", "flights")
    assert ask(desk, 1)[0] == 200
    assert desk.types("MODEL", "flights") == before


def test_a_gate_that_does_not_load_says_no(desk: Desk) -> None:
    apply_project(desk, gates=["broken", "data_known"])
    model(desk, KNOWN)
    status, said = ask(desk, 1)
    assert status == 409
    assert "broken" in said["message"]
    assert "does not load" in said["message"]
    assert "data_known: " not in said["message"]


def test_one_broken_plugin_takes_no_other_down() -> None:
    assert isinstance(plugins.gate("metric_floor"), MetricFloor)
    with pytest.raises(PluginError, match="does not load"):
        plugins.gate("broken")
    with pytest.raises(PluginError, match="no plugin moon of detectors: installed are anderson_darling"):
        plugins.load("detectors", "moon")


def test_a_challenger_that_becomes_champion_is_no_challenger_any_more(desk: Desk) -> None:
    model(desk, [], [])
    assert ask(desk, 1)[0] == ask(desk, 2, "challenger")[0] == ask(desk, 2)[0] == 200
    assert aliases(desk) == {"champion": 2}
    moved, dropped = (item.envelope.data for item in desk.stream("MODEL", "flights")[-2:])
    assert (moved["previous"], dropped["alias"], dropped["version"]) == (1, "challenger", None)


def test_deleting_a_version_takes_its_aliases(desk: Desk) -> None:
    model(desk, [])
    ask(desk, 1)
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"})
    assert aliases(desk) == {}
    assert desk.types("MODEL", "flights")[-2:] == ["AliasChanged", "ModelVersionDeleted"]


def test_a_clients_evaluation_comes_by_a_tag(desk: Desk) -> None:
    apply_project(desk, gates=["beats_champion"])
    better = judged(0.01).model_dump_json()
    model(
        desk,
        [],
        [{"key": "modelwright.evaluation", "value": better}],
        [{"key": "modelwright.evaluation", "value": "{"}],
    )
    assert ask(desk, 1)[0] == 200
    assert ask(desk, 2, "challenger")[0] == 200
    assert ask(desk, 3, "challenger")[0] == 400


# --- gates -------------------------------------------------------------------------------


def judged(low: float, high: float = 0.05) -> Evaluation:
    difference = Estimate(value=(low + high) / 2, low=low, high=high)
    window = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-15T00:00:00Z"}
    return Evaluation.model_validate(
        {
            "rows": 100,
            "window": window,
            "challenger_auc": Estimate(value=0.7, low=0.6, high=0.8),
            "challenger_brier": 0.2,
            "auc_difference": difference,
            "brier_difference": Estimate(value=-difference.value, low=-high, high=-low),
        }
    )


@pytest.mark.parametrize("check", GATE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", GATES.values(), ids=GATES)
def test_our_gates_keep_the_contract(make: Any, check: Any) -> None:
    check(make)


@pytest.mark.parametrize("metric", ["auc", "brier"])
@pytest.mark.parametrize(
    ("low", "tolerance", "passes"), [(0.001, 0.0, True), (-0.001, 0.0, False), (-0.001, 0.002, True)]
)
def test_the_unfavourable_end_of_the_interval_decides(metric: str, low: float, tolerance: float, passes: bool) -> None:
    candidate = Candidate("flights", 2, "challenger", evaluation=judged(low), champion=1)
    assert BeatsChampion().check(candidate, GatePolicy(metric=metric, tolerance=tolerance)).passed is passes


def test_there_is_nothing_to_beat_without_a_champion() -> None:
    result = BeatsChampion().check(Candidate("flights", 1, "champion"), GatePolicy())
    assert result == GateResult(gate="beats_champion", passed=True, text="flights has no champion to beat")


def test_a_bare_difference_is_no_evidence() -> None:
    candidate = Candidate("flights", 2, "challenger", metrics={"auc": 0.99}, champion=1)
    assert not BeatsChampion().check(candidate, GatePolicy()).passed


@pytest.mark.parametrize(
    ("metric", "value", "passes"),
    [("auc", 0.7, True), ("auc", 0.5, False), ("brier", 0.2, True), ("brier", 0.7, False)],
)
def test_a_floor_of_a_loss_is_a_ceiling(metric: str, value: float, passes: bool) -> None:
    candidate = Candidate("flights", 1, "champion", metrics={metric: value})
    assert MetricFloor().check(candidate, GatePolicy(metric=metric, floor=0.6)).passed is passes


# --- what follows from trainings and rollouts ---------------------------------------------


def test_a_first_training_gives_the_champion_and_a_second_the_challenger(desk: Desk) -> None:
    apply_project(desk)
    first = event_of("registry-training-completed.json", training_id="t1")
    desk.tell("registry", first)
    desk.tell("registry", event_of("registry-training-completed.json", training_id="t2"))
    assert aliases(desk) == {"champion": 1, "challenger": 2}
    events = desk.types("MODEL", "flights")
    assert events == ["RegisteredModelCreated", *(["ModelVersionCreated", "TransitionRequested", "AliasChanged"] * 2)]
    shown = desk.registry.ok("GET", "/v1/models/flights")["versions"][0]
    assert (shown["training_id"], shown["artifact_key"]) == ("t1", first.artifact_key)
    assert shown["evaluation"]["challenger_auc"]["value"] == 0.752
    assert desk.stream("MODEL", "flights")[1].envelope.data["artifact_digest"] == first.artifact_digest


def test_a_training_gives_one_version_however_often_it_is_told(desk: Desk) -> None:
    payload = sample("registry-training-completed.json")
    assert desk.functions["registry"](payload) == {"outcome": "handled"}
    assert desk.functions["registry"](payload) == {"outcome": "duplicate"}
    desk.tell("registry", event_of("registry-training-completed.json"))
    assert len(desk.registry.ok("GET", "/v1/models/flights")["versions"]) == 1
    assert len(desk.stream("MODEL", "flights")) == 4


def test_a_worse_training_is_a_version_but_no_challenger(desk: Desk) -> None:
    apply_project(desk)
    desk.tell("registry", event_of("registry-training-completed.json", training_id="t1"))
    worse = judged(-0.1, -0.05)
    desk.tell("registry", event_of("registry-training-completed.json", training_id="t2", evaluation=worse.model_dump()))
    assert aliases(desk) == {"champion": 1}
    refused = desk.stream("MODEL", "flights")[-1].envelope
    assert (refused.type, [r["gate"] for r in refused.data["results"] if not r["passed"]]) == (
        "TransitionRefused",
        ["beats_champion"],
    )


def trained_twice(desk: Desk) -> None:
    for training in ("t1", "t2"):
        event = event_of("registry-training-completed.json", training_id=training)
        desk.tell("registry", event, at=datetime(2026, 3, 2, tzinfo=UTC))


def test_a_promotion_moves_the_champion_and_drops_the_challenger_once(desk: Desk) -> None:
    trained_twice(desk)
    payload = sample("registry-rollout-promoted.json")
    for _ in range(2):
        desk.functions["registry"](payload)
    desk.tell("registry", event_of("registry-rollout-promoted.json"))
    assert aliases(desk) == {"champion": 2}
    moved, dropped = (item.envelope.data for item in desk.stream("MODEL", "flights")[-2:])
    assert (moved["alias"], moved["version"], moved["previous"]) == ("champion", 2, 1)
    assert (dropped["alias"], dropped["version"], dropped["previous"]) == ("challenger", None, 2)
    assert "rollout" in moved["reason"]
    assert len(desk.stream("MODEL", "flights")) == 9


def test_a_rollback_drops_the_challenger_alone(desk: Desk) -> None:
    trained_twice(desk)
    for _ in range(2):
        desk.functions["registry"](sample("registry-rollout-rolled-back.json"))
    assert aliases(desk) == {"champion": 1}
    assert "does harm" in desk.stream("MODEL", "flights")[-1].envelope.data["reason"]


def test_a_late_promotion_does_not_undo_a_newer_one(desk: Desk) -> None:
    trained_twice(desk)
    event = event_of("registry-training-completed.json", training_id="t3")
    desk.tell("registry", event, at=datetime(2026, 3, 3, tzinfo=UTC))
    newer = event_of("registry-rollout-promoted.json", challenger=3, champion=2)
    older = event_of("registry-rollout-promoted.json", challenger=2, champion=1)
    desk.tell("registry", newer, at=datetime(2026, 4, 2, tzinfo=UTC))
    desk.tell("registry", older, at=datetime(2026, 3, 9, tzinfo=UTC))
    assert aliases(desk) == {"champion": 3}


def test_a_rollout_of_a_model_that_is_gone_is_handled_all_the_same(desk: Desk) -> None:
    assert desk.functions["registry"](sample("registry-rollout-promoted.json")) == {"outcome": "handled"}
    assert desk.functions["registry"](sample("registry-rollout-rolled-back.json")) == {"outcome": "handled"}


def test_the_history_is_the_log_in_order(desk: Desk) -> None:
    trained_twice(desk)
    history = desk.registry.ok("GET", "/v1/models/flights/history")
    assert [e["sequence"] for e in history["events"]] == list(range(1, 8))
    assert json.dumps(history)


def test_a_project_that_was_never_applied_here_is_none(desk: Desk) -> None:
    other = Project.model_validate({"name": "other", "sources": {}})
    item = {"pk": "WS#elsewhere#PROJECT", "sk": "CURRENT", "project": other.model_dump_json()}
    desk.tables.write([Put("governance", item, Anything())])
    assert desk.registry("GET", "/v1/projects/current")[0] == 404
