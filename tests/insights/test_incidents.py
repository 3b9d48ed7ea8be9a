"""Incidents open once per cause, count up, and close when the cause is gone, whatever the order of deliveries."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import Caller, deliver, handler_of, memory_wiring

from insights.sightings import (
    DEGRADED,
    SAMPLES,
    START,
    WEEK,
    Platform,
    call,
    completed,
    delivery,
    promoted,
    quarantined,
    released,
    rolled_back,
)
from modelwright.adapters.memory import MemoryTables
from modelwright.events import (
    AliasChanged,
    Delivery,
    Event,
    ExpectationMet,
    FeaturesMaterialized,
    FreshnessBroken,
    FreshnessRestored,
    IncidentClosed,
    IncidentOpened,
    ParityProven,
    PerformanceEstimated,
    TrainingFailed,
)
from modelwright.insights.causes import CLOSES, OPENS, Severity
from modelwright.insights.incidents import follow
from modelwright.log import Log
from modelwright.storage import every


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


UNFAIR = next(event for event, subject, *_ in SAMPLES if subject.startswith("model/flights/fairness"))
ESTIMATED = next(event for event, subject, *_ in SAMPLES if subject.startswith("model/flights/estimate"))


def alias(version: int | None, name: str = "champion", model: str = "flights", previous: int = 1) -> AliasChanged:
    return AliasChanged(model=model, alias=name, version=version, previous=previous)


@pytest.mark.parametrize("change", [alias(2), promoted()], ids=["by alias", "by a rollout"])
def test_what_was_wrong_with_a_champion_closes_with_another_one_and_opens_anew_for_that(change: Event) -> None:
    platform = Platform()
    wrong = [DEGRADED, ESTIMATED, UNFAIR, rolled_back()]
    platform.take(*wrong, TrainingFailed(training_id="t", model="flights", reason="r"))
    platform.take(alias(2, "challenger"), alias(2, model="fruit"), alias(1), start=5)
    assert len(platform.open()) == 5, "another alias, another model, the same version"
    platform.take(change, start=8)
    assert platform.open() == ["model/flights/training"]
    platform.take(*wrong, start=9)
    assert len(platform.open()) == 5
    assert platform.happened().count("IncidentOpened") == 9


def test_a_model_without_a_champion_is_wrong_in_nothing_but_what_was_rolled_back() -> None:
    platform = Platform()
    platform.take(DEGRADED, ESTIMATED, UNFAIR, rolled_back(), alias(None))
    assert platform.open() == ["model/flights/rollback/r"]


def test_what_was_estimated_of_the_old_champion_opens_nothing_when_the_new_one_is_heard_of_first() -> None:
    platform = Platform()
    for number, event in ((3, alias(2)), (1, ESTIMATED), (2, UNFAIR)):
        platform.deliver(delivery(event, number))
    assert platform.open() == []


def test_an_estimate_that_is_taken_back_needs_nobodys_eye_any_more() -> None:
    platform = Platform()
    platform.take(ESTIMATED, ESTIMATED.model_copy(update={"degraded": False, "metric": "brier"}))
    assert platform.open() == ["model/flights/estimate/cbpe/auc"]
    platform.take(ESTIMATED.model_copy(update={"degraded": False}), start=2)
    assert platform.open() == []


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
