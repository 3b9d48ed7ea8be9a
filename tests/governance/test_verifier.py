"""The verifier finds whatever was done to an export, and needs nothing but the standard library."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.events import AliasChanged, Estimate, Evaluation, GateResult, TrainingCompleted, Window
from modelwright.governance import verifier
from modelwright.governance.verifier import Break, root_faults, verify
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.storage import every

NOW = datetime(2013, 1, 1, tzinfo=UTC)
CALL = Call("default", "ann", NOW, "correlation")
PROTECTED = ("pk", "sk", "previous", "hash", "chain_version", "envelope")
SHOWN = (*PROTECTED, "published")
A, B = stream_of("default", "MODEL", "a"), stream_of("default", "TRAINING", "b")

Items = list[dict[str, Any]]


def changed(n: int) -> AliasChanged:
    gate = GateResult(gate="floor", passed=True, text="größer als 0.6 — 🙂")
    return AliasChanged(model="a", alias="champion", version=n, previous=n - 1, results=(gate,))


def completed(n: int) -> TrainingCompleted:
    window = Window(start=NOW, end=NOW)
    estimate = Estimate(value=0.1 + 0.2, low=1e-7, high=1e22)
    return TrainingCompleted(
        training_id=str(n), model="b", trigger="age", artifact_key="k", artifact_digest="d", features=("x",),
        dataset_digest="d", dataset_key="k", rows=n, window=window, parameters={"depth": "3"},
        metrics={"auc": 0.1 + 0.2, "tiny": 5e-324}, project_digest="p", seconds=1.5, cost=0.1,
        evaluation=Evaluation(rows=1, window=window, challenger_auc=estimate, challenger_brier=0.30000000000000004),
    )  # fmt: skip


def made(each: int = 6) -> Items:
    tables = MemoryTables()
    log = Log(tables)
    for n in range(1, each + 1):
        log.commit(CALL, [Happened(A, changed(n)), Happened(B, completed(n))])
    return [{name: item[name] for name in SHOWN} for stream in (A, B) for item in every(tables, "log", stream)]


WHOLE = made()
EXPORT = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in WHOLE).encode()


def root(items: Items) -> dict[str, Any]:
    return {"heads": {item["pk"]: [int(item["sk"]), item["hash"]] for item in items}}


def hashed(items: Items, number: int = 1, previous: str = "") -> dict[str, Any]:
    """Return a root as it is anchored."""
    body = {"number": number, "previous": previous, "at": NOW.isoformat(), **root(items)}
    return {**body, "root": hashlib.sha256(canonical(body)).hexdigest()}


def chained() -> list[dict[str, Any]]:
    first = hashed(WHOLE[:2])
    second = hashed(WHOLE[:4], 2, first["root"])
    return [first, second, hashed(WHOLE, 3, second["root"])]


def protected(items: Any) -> list[tuple[Any, ...]]:
    return [tuple(item.get(name) for name in PROTECTED) for item in items]


def places(breaks: list[Break]) -> list[tuple[str, int]]:
    return [(broken.stream, broken.sequence) for broken in breaks]


def test_an_untouched_log_is_verified() -> None:
    assert verify(WHOLE, [root(WHOLE)]) == ([], 2, 12)
    assert verify([]) == ([], 0, 0)


def test_streams_may_come_in_any_order_and_mixed() -> None:
    mixed = [item for pair in zip(WHOLE[6:], WHOLE[:6], strict=True) for item in pair]
    assert verify(mixed)[0] == []


@given(position=st.integers(0, len(EXPORT) - 1), flip=st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_a_flipped_byte_is_found_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory, position: int, flip: int
) -> None:
    broken = bytearray(EXPORT)
    broken[position] ^= flip
    file = tmp_path_factory.getbasetemp() / "flipped.jsonl"
    file.write_bytes(broken)
    items = list(verifier._lines(str(file)))
    breaks = verify(items)[0]
    if not breaks:  # it hit what the chain does not protect: the acknowledgement, or space between lines
        assert protected(items) == protected(WHOLE)


@pytest.mark.parametrize("name", PROTECTED[2:])
@pytest.mark.parametrize("place", range(12))
def test_a_changed_item_is_named_by_its_sequence_number(name: str, place: int) -> None:
    items = [dict(item) for item in WHOLE]
    old = items[place][name]
    items[place][name] = 2 if name == "chain_version" else old.replace(old[-3], "x" if old[-3] != "x" else "y")
    (broken,) = verify(items)[0]
    assert (broken.stream, broken.sequence) == (items[place]["pk"], int(items[place]["sk"]))


def test_a_digit_that_makes_no_difference_to_the_number_is_found_too() -> None:
    items = [dict(item) for item in WHOLE]
    text = items[8]["envelope"]
    items[8]["envelope"] = text.replace("0.30000000000000004", "0.30000000000000005")
    assert json.loads(items[8]["envelope"]) == json.loads(text) != items[8]["envelope"]
    assert places(verify(items)[0]) == [(B, 3)]


@pytest.mark.parametrize("place", [0, 2, 4, 6, 9])
def test_a_dropped_item_is_found(place: int) -> None:
    gone = WHOLE[place]
    items = WHOLE[:place] + WHOLE[place + 1 :]
    assert places(verify(items)[0]) == [(gone["pk"], int(gone["sk"]))]


@pytest.mark.parametrize("place", [0, 3, 6, 10])
def test_swapped_items_are_found(place: int) -> None:
    items = list(WHOLE)
    items[place], items[place + 1] = items[place + 1], items[place]
    assert places(verify(items)[0]) == [(WHOLE[place]["pk"], int(WHOLE[place]["sk"]))]


def test_items_swapped_together_with_their_places_are_found() -> None:
    items = [dict(item) for item in WHOLE]
    items[2]["sk"], items[3]["sk"] = items[3]["sk"], items[2]["sk"]
    items[2], items[3] = items[3], items[2]
    assert places(verify(items)[0]) == [(A, 3)]


@pytest.mark.parametrize("place", [0, 3, 5, 11])
def test_a_doubled_item_is_found(place: int) -> None:
    items = [*WHOLE[: place + 1], WHOLE[place], *WHOLE[place + 1 :]]
    assert places(verify(items)[0]) == [(WHOLE[place]["pk"], int(WHOLE[place]["sk"]) + 1)]


def test_an_item_moved_to_another_stream_is_found() -> None:
    items = [dict(item) for item in WHOLE]
    items[0]["pk"] = B + "x"
    assert places(verify(items)[0]) == [(A, 1), (B + "x", 1)]


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_tail_that_was_cut_off_is_found_up_to_the_last_root(kept: int) -> None:
    items = WHOLE[:kept] + WHOLE[6:]
    assert verify(items)[0] == []
    assert places(verify(items, [root(WHOLE)])[0]) == [(A, kept + 1)]


def test_a_tail_is_found_by_any_of_the_roots() -> None:
    assert places(verify(WHOLE[:2] + WHOLE[6:], [root(WHOLE), root(WHOLE[:4])])[0]) == [(A, 3)]


def test_a_chain_that_was_forged_as_a_whole_is_found_where_it_leaves_a_root() -> None:
    tables = MemoryTables()
    log = Log(tables)
    for n in range(1, 7):
        log.commit(CALL, [Happened(A, changed(n + 1))])
    forged = [dict(item) for item in every(tables, "log", A)]
    assert verify(forged)[0] == []
    roots = [root(WHOLE[:2]), root(WHOLE[:4]), root(WHOLE[:6])]
    assert places(verify(forged, roots)[0]) == [(A, 2)]


# --- the roots themselves ----------------------------------------------------------------


@pytest.mark.parametrize("given", [[], [0], [2], [0, 1], [1, 2], [2, 0, 1], [0, 1, 1, 2]])
def test_roots_that_follow_one_another_have_no_fault(given: list[int]) -> None:
    assert root_faults([chained()[n] for n in given]) == []


@pytest.mark.parametrize(
    "change", [{"number": 4}, {"previous": "x"}, {"at": "2013"}, {"heads": {}}, {"root": "x"}, {"root": None}]
)
def test_a_root_that_was_changed_is_named(change: dict[str, Any]) -> None:
    changed = {**chained()[2], **change}
    assert f"root {changed['number']} is not what was hashed" in root_faults([*chained()[:2], changed])
    assert root_faults([changed]) == [f"root {changed['number']} is not what was hashed"]


def test_a_root_that_was_forged_with_its_hash_breaks_the_chain() -> None:
    first, second, third = chained()
    forged = hashed(WHOLE[:3], 2, first["root"])
    assert root_faults([first, forged, third]) == ["root 3 does not follow root 2: it names another"]
    after = hashed(WHOLE, 3, forged["root"])
    assert root_faults([first, second, forged, third, after]) == ["root 3 does not follow root 2: it names another"]


def test_a_second_root_of_a_number_of_which_the_next_does_not_tell_is_no_fault() -> None:
    """It is left by an anchor that broke off, or met another; what it tells is true all the same."""
    first, second, third = chained()
    left = hashed(WHOLE[:3], 2, first["root"])
    assert root_faults([first, second, left, third]) == []
    assert verify(WHOLE, [first, second, left, third])[0] == []


def test_roots_that_contradict_one_another_are_found_though_each_is_as_hashed() -> None:
    """Whoever can write roots, but change none, rewrites a stream and has the last root tell its new hashes."""
    first, second, third = chained()
    rewritten = {**WHOLE[3], "hash": "f" * 64}
    forged = hashed([*WHOLE[:3], rewritten], 3, second["root"])
    text = f"roots 2 and 3 tell different hashes of {A} at 4"
    assert root_faults([first, second, forged]) == [text]
    assert text in root_faults([first, second, third, forged])


def test_a_root_that_is_missing_between_others_is_found() -> None:
    assert root_faults(chained()[::2]) == ["root 3 does not follow root 1: there were others between them"]


def test_a_part_of_a_root_proves_nothing_and_is_no_fault_alone() -> None:
    part = {"number": 3, "at": NOW.isoformat(), "heads": {}, "part_of": "x"}
    assert root_faults([part]) == []
    assert root_faults([*chained()[:2], part]) == []
    assert "BROKEN" not in verifier.believed([part])
    assert "1 of 3 roots are a workspace's part, which proves nothing" in verifier.believed([*chained()[:2], part])


@pytest.mark.parametrize("heads", [[], {"a": 1}, {"a": [1]}, {"a": ["x", "y"]}, {"a": [float("inf"), "y"]}, None])
def test_a_part_of_a_root_that_cannot_be_read_is_a_fault_and_no_crash(heads: Any) -> None:
    part = {"number": 3, "at": NOW.isoformat(), "heads": heads, "part_of": "x"}
    assert root_faults([part]) == ["root 3 cannot be read"]
    assert verify(WHOLE, [part])[0] == []


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"number": "x"}'])
def test_a_root_that_cannot_be_read_is_a_fault_and_no_crash(tmp_path: Path, text: str) -> None:
    export, file = tmp_path / "log.jsonl", tmp_path / "root.json"
    export.write_bytes(EXPORT)
    file.write_text(text)
    told = alone(str(export), "--roots", str(file))
    assert (told.returncode, told.stderr) == (1, "")
    assert "is not what was hashed" in told.stdout


def alone(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run the verifier's file with nothing but the standard library in reach."""
    command = [sys.executable, "-I", "-S", verifier.__file__, *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_it_runs_alone_on_an_export_and_tells_by_its_exit_status(tmp_path: Path) -> None:
    export, roots = tmp_path / "log.jsonl", tmp_path / "root.json"
    export.write_bytes(EXPORT)
    roots.write_text(json.dumps(hashed(WHOLE)))
    good = alone(str(export), "--roots", str(roots))
    assert (good.returncode, good.stdout, good.stderr) == (0, "12 items in 2 streams: verified\n", "")
    export.write_bytes(EXPORT.replace(b'\\"version\\":3', b'\\"version\\":4'))
    bad = alone(str(export), "--roots", str(roots))
    assert bad.returncode == 1
    assert bad.stdout.splitlines() == [
        f"{A} is broken at sequence 3: its content is not what was hashed",
        "12 items in 2 streams: BROKEN",
    ]


def test_it_reads_standard_input() -> None:
    assert alone("-", text=EXPORT.decode()).returncode == 0


@pytest.mark.parametrize(
    "line", ["{", "[1]", "{}", '{"pk": 1}', '{"pk": "x", "sk": "y"}', '{"pk": "x", "sk": Infinity}', "[" * 100_000]
)
def test_what_cannot_be_read_is_a_break_and_no_crash(line: str) -> None:
    text = EXPORT.decode()
    told = alone("-", text=text + line + "\n")
    assert (told.returncode, told.stderr) == (1, "")
    assert "cannot be read" in told.stdout
