"""Any period of the log is exported page by page, with what proves it, and that it was is in the log."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.http import Caller, ServedBlobs, handler_of, memory_wiring, serve

from governance.desk import START, Desk, Mortal
from modelwright.adapters.memory import MemoryTables
from modelwright.cli import audit
from modelwright.client import Api
from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound, Refused, Unavailable
from modelwright.events import AccessRefused, AliasChanged
from modelwright.governance import exporting, verifier
from modelwright.governance.access import Grant
from modelwright.governance.anchoring import anchor
from modelwright.governance.exporting import BeginExport, FinishExport
from modelwright.log import Happened, Log, LogItem, stream_of
from modelwright.storage import Anything, Key, Put
from modelwright.wiring import Wiring

HOUR = timedelta(hours=1)
DAY = START.replace(hour=0, minute=0)
DONE = FinishExport(items=2, digest="0" * 64)
Run = Callable[..., tuple[int, list[str]]]


def anchored(desk: Desk) -> None:
    anchor(desk.call, wall=desk.wall, tables=desk.tables, blobs=desk.blobs, log=desk.log)


def begun(desk: Desk, start: datetime, end: datetime, call: Call | None = None) -> dict[str, Any]:
    asked = BeginExport(start=start, end=end)
    given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "log": desk.log}
    return exporting.begin(call or desk.call, asked, wall=desk.wall, platform=desk.call, **given)


def taken(desk: Desk, export: str, call: Call | None = None) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor, cache = "", dict[str, Any]()
    while True:
        given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "cache": cache}
        page = exporting.page(call or desk.call, export, cursor=cursor, **given)
        items += page["items"]
        if not (cursor := page["next"]):
            return items


def places(items: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(item["pk"].split("#", 2)[2], int(item["sk"])) for item in items]


def exports(desk: Desk, workspace: str = "default") -> list[dict[str, Any]]:
    return [item.envelope.data for item in desk.log.read(stream_of(workspace, "AUDIT", "exports"))]


def hourly(hours: int = 6) -> Desk:
    """Something happens to ``a`` every hour and to ``b`` every other, and a root is written half an hour later."""
    desk = Desk()
    for n in range(hours):
        desk.happen("a", *(["b"] if n % 2 else []))
        desk.wait(minutes=30)
        anchored(desk)
        desk.wait(minutes=30)
    return desk


def test_an_export_reaches_from_the_root_before_its_period_to_the_one_after() -> None:
    desk = hourly()
    said = begun(desk, START + 2 * HOUR - timedelta(minutes=10), START + 4 * HOUR - timedelta(minutes=10))
    assert (said["from"]["number"], said["to"]["number"]) == (2, 5)
    items = taken(desk, said["export"])
    assert places(items) == [
        ("AUDIT#roots", 2), ("AUDIT#roots", 3), ("AUDIT#roots", 4),
        ("MODEL#a", 3), ("MODEL#a", 4), ("MODEL#a", 5), ("MODEL#b", 2),
    ]  # fmt: skip


def test_a_period_from_before_the_first_root_begins_with_the_log() -> None:
    desk = hourly()
    said = begun(desk, DAY, START + HOUR)
    assert said["from"] is None
    assert places(taken(desk, said["export"])) == [("AUDIT#roots", 1), ("MODEL#a", 1), ("MODEL#a", 2), ("MODEL#b", 1)]


def test_if_no_root_is_late_enough_one_is_written() -> None:
    desk = hourly(2)
    desk.wait(minutes=10)
    desk.happen("c")
    said = begun(desk, START + HOUR, desk.wall - timedelta(minutes=6))
    assert said["to"]["number"] == 3
    assert said["to"]["at"] == desk.wall.isoformat()
    assert ("MODEL#c", 1) in places(taken(desk, said["export"]))


def test_a_period_that_is_not_over_ends_now() -> None:
    desk = hourly(2)
    said = begun(desk, START, desk.wall + 5 * HOUR)
    assert said["end"] == said["to"]["at"] == desk.wall.isoformat()


def test_all_that_there_is_may_be_asked_for() -> None:
    desk = hourly(2)
    said = begun(desk, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    assert (said["from"], said["end"]) == (None, desk.wall.isoformat())
    assert ("MODEL#a", 1) in places(taken(desk, said["export"]))


def test_who_exports_in_a_loop_leaves_so_many_roots_an_hour_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can delete them, and a reader may export."""
    monkeypatch.setattr(exporting, "MOST_ROOTS", 3)
    desk = hourly(1)
    ends = []
    for _ in range(6):
        desk.wait(seconds=1)
        ends.append(begun(desk, START, desk.wall)["to"]["number"])
    assert ends == [2, 3, 3, 3, 3, 3]
    with pytest.raises(Unavailable, match="too many exports"):
        begun(desk, desk.wall - timedelta(seconds=1), desk.wall)
    desk.wait(hours=2)
    assert begun(desk, START, desk.wall)["to"]["number"] == 4


def test_a_period_in_which_nothing_happened_has_no_items_and_two_roots() -> None:
    desk = hourly(2)
    desk.wait(days=3)
    anchored(desk)
    desk.wait(days=3)
    said = begun(desk, desk.wall - timedelta(days=2), desk.wall - timedelta(days=1))
    assert taken(desk, said["export"]) == [] or set(places(taken(desk, said["export"]))) == {("AUDIT#roots", 2)}


@pytest.mark.parametrize("size", [1, 400, 3000])
def test_pages_hold_as_much_as_fits_and_miss_nothing(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    desk = hourly()
    said = begun(desk, DAY, START + 6 * HOUR)
    whole = taken(desk, said["export"])
    monkeypatch.setattr(exporting, "PAGE_BYTES", size)
    assert taken(desk, said["export"]) == whole
    monkeypatch.setattr(exporting, "PAGE_ITEMS", 2)
    assert taken(desk, said["export"]) == whole


def test_a_page_stays_below_what_a_function_may_answer() -> None:
    desk = Desk()
    large = AliasChanged(model="a", alias="x", version=1, previous=None, reason='"ü' * 60_000)
    stream = stream_of("default", "MODEL", "a")
    for _ in range(20):
        desk.log.commit(desk.call, [Happened(stream, large)])
    said = begun(desk, DAY, desk.wall)
    cursor, sizes, cache = "", [], dict[str, Any]()
    while True:
        given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "cache": cache}
        page = exporting.page(desk.call, said["export"], cursor=cursor, **given)
        sizes.append(len(json.dumps(page)))
        if not (cursor := page["next"]):
            break
    assert max(sizes) < 6_000_000
    assert len(sizes) > 1


def test_who_takes_an_export_is_in_the_log_before_anything_is_given_out_and_what_was_taken_after() -> None:
    desk = hourly(2)
    said = begun(desk, DAY, START + HOUR)
    (first,) = exports(desk)
    assert (first["items"], first["digest"], first["format"]) == (0, "", "jsonl")
    done = FinishExport(items=4, digest="0" * 64)
    for _ in range(2):
        exporting.finish(desk.call, said["export"], done, tables=desk.tables, log=desk.log)
    _, second = exports(desk)
    assert (second["items"], second["digest"]) == (4, "0" * 64)
    assert (second["start"], second["end"]) == (first["start"], first["end"])


def test_an_export_is_finished_with_one_digest() -> None:
    desk = hourly(2)
    said = begun(desk, DAY, START + HOUR)
    given: dict[str, Any] = {"tables": desk.tables, "log": desk.log}
    exporting.finish(desk.call, said["export"], FinishExport(items=4, digest="0" * 64), **given)
    with pytest.raises(Refused, match="was finished with another digest"):
        exporting.finish(desk.call, said["export"], FinishExport(items=4, digest="1" * 64), **given)
    assert len(exports(desk)) == 2


@pytest.mark.parametrize(
    ("start", "end", "fault"),
    [(START, START, "must start before it ends"), (START + 2 * HOUR, START, "must start"),
     (START + 99 * HOUR, START + 100 * HOUR, "in the future")],
)  # fmt: skip
def test_a_period_that_is_none_is_refused_and_nothing_is_written(start: datetime, end: datetime, fault: str) -> None:
    desk = hourly(2)
    before = repr(desk.tables._items)
    with pytest.raises(InvalidInput, match=fault):
        begun(desk, start, end)
    assert repr(desk.tables._items) == before


def test_of_an_empty_log_there_is_nothing_to_export() -> None:
    desk = Desk()
    with pytest.raises(InvalidInput, match="nothing was ever written"):
        begun(desk, DAY, START)


@pytest.mark.parametrize("cursor", ["x", "1", "-1.0", "99.1", "1.x", "²." + "1", "1." + "9" * 5000])
def test_a_cursor_of_nobodys_is_refused(cursor: str) -> None:
    desk = hourly(2)
    said = begun(desk, DAY, START + HOUR)
    given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "cache": {}}
    with pytest.raises(InvalidInput, match="is no cursor of"):
        exporting.page(desk.call, said["export"], cursor=cursor, **given)


def test_an_export_that_is_killed_between_any_two_calls_can_be_taken_again() -> None:
    for calls in range(1000):
        tables = Mortal()
        desk = Desk(tables=tables)
        desk.happen("a", "b")
        anchored(desk)
        desk.wait(minutes=30)
        desk.happen("b")
        desk.wait(minutes=10)
        killed, tables.left = False, calls
        try:
            said = begun(desk, DAY, desk.wall)
            taken(desk, said["export"])
            exporting.finish(desk.call, said["export"], DONE, tables=tables, log=desk.log)
        except Unavailable:
            killed = True
        tables.left = 10**9
        desk.wait(seconds=1)
        said = begun(desk, DAY, desk.wall)
        assert [place for place in places(taken(desk, said["export"])) if place[0].startswith("MODEL")] == [
            ("MODEL#a", 1), ("MODEL#b", 1), ("MODEL#b", 2)
        ]  # fmt: skip
        exporting.finish(desk.call, said["export"], DONE, tables=tables, log=desk.log)
        assert [event["digest"] for event in exports(desk)][-2:] == ["", DONE.digest]
        items = sorted(tables._items["log"].values(), key=lambda item: (item["pk"], item["sk"]))
        roots = [json.loads(desk.blobs.get("audit", row.key).body) for row in desk.blobs.list("audit", "roots/")]
        assert (verifier.verify(items, roots)[0], verifier.root_faults(roots)) == ([], [])
        if not killed:
            return
    raise AssertionError("an export makes more calls than this test kills")


# --- who may ----------------------------------------------------------------------------


def refusing(desk: Desk, *denied: str) -> Call:
    """Return a call that may read all of the log but some resources."""

    def authority(action: str, resource: str) -> None:
        if any(word in resource for word in denied):
            raise Forbidden(f"{action} on {resource}")

    return Call("default", "eve", desk.wall, "c", authority)


def test_who_may_not_read_the_log_takes_nothing_and_leaves_no_root() -> None:
    desk = hourly(2)
    before = repr(desk.tables._items)
    with pytest.raises(Forbidden, match="log:read on workspace"):
        begun(desk, DAY, desk.wall, refusing(desk, "workspace"))
    assert repr(desk.tables._items) == before


def test_who_may_not_read_one_stream_gets_no_export_with_it() -> None:
    desk = hourly(2)
    call = refusing(desk, "MODEL#b")
    said = begun(desk, DAY, START + HOUR, call)
    with pytest.raises(Forbidden, match="stream/WS#default#MODEL#b"):
        taken(desk, said["export"], call)


def test_an_export_has_the_callers_workspace_alone_and_is_found_in_it_alone() -> None:
    desk = hourly(2)
    other = Call("other", "eve", desk.wall, "c")
    desk.log.commit(other, [Happened(stream_of("other", "MODEL", "o"), AccessRefused(action="a", resource="r"))])
    anchored(desk)
    desk.wait(seconds=1)
    mine = begun(desk, DAY, desk.wall)
    desk.wait(seconds=1)
    theirs = begun(desk, DAY, desk.wall, other)
    assert {item["pk"].split("#")[1] for item in taken(desk, mine["export"])} == {"default"}
    assert places(taken(desk, theirs["export"], other))[-1:] == [("MODEL#o", 1)]
    assert {item["pk"].split("#")[1] for item in taken(desk, theirs["export"], other)} == {"other"}
    with pytest.raises(NotFound, match="there is no export"):
        taken(desk, mine["export"], other)


def test_a_root_is_shown_as_the_workspaces_part_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.happen(*"abcdefg")
    anchored(desk)
    monkeypatch.setattr(exporting, "PAGE_HEADS", 3)
    heads, after = dict[str, Any](), ""
    while True:
        page = exporting.root(desk.call, None, after=after, tables=desk.tables, blobs=desk.blobs)
        assert len(page["heads"]) <= 3
        heads |= page["heads"]
        if not (after := page["next"]):
            break
    del page["next"]
    assert verifier.root_faults([{**page, "heads": heads}]) == []
    theirs = exporting.root(Call("other", "eve", desk.wall, "c"), None, after="", tables=desk.tables, blobs=desk.blobs)
    assert (theirs["heads"], theirs["part_of"]) == ({}, page["root"])


def test_a_root_that_is_not_there_is_not_found() -> None:
    desk = Desk()
    for at in (None, START):
        with pytest.raises(NotFound, match="there is no root"):
            exporting.root(desk.call, at, after="", tables=desk.tables, blobs=desk.blobs)


# --- over HTTP, with the command ---------------------------------------------------------


@pytest.fixture
def wiring() -> Wiring:
    """A stack to which something happened yesterday, every hour, with roots."""
    wiring = memory_wiring(tables=MemoryTables(), blobs=ServedBlobs())
    today = YESTERDAY + timedelta(days=1)  # also where midnight came between
    for hour in range(24):
        wall = today - timedelta(days=1) + hour * HOUR + timedelta(minutes=7)
        log = Log(wiring.tables, wall=lambda wall=wall: wall)  # type: ignore[misc]
        call = Call("default", "ann", wall, f"c-{hour}")
        change = AliasChanged(model="a", alias="champion", version=hour + 1, previous=None, reason="=1+1, größer")
        refused = AccessRefused(action="models:write", resource="model/a")
        log.commit(call, [Happened(stream_of("default", "MODEL", "a"), change)])
        log.commit(call, [Happened(stream_of("default", "ACCESS", "refused-eve"), refused)])
        anchor(call, wall=wall + timedelta(minutes=30), tables=wiring.tables, blobs=wiring.blobs, log=log)
    return wiring


YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


@pytest.fixture
def endpoint(wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mw.default.x.y")
    blobs: Any = wiring._blobs
    with serve([handler_of("anchor", wiring), handler_of("console", wiring)], blobs) as url:
        monkeypatch.setenv("MODELWRIGHT_ENDPOINT", url)
        yield url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command, and gives its exit status and its lines."""

    def command(*arguments: str) -> tuple[int, list[str]]:
        code = audit.app(arguments, standalone_mode=False) or 0
        return int(code), capsys.readouterr().out.splitlines()

    return command


def test_the_command_takes_a_period_and_verifies_it(endpoint: str, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    start, end = (f"{YESTERDAY + n * HOUR:%Y-%m-%dT%H:%M}" for n in (6, 12))
    code, (line,) = run("export", str(folder), "--from", start, "--to", end, "--format", "csv")
    assert (code, "items of 3 streams" in line) == (0, True)
    assert {path.name for path in folder.iterdir()} == {
        "log.jsonl", "log.csv", "manifest.json", "root-00000006.json", "root-00000013.json"
    }  # fmt: skip
    code, lines = run("verify", str(folder), "--recorded", "--digest", line.split()[-1])
    assert code == 0, lines
    assert "the log has this manifest" in lines[0]
    assert "by ann" in lines[0]
    assert lines[1:] == [
        f"workspace default, {start}:00+00:00 to {end}:00+00:00",
        "21 items in 3 streams: verified, by the roots beside it: --roots takes the audit bucket's own",
    ]
    bucket = [str(tmp_path / f"bucket-{number}.json") for number in (6, 13)]
    for path, number in zip(bucket, (6, 13), strict=True):
        Path(path).write_bytes((folder / f"root-{number:08d}.json").read_bytes())
    code, lines = run("verify", str(folder), *(f"--roots={path}" for path in bucket))
    assert (code, lines[1:]) == (0, ["21 items in 3 streams: verified"])


def test_the_csv_has_the_periods_own_events_by_time_with_the_names_of_cloudtrail(
    endpoint: str, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    start, end = (f"{YESTERDAY + n * HOUR:%Y-%m-%dT%H:%M}" for n in (6, 12))
    run("export", str(folder), "--from", start, "--to", end, "--format", "csv")
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times = [row["eventTime"] for row in rows]
    assert times == sorted(times)
    assert {f"{start}:00.000Z" <= time < f"{end}:00.000Z" for time in times} == {True}
    names = [row["eventName"] for row in rows]
    assert {name: names.count(name) for name in set(names)} == {
        "AliasChanged": 6, "AccessRefused": 6, "RootAnchored": 6
    }  # fmt: skip
    refused = next(row for row in rows if row["eventName"] == "AccessRefused")
    assert (refused["userIdentity"], refused["errorCode"], refused["recipientAccountId"], refused["readOnly"]) == (
        "ann", "AccessDenied", "default", "false"
    )  # fmt: skip
    assert refused["requestID"].startswith("c-")
    changed = next(row for row in rows if row["eventName"] == "AliasChanged")
    assert changed["resource"] == "WS#default#MODEL#a"
    assert json.loads(changed["requestParameters"])["reason"] == "=1+1, größer"


def test_cloudtrail_records_say_the_same(endpoint: str, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    run("export", str(folder), "--from", f"{YESTERDAY:%Y-%m-%d}", "--format", "cloudtrail")
    records = json.loads((folder / "cloudtrail.json").read_text(encoding="utf-8"))["Records"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    envelopes = {(e := json.loads(line["envelope"]))["id"]: (e, line) for line in lines}
    assert len(records) > 48
    for record in records:
        envelope, line = envelopes[record["eventID"]]
        assert record["requestParameters"] == envelope["data"]
        assert record["userIdentity"]["principalId"] == envelope["actor"]
        assert record["additionalEventData"]["hash"] == line["hash"]
        assert ("errorCode" in record) == (envelope["type"] == "AccessRefused")
    assert run("verify", str(folder))[0] == 0


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "manifest.json", "root-00000006.json"])
def test_a_file_that_was_changed_is_named(endpoint: str, run: Run, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "export"
    start, end = (f"{YESTERDAY + n * HOUR:%Y-%m-%dT%H:%M}" for n in (6, 12))
    _, (line,) = run("export", str(folder), "--from", start, "--to", end, "--format", "csv")
    body = bytearray((folder / name).read_bytes())
    body[len(body) // 2] ^= 1
    (folder / name).write_bytes(body)
    code, lines = run("verify", str(folder), "--digest", line.split()[-1])
    assert code == 1
    assert any(name.split("-", maxsplit=1)[0] in said for said in lines), lines


def test_what_was_changed_in_the_table_itself_is_found_in_an_export(
    endpoint: str, run: Run, wiring: Wiring, tmp_path: Path
) -> None:
    stream, place = stream_of("default", "MODEL", "a"), f"{9:012d}"
    stored = wiring.tables.get("log", Key(stream, place))
    assert stored is not None
    forged = LogItem.chain(LogItem.read(stored).envelope.model_copy(update={"actor": "mallory"}), stored["previous"])
    wiring.tables.write([Put("log", {**stored, **forged.item(YESTERDAY)}, Anything())])
    folder = tmp_path / "export"
    run("export", str(folder), "--from", f"{YESTERDAY:%Y-%m-%d}")
    code, lines = run("verify", str(folder))
    assert code == 1
    assert f"{stream} is broken at sequence 10: it does not follow the item before it" in lines


def test_a_csv_that_was_made_up_with_its_digest_is_found(endpoint: str, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    run("export", str(folder), "--from", f"{YESTERDAY:%Y-%m-%d}", "--format", "csv")
    text = (folder / "log.csv").read_text(encoding="utf-8").replace("AccessRefused", "AliasChanged")
    (folder / "log.csv").write_text(text, encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["log.csv"] = {"sha256": audit._digest_of(folder / "log.csv"), "bytes": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    code, lines = run("verify", str(folder))
    assert (code, lines[1]) == (1, "log.csv is not what log.jsonl makes")
    with pytest.raises(InvalidInput, match="tells of no manifest with the digest"):
        run("verify", str(folder), "--recorded")


def test_roots_are_listed_with_where_they_lie(endpoint: str, run: Run) -> None:
    start, end = (f"{YESTERDAY + n * HOUR:%Y-%m-%dT%H:%M}" for n in (6, 9))
    code, lines = run("roots", "--from", start, "--to", end)
    assert (code, [line.split()[0] for line in lines]) == (0, ["7", "8", "9"])
    assert f"roots/{YESTERDAY:%Y/%m/%d}/00000007-" in lines[0]
    code, lines = run("roots", "--from", start, "--to", end, "--json")
    assert [root["number"] for root in json.loads("\n".join(lines))] == [7, 8, 9]


def test_a_folder_with_something_in_it_is_left_alone(endpoint: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="must be a new or an empty folder"):
        run("export", str(tmp_path), "--from", "2026-01-01")
    with pytest.raises(InvalidInput, match="is no time"):
        run("export", str(tmp_path / "x"), "--from", "yesterday")
    with pytest.raises(InvalidInput, match="is no export: it has no manifest"):
        run("verify", str(tmp_path))


def test_the_same_period_between_the_same_roots_makes_the_same_bytes(endpoint: str, tmp_path: Path) -> None:
    bodies = []
    for name in ("one", "two"):
        period = YESTERDAY + 6 * HOUR, YESTERDAY + 12 * HOUR
        audit.take(Api(endpoint, "mw.default.x.y"), _new(tmp_path / name), period, "cloudtrail")
        bodies.append([(tmp_path / name / file).read_bytes() for file in ("log.jsonl", "cloudtrail.json")])
    assert bodies[0] == bodies[1]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/v1/audit/exports", {"start": "2026-01-01", "end": "2026-02-01"}),
     ("POST", "/v1/audit/exports", {"start": "2026-01-01T00:00:00Z"}),
     ("POST", "/v1/audit/exports", {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z", "format": "xml"}),
     ("POST", "/v1/audit/exports/x", {"items": -1, "digest": "0" * 64}),
     ("POST", "/v1/audit/exports/x", {"items": 1, "digest": "0"}),
     ("GET", "/v1/audit/roots?from=soon", None), ("GET", "/v1/audit/root?at=soon", None),
     ("GET", "/v1/audit/roots?cursor=x", None)],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_told(wiring: Wiring, method: str, path: str, body: Any) -> None:
    status, said = Caller(handler_of("anchor", wiring))(method, path, body)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), said


def test_a_reader_may_export_and_who_was_granted_nothing_may_not(wiring: Wiring) -> None:
    body = {"start": f"{YESTERDAY.isoformat()}", "end": f"{(YESTERDAY + 9 * HOUR).isoformat()}"}
    function = handler_of("anchor", wiring)
    reader = Caller(function, actor="rita", grants=(Grant(role="reader"),))
    said = reader.ok("POST", "/v1/audit/exports", body)
    assert reader.ok("GET", f"/v1/audit/exports/{said['export']}/items")["items"]
    assert Caller(function, grants=())("POST", "/v1/audit/exports", body)[0] == 403
    stored = wiring.tables.get("governance", Key("WS#default#EXPORT", said["export"]))
    assert stored is not None
    assert stored["actor"] == "rita"
