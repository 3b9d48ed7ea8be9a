"""A champion's errors, told one by one to detectors that remember between files."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import ConditionFailed
from modelwright.events import Window
from modelwright.monitoring.performance import streams
from modelwright.plugins import installed, load

DAY = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = Window(start=DAY, end=DAY + timedelta(days=7))


def file(wrong: float, number: int, rows: int = 500, version: int = 1) -> pa.Table:
    rng = np.random.default_rng(number)
    labels = rng.random(rows) < 0.5
    scores = np.where(rng.random(rows) < wrong, ~labels, labels) * 0.8 + 0.1
    times = [DAY + timedelta(days=7 * number, minutes=int(m)) for m in rng.permutation(rows)]
    return pa.table(
        {
            "prediction_id": [f"{number}-{row}" for row in range(rows)],
            "as_of": pa.array(times, pa.timestamp("us", tz="UTC")),
            "version": pa.array([version] * rows, pa.int32()),
            "score": scores,
            "label": pa.array(labels.astype(np.float64)),
        }
    )


def follow(
    table: pa.Table, known: streams.Standing, names: tuple[str, ...] = ("ddm", "adwin"), **more: bool
) -> tuple[streams.Standing, list[str]]:
    made, found = streams.follow(
        "m", 1, WEEK, table, names, lambda name: load("detectors.streams", name), known,
        **{"classification": True, **more},
    )  # fmt: skip
    return made, [event.metric for event in found]


def test_a_rise_between_two_files_is_seen_in_the_second_with_figures() -> None:
    known, found = follow(file(0.1, 0), streams.Standing())
    assert found == []
    known, found = follow(file(0.1, 1), known)
    assert found == []
    _, found = follow(file(0.45, 2), known)
    assert found == ["error (ddm)", "error (adwin)"]


def test_rows_that_come_late_or_again_or_of_others_are_not_told() -> None:
    known, _ = follow(file(0.1, 1), streams.Standing())
    for table in (file(0.9, 0), file(0.1, 1), file(0.9, 5, version=2)):
        after, found = follow(table, known)
        assert (after, found) == (known, [])


def test_a_new_champion_begins_anew() -> None:
    known, _ = follow(file(0.1, 0), streams.Standing())
    after, found = streams.follow(
        "m", 2, WEEK, file(0.4, 1, version=2), ("ddm",), lambda name: load("detectors.streams", name), known,
        classification=True,
    )  # fmt: skip
    assert (after.version, after.rows, found) == (2, 500, [])


def test_numbers_that_are_further_off_are_errors_too() -> None:
    rng = np.random.default_rng(0)

    def numbers(spread: float, number: int) -> pa.Table:
        table = file(0.1, number)
        score = pa.array(rng.normal(0, spread, table.num_rows))
        return table.set_column(3, "score", score).set_column(4, "label", pa.array(np.zeros(table.num_rows)))

    known, found = follow(numbers(1, 0), streams.Standing(), ("adwin",), classification=False)
    assert found == []
    _, found = follow(numbers(3, 1), known, ("adwin",), classification=False)
    assert found == ["error (adwin)"]


def test_what_is_put_away_comes_back_and_two_writers_are_told_apart() -> None:
    tables = MemoryTables()
    known, _ = follow(file(0.1, 0), streams.load(tables, "default", "m"))
    tables.write([streams.put("default", "m", known)])
    assert streams.load(tables, "default", "m").states == known.states
    with pytest.raises(ConditionFailed):
        tables.write([streams.put("default", "m", known)])


def test_every_installed_one_can_be_named() -> None:
    names = installed("detectors.streams")
    assert names == ("adwin", "ddm", "hddm_a", "kswin", "page_hinkley")
    known, _ = follow(file(0.1, 0), streams.Standing(), names)
    assert set(known.states) == set(names)
