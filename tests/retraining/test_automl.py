"""The built-in search: by time, for the money there is, and to the same end however often it is stopped."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from queue import Queue
from threading import Barrier, Event, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.interruptions import Interrupted, Killed

from modelwright.errors import InvalidInput
from modelwright.events import TrainingCompleted, TrainingFailed, TrainingPaused
from modelwright.flavors import open_model
from modelwright.project import Model, Project
from modelwright.retraining import automl, pipelines, search
from modelwright.retraining.attempts import Runner
from modelwright.retraining.automl import Rows, Search, Stopwatch, Winner
from modelwright.retraining.search import Fit, Plan, Proposal
from modelwright.retraining.training import train
from modelwright.retraining.workshop import Examples, Workshop
from modelwright.storage import Item
from retraining.stage import WALL, WS, Stage, project
from retraining.test_training import Sets, completed, flavors, requested, shop

ID = "01TRAINING"
ME = Runner("invocation", lambda: WALL, WALL)
QUICK = {"kinds": ["linear", "naive_bayes"], "candidates": 6, "eta": 2, "min_rows": 300}


def searching(**said: Any) -> Project:
    document = project(trainer="automl", trainer_options={"search": QUICK | said}).model_dump()
    document["models"]["flights"] |= {"trainer": "", "parameters": {}}
    return Project.model_validate(document)


def bench(stage: Stage, sets: Sets, **said: Any) -> Workshop:
    """A shop whose seconds are counted calls, so that what is measured is the same each time."""
    return replace(shop(stage, sets), project=searching(**said), clock=ticking(), owner="invocation")


def ticking(seconds: float = 0.01) -> Callable[[], float]:
    numbers = count()
    return lambda: next(numbers) * seconds


def asked(stage: Stage, **changes: Any) -> str:
    return requested(stage, trainer="automl", **changes)


def to_the_end(training_id: str, make: Callable[[], Workshop]) -> Iterator[str]:
    for _ in range(50):
        outcome = train(WS, training_id, make())
        yield outcome
        if outcome != "paused":
            return
    raise AssertionError("the search came to no end")


@pytest.fixture(scope="module")
def whole() -> TrainingCompleted:
    """What a search gives that nobody stops."""
    stage = Stage()
    assert train(WS, asked(stage), bench(stage, Sets(1500))) == "completed"
    return completed(stage)


def test_a_search_leaves_a_model_and_tells_all_that_it_tried(whole: TrainingCompleted) -> None:
    assert whole.searched_by == "brier"
    assert len(whole.candidates) == 6
    best = whole.candidates[0]
    assert whole.parameters["automl.candidate"] == best.name
    assert whole.parameters["automl.kind"] == best.parameters["kind"]
    last = [one for one in whole.candidates if one.rung == best.rung]
    assert best.metric == min(one.metric for one in last if one.metric is not None)
    assert [one.rung for one in whole.candidates] == sorted((one.rung for one in whole.candidates), reverse=True)
    assert {one.rows for one in whole.candidates if one.rung == 0} == {min(one.rows for one in whole.candidates)}
    assert whole.metrics["auc"] > 0.75
    assert whole.cost > 0


def test_the_model_of_a_search_opens_like_any_other() -> None:
    stage, sets = Stage(), Sets(1500)
    train(WS, asked(stage), bench(stage, sets))
    event = completed(stage)
    model = open_model("m", event.artifact_key, digest=event.artifact_digest, blobs=stage.blobs, flavors=flavors)
    assert len(model.score(sets.frame.iloc[:700])) == 700


def test_a_search_that_is_stopped_after_every_fit_ends_as_one_that_is_not(whole: TrainingCompleted) -> None:
    stage, sets = Stage(), Sets(1500)
    identity = asked(stage)
    outcomes = list(to_the_end(identity, lambda: replace(bench(stage, sets), remaining=lambda: 1.0)))
    paused = [event for event in stage.happened() if isinstance(event, TrainingPaused)]
    assert len(paused) == len(outcomes) - 1 >= 6
    assert [event.done for event in paused] == list(range(1, len(paused) + 1))
    assert same(completed(stage), whole)


def test_a_search_that_is_killed_anywhere_goes_on_where_it_was(whole: TrainingCompleted) -> None:
    def calls() -> int:
        tables = Interrupted()
        stage = Stage(tables=tables)
        identity = asked(stage)
        train(WS, identity, bench(stage, Sets(1500)))
        return tables.calls

    sets = Sets(1500)
    for number in range(1, calls(), 5):
        tables = Interrupted()
        stage = Stage(tables=tables)
        identity = asked(stage)
        setattr(tables, "dies_before" if number % 2 else "dies_after", number)
        try:
            train(WS, identity, bench(stage, sets))
        except Killed:
            tables.dies_before = tables.dies_after = -1
            train(WS, identity, bench(stage, sets))
        assert same(completed(stage), whole), number
        assert len(stage.happened()) == 1


def same(one: TrainingCompleted, other: TrainingCompleted) -> bool:
    """Say whether two trainings gave the same model for the same reasons, whatever time they took."""

    def told(event: TrainingCompleted) -> Any:
        return [candidate.model_copy(update={"seconds": 0.0}) for candidate in event.candidates]

    return (one.artifact_digest, one.parameters, told(one)) == (other.artifact_digest, other.parameters, told(other))


def test_two_that_paused_at_the_same_place_are_followed_by_one() -> None:
    stage, sets = Stage(), Sets(1500)
    identity = asked(stage)
    first = replace(bench(stage, sets), remaining=lambda: 1.0)
    assert train(WS, identity, first) == "paused"
    fits = search.load_fits(stage.tables, WS, identity)
    assert len(fits) == 1
    stage.tables.delete_many("retraining", [search._key(WS, identity, "FIT#00#0000")])
    assert train(WS, identity, replace(bench(stage, sets), remaining=lambda: 1.0)) == "paused before"
    assert len([event for event in stage.happened() if isinstance(event, TrainingPaused)]) == 1


def test_a_training_that_is_delivered_three_times_at_once_trains_once(whole: TrainingCompleted) -> None:
    """The first waits in the middle of a fit until the others came, and has the next work to itself."""
    stage = Stage()
    identity, outcomes = asked(stage), Queue[str]()
    there, others = Event(), Event()

    def late() -> float:  # the clock is asked when a fit begins and when it ends
        if search.load_fits(stage.tables, WS, identity) == {} and marks(stage, identity):
            there.set()
            assert others.wait(20)
        return next(ticks)

    ticks = (number * 0.01 for number in count())

    def run(owner: str, clock: Callable[[], float]) -> None:
        made = replace(bench(stage, Sets(1500)), owner=owner, clock=clock)
        outcomes.put(train(WS, identity, made))

    first = Thread(target=run, args=("a", late))
    first.start()
    assert there.wait(20)
    rest = [Thread(target=run, args=(owner, ticking())) for owner in "bc"]
    for thread in rest:
        thread.start()
    for thread in rest:
        thread.join()
    others.set()
    first.join()
    assert [outcomes.get() for _ in range(3)] == ["runs elsewhere", "runs elsewhere", "completed"]
    assert same(completed(stage), whole)
    assert {mark["times"] for mark in marks(stage, identity)} == {1}


def marks(stage: Stage, identity: str) -> Sequence[Item]:
    """Return what of a search was ever begun."""
    return stage.tables.query("retraining", f"WS#{WS}#SEARCH#{identity}", prefix="MARK").items


def test_three_that_come_at_once_in_whatever_order_give_one_model(whole: TrainingCompleted) -> None:
    for delay in range(3):
        stage = Stage()
        identity = asked(stage)
        start = Barrier(3)

        def run(owner: str, stage: Stage = stage, identity: str = identity, start: Barrier = start) -> str:
            start.wait(20)
            return train(WS, identity, replace(bench(stage, Sets(1500)), owner=owner))

        with ThreadPoolExecutor(3) as pool:
            outcomes = list(pool.map(run, "abc"))
        assert "completed" in outcomes, delay
        assert len(stage.happened()) == 1
        assert same(completed(stage), whole)


def test_only_who_is_late_or_comes_again_counts_as_killed() -> None:
    stage = Stage()
    now = [WALL]
    soon = WALL + timedelta(minutes=15)
    one, other = (Runner(owner, lambda: now[0], soon) for owner in "ab")
    begin = partial(search.begin, stage.tables, WS, ID, "FIT#00#0000")
    assert [begin(one), begin(other), begin(other)] == ["begun", "held", "held"]
    now[0] = soon
    assert [begin(other), begin(one)] == ["begun", "killed"]


def test_what_a_killed_attempt_took_is_booked_with_its_repetition() -> None:
    tables = Interrupted()
    stage = Stage(tables=tables)
    identity, minutes = asked(stage), count()

    def wall() -> datetime:
        return WALL + timedelta(minutes=next(minutes))

    def shop_of() -> Workshop:
        return replace(bench(stage, Sets(1500)), wall=wall, remaining=lambda: 120.0)

    tables.dies_before = 12
    with pytest.raises(Killed):
        train(WS, identity, shop_of())
    tables.dies_before = -1
    assert search.load_fits(stage.tables, WS, identity), "of which the fits are counted once"
    assert train(WS, identity, shop_of()) == "completed"
    assert completed(stage).seconds == pytest.approx(60, abs=0.5), "a minute passed until the repetition"
    assert completed(stage).cost == pytest.approx(60 * bench(stage, Sets(1500)).rate, rel=0.01)


def test_what_kills_its_function_twice_is_left_out() -> None:
    stage, sets = Stage(), Sets(1500)
    identity = asked(stage)
    for _ in range(2):
        assert search.begin(stage.tables, WS, identity, "FIT#00#0000", ME) == "begun"
    assert train(WS, identity, bench(stage, sets)) == "completed"
    event = completed(stage)
    assert "killed twice" in event.candidates[-1].text
    assert event.candidates[-1].name == "linear-00"
    assert event.candidates[0].name != "linear-00"


def test_a_winner_that_kills_its_function_twice_fails_the_training() -> None:
    stage, sets = Stage(), Sets(1500)
    identity = asked(stage)
    for _ in range(2):
        search.begin(stage.tables, WS, identity, "FINAL", ME)
    assert train(WS, identity, bench(stage, sets)) == "failed"
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert "killed twice" in failed.reason
    assert failed.cost > 0


def test_a_search_stops_before_the_rung_that_was_not_reserved() -> None:
    stage, sets = Stage(), Sets(1500)
    slow = replace(bench(stage, sets), clock=ticking(10.0))
    needed = slow.rate * 250
    assert train(WS, asked(stage, reserved=round(needed * 1e6)), slow) == "completed"
    event = completed(stage)
    assert {one.rung for one in event.candidates} == {0}
    assert "what was reserved pays 250 s" in event.parameters["automl.stopped"]
    assert event.seconds < 260


def test_a_search_for_nothing_still_gives_a_model_of_its_first_fit() -> None:
    stage, sets = Stage(), Sets(1500)
    assert train(WS, asked(stage, reserved=1), replace(bench(stage, sets), clock=ticking(10.0))) == "completed"
    assert len(completed(stage).candidates) == 1


def test_where_no_candidate_can_be_fitted_the_training_fails_with_the_reasons() -> None:
    stage, sets = Stage(), Sets(1500)
    broken = bench(stage, sets, kinds=["neighbours"], space={"neighbours": {"n_neighbors": [0]}}, candidates=2)
    assert train(WS, asked(stage), broken) == "failed"
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert "no model that can be fitted: ValueError" in failed.reason or "InvalidParameterError" in failed.reason


@pytest.mark.parametrize("task", ["regression", "forecasting"])
def test_a_search_for_numbers_leaves_a_model_that_predicts_them(task: str) -> None:
    class Numbers(Sets):
        def __init__(self) -> None:
            super().__init__(1500)
            self.labels = (3 * self.frame["temp"] + self.frame["hour"] / 8).to_numpy(dtype=np.float64)

    document = searching(kinds=["linear", "naive_bayes", "hist_gradient_boosting"], candidates=3).model_dump()
    document["models"]["flights"] |= {"task": task, "label": {"source": "arrivals", "column": "delay"}}
    stage = Stage()
    made = replace(bench(stage, Numbers()), project=Project.model_validate(document))
    assert train(WS, asked(stage), made) == "completed"
    event = completed(stage)
    assert event.searched_by == "rmse"
    best = event.candidates[0].metric
    assert best is not None
    assert best < 0.5
    assert event.evaluation.metrics["rmse"].value < 0.5


def test_a_model_names_who_trains_it_or_leaves_it_to_the_search() -> None:
    document = project().model_dump()
    document["models"]["flights"]["trainer"] = ""
    with pytest.raises(ValueError, match=r"trainer must be module:function, .* or retraining\.trainer must be automl"):
        Project.model_validate(document)
    ranked = searching().model_dump()
    ranked["models"]["flights"] |= {"task": "ranking", "rank_by": "origin"}
    ranked["models"]["flights"]["label"] |= {"above": None}
    with pytest.raises(ValueError, match="not ranking"):
        Project.model_validate(ranked)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"kinds": ["perceptron"]}, "no kind of model perceptron"),
        ({"kinds": []}, "name at least one of linear"),
        ({"candidates": 0}, "trainer_options.search.candidates"),
        ({"depth": 3}, "trainer_options.search.depth"),
        ({"metric": "rmse"}, "rmse is not for this task"),
        ({"space": {"linear": {"strength": "much"}}}, "the search space of linear.strength"),
        ({"space": {"linear": {"strength": {"low": 2, "high": 1}}}}, "low < high"),
        ({"space": {"linear": {"colour": ["red"]}}}, "linear takes no such parameters"),
    ],
)
def test_options_that_do_not_fit_are_named_before_anything_is_spent(said: dict[str, Any], reason: str) -> None:
    stage = Stage()
    assert train(WS, asked(stage), bench(stage, Sets(1500), **said)) == "failed"
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert reason in failed.reason
    assert search.load_plan(stage.tables, WS, ID) is None


# --- splits ------------------------------------------------------------------------------


def examples(rows: int, days: int = 60, *, regress: bool = False) -> Examples:
    rng = np.random.default_rng(3)
    times = np.datetime64("2013-01-01", "us") + rng.integers(0, days * 86_400, rows) * np.timedelta64(1_000_000, "us")
    frame = pd.DataFrame(
        {
            "temp": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "hour": rng.integers(0, 24, rows).astype(float),
            "carrier": pd.Categorical([["AA", "UA", None][n] for n in rng.integers(0, 3, rows)]),
            "gate": np.array(["a", "b", None], dtype=object)[rng.integers(0, 3, rows)],
        }
    )
    signal = 2 * frame["temp"].fillna(0.0).to_numpy() + (frame["carrier"] == "AA").to_numpy() * 1.0
    labels = signal + rng.normal(size=rows) * 0.3 if regress else (signal + rng.normal(size=rows) > 0.5).astype(np.int8)
    return Examples(frame, labels, times, "digest", "key")


@given(rows=st.integers(60, 400), days=st.integers(2, 90), holdout=st.integers(1, 30))
def test_what_is_measured_on_is_newer_than_all_that_is_fitted_to(rows: int, days: int, holdout: int) -> None:
    seen = examples(rows, days)
    seen.frame["n"] = seen.times.astype(np.int64)
    split = Rows.of(seen, holdout, True)
    assert len(split.frame) + len(split.older) == rows
    assert len(split.frame) > 0
    assert split.frame["n"].min() >= split.older["n"].max()
    newest, _ = split.newest(20)
    assert newest["n"].min() >= split.older["n"].sort_values().iloc[-20]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_kind_of_model_takes_numbers_texts_and_gaps(task: str) -> None:
    seen = examples(900, regress=task == "regression")
    said = {"kinds": list(pipelines.KINDS), "candidates": len(pipelines.KINDS), "eta": 3}
    space = {kind: {"n_estimators": [10], "max_depth": [6]} for kind in ("random_forest", "extra_trees")}
    space["hist_gradient_boosting"] = {"max_iter": [20]}
    policy = {"trainer": "automl", "holdout_days": 7, "trainer_options": {"search": said | {"space": space}}}
    label = {"source": "a", "column": "d", **({"above": 1.0} if task == "classification" else {})}
    common = {"id_column": "id", "time_column": "t", "request": {"id": "string", "t": "timestamp"}}
    common |= {"inputs": ["temp"], "views": []}
    model = Model.model_validate({**common, "task": task, "label": label, "retraining": policy})
    plan = automl.planned(model, seen, seen, 1e6)
    stage = Stage()
    on = Search(stage.tables, WS, ID, plan, task == "classification", lambda: 1e9, ticking(), ME)
    best = on.advance(seen, 7, Stopwatch(ticking()))
    assert isinstance(best, Winner)
    assert [one.text for one in best.candidates if one.metric is None] == []
    baseline = 0.25 if task == "classification" else float(np.std(seen.labels))
    assert best.candidates[0].metric is not None
    assert best.candidates[0].metric < 0.8 * baseline
    kept = best.fit(seen.frame, seen.labels, {})
    unseen = seen.frame.iloc[:5].assign(carrier=pd.Categorical(["ZZ"] * 5), gate="never")
    assert np.isfinite(kept.predict(unseen)).all()


# --- laws --------------------------------------------------------------------------------


@given(rows=st.integers(1, 10**6), candidates=st.integers(1, 100), eta=st.integers(2, 10), least=st.integers(50, 5000))
def test_rungs_rise_to_all_rows_and_never_begin_below_the_least(
    rows: int, candidates: int, eta: int, least: int
) -> None:
    found = search.rungs(rows, candidates, eta, least)
    assert found[-1] == rows
    assert list(found) == sorted(set(found))
    assert found[0] >= min(rows, least)
    assert eta ** (len(found) - 1) <= candidates


def plan_with(candidates: int, rungs: int, seconds: float = 1e9) -> Plan:
    proposal = Proposal(kind="linear", parameters={})
    rows = tuple(100 * 3**k for k in range(rungs))
    return Plan(
        candidates=(proposal,) * candidates, rows=rows, all_rows=rows[-1], eta=3, metric="auc", seed=1, seconds=seconds
    )


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=30), st.integers(1, 4), st.randoms())
def test_whatever_the_order_of_fits_the_same_one_wins(values: list[float | None], rungs: int, random: Any) -> None:
    plan = plan_with(len(values), rungs)

    def played(order: Callable[[tuple[int, ...]], int]) -> tuple[int | None, int]:
        fits: dict[tuple[int, int], Fit] = {}
        while not (at := search.position(plan, fits)).over:
            number = order(at.pending)
            fits[at.rung, number] = Fit(rung=at.rung, number=number, value=values[number], seconds=1.0, billed=1.0)
        return search.winner(plan, fits), len(fits)

    assert played(lambda pending: pending[0]) == played(random.choice)
    known = [value for value in values if value is not None]
    best, _ = played(lambda pending: pending[-1])
    assert (best is None) == (not known)
    assert best is None or values[best] == max(known)


@given(seconds=st.floats(1, 200), candidates=st.integers(1, 30))
def test_no_more_is_spent_than_was_reserved_where_fits_take_as_long_as_expected(
    seconds: float, candidates: int
) -> None:
    plan = plan_with(candidates, 3, seconds)
    fits: dict[tuple[int, int], Fit] = {}
    while not (at := search.position(plan, fits)).over:
        number = at.pending[0]
        took = 0.1 * plan.rows[at.rung] / plan.rows[0]
        fits[at.rung, number] = Fit(rung=at.rung, number=number, value=number / 100, seconds=took, billed=took)
    assert search.spent(fits) + search.finishing(plan, fits) <= max(seconds, 0.1 + 2 * 0.1 * 9 + 1e-9)


def test_a_search_draws_the_same_each_time_and_each_kind_in_turn() -> None:
    first, again = (pipelines.proposals(["linear", "random_forest"], {}, 7, 5) for _ in range(2))
    assert first == again
    assert [each["kind"] for each in first] == ["linear", "random_forest"] * 3 + ["linear"]
    assert first != pipelines.proposals(["linear", "random_forest"], {}, 7, 6)
    few = pipelines.proposals(["linear"], {"linear": {"strength": [1.0, 2.0]}}, 7, 5)
    assert sorted(each["parameters"]["strength"] for each in few) == [1.0, 2.0]


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no kind of model x"):
        pipelines.pipeline("x", {}, pd.DataFrame({"a": [1.0]}), classify=True, seed=1)
