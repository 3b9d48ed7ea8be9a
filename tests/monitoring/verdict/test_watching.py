import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from modelwright.errors import ConditionFailed
from modelwright.events import DriftDetected
from modelwright.log import Happened, stream_of
from modelwright.monitoring import store, watching
from modelwright.monitoring.documents import Profile, merged
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from modelwright.monitoring.verdict.segments import Segments
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import Column, DriftPolicy, Project, Source
from monitoring.desk import DETECTORS, Desk

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
Change = Callable[
    [dict[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"], "np.ndarray[tuple[int], np.dtype[np.object_]]"], None
]


def source_of(**policy: object) -> Source:
    kinds = {"x": "number", "y": "number"}
    columns = {name: Column.model_validate({"type": kind, "nullable": True}) for name, kind in kinds.items()}
    timed = {"id": Column(type="string"), "at": Column(type="timestamp"), "carrier": Column(type="string")}
    return Source(
        prefix="rows/", columns={**timed, **columns}, key=("id",), event_time="at", checks=(),
        drift=DriftPolicy.model_validate({"windows": 2, "agreeing": 2, **policy}),
    )  # fmt: skip


def desk_of(**policy: object) -> Desk:
    return Desk(Project(name="tiny", sources={"rows": source_of(**policy)}))


def body(
    number: int, rows: int = 300, change: Change | None = None, span: timedelta = HOUR, names: str = "AB"
) -> bytes:
    """Return the file of a window: of the hour (or other span) with that number."""
    rng, start = np.random.default_rng(number + 77), START + number * span
    x = rng.normal(size=rows)
    values = {"x": x, "y": 0.9 * x + 0.44 * rng.normal(size=rows)}
    carrier = rng.choice(list(names), rows).astype(object)
    if change is not None:
        change(values, carrier)
    times = [start + span * n / rows for n in range(rows)]
    ids = [f"{number}-{n}" for n in range(rows)]
    table = pa.table(
        {"id": ids, "at": pa.array(times, pa.timestamp("us", "UTC")), "carrier": carrier.tolist(), **values}
    )
    return parquet_bytes(table)


def land(desk: Desk, numbers: range, **made: object) -> None:
    for number in numbers:
        said = desk.land(f"rows/{number}-{len(made)}.parquet", body(number, **made))  # type: ignore[arg-type]
        assert said.startswith("accepted"), said


def higher(values: Mapping[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"], carrier: object) -> None:
    values["x"][:] += 1


def higher_of_a(
    values: Mapping[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"],
    carrier: "np.ndarray[tuple[int], np.dtype[np.object_]]",
) -> None:
    values["x"][carrier == "A"] += 0.9
    values["x"][carrier == "B"] -= 0.9


def watched(desk: Desk) -> watching.Watch:
    project = Project.model_validate_json(
        next(iter(desk.tables.query("governance", "WS#default#PROJECT").items))["project"]
    )
    return watching.Watch(desk.call(), "rows", project.sources["rows"], desk.tables, desk.blobs, DETECTORS.__getitem__)


def votes(desk: Desk) -> DriftVotes:
    return store.drift_votes(desk.tables, "default", "rows")


def judged(desk: Desk) -> tuple[store.JudgedWindow, ...]:
    return store.judged_windows(desk.tables, "default", "rows", 100)


def test_two_windows_that_agree_are_drift_and_a_report_says_so() -> None:
    desk = desk_of()
    land(desk, range(4))
    land(desk, range(4, 5), change=higher)
    assert desk.events(DriftDetected, "rows") == []
    land(desk, range(5, 6), change=higher)
    (event,) = desk.events(DriftDetected, "rows")
    assert {one.column for one in event.columns} == {"x"}
    assert {one.since for one in event.columns} == {START + 4 * HOUR}
    assert event.reference == "5 uploads of 56 days before"
    assert (event.rows, event.dataset) == (300, True)
    assert event.share == pytest.approx(1 / 3)
    page = desk.blobs.get("lake", event.report_key).body
    assert page.startswith(b"<!")
    document = json.loads(desk.blobs.get("lake", event.report_key.replace(".html", ".json")).body)
    assert {one["column"] for one in document["verdicts"] if one["drifted"]} == {"x"}
    assert len(document["history"]) == 2  # of the windows before that had a verdict


def test_every_verdict_is_kept_newest_first() -> None:
    desk = desk_of()
    land(desk, range(6), change=higher)
    found = judged(desk)
    assert [one.window.start for one in found] == [START + n * HOUR for n in (5, 4, 3)]
    assert {one.column for one in found[0].columns} == {"carrier", "x", "y"}
    assert found[0].report_key == f"reports/default/rows/{found[0].digest}.html"
    assert watching.history(watched(desk), 2) == found[:2]


def test_what_comes_late_or_twice_changes_nothing() -> None:
    desk = desk_of()
    land(desk, range(2, 8))
    before = votes(desk)
    again = desk.land("rows/again.parquet", body(7))
    assert again.startswith("same content")
    land(desk, range(1), change=higher)
    assert votes(desk) == before
    assert len(judged(desk)) == 3


def test_a_day_is_the_sum_of_its_hours_and_is_judged_once_when_it_is_over() -> None:
    desk = desk_of(every="1d", min_rows=200, windows=1, agreeing=1)
    hours = {"rows": 50, "span": 6 * HOUR}
    land(desk, range(16), **hours)
    assert votes(desk).newest < START
    assert judged(desk) == ()  # three days are over, and the fourth has no three before it yet
    land(desk, range(16, 17), change=higher, **hours)
    (fourth,) = judged(desk)
    assert (fourth.window.start, fourth.window.end) == (START + timedelta(days=3), START + timedelta(days=4))
    assert (fourth.rows, fourth.reference) == (200, "3 windows of 1d of 56 days before")
    land(desk, range(17, 20), change=higher, **hours)
    assert len(judged(desk)) == 1
    land(desk, range(20, 21), **hours)
    (event,) = desk.events(DriftDetected, "rows")
    assert (event.window.start, event.rows) == (START + timedelta(days=4), 200)
    before = votes(desk)
    late = {**hours, "rows": 51}
    land(desk, range(18, 19), **late)
    assert (votes(desk), len(judged(desk))) == (before, 2)


def test_a_day_after_which_nothing_comes_is_judged_by_the_schedule() -> None:
    desk = desk_of(every="1d", min_rows=200, windows=1, agreeing=1)
    land(desk, range(16), rows=50, span=6 * HOUR)
    watch = watched(desk)
    on_time = replace(watch, call=desk.call(START + timedelta(days=4)))
    assert watching.close_due(replace(watch, call=desk.call(START + timedelta(days=4) - HOUR))).writes == ()
    found = watching.close_due(on_time)
    desk.log.commit(
        on_time.call, [Happened(stream_of("default", "SOURCE", "rows"), e) for e in found.events], found.writes
    )
    assert [one.window.start for one in judged(desk)] == [START + timedelta(days=3)]
    assert watching.close_due(on_time).writes == ()
    assert watching.close_due(replace(on_time, source=source_of())) == watching.Watched()


def test_what_moves_in_a_segment_alone_is_found_there() -> None:
    desk = desk_of(segments=("carrier", "y > 0"))
    land(desk, range(6))
    land(desk, range(6, 8), change=higher_of_a, rows=400)
    (event,) = desk.events(DriftDetected, "rows")
    found = {(one.column, one.segment) for one in event.columns}
    assert {("x", "carrier = A"), ("x", "carrier = B")} <= found
    assert {one.reference for one in event.columns if one.segment == "carrier = A"} == {
        "7 uploads of 56 days before, where carrier = A"
    }
    digest = judged(desk)[0].digest
    kept = Segments.unpacked(desk.blobs.get("lake", f"profiles/default/rows/{digest}.segments.json").body)
    assert set(kept.profiles) == {"carrier", "y > 0"}
    assert sum(one.rows for one in kept.profiles["carrier"].values()) == 400


def test_rare_values_of_a_segment_are_taken_together_and_it_is_said() -> None:
    desk = desk_of(segments=("carrier",))
    land(desk, range(4), names="ABCDEFGHIJKLMNOPQRSTUVWXYZ", rows=600)
    (newest, *_) = judged(desk)
    assert newest.notes == ("segments of carrier: the 20 most frequent of 26 values, the others together",)
    kept = Segments.unpacked(desk.blobs.get("lake", f"profiles/default/rows/{newest.digest}.segments.json").body)
    first = [one for one in desk.blobs.list("lake", "profiles/") if one.key.endswith(".segments.json")]
    values = [set(Segments.unpacked(desk.blobs.get("lake", one.key).body).profiles["carrier"]) for one in first]
    assert all(one == set(kept.profiles["carrier"]) for one in values), "the same values are segments again"
    assert len(kept.profiles["carrier"]) == 21


def test_a_relation_that_breaks_is_seen_by_who_looks_at_all_columns() -> None:
    def torn(values: Mapping[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"], carrier: object) -> None:
        values["y"][:] = values["y"][::-1].copy()

    desk = desk_of(multivariate=("domain_classifier",), windows=1, agreeing=1)
    land(desk, range(5), rows=500)
    assert desk.events(DriftDetected, "rows") == []
    land(desk, range(5, 6), rows=500, change=torn)
    (event,) = desk.events(DriftDetected, "rows")
    assert [(one.column, one.detector) for one in event.columns] == [("carrier, x, y", "domain_classifier")]
    assert event.columns[0].text.startswith("these columns together: domain_classifier 0.")


def test_another_tools_verdict_takes_the_place_of_ours() -> None:
    desk = desk_of(compatibility="evidently")
    land(desk, range(4))
    land(desk, range(4, 5), change=higher)
    event = desk.events(DriftDetected, "rows")[-1]
    assert event.columns[0].detector.startswith("evidently:")
    assert event.columns[0].since == START + 4 * HOUR
    assert judged(desk)[0].notes == ("judged as evidently does",)


def test_of_sixteen_who_judge_at_once_every_window_votes_once() -> None:
    desk = desk_of(windows=16, agreeing=1)
    land(desk, range(3))
    bodies = {number: body(number) for number in range(3, 19)}

    def again(number: int) -> str:
        version = desk.blobs.put("landing", f"rows/{number}.parquet", bodies[number])
        while True:
            try:
                return desk.receive(f"rows/{number}.parquet", version)
            except ConditionFailed:
                continue

    with ThreadPoolExecutor(16) as pool:
        assert all(said.startswith("accepted") for said in pool.map(again, bodies))
    found = votes(desk)
    assert found.newest == START + 19 * HOUR - HOUR / 300 + timedelta(microseconds=1)
    ends = [one.window.end for one in judged(desk)]
    assert ends == sorted(set(ends), reverse=True)
    assert found.version == len(ends)
    assert found.version == len(ends)


def test_a_window_is_the_merged_profile_of_its_files() -> None:
    desk = desk_of(every="1d")
    land(desk, range(2), rows=50, span=6 * HOUR)
    keys = [one.key for one in desk.blobs.list("lake", "profiles/")]
    whole = merged([Profile.unpacked(desk.blobs.get("lake", key).body) for key in keys])
    assert (whole.rows, whole.columns["x"].rows) == (100, 100)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"every": "3h"},
        {"segments": ("carrier", "x > 0")},
        {"compatibility": "evidently"},
        {"compatibility": "nannyml"},
        {"compatibility": "sagemaker"},
        {"multivariate": ("pca_reconstruction",)},
        {"every": "3h", "multivariate": ("domain_classifier",)},
    ],
)
def test_uploads_go_on_when_a_source_gets_a_column_and_another_becomes_text(policy: dict[str, object]) -> None:
    desk, source = desk_of(**policy), source_of(**policy)
    land(desk, range(4))
    wider = {**source.columns, "z": Column(type="number", nullable=True)}
    desk.apply(Project(name="tiny", sources={"rows": source.model_copy(update={"columns": wider})}))
    for number in range(4, 8):
        table = parquet_table(body(number))
        table = table.append_column("z", pa.array(np.arange(float(table.num_rows))))
        assert desk.land(f"rows/{number}.parquet", parquet_bytes(table)).startswith("accepted")
    worded = {**wider, "x": Column(type="string", nullable=True)}
    desk.apply(Project(name="tiny", sources={"rows": source.model_copy(update={"columns": worded})}))
    for number in range(8, 12):
        table = parquet_table(body(number)).append_column("z", pa.array(np.zeros(300)))
        words = pa.array([f"{value:.1f}" for value in table.column("x").to_pylist()])
        table = table.set_column(table.column_names.index("x"), "x", words)
        assert desk.land(f"rows/{number}.parquet", parquet_bytes(table)).startswith("accepted")


def test_segments_that_an_erasure_rewrote_are_read_again_after_an_hour() -> None:
    desk = desk_of(segments=("carrier",))
    land(desk, range(1))
    (upload,) = [one for one in desk.blobs.list("lake", "profiles/") if one.key.endswith(".segments.json")]
    digest = upload.key.rpartition("/")[2].removesuffix(".segments.json")
    watch = watched(desk)
    (kept,) = watch.segments([Profile.unpacked(desk.blobs.get("lake", f"profiles/default/rows/{digest}.json").body)])
    nothing = Segments()
    desk.blobs.put("lake", upload.key, nothing.packed())
    assert watch._read_segments(digest) == kept
    key = watch.segments_key(digest)
    watch.cache["segments"][key] = (kept, watch.cache["segments"][key][1] - 3_601)
    assert watch._read_segments(digest) == nothing
