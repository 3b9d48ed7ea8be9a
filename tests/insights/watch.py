"""What tests of alerts share: notify over memory, with channels, an hour and a schedule."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from support.http import Caller, deliver, handler_of, memory_wiring

from modelwright.adapters.memory import MemoryNotifier
from modelwright.context import Call
from modelwright.events import Envelope, Event, IncidentClosed, IncidentOpened, ScheduleDue
from modelwright.insights.incidents import incidents
from modelwright.log import Log

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Watch:
    """Notify over memory, with two channels: ``pager`` for what is critical, ``desk`` for all but facts."""

    def __init__(self) -> None:
        self.pager, self.desk = MemoryNotifier(), MemoryNotifier()
        self.wiring = memory_wiring()
        self.wiring.cache["notifiers"] = {"pager": self.pager, "desk": self.desk}
        self.function = handler_of("notify", self.wiring)
        self.caller = Caller(self.function)
        self.save("pager", tiers=["critical"])
        self.save("desk")
        self.number = 0

    def save(self, name: str, notifier: str = "", **more: Any) -> dict[str, Any]:
        said = {"name": name, "notifier": notifier or name, **more}
        saved: dict[str, Any] = self.caller.ok("POST", "/v1/alerts/channels", said)["channel"]
        return saved

    def tell(self, event: Event, at: datetime) -> str:
        self.number += 1
        envelope = Envelope(
            id=f"{self.number:026}", type=event.detail_type(), schema_version=1, workspace="default",
            stream="WS#default#INCIDENT#x", sequence=self.number, at=at, actor="platform", correlation_id="c",
            data=event.model_dump(mode="json"),
        )  # fmt: skip
        outcome: str = deliver(self.function, envelope)["outcome"]
        return outcome

    def open(self, subject: str = "quarantine/weather/1", severity: str = "critical", at: datetime = NOON) -> str:
        identity = f"incident-{self.number}"
        event = IncidentOpened.model_validate(
            {
                "incident_id": identity,
                "severity": severity,
                "subject": subject,
                "text": f"why {subject}",
                "cause_id": "c",
            }
        )
        assert self.tell(event, at) == "handled"
        return identity

    def close(self, identity: str, at: datetime = NOON, reason: str = "it passed") -> None:
        self.tell(IncidentClosed(incident_id=identity, reason=reason), at)

    def sweep(self, at: datetime) -> None:
        due = ScheduleDue(name="sweep", at=at)
        self.function(
            {"source": "modelwright.schedule", "detail-type": "ScheduleDue", "detail": due.model_dump(mode="json")}
        )

    def events(self, kind: str) -> list[Mapping[str, Any]]:
        found = Log(self.wiring.tables).hour(datetime.now(UTC))
        return [item.envelope.data for item in found if item.envelope.type == kind]

    def forward(self, kind: str, at: datetime) -> None:
        """Bring the events of a kind that the log has, as the bus would."""
        for item in list(Log(self.wiring.tables).hour(datetime.now(UTC))):
            if item.envelope.type == kind:
                deliver(self.function, item.envelope.model_copy(update={"at": at}))

    def standing(self) -> dict[str, bool]:
        """Which incidents there are, and whether they are open."""
        call = Call("default", "platform", NOON, "c")
        return {one["subject"]: one["open"] for one in incidents(call, tables=self.wiring.tables)}

    def silence(self, subject: str, hours: float = 2) -> str:
        until = (NOON + timedelta(hours=hours)).isoformat()
        said = {"subject": subject, "until": until, "reason": "we know"}
        made = self.caller.ok("POST", "/v1/alerts/silences", said, x_modelwright_as_of=NOON.isoformat())["silence"]
        identity: str = made["silence_id"]
        return identity
