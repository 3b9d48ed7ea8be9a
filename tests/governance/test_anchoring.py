"""Roots: what they list, when they are written, and that they prove what the log was."""

import json
from datetime import timedelta
from typing import Any

import pytest

from governance.desk import START, Desk
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import ConditionFailed
from modelwright.events import RootAnchored
from modelwright.governance.anchoring import NEWEST, anchor, known_heads, newest_root
from modelwright.governance.verifier import root_faults, verify
from modelwright.log import stream_of
from modelwright.storage import Anything, Page, Put, TableName, every

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
    assert event.key == "roots/2026/05/01/00000001.json"
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
