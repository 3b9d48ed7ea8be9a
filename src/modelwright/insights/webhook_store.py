"""How webhooks and their deliveries are kept.

==========  =============================  =================================  ===================================
entity      pk                             sk                                 access pattern
==========  =============================  =================================  ===================================
webhook     ``WS#<ws>#WEBHOOKS``           ``<webhook id>``                   get; list, newest first
delivery    ``WS#<ws>#WEBHOOK#<id>``       ``<event id>``                     get; list, newest first
due         ``WEBHOOKS#DUE``               ``<time>#<ws>#<delivery id>``      what is due by now, of all workspaces
==========  =============================  =================================  ===================================

A delivery's id is ``<webhook id>-<event id>``, so that an event that comes twice makes one delivery. A
delivery that waits has one *due* item, written and removed together with it. Deliveries carry ``expires``
(seconds), by which the table drops them after 30 days.

A webhook's secret is an attribute of its own and a ``SecretStr`` in memory: no form of a webhook that is
answered, logged or told in an event has it. It has to be kept readable, because signing needs it; what
guards it is that the table is encrypted with a key of AWS KMS and that this function and the console alone
may read it. A further key, which costs a dollar a month, would be usable by the same role.
"""

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.insights.incidents import TABLE
from modelwright.insights.webhook_events import MLFLOW
from modelwright.log import stream_of
from modelwright.storage import Absent, Anything, Delete, Exists, Is, Item, Key, Put, Tables, Update, Write, every

Status = Literal["pending", "delivered", "dead"]

DUE = "WEBHOOKS#DUE"
SICK_AFTER = 5
"""So many failures in a row, and an endpoint is asked by the schedule alone."""

_KEPT = timedelta(days=30)
_MILLISECONDS = 1000


class Webhook(BaseModel):
    """Where to tell of which events.

    Attributes:
        events: names, as in ``webhook_events``.
        created: and ``updated``, in milliseconds.
        secret: signs each delivery; empty for none.
        failures: attempts in a row that failed; counted roughly, by whoever was last.
        v: counts versions of the document (0: not stored yet).
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    webhook_id: str
    name: str
    url: str
    events: tuple[str, ...]
    created: int
    updated: int
    description: str = ""
    status: Literal["ACTIVE", "DISABLED"] = "ACTIVE"
    secret: SecretStr = Field(default=SecretStr(""), exclude=True)
    failures: int = Field(default=0, exclude=True)
    v: int = Field(default=0, exclude=True)

    @property
    def sick(self) -> bool:
        """Whether its endpoint failed so often that new deliveries wait for the schedule."""
        return self.failures >= SICK_AFTER

    @property
    def of_mlflow(self) -> tuple[str, ...]:
        """The events that MLflow's client knows."""
        return tuple(event for event in self.events if event in MLFLOW)

    def listens(self, name: str, event_id: str) -> bool:
        """Say whether it is to be told of an event: of those that happened since it was made (ids sort by time)."""
        return self.status == "ACTIVE" and name in self.events and self.webhook_id < event_id


class WebhookDelivery(BaseModel):
    """One event for one webhook.

    Attributes:
        workspace: whose.
        event: the name under which it is told.
        event_id: the event's id in the log.
        created: when it was queued.
        status: ``dead`` ones were given up, and can be sent again.
        attempts: how many began.
        due: when the next attempt begins; empty unless pending.
        response_status: of the last answer; None without one.
        reason: why the last attempt failed, or the beginning of what the endpoint said.
        body: what is sent, the same in each attempt.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    webhook_id: str
    workspace: str
    event: str
    event_id: str
    created: datetime
    status: Status = "pending"
    attempts: int = 0
    due: str = ""
    response_status: int | None = None
    reason: str = ""
    finished: datetime | None = None
    body: bytes = Field(default=b"", exclude=True)
    v: int = Field(default=0, exclude=True)

    @property
    def delivery_id(self) -> str:
        """The id that receivers are told, the same in each attempt."""
        return f"{self.webhook_id}-{self.event_id}"

    def answer(self) -> dict[str, Any]:
        """Return the form in which it is listed."""
        said = self.model_dump(mode="json", exclude={"workspace"})
        return {"delivery_id": self.delivery_id, **said}


class WebhookStore:
    """Reads, and the writes that use cases commit, of one workspace."""

    def __init__(self, tables: Tables, workspace: str) -> None:
        self._tables = tables
        self._workspace = workspace

    @classmethod
    def of(cls, call: Call, tables: Tables) -> "WebhookStore":
        """Return the store of a call's workspace."""
        return cls(tables, call.workspace)

    @property
    def _partition(self) -> str:
        return f"WS#{self._workspace}#WEBHOOKS"

    # --- webhooks ------------------------------------------------------------------------

    def webhook(self, webhook_id: str) -> Webhook:
        """Return a webhook; raises ``NotFound``."""
        if (found := self.find(webhook_id)) is None:
            raise NotFound(f"Webhook with ID {webhook_id} not found.")
        return found

    def find(self, webhook_id: str) -> Webhook | None:
        """Return a webhook, if there is one."""
        item = self._tables.get(TABLE, Key(self._partition, webhook_id))
        return _webhook(item) if item else None

    def webhooks(self, before: str = "") -> Iterator[Webhook]:
        """Yield the webhooks, newest first; those made before one of them, if it is named."""
        options: dict[str, Any] = {"start": "0", "end": before} if before else {}
        found = every(self._tables, TABLE, self._partition, reverse=True, **options)
        return (_webhook(item) for item in found if item["sk"] != before)

    def put(self, webhook: Webhook) -> Write:
        """Return the write of a new state; a changed webhook is given the benefit of the doubt."""
        item = {
            **Key(self._partition, webhook.webhook_id)._asdict(),
            "doc": webhook.model_dump_json(),
            "secret": webhook.secret.get_secret_value(),
            "failures": 0,
            "v": webhook.v + 1,
        }
        return Put(TABLE, item, Is("v", webhook.v) if webhook.v else Absent())

    def remove(self, webhook: Webhook) -> Write:
        """Return the write that removes a webhook; what waits for it is dropped when it is due."""
        return Delete(TABLE, Key(self._partition, webhook.webhook_id), Is("v", webhook.v))

    def count_failures(self, webhook_id: str, failures: int) -> Write:
        """Return the write that keeps how often a webhook failed in a row."""
        return Update(TABLE, Key(self._partition, webhook_id), {"failures": failures}, Exists())

    def stream(self, webhook_id: str) -> str:
        """Return a webhook's stream in the log."""
        return stream_of(self._workspace, "WEBHOOK", webhook_id)

    # --- deliveries ----------------------------------------------------------------------

    def delivery(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Return a delivery; raises ``NotFound``."""
        event_id = delivery_id.removeprefix(f"{webhook_id}-")
        item = self._tables.get(TABLE, self._delivery_key(webhook_id, event_id)) if event_id != delivery_id else None
        if item is None:
            raise NotFound(f"Webhook {webhook_id} has no delivery {delivery_id}: they are kept for {_KEPT.days} days")
        return _delivery(item)

    def deliveries(self, webhook_id: str, before: str = "") -> Iterator[WebhookDelivery]:
        """Yield a webhook's deliveries, newest event first; those before an event, if it is named."""
        options: dict[str, Any] = {"start": "0", "end": before} if before else {}
        partition = self._delivery_key(webhook_id, "").pk
        found = every(self._tables, TABLE, partition, reverse=True, **options)
        return (_delivery(item) for item in found if item["sk"] != before)

    def known(self, webhook_id: str, event_id: str) -> WebhookDelivery | None:
        """Return the delivery of an event, if there is one."""
        item = self._tables.get(TABLE, self._delivery_key(webhook_id, event_id))
        return _delivery(item) if item else None

    def save(self, delivery: WebhookDelivery, before: WebhookDelivery | None = None, *, wall: datetime) -> list[Write]:
        """Return the writes that keep a delivery's new state, and when it is due.

        Args:
            delivery: the new state.
            before: the state that it replaces; None for a new delivery.
            wall: the time from which on it is kept.
        """
        item = {
            **self._delivery_key(delivery.webhook_id, delivery.event_id)._asdict(),
            "doc": delivery.model_dump_json(),
            "body": zlib.compress(delivery.body),
            "expires": int((wall + _KEPT).timestamp()),
            "v": delivery.v + 1,
        }
        writes: list[Write] = [Put(TABLE, item, Is("v", delivery.v) if delivery.v else Absent())]
        was = before.due if before else ""
        if was != delivery.due:
            writes += [Delete(TABLE, _due_key(before), Anything())] if before and was else []
            writes += [_due(delivery)] if delivery.due else []
        return writes

    def forget(self, delivery: WebhookDelivery) -> list[Write]:
        """Return the writes that drop a delivery."""
        key = self._delivery_key(delivery.webhook_id, delivery.event_id)
        due = [Delete(TABLE, _due_key(delivery), Anything())] if delivery.due else []
        return [Delete(TABLE, key, Is("v", delivery.v)), *due]

    def _delivery_key(self, webhook_id: str, event_id: str) -> Key:
        return Key(f"WS#{self._workspace}#WEBHOOK#{webhook_id}", event_id)


def due(tables: Tables, now: datetime, limit: int) -> list[Item]:
    """Return what is due by now in all workspaces, longest overdue first: items of workspace, webhook and event."""
    return list(tables.query(TABLE, DUE, start="0", end=f"{moment(now)}~", limit=limit).items)


def not_due(item: Item) -> Write:
    """Return the write that removes a due item whose delivery does not wait."""
    return Delete(TABLE, Key(DUE, item["sk"]), Anything())


def moment(at: datetime) -> str:
    """Return a time as text that sorts as time does."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(at: datetime) -> int:
    """Return a time as MLflow tells it."""
    return int(at.timestamp() * _MILLISECONDS)


def _due_key(delivery: WebhookDelivery) -> Key:
    return Key(DUE, f"{delivery.due}#{delivery.workspace}#{delivery.delivery_id}")


def _due(delivery: WebhookDelivery) -> Write:
    named = {"workspace": delivery.workspace, "webhook_id": delivery.webhook_id, "event_id": delivery.event_id}
    return Put(TABLE, {**_due_key(delivery)._asdict(), **named}, Anything())


def _webhook(item: Item) -> Webhook:
    more = {"secret": item["secret"], "failures": int(item["failures"]), "v": int(item["v"])}
    return Webhook.model_validate({**json.loads(item["doc"]), **more})


def _delivery(item: Item) -> WebhookDelivery:
    more = {"body": zlib.decompress(item["body"]), "v": int(item["v"])}
    return WebhookDelivery.model_validate({**json.loads(item["doc"]), **more})
