"""What is held back is repaired once, by exactly one rule or a person's word, and can be taken back to the byte."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from support.http import Caller, handler_of, memory_wiring

from modelwright.adapters.memory import MemoryBlobs
from modelwright.context import Call
from modelwright.errors import AlreadyHandled, Forbidden, InvalidInput, NotFound, Refused, Unavailable
from modelwright.events import (
    QualityFailed,
    QuarantineReleased,
    QuarantineRepaired,
    RepairAsked,
    RepairReverted,
    UploadAccepted,
)
from modelwright.governance.access import Grant, Identity, require
from modelwright.monitoring import store, uploads
from modelwright.monitoring.healing import RepairLog, original_of, undo
from modelwright.monitoring.reading import parquet_bytes, parquet_table, read_rows
from modelwright.project import Project, Source
from modelwright.sources import Healing
from monitoring import year
from monitoring.healing.test_rules import SOURCE, lines
from monitoring.healing.ward import NOW, Ward

PLAIN = SOURCE.model_copy(update={"checks": ("unit_change", "range", "unknown_categories"), "detectors": ()})
UNIT = lines(degrees=lambda cell, n: repr((float(cell) - 32) * 5 / 9))
COMMAS = lines(degrees=lambda cell, n: f'"{cell.replace(".", ",")}"' if n % 6 == 2 else cell)
GUESS = lines(degrees=lambda cell, n: str(round((float(cell) + 459.67) * 5 / 9)))


def ward_of(source: Source = PLAIN) -> Ward:
    ward = Ward(Project(name="shop", sources={"sales": source}))
    for week in range(8):
        ward.land(f"sales/{week}.csv", lines(week))
    return ward


@pytest.fixture
def ward() -> Ward:
    return ward_of()


def caller(*grants: Grant) -> Call:
    identity = Identity(actor="ann", workspace="default", grants=grants)
    return Call("default", "ann", NOW, "c", lambda action, resource: require(identity, action, resource))


def accepted(ward: Ward, first: int = 8) -> pa.Table:
    """Return the rows that were accepted of the ninth week, by id."""
    events = ward.events(UploadAccepted, "sales")[first:]
    tables = [parquet_table(ward.blobs.get("lake", event.key).body) for event in events]
    return pa.concat_tables(tables).sort_by("id").combine_chunks()


TRUTH = read_rows(lines(), SOURCE).typed.sort_by("id").combine_chunks()


def test_a_repaired_file_goes_on_as_if_it_had_landed_so(ward: Ward) -> None:
    ward.land("sales/9.csv", UNIT)
    (outcome,) = ward.heal("sales")
    assert outcome == "repaired by unit_change@1: accepted 120 rows"
    assert ward.told("sales")[-4:] == ["QualityFailed", "UploadAccepted", "QuarantineRepaired", "QuarantineReleased"]
    assert accepted(ward).equals(TRUTH)
    (told,) = ward.events(QuarantineRepaired, "sales")
    assert (told.rules, told.rows, told.upload_key) == (("unit_change@1",), 120, "sales/9.csv")
    assert ward.blobs.get("lake", told.repaired_key).body == lines()
    assert uploads.quarantined(ward.call(), tables=ward.tables) == []


def test_held_rows_are_repaired_and_go_on_by_themselves(ward: Ward) -> None:
    assert ward.land("sales/9.csv", COMMAS) == "accepted 100 rows, held 20"
    assert ward.heal("sales") == ["repaired by type_coercion@1: accepted 20 rows"]
    first, second = ward.events(UploadAccepted, "sales")[8:]
    assert (first.rows, second.rows, second.upload_key) == (100, 20, "sales/9.csv+repaired")
    assert accepted(ward).equals(TRUTH)
    (told,) = ward.events(QuarantineRepaired, "sales")
    assert ward.blobs.get("lake", told.repaired_key).body == lines()


def test_several_damages_are_repaired_one_after_the_other(ward: Ward) -> None:
    rows = [line.split(",") for line in lines().decode().splitlines()]
    for row in rows[1:]:
        row[5] = repr((float(row[5]) - 32) * 5 / 9).replace(".", ",")
    rows[0][5] = "Degrees"
    body = ("\n".join(map(";".join, rows)) + "\n").encode("cp1252")
    ward.land("sales/9.csv", body)
    ward.heal("sales")
    (told,) = ward.events(QuarantineRepaired, "sales")
    mended = ("encoding@1", "delimiter@1", "renamed_column@1", "type_coercion@1", "unit_change@1")
    assert told.rules == mended
    assert ward.blobs.get("lake", told.repaired_key).body == lines()
    assert undo(RepairLog.model_validate_json(ward.blobs.get("lake", told.log_key).body), lines()) == body


def test_the_log_takes_a_repair_back_to_the_byte(ward: Ward) -> None:
    ward.land("sales/9.csv", UNIT)
    ward.heal("sales")
    (told,) = ward.events(QuarantineRepaired, "sales")
    log = RepairLog.model_validate_json(ward.blobs.get("lake", told.log_key).body)
    repaired = ward.blobs.get("lake", told.repaired_key).body
    assert undo(log, repaired) == UNIT
    assert (log.inverse, log.steps[0].formulas["degrees"].forward) == ("log", "(x-32)*5/9")
    assert not log.steps[0].cells, "the formula gives all cells"
    with pytest.raises(InvalidInput, match="not the file"):
        undo(log, repaired + b"x")
    with pytest.raises(InvalidInput, match="does not follow"):
        undo(log.model_copy(update={"steps": ()}), repaired)


def test_the_original_of_repaired_parquet_is_kept_and_is_the_inverse(ward: Ward) -> None:
    celsius = read_rows(UNIT, SOURCE).typed
    body = parquet_bytes(celsius)
    ward.land("sales/9.parquet", body)
    ward.heal("sales")
    assert accepted(ward).equals(TRUTH)
    (told,) = ward.events(QuarantineRepaired, "sales")
    log = RepairLog.model_validate_json(ward.blobs.get("lake", told.log_key).body)
    held = store.closed_quarantine(ward.tables, "default", told.quarantine_id)
    assert log.inverse == "original"
    assert len(log.steps[0].cells["degrees"].rows) == 120
    assert original_of(held, ward.shop()) == body
    with pytest.raises(InvalidInput, match=held.key):
        undo(log, ward.blobs.get("lake", told.repaired_key).body)


# --- once --------------------------------------------------------------------------------


def test_the_same_delivery_twice_repairs_once(ward: Ward) -> None:
    ward.land("sales/9.csv", UNIT)
    ward.heal("sales")
    with pytest.raises(AlreadyHandled):
        ward.heal("sales")
    assert len(ward.events(QuarantineRepaired, "sales")) == 1


@pytest.mark.parametrize("body", [UNIT, COMMAS, GUESS], ids=["file", "rows", "asked"])
def test_sixteen_at_once_are_one(ward: Ward, body: bytes) -> None:
    ward.land("sales/9.csv", body)
    monitor = handler_of("monitor", memory_wiring(tables=ward.tables, blobs=ward.blobs))
    (failed,) = ward.failures("sales")
    event = {"detail-type": "QualityFailed", "detail": failed.envelope.model_dump(mode="json")}
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(monitor, [event] * 16))
    assert sorted(one["outcome"] for one in outcomes) == ["duplicate"] * 15 + ["handled"]
    released = 0 if body == GUESS else 1
    assert len(ward.events(QuarantineRepaired, "sales")) == len(ward.events(QuarantineReleased, "sales")) == released
    assert len(ward.events(RepairAsked, "sales")) == 1 - released


class Dying(MemoryBlobs):
    """A lake that is gone after so many writes."""

    def __init__(self, buckets: MemoryBlobs, left: int) -> None:
        vars(self).update(vars(buckets))
        self.left = left

    def put(self, bucket: Any, key: str, body: bytes, **options: Any) -> str:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the lake is gone")
        return super().put(bucket, key, body, **options)


@pytest.mark.parametrize("body", [UNIT, COMMAS], ids=["file", "rows"])
def test_killed_anywhere_it_is_as_if_nothing_had_happened_and_then_once(ward: Ward, body: bytes) -> None:
    ward.land("sales/9.csv", body)
    lake, before = ward.blobs, ward.told("sales")
    for left in range(4):
        ward.blobs = Dying(lake, left)
        with pytest.raises(Unavailable):
            ward.heal("sales")
        assert ward.told("sales") == before
    ward.blobs = lake
    ward.heal("sales")
    assert accepted(ward).equals(TRUTH)
    assert len(ward.events(QuarantineRepaired, "sales")) == 1


def test_the_same_broken_file_sent_again_is_known_by_its_repair(ward: Ward) -> None:
    ward.land("sales/9.csv", UNIT)
    ward.heal("sales")
    ward.land("sales/again.csv", UNIT)
    again = ward.failures("sales")[-1]
    from modelwright.monitoring.healing import heal

    assert heal(again, ward.shop()) == "what unit_change@1 makes of it was accepted before"
    assert len(ward.events(UploadAccepted, "sales")) == 9
    assert len(ward.events(QuarantineReleased, "sales")) == 2


def test_rows_that_a_repaired_file_leaves_are_held_and_repaired_in_their_turn() -> None:
    columns = {**SOURCE.columns, "items": SOURCE.columns["items"].model_copy(update={"high": 8})}
    ward = ward_of(PLAIN.model_copy(update={"columns": columns}))
    body = lines(
        degrees=lambda cell, n: repr((float(cell) - 32) * 5 / 9), items=lambda cell, n: "99" if n % 40 == 1 else cell
    )
    ward.land("sales/9.csv", body)
    assert ward.heal("sales") == ["repaired by unit_change@1: accepted 117 rows, held 3"]
    assert "no rule makes it pass" in ward.heal_last("sales")
    left = ward.failures("sales")[-1].event
    assert (left.scope, left.rows) == ("rows", 3)
    ward.repair(left.quarantine_id, "as_it_is")
    assert accepted(ward).num_rows == 120


# --- people ------------------------------------------------------------------------------


def test_a_guess_is_asked_about_and_a_person_says_which(ward: Ward) -> None:
    ward.land("sales/9.csv", GUESS)
    assert "asked about" in ward.heal("sales")[0]
    (asked,) = ward.events(RepairAsked, "sales")
    assert len(asked.choices) == 1
    assert asked.choices[0].startswith("unit_change@1: brings degrees back by the inverse of (x+459.67)*5/9")
    (held,) = uploads.quarantined(ward.call(), tables=ward.tables)
    assert (held.choices, held.asked) == (asked.choices, "the one repair that fits is a guess")
    assert ward.show(held.id)["choices"] == list(asked.choices)
    with pytest.raises(Forbidden):
        ward.repair(held.id, "unit_change", call=caller(Grant(role="reader")))
    with pytest.raises(Refused, match="swapped_columns makes nothing of"):
        ward.repair(held.id, "swapped_columns")
    done = ward.repair(held.id, "unit_change", "they said so", caller(Grant(role="approver")))
    assert done.closed == "repaired by unit_change@1 as ann said"
    assert done.repaired is not None
    log = json.loads(ward.blobs.get("lake", done.repaired.log_key).body)
    assert (log["actor"], log["reason"]) == ("ann", "they said so")
    with pytest.raises(NotFound):
        ward.repair(held.id, "unit_change")


def test_two_that_fit_are_chosen_from_by_number(ward: Ward) -> None:
    header, *rows = lines().decode().splitlines()
    both = [f"{row},{float(row.split(',')[4]) * 1.08:.2f}" for row in rows]
    ward.land("sales/9.csv", "\n".join([header.replace("amount", "net") + ",gross", *both, ""]).encode())
    ward.heal("sales")
    (asked,) = ward.events(RepairAsked, "sales")
    (held,) = uploads.quarantined(ward.call(), tables=ward.tables)
    assert asked.reason == "2 repairs are plausible", asked.choices
    with pytest.raises(Refused, match="renamed_column/2: "):
        ward.repair(held.id, "renamed_column")
    assert ward.repair(held.id, "renamed_column/2").closed == "repaired by renamed_column@1 as platform said"


def test_nothing_that_helps_is_asked_about_too(ward: Ward) -> None:
    ward.land("sales/9.csv", b"PAR1 cut off")
    ward.heal("sales")
    (asked,) = ward.events(RepairAsked, "sales")
    assert (asked.choices, asked.reason) == ((), "no rule makes it pass")


def test_what_the_best_repair_would_leave_is_told() -> None:
    ward = ward_of(PLAIN.model_copy(update={"checks": ("unit_change", "constant_column")}))
    celsius = {"degrees": lambda cell, n: repr((float(cell) - 32) * 5 / 9), "amount": lambda cell, n: "1000.0"}
    ward.land("sales/9.csv", lines(of=celsius))
    ward.heal("sales")
    (asked,) = ward.events(RepairAsked, "sales")
    assert asked.reason.startswith("no rule makes it pass: unit_change@1 would leave that amount: ")


def test_a_source_without_rules_or_with_unknown_ones_is_left_to_people() -> None:
    for rules, reason in (((), "healing.rules is empty"), (("magic",), "no plugin magic of repairs")):
        ward = ward_of(PLAIN.model_copy(update={"healing": Healing(rules=rules)}))
        ward.land("sales/9.csv", UNIT)
        ward.heal("sales")
        (asked,) = ward.events(RepairAsked, "sales")
        assert reason in asked.reason
        (held,) = uploads.quarantined(ward.call(), tables=ward.tables)
        if not rules:
            assert ward.repair(held.id, "unit_change").closed.startswith("repaired by unit_change@1")


def test_data_of_no_source_waits_for_one(ward: Ward) -> None:
    ward.land("elsewhere/9.csv", UNIT)
    assert "has no source unknown" in ward.heal("unknown")[0]
    assert len(uploads.quarantined(ward.call(), tables=ward.tables)) == 1


def test_rows_whose_file_is_gone_are_left_to_people(ward: Ward) -> None:
    ward.land("sales/9.csv", COMMAS)
    (failed,) = ward.events(QualityFailed, "sales")
    ward.blobs.delete_versions("landing", list(ward.blobs.versions("landing", failed.upload_key)))
    ward.heal("sales")
    assert ward.events(RepairAsked, "sales")[0].reason == "the file that landed is gone"


def test_a_person_says_that_a_file_is_right_as_it_is(ward: Ward) -> None:
    ward.land("sales/9.csv", lines(degrees=lambda cell, n: repr(round(float(cell) * 0.5 - 90, 1))))
    ward.heal("sales")
    (held,) = uploads.quarantined(ward.call(), tables=ward.tables)
    done = ward.repair(held.id, "as_it_is", "it was that cold")
    assert done.closed == "accepted as it is, as platform said"
    assert ward.events(UploadAccepted, "sales")[-1].rows == 120
    assert original_of(done, ward.shop()) == ward.blobs.get("lake", held.key).body


def test_rows_go_on_as_they_are_unless_they_are_none() -> None:
    columns = {**SOURCE.columns, "items": SOURCE.columns["items"].model_copy(update={"high": 7})}
    ward = ward_of(PLAIN.model_copy(update={"columns": columns}))
    ward.land("sales/9.csv", lines())
    *_, (held,) = (uploads.quarantined(ward.call(), tables=ward.tables)[-1:],)
    ward.repair(held.id, "as_it_is")
    assert ward.events(UploadAccepted, "sales")[-1].rows == held.rows
    ward.land("sales/10.csv", lines(10, items=lambda cell, n: "many" if n % 5 == 1 else "3"))
    with pytest.raises(Refused, match=r"cannot go on as it is: .*not of type integer"):
        ward.repair(ward.failures("sales")[-1].event.quarantine_id, "as_it_is")


# --- back --------------------------------------------------------------------------------


def test_a_repair_is_taken_back(ward: Ward) -> None:
    ward.land("sales/9.csv", UNIT)
    ward.heal("sales")
    (told,) = ward.events(QuarantineRepaired, "sales")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    known = store.accepted_digests(ward.tables, "default", "sales", since, 50)
    with pytest.raises(Forbidden):
        ward.revert(told.quarantine_id, call=caller(Grant(role="reader")))
    again = ward.revert(told.quarantine_id, "it was Fahrenheit", caller(Grant(role="admin")))
    assert again.id == f"{told.quarantine_id}-r"
    assert ward.blobs.get("lake", again.key).body == UNIT
    (reverted,) = ward.events(RepairReverted, "sales")
    assert reverted.reason == "taken back by ann: it was Fahrenheit"
    opened = ward.events(QualityFailed, "sales")[-1]
    assert (opened.quarantine_id, opened.scope) == (again.id, "file"), "whoever trains hears that it is open again"
    assert len(store.accepted_digests(ward.tables, "default", "sales", since, 50)) == len(known) - 1
    with pytest.raises(Refused, match="taken back before"):
        ward.revert(told.quarantine_id)
    assert ward.show(told.quarantine_id)["steps"]
    assert "nothing is repaired anew" in ward.heal_last("sales")
    assert ward.repair(again.id, "unit_change").closed.startswith("repaired by")
    assert accepted(ward, 9).equals(TRUTH)


def test_only_what_was_repaired_can_be_taken_back(ward: Ward) -> None:
    ward.land("sales/9.csv", UNIT)
    (held,) = uploads.quarantined(ward.call(), tables=ward.tables)
    with pytest.raises(NotFound, match="no closed quarantine"):
        ward.revert(held.id)
    uploads.discard(ward.call(), held.id, tables=ward.tables, log=ward.log)
    with pytest.raises(Refused, match="was not repaired, but discarded by platform"):
        ward.revert(held.id)
    with pytest.raises(NotFound, match="no quarantine nobody"):
        ward.show("nobody")
    with pytest.raises(InvalidInput, match="was not repaired"):
        original_of(held, ward.shop())


# --- the world ---------------------------------------------------------------------------


def test_a_winter_that_comes_in_summer_is_nobodys_unit() -> None:
    """New York's January of 2013 after its July and August: a world that moved, and no damage."""
    rows = year.weather()
    ward = Ward(Project(name="flights", sources={"weather": year.SOURCES["weather"]}))
    weeks = dict(year.weekly(rows, "observed_at"))
    for week in range(26, 34):
        ward.land(f"weather/{week}.csv", weeks[week])
    moved = timedelta(weeks=31)
    cold = [
        {**row, "observed_at": row["observed_at"] + moved, "known_at": row["known_at"] + moved}
        for row in rows
        if (row["observed_at"] - year.START).days // 7 == 3
    ]
    assert "quarantined" in ward.land("weather/34.csv", year.csv_bytes(cold)), "else there is nothing to heal wrongly"
    ward.heal("weather")
    assert not ward.events(QuarantineRepaired, "weather")
    assert len(ward.events(RepairAsked, "weather")) == 1
    assert len(ward.events(UploadAccepted, "weather")) == 8


def test_no_word_of_a_row_is_told_outside_the_lake(ward: Ward) -> None:
    for number, body in enumerate((UNIT, COMMAS.replace(b"s-9", b"s-8"), GUESS.replace(b"s-9", b"s-7"))):
        ward.land(f"sales/{number}.csv", body)
        ward.heal_last("sales")
    items = [item.envelope.data for item in ward.log.read("WS#default#SOURCE#sales")]
    told = json.dumps(items, ensure_ascii=False) + repr(uploads.quarantined(ward.call(), tables=ward.tables))
    for word in ("Zürich", "s-9005", "s-8005", ',5"', "1238.21"):
        assert word not in told


# --- over HTTP ---------------------------------------------------------------------------


def test_people_see_repair_and_take_back_over_http(ward: Ward) -> None:
    wiring = memory_wiring(tables=ward.tables, blobs=ward.blobs)
    monitor = handler_of("monitor", wiring)
    ward.land("sales/9.csv", GUESS)
    (failed,) = ward.failures("sales")
    monitor({"detail-type": "QualityFailed", "detail": failed.envelope.model_dump(mode="json")})
    ann = Caller(monitor)
    path = f"/v1/quarantine/{failed.event.quarantine_id}"

    def ask(method: str, where: str, body: Mapping[str, Any] | None = None) -> Any:
        return ann(method, where, body)

    assert ask("GET", path)[1]["asked"] == "the one repair that fits is a guess"
    assert ask("POST", f"{path}/repair", {"rule": "magic"})[0] == 409
    assert ask("POST", f"{path}/repair", {"rules": "unit_change"})[0] == 400
    code, done = ask("POST", f"{path}/repair", {"rule": "unit_change", "reason": "said"})
    assert (code, done["repaired"]["rules"]) == (200, ["unit_change@1"])
    assert ask("GET", path)[1]["steps"][0]["formulas"] == {"degrees": "(x+459.67)*5/9"}
    code, again = ask("POST", f"{path}/revert", {"reason": "no"})
    assert (code, again["reverts"]) == (200, failed.event.quarantine_id)
    assert ask("POST", f"{path}/revert", {})[0] == 409
    assert [one["id"] for one in ask("GET", "/v1/quarantine")[1]["quarantines"]] == [again["id"]]
