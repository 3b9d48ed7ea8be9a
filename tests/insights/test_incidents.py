"""Incidents open once per cause, count up, and close when the cause is gone, whatever the order of deliveries."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import Caller, deliver, handler_of, memory_wiring

from modelwright.adapters.memory import MemoryNotifier, MemoryTables
from modelwright.context import Call
from modelwright.events import (
    AlertFailed,
    AnomalyDetected,
    AttributionDrifted,
    ColumnDrift,
    Delivery,
    DriftDetected,
    Estimate,
    Evaluation,
    Event,
    ExpectationBroken,
    ExpectationMet,
    FairnessBroken,
    FeaturesMaterialized,
    Finding,
    FreshnessBroken,
    FreshnessRestored,
    GateResult,
    IncidentClosed,
    IncidentOpened,
    Judgement,
    ParityDifference,
    ParityFailed,
    ParityProven,
    PerformanceDegraded,
    PerformanceEstimated,
    QualityFailed,
    QuarantineReleased,
    RepairAsked,
    RolloutPromoted,
    RolloutRolledBack,
    RowsHeld,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TransitionRefused,
    WebhookFailed,
    Window,
)
from modelwright.insights.incidents import CLOSES, OPENS, Severity, follow, incidents
from modelwright.log import Log
from modelwright.storage import every

START = datetime(2013, 1, 1, tzinfo=UTC)
WEEK = Window(start=START, end=START + timedelta(days=7))
JUDGEMENT = Judgement(rows=500, mean=0.02, low=0.01, high=0.03)


def quarantined(
    source: str = "weather", text: str = "a third of wind_speed is missing", identity: str = "q"
) -> QualityFailed:
    return QualityFailed(
        source=source, upload_key=f"{source}/7.csv", upload_version="1", quarantine_id=identity, quarantine_key="k",
        rows=3,
        findings=(Finding(check="missing_rate", column="wind_speed", severity="block", text=text),),
    )  # fmt: skip


def released(source: str = "weather", identity: str = "q") -> QuarantineReleased:
    return QuarantineReleased(source=source, quarantine_id=identity, reason="sent again")


def rolled_back(rollout: str = "r") -> RolloutRolledBack:
    return RolloutRolledBack(
        rollout_id=rollout, model="flights", challenger=4, champion=3, reason="harm is certain", judgement=JUDGEMENT
    )


def promoted(rollout: str = "p") -> RolloutPromoted:
    return RolloutPromoted(rollout_id=rollout, model="flights", challenger=5, champion=3, judgement=JUDGEMENT)


def completed() -> TrainingCompleted:
    return TrainingCompleted(
        training_id="t", model="flights", trigger="age", artifact_key="k", artifact_digest="d", features=("x",),
        dataset_digest="d", dataset_key="k", rows=9, window=WEEK, parameters={}, metrics={}, project_digest="p",
        seconds=1.5, cost=0.1, evaluation=Evaluation(
            rows=1, window=WEEK, challenger_auc=Estimate(value=0.7, low=0.6, high=0.8), challenger_brier=0.3
        ),
    )  # fmt: skip


SAMPLES: tuple[tuple[Event, str, str, str], ...] = (
    (quarantined(), "quarantine/weather/q", "critical", "weather/7.csv is in quarantine: a third of wind_speed"),
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
        rolled_back(),
        "model/flights/rollback/r", "critical", "version 4 of flights was rolled back: harm is certain",
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
    (
        WebhookFailed(webhook_id="w", delivery_id="w-e", event_id="e", attempts=8, reason="answered 503"),
        "webhook/w", "warning", "delivery w-e was given up after 8 attempts: answered 503",
    ),
    (
        ParityFailed(
            service="flights", digest="d" * 64, key="k", rows=9, values=99, window=WEEK,
            differences=(ParityDifference(feature="temp", cause="float width", count=3),),
        ),
        "service/flights/parity", "warning",
        f"flights is served otherwise than it is trained on: temp in 3 rows (float width); proof {'d' * 16}",
    ),
    (
        FreshnessBroken(view="sky", newest=START, limit="2h"),
        "view/sky/freshness", "warning",
        f"no row of view sky became known for more than 2h: the newest did at {START:%Y-%m-%d %H:%M:%S} UTC",
    ),
    (
        ExpectationBroken(view="sky", feature="temp", text="3 of 5 are above 110, up to 120", window=WEEK),
        "view/sky/expectation/temp", "warning",
        "values of temp in view sky are not what is expected: 3 of 5 are above 110, up to 120",
    ),
    (
        RowsHeld(source="levels", upload_key="readings/7.csv", rows=2, key="quarantine/k", reasons=tuple("abcd")),
        "source/levels/held", "warning",
        "2 rows of readings/7.csv are held and in no feature of levels: a; b; c; and more. They lie in the lake at "
        "quarantine/k. Send them again corrected, or repair the function that derives from them and run `modelwright "
        "features backfill levels`: the next new rows of it, if none is held, close this",
    ),
    (
        RepairAsked(source="weather", quarantine_id="q", choices=("a@1: x", "b@1: y"), reason="two units fit"),
        "quarantine/weather/q", "critical", "a repair of weather waits for a person: two units fit: a@1: x; b@1: y",
    ),
    (
        AnomalyDetected(series="function/predict/errors", at=START, value=90, low=0, high=5, text="90 errors"),
        "series/function/predict/errors", "warning", "90 errors",
    ),
    (
        PerformanceEstimated(
            model="flights", version=1, window=WEEK, estimator="cbpe", metric="auc", rows=900, reference=0.7,
            value=Estimate(value=0.6, low=0.58, high=0.62), degraded=True, assumes="that it is calibrated",
        ),
        "model/flights/estimate/cbpe/auc", "warning",
        "auc of flights version 1 is estimated at 0.600 (0.580 to 0.620) by cbpe",
    ),
    (
        FairnessBroken(
            model="flights", version=1, window=WEEK, group="carrier", metric="accuracy", worst="A", best="B",
            difference=Estimate(value=0.2, low=0.15, high=0.25), tolerance=0.1, reason="A is worse off than B",
        ),
        "model/flights/fairness/carrier/accuracy", "warning", "A is worse off than B",
    ),
    (
        AttributionDrifted(model="flights", version=1, window=WEEK, ndcg=0.7, floor=0.9, features=("hour: .1 -> .4",)),
        "model/flights/attribution", "info", "version 1 of flights rests on other features",
    ),
    (
        AlertFailed(notifier="slack", incident_id="i", reason="answered 410"),
        "channel/slack/alert", "warning", "the channel slack took no alert of incident i: answered 410",
    ),
)  # fmt: skip

DEGRADED = SAMPLES[2][0]


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
        self.topic = MemoryNotifier()
        wiring = memory_wiring(tables=self.tables, environment={"MODELWRIGHT_ALERT_TOPIC": "arn"})
        wiring.cache["notifiers"] = {"sns": self.topic}
        self.function = handler_of("notify", wiring)

    def take(self, *events: Event, start: int = 0) -> list[str]:
        return [self.deliver(delivery(event, number)) for number, event in enumerate(events, start)]

    def deliver(self, given: Delivery) -> str:
        outcome: str = deliver(self.function, given.envelope)["outcome"]
        return outcome

    def known(self, workspace: str = "default") -> dict[str, dict[str, Any]]:
        return {one["subject"]: one for one in incidents(call(workspace), tables=self.tables)}

    def open(self) -> list[str]:
        return [subject for subject, one in self.known().items() if one["open"]]

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
    assert (found["severity"], found["open"], found["count"]) == (severity, severity != "info", 1)
    assert found["last_text"].startswith(text)
    assert found["cause_id"] == "event-0000"


def test_every_kind_that_opens_has_a_sample() -> None:
    assert {type(event) for event, *_ in SAMPLES} == set(OPENS)
    assert set(OPENS) & set(CLOSES) == {PerformanceEstimated}, "whether it is bad, it says itself"


def test_while_an_incident_is_open_its_cause_counts_up_and_opens_no_second() -> None:
    platform = Platform()
    platform.take(quarantined(), quarantined(text="again"), quarantined("departures"))
    assert {subject: one["count"] for subject, one in platform.known().items()} == {
        "quarantine/weather/q": 2,
        "quarantine/departures/q": 1,
    }
    assert platform.known()["quarantine/weather/q"]["last_text"].endswith("again")
    assert platform.happened() == ["IncidentOpened", "IncidentOpened"]


def test_an_incident_closes_when_its_cause_is_gone_and_opens_anew_when_it_is_back() -> None:
    platform = Platform()
    platform.take(quarantined(), released())
    assert platform.known()["quarantine/weather/q"]["open"] is False
    platform.take(quarantined(text="again"), start=2)
    found = platform.known()["quarantine/weather/q"]
    assert (found["open"], found["count"], found["cause_id"]) == (True, 1, "event-0002")
    assert platform.happened() == ["IncidentClosed", "IncidentOpened", "IncidentOpened"]


def test_a_service_that_is_proven_again_needs_nobodys_eye_any_more() -> None:
    platform = Platform()
    failed = next(event for event, subject, *_ in SAMPLES if subject == "service/flights/parity")
    proven = ParityProven(service="flights", digest="e" * 64, key="k", rows=9, values=99, window=WEEK)
    platform.take(failed, proven.model_copy(update={"service": "other"}))
    assert platform.open() == ["service/flights/parity"]
    platform.take(proven, start=2)
    assert platform.open() == []


def test_a_view_whose_rows_come_again_as_expected_needs_nobodys_eye_any_more() -> None:
    platform = Platform()
    unexpected = next(event for event, subject, *_ in SAMPLES if subject == "view/sky/expectation/temp")
    platform.take(FreshnessBroken(view="sky", newest=None, limit="2h"), unexpected)
    assert platform.open() == ["view/sky/expectation/temp", "view/sky/freshness"]
    assert platform.known()["view/sky/freshness"]["last_text"].endswith("there never was one")
    platform.take(
        FreshnessRestored(view="sky", newest=START), ExpectationMet(view="sky", feature="wind", window=WEEK), start=2
    )
    assert platform.open() == ["view/sky/expectation/temp"]
    platform.take(ExpectationMet(view="sky", feature="temp", window=WEEK), start=4)
    assert platform.open() == []


def materialized(source: str = "levels", rows: int = 5, held: int = 0) -> FeaturesMaterialized:
    return FeaturesMaterialized(
        source=source, upload_key="k", views=(), rows=rows, online_items=0, window=WEEK, held=held
    )  # fmt: skip


def test_rows_that_are_held_need_somebodys_eye_until_others_of_their_source_went_through_whole() -> None:
    platform = Platform()
    rows_held = next(event for event, subject, *_ in SAMPLES if subject == "source/levels/held")
    platform.take(rows_held, materialized(held=2), materialized(rows=0), materialized("readings"))
    assert platform.open() == ["source/levels/held"]
    platform.take(materialized(), start=4)
    assert platform.open() == []
    platform.take(rows_held, start=5)
    assert platform.open() == ["source/levels/held"]


def test_a_promotion_closes_what_was_wrong_with_the_model() -> None:
    platform = Platform()
    platform.take(DEGRADED, rolled_back("1"), rolled_back("2"))
    assert len(platform.open()) == 3
    platform.take(promoted(), rolled_back("3"), start=3)
    assert platform.open() == ["model/flights/rollback/3"]


def test_each_quarantine_is_an_incident_of_its_own() -> None:
    platform = Platform()
    platform.take(quarantined(identity="1"), quarantined(identity="2"), released(identity="1"))
    assert platform.open() == ["quarantine/weather/2"]


def test_a_release_that_overtook_its_failure_keeps_it_from_opening() -> None:
    platform = Platform()
    failure, release = delivery(quarantined(), 1), delivery(released(), 2)
    assert [platform.deliver(one) for one in (release, failure, release, failure)] == [
        "handled",
        "handled",
        "duplicate",
        "duplicate",
    ]
    assert platform.known() == {}
    assert platform.happened() == []


def test_a_late_closer_does_not_close_what_was_wrong_again_since() -> None:
    platform = Platform()
    for number, event in ((1, DEGRADED), (3, DEGRADED), (2, promoted())):
        platform.deliver(delivery(event, number))
    assert platform.open() == ["model/flights/performance"]


@pytest.mark.parametrize("place", [1, 5, 6], ids=["drift", "declined", "refused"])
def test_each_fact_is_in_the_log_and_none_stays_open(place: int) -> None:
    platform = Platform()
    event, subject = SAMPLES[place][:2]
    platform.take(event, event)
    assert platform.happened() == ["IncidentClosed"] * 2 + ["IncidentOpened"] * 2
    found = platform.known()[subject]
    assert (found["open"], found["count"], found["incident_id"]) == (False, 2, "event-0001")


def test_what_closes_without_anything_open_is_handled_and_does_nothing() -> None:
    platform = Platform()
    assert platform.take(released()) == ["handled"]
    assert platform.known() == {}
    assert platform.happened() == []


def test_incidents_of_another_workspace_are_not_seen() -> None:
    platform = Platform()
    platform.deliver(delivery(quarantined(), 0, "other"))
    assert platform.known() == {}
    assert list(platform.known("other")) == ["quarantine/weather/q"]


def test_the_log_tells_which_incident_closed() -> None:
    tables = MemoryTables()
    log = Log(tables)
    follow(delivery(quarantined(), 0), call(), tables=tables, log=log)
    follow(delivery(released(), 1), call(), tables=tables, log=log)
    opened, closed = log.read("WS#default#INCIDENT#event-0000")
    assert IncidentOpened.model_validate(opened.envelope.data).subject == "quarantine/weather/q"
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


def numbered(*events: Event) -> list[Delivery]:
    return [delivery(event, number) for number, event in enumerate(events)]


CHANGES = numbered(quarantined(), released(), quarantined("departures"))
LIVES = numbered(
    quarantined(identity="1"), quarantined(identity="2"), DEGRADED, rolled_back("1"), released(identity="1"),
    promoted(), SAMPLES[4][0], rolled_back("2"), completed(), SAMPLES[1][0], DEGRADED, SAMPLES[4][0],
    promoted("q"), rolled_back("3"), SAMPLES[5][0],
)  # fmt: skip


@given(order=st.permutations(LIVES), repeats=st.lists(st.sampled_from(LIVES), max_size=6), data=st.data())
@settings(max_examples=100, deadline=None)
def test_openers_and_closers_in_any_order_leave_the_same_incidents_open(
    order: Sequence[Delivery], repeats: Sequence[Delivery], data: st.DataObject
) -> None:
    platform, sent = Platform(), list(order)
    for one in repeats:
        sent.insert(data.draw(st.integers(0, len(sent))), one)
    for one in sent:
        platform.deliver(one)
    assert platform.open() == ["model/flights/rollback/3", "model/flights/training", "quarantine/weather/2"]
    opened, closed = platform.happened().count("IncidentOpened"), platform.happened().count("IncidentClosed")
    assert opened - closed == 3


@given(order=st.permutations([*CHANGES, *CHANGES]))
@settings(max_examples=40, deadline=None)
def test_every_delivery_counts_once_however_often_it_comes(order: Sequence[Delivery]) -> None:
    platform = Platform()
    outcomes = [platform.deliver(one) for one in order]
    assert sorted(outcomes) == ["duplicate"] * 3 + ["handled"] * 3
    marks = list(every(platform.tables, "insights", "WS#default#HANDLED#notify"))
    assert sorted(mark["sk"] for mark in marks) == [one.envelope.id for one in CHANGES]


# --- alerts ------------------------------------------------------------------------------


def opened(severity: Severity, number: int = 0) -> Delivery:
    event = IncidentOpened(incident_id="i", severity=severity, subject="drift/weather", text="why", cause_id="i")
    return delivery(event, number)


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_an_incident_that_opens_is_told_once(severity: Severity) -> None:
    platform = Platform()
    for _ in range(2):
        platform.deliver(opened(severity))
    (sent,) = platform.topic.sent
    assert (sent.severity, sent.subject, sent.text) == (severity, "drift/weather", "why")


def test_a_fact_is_told_nobody() -> None:
    platform = Platform()
    assert platform.deliver(opened("info")) == "handled"
    assert platform.topic.sent == []


def test_a_stack_without_a_topic_sends_nothing() -> None:
    function = handler_of("notify", memory_wiring())
    assert deliver(function, opened("critical").envelope)["outcome"] == "handled"


# --- who may look ------------------------------------------------------------------------


def test_the_console_lists_them_to_who_may_look() -> None:
    platform = Platform()
    platform.take(quarantined())
    console = handler_of("console", memory_wiring(tables=platform.tables))
    (found,) = Caller(console).ok("GET", "/v1/incidents")["incidents"]
    assert found["subject"] == "quarantine/weather/q"
    assert Caller(console, grants=())("GET", "/v1/incidents")[0] == 403
