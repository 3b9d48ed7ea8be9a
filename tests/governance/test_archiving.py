"""Each day of the log goes into the Object-Lock bucket once, and proves itself there."""

import gzip
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.desk import Desk
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.errors import ConditionFailed, Unavailable
from modelwright.events import LogArchived
from modelwright.governance import archiving, verifier
from modelwright.governance.anchoring import anchor
from modelwright.governance.archiving import archive
from modelwright.log import stream_of
from modelwright.storage import Key, Write, every


def kept(desk: Desk) -> dict[str, Any]:
    return {"tables": desk.tables, "blobs": desk.blobs, "log": desk.log}


def hourly(desk: Desk, hours: int, *, archived: bool = True) -> None:
    """Let an hour pass so often, with something in it, a root at its end, and what the schedule does then."""
    for n in range(hours):
        desk.happen("a", *(["b"] if n % 5 == 0 else []))
        desk.wait(hours=1)
        anchor(desk.call, wall=desk.wall, **kept(desk))
        if archived:
            archive(desk.call, **kept(desk))


def events(desk: Desk) -> list[LogArchived]:
    return [
        LogArchived.model_validate(item.envelope.data)
        for item in desk.log.read(stream_of("default", "AUDIT", "archive"))
    ]


def objects(desk: Desk, prefix: str = "archive/") -> dict[str, bytes]:
    return {row.key: desk.blobs.get("audit", row.key).body for row in desk.blobs.list("audit", prefix)}


def carried(desk: Desk, event: LogArchived, folder: Path) -> tuple[Path, list[Path]]:
    """Copy a day and its two roots out of the bucket, as an auditor does; return the manifest and the roots."""
    folder.mkdir(parents=True)
    for key, body in objects(desk, event.key.rsplit("/", 1)[0]).items():
        (folder / key.rsplit("/", 1)[1]).write_bytes(body)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    roots = []
    for root in (manifest["from"], manifest["to"]):
        if root:
            roots.append(folder / f"root-{root['number']}.json")
            roots[-1].write_bytes(desk.blobs.get("audit", root["key"]).body)
    return folder / "manifest.json", roots


def checked(desk: Desk, event: LogArchived, folder: Path) -> int:
    manifest, roots = carried(desk, event, folder)
    return verifier.main(["--manifest", str(manifest), "--roots", *map(str, roots), "--digest", event.digest])


def test_a_day_is_archived_once_when_it_is_over() -> None:
    desk = Desk()
    hourly(desk, 14)
    assert events(desk) == []
    hourly(desk, 12)
    (first,) = events(desk)
    assert (first.day, first.key) == ("2026-05-01", "archive/2026/05/01/manifest.json")
    hourly(desk, 24)
    assert [event.day for event in events(desk)] == ["2026-05-01", "2026-05-02"]


def test_an_archived_day_verifies_against_the_roots_beside_it_and_the_digest_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk()
    hourly(desk, 24 * 3)
    for event in events(desk):
        assert checked(desk, event, tmp_path / event.day) == 0
        assert f"{event.items} items in" in capsys.readouterr().out


def test_together_the_days_have_everything_up_to_the_last_of_their_roots_once_and_in_order() -> None:
    desk = Desk()
    hourly(desk, 24 * 4)
    lines = [json.loads(line) for key, body in objects(desk).items() if key.endswith(".gz")
             for line in gzip.decompress(body).splitlines()]  # fmt: skip
    last = desk.tables.get("governance", archiving.NEWEST)
    assert last is not None
    root = json.loads(desk.blobs.get("audit", last["key"]).body)
    assert verifier.verify(lines, [root])[0] == []
    assert len(lines) == sum(sequence for sequence, _ in root["heads"].values())
    first = next(every(desk.tables, "log", stream_of("default", "MODEL", "a")))
    (again,) = [line for line in lines if (line["pk"], line["sk"]) == (first["pk"], first["sk"])]
    assert again == {name: first[name] for name in again}


def test_days_that_were_missed_are_made_up_for_as_if_they_had_not_been(tmp_path: Path) -> None:
    daily, late = Desk(), Desk()
    hourly(daily, 24 * 3 + 2)
    hourly(late, 24 * 3 + 2, archived=False)
    assert objects(late) == {}
    done = archive(late.call, **kept(late))
    assert [event.day for event in done] == [event.day for event in events(daily)]
    assert archive(late.call, **kept(late)) == []
    assert [checked(late, event, tmp_path / event.day) for event in done] == [0, 0, 0]


def test_at_most_so_many_days_are_made_up_for_at_once() -> None:
    desk = Desk()
    hourly(desk, 24 * 5, archived=False)
    assert [event.day for event in archive(desk.call, days=2, **kept(desk))] == ["2026-05-01", "2026-05-02"]
    assert [event.day for event in archive(desk.call, days=9, **kept(desk))] == [
        "2026-05-03",
        "2026-05-04",
        "2026-05-05",
    ]


def test_days_on_which_nothing_happened_belong_to_the_one_before(tmp_path: Path) -> None:
    desk = Desk()
    hourly(desk, 2)
    desk.wait(days=5)
    hourly(desk, 2)
    (event,) = events(desk)
    assert event.day == "2026-05-01"
    assert checked(desk, event, tmp_path / "x") == 0


def test_nothing_is_archived_before_there_is_a_root() -> None:
    desk = Desk()
    desk.happen("a")
    desk.wait(days=3)
    assert archive(desk.call, **kept(desk)) == []
    assert objects(desk) == {}


def test_a_day_may_have_many_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archiving, "PART_BYTES", 4000)
    desk = Desk()
    hourly(desk, 26)
    (event,) = events(desk)
    assert len([key for key in objects(desk) if key.endswith(".gz")]) > 2
    assert checked(desk, event, tmp_path / "x") == 0


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_flipped_byte_of_an_archived_part_is_found(tmp_path: Path, position: float) -> None:
    desk = Desk()
    hourly(desk, 26)
    (event,) = events(desk)
    manifest, roots = carried(desk, event, tmp_path / "x")
    part = tmp_path / "x" / "part-00001.jsonl.gz"
    body = bytearray(part.read_bytes())
    body[int(len(body) * position)] ^= 1
    part.write_bytes(body)
    assert verifier.main(["--manifest", str(manifest), "--roots", *map(str, roots)]) == 1


# --- what breaks off, and what meets ------------------------------------------------------


class Killed(MemoryTables):
    """Tables that stop answering at a write, as often as told."""

    refused = 0

    def write(self, writes: Sequence[Write]) -> None:
        if self.refused and any(getattr(write, "item", {}).get("pk") == "ARCHIVE" for write in writes):
            self.refused -= 1
            raise Unavailable("killed")
        super().write(writes)


def test_a_run_that_was_killed_before_it_was_recorded_is_done_again_with_the_same_bytes() -> None:
    tables = Killed()
    desk = Desk(tables=tables)
    hourly(desk, 26, archived=False)
    tables.refused = 1
    with pytest.raises(Unavailable):
        archive(desk.call, **kept(desk))
    left = objects(desk)
    desk.happen("a")  # an item that is acknowledged meanwhile, or written since, changes nothing
    (event,) = archive(desk.call, **kept(desk))
    assert objects(desk) == left != {}
    assert events(desk) == [event]


class Killing(MemoryBlobs):
    """Buckets that stop answering after so many objects."""

    left = 10**9

    def put(self, *args: Any, **options: Any) -> str:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("killed")
        return super().put(*args, **options)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_run_that_was_killed_between_objects_is_done_again(
    monkeypatch: pytest.MonkeyPatch, written: int, tmp_path: Path
) -> None:
    monkeypatch.setattr(archiving, "PART_BYTES", 8000)
    blobs = Killing()
    desk = Desk(blobs=blobs)
    hourly(desk, 26, archived=False)
    blobs.left = written
    with pytest.raises(Unavailable):
        archive(desk.call, **kept(desk))
    blobs.left = 10**9
    (event,) = archive(desk.call, **kept(desk))
    assert checked(desk, event, tmp_path / "x") == 0


class Mortal:
    """Counts down the calls to tables and buckets, and stops answering at the end."""

    left = 10**9

    def call(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("killed")


class MortalTables(MemoryTables):
    def __init__(self, life: Mortal) -> None:
        super().__init__()
        self.life = life

    def get(self, *args: Any) -> Any:
        self.life.call()
        return super().get(*args)

    def query(self, *args: Any, **options: Any) -> Any:
        self.life.call()
        return super().query(*args, **options)

    def write(self, writes: Sequence[Write]) -> None:
        self.life.call()
        super().write(writes)


class MortalBlobs(MemoryBlobs):
    def __init__(self, life: Mortal) -> None:
        super().__init__()
        self.life = life

    def get(self, *args: Any) -> Any:
        self.life.call()
        return super().get(*args)

    def put(self, *args: Any, **options: Any) -> str:
        self.life.call()
        return super().put(*args, **options)


def killed_after(calls: int, folder: Path) -> bool:
    """Kill what the schedule does after so many calls, do it again, and check all that is left; was it killed?"""
    life = Mortal()
    desk = Desk(tables=MortalTables(life), blobs=MortalBlobs(life))
    desk.happen("a", "b")
    anchor(desk.call, wall=desk.wall, **kept(desk))
    desk.wait(days=1)
    desk.happen("b", "c")
    life.left, killed = calls, False
    try:
        anchor(desk.call, wall=desk.wall, **kept(desk))
        archive(desk.call, **kept(desk))
    except Unavailable:
        killed = True
    life.left = 10**9
    desk.wait(minutes=1)
    anchor(desk.call, wall=desk.wall, **kept(desk))
    archive(desk.call, **kept(desk))
    (event,) = events(desk)
    assert checked(desk, event, folder / str(calls)) == 0
    roots = [json.loads(body) for body in objects(desk, "roots/").values()]
    items = sorted(desk.tables._items["log"].values(), key=lambda item: (item["pk"], item["sk"]))
    assert (verifier.verify(items, roots)[0], verifier.root_faults(roots)) == ([], [])
    told = [item.envelope.data["root"] for item in desk.log.read(stream_of("default", "AUDIT", "roots"))]
    assert set(told) <= {root["root"] for root in roots}
    assert len(told) <= 3
    return killed


def test_killed_between_any_two_calls_it_leaves_one_archive_of_the_day_and_a_log_that_verifies(tmp_path: Path) -> None:
    calls = 0
    while killed_after(calls, tmp_path):
        calls += 1
    assert calls > 100


class Overtaken(MemoryTables):
    """Tables in which another archives the same day just before the first records it."""

    desk: Desk
    overtake = False

    def write(self, writes: Sequence[Write]) -> None:
        if self.overtake and any(getattr(write, "item", {}).get("pk") == "ARCHIVE" for write in writes):
            self.overtake = False
            archive(self.desk.call, **kept(self.desk))
        super().write(writes)


def test_of_two_at_once_one_records_the_day() -> None:
    tables = Overtaken()
    tables.desk = desk = Desk(tables=tables)
    hourly(desk, 26, archived=False)
    tables.overtake = True
    with pytest.raises(ConditionFailed):
        archive(desk.call, **kept(desk))
    assert [event.day for event in events(desk)] == ["2026-05-01"]
    assert archive(desk.call, **kept(desk)) == []


def test_what_was_lost_from_the_table_since_the_root_shows_in_the_archive(tmp_path: Path) -> None:
    desk = Desk()
    hourly(desk, 26, archived=False)
    desk.tables.delete_many("log", [Key(stream_of("default", "MODEL", "a"), "000000000003")])
    (event,) = archive(desk.call, **kept(desk))
    manifest, roots = carried(desk, event, tmp_path / "x")
    faults, _, _ = verifier.check_excerpt(manifest, [verifier.read(path) for path in roots], event.digest)
    assert faults == [f"{stream_of('default', 'MODEL', 'a')} is broken at sequence 3: "
                      "the item is missing or out of place: 4 stands there"]  # fmt: skip


def test_the_days_wait_for_no_clock() -> None:
    desk = Desk()
    hourly(desk, 26)
    desk.wall -= timedelta(days=9)
    assert archive(desk.call, **kept(desk)) == []
