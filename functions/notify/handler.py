"""Opens and closes incidents, and sends alerts of the new ones."""

from modelwright.adapters.sns import alert
from modelwright.context import Call
from modelwright.events import Delivery
from modelwright.insights import incidents
from modelwright.runtime import Function, Wiring


def follow(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    cause = incidents.follow(delivery, call, tables=wiring.tables, log=wiring.log)
    topic = wiring.settings.environment.get("MODELWRIGHT_ALERT_TOPIC", "")
    if cause is not None and topic:
        alert(topic, cause.severity, cause.subject, cause.text)


handler = Function("notify", table="insights", consumers=dict.fromkeys([*incidents.OPENS, *incidents.CLOSES], follow))
