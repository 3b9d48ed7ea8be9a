"""What retraining knows and has decided, per model.

===========  ================================  ====================  ====================================
entity       pk                                sk                    access pattern
===========  ================================  ====================  ====================================
standing     ``WS#<ws>#STANDING``              ``<model>``           get one; all, when the schedule is due
quarantine   ``WS#<ws>#QUARANTINES``           ``<source>#<id>``     open ones of a source
version      ``WS#<ws>#MODEL#<model>``         ``VERSION#<n:08>``    get: where the champion's artifacts lie
training     ``WS#<ws>#TRAINING``              ``<training id>``     get
decision     ``WS#<ws>#DECISIONS#<model>``     ``<ulid>``            newest first
ledger       ``WS#<ws>#LEDGER#<model>``        ``<yyyy-mm>``         get the month's
===========  ================================  ====================  ====================================

Money is whole millionths of a dollar, so that sums are exact. Documents are JSON strings; ``v`` counts
writes and makes each write conditional.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from modelwright.errors import NotFound
from modelwright.events import ModelVersionCreated, Window
from modelwright.storage import Absent, Anything, Is, Item, Key, Put, Tables, every

MILLIONTHS = 1_000_000
EVIDENCE_KEPT = 10


class Document(BaseModel):
    """Base of stored documents: frozen; attributes of newer code are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    def having(self, **changes: Any) -> Self:
        """Return a copy with other values."""
        return self.model_copy(update=changes)


class Standing(Document):
    """What is known of a model.

    Attributes:
        champion_word: stream and place in it at which the registry said so; sorts by time.
        champion_since: when it became champion.
        rollout: id of the active rollout; empty when none is.
        rollout_sequence: place in the rollout's stream of the newest word.
        training: id of the running training; empty when none is.
        trained: domain time of the newest training that gave a model.
        trained_labels_until: the newest label window it could see.
        failed: domain time at which the newest training failed; None when it gave a model.
        failures: how many failed in a row, up to that one.
        labels_until: the newest label window that came.
        labels_since: labels that came since the newest training.
        evidence: drift seen since then, newest last.
        declined: identity of the newest refusal, so that a repetition says nothing again.
    """

    model: str
    v: int = 0
    champion: int | None = None
    champion_word: str = ""
    champion_since: datetime | None = None
    rollout: str = ""
    rollout_sequence: int = 0
    training: str = ""
    trained: datetime | None = None
    trained_labels_until: datetime | None = None
    failed: datetime | None = None
    failures: int = 0
    labels_until: datetime | None = None
    labels_since: int = 0
    evidence: tuple[str, ...] = ()
    declined: str = ""

    def after(self, training: "Training") -> Self:
        """Return what is known once a training gave a model."""
        trained, until = training.requested, training.labels_until
        fresh: dict[str, Any] = {"failed": None, "failures": 0, "labels_since": 0, "evidence": ()}
        return self.having(trained=trained, trained_labels_until=until, **fresh)

    def after_failure(self, now: datetime) -> Self:
        """Return what is known once a training failed."""
        return self.having(failed=now, failures=self.failures + 1)


class Quarantine(Document):
    """A quarantine of a source; one that was released stays as a mark, for a late word that it began."""

    source: str
    quarantine_id: str
    open: bool
    window: Window | None = None


class Training(Document):
    """A training, from its decision to its end.

    Attributes:
        champion_key: artifacts of the champion to compare with; empty when there is none.
        champion_digest: SHA-256 that its ``model.pkl`` must have; empty when the registry could not say.
        champion_features: the inputs that the champion was made for; empty when it did not say.
        requested: domain time; all of the training happens as of it.
        requested_wall: wall time, since a process that hangs does so in real time.
        month: of the ledger in which ``reserved`` stands.
        reserved: millionths of a dollar.
        settled: whether the ledger has its real cost.
        outcome: why it failed.
        requested_by: the person who asked for it; the platform itself, where nobody did.
    """

    training_id: str
    model: str
    v: int = 0
    status: Literal["requested", "started", "completed", "failed"] = "requested"
    trigger: str
    reason: str
    trainer: str
    window: Window
    champion: int | None = None
    champion_key: str = ""
    champion_digest: str = ""
    champion_features: tuple[str, ...] = ()
    labels_until: datetime | None = None
    requested: datetime
    requested_wall: datetime
    correlation_id: str
    month: str
    reserved: int
    job: str = ""
    settled: bool = False
    outcome: str = ""
    requested_by: str = ""

    @property
    def over(self) -> bool:
        """Whether it ended, well or not."""
        return self.status in ("completed", "failed")


class Decision(Document):
    """What was decided when a trigger fired, and why."""

    at: datetime
    trigger: str
    outcome: Literal["requested", "declined"]
    reasons: tuple[str, ...]
    training_id: str = ""


class Ledger(Document):
    """A month's money of a model, in millionths of a dollar."""

    model: str
    month: str
    v: int = 0
    reserved: int = 0
    spent: int = 0

    @property
    def bound(self) -> int:
        """What is spent or promised."""
        return self.reserved + self.spent


def load_standing(tables: Tables, workspace: str, model: str) -> Standing:
    """Return what is known of a model; an empty standing when nothing is."""
    item = tables.get("retraining", Key(f"WS#{workspace}#STANDING", model))
    return Standing.model_validate_json(item["document"]) if item else Standing(model=model)


def all_standings(tables: Tables, workspace: str) -> tuple[Standing, ...]:
    """Return what is known of every model."""
    items = every(tables, "retraining", f"WS#{workspace}#STANDING")
    return tuple(Standing.model_validate_json(item["document"]) for item in items)


def put_standing(workspace: str, standing: Standing) -> Put:
    """Return the write of a changed standing."""
    return _versioned(Key(f"WS#{workspace}#STANDING", standing.model), standing, standing.v)


def load_quarantine(tables: Tables, workspace: str, source: str, identity: str) -> Quarantine | None:
    """Return a quarantine or the mark of its end."""
    item = tables.get("retraining", _quarantine_key(workspace, source, identity))
    return Quarantine.model_validate_json(item["document"]) if item else None


def open_quarantines(tables: Tables, workspace: str, sources: Iterable[str]) -> tuple[Quarantine, ...]:
    """Return the open quarantines of these sources."""
    found = []
    for source in sorted(set(sources)):
        partition = every(tables, "retraining", f"WS#{workspace}#QUARANTINES", prefix=f"{source}#")
        found += [Quarantine.model_validate_json(item["document"]) for item in partition]
    return tuple(quarantine for quarantine in found if quarantine.open)


def put_quarantine(workspace: str, quarantine: Quarantine, *, known: bool) -> Put:
    """Return the write of a quarantine's beginning or end."""
    key = _quarantine_key(workspace, quarantine.source, quarantine.quarantine_id)
    item = _item(key, quarantine, v=2 if known else 1)
    return Put("retraining", item, Is("v", 1) if known else Absent())


def load_version(tables: Tables, workspace: str, model: str, number: int) -> tuple[str, str, tuple[str, ...]]:
    """Return a version's artifact key, digest and features; empty ones while its event is still under way."""
    item = tables.get("retraining", _version_key(workspace, model, number))
    return (item["artifact_key"], item.get("artifact_digest", ""), tuple(item["features"])) if item else ("", "", ())


def put_version(workspace: str, version: ModelVersionCreated) -> Put:
    """Return the write of where a new version lies, which is the same however often it comes."""
    key = _version_key(workspace, version.model, version.version)
    item = {
        "pk": key.pk,
        "sk": key.sk,
        "artifact_key": version.artifact_key,
        "artifact_digest": version.artifact_digest,
        "features": list(version.features),
    }
    return Put("retraining", item, Anything())


def load_training(tables: Tables, workspace: str, training_id: str) -> Training:
    """Return a training; raises ``NotFound``."""
    item = tables.get("retraining", Key(f"WS#{workspace}#TRAINING", training_id))
    if item is None:
        raise NotFound(f"there is no training {training_id}")
    return Training.model_validate_json(item["document"])


def put_training(workspace: str, training: Training) -> Put:
    """Return the write of a changed training."""
    return _versioned(Key(f"WS#{workspace}#TRAINING", training.training_id), training, training.v)


def decisions(tables: Tables, workspace: str, model: str, *, limit: int = 50) -> tuple[Decision, ...]:
    """Return decisions, newest first."""
    page = tables.query("retraining", f"WS#{workspace}#DECISIONS#{model}", reverse=True, limit=limit)
    return tuple(Decision.model_validate_json(item["document"]) for item in page.items)


def put_decision(workspace: str, model: str, identity: str, decision: Decision) -> Put:
    """Return the write of a decision."""
    return Put("retraining", _item(Key(f"WS#{workspace}#DECISIONS#{model}", identity), decision), Absent())


def load_ledger(tables: Tables, workspace: str, model: str, month: str) -> Ledger:
    """Return a month's ledger; an empty one when nothing was booked."""
    item = tables.get("retraining", Key(f"WS#{workspace}#LEDGER#{model}", month))
    return Ledger.model_validate_json(item["document"]) if item else Ledger(model=model, month=month)


def put_ledger(workspace: str, ledger: Ledger) -> Put:
    """Return the write of a changed ledger."""
    return _versioned(Key(f"WS#{workspace}#LEDGER#{ledger.model}", ledger.month), ledger, ledger.v)


def _versioned(key: Key, document: Document, v: int) -> Put:
    item = _item(key, document.having(v=v + 1), v=v + 1)
    return Put("retraining", item, Is("v", v) if v else Absent())


def _item(key: Key, document: Document, **attributes: int) -> Item:
    return {"pk": key.pk, "sk": key.sk, "document": document.model_dump_json(), **attributes}


def _quarantine_key(workspace: str, source: str, identity: str) -> Key:
    return Key(f"WS#{workspace}#QUARANTINES", f"{source}#{identity}")


def _version_key(workspace: str, model: str, number: int) -> Key:
    return Key(f"WS#{workspace}#MODEL#{model}", f"VERSION#{number:08}")
