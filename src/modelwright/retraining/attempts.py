"""Attempts at a training: who is at it, until when at the latest, and what those took that were killed.

===========  ====================================  ===================  ==============================================
entity       pk                                    sk                   access pattern
===========  ====================================  ===================  ==============================================
attempt      ``WS#<ws>#ATTEMPTS#<training id>``    ``<attempt's id>``   all of a training, in the order they began
===========  ====================================  ===================  ==============================================

An attempt has an owner: the invocation, which Lambda repeats under the same id once it was killed, or the job. So an
attempt that did not end was killed if its time is over, or if its own owner begins another one; before that somebody
else may still be at it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelwright.log import new_id
from modelwright.retraining.store import Document
from modelwright.storage import Anything, Put, Tables, every


class Attempt(Document):
    """One attempt.

    Attributes:
        owner: who makes it.
        began: wall time.
        until: wall time at which whoever runs it stops it; None: nobody stops it.
        rate: US dollars per second.
        over: whether it came to its end, so that what it took is told by what it made.
    """

    attempt_id: str
    owner: str
    began: datetime
    until: datetime | None
    rate: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class Killed:
    """What the attempts took at most that were killed."""

    seconds: float = 0.0
    dollars: float = 0.0


@dataclass(frozen=True)
class Runner:
    """Who trains, and how long that may take.

    Attributes:
        owner: the same for every repetition after a kill, and for nobody else.
        wall: says what time it is.
        until: wall time at which it is stopped; None: never.
        attempt_id: of the attempt that it makes.
    """

    owner: str
    wall: Callable[[], datetime]
    until: datetime | None
    attempt_id: str = ""


@contextmanager
def attempted(
    tables: Tables,
    workspace: str,
    training_id: str,
    *,
    owner: str,
    wall: Callable[[], datetime],
    left: float,
    rate: float,
) -> Iterator[Runner]:
    """Keep a record of an attempt, and yield who makes it.

    A kill leaves it open, and so does an error, after which the attempt is made again.

    Args:
        tables: the store.
        workspace: whose.
        training_id: which training.
        owner: see ``Runner``.
        wall: says what time it is.
        left: seconds until whoever runs it stops it.
        rate: US dollars per second.
    """
    began = wall()
    until = began + timedelta(seconds=left) if math.isfinite(left) else None
    made = Attempt(attempt_id=new_id(began), owner=owner, began=began, until=until, rate=rate)
    tables.write([_put(workspace, training_id, made)])
    yield Runner(owner, wall, until, made.attempt_id)
    tables.write([_put(workspace, training_id, made.having(over=True))])


def killed(
    tables: Tables,
    workspace: str,
    training_id: str,
    now: datetime,
    *,
    by: Runner | None = None,
    kept: Mapping[str, float] | None = None,
) -> Killed:
    """Return what the attempts at a training took that were killed.

    Args:
        tables: the store.
        workspace: whose.
        training_id: which training.
        now: wall time.
        by: who asks, whose own earlier attempts are over.
        kept: by attempt, the seconds of what it stored before, which are counted there.
    """
    items = every(tables, "retraining", _pk(workspace, training_id))
    known = [Attempt.model_validate_json(item["document"]) for item in items]
    found = Killed()
    for place, one in enumerate(known):
        if one.over or (by is not None and one.attempt_id == by.attempt_id):
            continue
        after = [other.began for other in known[place + 1 :] if other.owner == one.owner]
        stopped = [*after[:1], *([one.until] if one.until is not None and one.until <= now else [])]
        if stopped:
            took = (min(stopped) - one.began).total_seconds() - (kept or {}).get(one.attempt_id, 0.0)
            found = replace(found, seconds=found.seconds + took, dollars=found.dollars + took * one.rate)
    return found


def _put(workspace: str, training_id: str, attempt: Attempt) -> Put:
    item = {"pk": _pk(workspace, training_id), "sk": attempt.attempt_id, "document": attempt.model_dump_json()}
    return Put("retraining", item, Anything())  # nobody else writes it


def _pk(workspace: str, training_id: str) -> str:
    return f"WS#{workspace}#ATTEMPTS#{training_id}"
