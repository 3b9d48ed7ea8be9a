"""An erasure that is killed at any call, and delivered again, ends as one that was not; and others may be at work."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from support.interruptions import Killed

from features.erasure_cases import (
    ANN,
    BOB,
    EVE,
    NOW,
    START,
    World,
    csv_of,
    keys_of,
    places_with,
    populated,
    reviews,
    small,
    trips,
)
from modelwright.errors import AlreadyHandled, ConditionFailed
from modelwright.events import UploadAccepted
from modelwright.features.erasing import erasure
from modelwright.log import Log

_WRITES = ("write", "write_many", "delete_many", "put", "delete", "delete_versions", "copy")


class Mortal:
    """Tables or blobs at one of whose calls that write, counted together with others', the process dies."""

    def __init__(self, store: Any, clock: "Clock") -> None:
        self._store, self._clock = store, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._clock.around(found) if name in _WRITES else found


class Clock:
    """Counts calls, and dies before one of them: that is after the one before, whose answer nobody heard."""

    def __init__(self, dies: int = -1) -> None:
        self.calls, self._dies = 0, dies

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if number == self._dies:
                raise Killed
            return call(*arguments, **named)

        return counted


def mortal(world: World, clock: Clock) -> World:
    """Return the same world, whose stores die by a clock."""
    double = copy.copy(world)
    double.tables, double.blobs = Mortal(world.tables, clock), Mortal(world.blobs, clock)  # type: ignore[assignment]
    double.log, double.cache = Log(double.tables), {}
    return double


def deepcopied(world: World) -> World:
    """Return another world with the same state."""
    double = World()
    double.tables._items = copy.deepcopy(world.tables._items)
    double.tables._order = copy.deepcopy(world.tables._order)
    double.blobs._objects = copy.deepcopy(world.blobs._objects)
    double.blobs._deleted = set(world.blobs._deleted)
    return double


@pytest.fixture(scope="module")
def before() -> World:
    return small(World())


def test_killed_at_any_call_and_delivered_again_it_ends_the_same(before: World) -> None:
    whole, clock = deepcopied(before), Clock()
    delivery = whole.ask("passenger", ANN)
    asked = deepcopied(whole)
    erasure.follow(delivery, whole.call(), shop=mortal(whole, clock).shop())
    expected = whole.receipt(delivery)
    assert clock.calls > 50
    for dies in range(clock.calls):
        world = deepcopied(asked)
        with pytest.raises(Killed):
            erasure.follow(delivery, world.call(), shop=mortal(world, Clock(dies)).shop())
        erasure.follow(delivery, world.call(), shop=world.shop())
        assert world.deliveries_of(delivery) == 1, dies
        assert places_with(world, [ANN], keys_of(ANN)) == [], dies
        said = world.receipt(delivery)
        assert (said["rows"], said["datasets"]) == (expected["rows"], expected["datasets"]), dies
    with pytest.raises(AlreadyHandled):
        erasure.follow(delivery, whole.call(), shop=whole.shop())


def test_an_upload_that_is_being_folded_in_meanwhile_brings_nothing_back() -> None:
    world = World()
    rows = trips(8)
    world.receive("trips/1.csv", world.blobs.put("landing", "trips/1.csv", csv_of(rows)))
    (upload,) = world.deliveries(UploadAccepted)
    delivery = world.ask("passenger", ANN)
    erased: list[int] = []

    class Meanwhile:
        """Blobs after one of whose reads the erasure does all that it can."""

        def __init__(self) -> None:
            self.reads = 0

        def __getattr__(self, name: str) -> Any:
            found = getattr(world.blobs, name)
            if name != "get":
                return found

            def read(*arguments: Any) -> Any:
                answer = found(*arguments)
                self.reads += 1
                if self.reads == 1 and not erased:
                    erased.append(1)
                    with pytest.raises(Exception, match="waits for an upload"):
                        erasure.follow(delivery, world.call(), shop=world.shop())
                return answer

            return read

    other = copy.copy(world)
    other.blobs, other.cache = Meanwhile(), {}  # type: ignore[assignment]
    other.push("moods", [{"passenger": BOB, "felt_at": START, "mood": 1}])
    with pytest.raises(ConditionFailed):
        other.materialize(upload)
    other.materialize(upload)
    erasure.follow(delivery, world.call(), shop=world.shop())
    assert erased
    assert places_with(world, [ANN], keys_of(ANN)) == []
    asked = [{**{k: r[k] for k in ("trip_id", "passenger", "origin")}, "asked_at": NOW} for r in reviews(rows)]
    assert world.online(asked) == world.offline(asked)


def test_erasures_of_several_subjects_at_once_do_not_hinder_each_other() -> None:
    world = populated(World())
    deliveries = [world.ask("passenger", name) for name in (ANN, BOB)]
    for _ in range(300):
        over = 0
        for delivery in deliveries:
            budget = iter([True] * 2)
            job = erasure.Erasure(
                world.call(), delivery.event.erasure_id, world.shop(spare=lambda budget=budget: next(budget, False))
            )
            over += job.run()
        if over == 2:
            break
    assert places_with(world, [ANN, BOB], [*keys_of(ANN), *keys_of(BOB)]) == []
    asked = [
        {**{k: r[k] for k in ("trip_id", "passenger", "origin")}, "asked_at": NOW}
        for r in reviews(trips())
        if r["passenger"] == EVE
    ]
    assert world.online(asked) == world.offline(asked)
