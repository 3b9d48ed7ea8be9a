"""Webhooks: made, changed and tried by administrators, through MLflow's protocol and through ours.

Both protocols see the same webhooks. MLflow's client knows only MLflow's events and fails on any other, so
that it is shown only those; a webhook without any is there for ours alone, and what it cannot see it does
not take away. URLs often are secrets (chat services put a key into the path): who may not change a webhook
is shown where it leads, without path and query. Secrets are shown to nobody.

What becomes of events is in ``deliveries``.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.events import WebhookChanged
from modelwright.insights.addresses import Destination
from modelwright.insights.incidents import TABLE
from modelwright.insights.webhook_events import MLFLOW, NEVER, OURS, example
from modelwright.insights.webhook_requests import Outbound, body_of, headers_of
from modelwright.insights.webhook_store import Webhook, WebhookStore, milliseconds
from modelwright.log import Happened, Log, new_id
from modelwright.once import Once
from modelwright.protocol import Message
from modelwright.storage import Tables

Wall = Callable[[], datetime]
_MOST = 50
"""Webhooks of a workspace: an event is sent to all of them within one invocation."""

_DEFAULT_PAGE, _LARGEST_PAGE = 100, 1000
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", re.IGNORECASE)
_ID = re.compile(r"[0-9A-Z]{26}")
_LONGEST_TEXT, _LONGEST_SECRET = 1000, 1000


def _event_name(said: Any) -> Any:
    """Return ``entity.action`` of MLflow's form of an event; ours is that already."""
    if isinstance(said, dict):
        said = f"{said.get('entity', '')}.{said.get('action', '')}"
    return said.lower() if isinstance(said, str) else said


EventName = Annotated[str, BeforeValidator(_event_name)]


class CreateWebhook(Message):
    """``POST webhooks``."""

    name: str
    url: str
    events: tuple[EventName, ...]
    description: str = Field(default="", max_length=_LONGEST_TEXT)
    secret: str = Field(default="", max_length=_LONGEST_SECRET, repr=False)
    status: Literal["ACTIVE", "DISABLED"] = "ACTIVE"


class OfWebhook(Message):
    """Names a webhook."""

    webhook_id: str


class UpdateWebhook(OfWebhook):
    """``PATCH webhooks/<id>``; what is not said stays."""

    name: str = ""
    url: str = ""
    events: tuple[EventName, ...] = ()
    description: str | None = Field(default=None, max_length=_LONGEST_TEXT)
    secret: str | None = Field(default=None, max_length=_LONGEST_SECRET, repr=False)
    status: Literal["ACTIVE", "DISABLED"] | None = None


class TryWebhook(OfWebhook):
    """``POST webhooks/<id>/test``; without an event, the first that it listens to."""

    event: EventName = ""


class ListWebhooks(Message):
    """``GET webhooks``."""

    max_results: int | None = None
    page_token: str = ""

    def limit(self) -> int:
        """Return how many are wanted; 0 means that nobody said, as in MLflow."""
        wanted = self.max_results or _DEFAULT_PAGE
        if not 0 < wanted <= _LARGEST_PAGE:
            raise InvalidInput(f"max_results must be between 1 and {_LARGEST_PAGE}, it is {wanted}")
        return wanted


def create(
    call: Call, message: CreateWebhook, *, tables: Tables, log: Log, outbound: Outbound, ours: bool = False
) -> dict[str, Any]:
    """Make a webhook; the same request again makes no other one.

    Args:
        call: an administrator's.
        message: what is asked.
        tables: where webhooks are.
        log: where it is told.
        outbound: says whether the URL may be a webhook's.
        ours: whether our events may be listened to.
    """
    call.authorise("webhooks:write", "webhook/*")
    store, once = WebhookStore.of(call, tables), Once.of(call, "webhooks/create", message, TABLE)
    if (known := once.made(tables)) is not None:
        return _answer(call, store.webhook(known), ours=ours)
    events = _events(message.events, ours=ours)
    _check_name(message.name)
    outbound.check(message.url)
    if len(list(islice(store.webhooks(), _MOST))) == _MOST:
        raise InvalidInput(f"a workspace has at most {_MOST} webhooks: delete one that is not needed")
    now = milliseconds(call.now)
    webhook = Webhook(
        webhook_id=new_id(), name=message.name, url=message.url, events=events, created=now, updated=now,
        description=message.description, status=message.status, secret=SecretStr(message.secret),
    )  # fmt: skip
    event = WebhookChanged(webhook_id=webhook.webhook_id, change="created", listens_to=events)
    happened = Happened(store.stream(webhook.webhook_id), event, fresh=True)
    log.commit(call, [happened], [store.put(webhook), *once.mark(webhook.webhook_id)])
    return _answer(call, webhook, ours=ours)


def list_all(call: Call, message: ListWebhooks, *, tables: Tables, ours: bool = False) -> dict[str, Any]:
    """Return a page of webhooks, newest first."""
    call.authorise("webhooks:read", "webhook/*")
    limit = message.limit()
    if message.page_token and not _ID.fullmatch(message.page_token):
        raise InvalidInput(f"Invalid page token {message.page_token[:50]!r}: it is not one of ours")
    found = _visible(WebhookStore.of(call, tables).webhooks(message.page_token), ours=ours)
    page = list(islice(found, limit + 1))
    said = [_form(call, webhook, ours=ours) for webhook in page[:limit]]
    more = {"next_page_token": page[limit - 1].webhook_id} if len(page) > limit else {}
    return {"webhooks": said} | more


def get(call: Call, message: OfWebhook, *, tables: Tables, ours: bool = False) -> dict[str, Any]:
    """Return a webhook; raises ``NotFound``."""
    call.authorise("webhooks:read", f"webhook/{message.webhook_id}")
    return _answer(call, _known(message, WebhookStore.of(call, tables), ours=ours), ours=ours)


def update(
    call: Call, message: UpdateWebhook, *, tables: Tables, log: Log, outbound: Outbound, ours: bool = False
) -> dict[str, Any]:
    """Change what is said; closes the incident of an endpoint that failed."""
    call.authorise("webhooks:write", f"webhook/{message.webhook_id}")
    store = WebhookStore.of(call, tables)
    webhook = _known(message, store, ours=ours)
    changed: dict[str, Any] = {"updated": milliseconds(call.now)}
    if message.name:
        _check_name(message.name)
        changed["name"] = message.name
    if message.url:
        outbound.check(message.url)
        changed["url"] = message.url
    if message.events:
        kept = () if ours else tuple(event for event in webhook.events if event not in MLFLOW)
        changed["events"] = _events(message.events, ours=ours) + kept
    if message.secret is not None:
        changed["secret"] = SecretStr(message.secret)
    changed |= {k: v for k in ("description", "status") if (v := getattr(message, k)) is not None}
    new = webhook.model_copy(update=changed)
    event = WebhookChanged(webhook_id=webhook.webhook_id, change="updated", listens_to=new.events)
    log.commit(call, [Happened(store.stream(webhook.webhook_id), event)], [store.put(new)])
    return _answer(call, new, ours=ours)


def delete(call: Call, message: OfWebhook, *, tables: Tables, log: Log, ours: bool = False) -> dict[str, Any]:
    """Remove a webhook; what waits for it is not sent any more."""
    call.authorise("webhooks:write", f"webhook/{message.webhook_id}")
    store = WebhookStore.of(call, tables)
    webhook = _known(message, store, ours=ours)
    event = WebhookChanged(webhook_id=webhook.webhook_id, change="deleted", listens_to=webhook.events)
    log.commit(call, [Happened(store.stream(webhook.webhook_id), event)], [store.remove(webhook)])
    return {}


def try_out(
    call: Call,
    message: TryWebhook,
    *,
    tables: Tables,
    outbound: Outbound,
    wall: Wall = lambda: datetime.now(UTC),
    ours: bool = False,
) -> dict[str, Any]:
    """Send an example to a webhook, once, and say what came of it; nothing is kept of that."""
    call.authorise("webhooks:write", f"webhook/{message.webhook_id}")
    webhook = _known(message, WebhookStore.of(call, tables), ours=ours)
    events = _events((message.event,), ours=ours) if message.event else webhook.events if ours else webhook.of_mlflow
    body = body_of(events[0], example(events[0]), call.now, call.workspace)
    headers = headers_of(f"test-{new_id()}", body, webhook.secret.get_secret_value(), wall())
    reply = outbound.post(webhook.url, body, headers)
    said = {
        "success": reply.accepted,
        "response_status": reply.status,
        "response_body": reply.text,
        "error_message": reply.fault,
    }
    return {"result": {key: value for key, value in said.items() if value not in (None, "")}}


def may_change(call: Call, webhook_id: str) -> bool:
    """Say whether the caller may change a webhook, and so may see what others need not."""
    try:
        call.authorise("webhooks:write", f"webhook/{webhook_id}")
    except Forbidden:
        return False
    return True


# --- private -----------------------------------------------------------------------------


def _visible(webhooks: Iterable[Webhook], *, ours: bool) -> Iterable[Webhook]:
    return (webhook for webhook in webhooks if ours or webhook.of_mlflow)


def _known(message: OfWebhook, store: WebhookStore, *, ours: bool) -> Webhook:
    webhook = store.webhook(message.webhook_id)
    if not ours and not webhook.of_mlflow:
        raise NotFound(f"Webhook with ID {webhook.webhook_id} not found: it listens to events of /v1/webhooks alone.")
    return webhook


def _events(names: tuple[str, ...], *, ours: bool) -> tuple[str, ...]:
    """Return the events that are asked for, each once; raises ``InvalidInput``."""
    if not names:
        raise InvalidInput("Webhook events cannot be empty: name what to listen to")
    known = {*MLFLOW, *OURS} if ours else {*MLFLOW}
    for name in names:
        if name in NEVER:
            raise InvalidInput(f"{name} never happens here: {NEVER[name]}")
        if name not in known:
            more = "" if ours or name not in OURS else " (those of ours are for /v1/webhooks)"
            raise InvalidInput(f"there is no event {name[:80]!r}{more}: it must be one of {', '.join(sorted(known))}")
    return tuple(dict.fromkeys(names))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"Webhook name {name[:80]!r} is invalid. It must start and end with a letter or digit, be at most 63 "
            "characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
        )


def _answer(call: Call, webhook: Webhook, *, ours: bool) -> dict[str, Any]:
    return {"webhook": _form(call, webhook, ours=ours)}


def _form(call: Call, webhook: Webhook, *, ours: bool) -> dict[str, Any]:
    said = {
        "webhook_id": webhook.webhook_id,
        "name": webhook.name,
        "description": webhook.description,
        "url": _url(call, webhook),
        "events": list(webhook.events) if ours else [_mlflow_event(name) for name in webhook.of_mlflow],
        "status": webhook.status,
        "creation_timestamp": webhook.created,
        "last_updated_timestamp": webhook.updated,
    }
    more = {"signed": bool(webhook.secret.get_secret_value()), "failures_in_a_row": webhook.failures} if ours else {}
    return {key: value for key, value in said.items() if value != ""} | more


def _mlflow_event(name: str) -> dict[str, str]:
    entity, _, action = name.upper().partition(".")
    return {"entity": entity, "action": action}


def _url(call: Call, webhook: Webhook) -> str:
    """Return a webhook's URL, or only where it leads for who may not change it."""
    return webhook.url if may_change(call, webhook.webhook_id) else Destination.of(webhook.url, private=True).origin
