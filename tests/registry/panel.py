"""A model whose versions take aliases by requests, the people who ask and approve, and what must hold of it all."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from itertools import count
from typing import Any

from support.http import deliver, handler_of, memory_wiring, payload
from support.mlflow_desk import API

from modelwright import plugins
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import PluginError
from modelwright.events import GateResult, TransitionJudged, TransitionRequested
from modelwright.governance.access import Grant
from modelwright.log import LogItem
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy
from modelwright.registry import transitions
from modelwright.registry.entities import ModelVersion
from modelwright.registry.workflow import TransitionRequest
from modelwright.runtime import Function
from modelwright.storage import Anything, Put

START = datetime(2026, 3, 2, tzinfo=UTC)
MODELS = "/v1/models/flights/transitions"
PARTITION = "WS#default#MODEL#flights"
ROLES = {
    "ann": "contributor", "bob": "approver", "cid": "approver", "dot": "approver", "eve": "admin", "ron": "reader",
    "oidc-al": "contributor", "oidc-bo": "approver",
}  # fmt: skip
GATES = {"light": "modelwright.gates", "compares": "modelwright.gates", "slow": "modelwright.gates.full"}
"""Our gates say no to versions that their names are written into."""


class House:
    """A gate that says no to a version whose tag ``no`` names it; ``compares`` says no beside an odd champion."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        odd = self.name == "compares" and candidate.champion is not None and candidate.champion % 2 == 1
        passed = self.name not in REFUSED.get(candidate.version, ()) and not odd
        champion = f" beside v{candidate.champion}" if self.name == "compares" else ""
        return GateResult(gate=self.name, passed=passed, text=f"{self.name} looked at v{candidate.version}{champion}")


REFUSED: dict[int, tuple[str, ...]] = {7: ("light",), 8: ("slow",), 9: ("light", "slow")}
"""Versions that gates say no to."""


def entry_points(group: str, name: str = "") -> list[EntryPoint]:
    """Return our gates as if they were installed."""
    return [
        EntryPoint(each, f"registry.panel:{each}", kind)
        for each, kind in GATES.items()
        if kind == group and name in ("", each)
    ]


def light() -> House:
    """Return a gate that is run at once."""
    return House("light")


def compares() -> House:
    """Return a gate that looks at the champion, run at once."""
    return House("compares")


def slow() -> House:
    """Return a gate that is run elsewhere."""
    return House("slow")


def slow_gate(name: str) -> House:
    """Return an installed full gate."""
    if name not in plugins.installed("gates.full"):
        raise PluginError(f"no plugin {name}")
    return House(name)


@dataclass
class Panel:
    """The functions over one memory; every event that they consume is delivered, ``times`` times."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    policy: dict[str, Any] = field(default_factory=dict)
    versions: int = 3
    times: int = 1

    def __post_init__(self) -> None:
        self.wiring = memory_wiring(tables=self.tables)
        self.registry: Function = handler_of("registry", self.wiring)
        self.gates = Function(
            "gates",
            table="registry",
            consumers={TransitionRequested: self._judge, TransitionJudged: self._judge},
            wiring=self.wiring,
        )
        self.now, self.heard, self.numbers = START, 0, count(1)
        self.declare(**self.policy)
        self.ok(self.said("POST", f"{API}/registered-models/create", {"name": "flights"}, "eve"))
        for _ in range(self.versions):
            self.version()
        self.heard = len(self.events())

    def declare(self, **policy: Any) -> None:
        """Let a policy take effect."""
        columns = {"id": {"type": "string"}, "t": {"type": "timestamp"}, "late": {"type": "integer"}}
        source = {"prefix": "arrivals/", "columns": columns, "key": ["id"], "event_time": "t", "labels": True}
        declared = {
            "id_column": "id", "time_column": "t", "request": {"id": "string", "x": "number"}, "views": [],
            "inputs": ["x"],
            "label": {"source": "arrivals", "column": "late", "above": 15}, "trainer": "code:fit",
            "gates": {"gates": [], **policy},
        }  # fmt: skip
        project = {"name": "demo", "sources": {"arrivals": source}, "models": {"flights": declared}}
        item = {"pk": "WS#default#PROJECT", "sk": "CURRENT", "project": json.dumps(project)}
        MemoryTables.write(self.tables, [Put("governance", item, Anything())])

    def version(self) -> None:
        """Make one more version."""
        body = {"name": "flights", "source": "s3://elsewhere/x"}
        self.ok(self.said("POST", f"{API}/model-versions/create", body, "eve"))

    # --- requests -----------------------------------------------------------------------

    def said(self, method: str, path: str, body: Any = None, actor: str = "ann", **headers: str) -> dict[str, Any]:
        """Return a request as the function receives it; sent twice, it is the same request."""
        as_of = {"x-modelwright-as-of": self.now.isoformat(), **{k.replace("_", "-"): v for k, v in headers.items()}}
        grant = Grant.model_validate({"role": ROLES[actor]})
        event = payload(method, path, body, actor=actor, grants=(grant,), headers=as_of)
        event["requestContext"]["requestId"] = f"request {next(self.numbers)}"
        return event

    def asks(self, version: int, alias: str = "champion", actor: str = "ann", **more: Any) -> dict[str, Any]:
        """Return a request that a version take an alias."""
        return self.said("POST", MODELS, {"version": version, "alias": alias, **more}, actor)

    def does(self, verb: str, request_id: str, actor: str, **body: Any) -> dict[str, Any]:
        """Return an approval, rejection or withdrawal."""
        return self.said("POST", f"{MODELS}/{request_id}/{verb}", body, actor)

    def send(self, event: dict[str, Any]) -> tuple[int, Any]:
        """Send a request, and return the status and what was answered."""
        answer = self.registry(event)
        return answer["statusCode"], json.loads(answer["body"])

    def ok(self, event: dict[str, Any]) -> Any:
        """Send a request that must succeed."""
        status, said = self.send(event)
        assert status in (200, 202), said
        return said

    def ask(self, version: int, alias: str = "champion", actor: str = "ann", **more: Any) -> dict[str, Any]:
        """Ask, and return the request."""
        made: dict[str, Any] = self.ok(self.asks(version, alias, actor, **more))["transition"]
        return made

    def do(self, verb: str, request_id: str, actor: str, **body: Any) -> tuple[int, Any]:
        """Approve, reject or withdraw."""
        return self.send(self.does(verb, request_id, actor, **body))

    def shown(self, request_id: str) -> dict[str, Any]:
        """Return a request."""
        found: dict[str, Any] = self.ok(self.said("GET", f"{MODELS}/{request_id}"))["transition"]
        return found

    def approvable(self, actor: str) -> dict[str, int]:
        """Return what waits for somebody's approval, with how many are missing."""
        found = self.ok(self.said("GET", "/v1/approvals", actor=actor))["transitions"]
        return {each["request_id"]: each["missing"] for each in found}

    @property
    def aliases(self) -> dict[str, int]:
        """Who holds what."""
        found: dict[str, int] = self.ok(self.said("GET", "/v1/models/flights"))["aliases"]
        return found

    # --- time and events ----------------------------------------------------------------

    def pass_days(self, days: float) -> None:
        """Let time go by."""
        self.now += timedelta(days=days)

    def due(self) -> dict[str, Any]:
        """Return what the hourly schedule sends."""
        return {"detail-type": "ScheduleDue", "detail": {"name": "expire", "at": self.now.isoformat()}}

    def publish(self) -> None:
        """Deliver all that was not delivered yet, and what follows from it."""
        while fresh := self.events()[self.heard :]:
            for item in fresh:
                if item.envelope.type in ("TransitionRequested", "TransitionJudged"):
                    for _ in range(self.times):
                        deliver(self.gates, item.envelope)
                self.heard += 1

    def events(self) -> list[LogItem]:
        """Return the model's stream."""
        return [LogItem.read(item) for item in self._items("log", PARTITION)]

    def told(self) -> list[tuple[str, str, Any]]:
        """Return what the model's events say, and whose they are."""
        return [(item.envelope.type, item.envelope.actor, item.envelope.data) for item in self.events()]

    def types(self, since: int = 0) -> list[str]:
        """Return the types of the model's events."""
        return [item.envelope.type for item in self.events()[since:]]

    # --- what must hold -----------------------------------------------------------------

    def check(self) -> None:
        """Assert that state, its copies and the log tell the same, and that nothing happened half or twice."""
        meta = self.document("META")
        requests = {r.request_id: r for r in map(TransitionRequest.model_validate, self.documents("REQUEST#"))}
        waiting = {item["sk"] for item in self._items("registry", "WS#default#WAITING")}
        assert set(meta["open"].values()) == waiting == {r.request_id for r in requests.values() if r.open}
        placed = [item["request_id"] for item in self._items("registry", PARTITION, "ASKED#")]
        assert sorted(placed) == sorted(requests)
        self._check_copies(meta["aliases"])
        self._check_log(requests, meta["aliases"])
        for request in requests.values():
            actors = [approval.actor for approval in request.approvals]
            assert len(set(actors)) == len(actors)
            assert request.actor not in actors
            if request.state == "applied":
                assert request.forced or (request.missing == 0 and all(r.passed for r in request.results))

    def _check_copies(self, aliases: dict[str, int]) -> None:
        versions = {v["version"]: ModelVersion.model_validate(v) for v in self.documents("VERSION#")}
        stored = {item["sk"][-9:]: item["v"] for item in self._items("registry", PARTITION, "VERSION#")}
        assert {item["sk"][-9:]: item["v"] for item in self._items("registry", PARTITION, "EDITION#")} == stored
        copies = {item["sk"].removeprefix("ALIAS#"): item for item in self._items("registry", PARTITION, "ALIAS#")}
        assert {alias: item["version"] for alias, item in copies.items()} == aliases
        for item in copies.values():
            assert item["doc"] == versions[item["version"]].said()
            assert item["v"] == stored[f"{item['version']:09d}"]

    def _check_log(self, requests: dict[str, TransitionRequest], aliases: dict[str, int]) -> None:
        seen, held = Counter[tuple[str, str]](), dict[str, int]()
        for item in self.events():
            kind, data = item.envelope.type, item.envelope.data
            if kind == "AliasChanged":
                assert data["previous"] == held.get(data["alias"])
                held = {k: v for k, v in {**held, data["alias"]: data["version"]}.items() if v is not None}
            seen[data.get("request_id", ""), kind] += 1
        assert held == aliases
        asked = {identity for identity, kind in seen if kind == "TransitionRequested"}
        assert asked == set(requests)
        for identity, request in requests.items():
            assert seen[identity, "TransitionRequested"] == 1
            assert seen[identity, "TransitionApproved"] == len(request.approvals)
            assert seen[identity, "TransitionRefused"] == (request.state == "refused")
            assert seen[identity, "AliasChanged"] == (request.state == "applied")

    def document(self, sk: str) -> dict[str, Any]:
        """Return a document of the model's partition."""
        (found,) = self.documents(sk)
        return found

    def documents(self, prefix: str) -> list[dict[str, Any]]:
        """Return documents of the model's partition."""
        return [json.loads(item["doc"]) for item in self._items("registry", PARTITION, prefix)]

    def _items(self, table: Any, pk: str, prefix: str = "") -> Iterator[Any]:
        items = self.tables._items.get(table, {})
        yield from (items[key] for key in sorted(items) if key.pk == pk and key.sk.startswith(prefix))

    @property
    def _judge(self) -> Callable[..., None]:
        def judge(delivery: Any, call: Any, w: Any) -> None:
            transitions.judge_rest(
                call, delivery, tables=w.tables, log=w.log, blobs=w.blobs, gates=slow_gate, tier=w.settings.tier
            )

        return judge
