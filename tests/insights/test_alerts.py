"""Who is told of which incident, when, and what waits."""

import json
from datetime import timedelta
from typing import Any

import pytest
from support.http import Caller

from insights.watch import MINUTE, NOON, Watch
from modelwright.adapters.notifiers import SlackNotifier
from modelwright.adapters.outbound import PinnedHttp
from modelwright.events import IncidentOpened, TrainingFailed
from modelwright.insights.alert_store import MOST_ATTEMPTS, RETRY_AFTER
from modelwright.insights.alerts import TOGETHER


def test_a_tier_is_told_to_the_channels_that_take_it() -> None:
    watch = Watch()
    watch.open("quarantine/weather/1", "critical")
    watch.open("model/flights/performance", "warning")
    watch.open("model/fruit/declined", "info")
    assert [n.subject for n in watch.pager.sent] == ["quarantine/weather/1"]
    assert [n.subject for n in watch.desk.sent] == ["quarantine/weather/1", "model/flights/performance"]


def test_a_channel_may_take_some_subjects_only() -> None:
    watch = Watch()
    watch.save("desk", subjects=["model/"])
    watch.open("quarantine/weather/1")
    watch.open("model/flights/performance")
    assert [n.subject for n in watch.desk.sent] == ["model/flights/performance"]


def test_the_same_incident_is_told_once_however_often_it_is_delivered() -> None:
    watch = Watch()
    event = IncidentOpened(incident_id="i", severity="critical", subject="a/b", text="why", cause_id="c")
    assert watch.tell(event, NOON) == "handled"
    watch.number -= 1
    assert watch.tell(event, NOON) == "duplicate"
    watch.tell(event, NOON)
    assert len(watch.pager.sent) == 1


def test_incidents_of_one_thing_come_together_after_the_first() -> None:
    watch = Watch()
    watch.open("quarantine/weather/1")
    for number in range(2, 32):
        watch.open(f"quarantine/weather/{number}", at=NOON + MINUTE)
    watch.open("quarantine/fruit/1", at=NOON + MINUTE)
    assert [n.subject for n in watch.pager.sent] == ["quarantine/weather/1", "quarantine/fruit/1"]
    watch.sweep(NOON + 5 * MINUTE)
    assert len(watch.pager.sent) == 2
    watch.sweep(NOON + TOGETHER)
    watch.sweep(NOON + TOGETHER + MINUTE)
    assert len(watch.pager.sent) == 3
    assert watch.pager.sent[-1].text.startswith("30 further incidents of source/weather:")
    assert "and 10 more" in watch.pager.sent[-1].text


def test_what_is_more_severe_than_all_that_was_told_waits_for_nobody() -> None:
    watch = Watch()
    watch.open("model/flights/performance", "warning")
    watch.open("model/flights/rollback/r", "critical", NOON + MINUTE)
    assert [n.subject for n in watch.pager.sent] == ["model/flights/rollback/r"]


def test_who_was_told_that_it_opened_is_told_that_it_closed() -> None:
    watch = Watch()
    identity = watch.open()
    watch.close(identity, NOON + MINUTE)
    assert [(n.state, n.text) for n in watch.pager.sent] == [
        ("opened", "why quarantine/weather/1"),
        ("closed", "it passed"),
    ]


def test_what_closed_before_anybody_was_told_is_told_to_nobody() -> None:
    watch = Watch()
    watch.open("quarantine/weather/1")
    second = watch.open("quarantine/weather/2", at=NOON + MINUTE)
    watch.close(second, NOON + 2 * MINUTE)
    watch.sweep(NOON + TOGETHER)
    assert [n.subject for n in watch.pager.sent] == ["quarantine/weather/1"]


def test_a_fact_is_told_once_and_never_closed() -> None:
    watch = Watch()
    watch.save("desk", tiers=["info"])
    identity = watch.open("drift/weather", "info")
    watch.close(identity, reason="a fact without an end")
    assert [n.state for n in watch.desk.sent] == ["opened"]


def test_a_channel_that_fails_hinders_no_other_and_is_tried_again() -> None:
    watch = Watch()
    watch.pager.broken = True
    watch.open()
    assert len(watch.desk.sent) == 1
    watch.pager.broken = False
    watch.sweep(NOON + RETRY_AFTER)
    assert (len(watch.pager.sent), len(watch.desk.sent)) == (1, 1)
    assert watch.events("AlertFailed") == []


def test_a_channel_that_takes_nothing_is_given_up_with_a_word_in_the_log() -> None:
    watch = Watch()
    watch.pager.broken = True
    watch.open()
    for number in range(1, MOST_ATTEMPTS + 3):
        watch.sweep(NOON + number * RETRY_AFTER)
    (failed,) = watch.events("AlertFailed")
    assert (failed["notifier"], failed["reason"]) == ("pager", "it is throttled")
    watch.pager.broken = False
    watch.sweep(NOON + timedelta(days=1))
    assert watch.pager.sent == []


# --- silences ----------------------------------------------------------------------------


def test_a_silenced_incident_is_told_when_the_silence_ends_if_it_is_still_open() -> None:
    watch = Watch()
    watch.silence("quarantine/")
    first, _ = watch.open("quarantine/weather/1"), watch.open("quarantine/fruit/1")
    watch.open("model/flights/performance")
    watch.close(first, NOON + MINUTE)
    watch.sweep(NOON + timedelta(hours=1))
    assert [n.subject for n in watch.pager.sent] == ["model/flights/performance"]
    watch.sweep(NOON + timedelta(hours=2))
    assert [n.subject for n in watch.pager.sent[1:]] == ["quarantine/fruit/1"]
    assert "was silenced" in watch.pager.sent[-1].text


def test_a_silence_has_an_end_with_a_zone_and_can_end_before() -> None:
    watch = Watch()
    for until in ("2026-03-02T18:00:00", "2026-03-01T12:00:00Z", "2027-01-01T00:00:00Z"):
        said = {"subject": "x", "until": until, "reason": "r"}
        status, told = watch.caller("POST", "/v1/alerts/silences", said, x_modelwright_as_of=NOON.isoformat())
        assert status == 400, told
    identity = watch.silence("quarantine/weather/1")
    watch.caller.ok("DELETE", f"/v1/alerts/silences/{identity}")
    watch.open("quarantine/weather/1")
    assert len(watch.pager.sent) == 1
    assert sorted(event["change"] for event in watch.events("SilenceChanged")) == ["created", "ended"]
    assert watch.caller("DELETE", f"/v1/alerts/silences/{identity}")[0] == 404


# --- channels ----------------------------------------------------------------------------


def test_options_that_are_secret_are_shown_to_nobody() -> None:
    watch = Watch()
    saved = watch.save("desk", options={"where": "https://hooks.example.com/T0/key"})
    listed = watch.caller.ok("GET", "/v1/alerts/channels")["channels"]
    assert "key" not in json.dumps([saved, listed])
    assert saved["options"] == {"where": "(kept secret)"}


def test_bad_channels_are_refused_by_what_is_wrong_with_them() -> None:
    watch = Watch()
    bad: dict[str, dict[str, Any]] = {
        "no plugin carrier": {"notifier": "carrier"},
        "has no option colour: it has where": {"notifier": "desk", "options": {"colour": "red"}},
        "nowhere is no place": {"notifier": "desk", "options": {"where": "nowhere"}},
        "tiers": {"notifier": "desk", "tiers": []},
    }
    for text, said in bad.items():
        status, told = watch.caller("POST", "/v1/alerts/channels", {"name": "x", **said})
        assert status in (400, 500), told
        assert text in json.dumps(told)
    assert watch.caller("DELETE", "/v1/alerts/channels/x")[0] == 404


@pytest.mark.parametrize(
    "said",
    [
        {"notifier": "slack", "options": {"url": "https://hooks.slack.com/services/T0/KEY "}},
        {"notifier": "slack", "options": {"url": ["https://hooks.slack.com/services/T0/KEY"]}},
        {"notifier": "slack", "options": {"https://hooks.slack.com/services/T0/KEY?a": "b"}},
        {"notifier": "https://hooks.slack.com/services/T0/KEY"},
    ],
)
def test_no_refusal_of_a_channel_leaves_its_secret_in_the_logs(
    said: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()
    watch.wiring.cache["notifiers"]["slack"] = SlackNotifier({}, PinnedHttp(resolver=lambda *_: ("8.8.8.8",)))
    assert watch.caller("POST", "/v1/alerts/channels", {"name": "x", **said})[0] == 400
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "INVALID_PARAMETER_VALUE" in logged
    assert "KEY" not in logged


def test_a_test_notice_says_that_nothing_happened() -> None:
    watch = Watch()
    watch.caller.ok("POST", "/v1/alerts/channels/desk/test", {})
    (sent,) = watch.desk.sent
    assert (sent.state, sent.subject) == ("test", "channel/desk")
    watch.desk.broken = True
    assert watch.caller("POST", "/v1/alerts/channels/desk/test", {})[0] == 503


def test_who_may_only_look_changes_nothing() -> None:
    watch = Watch()
    nobody = Caller(watch.function, grants=())
    assert nobody("GET", "/v1/alerts/channels")[0] == 403
    assert nobody("POST", "/v1/alerts/channels", {"name": "x", "notifier": "desk"})[0] == 403
    assert nobody("POST", "/v1/alerts/incidents/i/close", {"reason": "r"})[0] == 403


def test_a_person_closes_an_incident_with_a_reason_and_a_newer_cause_opens_another() -> None:
    watch = Watch()
    failed = TrainingFailed(training_id="t", model="flights", reason="no rows")
    watch.tell(failed, NOON)
    (opened,) = watch.events("IncidentOpened")
    path = f"/v1/alerts/incidents/{opened['incident_id']}/close"
    assert watch.caller("POST", path, {})[0] == 400
    said = watch.caller.ok("POST", path, {"reason": "it was the test data"})["incident"]
    assert (said["subject"], said["open"]) == ("model/flights/training", False)
    assert "it was the test data" in watch.events("IncidentClosed")[0]["reason"]
    assert watch.caller("POST", path, {"reason": "again"})[0] == 409
    watch.tell(failed, NOON)
    assert len(watch.events("IncidentOpened")) == 2
    assert watch.caller("POST", "/v1/alerts/incidents/none/close", {"reason": "done"})[0] == 404
