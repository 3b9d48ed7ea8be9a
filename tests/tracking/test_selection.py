"""Searches of runs, held against what going through all runs finds."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snapshots import World

NUMBERS = st.sampled_from([0.5, -2.0, math.nan, math.nan]) | st.floats(allow_infinity=False)
WORDS = st.sampled_from(["a", "b", "B", "é", "", "a\U0001f600"]) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), max_size=3
)
COMPARISONS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
ORDERS = (
    "metrics.a", "metrics.b", "params.p", "tags.t", "attributes.start_time", "attributes.end_time",
    "attributes.run_id", "attributes.status", "attributes.run_name",
)  # fmt: skip


CLAUSES = st.one_of(
    st.builds("metrics.{} {} {}".format, st.sampled_from("ab"), COMPARISONS, st.sampled_from([0.5, 1, -2, 0])),
    st.builds(
        "{} {} {}".format, st.sampled_from(["params.p", "tags.t", "tags.none", "attributes.run_name"]),
        st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
        st.sampled_from(["a", "b", "B", "%", "_", "n1", "%a%", "é"]).map("'{}'".format),
    ),
    st.sampled_from([
        "params.p IS NULL", "tags.t IS NOT NULL", "datasets.name = 'x'", "datasets.name IN ('y', 'z')",
        "dataset.context LIKE 't%'", "datasets.digest != 'd-x'", "attributes.start_time >= 2",
        "attributes.end_time > 5", "attributes.status = 'FINISHED'", "start_time < 3",
    ]),
)  # fmt: skip
QUERIES = st.fixed_dictionaries(
    {
        "filter": st.lists(CLAUSES, max_size=2).map(" AND ".join),
        "order_by": st.lists(st.sampled_from(ORDERS), max_size=3, unique=True).flatmap(
            lambda keys: st.tuples(*(st.sampled_from([key, f"{key} DESC"]) for key in keys)).map(list)
        ),
        "run_view_type": st.sampled_from(["ACTIVE_ONLY", "ACTIVE_ONLY", "ALL", "DELETED_ONLY"]),
    }
)
RUN_CONTENTS = st.fixed_dictionaries(
    {
        "start": st.integers(0, 4),
        "which": st.sampled_from([0, 0, 1]),
        "part": st.integers(0, 4),
        "metrics": st.dictionaries(st.sampled_from("ab"), NUMBERS),
        "params": st.dictionaries(st.just("p"), WORDS),
        "tags": st.dictionaries(st.just("t"), WORDS),
        "datasets": st.sampled_from(["", "", "x", "xy", "z"]),
        "end": st.none() | st.integers(3, 7),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), st.integers(0, 1), st.sets(st.integers(0, 11)), st.booleans()),
        st.tuples(st.just("merge"), st.integers(0, 1)),
        st.tuples(st.just("log"), st.integers(0, 11), NUMBERS, WORDS),
        st.tuples(st.just("move"), st.integers(0, 11), st.sampled_from(["delete", "restore"])),
        st.tuples(st.just("experiment"), st.integers(0, 1)),
        st.tuples(st.just("begin"), st.integers(0, 4), NUMBERS),
    ),
    max_size=6,
)


def populate(world: World, contents: Sequence[dict[str, Any]]) -> None:
    for content in contents:
        run_id = world.begin(content["start"], content["which"])
        world.log(run_id, content["metrics"], content["params"], content["tags"])
        if content["datasets"]:
            world.read(run_id, content["datasets"], "training" if content["start"] else "")
        if content["end"] is not None:
            world.end(run_id, content["end"])
    parts = {run_id: content["part"] for run_id, content in zip(world.run_ids, contents, strict=True)}
    for which, part in product(range(2), range(1, 5)):
        world.settle(which, lambda run_id, part=part: parts[run_id] == part)  # type: ignore[misc]


def act(world: World, step: tuple[Any, ...]) -> set[str]:
    """Do something and return the runs that it changed."""
    kind, *what = step
    if kind == "settle":
        places = {world.run_ids[n % len(world.run_ids)] for n in what[1]} if world.run_ids else set()
        world.settle(what[0], places.__contains__, interrupted=what[2])
        return set()
    if kind == "merge":
        world.merge(what[0])
        return set()
    if kind == "experiment":
        experiment = world.store.experiment(world.experiments[what[0]])
        assert experiment is not None
        world.move_experiment(what[0], "delete" if experiment.lifecycle_stage == "active" else "restore")
        return set(world.run_ids)
    if kind == "begin":
        experiment = world.store.experiment(world.experiments[0])
        assert experiment is not None
        if experiment.lifecycle_stage != "active":
            return set()
        run_id = world.begin(what[0], 0)
        world.log(run_id, {"a": what[1]}, {}, {})
        return {run_id}
    if not world.run_ids:
        return set()
    run_id = world.run_ids[what[0] % len(world.run_ids)]
    run = world.store.run(run_id)
    experiment = world.store.experiment(run.experiment_id)
    assert experiment is not None
    if experiment.lifecycle_stage != "active":
        return set()
    if kind == "move":
        world.move(run_id, what[1])
    elif run.lifecycle_stage == "active":
        world.log(run_id, {"a": what[1]}, {}, {"t": what[2]})
    return {run_id}


@settings(max_examples=100, deadline=None)
@given(st.lists(RUN_CONTENTS, max_size=12), STEPS, STEPS, QUERIES, st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_search_finds_what_going_through_all_runs_finds(
    contents: list[dict[str, Any]], steps: Any, more: Any, said: dict[str, Any], sizes: list[int]
) -> None:
    world = World()
    populate(world, contents)
    for step in [*steps, *more]:
        act(world, step)
    wanted = [world.told(run) for run in world.expected(said)]
    assert world.search(**said) == (wanted, "")
    pages = list(world.pages(sizes, **said))
    assert [run for page in pages for run in page] == wanted
    assert all(len(page) == sizes[n % len(sizes)] for n, page in enumerate(pages[:-1]))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(RUN_CONTENTS, min_size=1, max_size=12), STEPS, st.lists(STEPS, max_size=6), QUERIES,
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
)  # fmt: skip
def test_what_did_not_change_comes_once_however_much_is_written_between_pages(
    contents: list[dict[str, Any]], steps: Any, between: Any, said: dict[str, Any], sizes: list[int]
) -> None:
    world, changed, seen = World(), set[str](), list[str]()
    populate(world, contents)
    for step in steps:
        act(world, step)
    for number, page in enumerate(world.pages(sizes, **said)):
        seen += [run["info"]["run_id"] for run in page]
        for step in between[number] if number < len(between) else ():
            changed |= act(world, step)
    steady = [run.run_id for run in world.expected(said) if run.run_id not in changed]
    assert [run_id for run_id in seen if run_id not in changed] == steady


@pytest.mark.parametrize("settled", [False, True])
def test_a_run_that_was_deleted_comes_back_with_its_experiment(settled: bool) -> None:
    world = World()
    for epoch in range(2):
        first, second = world.begin(1, 0), world.begin(2, 0)
        world.move(first, "delete")
        world.settle(0, lambda _: settled)
        seen = {
            view: {run["info"]["run_id"] for run in world.search(run_view_type=view)[0]}
            for view in ("ACTIVE_ONLY", "DELETED_ONLY")
        }
        assert (first in seen["DELETED_ONLY"], second in seen["ACTIVE_ONLY"], len(seen["DELETED_ONLY"])) == (
            True,
            True,
            1,
        )
        world.move_experiment(0, "delete")
        found, _ = world.search(run_view_type="DELETED_ONLY")
        assert [run["info"]["lifecycle_stage"] for run in found] == ["deleted"] * 2 * (epoch + 1)
        assert world.search() == ([], "")
        world.move_experiment(0, "restore")
        assert len(world.search()[0]) == 2 * (epoch + 1)
        assert world.search(run_view_type="DELETED_ONLY") == ([], "")


def test_runs_of_one_time_come_once_each_over_parts_of_other_times() -> None:
    world = World()
    for start in (1, 1, 5, 5, 5, 9, 9):
        world.begin(start, 0)
    for chosen in ((0, 1), (2, 3, 4), (5, 6)):
        world.settle(0, {world.run_ids[number] for number in chosen}.__contains__)
    wanted = [run.run_id for run in world.expected({"filter": "", "order_by": [], "run_view_type": "ALL"})]
    for said in ({}, {"filter": "start_time > 0"}):
        for size in range(1, 8):
            assert [run["info"]["run_id"] for page in world.pages([size], **said) for run in page] == wanted


def test_runs_that_are_alike_come_once_each_wherever_they_are() -> None:
    world = World()
    for _ in range(9):
        world.begin(1, 0)
    ordered = sorted(world.run_ids)
    for part in (0, 1):
        world.settle(0, set(ordered[part::3]).__contains__)
    for said in ({"order_by": ["metrics.a"]}, {"order_by": ["tags.none DESC", "start_time"]}, {}):
        for size in range(1, 10):
            assert [run["info"]["run_id"] for page in world.pages([size], **said) for run in page] == ordered


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_that_was_settled_before_is_told_as_it_is_now(interrupted: bool) -> None:
    world = World()
    other, run_id = world.begin(1, 0), world.begin(2, 0)
    for value in (1.0, 2.0, 3.0):
        world.log(run_id, {"a": value}, {}, {})
        open_ones = world.search(order_by=["metrics.a"])
        assert [run["info"]["run_id"] for run in open_ones[0]] == [run_id, other]
        world.settle(0, lambda _: True, interrupted=interrupted)
        assert world.search(order_by=["metrics.a"]) == open_ones
        assert world.search() == open_ones
        assert [run["data"]["metrics"][0]["value"] for run in world.search(filter="metrics.a != 0")[0]] == [value]
    world.merge(0)
    assert world.search(order_by=["metrics.a"]) == open_ones
