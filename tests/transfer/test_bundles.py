"""A version in a file, and what the server reads of it: bounded, and again until it is known."""

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk
from typer.testing import CliRunner

from modelwright import demo
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.cli.commands import app
from modelwright.context import Call
from modelwright.errors import InvalidInput, ModelwrightError, NotFound, Refused, TooLarge, Unavailable
from modelwright.promotion import bundle
from modelwright.promotion.bundle import BundleSource
from modelwright.promotion.carrying import carry
from modelwright.promotion.stack import Arrivals
from modelwright.registry import arrivals, bundles
from modelwright.registry.manifests import MANIFEST_BYTES, File, Manifest, folder_of
from modelwright.registry.measuring import Digest, Folder, Ruler
from modelwright.storage import Write
from modelwright.team import read_team
from transfer.carried import FILES, made, source, stack
from transfer.test_promotion import births, files, nothing_came

CALL = Call("default", "ann", datetime(2026, 3, 2, tzinfo=UTC), "c-1")


@pytest.fixture
def here() -> Desk:
    desk = Desk()
    made(desk)
    return desk


@pytest.fixture
def written(here: Desk, tmp_path: Path) -> Path:
    file = tmp_path / "churn.zip"
    with stack(here) as ours:
        bundle.write(source(ours), file)
    return file


def arrived(file: Path, there: Desk, name: str = "churn") -> int:
    with stack(there) as right:
        return carry(BundleSource(file), Arrivals(right, name), threads=1).version


def test_what_goes_into_a_file_comes_out_of_it(written: Path) -> None:
    there = Desk()
    assert arrived(written, there) == 1
    assert files(there) == FILES
    assert arrived(written, there) == 1
    assert len(births(there)) == 1


def test_the_manifest_comes_first_and_nothing_is_compressed(written: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        members = archive.infolist()
    assert [m.filename for m in members] == ["manifest.json", *(f"files/{path}" for path in sorted(FILES))]
    assert {m.compress_type for m in members} == {zipfile.ZIP_STORED}


def test_the_same_manifest_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    bundle.write(BundleSource(written), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == written.read_bytes()


def test_the_same_version_exported_again_is_the_same_file(here: Desk, written: Path, tmp_path: Path) -> None:
    with stack(here) as ours:
        bundle.write(source(ours), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == written.read_bytes()
    told = [item.envelope.data["digest"] for item in here.stream("MODEL", "churn")[-2:]]
    assert told == [BundleSource(written).manifest().digest] * 2


def test_a_file_is_there_only_if_all_of_it_is(here: Desk, tmp_path: Path) -> None:
    class Failing(BundleSource):
        def fetch(self, path: str, folder: Path) -> Path:
            if path == "model.pkl":
                raise Unavailable("gone")
            return super().fetch(path, folder)

    whole, broken = tmp_path / "whole.zip", tmp_path / "broken.zip"
    with stack(here) as ours:
        bundle.write(source(ours), whole)
    with pytest.raises(Unavailable):
        bundle.write(Failing(whole), broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.zip"]


# --- files from elsewhere ----------------------------------------------------------------

Members = list[tuple[zipfile.ZipInfo, bytes]]


def rewritten(written: Path, change: Callable[[Members], Members]) -> Path:
    with zipfile.ZipFile(written) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    other = written.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for member, body in change(members):
            archive.writestr(member, body)
    return other


def named(name: str, kind: int = stat.S_IFREG, compress: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr, member.compress_type = (kind | 0o644) << 16, compress
    return member


def compressed(members: Members) -> Members:
    return [(named(member.filename, compress=zipfile.ZIP_DEFLATED), body) for member, body in members]


def with_manifest(change: Callable[[Manifest], Manifest]) -> Callable[[Members], Members]:
    def changed(members: Members) -> Members:
        text = change(Manifest.read(members[0][1])).text
        return [(members[0][0], text), *members[1:]]

    return changed


def climbing(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"files": (File(path="../../x", size=1, digest="0" * 64), *manifest.files)})


def doubled(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"files": (manifest.files[0], *manifest.files)})


BROKEN: Sequence[tuple[str, Callable[[Members], Members], str]] = (
    ("a bomb", compressed, "is compressed"),
    ("a symlink", lambda m: [*m[:-1], (named(m[-1][0].filename, stat.S_IFLNK), b"/etc/passwd")], "is no plain file"),
    ("a folder", lambda m: [*m, (named("files/"), b"")], "is no plain file"),
    ("another member", lambda m: [*m, (named("files/../../evil"), b"x")], "is there and not in the manifest"),
    ("a member less", lambda m: m[:-1], "is missing"),
    ("a longer member", lambda m: [*m[:-1], (m[-1][0], m[-1][1] + b"x")], "bytes, not"),
    ("no manifest", lambda m: m[1:], "manifest.json does not come first"),
    ("the manifest last", lambda m: [*m[1:], m[0]], "manifest.json does not come first"),
    ("a huge manifest", lambda m: [(m[0][0], b" " * (MANIFEST_BYTES + 1)), *m[1:]], "more than 4000000"),
    ("no JSON", lambda m: [(m[0][0], b"{"), *m[1:]], "the manifest is no JSON"),
    ("deep JSON", lambda m: [(m[0][0], b"[" * 9_000 + b"]" * 9_000), *m[1:]], "nested more than|no JSON"),
    ("another form", lambda m: [(m[0][0], b'{"format": 2}'), *m[1:]], "is not one of ours"),
    ("spaces", lambda m: [(m[0][0], m[0][1].replace(b",", b", ")), *m[1:]], "not in canonical form"),
)


@pytest.mark.parametrize(("change", "said"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_what_no_export_writes_is_refused(written: Path, change: Callable[[Members], Members], said: str) -> None:
    there = Desk()
    with pytest.raises((InvalidInput, Refused), match=said):
        arrived(rewritten(written, change), there)
    assert nothing_came(there)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(written: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'files/MLmodel' is there twice"):
        BundleSource(rewritten(written, lambda members: [*members, members[1]])).manifest()


@pytest.mark.parametrize(("change", "said"), [(climbing, "is not allowed"), (doubled, "there twice, or out of order")])
def test_paths_that_climb_or_come_twice_are_refused(
    written: Path, change: Callable[[Manifest], Manifest], said: str
) -> None:
    with zipfile.ZipFile(written) as archive:
        manifest = change(Manifest.read(archive.read("manifest.json")))
    assert any(said in flaw for flaw in manifest.flaws())
    there = Desk()
    with pytest.raises(Refused):
        arrived(rewritten(written, with_manifest(change)), there)
    assert nothing_came(there)


def test_a_flipped_byte_is_refused_with_and_without_its_checksum(written: Path) -> None:
    body = bytearray(written.read_bytes())
    place = body.index(b"not really a pickle")
    body[place] ^= 1
    damaged = written.with_name("damaged.zip")
    damaged.write_bytes(body)
    forged = rewritten(written, lambda ms: [(m, b.replace(b"not really", b"Not really")) for m, b in ms])
    there = Desk()
    for file, said in ((damaged, "was damaged"), (forged, r"model\.pkl came with the digest")):
        with pytest.raises(ModelwrightError, match=said):
            arrived(file, there)
        assert births(there) == []


def test_overlapping_members_are_refused(written: Path) -> None:
    """A directory whose lines all lead to one large member: what takes a megabyte here would take many."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(named("manifest.json"), b"x" * 100_000)
        archive.writestr(named("files/a"), b"x" * 100_000)
        archive.writestr(named("files/b"), b"x")
        archive.infolist()[2].file_size = archive.infolist()[2].compress_size = 100_000
    other = written.with_name("overlapping.zip")
    other.write_bytes(body.getvalue())
    with pytest.raises(InvalidInput, match="they overlap"):
        BundleSource(other).manifest()


@pytest.mark.parametrize("body", [b"", b"PK", b"hello", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_archive_is_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x").write_bytes(body)
    with pytest.raises(InvalidInput, match="is no bundle of a model"):
        BundleSource(tmp_path / "x").manifest()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        BundleSource(tmp_path / "x").manifest()
    with pytest.raises(InvalidInput, match="is a folder"):
        BundleSource(tmp_path).manifest()


# --- what the server reads ---------------------------------------------------------------


class Counted(MemoryBlobs):
    """A bucket that counts bytes which are read."""

    read = 0

    def get_range(self, bucket: Any, key: str, start: int, length: int) -> bytes:
        """See ``Blobs``."""
        self.read += length
        return super().get_range(bucket, key, start, length)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 30), st.integers(1, 60), st.integers(1, 9))
def test_a_folder_is_measured_in_bounded_steps_and_each_byte_is_read_once(
    bodies: list[bytes], block: int, budget: int, step: int
) -> None:
    tables, blobs = MemoryTables(), Counted()
    for number, body in enumerate(bodies):
        blobs.put("artifacts", f"default/f/{number:02}", body)
    ruler = Ruler(tables, blobs, "default", budget, block, step)
    found, known = ruler.measure("default/f/"), -1
    while not found.whole:
        assert blobs.read <= max(budget, block)
        assert found.measured > known
        known, blobs.read = found.measured, 0
        found = ruler.measure("default/f/")
    assert [file.digest for file in found.files.values()] == [digest(body, block) for body in bodies]
    assert found.measured == found.size == sum(map(len, bodies))
    ruler.forget("default/f/")
    assert tables.query("registry", "WS#default#FOLDER#default/f/").items == ()


def digest(body: bytes, block: int) -> str:
    made_ = Digest(block)
    for start in range(0, len(body), 7):
        made_.update(body[start : start + 7])
    return made_.hexdigest()


@given(st.binary(max_size=100))
def test_the_digest_of_a_file_of_one_block_is_its_sha_256(body: bytes) -> None:
    assert digest(body, 100) == hashlib.sha256(body).hexdigest()


@given(st.binary(min_size=2, max_size=100), st.integers(1, 99), st.data())
def test_no_byte_is_without_effect_on_a_digest(body: bytes, block: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(body) - 1))
    other = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    assert digest(other, block) != digest(body, block)


def test_what_was_measured_of_an_object_does_not_hold_for_another_one() -> None:
    tables, blobs = MemoryTables(), Counted()
    for path in ("a", "b"):
        blobs.put("artifacts", f"default/f/{path}", b"12345")
    ruler = Ruler(tables, blobs, "default", 5, 5)
    assert not ruler.measure("default/f/").whole
    blobs.put("artifacts", "default/f/a", b"54321")
    found: Folder = ruler.measure("default/f/")
    while not found.whole:
        found = ruler.measure("default/f/")
    assert found.files["a"].digest == hashlib.sha256(b"54321").hexdigest()


BUSY = sum(bool(body) for body in FILES.values())
"""Requests that it takes when each has time for one file."""


def given_to(desk: Desk) -> dict[str, Any]:
    return {"tables": desk.wiring.tables, "log": desk.wiring.log, "blobs": desk.wiring.blobs}


def test_a_large_version_leaves_and_arrives_in_several_requests(here: Desk) -> None:
    there, asked = Desk(), bundles.ExportVersion(name="churn", version="1")
    answers = [bundles.manifest(CALL, asked, budget=10, **given_to(here)) for _ in range(BUSY)]
    assert [answer.get("total_bytes") for answer in answers[:-1]] == [sum(map(len, FILES.values()))] * (BUSY - 1)
    manifest = Manifest.model_validate(answers[-1]["manifest"])
    folder = f"default/{folder_of('churn', manifest.content)}"
    there.blobs.put("artifacts", f"{folder}/manifest.json", manifest.text)
    for path, body in FILES.items():
        there.blobs.put("artifacts", f"{folder}/files/{path}", body)
    message = arrivals.Arrive(name="churn", content=manifest.content, digest=manifest.digest)
    with pytest.raises(NotFound, match="nothing was announced"):
        arrivals.arrive(CALL, message, **given_to(there))
    arrivals.announce(CALL, message, tables=there.wiring.tables, blobs=there.wiring.blobs)
    said = [arrivals.arrive(CALL, message, budget=10, **given_to(there)) for _ in range(BUSY)]
    assert ["version" in answer for answer in said] == [False] * (BUSY - 1) + [True]
    assert there.types("MODEL", "churn") == ["RegisteredModelCreated", "ModelVersionCreated"]
    assert here.types("MODEL", "churn").count("ModelVersionExported") == 1


class Dying(MemoryTables):
    """Tables that fail at a write, before or after it."""

    def __init__(self, at: int, effective: bool) -> None:
        super().__init__()
        self.at, self.effective, self.writes = at, effective, 0

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        self.writes += 1
        if self.writes == self.at and not self.effective:
            raise Unavailable("dead")
        super().write(writes)
        if self.writes == self.at:
            raise Unavailable("dead")


@pytest.mark.parametrize("effective", [False, True], ids=["before", "after"])
def test_a_function_that_dies_at_any_write_leaves_a_whole_version_or_none(written: Path, effective: bool) -> None:
    deaths = 0
    for at in range(1, 10):
        there = Desk(tables=Dying(at, effective))
        try:
            arrived(written, there)
        except Unavailable:
            deaths += 1
        assert len(births(there)) in (0, 1)
        assert arrived(written, there) == 1
        assert len(births(there)) == 1
    assert deaths > 1


def test_a_version_of_too_many_files_is_refused_before_they_are_told(here: Desk) -> None:
    made(here, "wide", {f"{number:05}": b"" for number in range(10_001)})
    status, said = here.registry("GET", "/v1/models/wide/versions/1/manifest")
    assert (status, said["message"]) == (413, "wide v1 has 10001 files: at most 10000 are carried")
    with pytest.raises(TooLarge):
        bundles.manifest(CALL, bundles.ExportVersion(name="wide", version="1"), **given_to(here))


def test_a_long_history_is_proven_from_the_version_s_birth_on(here: Desk) -> None:
    for number in range(bundles.PROOF_ITEMS):
        body = {"name": "churn", "version": "1", "key": "n", "value": str(number)}
        here.registry.ok("POST", f"{API}/model-versions/set-tag", body)
    made(here, files={"model.pkl": b"late"})
    for version in (1, 2):
        said = here.registry.ok("GET", f"/v1/models/churn/versions/{version}/manifest")
        manifest = Manifest.model_validate(said["manifest"])
        assert manifest.flaws() == []
        assert len(manifest.proof.items) <= bundles.PROOF_ITEMS


# --- the commands ------------------------------------------------------------------------


def test_a_version_goes_by_hand_and_directly(here: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, run, file = Desk(), CliRunner(), tmp_path / "churn.zip"
    here.registry.ok("POST", f"{API}/registered-models/alias", {"name": "churn", "alias": "champion", "version": "1"})
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mw.default.0.x")
    monkeypatch.setenv("PROD_TOKEN", "mw.default.1.x")
    with stack(here) as left, stack(there) as right:
        toml = f'[stacks.prod]\nendpoint = "{right.name}"\ntoken_env = "PROD_TOKEN"\n'
        (tmp_path / "modelwright.toml").write_text(toml)
        out = run.invoke(app, ["export", "model", "churn@champion", str(file), "--endpoint", left.name])
        assert out.exit_code == 0, out.output
        assert "default/churn/1: 4 files" in out.output
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mw.default.0.x")
        into = run.invoke(app, ["import", "model", str(file), "--as", "copy", "--endpoint", right.name])
        assert into.exit_code == 0, into.output
        assert "is copy v1" in into.output
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mw.default.0.x")
        promote = ["promote", "churn@champion", "--to", "prod", "--folder", str(tmp_path), "--endpoint", left.name]
        said = run.invoke(app, promote)
        assert said.exit_code == 0, said.output
        assert "is churn v1 at prod: 4 of 4 files sent, all verified" in said.output
        assert "champion: applied (request " in said.output
        again = run.invoke(app, promote)
        assert "was there already" in again.output
        assert "champion: applied, as it was before" in again.output
    found = there.registry.ok("GET", f"{API}/registered-models/alias?name=churn&alias=champion")
    assert found["model_version"]["version"] == "1"


@dataclass
class Way:
    """Two stacks, whose commands run in this process."""

    here: Desk
    there: Desk
    promote: Callable[..., Any]


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    here, there = Desk(), Desk()
    made(here, "flights")
    here.registry.ok("POST", f"{API}/registered-models/alias", {"name": "flights", "alias": "champion", "version": "1"})
    with stack(here) as left, stack(there) as right:
        toml = f'[stacks.prod]\nendpoint = "{right.name}"\ntoken_env = "PROD_TOKEN"\n'
        (tmp_path / "modelwright.toml").write_text(toml)
        monkeypatch.setenv("PROD_TOKEN", "mw.default.1.x")

        def promote(*options: str) -> Any:
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mw.default.0.x")
            command = ["promote", "flights@champion", "--folder", str(tmp_path), "--endpoint", left.name, *options]
            return CliRunner().invoke(app, command)

        yield Way(here, there, promote)


def policy(desk: Desk, **changes: Any) -> None:
    """Apply the demo's project with another policy of its model."""
    declared = read_team(Path(demo.__file__).parent / "project").project.model_dump(mode="json")
    declared["models"]["flights"]["gates"] |= changes
    desk.registry.ok("POST", "/v1/projects", {"project": {**declared, "digest": ""}})


def test_the_alias_waits_for_the_target_s_approvals_and_is_asked_for_once(way: Way) -> None:
    policy(way.there, gates=[], approvals=2)
    first, second = way.promote("--to", "prod"), way.promote("--to", "prod")
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    lines = [line for said in (first, second) for line in said.output.splitlines() if line.startswith("champion: ")]
    assert lines[0].startswith("champion: waits for 2 approval(s) (request ")
    assert lines == [lines[0]] * 2
    assert way.there.types("MODEL", "flights").count("TransitionRequested") == 1


def test_the_target_s_gates_refuse_with_every_reason_and_the_version_stays(way: Way) -> None:
    policy(way.there, gates=["metric_floor", "data_known"], floor=0.9)
    said = way.promote("--to", "prod")
    assert said.exit_code == 1
    assert "is flights v1 at prod" in said.output
    assert "champion: refused: " in said.output
    assert "metric_floor: auc of flights v1 is 0.8100; at least 0.9000 is needed" in said.output
    assert "data_known: nobody said what flights v1 was trained on" in said.output
    assert files(way.there, name="flights") == FILES


def test_another_alias_name_and_reason_can_be_asked_for(way: Way) -> None:
    said = way.promote("--to", "prod", "--alias", "blue", "--as", "late", "--reason", "because")
    assert "is late v1 at prod" in said.output
    assert "blue: applied" in said.output
    found = way.there.registry.ok("GET", f"{API}/registered-models/alias?name=late&alias=blue")
    assert found["model_version"]["version"] == "1"


def test_a_stack_that_nobody_named_is_refused(way: Way) -> None:
    said = way.promote("--to", "staging")
    assert "has no [stacks.staging]" in str(said.exception)
    assert way.there.types("MODEL", "flights") == []


def test_no_file_is_written_over(written: Path) -> None:
    said = CliRunner().invoke(app, ["export", "model", "churn/1", str(written), "--endpoint", "http://127.0.0.1:9"])
    assert "exists already" in str(said.exception)
