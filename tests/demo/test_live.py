"""What is seen while a replay runs."""

import io

import pytest

from demo.made import made_report
from modelwright.demo.live import View, summary, week_line
from modelwright.demo.report import Report, WeekRow


@pytest.fixture(scope="module")
def made() -> Report:
    return made_report(120)


ROW: WeekRow = {
    "number": 12, "start": "2013-04-19T00:00:00+00:00", "end": "2013-04-26T00:00:00+00:00", "flights": 6512,
    "labelled": 6300, "late_share": 0.2, "champion": 3, "canary": 4, "canary_percent": 10,
    "static_auc": {"value": 0.712, "low": 0.7, "high": 0.72}, "loop_auc": {"value": 0.741, "low": 0.73, "high": 0.75},
    "static_brier": 0.158, "loop_brier": 0.151, "quarantined": 0, "events": [],
}  # fmt: skip
LEARNING: WeekRow = {
    **ROW, "number": -2, "start": "2013-01-08T00:00:00+00:00", "flights": 6099, "champion": None, "canary": None,
    "loop_auc": None,
}  # fmt: skip


class Flushed(io.StringIO):
    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def test_a_week_is_one_line() -> None:
    assert week_line(ROW) == (
        "week 12  2013-04-19   6,512 flights  champion v3, canary v4 10 %  AUC .741 (static .712)  Brier .151 (.158)"
    )
    assert week_line(LEARNING) == "January  2013-01-08 ...  6,099 flights landed, learning"
    assert "too few outcomes" in week_line({**ROW, "loop_auc": None})


def test_elsewhere_than_on_a_terminal_every_line_is_plain_and_written_at_once() -> None:
    stream = Flushed()
    with View(stream) as view:
        view.start(48)
        view.note("deploying")
        view.week(LEARNING)
        view.week(ROW)
        view.event("v4 begins as canary with 10 % of flights.")
    lines = stream.getvalue().splitlines()
    assert lines == [
        "deploying",
        week_line(LEARNING),
        week_line(ROW),
        "        v4 begins as canary with 10 % of flights.",
    ]
    assert stream.flushes >= 4
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_shows_one_picture_and_gets_its_cursor_back() -> None:
    stream = io.StringIO()
    with View(stream, terminal=True) as view:
        view.start(48)
        view.note("waiting for labels")
        view.week(LEARNING)
        view.week(ROW)
        view.event("something [bold]odd[/bold] happened")
    view.finish()
    shown = stream.getvalue()
    assert "1/48" in shown
    assert "[bold]odd[/bold]" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_the_summary_has_every_week_and_everything_that_happened(made: Report) -> None:
    text = summary(made)
    lines = text.splitlines()
    assert lines[0].split()[0] == "week"
    assert len([line for line in lines[1:49] if line[:4].strip().isdigit()]) == 48
    assert lines[49].split()[:2] == ["all", f"{made['flights']['predicted']:,}"]
    for kind in ("retraining", "rollout", "rollback", "quarantine"):
        assert sum(line.startswith(f"{kind} ") for line in lines) == len(made[f"{kind}s"])  # type: ignore[literal-required]
    for said in ("forced past the gates", "verified", "2,310 of 2,310", "per 1,000 predictions", made["predictions"]):
        assert said in text


def test_the_summary_hides_no_fault(made: Report) -> None:
    text = summary(
        {
            **made,
            "chain": {"verified": False, "items": 3, "streams": 1, "breaks": ["M is broken at sequence 2"]},
            "flights": {"expected": 8, "predicted": 7, "labelled": 7, "faults": ["1 flights were not predicted: a"]},
            "parity": {"compared": 5, "equal": 4, "first_difference": "flight x: temp"},
        }
    )
    for said in ("BROKEN", "M is broken", "NOT all exactly once", "not predicted: a", "4 of 5", "flight x: temp"):
        assert said in text
