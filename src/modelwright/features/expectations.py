"""Whether a feature's values are what its view expects: judged with each batch of rows that is materialized.

A column that is served as it is is judged by the values of the rows that came; an aggregation by what is served to
their entities once its windows hold these rows. What is not as expected is served nevertheless, and told once, until a
batch of the feature is as expected again. The item ``EXPECTATIONS`` of a source, in the features table, remembers which
are not; it is written with the source's manifest, whose version keeps writers apart.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import ModelwrightError
from modelwright.events import Event, ExpectationBroken, ExpectationMet, Window
from modelwright.features.bounds import LAST_US
from modelwright.features.layout import micros, moment, source_key
from modelwright.features.online import lookup
from modelwright.log import Happened, stream_of
from modelwright.project import Expected, Project, View
from modelwright.storage import Anything, Put, Tables, Write

ENTITIES = 500
"""Of a batch, so many entities are asked for what is served to them."""


class Judged(NamedTuple):
    """What to commit with the batch."""

    events: Sequence[Happened] = ()
    writes: Sequence[Write] = ()


def judge(project: Project, source: str, rows: pa.Table, *, call: Call, tables: Tables) -> Judged:
    """Compare a batch's features with what is expected of them.

    Args:
        project: declares the expectations.
        source: whose rows.
        rows: versions that are new in the store, which are online.
        call: as of when.
        tables: the online store.
    """
    views = {n: view for n, view in project.views.items() if view.source == source}
    item = tables.get("features", source_key(call.workspace, source, "EXPECTATIONS"))
    before: dict[str, str] = json.loads(item["broken"]) if item else {}
    if not rows.num_rows or not (before or any(view.expected for view in views.values())):
        return Judged()
    window = _window(rows, project.sources[source].event_time)
    after = {name: text for name, text in before.items() if _expected(views, name)}
    events = [_happened(call, name, None, window) for name in before if name not in after]
    for name, view in views.items():
        for feature, text in _texts(project, name, view, rows, call, tables):
            called = f"{name}:{feature}"
            if bool(text) != (called in after):
                events.append(_happened(call, called, text, window))
            after = {**{k: v for k, v in after.items() if k != called}, **({called: text} if text else {})}
    if after == before:
        return Judged(events)
    stored = {**source_key(call.workspace, source, "EXPECTATIONS")._asdict(), "broken": json.dumps(after)}
    return Judged(events, [Put("features", stored, Anything())])


def _expected(views: Mapping[str, View], name: str) -> bool:
    view, _, feature = name.partition(":")
    return view in views and feature in views[view].expected


def _texts(
    project: Project, name: str, view: View, rows: pa.Table, call: Call, tables: Tables
) -> Iterator[tuple[str, str]]:
    """Yield each feature of which something is expected, with what is wrong with it; empty if nothing is."""
    kept = [feature for feature in view.expected if feature in view.features]
    for feature in kept:
        yield feature, _fault(view.expected[feature], rows[feature])
    if rolled := [feature for feature in view.expected if feature not in kept]:
        served = _served(project, name, view, rolled, rows, call, tables)
        for feature in rolled:
            if len(served[feature]):
                yield feature, _fault(view.expected[feature], served[feature])


def _served(
    project: Project, name: str, view: View, features: Sequence[str], rows: pa.Table, call: Call, tables: Tables
) -> dict[str, pa.Array]:
    keys = rows.select(list(view.entity)).drop_null().group_by(list(view.entity)).aggregate([])
    asked = keys.slice(0, ENTITIES).to_pylist()
    ends = moment((micros(call.now) // view.tile_us + 1) * view.tile_us)
    if not asked:
        return {feature: pa.array([], pa.float64()) for feature in features}
    try:
        found = lookup(project, {name: features}, asked, as_of=ends, tables=tables, workspace=call.workspace)[name]
    except (
        ModelwrightError
    ):  # nobody is served these: the online store does not go back so far, or a backfill is to come
        return {feature: pa.array([], pa.float64()) for feature in features}
    return {feature: _array(list(found.of_rows(found.features[feature].values))) for feature in features}


def _array(values: Sequence[Any]) -> Any:
    try:
        return pa.array(values)
    except OverflowError:  # sums of integers know no bound
        return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _fault(expected: Expected, values: Any) -> str:
    """Return what is wrong with values in words; empty if nothing is."""
    faults = []
    share = values.null_count / len(values)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if expected.missing is not None and share > expected.missing:
        faults.append(f"{share:.1%} of {len(values)} are missing, {expected.missing:.1%} may be")
    if (expected.low, expected.high) != (None, None) and not _comparable(values.type):
        return "; ".join([*faults, f"a {values.type} is neither low nor high: expect numbers only of numbers"])
    if expected.low is not None and (below := _count(pc.less(values, expected.low))):
        faults.append(f"{below} of {len(values)} are below {expected.low:g}, down to {pc.min(values).as_py():g}")
    if expected.high is not None and (above := _count(pc.greater(values, expected.high))):
        faults.append(f"{above} of {len(values)} are above {expected.high:g}, up to {pc.max(values).as_py():g}")
    return "; ".join(faults)


def _comparable(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _count(mask: Any) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _happened(call: Call, name: str, text: str | None, window: Window) -> Happened:
    view, _, feature = name.partition(":")
    event: Event = ExpectationMet(view=view, feature=feature, window=window)
    if text:
        event = ExpectationBroken(view=view, feature=feature, text=text, window=window)
    return Happened(stream_of(call.workspace, "VIEW", view), event)


def _window(rows: pa.Table, event_time: str) -> Window:
    ends = pc.min_max(rows[event_time].cast(pa.int64()))
    return Window(start=moment(ends["min"].as_py() or 0), end=moment(min((ends["max"].as_py() or 0) + 1, LAST_US)))
