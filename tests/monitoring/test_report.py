"""The report of a window: what it says, how large it is, and that nothing gets out of it."""

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from modelwright.events import ColumnDrift, Finding
from modelwright.monitoring.profiles import Profile, Reference, profile_of
from modelwright.monitoring.report import PastWindow, WindowReport, document, page, report_of
from modelwright.project import Column, Source

DAY = datetime(2024, 3, 1, tzinfo=UTC)
EVIL = '<script>alert("x")</script>&\'"'


def source(numbers: int, texts: int) -> Source:
    columns = {"id": Column(type="integer"), "at": Column(type="timestamp")}
    columns |= {f"n{place:02d}": Column(type="number", nullable=True) for place in range(numbers)}
    columns |= {f"c{place:02d}": Column(type="string", nullable=True) for place in range(texts)}
    return Source(columns=columns, key=("id",), event_time="at")


def profile(declared: Source, day: int, rows: int = 3000, shift: float = 0.0) -> Profile:
    random = np.random.default_rng(day)
    at = [DAY + timedelta(days=day, seconds=place) for place in range(rows)]
    found = {"id": pa.array(range(rows)), "at": pa.array(at, pa.timestamp("us", "UTC"))}
    words = [f"value {EVIL} {place:03d} of a rather long name" for place in range(60)]
    weights = 1 / np.arange(1, 61)
    for name, column in declared.columns.items():
        if column.type == "number":
            values = random.gamma(2, 100, rows) if name.endswith("1") else random.normal(shift, 1, rows)
            found[name] = pa.array(values, mask=random.random(rows) < 0.05)
        if column.type == "string":
            found[name] = pa.array(random.choice(words, rows, p=weights / weights.sum()).tolist())
    return profile_of(pa.table(found), "trips", declared, f"digest{day}")


def verdicts(declared: Source) -> list[ColumnDrift]:
    found = []
    for place, name in enumerate([n for n in declared.columns if n not in ("id", "at")]):
        for detector, floor in (("ks", 0.1), ("wasserstein", 0.25), ("missing", 0.05)):
            effect = floor * (2.5 if place < 3 and detector == "ks" else 0.02 * (place % 40))
            found.append(
                ColumnDrift(
                    column=name, detector=detector, effect=effect, floor=floor, p_value=0.0004, p_adjusted=0.003,
                    drifted=effect > floor, since=DAY if effect > floor else None, reference="the 28 days before",
                    text=f"{name} rose by {effect:.2f} {EVIL}",
                )
            )  # fmt: skip
    segment = ColumnDrift(
        column="n04", detector="ks", effect=0.31, floor=0.1, p_value=1e-9, drifted=True, segment=f"carrier = {EVIL}",
        since=DAY, text="only there",
    )  # fmt: skip
    return [*found, segment]


def past(declared: Source, count: int) -> list[PastWindow]:
    names = [name for name in declared.columns if name not in ("id", "at")]
    return [
        PastWindow(
            start=DAY + timedelta(days=day), end=DAY + timedelta(days=day, hours=23), rows=900,
            strengths={name: (place * 7 + day) % 13 / 10 for place, name in enumerate(names)},
            drifted=(names[0],) if day > count - 3 else (),
        )
        for day in range(count)
    ]  # fmt: skip


def report(numbers: int = 70, texts: int = 30, history: int = 40) -> WindowReport:
    declared = source(numbers, texts)
    usual = Reference(tuple(profile(declared, day) for day in range(2)))
    return report_of(
        profile(declared, 60, shift=0.4), usual, verdicts(declared), workspace="default", source="trips",
        made=DAY + timedelta(days=61), text="the 28 days before", left_out=declared.key,
        findings=[Finding(check="range", column="n01", severity="warn", text=f"12 % of values {EVIL}")],
        history=past(declared, history), share=0.03, dataset=False,
    )  # fmt: skip


class Reader(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(made: WindowReport) -> Reader:
    reader = Reader()
    reader.feed(page(made).decode())
    return reader


@pytest.fixture(scope="module")
def large() -> WindowReport:
    return report()


def test_the_report_of_a_hundred_columns_is_smaller_than_a_megabyte(large: WindowReport) -> None:
    assert len([one for one in large.columns if one.kind != "times"]) == 100
    assert len(page(large)) < 1_000_000
    assert len(document(large)) < 1_000_000


def test_the_page_loads_nothing_and_runs_its_own_script_alone(large: WindowReport) -> None:
    reader = read(large)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name in ("src", "href", "action") or name.startswith("on")]
    assert reader.tags.count("script") == 1
    assert "url(" not in page(large).decode()
    policy = next(value for name, value in reader.attributes if name == "content" and "default-src" in (value or ""))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_whatever_a_column_a_value_or_a_segment_is_called_is_text(large: WindowReport) -> None:
    declared = Source(
        columns={"id": Column(type="integer"), "at": Column(type="timestamp"), EVIL: Column(type="number")},
        key=("id",), event_time="at",
    )  # fmt: skip
    at = pa.array([DAY] * 3, pa.timestamp("us", "UTC"))
    rows = profile_of(pa.table({"id": [1, 2, 3], "at": at, EVIL: [1.0, 2.0, 3.0]}), "trips", declared, "d")
    verdict = ColumnDrift(column=EVIL, detector=EVIL, effect=1, floor=0.1, p_value=0, drifted=True, reference=EVIL)
    made = report_of(
        rows, Reference((rows,)), [verdict], workspace=EVIL, source=EVIL, made=DAY, text=EVIL, policy=EVIL,
        history=[PastWindow(start=DAY, end=DAY, strengths={EVIL: 2.0})],
    )  # fmt: skip
    for one in (made, large):
        reader = read(one)
        assert reader.tags.count("script") == 1
        assert any(EVIL in text for text in reader.text)


def test_columns_are_ranked_by_how_far_over_the_floor_they_are(large: WindowReport) -> None:
    assert [one.name for one in large.columns[:4]] == ["n00", "n01", "n02", "n04"]
    assert large.columns[0].strength == pytest.approx(2.5)
    text = " ".join(read(large).text)
    assert "4 columns drift" in text
    assert "They carry 3.0 % of the importance." in " ".join(text.split())
    assert text.index("n00 rose by 0.25") < text.index("n30 rose by")


def test_the_page_shows_segments_findings_since_reference_and_timeline(large: WindowReport) -> None:
    text = " ".join(" ".join(read(large).text).split())
    for said in ("Segments", "carrier = ", "12 % of values", "2024-03-01", "the 28 days before", "The last 31 windows"):
        assert said in text


def test_the_document_has_the_figures_of_the_page(large: WindowReport) -> None:
    told = json.loads(document(large))
    assert WindowReport.model_validate(told) == large
    drifted = [one["name"] for one in told["columns"] if one["drifted"]]
    assert f"<b>{len(drifted)} columns drift</b>" in page(large).decode()
    side = next(one for one in told["columns"] if one["name"] == "n05")["window"]
    assert f"{side['mean']:.4g}" in page(large).decode()


def test_shares_of_a_shape_add_up_to_one_on_both_sides(large: WindowReport) -> None:
    for column in large.columns:
        if column.shape is not None:
            for side in (column.shape.reference, column.shape.window):
                assert sum(side) == pytest.approx(1, abs=1e-4)


def test_the_same_window_has_the_same_report_to_the_byte() -> None:
    assert page(report(3, 2)) == page(report(3, 2))
    assert document(report(3, 2)) == document(report(3, 2))


def test_later_windows_and_old_ones_are_not_in_the_timeline() -> None:
    made = report(3, 1, history=90)
    assert len(made.history) == 30
    assert max(one.end for one in made.history) <= made.end


def test_keys_name_people_and_are_not_shown(large: WindowReport) -> None:
    assert "id" not in {one.name for one in large.columns}


def test_a_window_becomes_history() -> None:
    made = report(3, 1)
    kept = made.past()
    assert kept.strengths["n00"] == pytest.approx(2.5)
    assert "n00" in kept.drifted
    assert PastWindow.model_validate_json(kept.model_dump_json()) == kept


def test_a_window_without_reference_values_or_verdicts_is_a_page_too() -> None:
    declared = source(1, 1)
    at = pa.array([DAY] * 3, pa.timestamp("us", "UTC"))
    missing = pa.table({"id": [1, 2, 3], "at": at, "n00": pa.nulls(3, pa.float64()), "c00": pa.nulls(3, pa.string())})
    empty = profile_of(missing, "trips", declared, "d")
    made = report_of(empty, Reference(()), [], workspace="default", source="trips", made=DAY)
    text = " ".join(read(made).text)
    assert "No column drifts" in text
    assert "Nothing was compared." in text
    assert "No distribution to draw." in text
    assert "None" not in re.sub(r"<style>.*</style>", "", page(made).decode())
