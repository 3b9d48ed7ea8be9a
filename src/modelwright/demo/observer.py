"""Watches a local stack from outside: what happened, and whether everyone it concerns has dealt with it.

The template's rules say who is due to handle which event; the log says which events there are;
the marks that consumers leave say which deliveries were handled. When nothing is outstanding and
no training runs, the platform is quiet.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright.adapters.dynamodb import DynamoTables
from modelwright.errors import Unavailable
from modelwright.events import SOURCE, Envelope
from modelwright.local import translation
from modelwright.local.stack import Running
from modelwright.log import Log, LogItem, new_id, time_of
from modelwright.storage import TableName, every

MARKS: dict[str, TableName] = {
    "tracking": "tracking",
    "maintain": "tracking",
    "registry": "registry",
    "gates": "registry",
    "monitor": "monitoring",
    "materialize": "features",
    "retrain": "retraining",
    "rollout": "rollout",
    "notify": "insights",
}
"""In which table each consumer marks what it handled."""

_FILTERED = {"gates": "pending"}
"""Consumers whose rule brings only events in which this field is not empty."""

_POLL_S = 0.05
_OVERLAP = timedelta(seconds=5)
_TABLES: tuple[TableName, ...] = ("log", *MARKS.values())


def consumers(template: str) -> dict[str, frozenset[str]]:
    """Return the functions that a template's rules deliver each event type to."""
    document = translation.parse(template)
    names = translation.functions(document)
    found: dict[str, set[str]] = {}
    for identity, name in names.items():
        for rule in document["Resources"][identity]["Properties"].get("Events", {}).values():
            pattern = rule["Properties"].get("Pattern", {})
            if SOURCE in pattern.get("source", ()):
                for kind in pattern["detail-type"]:
                    found.setdefault(kind, set()).add(name)
    return {kind: frozenset(functions) for kind, functions in found.items()}


def takers(rules: Mapping[str, frozenset[str]], envelope: Envelope) -> frozenset[str]:
    """Return the functions that an event is delivered to, by the rules that ``consumers`` found."""
    told = rules.get(envelope.type, frozenset())
    return frozenset(name for name in told if name not in _FILTERED or envelope.data.get(_FILTERED[name]))


class Observer:
    """Follows one workspace of a running local stack.

    Args:
        running: the stack.
        template: its template's text.
    """

    def __init__(self, running: Running, template: str) -> None:
        names: dict[TableName, str] = {name: running.outputs[f"{name.title()}TableName"] for name in _TABLES}
        self._tables = DynamoTables(running.client("dynamodb"), names)
        self._log = Log(self._tables)
        self._workspace = running.workspace
        self._consumers = consumers(template)
        self._items: dict[str, LogItem] = {}
        self._hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        self._newest = self._hour
        self._due: set[tuple[str, str]] = set()
        self._handled: set[tuple[str, str]] = set()

    @property
    def deliveries(self) -> tuple[int, int]:
        """How many deliveries were due, and how many of those were handled."""
        return len(self._due), len(self._due & self._handled)

    def follow_from(self, hour: datetime) -> None:
        """Read the log from an hour of wall time on (a resumed demo's begins earlier)."""
        self._hour = self._newest = hour.replace(minute=0, second=0, microsecond=0)

    def events(self, *kinds: str) -> list[LogItem]:
        """Return what was seen so far of some types, in the order in which it was written."""
        chosen = (item for item in self._items.values() if not kinds or item.envelope.type in kinds)
        return sorted(chosen, key=lambda item: item.envelope.id)

    def wait_for(self, what: str, found: Callable[[LogItem], bool], timeout_s: float = 60) -> LogItem:
        """Return the first event that ``found`` accepts.

        Raises:
            Unavailable: there was none in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.look()
            for item in self._items.values():
                if found(item):
                    return item
            if time.monotonic() > deadline:
                raise Unavailable(f"waited {timeout_s:.0f} s for {what}: see `modelwright logs`")
            time.sleep(_POLL_S)

    def settle(self, timeout_s: float = 180) -> None:
        """Wait until every delivery that is due was handled and no training runs.

        Raises:
            Unavailable: naming what is outstanding.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.look()
            outstanding = self._outstanding()
            if not outstanding:
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"not settled after {timeout_s:.0f} s: {'; '.join(sorted(outstanding)[:5])}")
            time.sleep(_POLL_S)

    def look(self) -> None:
        """Read which deliveries were handled, then what is new in the log.

        In this order: a mark is written in one transaction with the events that its handling caused, so
        whoever sees the mark first cannot miss the events.
        """
        for function in {function for function, _ in self._missing()}:
            self._read_marks(function)
        for item in self._new():
            self._newest = max(self._newest, time_of(item.envelope.id))
            if item.envelope.id not in self._items:
                self._items[item.envelope.id] = item
                self._due.update((function, item.envelope.id) for function in takers(self._consumers, item.envelope))

    def _new(self) -> Iterator[LogItem]:
        since = self._newest - _OVERLAP
        hour = max(self._hour, since.replace(minute=0, second=0, microsecond=0))
        while hour <= datetime.now(UTC):
            items = self._log.hour(hour, start=new_id(since)[:10])
            yield from (item for item in items if item.envelope.workspace == self._workspace)
            hour += timedelta(hours=1)

    def _read_marks(self, function: str) -> None:
        first = min(identity for name, identity in self._missing() if name == function)
        partition = f"WS#{self._workspace}#HANDLED#{function}"
        marks = every(self._tables, MARKS[function], partition, start=first)
        self._handled.update((function, mark["sk"]) for mark in marks)

    def _outstanding(self) -> list[str]:
        kinds = {identity: item.envelope.type for identity, item in self._items.items()}
        waiting = [f"{function} has not handled {kinds[identity]} {identity}" for function, identity in self._missing()]
        ended = {self._training(item) for item in self.events("TrainingCompleted", "TrainingFailed")}
        begun = {self._training(item) for item in self.events("TrainingRequested")}
        return [*waiting, *(f"training {training} runs" for training in begun - ended)]

    def _missing(self) -> set[tuple[str, str]]:
        return self._due - self._handled

    @staticmethod
    def _training(item: LogItem) -> Any:
        return item.envelope.data["training_id"]
