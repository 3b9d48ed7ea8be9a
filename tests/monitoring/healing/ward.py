"""A desk on which what goes to quarantine is healed, as the monitor function does it."""

from collections.abc import Mapping
from datetime import datetime

from modelwright.context import Call
from modelwright.events import Delivery, Envelope, Event, QualityFailed, kinds
from modelwright.log import stream_of
from modelwright.monitoring.healing import RepairBody, RevertBody, Shop, heal, repair, revert, show
from modelwright.monitoring.store import Quarantine
from modelwright.plugins import load
from monitoring.desk import CHECKS, DETECTORS, NOW, Desk


class Ward(Desk):
    """Delivers what the log says to healing."""

    def shop(self, call: Call | None = None) -> Shop:
        return Shop(
            call=call or self.call(), tables=self.tables, log=self.log, blobs=self.blobs,
            check=CHECKS.__getitem__, detector=DETECTORS.__getitem__, repair=lambda name: load("repairs", name)(),
        )  # fmt: skip

    def arrive(self, key: str, body: bytes, at: datetime, metadata: Mapping[str, str] | None = None) -> str:
        """Let a file land at a time."""
        return self.land(key, body, {"as-of": at.isoformat(), **(metadata or {})})

    def failures(self, source: str) -> list[Delivery]:
        """Return what the bus delivers of quarantines that begin."""
        stream = stream_of(self.workspace, "SOURCE", source)
        items = [item.envelope for item in self.log.read(stream) if item.envelope.type == "QualityFailed"]
        return [_delivery(envelope) for envelope in items]

    def heal(self, source: str) -> list[str]:
        """Deliver all that failed."""
        return [heal(one, self.shop(self.call(one.envelope.at))) for one in self.failures(source)]

    def heal_last(self, source: str) -> str:
        """Deliver what failed last."""
        last = self.failures(source)[-1]
        return heal(last, self.shop(self.call(last.envelope.at)))

    def repair(self, identity: str, rule: str, reason: str = "", call: Call | None = None) -> Quarantine:
        return repair(identity, RepairBody(rule=rule, reason=reason), self.shop(call))

    def revert(self, identity: str, reason: str = "", call: Call | None = None) -> Quarantine:
        return revert(identity, RevertBody(reason=reason), self.shop(call))

    def show(self, identity: str, call: Call | None = None) -> dict[str, object]:
        return show(identity, self.shop(call))

    def told(self, source: str) -> list[str]:
        """Return the types of all events of a source."""
        return [item.envelope.type for item in self.log.read(stream_of(self.workspace, "SOURCE", source))]


def _delivery(envelope: Envelope) -> Delivery:
    event: Event = kinds()[envelope.type].model_validate(envelope.data)
    assert isinstance(event, QualityFailed)
    return Delivery(consumer="monitor", envelope=envelope, event=event)


__all__ = ["NOW", "Ward"]
