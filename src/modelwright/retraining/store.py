"""What retraining knows and has decided, per model.

===========  ================================  ====================  ====================================
entity       pk                                sk                    access pattern
===========  ================================  ====================  ====================================
standing     ``WS#<ws>#STANDING``              ``<model>``           get one; all, when the schedule is due
quarantine   ``WS#<ws>#QUARANTINES``           ``<source>#<id>``     those of a source that are open
its end      ``WS#<ws>#RELEASED``              ``<source>#<id>``     get: a mark, for a late word that it began
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

from pydantic import BaseModel, ConfigDict, Field

from modelwright.errors import NotFound
from modelwright.events import ModelVersionCreated, Window
from modelwright.storage import Absent, Anything, Check, Delete, Is, Item, Key, Put, Tables, Write, every

MILLIONTHS = 1_000_000
EVIDENCE_KEPT = 10
GAINS_KEPT = 10
AGES_KEPT = 10
HEARD_KEPT = 50


class Document(BaseModel):
    """Base of stored documents: frozen; attributes of newer code are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    def having(self, **changes: Any) -> Self:
        """Return a copy with other values."""
        return self.model_copy(update=changes)


class Gain(Document):
    """What a training brought: the new model against the champion, on the held-out rows.

    Attributes:
        value: by how much it is better, whichever way the metric runs; below zero: worse.
        fall: by how much the champion had got worse in this metric; None where that was not the reason to train.
    """

    metric: str
    value: float
    fall: float | None = None


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
        labels_since: labels that joined a prediction and came since the newest training.
        label_ages: how old, in days, the newest labels had got each time when newer ones came; newest last.
        evidence: drift seen since then, newest last.
        quarantines: how often quarantines of its sources began or ended; counted, so that such a word and a decision
            cannot pass each other unseen.
        gains: what the last trainings brought, newest last.
        heard: ids of the newest events that changed any of this, in the order in which they were heard.
        refusals: by trigger, the identity of its newest refusal, so that a repetition says nothing again.
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
    label_ages: tuple[float, ...] = ()
    evidence: tuple[str, ...] = ()
    quarantines: int = 0
    gains: tuple[Gain, ...] = ()
    heard: tuple[str, ...] = ()
    refusals: dict[str, str] = Field(default_factory=dict)

    def told(self, identity: str, **changes: Any) -> Self:
        """Return what is known once an event was heard."""
        return self.having(heard=(*self.heard, identity)[-HEARD_KEPT:], **changes)

    @property
    def busy(self) -> str:
        """What bars any training for now: the id of the one that runs, or else of the rollout; empty: nothing does."""
        return self.training or self.rollout

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
        options: what its trainer was told besides (``RetrainingPolicy.trainer_options``).
        ends_by: wall time by which it is over, or its trainer has stopped it; None: nobody said.
        done: fits of its search that were behind it when it last paused.
        ended: domain time; None while it is on.
        seconds: that it took.
        cost: millionths that it cost, as its end told it or as they were booked.
        gains: what its model brought against the champion.
        billed: millionths that the service says it cost, where it ran in one that does.
        requested_by: the person who asked for it; the platform itself, where nobody did.
        metric: in which the champion had got worse; empty where that was not the reason.
        fall: by how much it had.
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
    options: dict[str, Any] = Field(default_factory=dict)
    ends_by: datetime | None = None
    done: int = 0
    ended: datetime | None = None
    seconds: float = 0.0
    cost: int = 0
    gains: tuple[Gain, ...] = ()
    billed: int | None = None
    requested_by: str = ""
    metric: str = ""
    fall: float | None = None

    @property
    def searches(self) -> bool:
        """Whether the built-in search makes its model."""
        return self.trainer == "automl"

    @property
    def over(self) -> bool:
        """Whether it ended, well or not."""
        return self.status in ("completed", "failed")


class Decision(Document):
    """What was decided when a trigger fired, and why."""

    at: datetime
    trigger: str
    outcome: Literal["requested", "queued", "declined"]
    reasons: tuple[str, ...]
    training_id: str = ""
    queue_id: str = ""
    place: int = 0
    expected_gain: float | None = None
    gain_text: str = ""


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
    return _versioned(Key(f"WS#{workspace}#STANDING", standing.model), standing, standing.v, busy=standing.busy)


def still_busy(workspace: str, standing: Standing) -> Check:
    """Return the condition that what bars trainings of a model still does, whatever else changed."""
    return Check("retraining", Key(f"WS#{workspace}#STANDING", standing.model), Is("busy", standing.busy))


def load_quarantine(tables: Tables, workspace: str, source: str, identity: str) -> Quarantine | None:
    """Return a quarantine or the mark of its end."""
    for held in (True, False):
        if item := tables.get("retraining", _quarantine_key(workspace, source, identity, held=held)):
            return Quarantine.model_validate_json(item["document"])
    return None


def open_quarantines(tables: Tables, workspace: str, sources: Iterable[str]) -> tuple[Quarantine, ...]:
    """Return the open quarantines of these sources."""
    found = []
    for source in sorted(set(sources)):
        partition = every(tables, "retraining", f"WS#{workspace}#QUARANTINES", prefix=f"{source}#")
        found += [Quarantine.model_validate_json(item["document"]) for item in partition]
    return tuple(quarantine for quarantine in found if quarantine.open)


def begin_quarantine(workspace: str, quarantine: Quarantine) -> list[Write]:
    """Return the writes of a quarantine's beginning, which fail once it ended."""
    source, identity = quarantine.source, quarantine.quarantine_id
    begun = _item(_quarantine_key(workspace, source, identity, held=True), quarantine)
    ended = _quarantine_key(workspace, source, identity, held=False)
    return [Put("retraining", begun, Absent()), Check("retraining", ended, Absent())]


def end_quarantine(workspace: str, source: str, identity: str, known: Quarantine | None) -> list[Write]:
    """Return the writes of a quarantine's end.

    Args:
        workspace: whose.
        source: of what.
        identity: its id.
        known: what is known of it; None where nobody heard yet that it began.
    """
    begun = _quarantine_key(workspace, source, identity, held=True)
    ended = _quarantine_key(workspace, source, identity, held=False)
    over = (known or Quarantine(source=source, quarantine_id=identity, open=True)).having(open=False)
    gone: Write = Delete("retraining", begun) if known else Check("retraining", begun, Absent())
    return [Put("retraining", _item(ended, over), Absent()), gone]


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
        "training_id": version.training_id,
    }
    return Put("retraining", item, Anything())


def learned_by(tables: Tables, workspace: str, model: str, number: int | None) -> Window | None:
    """Return the history on which the platform trained a version; None where it did not, or does not know."""
    item = tables.get("retraining", _version_key(workspace, model, number)) if number is not None else None
    training_id = item.get("training_id", "") if item else ""
    known = tables.get("retraining", Key(f"WS#{workspace}#TRAINING", training_id)) if training_id else None
    return Training.model_validate_json(known["document"]).window if known else None


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


def _versioned(key: Key, document: Document, v: int, **attributes: str) -> Put:
    item = _item(key, document.having(v=v + 1), v=v + 1, **attributes)
    return Put("retraining", item, Is("v", v) if v else Absent())


def _item(key: Key, document: Document, **attributes: int | str) -> Item:
    return {"pk": key.pk, "sk": key.sk, "document": document.model_dump_json(), **attributes}


def _quarantine_key(workspace: str, source: str, identity: str, *, held: bool) -> Key:
    return Key(f"WS#{workspace}#{'QUARANTINES' if held else 'RELEASED'}", f"{source}#{identity}")


def _version_key(workspace: str, model: str, number: int) -> Key:
    return Key(f"WS#{workspace}#MODEL#{model}", f"VERSION#{number:08}")
