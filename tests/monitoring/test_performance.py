from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, Forbidden, NotFound
from modelwright.events import AliasChanged, PerformanceDegraded, PerformanceMeasured, UploadAccepted
from modelwright.governance.access import Grant, Identity, require
from modelwright.monitoring import performance
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from modelwright.project import MonitoringPolicy, Project
from modelwright.statistics import auc
from monitoring.desk import Desk
from monitoring.year import PROJECT, csv_bytes

START = datetime(2013, 3, 4, tzinfo=UTC)
Line = tuple[str, datetime, int, str, float]


class Stage:
    """A desk with flights, predictions and labels on it."""

    def __init__(self, seed: int = 0, project: Project = PROJECT) -> None:
        self.desk = Desk(project)
        self.random = np.random.default_rng(seed)

    def flights(self, week: int, count: int = 700) -> list[tuple[str, datetime, float]]:
        """Ids, times and true chances."""
        chances = self.random.uniform(0.02, 0.7, count)
        times = [START + timedelta(weeks=week, minutes=int(m)) for m in self.random.integers(0, 7 * 1440, count)]
        return [(f"{week}-{n}", time, float(p)) for n, (time, p) in enumerate(zip(times, chances, strict=True))]

    def predict(self, lines: list[Line], request: str = "r1", asked_at: datetime = START) -> None:
        for day in sorted({line[1].date() for line in lines}):
            rows = [line for line in lines if line[1].date() == day]
            names = ("prediction_id", "as_of", "version", "role", "score")
            table = pa.table({name: [row[n] for row in rows] for n, name in enumerate(names)})
            table = table.append_column("request_id", pa.array([request] * len(rows)))
            asked = pa.array([asked_at] * len(rows), pa.timestamp("us", tz="UTC"))
            table = table.append_column("asked_at", asked)
            table = table.set_column(1, "as_of", table.column("as_of").cast(pa.timestamp("us", tz="UTC")))
            key = f"predictions/default/flights/dt={day}/{request}.parquet"
            self.desk.blobs.put("lake", key, parquet_bytes(table))

    def arrive(self, flights: list[tuple[str, datetime, float]], name: str) -> UploadAccepted:
        rows = [
            {"flight_id": i, "carrier": "UA", "origin": "EWR", "dest": "ORD", "distance": 700}
            | {"scheduled_departure": time, "arr_delay": 30 if (self.random.random() < p) else 0}
            | {"known_at": time + timedelta(hours=5)}
            for i, time, p in flights
        ]
        assert self.desk.land(f"arrivals/{name}.csv", csv_bytes(rows)).startswith("accepted")
        return self.desk.events(UploadAccepted, "arrivals")[-1]

    def measure(self, event: UploadAccepted) -> PerformanceMeasured:
        delivery = self.desk.delivery(event, "WS#default#SOURCE#arrivals")
        performance.measure(
            delivery, self.desk.call(), tables=self.desk.tables, log=self.desk.log, blobs=self.desk.blobs
        )
        return self.desk.events(PerformanceMeasured, "flights", "PERFORMANCE")[-1]

    def champion(self, version: int | None, at: datetime, sequence: int) -> None:
        event = AliasChanged(model="flights", alias="champion", version=version, previous=None)
        delivery = self.desk.delivery(event, "WS#default#MODEL#flights", at, sequence)
        performance.follow_alias(delivery, self.desk.call(at), tables=self.desk.tables, log=self.desk.log)

    def degraded(self) -> list[PerformanceDegraded]:
        return self.desk.events(PerformanceDegraded, "flights", "PERFORMANCE")

    def week(self, number: int, *, version: int = 1, noise: float = 0.0, bias: float = 0.0) -> PerformanceMeasured:
        """Predict and label a week; ``noise`` mixes the score with chance."""
        flights = self.flights(number)
        mixed = [(1 - noise) * p + noise * float(self.random.uniform(0.02, 0.7)) + bias for _, _, p in flights]
        self.predict(
            [(i, t, version, "champion", s) for (i, t, _), s in zip(flights, mixed, strict=True)], f"w{number}"
        )
        return self.measure(self.arrive(flights, f"w{number}"))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def canary_lines(flights: list[tuple[str, datetime, float]]) -> list[Line]:
    """Version 1 is champion, 2 the canary on every tenth flight, 3 a shadow."""
    lines: list[Line] = []
    for n, (i, time, p) in enumerate(flights):
        if n % 10 == 0:
            lines += [(i, time, 2, "canary", 0.9 * p), (i, time, 1, "shadow", p), (i, time, 3, "shadow", 0.3)]
        else:
            lines += [(i, time, 1, "champion", p), (i, time, 3, "shadow", 0.3)]
    return lines


def test_labels_join_predictions_and_versions_are_compared_on_the_same_rows(stage: Stage) -> None:
    flights = stage.flights(0)
    stage.predict(canary_lines(flights))
    measured = stage.measure(stage.arrive(flights, "w0"))
    assert (measured.labels, measured.joined) == (700, 700)
    assert {p.version: p.rows for p in measured.performances} == {1: 700, 2: 70, 3: 700}
    assert {(c.challenger, c.champion, c.rows) for c in measured.comparisons} == {(2, 1, 70), (3, 1, 700)}
    assert [(c.challenger, c.champion, c.rows) for c in measured.canary_comparisons] == [(2, 1, 70)]
    table = parquet_table(stage.desk.blobs.get("lake", measured.labelled_key).body)
    one = table.filter(pa.compute.equal(table.column("version"), 1)).to_pydict()
    champion = measured.performances[0]
    assert champion.auc is not None
    assert champion.auc.value == pytest.approx(auc(one["label"], one["score"]))
    assert champion.auc.low < champion.auc.value < champion.auc.high
    labels, scores = np.array(one["label"]), np.array(one["score"])
    assert champion.brier is not None
    assert champion.brier.value == pytest.approx(np.mean((scores - labels) ** 2))
    assert champion.mean_score == pytest.approx(scores.mean())
    shadow = {c.challenger: c for c in measured.comparisons}[3]
    difference = (0.3 - labels) ** 2 - (scores - labels) ** 2
    assert shadow.total == pytest.approx(difference.sum())
    assert shadow.squares == pytest.approx((difference**2).sum())


def test_a_canary_at_all_traffic_is_compared_with_the_champion_that_was_heard_of(stage: Stage) -> None:
    stage.champion(1, START, 1)
    flights = stage.flights(0, 50)
    stage.predict([line for i, t, p in flights for line in ((i, t, 2, "canary", p), (i, t, 1, "shadow", 0.3))])
    measured = stage.measure(stage.arrive(flights, "w0"))
    assert [(c.challenger, c.champion, c.rows) for c in measured.canary_comparisons] == [(2, 1, 50)]


def test_a_prediction_asked_for_twice_counts_once(stage: Stage) -> None:
    flights = stage.flights(0)
    stage.predict(canary_lines(flights), "a")
    stage.predict(canary_lines(flights), "b")
    measured = stage.measure(stage.arrive(flights, "w0"))
    assert {p.version: p.rows for p in measured.performances} == {1: 700, 2: 70, 3: 700}


def test_the_answer_that_was_asked_for_first_counts_whatever_its_request_is_called(stage: Stage) -> None:
    flights = stage.flights(0, 50)
    early, late = START - timedelta(hours=1), START + timedelta(weeks=2)
    stage.predict([(i, t, 1, "champion", 0.99) for i, t, _ in flights], "a-when-the-outcome-is-known", late)
    stage.predict([(i, t, 1, "shadow", 0.25) for i, t, _ in flights], "b", early)
    stage.predict([(i, t, 1, "champion", 0.75) for i, t, _ in flights], "c-in-the-same-moment", early)
    measured = stage.measure(stage.arrive(flights, "w0"))
    assert measured.joined == 50
    assert measured.performances[0].mean_score == 0.25


def test_a_backfill_after_the_fact_counts_where_nothing_was_asked_before(stage: Stage) -> None:
    flights = stage.flights(0, 50)
    stage.predict([(i, t, 1, "champion", p) for i, t, p in flights[:20]], "live", START)
    stage.predict([(i, t, 1, "champion", 1.0) for i, t, _ in flights], "backfill", START + timedelta(weeks=1))
    measured = stage.measure(stage.arrive(flights, "w0"))
    scores = parquet_table(stage.desk.blobs.get("lake", measured.labelled_key).body, ["score"]).column("score")
    assert (measured.joined, scores.to_pylist().count(1.0)) == (50, 30)


def test_labels_that_come_twice_count_once(stage: Stage) -> None:
    flights = stage.flights(0)
    stage.predict(canary_lines(flights))
    first = stage.arrive(flights[:600], "w0")
    assert stage.measure(first).joined == 600
    assert stage.measure(stage.arrive(flights, "w0-again")).joined == 100


def test_a_delivery_that_comes_twice_measures_once(stage: Stage) -> None:
    flights = stage.flights(0)
    stage.predict(canary_lines(flights))
    delivery = stage.desk.delivery(stage.arrive(flights, "w0"), "WS#default#SOURCE#arrivals")
    desk = stage.desk
    performance.measure(delivery, desk.call(), tables=desk.tables, log=desk.log, blobs=desk.blobs)
    with pytest.raises(AlreadyHandled):
        performance.measure(delivery, desk.call(), tables=desk.tables, log=desk.log, blobs=desk.blobs)
    assert len(stage.desk.events(PerformanceMeasured, "flights", "PERFORMANCE")) == 1


def test_labels_before_their_predictions_join_nothing_and_later_ones_join_theirs(stage: Stage) -> None:
    early, later = stage.flights(0), stage.flights(1)
    measured = stage.measure(stage.arrive(early, "w0"))
    assert (measured.labels, measured.joined, measured.performances, measured.labelled_key) == (700, 0, (), "")
    stage.predict(canary_lines(early), "late")
    stage.predict(canary_lines(later), "r1")
    assert stage.measure(stage.arrive(later, "w1")).joined == 700


def test_flights_without_an_outcome_have_no_label(stage: Stage) -> None:
    flights = stage.flights(0, 40)
    stage.predict(canary_lines(flights))
    rows = [
        {"flight_id": i, "carrier": "UA", "origin": "EWR", "dest": "ORD", "distance": 7, "scheduled_departure": t}
        | {"arr_delay": None if n < 10 else 16 if n < 25 else 15, "known_at": t}
        for n, (i, t, _) in enumerate(flights)
    ]
    stage.desk.land("arrivals/w0.csv", csv_bytes(rows))
    measured = stage.measure(stage.desk.events(UploadAccepted, "arrivals")[-1])
    assert (measured.labels, measured.performances[0].positives) == (30, 15)


def test_a_steady_champion_is_not_degraded_and_one_that_ranks_worse_is(stage: Stage) -> None:
    stage.champion(1, START, 1)
    for week in range(8):
        stage.week(week)
    assert stage.degraded() == []
    stage.week(8, noise=0.9)
    (event,) = stage.degraded()
    assert (event.version, event.metric) == (1, "auc")
    assert event.value.value < event.reference - 0.02
    assert event.value.low < event.value.value < event.value.high


def test_a_champion_that_says_too_much_is_degraded_by_calibration(stage: Stage) -> None:
    stage.champion(1, START, 1)
    for week in range(3):
        stage.week(week)
    stage.week(3, bias=0.15)
    (event,) = stage.degraded()
    assert event.metric == "calibration_gap"
    assert event.value.value == pytest.approx(0.15, abs=0.06)


def test_the_reference_restarts_with_a_new_champion_even_when_that_is_heard_late(stage: Stage) -> None:
    stage.champion(1, START, 1)
    for week in range(3):
        stage.week(week)
    for week in range(3, 6):
        stage.week(week, version=2, noise=0.9, bias=0.0)
    stage.champion(2, START + timedelta(weeks=3), 2)
    stage.champion(1, START, 1)
    before = len([event for event in stage.degraded() if event.version == 2])
    stage.week(6, version=2, noise=0.9)
    assert len([e for e in stage.degraded() if e.version == 2 and e.metric == "auc"]) == before


def test_small_label_files_are_taken_together_until_a_window_is_full() -> None:
    declared = PROJECT.models["flights"].model_copy(update={"monitoring": MonitoringPolicy(min_rows=500)})
    stage = Stage(project=PROJECT.model_copy(update={"models": {"flights": declared}}))
    stage.champion(1, START, 1)
    flights = stage.flights(0)
    stage.predict([(i, t, 1, "champion", min(1.0, p + 0.2)) for i, t, p in flights])
    flights.sort(key=lambda flight: flight[1])
    for part in range(7):
        stage.measure(stage.arrive(flights[part * 100 : part * 100 + 100], f"part{part}"))
        assert len(stage.degraded()) == (1 if part >= 4 else 0)


def test_people_see_the_windows_and_the_champion_of_models_they_may_read(stage: Stage) -> None:
    stage.champion(1, START, 1)
    stage.week(0)
    stage.week(1)
    shown = performance.history(stage.desk.call(), "flights", tables=stage.desk.tables)
    assert (shown["champion"], len(shown["windows"])) == (1, 2)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        performance.history(stage.desk.call(), "ships", tables=stage.desk.tables)
    nobody = Identity(actor="eve", workspace="default", grants=(Grant(role="reader", resources="model/ships"),))
    call = Call("default", "eve", START, "c", lambda action, resource: require(nobody, action, resource))
    with pytest.raises(Forbidden):
        performance.history(call, "flights", tables=stage.desk.tables)


def test_a_policy_that_names_streams_hears_of_errors_between_windows() -> None:
    quiet = MonitoringPolicy(min_rows=100_000, streams=("ddm", "hddm_a"))
    declared = PROJECT.models["flights"].model_copy(update={"monitoring": quiet})
    stage = Stage(project=PROJECT.model_copy(update={"models": {"flights": declared}}))
    stage.champion(1, START, 1)
    for number in range(3):
        stage.week(number)
    assert stage.degraded() == []
    stage.week(3, bias=0.45)
    assert {event.metric for event in stage.degraded()} <= {"error (ddm)", "error (hddm_a)"}
    assert stage.degraded(), "almost half of the answers are wrong now"
