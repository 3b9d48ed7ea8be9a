"""Deliveries: what happened, told to each webhook that listens; at least once, in no promised order.

An event makes one delivery per webhook, kept before anything is sent and found again by its id when the
event comes twice. The first attempt follows at once; an attempt that fails is repeated by the schedule
``sweep`` after the times in ``WAITS``, and after the last one the delivery is *dead*: ``WebhookFailed``
opens an incident, and people may send it again. Riding on a schedule that is there anyway, retries cost
nothing while nothing is due; a queue with delays would be polled, and charged, for ever.

An attempt is counted, and its successor made due, *before* it is sent (a lease): whoever is killed at any
point leaves a delivery that is due later, never one that is lost, though perhaps one that is told twice.
Receivers drop what they know by ``X-MLflow-Delivery-Id``.

Endpoints cannot hold up one another, or what else an event sets off: attempts come last, side by side, each
with a time limit (``adapters.outbound``). An endpoint that failed ``SICK_AFTER`` times in a row gets no
attempts at once any more; of all that is due for it the schedule sends one, whose failure stands for the
others, or whose success brings them after it.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, get_args

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, Refused
from modelwright.events import Delivery, WebhookChanged, WebhookFailed
from modelwright.insights.webhook_events import Registry, tell
from modelwright.insights.webhook_requests import Outbound, Reply, body_of, headers_of
from modelwright.insights.webhook_store import Status, Webhook, WebhookDelivery, WebhookStore, due, moment, not_due
from modelwright.insights.webhooks import ListWebhooks, OfWebhook, Wall, may_change
from modelwright.log import Happened, Log
from modelwright.storage import Item, Tables

WAITS = tuple(timedelta(minutes=minutes) for minutes in (15, 30, 60, 120, 240, 480, 480))
"""Between one attempt and the next: eight attempts within a day."""

MOST_ATTEMPTS = len(WAITS) + 1
_LEASE = WAITS[0]
_JITTER = 0.1
_AT_ONCE = 64
"""As many as are sent side by side at most, so that none waits for another's turn."""

_BATCH = 32
_PATIENCE_S = 15.0
"""For all that is sent side by side: a name server may hang for longer than a request may take."""

_BUDGET_S = 20.0
"""When a sweep takes up no further batch, which may take ``_PATIENCE_S`` twice: less than the function's minute."""

_LONGEST_REASON = 500


class ListDeliveries(ListWebhooks, OfWebhook):
    """``GET /v1/webhooks/<id>/deliveries``."""

    status: str = ""


class Redeliver(OfWebhook):
    """``POST /v1/webhooks/<id>/deliveries/<id>/redeliver``."""

    delivery_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery whose attempt has begun."""

    webhook: Webhook
    delivery: WebhookDelivery


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Courier:
    """Attempts deliveries and keeps what came of them.

    Args:
        tables: where deliveries are.
        log: where it is told that one was given up.
        outbound: sends.
        wall: the time that requests carry, and from which on deliveries are kept.
        clock: seconds, for how long a sweep may go on.
        patience_s: how long all that is sent side by side may take.
    """

    def __init__(
        self,
        tables: Tables,
        log: Log,
        outbound: Outbound,
        *,
        wall: Wall = _utc_now,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._tables = tables
        self._log = log
        self._outbound = outbound
        self._wall = wall
        self._clock = clock
        self._patience_s = patience_s

    def queue(self, event: Delivery, call: Call, registry: Registry) -> list[Waiting]:
        """Keep a delivery for each webhook that listens; return those that are to be attempted now.

        An event that comes again adds nothing and returns nothing. What is sent is settled here, once.
        """
        store = WebhookStore.of(call, self._tables)
        webhooks = list(store.webhooks())
        told = tell(event, registry) if webhooks else None
        if told is None:
            return []
        identity, body = event.envelope.id, body_of(told.name, told.data, event.envelope.at, call.workspace)
        begun = []
        for webhook in webhooks:
            if not webhook.listens(told.name, identity):
                continue
            new = WebhookDelivery(
                webhook_id=webhook.webhook_id, workspace=call.workspace, event=told.name, event_id=identity,
                created=call.now, due=moment(call.now), body=body,
            )  # fmt: skip
            delivery = new if webhook.sick else _begin(new, call.now)
            with suppress(ConditionFailed):  # the event came before
                self._tables.write(store.save(delivery, wall=self._wall()))
                begun += [] if webhook.sick else [Waiting(webhook, _stored(delivery))]
        return begun

    def attempt(self, begun: Sequence[Waiting], call: Call) -> None:
        """Send deliveries side by side and keep what came of each as soon as it is known."""
        failures = {each.webhook.webhook_id: each.webhook.failures for each in begun}
        for waiting, reply in self._replies(begun):
            self._keep(waiting, reply, call)
            identity = waiting.webhook.webhook_id
            counted = 0 if reply.accepted else failures[identity] + 1
            if counted != failures[identity]:
                failures[identity] = counted
                with suppress(ConditionFailed):  # deleted meanwhile
                    self._tables.write([self._store(waiting).count_failures(identity, counted)])

    def retry(self, call: Call) -> None:
        """Attempt what is due by now, of all workspaces; what there is no time for stays due."""
        until = self._clock() + _BUDGET_S
        while self._clock() < until and (items := due(self._tables, call.now, _BATCH)):
            self._retry(items, call)

    def redeliver(self, call: Call, message: Redeliver) -> dict[str, Any]:
        """Send a delivery again, at once and with all attempts before it, and return what it is then.

        Raises:
            NotFound: there is no such delivery.
            Refused: its webhook is disabled.
        """
        call.authorise("webhooks:write", f"webhook/{message.webhook_id}")
        store = WebhookStore.of(call, self._tables)
        webhook = store.webhook(message.webhook_id)
        if webhook.status == "DISABLED":
            raise Refused(f"Webhook {webhook.webhook_id} is disabled: enable it first")
        before = store.delivery(webhook.webhook_id, message.delivery_id)
        fresh = before.model_copy(update={"status": "pending", "attempts": 0, "finished": None})
        begun = _begin(fresh, call.now)
        event = WebhookChanged(
            webhook_id=webhook.webhook_id, change="redelivered", listens_to=webhook.events,
            delivery_id=message.delivery_id,
        )  # fmt: skip
        happened = Happened(store.stream(webhook.webhook_id), event)
        self._log.commit(call, [happened], store.save(begun, before, wall=self._wall()))
        self.attempt([Waiting(webhook, _stored(begun))], call)
        return {"delivery": store.delivery(webhook.webhook_id, message.delivery_id).answer()}

    # --- private -------------------------------------------------------------------------

    def _retry(self, items: Iterable[Item], call: Call) -> None:
        lots: dict[tuple[str, str], list[Item]] = defaultdict(list)
        for item in items:
            lots[item["workspace"], item["webhook_id"]].append(item)
        for workspace in dict.fromkeys(workspace for workspace, _ in lots):
            theirs = replace(call, workspace=workspace)
            store = WebhookStore(self._tables, workspace)
            first, held = [], {}
            for identity in (webhook for each, webhook in lots if each == workspace):
                members, webhook = lots[workspace, identity], store.find(identity)
                apart = webhook is not None and webhook.sick
                first += self._begun(members[:1] if apart else members, webhook, theirs)
                held[identity] = members[1:] if apart else []
            self.attempt(first, theirs)
            for identity, members in held.items():
                self._follow(members, store.find(identity) if members else None, theirs)

    def _follow(self, members: Sequence[Item], webhook: Webhook | None, call: Call) -> None:
        """Send what was held back if the one before it arrived; else count it as failed with that one."""
        begun = self._begun(members, webhook, call)
        if webhook is not None and webhook.sick:
            fault = f"not tried: {webhook.failures} attempts in a row failed, the last one just before"
            for waiting in begun:
                self._keep(waiting, Reply(fault=fault), call)
        else:
            self.attempt(begun, call)

    def _begun(self, items: Sequence[Item], webhook: Webhook | None, call: Call) -> list[Waiting]:
        """Begin an attempt of each due delivery; return those that are to be sent."""
        begun = []
        for item in items:
            store = WebhookStore.of(call, self._tables)
            delivery = store.known(item["webhook_id"], item["event_id"])
            with suppress(ConditionFailed):  # another sweep was faster
                if delivery is None or not item["sk"].startswith(f"{delivery.due}#"):
                    self._tables.write([not_due(item)])
                elif webhook is None:
                    self._tables.write(store.forget(delivery))
                elif webhook.status == "DISABLED":
                    self._end(delivery, Reply(fault="the webhook was disabled"), call, told=False)
                elif delivery.attempts >= MOST_ATTEMPTS:
                    self._end(delivery, Reply(fault="the last attempt was interrupted"), call)
                else:
                    begin = _begin(delivery, call.now)
                    self._tables.write(store.save(begin, delivery, wall=self._wall()))
                    begun.append(Waiting(webhook, _stored(begin)))
        return begun

    def _replies(self, begun: Sequence[Waiting]) -> Iterator[tuple[Waiting, Reply]]:
        """Yield what came of each, the quickest first."""
        if not begun:
            return
        pool = ThreadPoolExecutor(min(_AT_ONCE, len(begun)), thread_name_prefix="webhook")
        missing = {pool.submit(self._send, each): each for each in begun}
        try:
            for future in as_completed(list(missing), timeout=self._patience_s):
                yield missing.pop(future), future.result()
        except TimeoutError:
            yield from ((each, Reply(fault="no answer in time")) for each in missing.values())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _send(self, waiting: Waiting) -> Reply:
        webhook, delivery = waiting.webhook, waiting.delivery
        secret = webhook.secret.get_secret_value()
        headers = headers_of(delivery.delivery_id, delivery.body, secret, self._wall())
        return self._outbound.post(webhook.url, delivery.body, headers)

    def _keep(self, waiting: Waiting, reply: Reply, call: Call) -> None:
        """Keep what came of an attempt, unless another one's outcome was kept meanwhile."""
        before = waiting.delivery
        with suppress(ConditionFailed):
            if reply.accepted or before.attempts >= MOST_ATTEMPTS:
                self._end(before, reply, call)
            else:
                after = before.model_copy(update=_said(reply))
                self._tables.write(self._store(waiting).save(after, before, wall=self._wall()))

    def _end(self, before: WebhookDelivery, reply: Reply, call: Call, *, told: bool = True) -> None:
        """Keep that a delivery arrived, or that it is given up."""
        store = WebhookStore(self._tables, before.workspace)
        status = "delivered" if reply.accepted else "dead"
        after = before.model_copy(update={**_said(reply), "status": status, "due": "", "finished": call.now})
        failed = WebhookFailed(
            webhook_id=before.webhook_id, delivery_id=before.delivery_id, event_id=before.event_id,
            attempts=before.attempts, reason=reply.fault or f"answered {reply.status}",
        )  # fmt: skip
        events = [Happened(store.stream(before.webhook_id), failed)] if told and not reply.accepted else []
        self._log.commit(call, events, store.save(after, before, wall=self._wall()))

    def _store(self, waiting: Waiting) -> WebhookStore:
        return WebhookStore(self._tables, waiting.delivery.workspace)


def list_all(call: Call, message: ListDeliveries, *, tables: Tables) -> dict[str, Any]:
    """Return a page of a webhook's deliveries, newest event first; what its endpoint says is for who may change it."""
    call.authorise("webhooks:read", f"webhook/{message.webhook_id}")
    store = WebhookStore.of(call, tables)
    limit = message.limit()
    if message.page_token and not message.page_token.isalnum():
        raise InvalidInput(f"Invalid page token {message.page_token[:50]!r}: it is not one of ours")
    if message.status not in ("", *get_args(Status)):
        raise InvalidInput(f"the status {message.status[:50]!r} must be one of {', '.join(get_args(Status))}")
    found = store.deliveries(store.webhook(message.webhook_id).webhook_id, message.page_token)
    page = list(islice((each for each in found if message.status in ("", each.status)), limit + 1))
    more = {"next_page_token": page[limit - 1].event_id} if len(page) > limit else {}
    hidden = () if may_change(call, message.webhook_id) else ("reason",)
    said = [{key: value for key, value in each.answer().items() if key not in hidden} for each in page[:limit]]
    return {"deliveries": said} | more


def _begin(delivery: WebhookDelivery, now: datetime) -> WebhookDelivery:
    """Return a delivery whose next attempt is counted, and is followed by another unless its outcome is kept."""
    attempts = delivery.attempts + 1
    wait = WAITS[attempts - 1] if attempts < MOST_ATTEMPTS else _LEASE
    digest = hashlib.sha256(f"{delivery.delivery_id} {attempts}".encode()).digest()
    earlier = wait * (_JITTER * digest[0] / 255)  # so that those of one moment spread
    return delivery.model_copy(update={"attempts": attempts, "due": moment(now + wait - earlier)})


def _stored(delivery: WebhookDelivery) -> WebhookDelivery:
    return delivery.model_copy(update={"v": delivery.v + 1})


def _said(reply: Reply) -> dict[str, Any]:
    return {"response_status": reply.status, "reason": reply.reason[:_LONGEST_REASON]}
