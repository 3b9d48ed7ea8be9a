"""Opens and closes incidents, sends alerts of those that opened, and tells webhooks what happened."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from modelwright.context import Call
from modelwright.errors import AlreadyHandled
from modelwright.events import Delivery, Event, IncidentOpened, ScheduleDue
from modelwright.http import Request, Route, RouteHandler, protocol
from modelwright.insights import alerts, deliveries, incidents, webhooks
from modelwright.insights.webhook_events import LISTENABLE
from modelwright.runtime import Consumer, Function
from modelwright.wiring import Wiring

MLFLOW, OURS = "/<api>/<api_version>/mlflow/webhooks", "/v1/webhooks"


def follow(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    incidents.follow(delivery, call, tables=wiring.tables, log=wiring.log)


def alert(delivery: Delivery, _: Call, wiring: Wiring) -> None:
    from modelwright.adapters.sns import SnsTopic

    arn = wiring.settings.environment.get("MODELWRIGHT_ALERT_TOPIC", "")
    topic = wiring.cache.setdefault("topic", SnsTopic(arn) if arn else None)
    alerts.alert(delivery, topic=topic, log=wiring.log)


def outbound(w: Wiring) -> Any:
    from modelwright.adapters.outbound import PinnedHttp

    private = w.settings.environment.get("MODELWRIGHT_WEBHOOK_PRIVATE_ADDRESSES") == "allowed"
    return w.cache.setdefault("outbound", PinnedHttp(private=private))


def courier(w: Wiring) -> deliveries.Courier:
    return deliveries.Courier(w.tables, w.log, outbound(w))


def told(first: Consumer | None) -> Consumer:
    """Return what also tells webhooks: queued before all else, sent after it; neither hinders the other."""

    def consume(delivery: Delivery, call: Call, w: Wiring) -> None:
        from modelwright.adapters.subjects import RegistrySubjects

        queued: list[deliveries.Waiting] | None = None
        try:
            queued = courier(w).queue(delivery, call, RegistrySubjects(w.tables))
        finally:
            try:
                # that the rest was done before must not hide that nothing could be queued
                with suppress(*(() if queued is not None else (AlreadyHandled,))):
                    if first is not None:
                        first(delivery, call, w)
            finally:
                courier(w).attempt(queued or (), call)

    return consume


def retry(_: ScheduleDue, call: Call, w: Wiring) -> None:
    courier(w).retry(call)


def redeliver(r: Request, w: Wiring) -> Any:
    return courier(w).redeliver(r.call, r.told(deliveries.Redeliver))


def routes(base: str, *, ours: bool) -> tuple[Route, ...]:
    """Return the routes of one of the two protocols."""

    def of(method: str, path: str, answer: RouteHandler) -> Route:
        def checked(r: Request, w: Wiring) -> Any:
            if not ours:
                protocol(r)
            return answer(r, w)

        return Route(method, f"{base}{path}", checked)

    def known(w: Wiring) -> dict[str, Any]:
        return {"tables": w.tables, "ours": ours}

    return (
        of("GET", "", lambda r, w: webhooks.list_all(r.call, r.told(webhooks.ListWebhooks), **known(w))),
        of(
            "POST",
            "",
            lambda r, w: webhooks.create(
                r.call, r.told(webhooks.CreateWebhook), log=w.log, outbound=outbound(w), **known(w)
            ),
        ),
        of("GET", "/<webhook_id>", lambda r, w: webhooks.get(r.call, r.told(webhooks.OfWebhook), **known(w))),
        of(
            "PATCH",
            "/<webhook_id>",
            lambda r, w: webhooks.update(
                r.call, r.told(webhooks.UpdateWebhook), log=w.log, outbound=outbound(w), **known(w)
            ),
        ),
        of(
            "DELETE",
            "/<webhook_id>",
            lambda r, w: webhooks.delete(r.call, r.told(webhooks.OfWebhook), log=w.log, **known(w)),
        ),
        of(
            "POST",
            "/<webhook_id>/test",
            lambda r, w: webhooks.try_out(r.call, r.told(webhooks.TryWebhook), outbound=outbound(w), **known(w)),
        ),
    )


FIRST: Mapping[type[Event], Consumer] = {
    **dict.fromkeys([*incidents.OPENS, *incidents.CLOSES], follow), IncidentOpened: alert
}  # fmt: skip

handler = Function(
    "notify",
    table="insights",
    routes=(
        *routes(MLFLOW, ours=False),
        *routes(OURS, ours=True),
        Route(
            "GET",
            f"{OURS}/<webhook_id>/deliveries",
            lambda r, w: deliveries.list_all(r.call, r.told(deliveries.ListDeliveries), tables=w.tables),
        ),
        Route("POST", f"{OURS}/<webhook_id>/deliveries/<delivery_id>/redeliver", redeliver),
    ),
    consumers={
        kind: told(FIRST.get(kind)) if kind in LISTENABLE else FIRST[kind]
        for kind in dict.fromkeys([*FIRST, *LISTENABLE])
    },
    schedules={"sweep": retry},
)
