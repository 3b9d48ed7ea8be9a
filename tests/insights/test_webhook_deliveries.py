"""What happened is told to each webhook that listens: once where all goes well, again where it does not."""

import json
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import Caller, deliver
from support.mlflow_desk import API, envelope_of, sample

from insights.hooks import DOWN, HOOKS, NOON, URL, HookDesk, happen
from modelwright.adapters.memory import MemoryOutbound, MemoryTables
from modelwright.adapters.metering import Meter, MeteredTables
from modelwright.adapters.subjects import RegistrySubjects
from modelwright.context import Call
from modelwright.events import (
    Delivery,
    QualityFailed,
)
from modelwright.insights.deliveries import MOST_ATTEMPTS, WAITS, Courier, _begin
from modelwright.insights.webhook_requests import Reply
from modelwright.insights.webhook_store import DUE, SICK_AFTER, WebhookDelivery
from modelwright.log import Log, new_id
from modelwright.storage import Page, TableName

OTHER = "https://other.example.com/"


@pytest.fixture
def desk() -> HookDesk:
    return HookDesk()


# --- once, or again ----------------------------------------------------------------------


def test_a_repetition_has_the_same_id_and_body_and_a_new_time(desk: HookDesk) -> None:
    desk.outbound.replies[URL] = DOWN
    desk.hook("registered_model.created", secret="s")
    happen(desk)
    desk.registry.ok("PATCH", f"{API}/registered-models/update", {"name": "churn", "description": "changed"})
    desk.sweeps(NOON, 1)
    sent = desk.outbound.sent
    assert len(sent) == 3
    assert len({(url, body, headers["X-MLflow-Delivery-Id"]) for url, body, headers in sent}) == 1


def test_an_event_that_comes_again_is_told_once(desk: HookDesk) -> None:
    hook = desk.hook("registered_model.created", "incident.opened")
    happen(desk)
    desk.pump(again=True)
    desk.sweeps(NOON, 24)
    assert len(desk.outbound.sent) == 1
    (delivery,) = desk.deliveries(hook)
    assert (delivery["status"], delivery["attempts"], delivery["due"]) == ("delivered", 1, "")
    assert (delivery["response_status"], delivery["reason"]) == (200, "answered 200: ok")


def test_only_those_that_listen_are_told_and_only_of_what_happened_since(desk: HookDesk) -> None:
    happen(desk, name="before")
    desk.hook("model_version.created", url=OTHER)
    desk.hook("registered_model.created", url=OTHER, status="DISABLED")
    desk.hook("registered_model.created", "drift.detected")
    desk.hook("registered_model.created")
    desk.pump(again=True)
    assert desk.told() == []
    happen(desk)
    assert [(url, json.loads(body)["data"]["name"]) for url, body, _ in desk.outbound.sent] == [(URL, "churn")] * 2
    assert len({headers["X-MLflow-Delivery-Id"] for _, _, headers in desk.outbound.sent}) == 2


@pytest.mark.parametrize("reply", [DOWN, Reply(404), Reply(302), Reply(fault="no answer in time")])
def test_what_is_not_taken_is_sent_again_until_it_is(desk: HookDesk, reply: Reply) -> None:
    desk.outbound.replies[URL] = reply
    hook = desk.hook("registered_model.created")
    happen(desk)
    (delivery,) = desk.deliveries(hook)
    assert (delivery["status"], delivery["attempts"], delivery["reason"]) == ("pending", 1, reply.reason)
    desk.sweep(NOON + timedelta(minutes=10))
    assert len(desk.outbound.sent) == 1, "it was not due yet"
    desk.sweep(NOON + timedelta(minutes=15))
    assert len(desk.outbound.sent) == 2
    del desk.outbound.replies[URL]
    desk.sweeps(NOON + timedelta(minutes=15), 24)
    assert len(desk.outbound.sent) == 3
    (delivery,) = desk.deliveries(hook)
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 3)
    assert desk.pump() == []


def test_after_a_day_it_is_given_up_with_an_incident_and_can_be_sent_again(desk: HookDesk) -> None:
    topic = desk.topic()
    desk.outbound.replies[URL] = Reply(503, "private words")
    hook = desk.hook("registered_model.created")
    happen(desk)
    desk.sweeps(NOON, 21)
    assert len(desk.outbound.sent) == MOST_ATTEMPTS - 1
    desk.sweeps(NOON + timedelta(hours=21), 24)
    assert len(desk.outbound.sent) == MOST_ATTEMPTS
    (delivery,) = desk.deliveries(hook, "dead")
    assert desk.deliveries(hook, "pending") == desk.deliveries(hook, "delivered") == []
    (failed,) = [i.envelope for i in desk.log() if i.envelope.type == "WebhookFailed"]
    assert failed.data == {
        "webhook_id": hook, "delivery_id": delivery["delivery_id"], "event_id": delivery["event_id"],
        "attempts": MOST_ATTEMPTS, "reason": "answered 503",
    }  # fmt: skip
    desk.pump()
    assert [notice.severity for notice in topic.sent] == ["warning"]
    assert topic.sent[0].subject == f"webhook/{hook}"
    again = f"/v1/webhooks/{hook}/deliveries/{delivery['delivery_id']}/redeliver"
    assert desk.hooks.ok("POST", again, {})["delivery"]["status"] == "pending"
    del desk.outbound.replies[URL]
    said = desk.hooks.ok("POST", again, {})["delivery"]
    assert (said["status"], said["attempts"]) == ("delivered", 1)
    ids = {headers["X-MLflow-Delivery-Id"] for _, _, headers in desk.outbound.sent}
    assert ids == {delivery["delivery_id"]}
    desk.pump()
    types = [i.envelope.type for i in desk.log()]
    assert (types.count("IncidentOpened"), types.count("IncidentClosed")) == (1, 1)
    changes = [i.envelope.data for i in desk.log() if i.envelope.type == "WebhookChanged"]
    assert [change["change"] for change in changes] == ["created", "redelivered", "redelivered"]
    assert changes[-1]["delivery_id"] == delivery["delivery_id"]
    desk.sweeps(NOON, 72)
    assert len(desk.outbound.sent) == MOST_ATTEMPTS + 2


def test_attempts_spread_over_a_day() -> None:
    assert timedelta(hours=23) < sum(WAITS, timedelta()) < timedelta(hours=24)
    assert list(WAITS) == sorted(WAITS)


@given(st.integers(0, MOST_ATTEMPTS - 1), st.text("0123456789ABCDEF", min_size=4, max_size=8))
def test_the_next_attempt_is_due_within_its_wait_but_never_much_sooner(attempts: int, event: str) -> None:
    known = WebhookDelivery(
        webhook_id="W", workspace="default", event="x.y", event_id=event, created=NOON, attempts=attempts
    )
    begun = _begin(known, NOON)
    wait = (*WAITS, WAITS[0])[attempts]
    due = datetime.fromisoformat(begun.due)
    assert begun.attempts == attempts + 1
    assert NOON + wait * 0.9 - timedelta(seconds=1) <= due <= NOON + wait


# --- endpoints and others ----------------------------------------------------------------


def test_a_dead_endpoint_holds_up_neither_another_one_nor_incidents(desk: HookDesk) -> None:
    topic = desk.topic()
    desk.outbound.replies[URL] = Reply(fault="no answer in time")
    for url in (URL, OTHER):
        desk.hook("quality.failed", "incident.opened", url=url)
    failed = QualityFailed(
        source="weather", upload_key="7.csv", upload_version="1", quarantine_id="q", quarantine_key="k", rows=1,
        findings=(),
    )  # fmt: skip
    deliver(desk.notify, envelope_of(failed))
    desk.pump()
    assert len(topic.sent) == 1
    assert sorted(url for url, _, _ in desk.outbound.sent) == sorted([URL, OTHER] * 2)


class Broken(Exception):
    """What no code expects."""


def test_deliveries_are_kept_even_where_what_else_the_event_sets_off_fails() -> None:
    class Deaf(MemoryTables):
        def query(self, table: TableName, pk: str, **options: Any) -> Page:
            if pk.endswith("#CHANNELS"):
                raise Broken
            return super().query(table, pk, **options)

    desk = HookDesk(Deaf())
    desk.hook("incident.opened")
    failed = QualityFailed(
        source="weather", upload_key="7.csv", upload_version="1", quarantine_id="q", quarantine_key="k", rows=1,
        findings=(),
    )  # fmt: skip
    deliver(desk.notify, envelope_of(failed))
    with pytest.raises(Broken):
        desk.pump()
    assert desk.told() == ["incident.opened"]


def test_what_hinders_queueing_hinders_no_incident_and_is_not_taken_for_done() -> None:
    class Deaf(MemoryTables):
        deaf = False

        def query(self, table: TableName, pk: str, **options: Any) -> Page:
            if self.deaf and pk.endswith("#WEBHOOKS"):
                raise Broken
            return super().query(table, pk, **options)

    tables = Deaf()
    desk = HookDesk(tables)
    desk.hook("quality.failed")
    envelope = envelope_of(QualityFailed(
        source="weather", upload_key="7.csv", upload_version="1", quarantine_id="q", quarantine_key="k", rows=1,
        findings=(),
    ))  # fmt: skip
    tables.deaf = True
    for _ in range(2):
        with pytest.raises(Broken):
            deliver(desk.notify, envelope)
    assert [i.envelope.type for i in desk.log()].count("IncidentOpened") == 1
    tables.deaf = False
    assert deliver(desk.notify, envelope)["outcome"] == "duplicate"
    assert desk.told() == ["quality.failed"]


def sicken(desk: HookDesk, at: datetime = NOON) -> str:
    """Make a webhook whose endpoint failed so often that it is not tried at once any more."""
    desk.outbound.replies[URL] = DOWN
    hook = desk.hook("registered_model.created")
    for number in range(SICK_AFTER):
        happen(desk, at, f"churn{number}")
    assert len(desk.outbound.sent) == SICK_AFTER
    return hook


def test_an_endpoint_that_keeps_failing_is_tried_by_the_schedule_alone_one_at_a_time(desk: HookDesk) -> None:
    hook = sicken(desk)
    happen(desk, NOON, "later")
    assert len(desk.outbound.sent) == SICK_AFTER, "not tried at once"
    desk.sweep(NOON + timedelta(minutes=15))
    assert len(desk.outbound.sent) == SICK_AFTER + 1
    waiting = desk.deliveries(hook, "pending")
    assert sorted(each["attempts"] for each in waiting) == [1] + [2] * SICK_AFTER
    assert sum("not tried" in each["reason"] for each in waiting) == SICK_AFTER
    assert desk.hooks.ok("GET", f"/v1/webhooks/{hook}")["webhook"]["failures_in_a_row"] == SICK_AFTER + 1


def test_an_endpoint_that_is_back_gets_all_that_waited(desk: HookDesk) -> None:
    hook = sicken(desk)
    del desk.outbound.replies[URL]
    desk.sweep(NOON + timedelta(minutes=15))
    assert desk.deliveries(hook, "pending") == []
    assert len(desk.deliveries(hook, "delivered")) == SICK_AFTER
    happen(desk, NOON, "later")
    assert len(desk.deliveries(hook, "delivered")) == SICK_AFTER + 1, "at once again"


def test_an_endpoint_that_stays_away_gets_all_given_up_within_two_days(desk: HookDesk) -> None:
    hook = sicken(desk)
    happen(desk, NOON, "later")
    for quarter in range(1, 48 * 4):
        before = len(desk.outbound.sent)
        desk.sweep(NOON + timedelta(minutes=15 * quarter))
        assert len(desk.outbound.sent) <= before + 1
    assert len(desk.deliveries(hook, "dead")) == SICK_AFTER + 1


def test_a_changed_webhook_is_given_another_chance(desk: HookDesk) -> None:
    hook = sicken(desk)
    desk.hooks.ok("PATCH", f"/v1/webhooks/{hook}", {"url": OTHER})
    happen(desk, NOON, "later")
    assert desk.outbound.sent[-1][0] == OTHER


def test_more_is_due_than_one_batch_holds(desk: HookDesk) -> None:
    desk.outbound.replies[URL] = DOWN
    hooks = [desk.hook("registered_model.created") for _ in range(50)]
    happen(desk, NOON, "a")
    happen(desk, NOON, "b")
    del desk.outbound.replies[URL]
    desk.sweep(NOON + timedelta(minutes=15))
    assert all(len(desk.deliveries(hook, "delivered")) == 2 for hook in hooks)


def test_what_waits_for_a_webhook_that_is_gone_is_dropped(desk: HookDesk) -> None:
    desk.outbound.replies[URL] = DOWN
    hook = desk.hook("registered_model.created")
    happen(desk)
    desk.hooks.ok("DELETE", f"/v1/webhooks/{hook}")
    desk.sweeps(NOON, 2)
    assert len(desk.outbound.sent) == 1
    left = [item for key, item in desk.tables._items["insights"].items() if "WEBHOOK" in key.pk]
    assert left == []


def test_what_waits_for_a_webhook_that_was_disabled_is_kept_and_can_be_sent_later(desk: HookDesk) -> None:
    desk.outbound.replies[URL] = DOWN
    hook = desk.hook("registered_model.created")
    happen(desk)
    desk.hooks.ok("PATCH", f"/v1/webhooks/{hook}", {"status": "DISABLED"})
    desk.sweeps(NOON, 2)
    assert len(desk.outbound.sent) == 1
    (delivery,) = desk.deliveries(hook, "dead")
    assert delivery["reason"] == "the webhook was disabled"
    assert "WebhookFailed" not in [i.envelope.type for i in desk.log()]
    again = f"/v1/webhooks/{hook}/deliveries/{delivery['delivery_id']}/redeliver"
    assert desk.hooks("POST", again, {})[0] == 409
    desk.outbound.replies.clear()
    desk.hooks.ok("PATCH", f"/v1/webhooks/{hook}", {"status": "ACTIVE"})
    assert desk.hooks.ok("POST", again, {})["delivery"]["status"] == "delivered"


def test_deliveries_are_listed_newest_first_page_by_page(desk: HookDesk) -> None:
    hook = desk.hook("registered_model.created")
    events = [happen(desk, NOON, f"m{n}") for n in range(5)]
    found, token = [], ""
    for size in (2, 2, 1):
        page = desk.hooks.ok("GET", f"/v1/webhooks/{hook}/deliveries?max_results=2&page_token={token}")
        assert len(page["deliveries"]) == size
        found += [each["event_id"] for each in page["deliveries"]]
        token = page.get("next_page_token", "")
    assert (found, token) == (events[::-1], "")
    assert desk.hooks("GET", f"/v1/webhooks/{hook}/deliveries?page_token=%23")[0] == 400
    assert desk.hooks("GET", f"/v1/webhooks/{hook}/deliveries?status=lost")[0] == 400
    assert desk.hooks("POST", f"/v1/webhooks/{hook}/deliveries/x/redeliver", {})[0] == 404
    assert desk.hooks("POST", f"/v1/webhooks/{hook}/deliveries/{hook}-x/redeliver", {})[0] == 404


def test_a_sweep_serves_every_workspace(desk: HookDesk) -> None:
    desk.outbound.replies[URL] = DOWN
    other = Caller(desk.notify, workspace="other")
    asked: dict[str, Any] = {"name": "ci", "url": URL, "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]}
    hook = other.ok("POST", HOOKS, asked)["webhook"]["webhook_id"]
    registry = Caller(desk.functions["registry"], workspace="other")
    body = {"name": "churn"}
    registry("POST", f"{API}/registered-models/create", body, x_modelwright_as_of=NOON.isoformat())
    desk.pump()
    del desk.outbound.replies[URL]
    desk.sweep(NOON + timedelta(minutes=15))
    (delivery,) = other.ok("GET", f"/v1/webhooks/{hook}/deliveries")["deliveries"]
    assert delivery["status"] == "delivered"


def test_nothing_is_read_or_written_for_webhooks_where_there_are_none(desk: HookDesk) -> None:
    happen(desk)
    assert [key.pk for key in desk.tables._items["insights"]] == ["WS#default#HANDLED#notify"]


# --- laws and limits ---------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.lists(st.booleans(), min_size=MOST_ATTEMPTS, max_size=MOST_ATTEMPTS), st.integers(1, 3))
def test_a_delivery_arrives_at_the_first_attempt_that_is_taken_or_is_given_up(taken: list[bool], every: int) -> None:
    class Moody(MemoryOutbound):
        def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
            super().post(url, body, headers)
            return Reply(200) if taken[len(self.sent) - 1] else DOWN

    desk = HookDesk()
    desk.outbound = desk.wiring.cache["outbound"] = Moody()
    hook = desk.hook("registered_model.created")
    happen(desk)
    for quarter in range(0, 30 * 4, every):  # some sweeps never come
        desk.sweep(NOON + timedelta(minutes=15 * quarter))
    (delivery,) = desk.deliveries(hook)
    wanted = taken.index(True) + 1 if any(taken) else MOST_ATTEMPTS
    assert len(desk.outbound.sent) == wanted == delivery["attempts"]
    assert delivery["status"] == ("delivered" if any(taken) else "dead")
    assert not [key for key in desk.tables._items["insights"] if key.pk == DUE]


def test_an_endpoint_that_hangs_longer_than_anything_should_is_left_behind(desk: HookDesk) -> None:
    over = threading.Event()

    class Hanging(MemoryOutbound):
        def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
            if url == URL:
                over.wait(10)
            return super().post(url, body, headers)

    outbound = Hanging()
    courier = Courier(desk.wiring.tables, desk.wiring.log, outbound, patience_s=0.05)
    hanging, prompt = desk.hook("drift.detected"), desk.hook("drift.detected", url=OTHER)
    event = Delivery.read("notify", sample("notify-drift-detected.json")["detail"])
    event = event.model_copy(update={"envelope": event.envelope.model_copy(update={"id": new_id()})})
    call = Call("default", "platform", NOON, "c")
    try:
        courier.attempt(courier.queue(event, call, RegistrySubjects(desk.wiring.tables)), call)
        assert [each["status"] for each in desk.deliveries(prompt)] == ["delivered"]
        (delivery,) = desk.deliveries(hanging)
        assert (delivery["status"], delivery["reason"]) == ("pending", "no answer in time")
    finally:
        over.set()


def test_a_sweep_that_has_no_more_time_leaves_the_rest_due(desk: HookDesk) -> None:
    desk.outbound.replies[URL] = DOWN
    hooks = [desk.hook("registered_model.created") for _ in range(40)]
    happen(desk, NOON, "a")
    happen(desk, NOON, "b")
    del desk.outbound.replies[URL]
    before, ticks = len(desk.outbound.sent), iter([0.0, 0.0, 1.0, 100.0])
    courier = Courier(desk.wiring.tables, desk.wiring.log, desk.outbound, clock=lambda: next(ticks))
    courier.retry(Call("default", "platform", NOON + timedelta(minutes=15), "c"))
    assert len(desk.outbound.sent) - before == 64
    desk.sweep(NOON + timedelta(minutes=15))
    assert all(len(desk.deliveries(hook, "delivered")) == 2 for hook in hooks)


@pytest.mark.parametrize(("hooks", "calls", "writes"), [(0, 1, 0), (1, 4, 8), (2, 6, 16)])
def test_what_telling_an_event_costs_where_all_goes_well(desk: HookDesk, hooks: int, calls: int, writes: int) -> None:
    for _ in range(hooks):
        desk.hook("registered_model.created")
    desk.model()
    meter = Meter()
    tables = MeteredTables(desk.tables, meter)
    courier = Courier(tables, Log(tables), desk.outbound)
    envelope = desk.log()[-1].envelope
    event = Delivery.read("notify", envelope.model_dump(mode="json"))
    call = Call("default", "platform", envelope.at, "c")
    courier.attempt(courier.queue(event, call, RegistrySubjects(tables)), call)
    assert len(desk.outbound.sent) == hooks
    assert (meter.table_calls, meter.write_units) == (calls, writes)
