import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.adapters.memory import MemoryBlobs
from modelwright.context import Call
from modelwright.errors import Conflict, Forbidden, NotFound, Unavailable
from modelwright.events import QualityFailed, QuarantineReleased, UploadAccepted
from modelwright.governance.access import Grant, Identity, require
from modelwright.monitoring import uploads
from modelwright.monitoring.profiles import Profile
from modelwright.monitoring.reading import parquet_bytes, parquet_table, read_rows
from modelwright.project import Column, Project, Source
from monitoring.desk import NOW, Desk
from monitoring.year import SOURCES, csv_bytes

SMALL = Source(
    prefix="small/",
    columns={
        "id": Column(type="string"),
        "at": Column(type="timestamp"),
        "n": Column(type="integer", nullable=True, low=0, high=100),
        "x": Column(type="number", nullable=True),
        "ok": Column(type="boolean"),
        "kind": Column(type="string", values=("a", "b")),
    },
    key=("id",),
    event_time="at",
)
PROJECT = Project(name="tiny", sources={"small": SMALL, **SOURCES})
HEADER = "id,at,n,x,ok,kind\n"


def lines(count: int, start: int = 0) -> str:
    return "".join(f"r{i},2013-01-01T{i % 24:02d}:00:00Z,{i % 100},{i}.5,true,a\n" for i in range(start, start + count))


@pytest.fixture
def desk() -> Desk:
    return Desk(PROJECT)


def test_good_rows_go_on_in_canonical_types(desk: Desk) -> None:
    assert desk.land("small/1.csv", (HEADER + lines(10)).encode()) == "accepted 10 rows"
    (event,) = desk.events(UploadAccepted, "small")
    table = parquet_table(desk.blobs.get("lake", event.key).body)
    assert table.column_names == list(SMALL.columns)
    assert [str(t) for t in table.schema.types] == [
        "string", "timestamp[us, tz=UTC]", "int64", "double", "bool", "string",
    ]  # fmt: skip
    assert event.window.start == datetime(2013, 1, 1, tzinfo=UTC)
    assert event.window.end == datetime(2013, 1, 1, 9, 0, 0, 1, tzinfo=UTC)
    profile = Profile.unpacked(desk.blobs.get("lake", event.profile_key).body)
    assert (profile.rows, profile.columns["x"].low, profile.columns["kind"].top) == (10, 0.5, {"a": 10})


def test_parquet_and_csv_of_the_same_rows_are_the_same_content(desk: Desk) -> None:
    desk.land("small/1.csv", (HEADER + lines(10)).encode())
    (event,) = desk.events(UploadAccepted, "small")
    table = parquet_table(desk.blobs.get("lake", event.key).body)
    again = parquet_bytes(table.set_column(1, "at", table.column("at").cast(pa.timestamp("ns"))))
    assert desk.land("small/2.parquet", again).startswith("same content as small/1.csv")
    assert len(desk.events(UploadAccepted, "small")) == 1


@pytest.mark.parametrize(
    ("unit", "time"), [("us", 2**60), ("us", -(2**61)), ("ms", 2**58), ("ms", 253_402_300_800_000)]
)
def test_a_time_outside_the_years_that_there_are_is_broken(desk: Desk, unit: str, time: int) -> None:
    desk.land("small/1.csv", (HEADER + lines(10)).encode())
    (event,) = desk.events(UploadAccepted, "small")
    table = parquet_table(desk.blobs.get("lake", event.key).body)
    times = table.column("at").cast(pa.timestamp(unit, "UTC")).cast(pa.int64()).to_pylist()
    strange = pa.array([*times[:-1], time], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    body = parquet_bytes(table.set_column(1, "at", strange))
    rows = read_rows(body, SMALL)
    assert rows.typed.column("at").null_count == 1
    assert rows.untyped["at"].tolist() == [False] * 9 + [True]
    assert rows.raw.column("at")[9].as_py() == f"{time} {unit} since 1970"
    desk.land("small/2.parquet", body)
    (told,) = desk.events(QualityFailed, "small")
    assert [finding.check for finding in told.findings] == ["type"]


def test_the_same_delivery_twice_is_one_event(desk: Desk) -> None:
    version = desk.blobs.put("landing", "small/1.csv", (HEADER + lines(3)).encode())
    first, second = desk.receive("small/1.csv", version), desk.receive("small/1.csv", version)
    assert second == f"repeated delivery: {first}"
    assert len(desk.events(UploadAccepted, "small")) == 1


@pytest.mark.parametrize(
    ("key", "body", "check", "text"),
    [
        ("small/1.csv", b"", "readable", "the file is empty"),
        ("small/1.csv", b"\xff\xfe\x00rubbish", "readable", "neither Parquet nor CSV"),
        ("small/1.parquet", b"PAR1 cut off", "truncated_file", "is cut off"),
        ("small/1.parquet", b"PAR1 broken PAR1", "readable", "cannot be read"),
        (
            "small/1.csv",
            b"id,at,n,x,ok,colour\nr,2013-01-01,1,1,true,a\n",
            "schema",
            "no column kind; it has columns",
        ),
        ("small/1.csv", HEADER.encode(), "readable", "no rows"),
        ("small/1.csv", b"id,id\n1,2\n", "schema", "names a column twice"),
        ("small/1.csv", (HEADER + "r1,never,1,1,true,a\n").encode(), "event_time", "no row has a time"),
        ("small/1.csv", b"{" + b'"a": 1}' * 50, "readable", ""),
    ],
)
def test_a_file_that_cannot_be_read_is_quarantined_with_the_reason(
    desk: Desk, key: str, body: bytes, check: str, text: str
) -> None:
    assert desk.land(key, body).startswith("quarantined as ")
    (event,) = desk.events(QualityFailed, "small")
    assert event.scope == "file"
    assert any(f.check == check and text in f.text for f in event.findings)
    assert desk.blobs.get("lake", event.quarantine_key).body == body
    reasons = json.loads(desk.blobs.get("lake", event.quarantine_key.rsplit("/", 1)[0] + "/reasons.json").body)
    assert reasons["findings"][0]["check"] in {f.check for f in event.findings}


@pytest.mark.parametrize(
    "body",
    [b"jo@example.org,2013-01-01,1,7,true,a\n", b'{"id": "jo@example.org"}\n', b"PAR1 jo@example.org"],
)
def test_no_word_of_a_file_that_cannot_be_read_is_told_outside_its_quarantine(desk: Desk, body: bytes) -> None:
    outcome = desk.land("small/1.csv", body)
    (event,) = desk.events(QualityFailed, "small")
    (held,) = uploads.quarantined(desk.call(), tables=desk.tables)
    assert "jo@example.org" not in f"{outcome} {event} {held}"
    reasons = json.loads(desk.blobs.get("lake", event.quarantine_key.rsplit("/", 1)[0] + "/reasons.json").body)
    assert event.findings[0].text.split(";")[0] in reasons["quoting"]
    if not body.startswith(b"PAR1"):
        assert "jo@example.org" in reasons["quoting"]


def test_an_unknown_prefix_and_a_missing_project_are_quarantined_as_unknown(desk: Desk) -> None:
    assert "no source of project tiny takes other/1.csv" in desk.land("other/1.csv", b"a\n1\n")
    bare = Desk(None)
    assert "no project yet" in bare.land("other/1.csv", b"a\n1\n")
    assert len(bare.events(QualityFailed, "unknown")) == 1


def test_bad_rows_are_held_and_good_ones_go_on(desk: Desk) -> None:
    bad = (
        "b1,2013-01-01,many,1,true,a\n"
        "b2,2013-01-01,1.5,1,true,a\n"
        "b3,2013-01-01,-1,1,true,a\n"
        "b4,2013-01-01,101,1,true,a\n"
        "b5,2013-01-01,1,1,perhaps,a\n"
        "b6,2013-01-01,1,1,,a\n"
        "b7,2013-01-01,1,1,true,z\n"
        "b8,2013-13-45,1,1,true,a\n"
        ",2013-01-01,1,1,true,a\n"
        "b10,2013-01-01,1,inf,true,a\n"
        "b11,too,few\n"
    )
    outcome = desk.land("small/1.csv", (HEADER + lines(20) + bad).encode())
    assert outcome == "accepted 20 rows, held 11"
    (failed,) = desk.events(QualityFailed, "small")
    assert (failed.scope, failed.rows) == ("rows", 11)
    assert {(f.check, f.column) for f in failed.findings} == {
        ("type", "n"), ("low", "n"), ("high", "n"), ("type", "ok"), ("required", "ok"), ("values", "kind"),
        ("type", "at"), ("required", "id"), ("type", "x"), ("malformed", ""),
    }  # fmt: skip
    held = parquet_table(desk.blobs.get("lake", failed.quarantine_key).body)
    assert held.column("n").to_pylist()[:2] == ["many", "1.5"]


def test_exact_repeats_are_dropped_with_a_warning_and_conflicting_ones_held(desk: Desk) -> None:
    text = HEADER + lines(20) + lines(2) + "r5,2013-01-01T05:00:00Z,77,5.5,true,a\n"
    assert desk.land("small/1.csv", text.encode()) == "accepted 19 rows, held 2"
    (accepted,) = desk.events(UploadAccepted, "small")
    assert [f.check for f in accepted.findings] == ["duplicate_row"]
    (failed,) = desk.events(QualityFailed, "small")
    assert [(f.check, f.column) for f in failed.findings] == [("duplicate_key", "id")]


def test_mostly_bad_rows_hold_the_whole_file(desk: Desk) -> None:
    text = HEADER + lines(4) + "".join(f"b{i},2013-01-01,many,1,true,a\n" for i in range(5))
    desk.land("small/1.csv", text.encode())
    (failed,) = desk.events(QualityFailed, "small")
    assert (failed.scope, failed.rows) == ("file", 9)
    assert not desk.events(UploadAccepted, "small")


def test_a_corrected_file_of_the_same_window_releases_the_quarantine(desk: Desk) -> None:
    wrong = HEADER + lines(30).replace(",true,", ",maybe,")
    desk.land("small/1.csv", wrong.encode())
    (failed,) = desk.events(QualityFailed, "small")
    desk.land("small/other.csv", (HEADER + lines(3)).replace("2013-01-01", "2013-02-01").encode())
    assert not desk.events(QuarantineReleased, "small")
    desk.land("small/1b.csv", (HEADER + lines(30)).encode())
    (released,) = desk.events(QuarantineReleased, "small")
    assert released.quarantine_id == failed.quarantine_id
    assert uploads.quarantined(desk.call(), tables=desk.tables) == []


def test_broken_content_sent_again_is_one_quarantine_until_it_is_closed(desk: Desk) -> None:
    body = (HEADER + lines(30).replace(",true,", ",maybe,")).encode()
    desk.land("small/1.csv", body)
    assert "still in quarantine" in desk.land("small/2.csv", body)
    (held,) = uploads.quarantined(desk.call(), tables=desk.tables)
    uploads.discard(desk.call(), held.id, tables=desk.tables, log=desk.log)
    assert desk.land("small/3.csv", body).startswith("quarantined as ")
    assert len(desk.events(QualityFailed, "small")) == 2


def test_a_file_that_landed_before_its_source_was_declared_is_judged_when_it_comes_again() -> None:
    desk = Desk(None)
    body = (HEADER + lines(30)).encode()
    desk.land("small/1.csv", body)
    desk.apply(PROJECT)
    assert desk.land("small/1.csv", body) == "accepted 30 rows"
    assert len(desk.events(QuarantineReleased, "unknown")) == 1


def test_only_approvers_and_admins_discard(desk: Desk) -> None:
    desk.land("small/1.csv", b"")
    (held,) = uploads.quarantined(desk.call(), tables=desk.tables)

    def caller(*grants: Grant) -> Call:
        identity = Identity(actor="ann", workspace="default", grants=grants)
        return Call("default", "ann", NOW, "c", lambda action, resource: require(identity, action, resource))

    reader = caller(Grant(role="reader"))
    assert len(uploads.quarantined(reader, tables=desk.tables)) == 1
    with pytest.raises(Forbidden):
        uploads.discard(reader, held.id, tables=desk.tables, log=desk.log)
    assert uploads.quarantined(caller(Grant(role="reader", resources="source/other")), tables=desk.tables) == []
    closed = uploads.discard(caller(Grant(role="approver")), held.id, tables=desk.tables, log=desk.log)
    assert closed.closed == "discarded by ann"
    with pytest.raises(NotFound):
        uploads.discard(caller(Grant(role="admin")), held.id, tables=desk.tables, log=desk.log)


def test_the_object_says_what_time_it_is_only_where_virtual_time_is_allowed(desk: Desk) -> None:
    desk.land("small/1.csv", (HEADER + lines(3)).encode(), {"as-of": "2013-01-08T05:00:00+00:00"})
    (item,) = desk.log.read("WS#default#SOURCE#small")
    assert item.envelope.at == datetime(2013, 1, 8, 5, tzinfo=UTC)


def test_an_object_that_is_gone_is_no_error(desk: Desk) -> None:
    assert desk.receive("small/1.csv", "v99") == "gone before it was read"


def test_another_workspace_sees_nothing(desk: Desk) -> None:
    desk.land("small/1.csv", b"")
    elsewhere = Call("other", "bob", NOW, "c")
    assert uploads.quarantined(elsewhere, tables=desk.tables) == []


def test_sixteen_at_once_accept_one_content_once(desk: Desk) -> None:
    names = [f"small/{number % 4}.csv" for number in range(16)]
    versions = {name: desk.blobs.put("landing", name, (HEADER + lines(40)).encode()) for name in names[:4]}

    def deliver(name: str) -> str:
        while True:
            try:
                return desk.receive(name, versions[name])
            except Conflict:  # as the queue would, it is delivered again
                continue

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(deliver, names))
    assert len(desk.events(UploadAccepted, "small")) == 1
    assert sum(outcome == "accepted 40 rows" for outcome in outcomes) == 1


class Dying(MemoryBlobs):
    """Objects of which the n-th put is the last thing that a process does."""

    left = 0

    def put(self, *args: Any, **options: Any) -> str:
        self.left -= 1
        if self.left == 0:
            raise Unavailable("the process was killed")
        return super().put(*args, **options)


@pytest.mark.parametrize("after", range(1, 8))
def test_killed_anywhere_and_delivered_again_it_is_judged_once(after: int) -> None:
    desk = Desk(PROJECT)
    desk.blobs = dying = Dying()
    body = HEADER + lines(40) + "bad,2013-01-01,many,1,true,a\n"
    version = desk.blobs.put("landing", "small/1.csv", body.encode())
    dying.left = after
    try:
        desk.receive("small/1.csv", version)
    except Unavailable:
        assert not desk.events(UploadAccepted, "small"), "nothing is said before all of it is there"
        assert desk.receive("small/1.csv", version) == "accepted 40 rows, held 1"
    assert desk.receive("small/1.csv", version).startswith("repeated delivery")
    (accepted,), (failed,) = desk.events(UploadAccepted, "small"), desk.events(QualityFailed, "small")
    assert parquet_table(desk.blobs.get("lake", accepted.key).body).num_rows == 40
    assert parquet_table(desk.blobs.get("lake", failed.quarantine_key).body).num_rows == 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    desk = Desk(PROJECT)
    for content in (body, HEADER.encode() + body, b"PAR1" + body, HEADER.encode() + lines(2).encode() + body):
        desk.land("small/1.csv", content)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-5, 120), st.sampled_from("abz")), min_size=1, max_size=30))
def test_every_row_is_accepted_held_or_an_exact_repeat(rows: list[tuple[int, int, str]]) -> None:
    desk = Desk(PROJECT)
    start = datetime(2013, 1, 1, tzinfo=UTC)
    body = csv_bytes(
        [
            {"id": f"r{i}", "at": start + timedelta(hours=i), "n": n, "x": 1.0, "ok": "true", "kind": kind}
            for i, n, kind in rows
        ]
    )
    desk.land("small/1.csv", body)
    accepted, failed = desk.events(UploadAccepted, "small"), desk.events(QualityFailed, "small")
    if failed and failed[0].scope == "file":
        assert not accepted
        return
    kept, held = sum(e.rows for e in accepted), sum(e.rows for e in failed)
    good = {row for row in rows if 0 <= row[1] <= 100 and row[2] != "z"}
    conflicting = {i for i, *_ in good if len({row for row in set(rows) if row[0] == i}) > 1}
    assert kept <= len(good)
    assert kept + held <= len(rows)
    assert kept >= len({i for i, *_ in good} - conflicting)
