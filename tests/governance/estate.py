"""A stack in which what every route's request names exists, and those requests; quickly put back as it was."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from kernel.test_doors import API, ROOT, ROUTES, request, stack
from support.http import Caller, handler_of

from governance.identity import IdentityProvider, provider
from modelwright.context import Call
from modelwright.governance import federation, people, principals, tokens
from modelwright.governance.access import Grant
from modelwright.http import Route
from modelwright.monitoring.store import Quarantine, Repaired, close, put_open
from modelwright.runtime import Function
from modelwright.team import read_team
from modelwright.wiring import Wiring

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRINCIPAL = "arn:aws:iam::111122223333:role/eve"


HOOK: dict[str, Any] = {"name": "flights", "url": "https://example.com/x", "status": "ACTIVE"}
FOLDER = {"content": "0" * 64, "digest": "0" * 64}
HISTORICAL = {
    "features": ["weather_now:temp"],
    "entities": {"origin": ["JFK"], "event_timestamp": ["2026-01-01T00:00:00Z"]},
}
SAID: dict[str, tuple[str, Any]] = {
    "features POST /write-to-online-store": (
        "/write-to-online-store",
        {"feature_view_name": "weather_now", "df": {"origin": ["JFK"]}},
    ),
    "features POST /get-online-features": (
        "/get-online-features",
        {"features": ["weather_now:temp"], "entities": {"origin": ["JFK"]}},
    ),
    "features POST /v1/features/online": (
        "/v1/features/online",
        {"features": ["weather_now:temp"], "rows": [{"origin": "JFK"}]},
    ),
    "features POST /materialize": (
        "/materialize",
        {"start_ts": "2025-01-01", "end_ts": "2026-01-01", "feature_views": ["origin_departures"]},
    ),
    "features POST /materialize-incremental": (
        "/materialize-incremental",
        {"end_ts": "2026-01-01", "feature_views": ["origin_departures"]},
    ),
    "features GET /v1/features/views/<name>": ("/v1/features/views/weather_now", None),
    "features GET /v1/features/views/<name>/statistics": ("/v1/features/views/weather_now/statistics", None),
    "features POST /v1/historical-features": ("/v1/historical-features", HISTORICAL),
    "notify POST webhooks": (
        f"{API}/webhooks",
        HOOK | {"events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]},
    ),
    "notify PATCH webhooks/<webhook_id>": (f"{API}/webhooks/flights", {"status": "ACTIVE"}),
    "notify PATCH /v1/webhooks/<webhook_id>": ("/v1/webhooks/flights", {"status": "ACTIVE"}),
    "notify GET /v1/webhooks/<webhook_id>/deliveries": ("/v1/webhooks/flights/deliveries", None),
    "registry GET /v1/lineage/<kind>/<path:name>": ("/v1/lineage/model/flights", None),
    "registry POST /v1/models/<name>/arrivals": ("/v1/models/flights/arrivals", FOLDER),
    "registry PUT /v1/models/<name>/arrivals/<content>": (f"/v1/models/flights/arrivals/{'0' * 64}", None),
    "registry POST /v1/access/tokens": ("/v1/access/tokens", {"actor": "eve", "grants": []}),
    "registry POST /v1/access/principals": ("/v1/access/principals", {"arn": PRINCIPAL, "grants": []}),
    "tracking GET traces/batchGet": (f"{API}/traces/batchGet?trace_ids=flights", None),
    "registry POST /v1/access/tokens/<token_id>/rotate": ("/v1/access/tokens/{token_id}/rotate", {"grace_hours": 1}),
}
"""Path and body of requests for which what all of them say will not do."""


def key_of(name: str, route: Route) -> str:
    """Return what a route is called in the table of actions: without the prefixes that all of a protocol share."""
    path = route.path.replace("/<api>/<api_version>/mlflow-artifacts/", "mlflow-artifacts/")
    return f"{name} {route.method} {path.replace('/<api>/<api_version>/mlflow/', '')}"


CLOSED = {
    key_of(name, route): (name, route) for name, route in ROUTES if not route.open or route.path.startswith("/console")
}
"""All routes but login, health and version; the pages are open only to send who did not sign in to the form."""


def demo() -> str:
    """Return the demo's project, in which a person approves what becomes champion, and nothing else is asked for."""
    found = read_team(ROOT / "src" / "modelwright" / "demo" / "project").project.model_dump(mode="json")
    found["models"]["flights"]["gates"] |= {"gates": [], "approvals": 1}
    return json.dumps(found)


@dataclass
class Estate:
    """The stack.

    Attributes:
        held: ids of things in it, by what requests call them.
        refusals: what the log said of the last request, if it was refused: action and correlation id.
    """

    project: str = field(default_factory=demo)

    def __post_init__(self) -> None:
        self.wiring: Wiring = stack(self.project)
        self.wiring.keys = IdentityProvider().keys
        self.held: dict[str, str] = {}
        self.refusals: list[tuple[str, str]] = []
        self._fill()
        self.remember()

    def remember(self) -> None:
        """Let this be what everything is put back to."""
        self._before = [_copied(vars(each)) for each in self.stores]

    @property
    def stores(self) -> list[Any]:
        """Tables and buckets."""
        stores = (self.wiring._tables, self.wiring._blobs)
        return [getattr(each, "_store", each) for each in stores]

    def _fill(self) -> None:
        tracking = Caller(self.functions["tracking"])
        run = tracking.ok("POST", f"{API}/runs/create", {"experiment_id": "0", "start_time": 1, "run_name": "flights"})
        self.held["run_id"] = run["run"]["info"]["run_id"]
        model = tracking.ok("POST", f"{API}/logged-models", {"experiment_id": "0", "name": "flights"})
        self.held["model_id"] = model["model"]["info"]["model_id"]
        registry = Caller(self.functions["registry"], actor="bob")
        asked = {"alias": "champion", "version": 1}
        _, made = registry("POST", "/v1/models/flights/transitions", asked)
        self.held["request_id"] = made["transition"]["request_id"]
        call = Call("default", "ann", NOW, "c-1")
        w = self.wiring
        held_back = Quarantine(
            id="flights", source="flights", upload_key="flights/1.csv", upload_version="1", scope="file", key="q/1",
            rows=1, at=NOW, window=None, findings=(),
        )  # fmt: skip
        mended = Repaired(rules=(), key="r/1", log_key="r/1.log.json", digest="0" * 64, end=NOW, at=NOW)
        over = close("default", held_back.model_copy(update={"repaired": mended}), "repaired")[1]
        w.tables.write([put_open("default", held_back), over])
        token = tokens.issue_token(call, (), actor="eve", tables=w.tables, log=w.log)
        principals.admit_principal(call, PRINCIPAL, (), tables=w.tables, log=w.log)
        trusted = federation.trust(call, provider(), tables=w.tables, log=w.log)
        person = people.pseudonym_of("default", "https://x", "eve", (), tables=w.tables, wall=NOW)
        _, job = Caller(self.functions["features"])("POST", "/v1/historical-features", HISTORICAL)
        _, backfill = Caller(self.functions["features"])("POST", "/v1/features/backfills", {"source": "weather"})
        self.held |= {
            "source": "weather",
            "job_id": job["job_id"],
            "backfill_id": backfill["backfill_id"],
            "digest": "d" * 64,
        }
        about = json.dumps({"digest": "d" * 64, "views": {"weather_now": 1}})
        w.blobs.put("lake", f"datasets/default/{'d' * 64}.json", about.encode())
        self.held |= {"token_id": token.split(".")[2], "principal": PRINCIPAL, "provider": trusted, "person": person}

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The functions by name, over this one stack."""
        return {name: handler_of(name, self.wiring) for name in {name for name, _ in ROUTES}}

    def restore(self) -> None:
        """Put everything back as it was."""
        for store, before in zip(self.stores, self._before, strict=True):
            vars(store).update(_copied(before))
        self.wiring.cache.clear()

    def ask(
        self, key: str, grants: tuple[Grant, ...], workspace: str = "default", actor: str = "ann"
    ) -> tuple[int, Any]:
        """Send a route's request as somebody, and put back what it changed."""
        name, _ = CLOSED[key]
        caller = Caller(self.functions[name], grants=grants, workspace=workspace, actor=actor)
        answer = caller(*self.request(key))
        stream = self.wiring.log.read(f"WS#{workspace}#ACCESS#refused-{actor}")
        self.refusals = [(item.envelope.data["action"], item.envelope.correlation_id) for item in stream]
        self.restore()
        return answer

    def request(self, key: str) -> tuple[str, str, Any]:
        """Return a route's request, which names things that exist."""
        _, route = CLOSED[key]
        if key in SAID:
            path, body = SAID[key]
            return route.method, path.format(**self.held), body
        path = route.path
        for name, value in self.held.items():
            if name != "request_id" or not key.startswith("tracking"):  # tracking calls traces so
                path = re.sub(rf"<(path:)?{name}>", value, path)
        method, path, body = request(Route(route.method, path, route.handler), self.project)
        run, model = self.held["run_id"], self.held["model_id"]
        path = re.sub(r"(run_id|run_uuid|run_ids)=r(?=&|$)", rf"\1={run}", path)
        path = path.replace("model_id=flights", f"model_id={model}")
        text = json.dumps(body).replace('"r"', f'"{run}"').replace('"model_id": "flights"', f'"model_id": "{model}"')
        return method, path, json.loads(text)


def _copied(value: Any) -> Any:
    """Return a copy of dictionaries and lists, down to the items in them, which nothing changes in place."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return list(value) if isinstance(value, list) else value
