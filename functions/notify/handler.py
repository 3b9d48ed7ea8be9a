"""Opens and closes incidents, and sends alerts of those that opened."""

from modelwright.adapters.sns import SnsTopic
from modelwright.context import Call
from modelwright.events import Delivery, IncidentOpened
from modelwright.insights import alerts, incidents
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def follow(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    incidents.follow(delivery, call, tables=wiring.tables, log=wiring.log)


def alert(delivery: Delivery, _: Call, wiring: Wiring) -> None:
    arn = wiring.settings.environment.get("MODELWRIGHT_ALERT_TOPIC", "")
    topic = wiring.cache.setdefault("topic", SnsTopic(arn) if arn else None)
    alerts.alert(delivery, topic=topic, log=wiring.log)


CAUSES = dict.fromkeys([*incidents.OPENS, *incidents.CLOSES], follow)
handler = Function("notify", table="insights", consumers={**CAUSES, IncidentOpened: alert})
