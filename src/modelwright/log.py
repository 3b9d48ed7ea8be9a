"""The append-only log: outbox, audit trail and time machine at once.

A change of state and its events are committed in one transaction: the state's items, and one
log item per event under ``pk`` = the aggregate's stream and ``sk`` = the zero-padded sequence
number, which must not exist yet. A stream of the table publishes new items to the bus. Each
item carries the hash of the one before it, so that nothing can be changed, dropped or swapped
unseen (``modelwright.governance.verifier`` checks that with the standard library alone).

=============  =========================  ==================  ==========================================
entity         pk                         sk                  index ``by_hour`` (pk, sk)
=============  =========================  ==================  ==========================================
log item       ``WS#<ws>#<KIND>#<id>``    ``<sequence:012>``  ``HOUR#<yyyy-mm-ddThh>#<shard>``, ``<id>``
handled mark   ``WS#<ws>#HANDLED#<fn>``   ``<event id>``      (in the consumer's own table)
=============  =========================  ==================  ==========================================

The hash is SHA-256 over five lines: chain version, the hash before, ``sk``, ``pk``, and the
envelope's text as it is stored, so that no flipped byte means the same. ``published`` is the
publisher's acknowledgement; it is no part of the hash.
The hour of the index is the wall clock's, because the sweeper looks for what it missed today.

A handled mark may be forgotten (``expires``, seconds since 1970 of wall time, by which DynamoDB deletes) when no
delivery can come again: a rule tries for a day, dead letters wait for 14, and the sweeper goes back 7. Until it is
deleted it counts, however old it is. Log items never expire.
"""

import hashlib
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, ConditionFailed, Conflict
from modelwright.events import Delivery, Envelope, Event
from modelwright.storage import Absent, Item, Put, TableName, Tables, Write, every

CHAIN_VERSION = 1
GENESIS = "0" * 64
SHARDS = 4
HANDLED_FOR = timedelta(days=60)
"""How long it is remembered that a delivery was handled."""
_ATTEMPTS = 12
_BASE_S, _LONGEST_S = 0.004, 0.25
_TIMES_KEPT = 64
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(now: datetime | None = None) -> str:
    """Return a ULID: 26 characters that sort by time (48 bits of milliseconds, 80 random bits).

    Ids of one millisecond that one process makes one after the other sort in that order (the ULID
    specification's monotonicity); those of different processes sort at random.
    """
    number = _sequence.after(int((now or datetime.now(UTC)).timestamp() * 1000))
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


class _Sequence:
    """The newest ids of this process, for the order within a millisecond; what says other times comes between."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._lock = threading.Lock()

    def after(self, milliseconds: int) -> int:
        """Return a number for this time, larger than the last one of the same millisecond."""
        with self._lock:
            last = self._newest.pop(milliseconds, None)
            number = (milliseconds << 80) | secrets.randbits(79) if last is None else last + 1 + secrets.randbits(32)
            self._newest[milliseconds] = number
            if len(self._newest) > _TIMES_KEPT:
                del self._newest[next(iter(self._newest))]
            return number


_sequence = _Sequence()


def time_of(identity: str) -> datetime:
    """Return the wall-clock time in a ULID."""
    number = 0
    for letter in identity[:10]:
        number = number * 32 + _CROCKFORD.index(letter)
    return datetime.fromtimestamp(number / 1000, tz=UTC)


def stream_of(workspace: str, kind: str, identity: str) -> str:
    """Return the stream (and partition key) of an aggregate: ``WS#default#MODEL#flights``."""
    return f"WS#{workspace}#{kind}#{identity}"


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return one and the same bytes for equal records: JSON with sorted keys, no spaces, UTF-8."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(item: Item) -> str:
    """Return the hash that a stored item must carry."""
    lines = (str(item["chain_version"]), item["previous"], item["sk"], item["pk"], item["envelope"])
    return hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class LogItem:
    """One event in its place: the envelope, the previous item's hash, and its own."""

    envelope: Envelope
    previous: str
    hash: str
    published: str = ""

    @classmethod
    def chain(cls, envelope: Envelope, previous: str) -> "LogItem":
        """Return the item that follows the one whose hash is ``previous``."""
        place = (str(CHAIN_VERSION), previous, _place(envelope), envelope.stream, _text(envelope))
        return cls(envelope, previous, hashlib.sha256("\n".join(place).encode()).hexdigest())

    def item(self, wall: datetime) -> Item:
        """Return the stored form."""
        shard = int(self.hash[:4], 16) % SHARDS
        return {
            "pk": self.envelope.stream,
            "sk": _place(self.envelope),
            "by_hour_pk": f"HOUR#{wall:%Y-%m-%dT%H}#{shard}",
            "by_hour_sk": self.envelope.id,
            "chain_version": CHAIN_VERSION,
            "previous": self.previous,
            "hash": self.hash,
            "type": self.envelope.type,
            "envelope": _text(self.envelope),
            "published": "",
        }

    @classmethod
    def read(cls, item: Item) -> "LogItem":
        """Read the stored form."""
        envelope = Envelope.model_validate_json(item["envelope"])
        return cls(envelope, item["previous"], item["hash"], item.get("published", ""))


@dataclass(frozen=True, slots=True)
class Happened:
    """An event and the stream it belongs to.

    Attributes:
        fresh: the stream begins with this commit, so that its end need not be read.
    """

    stream: str
    event: Event
    fresh: bool = False


class Log:
    """Commits state and events together, and reads streams back."""

    def __init__(
        self,
        tables: Tables,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        make_id: Callable[[datetime], str] = new_id,
    ) -> None:
        self._tables = tables
        self._wall = wall
        self._make_id = make_id
        self.last_marked = ""

    def commit(
        self,
        call: Call,
        events: Sequence[Happened],
        writes: Sequence[Write] = (),
        *,
        delivery: Delivery | None = None,
        table: TableName | None = None,
    ) -> tuple[LogItem, ...]:
        """Write state, events and the mark that a delivery was handled, all or nothing.

        When only the end of a stream moved meanwhile, the events are chained anew, a little later, so that many who
        write to one stream at once all get their turn; when a condition on state failed, the caller decides.

        Args:
            call: whose change this is.
            events: what happened, in order.
            writes: the state.
            delivery: the event that caused this, if one did; its mark goes into ``table``.
            table: the consumer's own table; needed with ``delivery``.

        Raises:
            AlreadyHandled: the delivery came before.
            ConditionFailed: a state condition did not hold; positions refer to ``writes``.
            Conflict: the streams moved faster than this could follow.
        """
        marks: list[Write] = []
        if delivery is not None:
            if table is None:
                raise ValueError("a delivery needs the consumer's table")
            marks.append(Put(table, _mark(delivery, self._wall()), Absent()))
        for attempt in range(_ATTEMPTS):
            items = self._chain(call, events, trusting=attempt == 0)
            logged: list[Write] = [Put("log", item.item(self._wall()), Absent()) for item in items]
            try:
                self._tables.write([*writes, *marks, *logged])
            except ConditionFailed as failure:
                self._explain(failure, len(writes), len(marks), delivery)
            else:
                self.last_marked = delivery.envelope.id if delivery else self.last_marked
                return items
            time.sleep(random.uniform(0, min(_LONGEST_S, _BASE_S * 2**attempt)))  # noqa: S311 - jitter is no secret
        raise Conflict(f"the streams of {', '.join(sorted({h.stream for h in events}))} are too busy")

    def handled(self, table: TableName, delivery: Delivery) -> bool:
        """Say whether this delivery was handled before (a cheap look ahead of costly work)."""
        mark = _mark(delivery, self._wall())
        page = self._tables.query(table, mark["pk"], start=mark["sk"], end=mark["sk"], limit=1)
        return bool(page.items)

    def read(self, stream: str, *, start: int = 1) -> Iterator[LogItem]:
        """Yield a stream's items from sequence number ``start`` on."""
        options = {"start": f"{start:012d}", "end": "9" * 12}
        return (LogItem.read(item) for item in every(self._tables, "log", stream, **options))

    def newest(self, stream: str, limit: int) -> list[LogItem]:
        """Return a stream's last items in one read, newest first."""
        return [LogItem.read(i) for i in self._tables.query("log", stream, reverse=True, limit=limit).items]

    def hour(self, hour: datetime, *, start: str = "") -> Iterator[LogItem]:
        """Yield what was written in an hour of wall time, in the order of ids (from ``start`` on) within each shard."""
        for shard in range(SHARDS):
            partition = f"HOUR#{hour:%Y-%m-%dT%H}#{shard}"
            found = every(self._tables, "log", partition, index="by_hour", start=start)
            yield from (LogItem.read(item) for item in found)

    def head(self, stream: str) -> LogItem | None:
        """Return the newest item of a stream."""
        page = self._tables.query("log", stream, reverse=True, limit=1)
        return LogItem.read(page.items[0]) if page.items else None

    def _chain(self, call: Call, events: Sequence[Happened], *, trusting: bool) -> tuple[LogItem, ...]:
        heads: dict[str, tuple[int, str]] = {}
        items = []
        for happened in events:
            if happened.stream not in heads:
                head = None if happened.fresh and trusting else self.head(happened.stream)
                heads[happened.stream] = (head.envelope.sequence, head.hash) if head else (0, GENESIS)
            sequence, previous = heads[happened.stream]
            envelope = Envelope(
                id=self._make_id(self._wall()),
                type=happened.event.detail_type(),
                schema_version=happened.event.schema_version,
                workspace=call.workspace,
                stream=happened.stream,
                sequence=sequence + 1,
                at=call.now,
                actor=call.actor,
                correlation_id=call.correlation_id,
                data=happened.event.model_dump(mode="json"),
            )
            item = LogItem.chain(envelope, previous)
            heads[happened.stream] = (item.envelope.sequence, item.hash)
            items.append(item)
        return tuple(items)

    @staticmethod
    def _explain(failure: ConditionFailed, writes: int, marks: int, delivery: Delivery | None) -> None:
        if delivery is not None and any(writes <= position < writes + marks for position in failure.failed):
            raise AlreadyHandled(f"{delivery.consumer} handled {delivery.envelope.id} before") from failure
        if any(position < writes for position in failure.failed):
            raise failure


def _place(envelope: Envelope) -> str:
    return f"{envelope.sequence:012d}"


def _text(envelope: Envelope) -> str:
    return canonical(envelope.model_dump(mode="json")).decode()


def _mark(delivery: Delivery, wall: datetime) -> Item:
    return {
        "pk": f"WS#{delivery.envelope.workspace}#HANDLED#{delivery.consumer}",
        "sk": delivery.envelope.id,
        "type": delivery.envelope.type,
        "handled": wall.isoformat(),
        "expires": int((wall + HANDLED_FOR).timestamp()),
    }
