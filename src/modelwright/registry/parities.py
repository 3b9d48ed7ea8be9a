"""What proofs of parity said of a model's feature service, as the feature store's events tell: a gate asks.

================  ==================  =============================  ============================================
entity            pk                  sk                             access pattern
================  ==================  =============================  ============================================
newest proof      ``WS#<ws>#PARITY``  ``<service>#<project digest>``  get: is what this project serves what it trains
================  ==================  =============================  ============================================

A proof is about one project: after the definitions changed there is none until the next. Values that differ for data
that came late are no fault of the definitions or the code, so that a failure for that alone says nothing here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from modelwright.context import Call
from modelwright.events import Delivery, ParityFailed, ParityProven
from modelwright.log import Log
from modelwright.registry.store import TABLE
from modelwright.storage import Absent, Condition, Is, Key, Put, Tables

_LATE = "late data"


@dataclass(frozen=True, slots=True)
class Parity:
    """The newest proof of a service under a project.

    Attributes:
        digest: of the report.
        rows: that were compared.
        features: that were.
        faults: what differs, as people read it; empty if nothing does.
    """

    digest: str
    rows: int
    features: tuple[str, ...]
    faults: str = ""

    def covers(self, features: Iterable[str], request: Iterable[str]) -> bool:
        """Say whether these features were all compared, or are request columns."""
        known = {*self.features, *request}
        return all(name in known for name in features)


def note(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember a proof or its failure, in whichever order they are told."""
    event: ParityProven | ParityFailed = delivery.event
    key = _key(call.workspace, event.service, event.project)
    known = tables.get(TABLE, key)
    writes = []
    if not _late_alone(event) and (known is None or known["told"] < delivery.envelope.id):
        said = {"digest": event.digest, "rows": event.rows, "features": event.features, "faults": _faults(event)}
        item = {**key._asdict(), "told": delivery.envelope.id, "parity": json.dumps(said)}
        condition: Condition = Absent() if known is None else Is("told", known["told"])
        writes.append(Put(TABLE, item, condition))
    log.commit(call, (), writes, delivery=delivery, table=TABLE)


def newest(tables: Tables, workspace: str, service: str, project: str) -> Parity | None:
    """Return the newest proof of a service under a project's digest, or None."""
    item = tables.get(TABLE, _key(workspace, service, project))
    if item is None:
        return None
    said = json.loads(item["parity"])
    return Parity(said["digest"], said["rows"], tuple(said["features"]), said["faults"])


def _late_alone(event: ParityProven | ParityFailed) -> bool:
    return isinstance(event, ParityFailed) and {each.cause for each in event.differences} == {_LATE}


def _faults(event: ParityProven | ParityFailed) -> str:
    if isinstance(event, ParityProven):
        return ""
    return ", ".join(f"{each.feature} in {each.count} rows ({each.cause})" for each in event.differences)


def _key(workspace: str, service: str, project: str) -> Key:
    return Key(f"WS#{workspace}#PARITY", f"{service}#{project}")
