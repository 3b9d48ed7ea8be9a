"""The latest views of many rows at once: which version each of them is served.

Versions are in order of entity, event, availability, arrival and key, and a binary search finds the last event of each
request. Versions that were not known then, or not any more, are stepped over: first one by one, then by a tree
over blocks of them that says from when one of a block was known, and until when.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelwright.features.aggregates import NEVER
from modelwright.features.encoding import packed
from modelwright.features.history import ARRIVAL, AVAILABLE, KEY, UNTIL, Ints, arrival_ranks, numbers
from modelwright.project import Source, View

Mask = npt.NDArray[np.bool_]
_STEPS = 4


class Newest:
    """A view's versions, ready to be searched.

    Args:
        view: the view.
        source: its source.
        rows: versions of the source's rows.
        codes: of their entities.
        available: whether a version counts only from when it became known until the next one did.
    """

    def __init__(self, view: View, source: Source, rows: pa.Table, codes: Ints, *, available: bool) -> None:
        self._ttl_us = view.ttl_us
        events = rows[source.event_time]
        usable = (codes >= 0) & np.asarray(events.is_valid())
        until = numbers(rows[UNTIL])
        usable &= numbers(rows[AVAILABLE]) < until if available else until == NEVER
        places = np.flatnonzero(usable)
        times = numbers(events.cast(pa.int64()).fill_null(0))[places]
        self._ranks: Ints | None = None
        self._first = int(times.min()) if len(times) else 0
        self._width = int(times.max()) - self._first + 2 if len(times) else 2
        mine = codes[places]
        if len(mine) and (int(mine.max()) + 1) * self._width >= 2**62:
            self._ranks, ranks = np.unique(times, return_inverse=True)
            self._width = len(self._ranks) + 1
            keys = packed(mine, ranks + 1, self._width)
        else:
            keys = packed(mine, times - self._first + 1, self._width)
        order = np.argsort(keys)
        self._keys = keys[order]
        self._order = _settled(rows, places[order], self._keys)
        self._known = numbers(rows[AVAILABLE])[self._order] if available else None
        self._until = until[self._order] if available else np.empty(0, np.int64)
        self._some_ended = bool((self._until != NEVER).any())

    @property
    def nbytes(self) -> int:
        """How much memory this takes."""
        return 6 * self._keys.nbytes

    def at(self, codes: Ints, times: Ints, asked: Mask) -> Ints:
        """Return the row that each request is served; -1 for none."""
        if not len(self._keys):
            return np.full(len(codes), -1)
        held = np.maximum(codes, 0)
        oldest = np.minimum(self._offsets(times - self._ttl_us, "left"), self._width) if self._ttl_us else 1
        last = packed(held, np.minimum(self._offsets(times, "right"), self._width - 1), self._width)
        order = np.argsort(last)  # what is searched in order is found much faster
        last, first = last[order], cast(Ints, (held * self._width + oldest)[order])
        place = np.searchsorted(self._keys, last, side="right") - 1
        sought = (asked & (codes >= 0))[order]
        place = np.where(sought & (place >= 0) & (self._keys[place] >= first), place, -1)
        if self._known is not None:
            place = self._visible(place, first, times[order])
        found = np.empty(len(codes), dtype=np.int64)
        found[order] = np.where(place >= 0, self._order[place], -1)
        return found

    def _offsets(self, times: Ints, side: str) -> Ints:
        """Return where times lie among the events: the last one not after them, or the first one not before them."""
        if self._ranks is not None:
            found = np.searchsorted(self._ranks, times, side=side)  # type: ignore[call-overload]
            return cast(Ints, found + (side == "left"))
        return np.clip(times - self._first + 1, 0 if side == "right" else 1, self._width)

    def _visible(self, place: Ints, first: Ints, times: Ints) -> Ints:
        """Step back from each place to the first version that was known at its time, not before the key ``first``."""
        hidden = self._hidden(np.maximum(place, 0), times) & (place >= 0)
        waiting = np.flatnonzero(hidden)
        for _ in range(_STEPS):
            if not len(waiting):
                return place
            back = place[waiting] - 1
            over = (back < 0) | (self._keys[back] < first[waiting])
            place[waiting] = np.where(over, -1, back)
            waiting = waiting[~over]
            waiting = waiting[self._hidden(place[waiting], times[waiting])]
        begin = np.searchsorted(self._keys, first[waiting], side="left")
        place[waiting] = self._leap(place[waiting], begin, times[waiting])
        return place

    def _hidden(self, place: Ints, times: Ints) -> Mask:
        """Say which versions were not known at a time, or not any more."""
        assert self._known is not None
        late = self._known[place] > times
        return late | (self._until[place] <= times) if self._some_ended else late

    def _leap(self, place: Ints, first: Ints, times: Ints) -> Ints:
        """Find the last visible version from ``first`` to each place: up the tree while a block has none, else down."""
        found = np.full(len(place), -1)
        waiting, at, level = np.arange(len(place)), place.copy(), np.zeros(len(place), dtype=np.int64)
        while len(waiting):
            left = (at >= 0) & ((at << level) + (np.int64(1) << level) - 1 >= first[waiting])
            waiting, at, level = waiting[left], at[left], level[left]
            node = self._starts[level] + at
            may = (self._tree[0][node] <= times[waiting]) & (self._tree[1][node] > times[waiting])
            hit = may & (level == 0)
            found[waiting[hit]] = at[hit]
            waiting, at, level, may = waiting[~hit], at[~hit], level[~hit], may[~hit]
            next_at = np.where(may, 2 * at + 1, at - 1)
            level = np.where(may, level - 1, level)
            up = ~may & (next_at & 1 == 1) & (level < len(self._starts) - 1)
            at, level = np.where(up, next_at >> 1, next_at), np.where(up, level + 1, level)
        return found

    @cached_property
    def _starts(self) -> Ints:
        sizes = [len(self._keys)]
        while sizes[-1] > 1:
            sizes.append(-(-sizes[-1] // 2))
        return np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int64)

    @cached_property
    def _tree(self) -> tuple[Ints, Ints]:
        """Over blocks of 2^n versions: from when one of them was known, and until when; level by level."""
        assert self._known is not None
        known, until = [self._known], [self._until]
        while len(known[-1]) > 1:
            known.append(_pairs(known[-1], NEVER, np.minimum))
            until.append(_pairs(until[-1], -NEVER, np.maximum))
        return np.concatenate(known), np.concatenate(until)


def _pairs(values: Ints, filling: int, of_two: np.ufunc) -> Ints:
    even = np.concatenate([values, [filling]]) if len(values) % 2 else values
    return cast(Ints, of_two(even[::2], even[1::2]))


def _settled(rows: pa.Table, order: Ints, keys: Ints) -> Ints:
    """Put versions with the same entity and event in order of availability, arrival and key."""
    same = np.flatnonzero(keys[1:] == keys[:-1])
    if not len(same):
        return order
    tied = np.union1d(same, same + 1)
    places = order[tied]
    some: Sequence[str] = (AVAILABLE, ARRIVAL, KEY)
    chosen = rows.select(some).take(pa.array(places))
    ranks = np.lexsort((np.asarray(chosen[KEY]), arrival_ranks(chosen), numbers(chosen[AVAILABLE]), keys[tied]))
    order[tied] = places[ranks]
    return order
