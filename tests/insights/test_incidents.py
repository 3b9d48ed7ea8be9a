"""Incidents open once per cause, count up, and close when the cause is gone, whatever the order of deliveries."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import Caller, deliver, handler_of, memory_wiring

from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.events import (
    ColumnDrift,
    Delivery,
    DriftDetected,
    Estimate,
    Event,
    Finding,
    GateResult,
    IncidentClosed,
    IncidentOpened,
    Judgement,
    PerformanceDegraded,
    QualityFailed,
    QuarantineReleased,
    RolloutPromoted,
    RolloutRolledBack,
    TrainingDeclined,
    TrainingFailed,
    TransitionRefused,
    Window,
)
from modelwright.insights.incidents import CLOSES, OPENS, follow, incidents
from modelwright.log import Log
from modelwright.storage import every

START = datetime(2013, 1, 1, tzinfo=UTC)
WEEK = Window(start=START, end=START + timedelta(days=7))
JUDGEMENT = Judgement(rows=500, mean=0.02, low=0.01, high=0.03)


def quarantined(source: str = "weather", text: str = "a third of wind_speed is missing") -> QualityFailed:
    return QualityFailed(
        source=source, upload_key=f"{source}/7.csv", upload_version="1", quarantine_id="q", quarantine_key="k", rows=3,
        findings=(Finding(check="missing_rate", column="wind_speed", severity="block", text=text),),
    )  # fmt: skip


def released(source: str = "weather") -> QuarantineReleased:
    return QuarantineReleased(source=source, quarantine_id="q", reason="sent again")


SAMPLES: tuple[tuple[Event, str, str, str], ...] = (
    (quarantined(), "quarantine/weather", "critical", "weather/7.csv is in quarantine: a third of wind_speed"),
    (
        DriftDetected(
            source="weather", window=WEEK, reference="the last 56 days",
            columns=(
                ColumnDrift(column="temp", detector="ks", effect=0.5, floor=0.1, p_value=0, drifted=True),
                ColumnDrift(column="dewp", detector="ks", effect=0.05, floor=0.1, p_value=0, drifted=False),
            ),
        ),
        "drift/weather", "info", "weather drifted from the last 56 days: temp (ks 0.5)",
    ),
    (
        PerformanceDegraded(
            model="flights", version=1, window=WEEK, metric="auc", reference=0.7, reason="auc fell from 0.70 to 0.65",
            value=Estimate(value=0.65, low=0.63, high=0.67),
        ),
        "model/flights/performance", "warning", "auc fell from 0.70 to 0.65",
    ),
    (
        RolloutRolledBack(
            rollout_id="r", model="flights", challenger=4, champion=3, reason="harm is certain", judgement=JUDGEMENT
        ),
        "model/flights/rollback/4", "critical", "version 4 of flights was rolled back: harm is certain",
    ),
    (
        TrainingFailed(training_id="t", model="flights", reason="out of memory"),
        "model/flights/training", "critical", "training t failed: out of memory",
    ),
    (
        TrainingDeclined(model="flights", trigger="performance", reasons=("quarantine", "budget")),
        "model/flights/declined", "info", "performance asked to train flights: declined: quarantine; budget",
    ),
    (
        TransitionRefused(
            request_id="r", model="flights", version=2, alias="champion",
            results=(
                GateResult(gate="floor", passed=False, text="auc .5 is below .6"),
                GateResult(gate="known", passed=True, text="data is known"),
            ),
        ),
        "model/flights/transition", "info", "version 2 may not become champion: auc .5 is below .6",
    ),
)  # fmt: skip


def delivery(event: Event, number: int, workspace: str = "default") -> Delivery:
    detail = {
        "id": f"event-{number:04}", "type": event.detail_type(), "schema_version": 1, "workspace": workspace,
        "stream": f"WS#{workspace}#X#x", "sequence": number + 1, "at": START + timedelta(hours=number),
        "actor": "platform", "correlation_id": "c", "data": event.model_dump(mode="json"),
    }  # fmt: skip
    return Delivery.read("notify", detail)


def call(workspace: str = "default") -> Call:
    return Call(workspace, "platform", START, "c")


class Platform:
    """The notify function over memory, that takes deliveries one by one."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self.function = handler_of("notify", memory_wiring(tables=self.tables))

    def take(self, *events: Event, start: int = 0) -> list[str]:
        return [self.deliver(delivery(event, number)) for number, event in enumerate(events, start)]

    def deliver(self, given: Delivery) -> str:
        outcome: str = deliver(self.function, given.envelope)["outcome"]
        return outcome

    def known(self, workspace: str = "default") -> dict[str, dict[str, Any]]:
        return {one["subject"]: one for one in incidents(call(workspace), tables=self.tables)}

    def happened(self) -> list[str]:
        hours = Log(self.tables).hour(datetime.now(UTC))
        return sorted(item.envelope.type for item in hours)


@pytest.mark.parametrize(("event", "subject", "severity", "text"), SAMPLES, ids=[s[1] for s in SAMPLES])
def test_each_cause_opens_an_incident_that_a_person_understands(
    event: Event, subject: str, severity: str, text: str
) -> None:
    platform = Platform()
    assert platform.take(event) == ["handled"]
    found = platform.known()[subject]
    assert (found["severity"], found["open"], found["count"]) == (severity, True, 1)
    assert found["last_text"].startswith(text)
    assert found["cause_id"] == "event-0000"


def test_every_kind_that_opens_has_a_sample() -> None:
    assert {type(event) for event, *_ in SAMPLES} == set(OPENS)
    assert not set(OPENS) & set(CLOSES)


def test_while_an_incident_is_open_its_cause_counts_up_and_opens_no_second() -> None:
    platform = Platform()
    platform.take(quarantined(), quarantined(text="again"), quarantined("departures"))
    assert {subject: one["count"] for subject, one in platform.known().items()} == {
        "quarantine/weather": 2,
        "quarantine/departures": 1,
    }
    assert platform.known()["quarantine/weather"]["last_text"].endswith("again")
    assert platform.happened() == ["IncidentOpened", "IncidentOpened"]


def test_an_incident_closes_when_its_cause_is_gone_and_opens_anew_when_it_is_back() -> None:
    platform = Platform()
    platform.take(quarantined(), released())
    assert platform.known()["quarantine/weather"]["open"] is False
    platform.take(quarantined(text="again"), start=2)
    found = platform.known()["quarantine/weather"]
    assert (found["open"], found["count"], found["cause_id"]) == (True, 1, "event-0002")
    assert platform.happened() == ["IncidentClosed", "IncidentOpened", "IncidentOpened"]


def test_a_promotion_closes_what_was_wrong_with_the_model() -> None:
    platform = Platform()
    promoted = RolloutPromoted(rollout_id="r", model="flights", challenger=2, champion=1, judgement=JUDGEMENT)
    platform.take(SAMPLES[2][0], SAMPLES[5][0], SAMPLES[3][0], promoted)
    assert {s: one["open"] for s, one in platform.known().items()} == {
        "model/flights/performance": False,
        "model/flights/declined": False,
        "model/flights/rollback/4": True,
    }


def test_what_closes_without_anything_open_is_handled_and_does_nothing() -> None:
    platform = Platform()
    assert platform.take(released()) == ["handled"]
    assert platform.known() == {}
    assert platform.happened() == []


def test_incidents_of_another_workspace_are_not_seen() -> None:
    platform = Platform()
    platform.deliver(delivery(quarantined(), 0, "other"))
    assert platform.known() == {}
    assert list(platform.known("other")) == ["quarantine/weather"]


def test_the_log_tells_which_incident_closed() -> None:
    tables = MemoryTables()
    log = Log(tables)
    follow(delivery(quarantined(), 0), call(), tables=tables, log=log)
    follow(delivery(released(), 1), call(), tables=tables, log=log)
    opened, closed = log.read("WS#default#INCIDENT#event-0000")
    assert IncidentOpened.model_validate(opened.envelope.data).subject == "quarantine/weather"
    assert IncidentClosed.model_validate(closed.envelope.data).incident_id == "event-0000"


# --- disorder ----------------------------------------------------------------------------

EVENTS = [
    delivery(event, number)
    for number, event in enumerate([quarantined(), quarantined("departures"), *(sample[0] for sample in SAMPLES)])
]


def state(platform: Platform) -> Any:
    """What does not depend on which of several causes of one subject came first."""
    kept = ("subject", "severity", "open", "count")
    return sorted(json.dumps([one[name] for name in kept]) for one in platform.known().values())


@given(order=st.permutations(EVENTS), repeats=st.lists(st.sampled_from(EVENTS), max_size=6))
@settings(max_examples=40, deadline=None)
def test_shuffled_and_repeated_deliveries_give_the_same_state(
    order: Sequence[Delivery], repeats: Sequence[Delivery]
) -> None:
    straight, shuffled = Platform(), Platform()
    for one in EVENTS:
        straight.deliver(one)
    outcomes = [shuffled.deliver(one) for one in [*order, *repeats]]
    assert outcomes == ["handled"] * len(order) + ["duplicate"] * len(repeats)
    assert state(shuffled) == state(straight)
    assert shuffled.happened() == straight.happened()


CHANGES = [delivery(event, n) for n, event in enumerate([quarantined(), released(), quarantined("departures")])]


@given(order=st.permutations([*CHANGES, *CHANGES]))
@settings(max_examples=40, deadline=None)
def test_every_delivery_counts_once_however_often_it_comes(order: Sequence[Delivery]) -> None:
    platform = Platform()
    outcomes = [platform.deliver(one) for one in order]
    assert sorted(outcomes) == ["duplicate"] * 3 + ["handled"] * 3
    marks = list(every(platform.tables, "insights", "WS#default#HANDLED#notify"))
    assert sorted(mark["sk"] for mark in marks) == [one.envelope.id for one in CHANGES]


# --- who may look ------------------------------------------------------------------------


def test_the_console_lists_them_to_who_may_look() -> None:
    platform = Platform()
    platform.take(quarantined())
    console = handler_of("console", memory_wiring(tables=platform.tables))
    (found,) = Caller(console).ok("GET", "/v1/incidents")["incidents"]
    assert found["subject"] == "quarantine/weather"
    assert Caller(console, grants=())("GET", "/v1/incidents")[0] == 403
