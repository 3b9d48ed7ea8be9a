"""Opens and closes incidents, sends alerts of those that opened, and tells webhooks what happened."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from modelwright.context import Call
from modelwright.errors import AlreadyHandled
from modelwright.events import (
    Delivery,
    Event,
    IncidentClosed,
    IncidentOpened,
    PerformanceMeasured,
    ScheduleDue,
    TrainingCompleted,
)
from modelwright.http import Request, Route, RouteHandler, protocol
from modelwright.insights import causes, deliveries, incidents, webhooks
from modelwright.insights.webhook_events import LISTENABLE
from modelwright.plugins import load
from modelwright.runtime import Consumer, Function
from modelwright.wiring import Wiring

MLFLOW, OURS = "/<api>/<api_version>/mlflow/webhooks", "/v1/webhooks"


def follow(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    incidents.follow(delivery, call, tables=wiring.tables, log=wiring.log)


def alerting(w: Wiring) -> Any:
    from modelwright.insights.alerts import Desk

    return w.cache.setdefault("alerting", Desk(w.tables, w.log, notifiers(w), topic=has_topic(w)))


def notifiers(w: Wiring) -> Any:
    def made(name: str) -> Any:
        known = w.cache.setdefault("notifiers", {})
        if name not in known:
            known[name] = load("notifiers", name)(w.settings.environment, outbound(w))
        return known[name]

    return made


def has_topic(w: Wiring) -> bool:
    return bool(w.settings.environment.get("MODELWRIGHT_ALERT_TOPIC"))


def alert(delivery: Delivery, call: Call, w: Wiring) -> None:
    if alerting(w).opened(delivery, call):
        from modelwright.adapters.cloudwatch import count_alert

        count_alert(delivery.event.severity)


def resolve(delivery: Delivery, call: Call, w: Wiring) -> None:
    alerting(w).closed(delivery, call)


def watch(delivery: Delivery, call: Call, w: Wiring) -> None:
    from modelwright.insights import measured

    measured.follow(delivery, call, tables=w.tables, log=w.log)


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
    try:
        alerting(w).sweep(call)
    finally:
        courier(w).retry(call)


def look_at_itself(_: ScheduleDue, call: Call, w: Wiring) -> None:
    """Take what the functions did since it last looked: CloudWatch asks a cent per thousand series."""
    if stack := w.settings.environment.get("MODELWRIGHT_MEASURED_STACK"):
        from modelwright.adapters.cloudwatch import FunctionMetrics
        from modelwright.insights import anomalies

        anomalies.watch(call, FunctionMetrics(stack), tables=w.tables, log=w.log)


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


def alert_routes() -> tuple[Route, ...]:
    """Return the routes of channels, silences, incidents and series; each use case is imported when it is asked for."""

    def channels(r: Request, w: Wiring) -> Any:
        from modelwright.insights import notices

        known = {"tables": w.tables, "notifiers": notifiers(w)}
        if r.method == "POST":
            return {"channel": notices.save_channel(r.call, r.told(notices.SaveChannel), **known)}
        return {"channels": notices.list_channels(r.call, topic=has_topic(w), **known)}

    def channel(r: Request, w: Wiring) -> Any:
        from modelwright.insights import notices

        if r.method == "DELETE":
            return notices.remove_channel(r.call, r.told(notices.OfChannel), tables=w.tables, log=w.log)
        known = {"tables": w.tables, "log": w.log, "notifiers": notifiers(w), "topic": has_topic(w)}
        return notices.try_channel(r.call, r.told(notices.OfChannel), **known)

    def silences(r: Request, w: Wiring) -> Any:
        from modelwright.insights import silences as kept

        if r.method == "POST":
            made = kept.make_silence(r.call, r.told(kept.MakeSilence), tables=w.tables, log=w.log)
            return {"silence": made.model_dump(mode="json")}
        return {"silences": kept.list_silences(r.call, tables=w.tables)}

    def unsilence(r: Request, w: Wiring) -> Any:
        from modelwright.insights import silences as kept

        return kept.end_silence(r.call, r.told(kept.OfSilence), tables=w.tables, log=w.log)

    def close(r: Request, w: Wiring) -> Any:
        return {"incident": incidents.close(r.call, r.told(incidents.CloseIncident), tables=w.tables, log=w.log)}

    def series(r: Request, w: Wiring) -> Any:
        from modelwright.insights import anomalies

        return anomalies.show(r.call, r.told(anomalies.OfSeries), tables=w.tables)

    base = "/v1/alerts"
    return (
        Route("GET", f"{base}/channels", channels),
        Route("POST", f"{base}/channels", channels),
        Route("DELETE", f"{base}/channels/<channel>", channel),
        Route("POST", f"{base}/channels/<channel>/test", channel),
        Route("GET", f"{base}/silences", silences),
        Route("POST", f"{base}/silences", silences),
        Route("DELETE", f"{base}/silences/<silence_id>", unsilence),
        Route("POST", f"{base}/incidents/<incident_id>/close", close),
        Route("GET", f"{base}/series", series),
    )


def both(one: Consumer, other: Consumer) -> Consumer:
    """Return what does two things on an event, each of which marks the delivery under a name of its own."""

    def consume(delivery: Delivery, call: Call, w: Wiring) -> None:
        with suppress(AlreadyHandled):
            other(delivery.model_copy(update={"consumer": f"{delivery.consumer}/series"}), call, w)
        one(delivery, call, w)

    return consume


FIRST: Mapping[type[Event], Consumer] = {
    **dict.fromkeys([*causes.OPENS, *causes.CLOSES], follow),
    IncidentOpened: alert,
    IncidentClosed: resolve,
    PerformanceMeasured: watch,
    TrainingCompleted: both(follow, watch),
}

handler = Function(
    "notify",
    table="insights",
    routes=(
        *routes(MLFLOW, ours=False),
        *routes(OURS, ours=True),
        *alert_routes(),
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
    schedules={"sweep": retry, "maintain": look_at_itself},
)
