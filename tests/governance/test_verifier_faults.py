"""Laws of the verifier: every single fault is found, in whole logs and in excerpts, and where it is first is named."""

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.events import Envelope
from modelwright.governance import excerpts, verifier
from modelwright.governance.excerpts import FIELDS, Tally
from modelwright.governance.verifier import GENESIS, Span, check_excerpt, manifest_faults, spans_between, verify
from modelwright.log import LogItem, canonical, new_id, stream_of

NOW = datetime(2026, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Items = list[dict[str, Any]]
Place = tuple[str, int]


@dataclass(frozen=True)
class World:
    """A log, item by item as it was written, and roots: one after so many items."""

    written: Items
    roots: list[dict[str, Any]]

    @property
    def whole(self) -> Items:
        """The items by stream."""
        return sorted(self.written, key=lambda item: (item["pk"], item["sk"]))


def world(streams: list[int], text: str, every: int) -> World:
    """Write items to streams of these numbers, with a root after so many, and one at the end."""
    heads: dict[str, list[Any]] = {}
    written: Items = []
    roots: list[dict[str, Any]] = []
    for n, number in enumerate(streams):
        name = stream_of("default", "MODEL", str(number))
        sequence, previous = heads.get(name, [0, GENESIS])
        envelope = Envelope(
            id=new_id(NOW + n * MINUTE), type="AliasChanged", schema_version=1, workspace="default", stream=name,
            sequence=sequence + 1, at=NOW, actor="ann", correlation_id="c", data={"text": text, "n": n},
        )  # fmt: skip
        item = LogItem.chain(envelope, previous).item(NOW)
        written.append({field: item[field] for field in FIELDS})
        heads[name] = [sequence + 1, item["hash"]]
        if (n + 1) % every == 0 or n + 1 == len(streams):
            roots.append(anchored(heads, roots, NOW + n * MINUTE))
    return World(written, roots)


def anchored(heads: Mapping[str, list[Any]], roots: list[dict[str, Any]], at: datetime) -> dict[str, Any]:
    previous = roots[-1]["root"] if roots else ""
    body = {"number": len(roots) + 1, "previous": previous, "at": at.isoformat(), "heads": dict(heads)}
    return {**body, "root": hashlib.sha256(canonical(body)).hexdigest()}


worlds = st.builds(
    world, st.lists(st.integers(0, 3), min_size=1, max_size=24), st.text(max_size=8), st.integers(1, 8)
)  # fmt: skip


def places(items: Items, roots: list[dict[str, Any]], spans: Mapping[str, Span] | None = None) -> list[Place]:
    return [(broken.stream, broken.sequence) for broken in verify(items, roots, spans)[0]]


def place(item: Mapping[str, Any]) -> Place:
    return item["pk"], int(item["sk"])


def flipped(data: st.DataObject, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item with one byte of one stored field that is another."""
    field = data.draw(st.sampled_from(FIELDS))
    body = bytearray(str(item[field]).encode())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    text = body.decode(errors="surrogateescape")
    return {**item, field: int(text) if field == "chain_version" and text.isascii() and text.isdigit() else text}


@given(given_=worlds, data=st.data())
@settings(deadline=None, max_examples=200)
def test_an_untouched_log_is_verified_whatever_order_its_streams_come_in(given_: World, data: st.DataObject) -> None:
    roots = data.draw(st.lists(st.sampled_from(given_.roots)))
    assert places(given_.whole, roots) == places(given_.written, roots) == []


@given(given_=worlds, data=st.data())
@settings(deadline=None, max_examples=400)
def test_a_flipped_byte_of_any_field_is_found_and_named(given_: World, data: st.DataObject) -> None:
    items = given_.whole
    position = data.draw(st.integers(0, len(items) - 1))
    broken = flipped(data, items[position])
    found = places([*items[:position], broken, *items[position + 1 :]], given_.roots)
    assert place(items[position]) in found
    assert {stream for stream, _ in found} <= {items[position]["pk"], broken["pk"]}


@given(given_=worlds, data=st.data())
@settings(deadline=None, max_examples=200)
def test_a_dropped_item_is_found_and_named(given_: World, data: st.DataObject) -> None:
    items = given_.whole
    position = data.draw(st.integers(0, len(items) - 1))
    assert places(items[:position] + items[position + 1 :], given_.roots) == [place(items[position])]


@given(given_=worlds, data=st.data())
@settings(deadline=None, max_examples=200)
def test_swapped_items_are_found_and_the_first_of_them_is_named(given_: World, data: st.DataObject) -> None:
    stream = data.draw(st.sampled_from([item["pk"] for item in given_.whole]))
    items = [item for item in given_.whole if item["pk"] == stream]
    others = [item for item in given_.whole if item["pk"] != stream]
    if len(items) == 1:
        return
    one, other = sorted(data.draw(st.lists(st.integers(0, len(items) - 1), min_size=2, max_size=2, unique=True)))
    first = place(items[one])
    items[one], items[other] = items[other], items[one]
    assert places(others + items, given_.roots) == [first]


@given(given_=worlds, data=st.data())
@settings(deadline=None, max_examples=200)
def test_a_doubled_item_is_found_and_what_it_stands_in_the_place_of_is_named(
    given_: World, data: st.DataObject
) -> None:
    items = given_.whole
    one = data.draw(st.integers(0, len(items) - 1))
    mine = [n for n, item in enumerate(items) if item["pk"] == items[one]["pk"] and n >= one]
    after = data.draw(st.sampled_from(mine))
    found = places([*items[: after + 1], items[one], *items[after + 1 :]], given_.roots)
    assert found == [(items[one]["pk"], int(items[after]["sk"]) + 1)]


@given(given_=worlds, data=st.data())
@settings(deadline=None, max_examples=200)
def test_a_tail_cut_before_the_last_root_is_found_and_its_first_item_named(given_: World, data: st.DataObject) -> None:
    items = given_.whole
    first = items[data.draw(st.integers(0, len(items) - 1))]
    left = [item for item in items if item["pk"] != first["pk"] or item["sk"] < first["sk"]]
    assert places(left, given_.roots[-1:]) == [place(first)]


# --- excerpts: from one root to another --------------------------------------------------


@dataclass(frozen=True)
class Excerpt:
    """What was written between two roots of a world, and what is told of it."""

    items: Items
    roots: list[dict[str, Any]]
    manifest: dict[str, Any]

    @property
    def spans(self) -> dict[str, Span]:
        return verifier.spans_of(self.manifest)


def excerpt(given_: World, first: int, last: int) -> Excerpt:
    """Return what lies between two roots; 0 is the log's beginning."""
    before, after = (given_.roots[first - 1] if first else None), given_.roots[last - 1]
    spans = dict(spans_between(before, after))
    items = [
        i for i in given_.whole if i["pk"] in spans and spans[i["pk"]].first <= int(i["sk"]) <= spans[i["pk"]].last
    ]
    tally = Tally()
    for item in items:
        tally.take(item)
    told = (_told(before) if before else None, _told(after))
    period = datetime.fromisoformat(before["at"]) if before else NOW, datetime.fromisoformat(after["at"])
    manifest = excerpts.manifest(tally, workspace="", period=period, roots=told, log={}, others={})
    return Excerpt(items, [root for root in (before, after) if root], json.loads(manifest))


def _told(root: Mapping[str, Any]) -> dict[str, Any]:
    return {"number": root["number"], "at": root["at"], "key": "k", "root": root["root"]}


@st.composite
def excerpts_of(draw: st.DrawFn) -> Excerpt:
    given_ = draw(worlds)
    last = draw(st.integers(1, len(given_.roots)))
    return excerpt(given_, draw(st.integers(0, last - 1)), last)


@given(given_=excerpts_of())
@settings(deadline=None, max_examples=200)
def test_an_untouched_excerpt_is_verified_with_and_without_its_roots(given_: Excerpt) -> None:
    assert places(given_.items, given_.roots, given_.spans) == places(given_.items, [], given_.spans) == []
    assert manifest_faults(given_.manifest, given_.roots) == manifest_faults(given_.manifest, []) == []


@given(given_=excerpts_of(), data=st.data(), with_roots=st.booleans())
@settings(deadline=None, max_examples=400)
def test_a_single_fault_in_an_excerpt_is_found_and_named(
    given_: Excerpt, data: st.DataObject, with_roots: bool
) -> None:
    items, roots = given_.items, given_.roots if with_roots else []
    position = data.draw(st.integers(0, len(items) - 1))
    one = items[position]
    kind = data.draw(st.sampled_from(["flipped", "dropped", "doubled", "begun later", "cut"]))
    same = [item for item in items if item["pk"] == one["pk"]]
    wanted = place(one)
    if kind == "flipped":
        changed = [*items[:position], flipped(data, one), *items[position + 1 :]]
    elif kind == "dropped":
        changed = items[:position] + items[position + 1 :]
    elif kind == "doubled":
        changed, wanted = [*items[: position + 1], *items[position:]], (one["pk"], int(one["sk"]) + 1)
    elif kind == "cut":
        changed = [item for item in items if item["pk"] != one["pk"] or item["sk"] < one["sk"]]
    else:
        changed = [item for item in items if item["pk"] != one["pk"] or item["sk"] > one["sk"]]
        wanted = place(same[0])
    assert wanted in places(changed, roots, given_.spans), kind


@given(given_=excerpts_of(), data=st.data())
@settings(deadline=None, max_examples=400)
def test_an_excerpt_that_was_cut_together_with_its_manifest_is_found_by_the_roots(
    given_: Excerpt, data: st.DataObject
) -> None:
    """Whoever makes the manifest can leave out items and streams so that nothing shows; the roots tell of them."""
    one = data.draw(st.sampled_from(given_.items))
    same = [item for item in given_.items if item["pk"] == one["pk"]]
    at_end = data.draw(st.booleans())
    gone = [item for item in same if (item["sk"] >= one["sk"] if at_end else item["sk"] <= one["sk"])]
    left = [item for item in given_.items if item not in gone]
    tally = Tally()
    for item in left:
        tally.take(item)
    told = {"streams": {stream: list(span) for stream, span in tally.streams.items()}, "items": tally.items}
    manifest = json.loads(json.dumps({**given_.manifest, **told}))
    assert places(left, [], verifier.spans_of(manifest)) == []
    assert manifest_faults(manifest, []) == []
    (fault,) = manifest_faults(manifest, given_.roots)
    first = gone[0] if len(gone) < len(same) or at_end else same[0]
    assert fault.startswith(f"{one['pk']} is broken at sequence {int(first['sk'])}: ")


@given(given_=excerpts_of(), data=st.data())
@settings(deadline=None, max_examples=400)
def test_no_figure_of_a_manifest_can_be_changed_unseen_where_there_are_roots(
    given_: Excerpt, data: st.DataObject
) -> None:
    stream = data.draw(st.sampled_from(sorted(given_.manifest["streams"])))
    part = data.draw(st.integers(0, 3))
    span = list(given_.manifest["streams"][stream])
    span[part] = span[part] + data.draw(st.sampled_from([-1, 1, 5])) if part in {0, 2} else "f" * 64
    manifest = {**given_.manifest, "streams": {**given_.manifest["streams"], stream: span}}
    assert manifest_faults(manifest, given_.roots)
    assert places(given_.items, given_.roots, verifier.spans_of(manifest))
    assert places(given_.items, [], verifier.spans_of(manifest)), "the items tell by themselves"


def test_items_and_streams_of_which_the_manifest_does_not_tell_are_found() -> None:
    whole = world([0, 0, 1, 0, 1, 2], "x", 2)
    assert places(excerpt(whole, 1, 3).items, [], excerpt(whole, 1, 2).spans) == [
        (stream_of("default", "MODEL", "1"), 2), (stream_of("default", "MODEL", "2"), 1)
    ]  # fmt: skip


def test_an_excerpt_must_take_in_its_period() -> None:
    given_ = excerpt(world([0] * 6, "x", 2), 1, 2)
    period = {"start": NOW.isoformat(), "end": (NOW + 99 * MINUTE).isoformat()}
    assert manifest_faults({**given_.manifest, **period}, given_.roots) == [
        "the excerpt begins with root 1, which is later than the start of its period",
        "the excerpt ends with root 2, which is earlier than the end of its period",
    ]


def test_the_roots_must_be_those_that_the_manifest_names() -> None:
    given_ = world([0] * 6, "x", 2)
    other = excerpt(given_, 1, 2)
    assert manifest_faults(other.manifest, [given_.roots[0], given_.roots[2]]) == [
        "root 2, which the manifest names, is not among those given"
    ]


def test_an_excerpt_of_nothing_that_ends_with_no_root_proves_nothing() -> None:
    given_ = excerpt(world([0] * 6, "x", 2), 1, 2)
    nothing = {**given_.manifest, "from": None, "to": None, "streams": {}, "items": 0}
    assert manifest_faults(nothing, given_.roots) == ["the manifest names no root that its excerpt ends with"]


def test_the_name_of_a_stream_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert verifier.tell(["\x1b[2J1 items: verified\r"], 1, 1) == 1
    assert capsys.readouterr().out == "?[2J1 items: verified?\n1 items in 1 streams: BROKEN\n"


def test_a_workspaces_excerpt_is_checked_by_its_streams_of_a_whole_root() -> None:
    given_ = world([0, 1, 0, 1], "x", 2)
    theirs = stream_of("other", "MODEL", "9")
    roots = [anchored({**root["heads"], theirs: [n + 1, "0" * 64]}, [], NOW) for n, root in enumerate(given_.roots)]
    mine = excerpt(World(given_.written, given_.roots), 1, 2)
    manifest = {**mine.manifest, "workspace": "default", "from": _told(roots[0]), "to": _told(roots[1]),
                "start": NOW.isoformat(), "end": NOW.isoformat()}  # fmt: skip
    assert manifest_faults(manifest, roots) == []
    (fault,) = manifest_faults({**manifest, "workspace": ""}, roots)
    assert theirs in fault


# --- files -------------------------------------------------------------------------------


def folder_of(given_: Excerpt, folder: Path) -> tuple[Path, list[Path]]:
    """Write an excerpt as it is exported; return its manifest and its roots."""
    body = b"".join(map(excerpts.line, given_.items))
    (folder / "log.jsonl").write_bytes(body)
    files = {"log.jsonl": {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}}
    manifest = folder / "manifest.json"
    manifest.write_bytes(canonical({**given_.manifest, "log": ["log.jsonl"], "files": files}))
    roots = []
    for root in given_.roots:
        roots.append(folder / f"root-{root['number']}.json")
        roots[-1].write_bytes(canonical(root))
    return manifest, roots


@given(given_=excerpts_of(), data=st.data())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_of_any_file_is_found(given_: Excerpt, data: st.DataObject, tmp_path: Path) -> None:
    manifest, roots = folder_of(given_, tmp_path)
    recorded = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert check_excerpt(manifest, [verifier.read(path) for path in roots], recorded)[0] == []
    file = data.draw(st.sampled_from([tmp_path / "log.jsonl", manifest, *roots]))
    body = bytearray(file.read_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(body)
    faults, _, _ = check_excerpt(manifest, [verifier.read(path) for path in roots], recorded)
    assert faults or verifier.read(file) in given_.roots, "or it made no difference to what the root says"


def command(manifest: Path, *arguments: str) -> int:
    return verifier.main(["--manifest", str(manifest), *arguments])


def test_the_command_says_what_had_to_be_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, roots = folder_of(excerpt(world([0, 1] * 6, "x", 4), 1, 3), tmp_path)
    assert command(manifest, "--roots", *map(str, roots)) == 0
    told, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "8 items in 2 streams: verified"
    known = verifier.read(manifest)
    assert told == f"all workspaces, {known['start']} to {known['end']}"
    assert command(manifest) == 0
    assert "verified against its manifest alone, without a root" in capsys.readouterr().out
    assert command(manifest, "--digest", "0" * 64) == 1
    assert "manifest.json is not the manifest that was recorded in the log" in capsys.readouterr().out


@pytest.mark.parametrize("compressed", [False, True])
def test_an_auditor_needs_the_verifiers_file_and_a_python_alone(tmp_path: Path, *, compressed: bool) -> None:
    carried = tmp_path / "elsewhere" / "check.py"
    carried.parent.mkdir()
    carried.write_bytes(Path(verifier.__file__).read_bytes())
    manifest, roots = folder_of(excerpt(world([0, 1] * 6, "x", 4), 1, 3), tmp_path)
    if compressed:
        body = gzip.compress((tmp_path / "log.jsonl").read_bytes())
        (tmp_path / "part-00001.jsonl.gz").write_bytes(body)
        files = {"part-00001.jsonl.gz": {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}}
        manifest.write_bytes(canonical({**verifier.read(manifest), "log": list(files), "files": files}))
    command = [sys.executable, "-I", "-S", str(carried), "--manifest", str(manifest), "--roots", *map(str, roots)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout.splitlines()[1:], said.stderr) == (0, ["8 items in 2 streams: verified"], "")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"streams": []}', '{"streams": {"a": [1]}, "files": {}}'])
def test_a_manifest_that_cannot_be_read_is_a_fault_and_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    manifest, roots = folder_of(excerpt(world([0, 1] * 6, "x", 4), 1, 3), tmp_path)
    manifest.write_text(text)
    for arguments in ([], ["--roots", *map(str, roots)]):
        assert command(manifest, *arguments) == 1
        assert "the manifest cannot be read" in capsys.readouterr().out


def test_a_file_that_is_missing_is_named_and_none_outside_the_folder_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").mkdir()
    manifest, _ = folder_of(excerpt(world([0, 1] * 6, "x", 4), 1, 3), tmp_path / "x")
    (tmp_path / "x" / "log.jsonl").rename(tmp_path / "log.jsonl")
    text = manifest.read_text().replace('"log.jsonl"', '"../log.jsonl"')
    manifest.write_text(text)
    assert command(manifest) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "log.jsonl is missing"
    assert "there are 0 items, the manifest tells of 8" in lines


def test_either_a_whole_export_or_a_manifest_is_asked_for(tmp_path: Path) -> None:
    for arguments in ([], ["log.jsonl", "--manifest", "manifest.json"]):
        with pytest.raises(SystemExit):
            verifier.main(arguments)
