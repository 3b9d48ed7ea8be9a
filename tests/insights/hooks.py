"""What tests of webhooks share: registry and notify over one memory, and an endpoint that is told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from support.http import Caller, deliver, handler_of
from support.mlflow_desk import API, Desk

from modelwright.adapters.memory import MemoryNotifier, MemoryOutbound, MemoryTables
from modelwright.events import Envelope
from modelwright.insights.webhook_requests import Reply
from modelwright.log import LogItem
from modelwright.runtime import Function

HOOKS = f"{API}/webhooks"
URL = "https://hooks.example.com/services/T0/B0?key=abc"
DOWN = Reply(503, "come back later")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class HookDesk(Desk):
    """A desk with webhooks."""

    def __init__(self, tables: MemoryTables | None = None) -> None:
        super().__init__(tables=tables or MemoryTables())
        self.outbound = MemoryOutbound()
        self.wiring.cache["outbound"] = self.outbound
        self.functions["notify"] = handler_of("notify", self.wiring)
        self.hooks = Caller(self.functions["notify"])
        self._told: set[str] = set()

    @property
    def notify(self) -> Function:
        return self.functions["notify"]

    def topic(self) -> MemoryNotifier:
        """Give the stack an alert topic, and return who sends to it."""
        notifier = MemoryNotifier()
        self.wiring.settings.environment["MODELWRIGHT_ALERT_TOPIC"] = "arn"
        self.wiring.cache["notifiers"] = {"sns": notifier}
        return notifier

    def hook(self, *events: str, url: str = URL, **more: Any) -> str:
        """Make a webhook, of ours, and return its id."""
        said = {"name": "ci", "url": url, "events": events or ["registered_model.created"], **more}
        identity: str = self.hooks.ok("POST", "/v1/webhooks", said)["webhook"]["webhook_id"]
        return identity

    def model(self, name: str = "churn", **more: Any) -> None:
        """Make a registered model."""
        self.registry.ok("POST", f"{API}/registered-models/create", {"name": name, **more})

    def log(self) -> list[LogItem]:
        """Return the whole log in the order in which it was written."""
        items = self.tables._items.get("log", {}).values()
        return sorted((LogItem.read(item) for item in items), key=lambda item: item.envelope.id)

    def pump(self, *, again: bool = False) -> list[Envelope]:
        """Bring notify what happened since last time, as often as its own events set off more; return all of it."""
        brought: list[Envelope] = []
        while new := [i.envelope for i in self.log() if again or i.envelope.id not in self._told]:
            again = False
            for envelope in new:
                self._told.add(envelope.id)
                if envelope.type in {kind.detail_type() for kind in self.notify.consumers}:
                    deliver(self.notify, envelope)
                    brought.append(envelope)
        return brought

    def sweep(self, at: datetime) -> None:
        """Let the schedule come."""
        detail = {"name": "sweep", "at": at.isoformat()}
        self.notify({"id": "1", "detail-type": "ScheduleDue", "source": "modelwright.schedule", "detail": detail})

    def sweeps(self, since: datetime, hours: float) -> None:
        """Let the schedule come every quarter of an hour."""
        for quarter in range(1, int(hours * 4) + 1):
            self.sweep(since + timedelta(minutes=15 * quarter))

    def bodies(self) -> list[dict[str, Any]]:
        """Return what was sent."""
        return [json.loads(body) for _, body, _ in self.outbound.sent]

    def told(self) -> list[str]:
        """Return the names of what was sent."""
        return [f"{body['entity']}.{body['action']}" for body in self.bodies()]

    def deliveries(self, webhook: str, status: str = "") -> list[dict[str, Any]]:
        """Return what is listed."""
        query = f"?status={status}" if status else ""
        found: list[dict[str, Any]] = self.hooks.ok("GET", f"/v1/webhooks/{webhook}/deliveries{query}")["deliveries"]
        return found


def happen(desk: HookDesk, at: datetime = NOON, name: str = "churn") -> str:
    """Let a model be made at a time, and return the event's id."""
    code, said = desk.registry(
        "POST", f"{API}/registered-models/create", {"name": name}, x_modelwright_as_of=at.isoformat()
    )
    assert code == 200, said
    desk.pump()
    return next(i.envelope.id for i in desk.log() if i.envelope.stream == f"WS#default#MODEL#{name}")
