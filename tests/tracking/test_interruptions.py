"""What one does to a run, with all that another does to it in between two calls of the tables, wherever that may be."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count, product
from typing import Any

import pytest
from support.interruptions import Interrupted

from modelwright.errors import InvalidInput, ModelwrightError
from modelwright.tracking import experiments, logging, runs
from modelwright.tracking import messages as m
from modelwright.tracking.entities import Latest, Point, newest
from tracking.lab import Lab

Deed = Callable[["Run"], object]


class Run:
    """A run, what was logged to it, and whether it is there."""

    def __init__(self) -> None:
        self.tables = Interrupted()
        self.lab = Lab(self.tables)
        self.step = count()
        self.taken: list[Point] = []

    def log(self, *keys: str) -> None:
        """Log a newer value of some metrics; again when a race was lost, until it is taken or refused."""
        step = next(self.step)
        points = [Point(key, float(step), 1, step) for key in keys]
        message = m.LogBatch(run_id=self.lab.run_id, metrics=tuple(m.Measured(**p._asdict()) for p in points))
        for _ in range(9):
            try:
                self.lab.use(logging.log_batch, message)
            except InvalidInput:
                return
            except ModelwrightError:
                continue
            self.taken += points
            return
        raise AssertionError("it never came through")

    def asks(self, use_case: Callable[..., Any], message: Any) -> None:
        for _ in range(9):
            with suppress(ModelwrightError):
                self.lab.use(use_case, message)
                return

    def check(self) -> None:
        placed = self.lab.store.placed(self.lab.run_id)
        wanted = newest({}, self.taken)
        assert placed.run.metrics == wanted
        assert self.lab.searched() == wanted
        points = {(p.key, p.step) for p in self.lab.store.points(self.lab.run_id)}
        assert points == {(p.key, p.step) for p in self.taken}
        assert (placed.standing.stage == "settled") >= placed.run.settled
        for more in (1, 20):
            before = len(self.taken)
            self.log(*(f"afterwards {n}" for n in range(more)))
            assert (len(self.taken) > before) == (placed.seen.lifecycle_stage == "active")
        assert self.lab.searched() == self.lab.store.run(self.lab.run_id).metrics == newest({}, self.taken)


def few(run: Run) -> None:
    run.log("a", "b")


def many(run: Run) -> None:
    run.log(*(f"metric {n}" for n in range(20)))


def crowd(run: Run) -> None:
    for first in (0, 14):
        run.log(*(f"a metric with a longer name {n}" for n in range(first, first + 14)))


def tag(run: Run) -> None:
    run.asks(runs.set_tag, m.SetRunTag(run_id=run.lab.run_id, key="k", value="v"))


def settle(run: Run) -> None:
    run.lab.settles()


def delete(run: Run) -> None:
    run.asks(runs.delete, m.OfRun(run_id=run.lab.run_id))


def restore(run: Run) -> None:
    run.asks(runs.restore, m.OfRun(run_id=run.lab.run_id))


def delete_all(run: Run) -> None:
    run.asks(experiments.delete, m.OfExperiment(experiment_id=run.lab.experiment_id))


def restore_all(run: Run) -> None:
    run.asks(experiments.restore, m.OfExperiment(experiment_id=run.lab.experiment_id))


BEFORE: dict[str, tuple[Deed, ...]] = {
    "fresh": (),
    "logged": (few,),
    "folded": (few, crowd, many),
    "settled": (few, many, settle),
    "settled and tagged": (few, settle, tag),
    "settled after a few": (few, settle),
    "deleted": (few, delete),
    "restored": (few, delete, restore),
    "deleted with all": (few, delete_all),
    "restored with all": (few, many, delete_all, restore_all),
}
DEEDS: tuple[Deed, ...] = (few, many, crowd, tag, settle, delete, restore, delete_all, restore_all)


def after(before: Sequence[Deed]) -> Run:
    run = Run()
    for deed in before:
        deed(run)
    return run


def positions(before: Sequence[Deed], deed: Deed) -> Iterator[int]:
    run = after(before)
    first = run.tables.calls
    deed(run)
    yield from range(first, run.tables.calls)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_nothing_is_lost_whatever_comes_in_between(before: tuple[Deed, ...], deed: Deed) -> None:
    for other, position in product(DEEDS, list(positions(before, deed))):
        run = after(before)
        run.tables.plan[position] = lambda run=run, other=other: other(run)  # type: ignore[misc]
        deed(run)
        run.check()


@pytest.mark.parametrize("before", ["folded", "settled", "settled and tagged"])
def test_nothing_is_lost_whatever_two_do_in_between(before: str) -> None:
    state = BEFORE[before]
    for deed in (few, many, settle):
        first, *rest = positions(state, deed)
        for one, other in product((many, settle, delete_all, crowd), (few, settle, delete)):
            for position in rest:
                run = after(state)
                run.tables.plan[first + 1] = lambda run=run, one=one: one(run)  # type: ignore[misc]
                run.tables.plan[position + 12] = lambda run=run, other=other: other(run)  # type: ignore[misc]
                deed(run)
                run.tables.plan.clear()
                run.check()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_who_reads_sees_all_that_was_taken_before(before: tuple[Deed, ...], backwards: bool) -> None:
    for reading in (lambda run: run.lab.searched(), lambda run: run.lab.store.run(run.lab.run_id).metrics):
        read: Callable[[Run], dict[str, Latest]] = reading
        for other, position in product(DEEDS, list(positions(before, read))):
            run = after(before)
            floor = newest({}, run.taken)
            run.tables.backwards = backwards
            run.tables.plan[position] = lambda run=run, other=other: other(run)  # type: ignore[misc]
            seen = read(run)
            assert all(seen[key].rank >= latest.rank for key, latest in floor.items())
