"""Why served and offline values differ: hypotheses, each tried out by computing again.

A hypothesis is a cause with its circumstances ("as of 5 h earlier"), and the differences that it explains: those whose
served value comes out, to the bit, when the features are computed under these circumstances. Late data and another
version of the code are documented, by arrivals and by digests, and come first. Of the others the one
that explains most comes next, so that a fault that is everywhere is not taken for coincidences; a shift in time or a
later row, of which there are many to try, is believed only if it explains half of what is left of a feature.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.declarations import MINUTE_US
from modelwright.features.history import ARRIVAL, AVAILABLE, Ints, numbers
from modelwright.features.parity.case import Case, Hypothesis, direct, matching
from modelwright.features.parity.moments import leaks, source_zones, zones
from modelwright.features.parity.report import Cause
from modelwright.features.parity.rows import Difference, Recomputation, altered, same

IN_FLIGHT_US = 15 * MINUTE_US
"""Accepted rows are on their way for as long as a function may run."""
_FILLERS: tuple[Any, ...] = (0, 0.0, False, "")
_ORDER: tuple[Cause, ...] = get_args(Cause)
_GUESSED: frozenset[Cause] = frozenset({"leak through the join", "time zone"})


class Explained(NamedTuple):
    """A difference, and what explains it."""

    difference: Difference
    cause: Cause
    text: str
    also: tuple[Cause, ...] = ()


def explained(case: Case) -> list[Explained]:
    """Return every difference with its cause."""
    found: dict[int, Explained] = {}
    for hypothesis in (*_late(case), *_versions(case)):
        _settle(case, hypothesis, (), found)
    for kinds in ((_widths, _fills, leaks, zones), (source_zones,)):
        if len(found) < len(case.differences):
            _tried(case, [hypothesis for kind in kinds for hypothesis in kind(case)], found)
    return [
        found.get(n) or Explained(difference, "unexplained", _unexplained(case, difference))
        for n, difference in enumerate(case.differences)
    ]


def _tried(case: Case, hypotheses: Sequence[Hypothesis], found: dict[int, Explained]) -> None:
    """Take the hypothesis that explains most of what is left, again and again."""
    while hypotheses:
        left = [_believed(case, hypothesis, found) for hypothesis in hypotheses]
        best = min(range(len(left)), key=lambda n: (-len(left[n]), _ORDER.index(hypotheses[n].cause)))
        if not left[best]:
            return
        chosen = hypotheses[best]
        also = (h.cause for h, mine in zip(hypotheses, left, strict=True) if mine >= left[best])
        others = tuple(cause for cause in dict.fromkeys(also) if cause != chosen.cause)
        _settle(case, chosen._replace(explains=left[best]), others, found)


def _settle(case: Case, hypothesis: Hypothesis, also: tuple[Cause, ...], found: dict[int, Explained]) -> None:
    for n in hypothesis.explains - found.keys():
        found[n] = Explained(case.differences[n], hypothesis.cause, hypothesis.text, also)


def _believed(case: Case, hypothesis: Hypothesis, found: Mapping[int, Explained]) -> frozenset[int]:
    """Return what a hypothesis explains of what is left; of a guess, only where that is half of a feature.

    A guess that explains nulls alone is none: a null is the easiest thing to come out by chance.
    """
    news = hypothesis.explains - found.keys()
    if hypothesis.cause not in _GUESSED:
        return news
    if all(case.differences[n].served is None for n in news):
        return frozenset()
    left: dict[str, int] = {}
    for n, difference in enumerate(case.differences):
        left[difference.feature] = left.get(difference.feature, 0) + (n not in found)
    mine: dict[str, int] = {}
    for n in news:
        name = case.differences[n].feature
        mine[name] = mine.get(name, 0) + 1
    return frozenset(n for n in news if 2 * mine[case.differences[n].feature] >= left[case.differences[n].feature])


def _unexplained(case: Case, difference: Difference) -> str:
    digest = case.sample.projects[difference.row] if case.sample.projects else ""
    if digest and digest != case.current.project.digest and case.former(digest) is None:
        return f"it was served by the project {digest[:12]}, which is not kept"
    return "no hypothesis gives what was served"


# --- documented --------------------------------------------------------------------------


def _late(case: Case) -> Iterator[Hypothesis]:
    if not case.sample.arrivals:
        return
    for back, text in ((0, "it came after the moment, though it says it was available before"),
                       (IN_FLIGHT_US, "it had come, and was not materialized yet")):  # fmt: skip
        values, places = _without_late(case, case.current, range(len(case.sample.rows)), back)
        yield Hypothesis("late data", text, matching(case, values, places))


def _without_late(
    case: Case, by: Recomputation, rows: Iterable[int], back: int
) -> tuple[dict[str, list[Any]], list[int]]:
    """Return features without what came late, and of which rows: those for which something did."""
    came = {source: _arrivals(table) for source, table in by.tables.items()}
    available = {source: numbers(table[AVAILABLE]) for source, table in by.tables.items()}
    groups: dict[int, list[int]] = {}
    for row in rows:
        known = _came_by(case.sample.arrivals[row]) - back
        if any(((came[s] > known) & (available[s] <= case.sample.as_of[row])).any() for s in came):
            groups.setdefault(known, []).append(row)
    values: dict[str, list[Any]] = {name: [] for name in by.features}
    places: list[int] = []
    for known, of_group in groups.items():
        tables = {s: altered(table.filter(pa.array(came[s] <= known))) for s, table in by.tables.items()}
        taken = case.sample.taken(of_group)
        for name, column in by.values(taken.rows, np.asarray(taken.as_of, dtype=np.int64), tables).items():
            values[name] += column
        places += of_group
    return values, places


def _arrivals(table: pa.Table) -> Ints:
    return np.array([_came_by(arrival) for arrival in table[ARRIVAL].to_pylist()], dtype=np.int64)


def _came_by(arrival: str) -> int:
    return int(arrival.partition("#")[0])


def _versions(case: Case) -> Iterator[Hypothesis]:
    groups: dict[str, list[int]] = {}
    for row, digest in enumerate(case.sample.projects):
        if digest and digest != case.current.project.digest:
            groups.setdefault(digest, []).append(row)
    for digest, rows in groups.items():
        former = case.former(digest)
        if former is None:
            continue
        text = f"the project {digest[:12]}, which served it, gives that; it is {case.current.project.digest[:12]} now"
        taken = case.sample.taken(rows)
        values = former.values(taken.rows, np.asarray(taken.as_of, dtype=np.int64))
        yield Hypothesis("code version", text, matching(case, values, rows))
        if case.sample.arrivals:
            values, places = _without_late(case, former, rows, 0)
            yield Hypothesis("code version", f"{text}, without what came late", matching(case, values, places))


# --- values ------------------------------------------------------------------------------


def _widths(case: Case) -> Iterator[Hypothesis]:
    stored = case.current.stored(case.sample.rows, case.as_of)
    computed = case.current.finished(case.sample.rows, stored, _narrowed)
    twice = {name: [_narrowed(value) for value in values] for name, values in computed.items()}
    explains = direct(case, _narrower) | matching(case, computed) | matching(case, twice)
    yield Hypothesis("float width", "equal after rounding to 32 bits", explains)
    yield Hypothesis("float width", "an integer is a float", direct(case, _floated))


def _narrower(left: Any, right: Any) -> bool:
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (left, right))
    return bool(numeric and left != right and _narrowed(float(left)) == _narrowed(float(right)))


def _floated(left: Any, right: Any) -> bool:
    return {type(left), type(right)} == {int, float} and left == right


def _narrowed(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _fills(case: Case) -> Iterator[Hypothesis]:
    stored = case.current.stored(case.sample.rows, case.as_of)
    for filler in _FILLERS:
        filled = case.current.finished(case.sample.rows, stored, partial(_filled, filler))
        explains = direct(case, partial(_stands_for_null, filler)) | matching(case, filled)
        yield Hypothesis("null fill", f"{filler!r} stands for null", explains)
    for name, place in case.current.plan.stored.items():
        view = case.current.project.views[place.view]
        table = case.current.tables[view.source]
        if place.feature in view.features and table[place.feature].null_count:
            known = altered(table.filter(pc.is_valid(table[place.feature])))
            last = case.current.stored(case.sample.rows, case.as_of, {**case.current.tables, view.source: known})
            mixed = [{**row, name: one[name]} for row, one in zip(stored, last, strict=True)]
            values = case.current.finished(case.sample.rows, mixed)
            yield Hypothesis("null fill", f"the last value of {name} stands for null", matching(case, values))


def _filled(filler: Any, value: Any) -> Any:
    return filler if value is None else value


def _stands_for_null(filler: Any, left: Any, right: Any) -> bool:
    return (left is None and same(right, filler)) or (right is None and same(left, filler))
