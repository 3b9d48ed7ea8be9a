"""Checks: what they find in files of a made-up shop, and what they leave alone."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.errors import InvalidInput
from modelwright.events import QualityFailed, QuarantineReleased, UploadAccepted
from modelwright.monitoring import uploads
from modelwright.monitoring.checks import Fault, File, checks_of, faults_of, with_options
from modelwright.monitoring.checks.texts import misread
from modelwright.monitoring.checks.values import shape_of
from modelwright.monitoring.declared import require_checkable
from modelwright.monitoring.documents import Profile, Reference
from modelwright.monitoring.profiles import profile_of
from modelwright.monitoring.reading import read_rows
from modelwright.project import Column, Project, Source
from modelwright.team import read_team
from monitoring.defects import Base, body_of, orders
from monitoring.desk import CHECKS, NOW, Desk
from monitoring.test_uploads import HEADER, SMALL, lines

LANDED = datetime(2013, 8, 5, 2, tzinfo=UTC)


@cache
def past() -> tuple[Profile, ...]:
    base = orders()
    return tuple(profile(week, base, number) for number, week in enumerate(base.before))


def profile(week: pd.DataFrame, base: Base, number: int) -> Profile:
    made = profile_of(read_rows(body_of(week), base.source).typed, base.name, base.source, f"week-{number}")
    return made.model_copy(update={"landed": made.end + timedelta(hours=1)})


def found(frame: pd.DataFrame | bytes, only: str = "", **options: Any) -> dict[str, Fault]:
    """What the shop's checks find in a week, by check."""
    base = orders()
    body = frame if isinstance(frame, bytes) else body_of(frame)
    source = base.source.model_copy(update={"check_options": {only: options}} if options else {})
    if only:
        source = source.model_copy(update={"checks": (only,)})
    known = Reference(past())
    file = File("orders", source, read_rows(body, source), LANDED, known, newest=past()[-1].end)
    checks = checks_of(source, CHECKS.__getitem__)
    faults = [*faults_of(file, checks, learned=False), *faults_of(file, checks, learned=True)]
    return {fault.finding.check: fault for fault in faults}


def week() -> pd.DataFrame:
    return orders().clean.copy()


def rows_of(fault: Fault) -> list[int]:
    assert fault.rows is not None
    return [int(row) for row in np.flatnonzero(fault.rows)]


def test_a_clean_week_has_no_faults() -> None:
    assert found(week()) == {}


# --- amounts -----------------------------------------------------------------------------


def test_rows_without_a_value_that_was_always_there_are_wrong_and_of_others_the_file_is() -> None:
    silent = week()["price"].mask(np.arange(len(week())) % 5 == 0)
    fault = found(week().assign(price=silent))["missing_rate"]
    assert fault.finding.severity == "block"
    assert rows_of(fault) == list(range(0, len(silent), 5))
    none = week().assign(coupon=None)
    assert found(none)["missing_rate"].rows is None, "which orders should have a coupon nobody knows"


def test_a_few_missing_values_warn() -> None:
    fault = found(week().assign(price=week()["price"].mask(np.arange(len(week())) % 14 == 0)))["missing_rate"]
    assert fault.finding.severity == "warn"


def test_values_far_outside_are_wrong_where_they_are_many() -> None:
    many = np.arange(len(week())) % 3 == 0
    fault = found(week().assign(price=week()["price"].mask(many, 1e6)))["range"]
    assert (fault.finding.severity, rows_of(fault)) == ("block", np.flatnonzero(many).tolist())
    few = found(week().assign(price=week()["price"].mask(np.arange(len(week())) % 40 == 0, 1e6)))["range"]
    assert few.finding.severity == "warn", "rare and real"


def test_how_far_outside_is_told_without_a_value_of_a_row() -> None:
    spread = max(one["price"].max() for one in orders().before) - min(one["price"].min() for one in orders().before)
    fault = found(week().assign(price=week()["price"] + 10 * spread))["range"]
    assert re.fullmatch(
        r"price: 100% of values far outside, most by 9(\.\d+)? times the width of all before", fault.finding.text
    )


def test_a_number_that_leaps_at_the_second_file_only_warns() -> None:
    base = orders()
    desk = Desk(base.project)
    for number, before in enumerate(base.before[:4]):
        body = body_of(before.assign(price=before["price"] + 1e6 * (number % 2), country=["AB", "CD"][number % 2]))
        assert desk.land(f"orders/{number}.csv", body) == f"accepted {len(before)} rows"
    second = desk.events(UploadAccepted, "orders")[1]
    assert {(one.check, one.severity) for one in second.findings} == {("range", "warn"), ("unknown_categories", "warn")}


def test_new_categories_are_wrong_where_they_are_most() -> None:
    fault = found(week().assign(country=week()["country"].str.lower().where(week()["country"] != "FR", "FR")))
    assert fault["unknown_categories"].finding.severity == "block"
    assert set(rows_of(fault["unknown_categories"])) == set(np.flatnonzero(week()["country"] != "FR"))


def test_what_was_always_different_and_comes_again_warns() -> None:
    source = orders().source
    columns = {**source.columns, "order_id": Column(type="string")}
    other_key = source.model_copy(update={"columns": columns, "key": ("ordered_at",)})
    file = File("orders", other_key, rows_with_ids_again(), LANDED)
    faults = CHECKS["uniqueness"].check(replace(file, reference=Reference(past())))
    assert [(one.finding.column, one.finding.severity) for one in faults] == [("order_id", "warn")]


def rows_with_ids_again() -> Any:
    again = week()
    again.loc[: len(again) // 2, "order_id"] = again["order_id"].iloc[0]
    return read_rows(body_of(again), orders().source)


# --- values ------------------------------------------------------------------------------


def test_texts_of_another_shape_or_length_are_named() -> None:
    assert [shape_of(text) for text in ("o-000123", "Zoë Müller", "12 h 3")] == ["a-9", "a a", "9 a 9"]
    source = orders().source
    columns = {**source.columns, "order_id": Column(type="string"), "coupon": Column(type="string", nullable=True)}
    plain = source.model_copy(update={"columns": columns, "key": ("ordered_at",)})
    strange = np.arange(len(week())) % 10 == 3
    coded = [weeks.assign(coupon=[f"C{n % 60}" for n in range(len(weeks))]) for weeks in orders().before]
    other = week().assign(coupon=np.where(strange, "2-for-1", "C7"))
    other["order_id"] = other["order_id"].mask(strange, "No. " + other["order_id"])
    reference = Reference(tuple(profile(one, orders(), number) for number, one in enumerate(coded)))
    file = File("orders", plain, read_rows(body_of(other), plain), LANDED, reference)
    of_id, of_coupon = CHECKS["text_shape"].check(file)
    assert (of_id.finding.column, of_coupon.finding.column) == ("order_id", "coupon")
    assert "far from the 8 to 8 characters" in of_id.finding.text
    assert "a shape that none had before" in of_coupon.finding.text
    assert rows_of(of_id) == rows_of(of_coupon) == list(np.flatnonzero(strange))


def test_swapped_categories_are_named_and_columns_alike_are_not() -> None:
    swapped = week().assign(country=week()["customer"], customer=week()["country"])
    faults = found(swapped)
    assert set(faults) == {"swapped_columns"}, "what follows from it is not said beside it"
    assert faults["swapped_columns"].finding.column == "customer, country"
    assert "swapped_columns" not in found(
        week().assign(price=week()["price"].sample(frac=1, random_state=1).to_numpy())
    )


def test_a_changed_world_is_no_swap() -> None:
    richer = week().assign(price=week()["price"] * 1.5, weight_kg=week()["weight_kg"] * 1.5)
    assert "swapped_columns" not in found(richer)


# --- texts -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Zoë Müller", "François", "日本", "naïve café", "£5", "Ça va", "plain", "Ã"])
def test_what_people_write_is_not_misread(text: str) -> None:
    assert not misread(text)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("text", ["Zoë Müller", "naïve café", "Ça va", "£5"])
def test_utf8_that_was_read_otherwise_is_misread(text: str, encoding: str) -> None:
    assert misread(text.encode().decode(encoding))


def test_of_a_file_with_bytes_that_are_no_utf8_only_these_rows_are_wrong() -> None:
    body = body_of(week()).replace("Zoë".encode(), b"Zo\xeb")
    fault = found(body)["encoding"]
    assert fault.finding.column == "customer"
    assert rows_of(fault) == list(np.flatnonzero(week()["customer"].str.startswith("Zoë")))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_as_a_whole_is_named(encoding: str) -> None:
    desk = Desk(Project(name="tiny", sources={"small": SMALL}))
    body = (HEADER.replace("x", "größe") if encoding == "latin-1" else HEADER) + lines(20)
    desk.land("small/1.csv", body.encode(encoding))
    (failed,) = desk.events(QualityFailed, "small")
    assert [(one.check, encoding in one.text) for one in failed.findings] == [("encoding", True)]


# --- times -------------------------------------------------------------------------------


def times(change: Callable[[pd.Timestamp, int], str]) -> pd.DataFrame:
    """The week with its event times written otherwise."""
    written = [change(time, number) for number, time in enumerate(week()["ordered_at"])]
    return week().assign(ordered_at=written)


def test_the_fewer_of_times_with_and_without_a_zone_are_wrong() -> None:
    def mostly_naive(time: pd.Timestamp, number: int) -> str:
        return time.isoformat() if number % 7 == 0 else time.tz_localize(None).isoformat()

    fault = found(times(mostly_naive))["time_zones"]
    assert rows_of(fault) == list(range(0, len(week()), 7))


def test_summer_time_is_no_mixture_and_offsets_in_turn_are_one() -> None:
    zones = ["Europe/Berlin", "America/New_York"]
    interleaved = found(times(lambda time, number: time.tz_convert(zones[number % 2]).isoformat()))["time_zones"]
    assert (interleaved.finding.severity, interleaved.rows) == ("warn", None), "each says which time it is"
    assert "+2 h" in interleaved.finding.text
    turn = week()["ordered_at"].iloc[300]
    summer = times(lambda time, _: time.tz_convert("Etc/GMT-1" if time < turn else "Etc/GMT-2").isoformat())
    assert "time_zones" not in found(summer)
    assert "time_zones" not in found(times(lambda time, _: time.tz_convert("Asia/Kolkata").isoformat()))
    assert "time_zones" not in found(times(lambda time, _: time.strftime("%Y-%m-%d")))


def test_rows_that_became_known_hours_apart_from_the_others_are_of_another_zone() -> None:
    moved = np.arange(len(week())) % 5 == 2
    local = week()["ordered_at"].mask(moved, week()["ordered_at"] - pd.Timedelta(hours=5))
    assert rows_of(found(week().assign(ordered_at=local))["time_zones"]) == list(np.flatnonzero(moved))
    late = week()["known_at"] + pd.to_timedelta(np.arange(len(week())) % 600, unit="min")
    assert "time_zones" not in found(week().assign(known_at=late)), "delays are of any length"
    again = week()["known_at"] + pd.to_timedelta(np.arange(len(week())) % 10 // 9, unit="h")
    assert "time_zones" not in found(week().assign(known_at=again)), "another attempt an hour later is no zone"
    hourly = week()["ordered_at"] + pd.to_timedelta(1 + np.arange(len(week())) % 5 // 4 * 2, unit="h")
    assert "time_zones" not in found(week().assign(known_at=hourly)), "nor is what runs every hour"


def test_a_row_of_the_future_is_wrong_unless_the_source_looks_ahead() -> None:
    ahead = week()
    ahead.loc[7, "ordered_at"] = pd.Timestamp(LANDED) + pd.Timedelta(hours=30)
    ahead.loc[9, "known_at"] = pd.Timestamp(LANDED) + pd.Timedelta(days=9)
    fault = found(ahead, "future_dates")["future_dates"]
    assert fault.finding.column == "known_at"
    assert found(ahead, "future_dates", hours=240.0) == {}


def test_a_stale_file_is_named() -> None:
    base = orders()
    file = File("orders", base.source, read_rows(body_of(week()), base.source), LANDED, Reference(past()))
    assert CHECKS["freshness"].check(file) == []
    assert CHECKS["freshness"].check(replace(file, landed=LANDED + timedelta(hours=20))) == []
    (fault,) = CHECKS["freshness"].check(replace(file, landed=LANDED + timedelta(days=4)))
    assert "4 days old, usually at most 1.0 hours" in fault.finding.text


def test_a_correction_is_not_late() -> None:
    desk = Desk(Project(name="tiny", sources={"small": SMALL.model_copy(update={"severity": {"late_file": "block"}})}))
    days = [(HEADER + lines(40)).replace("2013-01-01", f"2013-01-{day:02d}") for day in range(1, 8)]
    for number in (1, 2, 4, 5):
        assert desk.land(f"small/{number}.csv", days[number].encode()).startswith("accepted")
    assert desk.land("small/again.csv", days[1].replace("5.5", "5.25").encode()).startswith("accepted"), "came before"
    assert "the file is late" in desk.land("small/3.csv", days[3].encode())
    assert "the file is late" in desk.land("small/0.csv", days[0].encode()), "before all that was accepted"
    assert desk.land("small/6.csv", days[6].replace(",true,", ",maybe,").encode()).startswith("quarantined")


# --- what a file is ----------------------------------------------------------------------


def test_a_short_file_whose_last_line_has_no_end_loses_that_line() -> None:
    head = body_of(week()).split(b"\n")[:300]
    fault = found(b"\n".join(head))["truncated_file"]
    assert rows_of(fault) == [298], "its last number may lack digits"
    assert "truncated_file" not in found(body_of(week()).rstrip(b"\n")), "the usual number of rows is no part of a file"
    assert "truncated_file" not in found(b"\n".join([*head, b""])), "a short day is one"


def test_a_file_that_ends_within_quotes_loses_that_line() -> None:
    rows = read_rows((HEADER + lines(5) + '"r7,2013-0').encode(), SMALL)
    assert (rows.typed.num_rows, rows.malformed, rows.cut_line) == (5, ('"r7,2013-0',), True)


def test_parquet_without_its_footer_is_named_and_supposed_to_be_the_next_of_its_source() -> None:
    base = orders()
    desk = Desk(base.project)
    for number, before in enumerate(base.before[-4:]):
        desk.land(f"orders/{number}.csv", body_of(before))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(base.clean, preserve_index=False), sink)
    desk.land("orders/cut.parquet", sink.getvalue()[:-9])
    (failed,) = desk.events(QualityFailed, "orders")
    assert [one.check for one in failed.findings] == ["truncated_file"]
    week_span = failed.window
    assert week_span is not None, "files come every week"
    truth = base.clean["ordered_at"]
    assert abs(week_span.start - truth.min()) < timedelta(hours=4)
    assert abs(week_span.end - truth.max()) < timedelta(hours=4)
    assert desk.land("orders/whole.parquet", sink.getvalue()).startswith("accepted")
    assert desk.events(QuarantineReleased, "orders") == [], "nobody knows which rows were in the other"
    assert desk.land("orders/cut.parquet", sink.getvalue()).startswith("same content as orders/whole.parquet")
    assert [one.quarantine_id for one in desk.events(QuarantineReleased, "orders")] == [failed.quarantine_id]


def test_what_nobody_can_read_and_place_is_closed_by_its_name_or_a_person() -> None:
    desk = Desk(Project(name="tiny", sources={"small": SMALL}))
    desk.land("small/1.csv", b"PAR1 cut")
    desk.land("small/2.csv", b"")
    assert [one.window for one in desk.events(QualityFailed, "small")] == [None, None]
    assert desk.land("small/1.csv", (HEADER + lines(30)).encode()).startswith("accepted")
    (left,) = uploads.quarantined(desk.call(), tables=desk.tables)
    assert left.upload_key == "small/2.csv"
    uploads.discard(desk.call(), left.id, tables=desk.tables, log=desk.log)
    assert uploads.quarantined(desk.call(), tables=desk.tables) == []


def test_new_columns_are_told_once() -> None:
    desk = Desk(Project(name="tiny", sources={"small": SMALL}))
    with_more = (HEADER + lines(40)).replace("kind\n", "kind,extra\n").replace(",a\n", ",a,1\n")
    for day, body in ((1, HEADER + lines(40)), (2, with_more), (3, with_more)):
        desk.land(f"small/{day}.csv", body.replace("2013-01-01", f"2013-01-0{day}").encode())
    told = [[one.check for one in event.findings] for event in desk.events(UploadAccepted, "small")]
    assert told == [[], ["schema"], []]


def test_a_renamed_column_is_found_by_its_name_where_nothing_is_known() -> None:
    desk = Desk(Project(name="tiny", sources={"small": SMALL}))
    desk.land("small/1.csv", (HEADER.replace("kind", "kind_of") + lines(20)).encode())
    (failed,) = desk.events(QualityFailed, "small")
    assert [(one.check, one.column) for one in failed.findings] == [("renamed_column", "kind"), ("schema", "")]
    assert failed.window is not None, "its times can be read"


# --- two sources -------------------------------------------------------------------------

LINES = Source(
    prefix="lines/",
    columns={"id": Column(type="string"), "at": Column(type="timestamp"), "kind": Column(type="string")},
    key=("id",),
    event_time="at",
    checks=("skew",),
    check_options={"skew": {"source": "small", "column": "kind", "on": ["id"]}},
)


def skewed(wrong: float, **options: Any) -> Desk:
    """A desk on which two sources speak of the same rows, and some rows of the second say another kind."""
    said = {**LINES.check_options["skew"], **options}
    update = {"check_options": {"skew": {k: v for k, v in said.items() if v}}, "severity": {"skew": "block"}}
    desk = Desk(Project(name="tiny", sources={"small": SMALL, "lines": LINES.model_copy(update=update)}))
    desk.land("small/1.csv", (HEADER + lines(60)).encode())
    rows = [f"r{n},2013-01-01T{n % 24:02d}:00:00Z,{'b' if n < wrong * 60 else 'a'}\n" for n in range(60)]
    desk.land("lines/1.csv", ("id,at,kind\n" + "".join(rows)).encode())
    return desk


def test_rows_that_another_source_contradicts_are_held_where_the_source_says_so() -> None:
    assert skewed(0).events(QualityFailed, "lines") == []
    (failed,) = skewed(0.1).events(QualityFailed, "lines")
    assert (failed.rows, failed.findings[0].check) == (6, "skew")
    assert "6 of 60 rows say another thing than small" in failed.findings[0].text


NUMBERED = LINES.model_copy(update={"columns": {**LINES.columns, "id": Column(type="integer")}})


def test_rows_are_named_by_columns_of_one_type_in_both_sources() -> None:
    with pytest.raises(InvalidInput, match="skew names rows by id: integer here, string in small"):
        require_checkable(Project(name="tiny", sources={"small": SMALL, "lines": NUMBERED}), loaded)


def test_rows_that_the_other_source_named_otherwise_before_are_not_compared() -> None:
    desk = skewed(0)
    small = SMALL.model_copy(update={"columns": {**SMALL.columns, "id": Column(type="integer")}})
    desk.apply(Project(name="tiny", sources={"small": small, "lines": NUMBERED}))
    rows = [f"{n},2013-01-01T{n % 24:02d}:00:00Z,b\n" for n in range(60)]
    assert desk.land("lines/2.csv", ("id,at,kind\n" + "".join(rows)).encode()).startswith("accepted")


def test_shares_of_two_sources_are_compared_where_no_key_joins_them() -> None:
    assert skewed(0, on=None).events(QualityFailed, "lines") == []
    (failed,) = skewed(0.5, on=None).events(QualityFailed, "lines")
    assert "its shares differ from those of small by 50%" in failed.findings[0].text
    assert skewed(0.5, on=None, share=0.6).events(QualityFailed, "lines") == []


# --- what is declared --------------------------------------------------------------------


def strict(**changes: Any) -> Desk:
    """A desk with a source of which more is declared."""
    columns = {
        **SMALL.columns,
        "id": Column(type="string", regex="r[0-9]+"),
        "x": Column(type="number", nullable=True, unique=True),
    }
    update = {"columns": columns, "rules": {"grows": "x >= n"}, **changes}
    return Desk(Project(name="tiny", sources={"small": SMALL.model_copy(update=update)}))


BAD = "q1,2013-01-01,1,201.5,true,a\nr77,2013-01-01,9,8.75,true,a\nr78,2013-01-01,1,5.5,true,a\n"


def test_declared_patterns_unique_values_and_rules_hold_rows() -> None:
    desk = strict()
    assert desk.land("small/1.csv", (HEADER + lines(20) + BAD).encode()) == "accepted 19 rows, held 4"
    (failed,) = desk.events(QualityFailed, "small")
    texts = {one.check: one.text for one in failed.findings}
    assert set(texts) == {"regex", "unique", "rules"}
    assert texts["rules"] == "x, n: 1 row held back: against the rule grows, x >= n (rows 22)"
    assert "2 rows held back: the same value comes several times (rows 6, 23)" in texts["unique"]


def test_the_source_says_how_severe_what_is_declared_is() -> None:
    desk = strict(severity={"regex": "warn", "grows": "warn", "unique": "warn"})
    assert desk.land("small/1.csv", (HEADER + lines(20) + BAD).encode()) == "accepted 23 rows"
    (accepted,) = desk.events(UploadAccepted, "small")
    assert {one.check for one in accepted.findings} == {"regex", "unique", "rules"}
    assert not any("held back" in one.text for one in accepted.findings)


def test_a_row_without_key_or_time_is_held_whatever_is_said() -> None:
    desk = strict(severity={"required": "warn", "type": "warn"})
    bad = ",2013-01-01,1,201.5,true,a\nr99,never,1,202.5,true,a\nr98,2013-01-01,many,203.5,true,a\n"
    assert desk.land("small/1.csv", (HEADER + lines(20) + bad).encode()) == "accepted 21 rows, held 2"


def test_a_rule_says_nothing_of_rows_without_its_values() -> None:
    desk = strict()
    assert (
        desk.land("small/1.csv", (HEADER + lines(20) + "r50,2013-01-01,,1.25,true,a\n").encode()) == "accepted 21 rows"
    )


def test_a_first_file_meets_only_what_is_declared() -> None:
    desk = Desk(orders().project)
    odd = week().assign(price=1.0, weight_kg=None, country="XX")
    assert desk.land("orders/1.csv", body_of(odd)) == f"accepted {len(odd)} rows"


def test_what_is_learned_follows_what_was_accepted() -> None:
    base = orders()
    desk = Desk(base.project)
    for number, body in enumerate(base.files()):
        frame = pd.read_csv(io.BytesIO(body))
        frame["weight_kg"] *= 1.25**number
        assert desk.land(f"orders/{number}.csv", frame.to_csv(index=False).encode()).startswith("accepted")
    assert desk.events(QualityFailed, "orders") == [], (
        "what grows by a quarter a week is ten times as much in ten weeks"
    )


# --- configuration -----------------------------------------------------------------------


class Plain:
    """A check of somebody who knows nothing of dataclasses."""

    learned: ClassVar[bool] = False
    name: str = "plain"

    def check(self, file: File) -> list[Fault]:
        return []


def test_a_check_that_is_a_plain_class_takes_no_options() -> None:
    plain = Plain()
    assert with_options("plain", plain, {}) is plain
    with pytest.raises(InvalidInput, match="the check plain has no option block: there are none"):
        with_options("plain", plain, {"block": 1})


def test_options_are_honoured_and_unknown_ones_are_named() -> None:
    made = with_options("missing_rate", CHECKS["missing_rate"], {"block": 0.5})
    assert (made.block, made.warn) == (0.5, 0.05)  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match="missing_rate has no option blok: there are block, warn, rare, block_rare"):
        with_options("missing_rate", CHECKS["missing_rate"], {"blok": 0.5})
    with pytest.raises(InvalidInput, match="the options of check missing_rate: block: Input should be a valid number"):
        with_options("missing_rate", CHECKS["missing_rate"], {"block": "much"})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"checks": ("missing_rats",)},
            "source small: no plugin missing_rats of checks: installed are ",
        ),
        ({"check_options": {"volume": {"bloc": 1}}}, "the check volume has no option bloc: there are block, warn"),
        ({"check_options": {"skew": {"source": "small"}}}, "options of skew, which is not among its checks"),
        ({"severity": {"rangs": "warn"}}, "a severity is of rangs, which is no check: there are missing_rate"),
        ({"rules": {"grows": "y > n"}}, "the rule grows: 'y > n' names y, which is no column"),
        ({"rules": {"grows": "n + 1"}}, "the rule grows: 'n + 1' is neither true nor false"),
        (
            {"checks": ("skew",), "check_options": {"skew": {"source": "other", "column": "kind"}}},
            "skew compares with source 'other', which is not declared",
        ),
        (
            {"checks": ("skew",), "check_options": {"skew": {"source": "small", "column": "sort", "on": ["id"]}}},
            "skew compares by 'sort', which is no column of this source",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused_before_data_comes(change: dict[str, Any], text: str) -> None:
    source = Source.model_validate({**SMALL.model_dump(), **change})
    with pytest.raises(InvalidInput) as refused:
        require_checkable(Project(name="tiny", sources={"small": source}), loaded)
    assert text in str(refused.value)


def loaded(name: str) -> Any:
    from modelwright.plugins import load

    return load("checks", name)()


def test_a_folder_whose_checks_have_no_such_option_is_refused(tmp_path: Path) -> None:
    declared = """
        [project]
        name = "tiny"
        [sources.small]
        prefix = "small/"
        key = ["id"]
        event_time = "at"
        check_options = { volume = { bloc = 9 } }
        [sources.small.columns]
        id = { type = "string" }
        at = { type = "timestamp" }
    """
    (tmp_path / "modelwright.toml").write_text(declared)
    with pytest.raises(InvalidInput, match="source small: the check volume has no option bloc"):
        read_team(tmp_path)
    (tmp_path / "modelwright.toml").write_text(declared.replace("bloc", "block"))
    assert read_team(tmp_path).project.sources["small"].check_options == {"volume": {"block": 9}}


def test_the_sender_of_the_past_may_not_be_of_the_future() -> None:
    desk = Desk(Project(name="tiny", sources={"small": SMALL}))
    ahead = (NOW + timedelta(days=3)).strftime("%Y-%m-%d")
    outcome = desk.land("small/1.csv", (HEADER + lines(20) + f"r90,{ahead},1,90.5,true,a\n").encode())
    assert outcome == "accepted 20 rows, held 1"
    (failed,) = desk.events(QualityFailed, "small")
    assert failed.window is not None
    assert failed.window.end < NOW, "a time that cannot be true does not say which window a quarantine is about"
