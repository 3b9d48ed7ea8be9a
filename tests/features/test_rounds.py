"""Rounds: what is wrong with one thing keeps no other from its turn, and is not kept quiet."""

from collections.abc import Callable, Mapping
from functools import partial

import pytest
from support.interruptions import Killed

from modelwright.features.rounds import go_round


def part(done: list[int], wrong: Mapping[int, BaseException], number: int) -> None:
    done.append(number)
    if number in wrong:
        raise wrong[number]


def parts(done: list[int], wrong: Mapping[int, BaseException]) -> list[Callable[[], object]]:
    return [partial(part, done, wrong, number) for number in range(5)]


def test_each_part_is_done_in_order_and_a_traceback_shows_all_errors() -> None:
    done, first, last = list[int](), OSError("the first"), KeyError("the last")
    with pytest.raises(KeyError) as raised:
        go_round(parts(done, {1: first, 3: last}))
    assert done == [0, 1, 2, 3, 4]
    assert (raised.value, raised.value.__context__) == (last, first)


def test_an_error_is_raised_though_the_parts_after_it_succeed() -> None:
    done = list[int]()
    with pytest.raises(OSError, match="the first"):
        go_round(parts(done, {0: OSError("the first")}))
    assert done == [0, 1, 2, 3, 4]
    go_round(parts(done, {}))


def test_who_is_killed_does_nothing_more() -> None:
    done = list[int]()
    with pytest.raises(Killed):
        go_round(parts(done, {2: Killed()}))
    assert done == [0, 1, 2]
