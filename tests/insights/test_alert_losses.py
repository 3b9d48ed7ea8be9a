"""No channel misses what it takes, and whoever was alarmed hears the end, whatever fails in between."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import count

import pytest

from insights.hooks import DOWN, URL, HookDesk, happen
from insights.watch import MINUTE, NOON, Watch
from modelwright.adapters.memory import MemoryNotifier, MemoryTables
from modelwright.context import Call
from modelwright.events import Delivery, Envelope, Event, IncidentClosed, IncidentOpened
from modelwright.insights.alert_store import MOST_ATTEMPTS, RETRY_AFTER
from modelwright.insights.alerts import TOGETHER, Desk
from modelwright.insights.notices import Notice, SaveChannel, save_channel
from modelwright.log import Log
from modelwright.storage import Absent, Key, Put

HOUR = timedelta(hours=1)


class Faulty(MemoryNotifier):
    """A team's notifier with a bug, whose message quotes what it was given."""

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """Raise what no notifier should."""
        raise ValueError(f"cannot post to {options.get('where')}")


def hours(watch: Watch, number: int) -> None:
    for place in range(1, number + 1):
        watch.sweep(NOON + place * HOUR)


# --- groups ------------------------------------------------------------------------------


def test_a_group_tells_each_channel_the_incidents_that_it_takes_and_no_others() -> None:
    watch = Watch()
    watch.save("desk", tiers=["warning"])
    watch.open("quarantine/weather/1")
    watch.open("quarantine/weather/2", at=NOON + MINUTE)
    watch.open("source/weather/held", "warning", NOON + 2 * MINUTE)
    watch.sweep(NOON + TOGETHER)
    assert [n.subject for n in watch.pager.sent] == ["quarantine/weather/1", "quarantine/weather/2"]
    assert [n.subject for n in watch.desk.sent] == ["source/weather/held"]


def test_a_group_that_a_channel_does_not_take_at_first_comes_whole_when_it_does() -> None:
    watch = Watch()
    for number in (1, 2, 3):
        watch.open(f"quarantine/weather/{number}", at=NOON + number * MINUTE)
    watch.desk.broken = True
    watch.sweep(NOON + TOGETHER + MINUTE)
    watch.desk.broken = False
    watch.sweep(NOON + TOGETHER + RETRY_AFTER + MINUTE)
    hours(watch, 3)
    assert [n.text.count("why quarantine/") for n in watch.desk.sent] == [1, 2]
    assert [n.text.count("why quarantine/") for n in watch.pager.sent] == [1, 2]


def test_who_was_told_of_a_group_is_told_when_each_of_its_incidents_closes() -> None:
    watch = Watch()
    watch.open("quarantine/weather/1")
    members = [watch.open(f"quarantine/weather/{number}", at=NOON + MINUTE) for number in (2, 3)]
    watch.sweep(NOON + TOGETHER)
    for member in members:
        watch.close(member, NOON + HOUR)
    assert [n.incident_id for n in watch.pager.sent if n.state == "closed"] == members


def test_anomalies_of_one_model_belong_together_and_those_of_another_do_not() -> None:
    watch = Watch()
    watch.open("series/model/flights/auc", "warning")
    watch.open("series/model/flights/brier", "warning", NOON + MINUTE)
    watch.open("series/model/fruit/rmse", "warning", NOON + MINUTE)
    assert [n.subject for n in watch.desk.sent] == ["series/model/flights/auc", "series/model/fruit/rmse"]


# --- disorder ----------------------------------------------------------------------------


def test_what_closed_before_it_was_heard_to_open_is_told_to_nobody() -> None:
    watch = Watch()
    watch.number = 5
    watch.close("incident-6")
    assert watch.open() == "incident-6"
    hours(watch, 3)
    assert watch.pager.sent == watch.desk.sent == []


def test_a_fact_whose_end_is_heard_first_is_told_all_the_same() -> None:
    watch = Watch()
    watch.save("desk", tiers=["info"])
    watch.number = 5
    watch.close("incident-6", reason="a fact without an end")
    watch.open("drift/weather", "info")
    assert [n.state for n in watch.desk.sent] == ["opened"]


class Room:
    """A desk with one channel, whose notifier lets something happen while it sends."""

    def __init__(self, meanwhile: Callable[["Room", Notice], None], *, fails: bool = False) -> None:
        self.tables, self.numbers, self.sent = MemoryTables(), count(1), MemoryNotifier()
        room = self

        class Slow(MemoryNotifier):
            def send(self, notice: Notice, options: Mapping[str, str]) -> None:
                room.sent.sent.append(notice)
                meanwhile(room, notice)
                if fails:
                    raise SystemExit("the function is killed")

        def notifiers(_: str) -> MemoryNotifier:
            return Slow()

        self.desk = Desk(self.tables, Log(self.tables), notifiers)
        channel = SaveChannel(name="desk", notifier="slow", tiers=("critical", "info"))
        save_channel(self.call(), channel, tables=self.tables, notifiers=notifiers)

    def call(self, after: timedelta = timedelta()) -> Call:
        return Call("default", "p", NOON + after, "c", lambda action, resource: None)

    def heard(self, event: Event) -> Delivery:
        number = next(self.numbers)
        envelope = Envelope(
            id=f"{number:026}", type=event.detail_type(), schema_version=1, workspace="default",
            stream="WS#default#X#x", sequence=number, at=NOON, actor="p", correlation_id="c",
            data=event.model_dump(mode="json"),
        )  # fmt: skip
        return Delivery(consumer="notify", envelope=envelope, event=event)

    def open(self, severity: str = "critical") -> None:
        said = {"incident_id": "i", "severity": severity, "subject": "a/b", "text": "why", "cause_id": "c"}
        self.desk.opened(self.heard(IncidentOpened.model_validate(said)), self.call())

    def close(self, reason: str = "it passed") -> None:
        self.desk.closed(self.heard(IncidentClosed(incident_id="i", reason=reason)), self.call())

    def sweeps(self) -> list[str]:
        for place in range(1, 5):
            self.desk.sweep(self.call(place * RETRY_AFTER))
        return [notice.state for notice in self.sent.sent]


def test_what_closes_while_it_is_being_told_is_told_to_be_closed() -> None:
    room = Room(lambda room, notice: room.close() if notice.state == "opened" else None)
    room.open()
    assert room.sweeps() == ["opened", "closed"]


def test_a_fact_that_ends_while_it_is_being_told_is_told_once() -> None:
    room = Room(lambda room, _: room.close("a fact without an end"))
    room.open("info")
    assert room.sweeps() == ["opened"]


def test_two_sweeps_at_once_note_both_what_was_taken() -> None:
    def meanwhile(room: Room, _: Notice) -> None:
        if len(room.sent.sent) == 2:
            room.desk.sweep(room.call(TOGETHER))

    room = Room(meanwhile)
    room.open()
    room.sent.sent.append(room.sent.sent[0])
    assert room.sweeps().count("opened") == 2
    room.close()
    assert room.sweeps()[-1] == "closed"


def test_what_closes_after_the_function_died_while_telling_it_is_told_to_be_closed() -> None:
    room = Room(lambda *_: None, fails=True)
    with pytest.raises(SystemExit):
        room.open()
    room.close()
    with pytest.raises(SystemExit):
        room.sweeps()
    assert [notice.state for notice in room.sent.sent] == ["opened", "closed"]


# --- silences ----------------------------------------------------------------------------


def test_ending_a_silence_early_tells_what_it_kept_back() -> None:
    watch = Watch()
    first, second = watch.silence("quarantine/", 400), watch.silence("quarantine/weather/1", 300)
    watch.open("quarantine/weather/1")
    watch.open("quarantine/fruit/1")
    watch.sweep(NOON + HOUR)
    assert watch.pager.sent == []
    watch.caller.ok("DELETE", f"/v1/alerts/silences/{first}")
    watch.sweep(NOON + 2 * HOUR)
    assert [n.subject for n in watch.pager.sent] == ["quarantine/fruit/1"], "the other silence still holds"
    watch.caller.ok("DELETE", f"/v1/alerts/silences/{second}")
    watch.sweep(NOON + 3 * HOUR)
    assert [n.subject for n in watch.pager.sent] == ["quarantine/fruit/1", "quarantine/weather/1"]


# --- notifiers that are broken -----------------------------------------------------------


def faulty() -> Watch:
    """A channel that is told before all others, by a notifier with a bug."""
    watch = Watch()
    watch.wiring.cache["notifiers"]["faulty"] = Faulty()
    watch.save("afaulty", "faulty", options={"where": "https://hooks.example.com/T0/key"})
    return watch


def test_a_notifier_that_raises_anything_hinders_no_other_channel_and_no_other_alert() -> None:
    watch = faulty()
    watch.open("quarantine/weather/1")
    watch.open("quarantine/fruit/1")
    hours(watch, MOST_ATTEMPTS + 1)
    assert [n.subject for n in watch.pager.sent] == ["quarantine/weather/1", "quarantine/fruit/1"]
    assert [n.subject for n in watch.desk.sent] == ["quarantine/weather/1", "quarantine/fruit/1"]
    reasons = {event["reason"] for event in watch.events("AlertFailed")}
    assert all("the notifier faulty failed with ValueError" in reason for reason in reasons)
    assert "T0/key" not in str(reasons)


def test_a_notifier_that_nobody_has_installed_any_more_hides_no_other_channel() -> None:
    watch = faulty()
    del watch.wiring.cache["notifiers"]["faulty"]
    listed = {one["name"]: one for one in watch.caller.ok("GET", "/v1/alerts/channels")["channels"]}
    assert list(listed) == ["afaulty", "desk", "pager"]
    assert listed["afaulty"]["options"] == {"where": "(kept secret)"}
    assert "no plugin faulty" in listed["afaulty"]["fault"]
    watch.open()
    assert len(watch.desk.sent) == 1


def test_a_test_of_a_faulty_notifier_says_what_is_wrong_with_it() -> None:
    watch = faulty()
    status, told = watch.caller("POST", "/v1/alerts/channels/afaulty/test", {})
    assert (status, "failed with ValueError" in told["message"], "T0/key" in str(told)) == (500, True, False)


def given_up(watch: Watch) -> None:
    """Let the pager take nothing until it is given up, and bring what follows from that."""
    watch.pager.broken = True
    watch.open()
    hours(watch, MOST_ATTEMPTS)
    watch.forward("AlertFailed", NOON + 10 * HOUR)
    assert watch.standing()["channel/pager/alert"] is True


def test_a_channel_that_takes_alerts_again_needs_nobodys_eye_any_more() -> None:
    watch = Watch()
    given_up(watch)
    watch.pager.broken = False
    watch.open("model/fruit/training", at=NOON + 12 * HOUR)
    assert watch.standing()["channel/pager/alert"] is False
    (closed,) = watch.events("IncidentClosed")
    assert "took an alert again" in closed["reason"]


def test_a_channel_that_takes_its_test_needs_nobodys_eye_any_more() -> None:
    watch = Watch()
    given_up(watch)
    watch.pager.broken = False
    watch.caller.ok("POST", "/v1/alerts/channels/pager/test", {})
    assert watch.standing()["channel/pager/alert"] is False


def test_a_channel_that_was_removed_needs_nobodys_eye_any_more() -> None:
    watch = Watch()
    given_up(watch)
    watch.caller.ok("DELETE", "/v1/alerts/channels/pager")
    assert watch.standing()["channel/pager/alert"] is False


def test_webhooks_are_told_again_even_when_an_alert_cannot_be_read() -> None:
    desk = HookDesk()
    desk.hook()
    desk.outbound.replies[URL] = DOWN
    happen(desk)
    desk.outbound.replies.clear()
    for key in (Key("ALERTS#WAITING", "default#i"), Key("WS#default#ALERTS", "i")):
        desk.tables.write([Put("insights", {**key._asdict(), "document": "torn", "v": 1}, Absent())])
    with pytest.raises(ValueError, match="Invalid JSON"):
        desk.sweep(NOON + HOUR)
    assert len(desk.outbound.sent) == 2
