"""What a version was made of, and what was made of it: told by tracking, and asked as a graph both ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.http import Caller, deliver, handler_of
from support.mlflow_desk import API, Desk, event_of, sample

from modelwright.events import AliasChanged, Envelope, RunRegistered, TrainingCompleted
from modelwright.governance.access import Grant
from modelwright.log import LogItem
from modelwright.project import current_key
from modelwright.registry.steps import NEWEST
from modelwright.storage import Anything, Put
from modelwright.team import read_team

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
DEMO = Path(__file__).parents[2] / "src" / "modelwright" / "demo" / "project"
DIGEST = "d" * 64
Told = Callable[..., Any]


class Bus:
    """Delivers what happened to all who consume it, until nothing happens any more."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.functions = (*desk.functions.values(), handler_of("rollout", desk.wiring))
        self._seen: set[str] = set()

    def settle(self) -> None:
        while items := [item.envelope for item in self._log() if item.envelope.id not in self._seen]:
            for envelope in items:
                self.tell(envelope)

    def tell(self, envelope: Envelope) -> None:
        self._seen.add(envelope.id)
        for function in self.functions:
            if envelope.type in {kind.detail_type() for kind in function.consumers}:
                deliver(function, envelope)

    def _log(self) -> list[LogItem]:
        items: Any = self.desk.tables._items["log"]
        return [LogItem.read(item) for item in items.values()]


@pytest.fixture
def bus(desk: Desk) -> Bus:
    return Bus(desk)


@pytest.fixture
def declared(desk: Desk) -> None:
    """The demo's project is applied, with one more view of the weather."""
    project = read_team(DEMO).project
    again = project.views["weather_now"].model_copy(update={"features": ("temp",)})
    more = project.model_copy(update={"views": {**project.views, "weather_again": again}})
    item = {**current_key("default")._asdict(), "project": more.model_dump_json()}
    desk.tables.write([Put("governance", item, Anything())])


def train(desk: Desk, bus: Bus, number: int = 1, **more: Any) -> TrainingCompleted:
    """Let the platform train a version of ``flights``, and everybody hear of it."""
    changes = {"training_id": f"01TRAINING{number:06}", "dataset_digest": DIGEST, **more}
    event: TrainingCompleted = event_of("registry-training-completed.json", **changes)
    for function in ("tracking", "registry"):
        desk.tell(function, event)
    bus.settle()
    return event


def registered(desk: Desk, name: str = "churn", **run: Any) -> str:
    """Make a version of a client's run, and return the run's id."""
    status, _ = desk.registry("POST", f"{RM}/create", {"name": name})
    assert status in (200, 400)
    run_id: str = desk.run(desk.experiment(f"of {name} {len(desk.tables._items['log'])}"))
    desk.log_batch(run_id, metrics=run.get("metrics", ()), tags=run.get("tags", {}))
    datasets = [
        {"dataset": {"name": "d", "digest": digest, "source_type": "s3", "source": "s"}}
        for digest in run.get("data", ())
    ]
    desk.tracking.ok("POST", f"{API}/runs/log-inputs", {"run_id": run_id, "datasets": datasets})
    desk.registry.ok("POST", f"{MV}/create", {"name": name, "source": "s3://x/y", "run_id": run_id})
    return run_id


def version(desk: Desk, name: str = "churn", number: int = 1) -> dict[str, Any]:
    versions = desk.registry.ok("GET", f"/v1/models/{name}")["versions"]
    found: dict[str, Any] = next(each for each in versions if each["version"] == number)
    return found


def ask(desk: Desk, kind: str, name: str, **query: Any) -> dict[str, Any]:
    told = "&".join(f"{key}={value}" for key, value in query.items())
    said: dict[str, Any] = desk.registry.ok("GET", f"/v1/lineage/{kind}/{quote(name, safe='')}?{told}")
    return said


def nodes(said: dict[str, Any]) -> set[str]:
    return {node["id"] for node in said["nodes"]}


def edges(said: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(edge["from"], edge["kind"], edge["to"]) for edge in said["edges"]}


# --- what tracking tells -------------------------------------------------------------------


def test_a_version_learns_what_its_run_was(desk: Desk, bus: Bus) -> None:
    metrics = [("auc", 0.7, 1, 1), ("auc", 0.8, 2, 2), ("loss", "NaN", 1, 1)]
    run_id = registered(desk, metrics=metrics, tags={"mlflow.source.git.commit": "c0ffee"}, data=("d1", "d2"))
    bus.settle()
    made = version(desk)
    assert (made["code"], made["datasets"], made["metrics"]) == ("c0ffee", ["d1", "d2"], {"auc": 0.8})
    told = desk.stream("RUN", run_id)[-1].envelope
    assert (told.type, told.data["version"], told.data["model_id"]) == ("RunRegistered", 1, "churn")
    assert desk.types("MODEL", "churn")[-1] == "ModelVersionTraced"


def test_without_a_commit_the_entry_point_is_the_code(desk: Desk, bus: Bus) -> None:
    registered(desk, tags={"mlflow.project.entryPoint": "train", "mlflow.source.name": "/home/ann/train.py"})
    bus.settle()
    assert version(desk)["code"] == "train"
    assert "/home/ann" not in repr([item.envelope.data for item in desk.stream("MODEL", "churn")])


def test_tracking_tells_once_and_the_registry_hears_once(desk: Desk, bus: Bus) -> None:
    run_id = registered(desk)
    created = next(i for i in desk.stream("MODEL", "churn") if i.envelope.type == "ModelVersionCreated").envelope
    for _ in range(2):
        deliver(desk.functions["tracking"], created)
    (told,) = (item.envelope for item in desk.stream("RUN", run_id) if item.envelope.type == "RunRegistered")
    for _ in range(2):
        deliver(desk.functions["registry"], told)
    assert desk.types("MODEL", "churn").count("ModelVersionTraced") == 1


def test_a_run_that_does_not_exist_is_told_of_by_nobody(desk: Desk, bus: Bus) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    desk.registry.ok("POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y", "run_id": "elsewhere"})
    bus.settle()
    assert "ModelVersionTraced" not in desk.types("MODEL", "churn")


def test_the_platforms_own_training_knows_better_than_its_run(desk: Desk, bus: Bus) -> None:
    event = train(desk, bus, metrics={"auc": 0.9})
    made = version(desk, "flights")
    assert (made["code"], made["metrics"]["auc"]) == (event.project_digest, 0.9)
    assert "brier" in made["metrics"], "what only the run says is known too"
    assert (made["dataset_digest"], made["datasets"]) == (DIGEST, [])


def test_a_version_that_is_gone_is_not_traced(desk: Desk) -> None:
    payload = sample("registry-run-registered.json")
    assert desk.functions["registry"](payload) == {"outcome": "handled"}
    assert desk.functions["registry"](payload) == {"outcome": "duplicate"}
    desk.registry.ok("POST", f"{RM}/create", {"name": "flights"})
    desk.registry.ok("POST", f"{MV}/create", {"name": "flights", "source": "s3://x/y"})
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"})
    before = desk.types("MODEL", "flights")
    desk.tell("registry", event_of("registry-run-registered.json"))
    assert desk.types("MODEL", "flights") == before


def test_a_version_is_traced_under_whatever_its_model_is_called_by_then(desk: Desk) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "flights"})
    desk.registry.ok("POST", f"{MV}/create", {"name": "flights", "source": "s3://x/y"})
    desk.registry.ok("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "1"})
    desk.registry.ok("POST", f"{RM}/rename", {"name": "flights", "new_name": "delays"})
    event: RunRegistered = event_of("registry-run-registered.json")
    desk.tell("registry", event)
    assert version(desk, "delays")["code"] == event.code
    assert desk.stream("MODEL", "flights")[-1].envelope.data["model"] == "delays"


def test_a_run_with_very_many_metrics_is_told_in_part(desk: Desk, bus: Bus) -> None:
    metrics = [(f"m{number:04}", 1.0, 1, 1) for number in range(900)]
    registered(desk, metrics=metrics)
    bus.settle()
    assert len(version(desk)["metrics"]) == 500


def test_nobody_learns_the_figures_of_a_run_that_they_may_not_read(desk: Desk) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    run_id = desk.run(desk.experiment())
    writer = desk.as_caller("registry", grants=(Grant(role="contributor", resources="model/*"),))
    body = {"name": "churn", "source": "s3://x/y", "run_id": run_id}
    assert writer("POST", f"{MV}/create", body)[0] == 403
    assert writer("POST", f"{MV}/create", {**body, "run_id": ""})[0] == 200


# --- the graph -----------------------------------------------------------------------------


def test_a_champions_lineage_goes_up_to_the_sources(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus)
    run_id = version(desk, "flights")["run_id"]
    said = ask(desk, "model", "flights", direction="up")
    assert edges(said) == {
        ("source:weather", "feeds", "view:weather_now"),
        ("view:weather_now", "serves", "feature:weather_now:wind_speed"),
        ("feature:weather_now:wind_speed", "fills", f"dataset:{DIGEST}"),
        ("feature:dep_hour", "fills", f"dataset:{DIGEST}"),
        (f"dataset:{DIGEST}", "trains", f"run:{run_id}"),
        (f"run:{run_id}", "gives", "version:flights/1"),
        ("version:flights/1", "answers", "model:flights"),
        ("source:arrivals", "labels", "model:flights"),
    }
    answers = next(edge for edge in said["edges"] if edge["kind"] == "answers")
    assert (answers["aliases"], answers["percent"]) == (["champion"], 100)
    assert said["whole"]


@pytest.mark.parametrize("kind", ["source", "view", "feature", "dataset", "run"])
def test_whatever_went_into_a_champion_leads_down_to_it(desk: Desk, bus: Bus, declared: None, kind: str) -> None:
    train(desk, bus)
    name = {"source": "weather", "view": "weather_now", "feature": "wind_speed", "dataset": DIGEST}
    said = ask(desk, kind, {**name, "run": version(desk, "flights")["run_id"]}[kind], direction="down")
    assert {"version:flights/1", "model:flights"} <= nodes(said)
    both = ask(desk, kind, {**name, "run": version(desk, "flights")["run_id"]}[kind])
    assert nodes(said) <= nodes(both)
    assert ("source:weather" in nodes(both)) or kind == "source"


def test_features_that_are_computed_on_demand_are_found_by_their_group(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus, features=("hour", "temp"))
    for name in ("hour", "calendar:hour"):
        said = ask(desk, "feature", name)
        assert said["start"] == "feature:calendar:hour"
        assert "version:flights/1" in nodes(said)
        assert ("feature:scheduled_departure", "computes", "feature:calendar:hour") in edges(said)
    assert "version:flights/1" in nodes(ask(desk, "feature", "weather_now:temp")), "the model's views tell which temp"
    assert "version:flights/1" not in nodes(ask(desk, "feature", "weather_again:temp"))


@pytest.mark.parametrize("name", ["wind_speed", "weather_now:wind_speed", "weather_now__wind_speed"])
def test_a_feature_is_found_by_any_of_its_names_whichever_a_version_uses(
    desk: Desk, bus: Bus, declared: None, name: str
) -> None:
    train(desk, bus, 1)
    train(desk, bus, 2, features=("weather_now__wind_speed",), dataset_digest="e" * 64)
    train(desk, bus, 3, features=("weather_now:wind_speed",), dataset_digest="f" * 64)
    train(desk, bus, 4, features=("dep_hour",), dataset_digest="0" * 64)
    said = ask(desk, "feature", name, direction="down")
    assert said["start"] == "feature:weather_now:wind_speed"
    assert {node for node in nodes(said) if node.startswith("version")} == {f"version:flights/{n}" for n in (1, 2, 3)}


def test_a_canarys_share_of_the_traffic_is_told(desk: Desk, bus: Bus, declared: None) -> None:
    for number in (1, 2):
        train(desk, bus, number)
    said = ask(desk, "version", "flights@challenger", direction="down")
    (edge,) = said["edges"]
    assert (edge["from"], edge["aliases"], edge["percent"]) == ("version:flights/2", ["challenger"], 10)


def test_a_new_model_of_an_old_name_has_none_of_its_traffic(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus)
    desk.registry.ok("DELETE", f"{RM}/delete", {"name": "flights"})
    desk.registry.ok("POST", f"{RM}/create", {"name": "flights"})
    desk.registry.ok("POST", f"{MV}/create", {"name": "flights", "source": "s3://x/y"})
    (node,) = (node for node in ask(desk, "model", "flights")["nodes"] if node["kind"] == "model")
    assert (node["aliases"], node["traffic"]) == ({}, [])


def test_steps_are_counted(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus)
    assert nodes(ask(desk, "view", "weather_now", direction="up", depth=1)) == {"view:weather_now", "source:weather"}
    found = nodes(ask(desk, "version", "flights/1", direction="up", depth=1))
    assert {node.partition(":")[0] for node in found} == {"version", "run"}


def test_without_run_and_data_a_versions_features_lead_to_it_directly(desk: Desk, bus: Bus) -> None:
    train(desk, bus, features=("a",), dataset_digest="")
    run_id = version(desk, "flights")["run_id"]
    said = ask(desk, "feature", "a", direction="down")
    assert ("feature:a", "feeds", f"run:{run_id}") in edges(said)


def test_data_that_a_clients_run_read_leads_to_its_version(desk: Desk, bus: Bus) -> None:
    run_id = registered(desk, data=("d1",))
    bus.settle()
    assert edges(ask(desk, "dataset", "d1")) == {
        ("dataset:d1", "trains", f"run:{run_id}"),
        (f"run:{run_id}", "gives", "version:churn/1"),
    }


def test_data_that_only_a_tag_names_counts_until_the_run_says_otherwise(desk: Desk, bus: Bus) -> None:
    registered(desk, data=("d1",))
    tag = {"name": "churn", "version": "1", "key": "modelwright.dataset_digest", "value": "told"}
    desk.registry.ok("POST", f"{MV}/set-tag", tag)
    assert "version:churn/1" in nodes(ask(desk, "dataset", "told"))
    bus.settle()
    assert desk.registry("GET", "/v1/lineage/dataset/told")[0] == 404
    assert "version:churn/1" in nodes(ask(desk, "dataset", "d1"))


def test_of_many_versions_the_newest_and_those_with_an_alias_are_shown_of_every_model(desk: Desk) -> None:
    for name in ("a", "b"):
        desk.registry.ok("POST", f"{RM}/create", {"name": name})
        for _ in range(NEWEST + 5):
            tags = [{"key": "modelwright.dataset_digest", "value": "d1"}]
            desk.registry.ok("POST", f"{MV}/create", {"name": name, "source": "s3://x/y", "tags": tags})
        desk.registry.ok("POST", f"{RM}/alias", {"name": name, "alias": "blue", "version": "2"})
    said = ask(desk, "dataset", "d1", direction="down")
    shown = {2, *range(6, NEWEST + 6)}
    wanted = {f"version:{name}/{number}" for name in ("a", "b") for number in shown}
    assert {node for node in nodes(said) if node.startswith("version")} == wanted
    assert not said["whole"]


def test_a_version_that_is_deleted_is_found_by_nothing_and_leaves_nothing(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus)
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"})
    assert desk.registry("GET", f"/v1/lineage/dataset/{DIGEST}")[0] == 404
    assert nodes(ask(desk, "feature", "wind_speed", direction="down")) == {"feature:weather_now:wind_speed"}
    assert not [key for key in desk.tables._items["registry"] if "#FEATURE#" in key.pk or "#DATASET#" in key.pk]


@pytest.mark.parametrize(
    ("kind", "name", "status"),
    [
        ("model", "nobody", 404), ("version", "churn", 400), ("version", "churn/9", 404), ("version", "churn@x", 400),
        ("source", "nowhere", 404), ("view", "nowhere", 404), ("feature", "nothing", 404), ("dataset", "none", 404),
        ("run", "none", 404), ("thing", "x", 400), ("feature", "temp", 400),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_so(desk: Desk, declared: None, kind: str, name: str, status: int) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    code, said = desk.registry("GET", f"/v1/lineage/{kind}/{quote(name, safe='')}")
    assert (code, bool(said["message"])) == (status, True), said
    assert desk.registry("GET", f"/v1/lineage/model/churn?depth={0 if status == 404 else 11}")[0] == 400


def test_who_may_not_read_a_model_does_not_see_it_nor_what_leads_to_it_alone(
    desk: Desk, bus: Bus, declared: None
) -> None:
    train(desk, bus)
    grants = (Grant(role="reader"), Grant(role="reader", resources="model/flights", effect="deny"))
    reader = desk.as_caller("registry", grants=grants)
    status, said = reader("GET", "/v1/lineage/feature/wind_speed")
    assert (status, nodes(said)) == (200, {"feature:weather_now:wind_speed", "view:weather_now", "source:weather"})
    for kind, name, code in (("model", "flights", 403), ("version", "flights/1", 403), ("dataset", DIGEST, 404)):
        assert reader("GET", f"/v1/lineage/{kind}/{quote(name, safe='')}")[0] == code
    status, said = reader("GET", "/v1/lineage/source/arrivals?direction=down")
    assert "model:flights" not in nodes(said)


def test_who_may_read_a_model_alone_sees_features_without_their_views(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus)
    reader = desk.as_caller("registry", grants=(Grant(role="reader", resources="model/*"),))
    status, said = reader("GET", "/v1/lineage/model/flights")
    assert (status, {"feature:wind_speed", "feature:dep_hour"} <= nodes(said)) == (200, True)
    assert not {node["kind"] for node in said["nodes"]} & {"view", "source"}
    assert reader("GET", "/v1/lineage/view/weather_now")[0] == 403
    assert Caller(desk.functions["registry"], workspace="other")("GET", "/v1/lineage/model/flights")[0] == 404


def test_a_rename_changes_what_a_graph_calls_a_version_and_nothing_else(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus)
    before = len(ask(desk, "model", "flights", direction="up")["nodes"])
    desk.registry.ok("POST", f"{RM}/rename", {"name": "flights", "new_name": "delays"})
    said = ask(desk, "dataset", DIGEST, direction="down")
    assert "version:delays/1" in nodes(said)
    assert json.dumps(said).count("flights/1") == 0
    assert len(ask(desk, "version", "delays/1", direction="up")["nodes"]) < before, "no model of the project any more"


def test_an_alias_that_moves_moves_the_lineage_of_the_model(desk: Desk, bus: Bus, declared: None) -> None:
    train(desk, bus, 1)
    train(desk, bus, 2, dataset_digest="e" * 64)
    desk.registry.ok(
        "POST", "/v1/models/flights/transitions", {"version": 2, "alias": "champion", "force": True, "reason": "x"}
    )
    bus.settle()
    assert AliasChanged.detail_type() in desk.types("MODEL", "flights")
    found = nodes(ask(desk, "model", "flights", direction="up"))
    assert ("dataset:" + "e" * 64 in found, f"dataset:{DIGEST}" in found) == (True, False)
