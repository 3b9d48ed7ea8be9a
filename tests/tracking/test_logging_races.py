"""Whatever the order of calls of those who log, settle, tag, delete and restore: nothing is lost, nothing invented."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.errors import InvalidInput
from modelwright.tracking import experiments, logging, runs
from modelwright.tracking import messages as m
from modelwright.tracking.entities import Point
from tracking.interleaving import Fault, Stage, TurnTables, play
from tracking.lab import Batch, Lab

figures = st.sampled_from([-1.0, 0.0, 0.5, 2.0, math.nan])
small = st.integers(0, 3)


def point(number: int) -> st.SearchStrategy[Point]:
    return st.builds(Point, st.just(f"a metric number {number:02d}"), figures, small, small)


few = st.lists(st.integers(0, 30).flatmap(point), min_size=1, max_size=6)
wide = (
    st.tuples(st.integers(0, 20), st.integers(10, 18))
    .flatmap(lambda span: st.tuples(*(point(n) for n in range(span[0], span[0] + span[1]))))
    .map(list)
)
batches = st.lists(st.one_of(few, wide), min_size=1, max_size=3)
turns = st.lists(st.integers(0, 5), max_size=120)
faults: st.SearchStrategy[list[Fault]] = st.lists(st.sampled_from(["", "", "", "refused", "lost"]), max_size=60)


def every(several: Sequence[Sequence[Batch]]) -> list[Point]:
    return [point for batches in several for batch in batches for point in batch]


@given(st.lists(batches, min_size=2, max_size=3), turns, faults)
@settings(max_examples=40, deadline=None)
def test_writers_who_meet_lose_nothing(several: list[list[Batch]], turns: list[int], faults: list[Fault]) -> None:
    tables = TurnTables(Stage())
    lab = Lab(tables)
    play(tables, [lab.reads, *(lab.logs(batches) for batches in several)], turns, faults)
    lab.check(every(several))


@given(st.lists(batches, min_size=1, max_size=2), turns, faults)
@settings(max_examples=40, deadline=None)
def test_a_run_that_is_settled_meanwhile_is_told_in_full(
    several: list[list[Batch]], turns: list[int], faults: list[Fault]
) -> None:
    tables = TurnTables(Stage())
    lab = Lab(tables)
    actors = [lab.settles, *(lab.logs(batches) for batches in several), lab.tags, lab.reads]
    play(tables, actors, turns, faults)
    lab.check(every(several))
    lab.settles()
    lab.check(every(several))
    assert lab.store.run(lab.run_id).settled
    assert lab.store.run(lab.run_id).tags["k"] == "v"


@given(batches, turns, faults)
@settings(max_examples=40, deadline=None)
def test_a_run_that_is_deleted_and_restored_meanwhile_keeps_what_was_taken(
    batches: list[Batch], turns: list[int], faults: list[Fault]
) -> None:
    tables = TurnTables(Stage())
    lab = Lab(tables)
    actors = [lab.logs(batches), lab.deletes_and_restores_the_run, lab.settles]
    play(tables, actors, turns, faults)
    lab.check(every([batches]))


@given(batches, turns, faults)
@settings(max_examples=40, deadline=None)
def test_an_experiment_that_is_deleted_and_restored_meanwhile_keeps_what_was_taken(
    batches: list[Batch], turns: list[int], faults: list[Fault]
) -> None:
    tables = TurnTables(Stage())
    lab = Lab(tables)
    actors = [lab.logs(batches), lab.deletes_and_restores_the_experiment, lab.settles]
    play(tables, actors, turns, faults)
    lab.check(every([batches]))


@pytest.mark.parametrize("whole", [False, True], ids=["run", "experiment"])
@given(batches, turns, faults)
@settings(max_examples=40, deadline=None)
def test_what_is_deleted_takes_nothing_from_then_on(
    whole: bool, batches: list[Batch], turns: list[int], faults: list[Fault]
) -> None:
    tables = TurnTables(Stage())
    lab = Lab(tables)

    def deletes() -> None:
        if whole:
            lab.stubborn(experiments.delete, m.OfExperiment(experiment_id=lab.experiment_id))
        else:
            lab.stubborn(runs.delete, m.OfRun(run_id=lab.run_id))

    play(tables, [lab.logs_until_refused(batches), deletes, lab.settles], turns, faults)
    before = lab.store.placed(lab.run_id).standing
    with pytest.raises(InvalidInput):
        lab.use(logging.log_metric, m.LogMetric(run_id=lab.run_id, key="late", value=1, timestamp=1))
    assert lab.store.placed(lab.run_id).standing == before
