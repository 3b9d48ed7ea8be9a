"""A registry that things happen to, and what must be so as of any time, told without a look at the log.

After each request and each delivery the live registry and the live rollouts are asked, over HTTP, how they stand now.
What differs from before is written down with the domain time of what was done. What was so at a time is then found
the plain way: from nothing, every difference of that time or before is put in place, in the order in which it
came. Only who asked for an alias is known from who was told to ask.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from support.http import Caller, deliver, handler_of
from support.mlflow_desk import API, Desk, envelope_of, event_of

from modelwright.events import Envelope
from modelwright.log import LogItem

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
NAMES = ("churn", "fraud", "late", "risk")
START = datetime(2026, 3, 1, tzinfo=UTC)
TAGS = {"team": ("a", "b"), "note": ("says Ann", ""), "modelwright.metric.auc": ("0.7", "0.81"),
        "modelwright.remark": ("two words",), "modelwright.dataset_digest": ("d1", "d2")}  # fmt: skip
TOLD = ("modelwright.metric.auc", "modelwright.dataset_digest", "modelwright.training_id")
FACTS = ("run_id", "code", "features", "dataset_digest", "datasets", "metrics", "stage", "training_id",
         "artifact_digest", "environment_digest", "source")  # fmt: skip
_RUN = 20
"""So many letters tell a run: a training's run has two ids that begin alike, and the second may be told twice."""
State = dict[tuple[Any, ...], Any]


class Difference(NamedTuple):
    """Something that is otherwise than before; a value of None: it is no more."""

    at: datetime
    actor: str
    path: tuple[Any, ...]
    value: Any


@dataclass
class World:
    """The functions, the clock, and the differences so far."""

    seed: int
    desk: Desk = field(default_factory=Desk)
    now: datetime = START
    differences: list[Difference] = field(default_factory=list)
    state: State = field(default_factory=dict)
    waiting: list[Envelope] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    done: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.rollout = Caller(handler_of("rollout", self.desk.wiring))
        self.people = {name: self.desk.as_caller("registry", actor=name) for name in ("ann", "bob")}
        self.people["ann"].ok("POST", "/v1/projects", {"project": project()})
        experiment = self.desk.experiment()
        self.runs = [self._run(experiment, number) for number in range(3)]
        self.seen = {item.envelope.id for item in self._log()}

    def _run(self, experiment: str, number: int) -> str:
        run_id = self.desk.run(experiment)
        tags = {"mlflow.source.git.commit": f"c0ffee{number}"} if number else {}
        self.desk.log_batch(run_id, metrics=[("auc", 0.6 + number / 10, 1, 1)], tags=tags)
        dataset = {"name": "d", "digest": f"data{number}", "source_type": "s3", "source": "s"}
        body = {"run_id": run_id, "datasets": [{"dataset": dataset}]}
        self.desk.tracking.ok("POST", f"{API}/runs/log-inputs", body)
        return run_id

    # --- what is done -------------------------------------------------------------------

    def step(self) -> None:
        """Let time pass, then do something; one time in seven it happened up to three hours ago."""
        self.now += timedelta(minutes=self.random.choice((0, 1, 7, 30, 55)))
        late = timedelta(minutes=self.random.randrange(180)) if self.random.random() < 1 / 7 else timedelta(0)
        actions = (
            (3, self._create_model), (14, self._create_version), (5, self._train), (22, self._request),
            (8, self._approve), (4, self._reject), (10, self._set_alias), (5, self._delete_alias), (12, self._tag),
            (4, self._untag), (5, self._describe), (5, self._move_stage), (4, self._delete_version), (3, self._rename),
            (2, self._delete_model), (5, self._write_card), (3, self._abort),
        )  # fmt: skip
        weights = [weight for weight, _ in actions]
        (chosen,) = self.random.choices([action for _, action in actions], weights)
        chosen(self.now - late)
        for envelope in self._due():
            for function in (*self.desk.functions.values(), self.rollout.function):
                if envelope.type in {kind.detail_type() for kind in function.consumers}:
                    deliver(function, envelope)
                    self._compare(envelope.at, "platform")

    def _due(self) -> Iterator[Envelope]:
        """Yield events that arrive now, in any order; the others arrive later."""
        for item in self._log():
            if item.envelope.id not in self.seen:
                self.seen.add(item.envelope.id)
                self.waiting.append(item.envelope)
        self.random.shuffle(self.waiting)
        arriving = self.random.randrange(len(self.waiting) + 1)
        here, self.waiting = self.waiting[:arriving], self.waiting[arriving:]
        yield from here

    def _log(self) -> list[LogItem]:
        """Return the log in the order in which it was written: the identities of runs in it are random."""
        items: Any = self.desk.tables._items["log"]
        return sorted((LogItem.read(item) for item in items.values()), key=lambda item: item.envelope.id)

    def _do(self, who: str, at: datetime, method: str, path: str, body: Any = None) -> Any:
        """Send a request as of a time; what is refused changes nothing that is compared."""
        status, said = self.people[who](method, path, body, x_modelwright_as_of=at.isoformat())
        assert status < 500, said
        self.done += status < 300
        self._compare(at, who)
        return said

    def _create_model(self, at: datetime) -> None:
        tags = self._some_tags()
        body = {"name": self._name(), "description": self.random.choice(("", "why")), "tags": tags}
        self._do("ann", at, "POST", f"{RM}/create", body)

    def _create_version(self, at: datetime) -> None:
        run_id = self.random.choice(("", *self.runs))
        source = f"mlflow-artifacts:/1/{run_id}/artifacts/model" if run_id else "s3://elsewhere/x"
        body = {"name": self._name(), "source": source, "run_id": run_id, "tags": self._some_tags()}
        self._do("ann", at, "POST", f"{MV}/create", {**body, "description": self.random.choice(("", "why"))})

    def _train(self, at: datetime) -> None:
        number = len(self.differences)
        changes = {
            "training_id": f"01TRAINING{number:06}", "model": self._name(), "dataset_digest": f"{number:064x}",
            "metrics": {"auc": 0.75}, "project_digest": f"{number:064x}",
        }  # fmt: skip
        event = event_of("registry-training-completed.json", **changes)
        stream = f"WS#default#TRAINING#{event.training_id}"
        self.waiting.append(envelope_of(event, at=at).model_copy(update={"stream": stream}))

    def _request(self, at: datetime) -> None:
        alias = self.random.choice(("champion", "champion", "challenger"))
        body = {"version": self._number(), "alias": alias, "reason": "better"}
        self._do("ann", at, "POST", f"/v1/models/{self._name()}/transitions", body)

    def _approve(self, at: datetime) -> None:
        for name, request_id in self._open()[:1]:
            self._do("bob", at, "POST", f"/v1/models/{name}/transitions/{request_id}/approve", {})

    def _reject(self, at: datetime) -> None:
        for name, request_id in self._open()[:1]:
            self._do("bob", at, "POST", f"/v1/models/{name}/transitions/{request_id}/reject", {"reason": "no"})

    def _open(self) -> list[tuple[str, str]]:
        found = []
        for name in NAMES:
            status, said = self.people["bob"]("GET", f"/v1/models/{name}")
            requests = said["transitions"] if status == 200 else []
            found += [(name, each["request_id"]) for each in requests if each["state"] == "waiting"]
        self.random.shuffle(found)
        return found

    def _set_alias(self, at: datetime) -> None:
        body = {"name": self._name(), "alias": self.random.choice(("blue", "green")), "version": str(self._number())}
        self._do("ann", at, "POST", f"{RM}/alias", body)

    def _delete_alias(self, at: datetime) -> None:
        alias = self.random.choice(("blue", "green", "champion", "challenger"))
        self._do("bob", at, "DELETE", f"{RM}/alias?name={self._name()}&alias={alias}")

    def _tag(self, at: datetime) -> None:
        key = self.random.choice(list(TAGS))
        body = {"name": self._name(), "key": key, "value": self.random.choice(TAGS[key])}
        of_version = self.random.random() < 0.7
        more = {"version": str(self._number())} if of_version else {}
        self._do("ann", at, "POST", f"{MV if of_version else RM}/set-tag", body | more)

    def _untag(self, at: datetime) -> None:
        key, name = self.random.choice(list(TAGS)), self._name()
        if self.random.random() < 0.5:
            self._do("ann", at, "DELETE", f"{RM}/delete-tag", {"name": name, "key": key})
        else:
            body = {"name": name, "key": key, "version": str(self._number())}
            self._do("ann", at, "DELETE", f"{MV}/delete-tag", body)

    def _describe(self, at: datetime) -> None:
        body = {"name": self._name(), "description": self.random.choice(("", "text", "other"))}
        of_version = self.random.random() < 0.5
        more = {"version": str(self._number())} if of_version else {}
        self._do("ann", at, "PATCH", f"{MV if of_version else RM}/update", body | more)

    def _move_stage(self, at: datetime) -> None:
        stage = self.random.choice(("Staging", "Production", "Archived", "None"))
        body = {"name": self._name(), "version": str(self._number()), "stage": stage}
        archive = stage in ("Staging", "Production") and self.random.random() < 0.7
        self._do("bob", at, "POST", f"{MV}/transition-stage", {**body, "archive_existing_versions": archive})

    def _delete_version(self, at: datetime) -> None:
        self._do("ann", at, "DELETE", f"{MV}/delete", {"name": self._name(), "version": str(self._number())})

    def _rename(self, at: datetime) -> None:
        self._do("ann", at, "POST", f"{RM}/rename", {"name": self._name(), "new_name": self._name()})

    def _delete_model(self, at: datetime) -> None:
        self._do("ann", at, "DELETE", f"{RM}/delete", {"name": self._name()})

    def _write_card(self, at: datetime) -> None:
        name, number = self._name(), self._number()
        said = self._do(
            "ann", at, "PUT", f"/v1/models/{name}/versions/{number}/card", {"sections": {"owner": f"team {at}"}}
        )
        identity = next((path[1] for path, value in self.state.items() if path[0] == "name" and value == name), "")
        if "revision" in said:
            self.differences.append(Difference(at, "ann", ("fact", identity, number, "card"), said["revision"]))

    def _abort(self, at: datetime) -> None:
        body = {"reason": "because"}
        status, said = self.rollout(
            "POST", f"/v1/rollouts/{self._name()}/abort", body, x_modelwright_as_of=at.isoformat()
        )
        assert status < 500, said
        self._compare(at, "ann")

    def _name(self) -> str:
        return self.random.choice(NAMES)

    def _number(self) -> int:
        return self.random.randint(1, 4)

    def _some_tags(self) -> list[dict[str, str]]:
        chosen = self.random.sample(list(TAGS), self.random.randrange(3))
        return [{"key": key, "value": self.random.choice(TAGS[key])} for key in chosen]

    # --- what is different by it ----------------------------------------------------------

    def _compare(self, at: datetime, actor: str) -> None:
        """Write down what is otherwise than before."""
        before, self.state = self.state, self._live()
        gone = [path for path in before if path not in self.state]
        changed = [path for path, value in self.state.items() if path not in before or before[path] != value]
        for path in sorted(gone, key=_late):
            self.differences.append(Difference(at, actor, path, None))
        for path in sorted(changed, key=_early):
            self.differences.append(Difference(at, actor, path, self.state[path]))

    def _live(self) -> State:
        state: State = {}
        for name in NAMES:
            status, said = self.people["ann"]("GET", f"/v1/models/{name}")
            if status == 200:
                state |= _of_model(said)
            status, said = self.rollout("GET", f"/v1/rollouts/{name}")
            state["routes", name] = said["routes"] if status == 200 else []
        return state

    # --- what must be so as of a time ------------------------------------------------------

    def as_of(self, name: str, at: datetime) -> dict[str, Any] | None:
        """Return what the registry has to answer; None: nobody had the name."""
        models: dict[str, dict[str, Any]] = {}
        for place, difference in enumerate(self.differences):
            if difference.at <= at and difference.path[0] != "routes":
                _put(models.setdefault(difference.path[1], _blank()), difference, place)
        having = [model for model in models.values() if model["born"] and not model["gone"] and model["name"] == name]
        if not having:
            return None
        model = max(having, key=lambda each: each["named"])
        routes: list[Any] = []
        for difference in self.differences:
            if difference.path == ("routes", name) and model["named"][0] <= difference.at <= at:
                routes = difference.value
        return _told(model, routes)

    def asked(self, name: str, at: datetime) -> dict[str, Any] | None:
        """Return what the registry answers, without what the oracle does not know."""
        status, said = self.people["ann"]("GET", f"/v1/models/{name}/as-of?time={quote(at.isoformat())}")
        if status == 404:
            return None
        assert status == 200, said
        known = ("version", "since", "set_by", "requested_by", "approved_by")
        aliases = {alias: {key: held[key] for key in known} for alias, held in said["aliases"].items()}
        unknown = ("created_by", "artifact_key", "origin", "copied_from")
        versions = [{k: v for k, v in version.items() if k not in unknown} for version in said["versions"]]
        for told in versions:
            told.update({"run_id": told["run_id"][:_RUN]} if "run_id" in told else {})
        parts = ("born", "described", "tags", "champion", "challenger", "traffic", "others")
        return {key: said[key] for key in parts} | {"aliases": aliases, "versions": versions}


def project() -> dict[str, Any]:
    """Return a project in which a request for ``churn`` needs an approval."""
    columns = {"id": {"type": "string"}, "t": {"type": "timestamp"}, "late": {"type": "integer"}}
    source = {"prefix": "arrivals/", "columns": columns, "key": ["id"], "event_time": "t", "labels": True}
    declared = {
        "id_column": "id", "time_column": "t", "request": {"id": "string", "x": "number"}, "views": [], "inputs": ["x"],
        "label": {"source": "arrivals", "column": "late", "above": 15}, "trainer": "code:fit",
        "gates": {"gates": [], "approvals": 1, "approve": ["champion"]},
    }  # fmt: skip
    return {"name": "demo", "sources": {"arrivals": source}, "models": {"churn": declared}}


def _of_model(said: dict[str, Any]) -> State:
    """Return what a model's page says, part by part."""
    identity = said["model_id"]
    applied = {(r["alias"], r["version"]): r for r in reversed(said["transitions"]) if r["state"] == "applied"}
    state: State = {("born", identity): True, ("name", identity): said["name"]}
    state["described", identity] = said["description"]
    state |= {("tag", identity, key): True for key in said["tags"]}
    for alias, number in said["aliases"].items():
        request = applied.get((alias, number), {"actor": "", "approvals": []})
        approved = [approval["actor"] for approval in request["approvals"]]
        state["alias", identity, alias] = (number, request["actor"], approved)
    for version in said["versions"]:
        number = version["version"]
        state["version", identity, number] = True
        state |= {("fact", identity, number, fact): version[fact] for fact in FACTS}
        state["fact", identity, number, "described"] = version["description"]
        state["fact", identity, number, "run_id"] = version["run_id"][:_RUN]
        told = {key: value if key in TOLD else "" for key, value in version["tags"].items()}
        state |= {("vtag", identity, number, key): (value, version["tags"][key]) for key, value in told.items()}
    return state


_ORDER = ("born", "name", "described", "tag", "version", "fact", "vtag", "alias", "routes")


def _early(path: tuple[Any, ...]) -> tuple[int, str]:
    return _ORDER.index(path[0]), repr(path)


def _late(path: tuple[Any, ...]) -> tuple[int, str]:
    return -_ORDER.index(path[0]), repr(path)


def _blank() -> dict[str, Any]:
    return {"born": None, "gone": False, "name": "", "named": (START, -1), "described": False, "tags": set(),
            "aliases": {}, "versions": {}}  # fmt: skip


def _put(model: dict[str, Any], difference: Difference, place: int) -> None:
    """Put a difference in place."""
    (kind, _, *rest), value = difference.path, difference.value
    if kind == "born":
        model |= {"born": difference.at} if value else {"gone": True}
    elif kind == "name" and value:
        model |= {"name": value, "named": (difference.at, place)}
    elif kind == "described":
        model["described"] = value
    elif kind == "tag":
        (model["tags"].add if value else model["tags"].discard)(rest[0])
    elif kind == "alias":
        model["aliases"].pop(rest[0], None)
        if value:
            model["aliases"][rest[0]] = (difference.at, difference.actor, *value)
    elif kind == "version":
        model["versions"].pop(rest[0], None)
        if value:
            model["versions"][rest[0]] = {"at": difference.at, "card": 0, "tags": {}}
    elif rest and rest[0] in model["versions"]:
        _put_of_version(model["versions"][rest[0]], kind, rest[1], value)


def _put_of_version(version: dict[str, Any], kind: str, key: str, value: Any) -> None:
    if kind == "fact":
        version[key] = value
    else:
        version["tags"].pop(key, None)
        if value:
            version["tags"][key] = value[0]


def _told(model: dict[str, Any], routes: list[Any]) -> dict[str, Any]:
    """Return a model in the form of the answer."""
    numbers = {alias: held[2] for alias, held in model["aliases"].items()}
    staged = {number for number, version in model["versions"].items() if version["stage"] != "None"}
    mattered = sorted(
        {*numbers.values(), *staged, *(r["version"] for r in routes if r["percent"] or r["role"] == "shadow")}
    )
    return {
        "born": model["born"].isoformat(),
        "described": bool(model["described"]),
        "tags": sorted(model["tags"]),
        "champion": numbers.get("champion"),
        "challenger": numbers.get("challenger"),
        "traffic": routes,
        "others": len(set(model["versions"]) - set(mattered)),
        "aliases": {
            alias: {
                "version": number, "since": at.isoformat(), "set_by": actor, "requested_by": asked or actor,
                "approved_by": approved,
            }
            for alias, (at, actor, number, asked, approved) in model["aliases"].items()
        },
        "versions": [
            _version(model["versions"].get(number), number)
            | {
                "aliases": sorted(alias for alias, held in numbers.items() if held == number),
                "percent": sum(route["percent"] for route in routes if route["version"] == number),
            }
            for number in mattered
        ],
    }  # fmt: skip


def _version(version: dict[str, Any] | None, number: int) -> dict[str, Any]:
    if version is None:
        return {"version": number}
    tags = version["tags"]
    digests = [digest for digest in (version["dataset_digest"], *version["datasets"]) if digest]
    told = [tags[key] for key in ("modelwright.dataset_digest",) if tags.get(key)]
    auc = {"auc": float(tags["modelwright.metric.auc"])} if "modelwright.metric.auc" in tags else {}
    version = {**version, "described": bool(version["described"])}
    same = ("run_id", "code", "features", "stage", "described", "card", "training_id", "artifact_digest",
            "environment_digest", "source", "tags")  # fmt: skip
    return {
        "version": number,
        "created": version["at"].isoformat(),
        "data": list(dict.fromkeys(digests)) or told,
        "metrics": {**auc, **version["metrics"]},
        **{key: version[key] for key in same},
    }
