"""Roots: what they list, when they are written, and that they prove what the log was."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from governance.desk import START, Desk
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import ConditionFailed
from modelwright.events import RootAnchored
from modelwright.governance.anchoring import (
    NEWEST,
    anchor,
    anchored_at,
    first_from,
    known_heads,
    last_until,
    newest_anchored,
    newest_root,
)
from modelwright.governance.verifier import root_faults, verify
from modelwright.log import Log, stream_of
from modelwright.storage import Anything, Page, Put, TableName, Write, every

A, B = stream_of("default", "MODEL", "a"), stream_of("default", "MODEL", "b")
AUDIT = stream_of("default", "AUDIT", "roots")


def anchored(desk: Desk) -> RootAnchored | None:
    return anchor(desk.call, wall=desk.wall, tables=desk.tables, blobs=desk.blobs, log=desk.log)


def roots(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(desk.blobs.get("audit", row.key).body) for row in desk.blobs.list("audit", "roots/")]


def test_a_root_lists_the_head_of_every_stream() -> None:
    desk = Desk()
    desk.happen("a", "a", "b")
    event = anchored(desk)
    (root,) = roots(desk)
    heads = {stream: [head.envelope.sequence, head.hash] for stream in (A, B) if (head := desk.log.head(stream))}
    assert root["heads"] == heads
    assert event is not None
    assert (event.streams, event.items, event.root) == (2, 3, root["root"])
    assert event.key == f"roots/2026/05/01/00000001-{root['root'][:16]}.json"
    assert newest_root(tables=desk.tables, blobs=desk.blobs) == root


def test_that_a_root_was_written_is_in_the_log_itself() -> None:
    desk = Desk()
    desk.happen("a")
    event = anchored(desk)
    (item,) = desk.log.read(AUDIT)
    assert RootAnchored.model_validate(item.envelope.data) == event


def test_nothing_new_is_no_new_root() -> None:
    desk = Desk()
    assert anchored(desk) is None
    desk.happen("a")
    assert anchored(desk) is not None
    desk.wait(hours=1)
    assert anchored(desk) is None
    assert len(roots(desk)) == 1


def test_a_root_can_be_asked_for_though_nothing_is_new() -> None:
    desk = Desk()
    given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "log": desk.log}
    assert anchor(desk.call, wall=desk.wall, anew=True, **given) is None, "nothing was ever written"
    desk.happen("a")
    anchored(desk)
    desk.wait(minutes=1)
    assert anchor(desk.call, wall=desk.wall, anew=True, **given) is not None
    desk.wait(minutes=1)
    assert anchored(desk) is None, "that a root was written needs no other"
    assert [root["number"] for root in roots(desk)] == [1, 2]


def test_that_another_workspace_asked_for_a_root_needs_no_other_root() -> None:
    desk = Desk()
    desk.happen("a")
    anchored(desk)
    desk.wait(minutes=1)
    given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "log": desk.log}
    event = anchor(replace(desk.call, workspace="other"), wall=desk.wall, anew=True, **given)
    assert event is not None
    assert (event.streams, event.items) == (0, 0), "what others have is not for this workspace to know"
    desk.wait(minutes=1)
    assert anchored(desk) is None


def test_the_first_root_has_streams_that_nobody_writes_to_any_more() -> None:
    desk = Desk()
    desk.happen("old", "old")
    for _ in range(10):
        desk.wait(days=29)
        desk.happen("busy")
    anchored(desk)
    (root,) = roots(desk)
    assert {stream: head[0] for stream, head in root["heads"].items()} == {
        stream_of("default", "MODEL", "old"): 2, stream_of("default", "MODEL", "busy"): 10
    }  # fmt: skip


class Counted(MemoryTables):
    """Tables that count queries."""

    queries = 0

    def query(self, *args: Any, **options: Any) -> Page:
        self.queries += 1
        return super().query(*args, **options)


def test_an_empty_log_is_looked_through_once_and_then_only_what_is_new() -> None:
    tables = Counted()
    desk = Desk(tables=tables)
    assert anchored(desk) is None
    first, tables.queries = tables.queries, 0
    for _ in range(48):
        desk.wait(hours=1)
        assert anchored(desk) is None
    assert first == 30 * 24 * 4
    assert tables.queries <= 48 * 26 * 4
    assert newest_root(tables=tables, blobs=desk.blobs) is None
    assert newest_anchored(tables) is None
    desk.happen("a")
    assert anchored(desk) is not None


def test_where_nothing_happens_a_look_goes_back_a_day_and_not_to_the_last_root() -> None:
    tables = Counted()
    desk = Desk(tables=tables)
    desk.happen("a")
    anchored(desk)
    for _ in range(6 * 24):
        desk.wait(hours=1)
        tables.queries = 0
        assert anchored(desk) is None
        assert tables.queries <= 26 * 4
    desk.happen("b")
    assert anchored(desk) is not None
    assert {A, B, AUDIT} == set(roots(desk)[-1]["heads"])


def test_what_is_written_while_somebody_looks_is_in_the_next_root() -> None:
    desk = Desk(wall=START.replace(minute=59, second=59))
    desk.happen("a")
    anchored(desk)
    desk.wait(days=2)
    assert anchored(desk) is None
    desk.wall -= timedelta(minutes=4)  # its time was taken before the look, and it came after
    desk.happen("b")
    desk.wait(hours=1)
    assert anchored(desk) is not None
    assert B in roots(desk)[-1]["heads"]


def test_no_root_goes_back_behind_the_one_before_where_clocks_differ_as_the_hour_turns() -> None:
    desk = Desk(wall=START.replace(minute=0))
    desk.happen("a")  # by a clock that is ahead: the item lies in the hour that begins
    desk.wall -= timedelta(milliseconds=200)
    desk.happen("a")
    desk.wait(minutes=30)
    anchored(desk)
    desk.wait(hours=1)
    desk.happen("b")
    anchored(desk)
    assert [root["heads"][A][0] for root in roots(desk)] == [2, 2]


def test_a_root_is_found_by_the_time_it_was_written() -> None:
    desk = Desk(wall=START.replace(microsecond=120_000))
    times = []
    for _ in range(3):
        desk.happen("a")
        anchored(desk)
        times.append(desk.wall)
        desk.wait(minutes=10)
    second = timedelta(seconds=1)
    found = [first_from(time, desk.tables) for time in (times[0] - second, times[1], times[1] + second)]
    assert [each.number for each in found if each] == [1, 2, 3]
    assert first_from(times[2] + second, desk.tables) is None
    found = [last_until(time, desk.tables) for time in (times[0], times[1] + second, times[2] + second)]
    assert [each.number for each in found if each] == [1, 2, 3]
    assert last_until(times[0] - second, desk.tables) is None
    assert [anchored_at(time, desk.tables).load(desk.blobs) for time in times] == roots(desk)


def test_two_roots_of_one_number_lie_side_by_side_and_the_next_tells_which_counts() -> None:
    desk = Desk()
    desk.happen("a")
    anchored(desk)
    crashing = Overtaken()
    crashing._items, crashing._order = desk.tables._items, desk.tables._order
    desk.happen("b")
    desk.wait(minutes=10)
    crashing.refuse = True
    with pytest.raises(ConditionFailed):
        anchor(desk.call, wall=desk.wall, tables=crashing, blobs=desk.blobs, log=Log(crashing, wall=lambda: desk.wall))
    desk.wait(minutes=10)
    anchored(desk)
    desk.happen("b")
    desk.wait(minutes=10)
    anchored(desk)
    assert [root["number"] for root in roots(desk)] == [1, 2, 2, 3]
    assert root_faults(roots(desk)) == []
    items = [item for stream in (A, B, AUDIT) for item in every(desk.tables, "log", stream)]
    assert verify(items, roots(desk))[0] == []


def test_a_root_keeps_the_streams_of_the_one_before_and_names_it() -> None:
    desk = Desk()
    desk.happen("a")
    anchored(desk)
    desk.wait(days=10)
    desk.happen("b")
    anchored(desk)
    first, second = roots(desk)
    assert second["previous"] == first["root"]
    assert {A, B, AUDIT} == set(second["heads"])
    assert second["heads"][A] == first["heads"][A]


def test_a_root_goes_back_to_the_last_however_long_ago_it_was() -> None:
    desk = Desk()
    desk.happen("a")
    anchored(desk)
    desk.wait(hours=1)
    desk.happen("b")
    desk.wait(days=100)
    anchored(desk)
    assert B in roots(desk)[-1]["heads"]


def test_a_root_a_week_keeps_the_way_back_short() -> None:
    desk = Desk()
    desk.happen("a")
    anchored(desk)
    desk.wait(days=6)
    assert anchored(desk) is None
    desk.wait(days=1)
    assert anchored(desk) is not None
    assert root_faults(roots(desk)) == []


def test_what_was_written_as_the_hour_turned_is_in_the_next_root() -> None:
    desk = Desk(wall=START.replace(minute=59, second=59))
    desk.wait(seconds=2)
    desk.happen("a")
    anchored(desk)
    desk.wall -= timedelta(seconds=2)  # the time of this item was taken before the last root, but it came later
    desk.happen("b")
    desk.wait(hours=1)
    anchored(desk)
    assert B in roots(desk)[-1]["heads"]


def test_the_log_verifies_against_its_roots_and_a_cut_tail_shows() -> None:
    desk = Desk()
    for _ in range(3):
        desk.happen("a", "b")
        anchored(desk)
        desk.wait(hours=1)
    items = [item for stream in (A, B, AUDIT) for item in every(desk.tables, "log", stream)]
    assert verify(items, roots(desk)) == ([], 3, 9)
    assert root_faults(roots(desk)) == []
    cut = [item for item in items if not (item["pk"] == B and item["sk"] > "000000000001")]
    assert [(broken.stream, broken.sequence) for broken in verify(cut, roots(desk))[0]] == [(B, 2)]


def test_heads_are_known_beyond_the_last_root() -> None:
    desk = Desk()
    desk.happen("a")
    anchored(desk)
    desk.wait(hours=2)
    desk.happen("a", "b")
    heads = known_heads(wall=desk.wall, tables=desk.tables, blobs=desk.blobs, log=desk.log)
    assert {stream: sequence for stream, (sequence, _) in heads.items()} == {A: 2, B: 1, AUDIT: 1}


class Overtaken(MemoryTables):
    """Tables in which another root is stored while the heads are read, when told so."""

    overtake = False
    refuse = False

    def write(self, writes: Sequence[Write]) -> None:
        if self.refuse:
            raise ConditionFailed("another was faster", (0,))
        super().write(writes)

    def query(self, table: TableName, pk: str, **options: Any) -> Page:
        if self.overtake and options.get("index"):
            self.write([Put("governance", {**(self.get("governance", NEWEST) or {}), "number": 2}, Anything())])
        return super().query(table, pk, **options)


def test_of_two_anchors_at_once_one_wins() -> None:
    tables = Overtaken()
    desk = Desk(tables=tables)
    desk.happen("a")
    anchored(desk)
    desk.happen("b")
    tables.overtake = True
    with pytest.raises(ConditionFailed):
        anchored(desk)
    assert len(list(desk.log.read(AUDIT))) == 1
