"""Triggers that came while a training or a rollout was on, and wait for their turn.

===========  ==============================  ====================  ============================================
entity       pk                              sk                    access pattern
===========  ==============================  ====================  ============================================
waiting      ``WS#<ws>#QUEUE#<model>``       ``<queue id>``        the next ones; how many, and who, wait
===========  ==============================  ====================  ============================================

Queue ids of what happened (a fall, a wish) sort by time, and within a millisecond in the order in which they came; a
lasting cause (age, labels that lie there, the schedule) waits once, under its trigger's name, and behind the others.
Whoever comes holds the transaction to what bars trainings (``store.still_busy``), and writes nothing that others who
come at once write too: a hundred come without waiting for one another. So ``place`` and ``queue_limit`` are as of what
each could see.
"""

from collections.abc import Sequence
from datetime import datetime

from modelwright.log import new_id
from modelwright.retraining.store import Document
from modelwright.retraining.triggers import Cause, CauseKind
from modelwright.storage import Absent, Delete, Key, Put, Tables, every

_TIME, _DIGITS = 10, 6
BATCH = 25
"""So many are decided in one transaction, of at most four writes each."""


class Waiting(Document):
    """A trigger that waits.

    Attributes:
        reason: what the trigger said.
        came: domain time.
        kind: of the cause, like the fields below.
        actor: who asked, if a person did.
    """

    queue_id: str
    trigger: str
    reason: str
    came: datetime
    kind: CauseKind
    identity: str
    text: str
    version: int | None
    metric: str
    fall: float | None
    actor: str
    correlation_id: str

    @property
    def cause(self) -> Cause:
        """What came."""
        return Cause(self.kind, self.identity, self.text, self.version, self.metric, self.fall)


def next_id(before: Sequence[str], now: datetime) -> str:
    """Return an id behind all that wait: a ULID whose first random digits count those of its millisecond."""
    fresh = new_id(now)
    same = [identity for identity in before if identity[:_TIME] == fresh[:_TIME]]
    number = int(max(same)[_TIME : _TIME + _DIGITS]) + 1 if same else 0
    return f"{fresh[:_TIME]}{number:0{_DIGITS}}{fresh[_TIME + _DIGITS :]}"


def ids(tables: Tables, workspace: str, model: str) -> tuple[str, ...]:
    """Return the ids of all that wait, in their order."""
    return tuple(item["sk"] for item in every(tables, "retraining", _key(workspace, model, "").pk))


def first(tables: Tables, workspace: str, model: str, limit: int = BATCH) -> tuple[Waiting, ...]:
    """Return those that are next."""
    page = tables.query("retraining", _key(workspace, model, "").pk, limit=limit)
    return tuple(Waiting.model_validate_json(item["document"]) for item in page.items)


def put(workspace: str, model: str, waiting: Waiting) -> Put:
    """Return the write of one that comes."""
    key = _key(workspace, model, waiting.queue_id)
    return Put("retraining", {"pk": key.pk, "sk": key.sk, "document": waiting.model_dump_json()}, Absent())


def drop(workspace: str, model: str, waiting: Waiting) -> Delete:
    """Return the write of one that was decided; fails if somebody else decided it."""
    return Delete("retraining", _key(workspace, model, waiting.queue_id))


def _key(workspace: str, model: str, queue_id: str) -> Key:
    return Key(f"WS#{workspace}#QUEUE#{model}", queue_id)
