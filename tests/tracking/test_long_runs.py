"""The points of long runs become one object: none is lost, whoever logs meanwhile and wherever it is interrupted."""

from functools import cache
from itertools import count

import pytest
from support.http import ServedBlobs

from modelwright.storage import BucketName
from modelwright.tracking.compaction import CHUNKS, WRITES, compact_points
from modelwright.tracking.maintenance import MaintenanceStore
from tracking.upkeep import Interrupted, Yard, doing_at, stopping_at


def long_run(batches: int = CHUNKS + 1) -> tuple[Yard, str, list[tuple[int, float]]]:
    """Return a run with a metric that was logged value by value, and another."""
    yard, run, points = _long_run(batches)
    return yard.copied(), run, points


@cache
def _long_run(batches: int) -> tuple[Yard, str, list[tuple[int, float]]]:
    yard = Yard()
    run = yard.desk.run(yard.experiment)
    points = [(step, step / 4) for step in range(batches)]
    for step, value in points:
        yard.log(run, value, step)
    yard.desk.log_batch(run, metrics=[("other", float(n), 1, n) for n in range(50)])
    return yard, run, points


def chunks_of(yard: Yard, run: str) -> int:
    page = yard.desk.tables.query("tracking", f"WS#default#RUN#{run}", prefix="POINTS#")
    return len(page.items)


def test_the_points_of_a_long_run_become_one_object() -> None:
    yard, run, points = long_run()
    assert compact_points(yard.call, run, yard.upkeep()) == len(points) + 1
    assert (chunks_of(yard, run), len(yard.objects())) == (0, 1)
    assert yard.history(run) == points
    assert yard.history(run, "other") == [(n, float(n)) for n in range(50)]


def test_a_short_run_is_left_as_it_is() -> None:
    yard, run, _ = long_run(CHUNKS - 1)
    assert compact_points(yard.call, run, yard.upkeep()) == 0
    assert yard.objects() == []


def test_one_metric_is_read_by_its_range_alone() -> None:
    yard, run, points = long_run()
    compact_points(yard.call, run, yard.upkeep())
    seen: list[int] = []

    class Ranged(ServedBlobs):
        def get_range(self, bucket: BucketName, key: str, start: int, length: int) -> bytes:
            seen.append(length)
            return yard.desk.blobs.get_range(bucket, key, start, length)

    store = MaintenanceStore(yard.desk.tables, yard.call, Ranged())
    assert len(list(store.points(run, "loss"))) == len(points)
    (name,) = yard.objects()
    assert len(seen) == 1
    assert seen[0] < yard.desk.blobs.size("lake", name)


def test_points_that_come_after_a_compaction_are_told_and_compacted_later() -> None:
    yard, run, points = long_run()
    compact_points(yard.call, run, yard.upkeep())
    more = [(1000 + step, step / 8) for step in range(CHUNKS + 1)]
    for step, value in more[:5]:
        yard.log(run, value, step)
    assert yard.history(run) == points + more[:5]
    for step, value in more[5:]:
        yard.log(run, value, step)
    assert compact_points(yard.call, run, yard.upkeep()) == len(more)
    assert yard.history(run) == points + more
    yard.sweep_later()
    assert len(yard.objects()) == 1
    assert yard.history(run) == points + more


def test_compacting_points_can_be_interrupted_at_any_call() -> None:
    finished = False
    for number in count():
        yard, run, points = long_run()
        try:
            compact_points(yard.call, run, yard.upkeep(stopping_at(number)))
            finished = True
        except Interrupted:
            assert yard.history(run) == points, number
        compact_points(yard.call, run, yard.upkeep())
        assert yard.history(run) == points, number
        assert chunks_of(yard, run) == 0, number
        yard.sweep_later()
        assert len(yard.objects()) == 1, number
        assert yard.history(run) == points, number
        if finished:
            break
    assert number > 5


@pytest.mark.parametrize("other", ["logs", "compacts"])
def test_points_logged_or_compacted_between_any_two_calls_are_not_lost(other: str) -> None:
    for number in count():
        yard, run, points = long_run()
        happened: list[bool] = []

        def act(yard: Yard = yard, run: str = run, happened: list[bool] = happened) -> None:
            happened.append(True)
            yard.log(run, 0.25, 5000)
            if other == "compacts":
                compact_points(yard.call, run, yard.upkeep())

        compact_points(yard.call, run, yard.upkeep(doing_at(number, act)))
        if not happened:
            break
        assert yard.history(run) == [*points, (5000, 0.25)], number
        yard.sweep_later()
        assert yard.history(run) == [*points, (5000, 0.25)], number
    assert number > 5


def test_the_points_of_a_run_that_goes_on_are_compacted_when_it_is_long() -> None:
    yard = Yard()
    run = yard.desk.run(yard.experiment, start_time=int(yard.wall.timestamp() * 1000))
    for step in range(WRITES + 1):
        yard.log(run, step / 4, step)
    before = yard.history(run)
    yard.compact(least=64)
    assert (chunks_of(yard, run), yard.heads("OPEN#")) == (0, [run])
    assert yard.history(run) == before


def test_settling_a_long_run_compacts_its_points() -> None:
    yard, run, points = long_run()
    yard.end(run)
    yard.compact()
    assert chunks_of(yard, run) == 0
    assert yard.history(run) == points
    yard.is_whole([run])
