"""Settling, merging and compacting: nothing is lost, whoever writes meanwhile and wherever it is interrupted."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.metering import Meter, MeteredBlobs, MeteredTables
from modelwright.errors import ConditionFailed
from modelwright.tracking.columns import Part
from modelwright.tracking.compaction import (
    FANOUT,
    PART_ROWS,
    compact,
    next_merge,
)
from modelwright.tracking.maintenance import MaintenanceStore
from tracking.upkeep import Interrupted, Yard, doing_at, loss, note, stopping_at


def grown() -> tuple[Yard, list[str]]:
    """Return a yard with three parts, a settled run that was written to since, and runs that ended after."""
    yard, runs = _grown()
    return yard.copied(), runs


@cache
def _grown() -> tuple[Yard, list[str]]:
    yard, runs = Yard(), list[str]()
    for number in range(3):
        runs += [yard.ended(2 * number), yard.ended(2 * number + 1)]
        yard.compact()
    yard.tag(runs[0], "again")
    runs += [yard.ended(6), yard.ended(7)]
    return yard, runs


def parts_of(yard: Yard) -> tuple[Part, ...]:
    return MaintenanceStore(yard.desk.tables, yard.call, yard.desk.blobs).parts(yard.experiment)[0]


# --- settling ----------------------------------------------------------------------------


def test_settled_runs_are_told_as_before() -> None:
    yard = Yard()
    runs = [yard.ended(number) for number in range(5)]
    yard.tag(runs[2], "noted")
    before = yard.shown()
    done = yard.compact()
    assert (done.settled, done.parts, done.done) == (5, 1, True)
    assert yard.shown() == before
    assert yard.is_whole(runs) == yard.told(runs)
    assert (yard.heads("OPEN#"), sorted(yard.heads("SETTLED#"))) == ([], sorted(runs))


def test_a_run_that_goes_on_is_not_settled() -> None:
    yard = Yard()
    ended, running = yard.ended(1), yard.desk.run(yard.experiment, start_time=int(yard.wall.timestamp() * 1000))
    yard.compact()
    assert (yard.heads("OPEN#"), yard.heads("SETTLED#")) == ([running], [ended])
    yard.is_whole([ended, running])


def test_a_run_that_was_forgotten_is_settled_and_goes_on_when_it_is_remembered() -> None:
    yard = Yard()
    run = yard.desk.run(yard.experiment)
    yard.compact()
    assert yard.heads("SETTLED#") == [run]
    yard.log(run, 0.5, 1)
    assert loss(yard.is_whole([run])[run]) == (1, 0.5)
    assert yard.heads("OPEN#") == [run]


def test_a_few_runs_wait_for_more_but_not_for_long() -> None:
    yard = Yard()
    yard.wall = yard.wall.fromtimestamp(6, tz=yard.wall.tzinfo)  # a second after they ended
    runs = [yard.ended(number) for number in range(3)]
    assert yard.compact(least=4).settled == 0
    assert yard.compact(least=3).settled == 3
    late = yard.ended(3)
    yard.wall = yard.wall.replace(day=3)
    assert yard.compact(least=4).settled == 1
    yard.is_whole([*runs, late])


def test_what_is_written_to_a_settled_run_is_told_at_once_and_settled_again() -> None:
    yard = Yard()
    runs = [yard.ended(number) for number in range(3)]
    yard.compact()
    yard.tag(runs[0], "later")
    yard.log(runs[1], 9.5, 9)
    yard.delete(runs[2])
    told = yard.is_whole(runs)
    assert (note(told[runs[0]]), loss(told[runs[1]])) == ("later", (9, 9.5))
    assert told[runs[2]]["info"]["lifecycle_stage"] == "deleted"
    assert yard.compact().settled == 3
    assert yard.heads("OPEN#") == []
    assert yard.is_whole(runs) == told


def test_the_rows_of_runs_that_were_settled_again_are_left_out_of_a_merge() -> None:
    yard = Yard()
    runs = [yard.ended(number) for number in range(8)]
    yard.compact()
    for number, run in enumerate(runs[:2]):
        yard.tag(run, str(number))
    yard.compact()
    assert sorted((part.rows, len(part.gone)) for part in parts_of(yard)) == [(2, 0), (8, 2)]
    yard.tag(runs[2], "2")
    yard.compact()  # a quarter of the rows would still be borne, three eighths are not
    assert sorted((part.rows, len(part.gone)) for part in parts_of(yard)) == [(1, 0), (2, 0), (5, 0)]
    yard.is_whole(runs)


def test_parts_of_one_size_become_one() -> None:
    yard = Yard()
    runs = []
    for number in range(FANOUT):
        runs.append(yard.ended(number))
        yard.compact()
    assert [part.rows for part in parts_of(yard)] == [FANOUT]
    yard.is_whole(runs)


def test_a_snapshot_can_be_filtered_and_ordered_as_the_runs_could() -> None:
    yard, _ = grown()
    body = {"experiment_ids": [yard.experiment], "filter": "metrics.loss > 3 AND params.number != '5'",
            "order_by": ["metrics.loss DESC"]}  # fmt: skip
    before = yard.desk.tracking.ok("POST", "/api/2.0/mlflow/runs/search", body)
    assert [run["info"]["run_name"] for run in before["runs"]] == ["run 7", "run 6", "run 4", "run 3"]
    yard.compact()
    assert yard.desk.tracking.ok("POST", "/api/2.0/mlflow/runs/search", body) == before


def test_settling_costs_eight_write_units_and_a_query_a_run() -> None:
    yard, meter, runs = Yard(), Meter(), 48
    for number in range(runs):
        yard.ended(number)
    upkeep = yard.upkeep()
    counted = replace(upkeep, tables=MeteredTables(yard.desk.tables, meter), blobs=MeteredBlobs(yard.desk.blobs, meter))
    assert compact(yard.call, yard.experiment, counted).settled == runs
    assert meter.write_units <= 8 * runs + 10
    assert meter.table_calls <= runs + runs / 24 + 10
    assert (meter.s3_reads, meter.s3_writes) == (0, 4)


# --- interruptions -----------------------------------------------------------------------


def test_it_can_be_interrupted_at_any_call_and_is_finished_by_the_next() -> None:
    finished = False
    for number in count():
        yard, runs = grown()
        truth = yard.is_whole(runs)
        try:
            yard.compact(stopping_at(number))
            finished = True
        except Interrupted:
            assert yard.is_whole(runs) == truth, number
        yard.compact()
        assert yard.is_whole(runs) == truth, number
        assert yard.heads("OPEN#") == []
        assert [part.rows - len(part.gone) for part in parts_of(yard)] == [len(runs)]
        yard.sweep_later()
        assert yard.is_whole(runs) == truth, number
        assert len(yard.objects()) == 4, (number, yard.objects())
        if finished:
            break
    assert number > 30


def write(yard: Yard, runs: list[str]) -> None:
    yard.tag(runs[6], "meanwhile")
    yard.log(runs[7], 42.0, 9)


def write_settled(yard: Yard, runs: list[str]) -> None:
    yard.tag(runs[2], "meanwhile")
    yard.log(runs[3], 42.0, 9)


def delete(yard: Yard, runs: list[str]) -> None:
    yard.delete(runs[6])
    yard.delete(runs[7])
    yard.restore(runs[7])


def work(yard: Yard, runs: list[str]) -> None:
    yard.compact()


MEANWHILE: dict[str, tuple[Callable[[Yard, list[str]], None], ...]] = {
    "writes": (write,),
    "writes to settled runs": (write_settled,),
    "deletions": (delete,),
    "another worker": (work,),
    "writes and another worker": (write, work),
    "another worker, writes, and that worker again": (work, write, work),
}


@pytest.mark.parametrize("name", MEANWHILE)
def test_a_write_between_any_two_calls_is_never_lost(name: str) -> None:
    for number in count():
        yard, runs = grown()
        happened: list[Any] = []

        def act(yard: Yard = yard, runs: list[str] = runs, happened: list[Any] = happened) -> None:
            for step in MEANWHILE[name]:
                step(yard, runs)
            happened.append(yard.told(runs))

        yard.compact(doing_at(number, act))
        if not happened:
            break
        assert yard.is_whole(runs) == happened[0], number
        yard.compact()
        yard.sweep_later()
        assert yard.is_whole(runs) == happened[0], number
    assert number > 20


def test_a_run_settled_between_reading_the_heads_and_the_pointer_is_not_overwritten() -> None:
    """The version of the pointer is read before the heads, or an older row would hide what was settled in between."""
    for number in count():
        yard = Yard()
        old = yard.ended(0)
        yard.compact()
        runs = [yard.ended(1), yard.ended(2), old]
        happened: list[bool] = []

        def settle_newer(yard: Yard = yard, runs: list[str] = runs, happened: list[bool] = happened) -> None:
            yard.tag(runs[0], "newer")
            yard.compact()
            happened.append(True)

        yard.compact(doing_at(number, settle_newer))
        if not happened:
            break
        assert note(yard.is_whole(runs)[runs[0]]) == "newer", number
    assert number > 10


def test_a_write_that_another_transaction_holds_up_is_made_up_for() -> None:
    held_up = 0
    for number in count():
        yard, runs = grown()
        truth = yard.told(runs)
        seen: list[str] = []

        def refuse(call: int, name: str, number: int = number, seen: list[str] = seen) -> None:
            if call == number:
                seen.append(name)
                if name == "write":
                    raise ConditionFailed("another transaction holds one of the items", ())

        yard.compact(refuse)
        assert yard.is_whole(runs) == truth, number
        if not seen:
            break
        held_up += seen == ["write"]
        assert yard.compact().done
        assert yard.heads("OPEN#") == [], number
    assert held_up > 2


def test_it_stops_when_time_is_up_and_goes_on_next_time() -> None:
    yard, runs = grown()
    truth = yard.is_whole(runs)
    done = compact(yard.call, yard.experiment, yard.upkeep(spare=lambda: False))
    assert (done.settled, done.done) == (0, False)
    left = iter([True])
    done = compact(yard.call, yard.experiment, yard.upkeep(spare=lambda: next(left, False)))
    assert (done.settled, done.done) == (3, False)
    assert yard.is_whole(runs) == truth
    assert compact(yard.call, yard.experiment, yard.upkeep()).done
    assert [part.rows for part in parts_of(yard)] == [len(runs)]
    assert yard.is_whole(runs) == truth


# --- objects -----------------------------------------------------------------------------


def test_old_objects_stay_for_whoever_reads_them_and_go_later() -> None:
    yard, runs = grown()
    old = {key for key in yard.objects() if key.endswith((".columns", ".rows"))}
    yard.compact()
    assert old <= set(yard.objects())
    yard.sweep_later()
    assert not old & set(yard.objects())
    yard.is_whole(runs)


# --- sizes -------------------------------------------------------------------------------


def a_part(name: str, rows: int, gone: int = 0) -> Part:
    return Part(
        id=name, rows=rows, bytes_columns=50 * rows, bytes_rows=100 * rows, directory=10, active=True, newest=1,
        oldest=0, gone=tuple(range(gone)),
    )  # fmt: skip


@given(st.lists(st.integers(1, 5_000), max_size=400))
def test_parts_stay_few_and_are_not_written_often(sizes: list[int]) -> None:
    parts: list[Part] = []
    written = 0
    for number, size in enumerate(sizes):
        parts.append(a_part(f"new-{number}", size))
        while group := next_merge(parts):
            rows = sum(part.rows for part in group)
            written += rows
            parts = [part for part in parts if part not in group] + [a_part(f"merged-{number}-{rows}", rows)]
    total = sum(sizes)
    assert sum(part.rows for part in parts) == total
    assert all(part.rows <= PART_ROWS for part in parts)
    assert len(parts) <= (FANOUT - 1) * 5 + total / (PART_ROWS / 2)
    assert written <= 6 * total


def test_a_part_of_which_much_is_gone_is_written_again_and_an_empty_one_goes() -> None:
    assert next_merge([a_part("a", 100, 25), a_part("b", 5)]) == []
    assert [part.id for part in next_merge([a_part("a", 100, 26), a_part("b", 5)])] == ["a"]
    yard = Yard()
    run = yard.ended(1)
    yard.compact()
    yard.tag(run, "again")
    yard.compact()
    assert [(part.rows, part.gone) for part in parts_of(yard)] == [(1, ())]
    yard.is_whole([run])


def test_a_part_that_is_heavy_is_left_alone_however_few_its_rows() -> None:
    heavy = [a_part(str(n), 70).model_copy(update={"bytes_rows": 30_000_000}) for n in range(8)]
    assert next_merge(heavy) == []
