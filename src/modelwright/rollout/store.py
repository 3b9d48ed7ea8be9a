"""Where routes and rollouts live, and the models of both.

==============  ==============================  ===================  ======================================
entity          pk                              sk                   access pattern
==============  ==============================  ===================  ======================================
traffic         ``WS#<ws>#TRAFFIC``             ``<model>``          get one; all, when the schedule is due
version         ``WS#<ws>#MODEL#<model>``       ``VERSION#<n:08>``   batch get by number; all of a model
ended rollout   ``WS#<ws>#MODEL#<model>``       ``ROLLOUT#<id>``     the history of a model, newest first
answered        ``WS#<ws>#REQUEST#<model>``     ``<request id>``     get, when a caller repeats a request
==============  ==============================  ===================  ======================================

``Traffic`` is one document per model, so that whatever changes routes is one conditional write.
It holds what the aliases say (with the place in the registry's stream at which they said so, since
deliveries come in any order) and what follows from it: routes and the active rollout.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from modelwright.events import Judgement, Route
from modelwright.storage import Absent, Anything, Is, Item, Key, Put, Tables, every

NOTHING_YET = Judgement(rows=0, mean=0.0, low=-1.0, high=1.0)


class Document(BaseModel):
    """Base of stored documents: frozen; attributes of newer code are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    def having(self, **changes: Any) -> Self:
        """Return a copy with other values."""
        return self.model_copy(update=changes)


class Alias(Document):
    """What an alias said last.

    Attributes:
        word: stream and place in it at which the registry said so. Streams are named by ULIDs, so that
            words sort by time even when a model of the same name was deleted and made again.
    """

    version: int | None = None
    word: str = ""


class Batch(Document):
    """The evidence of one label file: sums of paired loss differences, and the step at which it came."""

    labels_key: str
    step: int
    rows: int
    total: float
    squares: float


class Rollout(Document):
    """One challenger's way into production.

    Attributes:
        step: index into the policy's steps.
        batches: the evidence, in order of arrival.
        judgement: what it amounted to at the last look.
    """

    rollout_id: str
    model: str
    challenger: int
    champion: int
    step: int
    started: datetime
    batches: tuple[Batch, ...] = ()
    judgement: Judgement = NOTHING_YET
    status: Literal["active", "promoted", "rolled_back"] = "active"
    reason: str = ""
    ended: datetime | None = None


class Version(Document):
    """What serving knows of a model version.

    Attributes:
        artifact_digest: SHA-256 that its ``model.pkl`` must have; empty when the registry could not say.
    """

    model: str
    version: int
    artifact_key: str
    features: tuple[str, ...] = ()
    artifact_digest: str = ""


class Traffic(Document):
    """Aliases, routes and the active rollout of one model.

    Attributes:
        v: how often it was written.
        taken: the alias word of the challenger that a rollout was last made of; it gets no second one.
        salt: decides, with a prediction's id, which share of the traffic it belongs to.
    """

    model: str
    v: int = 0
    champion: Alias = Field(default_factory=Alias)
    challenger: Alias = Field(default_factory=Alias)
    taken: str = ""
    shadows: tuple[int, ...] = ()
    routes: tuple[Route, ...] = ()
    salt: str = ""
    rollout: Rollout | None = None

    def answering(self) -> int | None:
        """Return the version that answers what no canary does."""
        return next((route.version for route in self.routes if route.role == "champion"), None)


class Answered(Document):
    """A request that carried an idempotency key, and where its predictions were logged."""

    request_id: str
    body_digest: str
    keys: tuple[str, ...]


def load_traffic(tables: Tables, workspace: str, model: str) -> Traffic:
    """Return the model's traffic; an empty one when nothing is known yet."""
    item = tables.get("rollout", _traffic_key(workspace, model))
    return Traffic.model_validate_json(item["document"]) if item else Traffic(model=model)


def all_traffic(tables: Tables, workspace: str) -> tuple[Traffic, ...]:
    """Return the traffic of every model."""
    items = every(tables, "rollout", _traffic_key(workspace, "").pk)
    return tuple(Traffic.model_validate_json(item["document"]) for item in items)


def put_traffic(workspace: str, traffic: Traffic) -> Put:
    """Return the write of changed traffic; refused when somebody else wrote since it was read."""
    new = traffic.having(v=traffic.v + 1)
    item = _item(_traffic_key(workspace, traffic.model), new, v=new.v)
    return Put("rollout", item, Is("v", traffic.v) if traffic.v else Absent())


def put_version(workspace: str, version: Version) -> Put:
    """Return the write of a version, which is the same however often it comes."""
    return Put("rollout", _item(_version_key(workspace, version.model, version.version), version), Anything())


def load_versions(tables: Tables, workspace: str, model: str, numbers: Iterable[int]) -> dict[int, Version]:
    """Return those of the versions that are known."""
    keys = [_version_key(workspace, model, number) for number in sorted(set(numbers))]
    found = (Version.model_validate_json(i["document"]) for i in tables.batch_get("rollout", keys).values())
    return {version.version: version for version in found}


def put_ended(workspace: str, rollout: Rollout) -> Put:
    """Return the write of a rollout into the history."""
    key = Key(f"WS#{workspace}#MODEL#{rollout.model}", f"ROLLOUT#{rollout.rollout_id}")
    return Put("rollout", _item(key, rollout), Absent())


def history(tables: Tables, workspace: str, model: str, *, limit: int = 50) -> tuple[Rollout, ...]:
    """Return ended rollouts, newest first."""
    page = tables.query("rollout", f"WS#{workspace}#MODEL#{model}", prefix="ROLLOUT#", reverse=True, limit=limit)
    return tuple(Rollout.model_validate_json(item["document"]) for item in page.items)


def load_answered(tables: Tables, workspace: str, model: str, request_id: str) -> Answered | None:
    """Return what is known of a request, if it was answered before."""
    item = tables.get("rollout", Key(f"WS#{workspace}#REQUEST#{model}", request_id))
    return Answered.model_validate_json(item["document"]) if item else None


def put_answered(workspace: str, model: str, answered: Answered) -> Put:
    """Return the write that makes a request known; refused when it already is."""
    key = Key(f"WS#{workspace}#REQUEST#{model}", answered.request_id)
    return Put("rollout", _item(key, answered), Absent())


def _item(key: Key, document: Document, **attributes: int) -> Item:
    return {"pk": key.pk, "sk": key.sk, "document": document.model_dump_json(), **attributes}


def _traffic_key(workspace: str, model: str) -> Key:
    return Key(f"WS#{workspace}#TRAFFIC", model)


def _version_key(workspace: str, model: str, number: int) -> Key:
    return Key(f"WS#{workspace}#MODEL#{model}", f"VERSION#{number:08}")
