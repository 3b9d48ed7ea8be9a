"""The page: complete, self-contained, and readable where it is looked at."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from demo.made import WEEKS, made_report
from modelwright.demo.chronicle import Quarantine
from modelwright.demo.page import render, verdict
from modelwright.demo.report import Report, WeekRow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_VOID = {"meta", "br", "hr", "img", "input", "link"}


@pytest.fixture(scope="module")
def made() -> Report:
    return made_report(120)


@pytest.fixture(scope="module")
def page(made: Report) -> str:
    return render(made)


class Checker(HTMLParser):
    """Follows which elements are open, and collects ids, references and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in _VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.ids += [named["id"]] if named.get("id") else []  # type: ignore[list-item]
        assert "src" not in named
        assert "href" not in named

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return checker


def test_the_page_is_well_formed_small_and_asks_nobody(page: str) -> None:
    checker = _checked(page)
    assert len(page) < 1_000_000
    assert len(checker.ids) == len(set(checker.ids))
    assert "script" not in checker.seen
    assert "http" not in page.replace("http requests", "")


def test_every_picture_has_a_title_and_a_text(page: str) -> None:
    assert page.count("<svg") == page.count("<desc") == 10
    assert page.count('role="img"') == 10


def test_the_headline_is_the_answer(made: Report, page: str) -> None:
    said = verdict(made)
    assert "better than the January model" in said
    assert f"{made['loop']['auc']:.3f} against {made['static']['auc']:.3f}" in said
    assert said in _checked(page).text


def test_the_headline_claims_no_more_than_the_interval(made: Report) -> None:
    unclear: Report = {**made, "auc_difference": {"value": 0.001, "low": -0.002, "high": 0.004, "resampled": "days"}}
    worse: Report = {**made, "auc_difference": {"value": -0.01, "low": -0.02, "high": -0.004, "resampled": "days"}}
    assert "no clear difference" in verdict(unclear)
    assert "worse" in verdict(worse)


def test_everything_that_happened_is_told(made: Report, page: str) -> None:
    text = _checked(page).text
    for week in made["weeks"]:
        for happening in week["events"]:
            assert happening["text"] in text


def test_what_comes_from_outside_cannot_write_html(made: Report) -> None:
    held: Quarantine = {**made["quarantines"][0], "upload": "<b>x</b>", "source": "<i>"}
    page = render({**made, "quarantines": [held]})
    assert "<b>x" not in page
    _checked(page)


def test_a_year_in_which_nothing_went_right_is_shown_as_that(made: Report) -> None:
    text = _checked(
        render(
            {
                **made,
                "chain": {
                    "verified": False,
                    "items": 3,
                    "streams": 1,
                    "breaks": ["M is broken at sequence 2: changed"],
                },
                "flights": {**made["flights"], "predicted": 7, "faults": ["1 flights were not predicted: a"]},
                "parity": {"compared": 5, "equal": 4, "first_difference": "flight x: temp 1.0 and 2.0"},
            }
        )
    ).text
    for said in ("BROKEN", "M is broken at sequence 2", "were not predicted: a", "flight x: temp 1.0 and 2.0"):
        assert said in text


def test_a_week_or_two_without_events_make_a_page_too(made: Report) -> None:
    quiet: list[WeekRow] = [{**row, "events": [], "loop_auc": None, "static_auc": None} for row in made["weeks"][:2]]
    nothing: Report = {**made, "weeks": quiet, "retrainings": [], "rollouts": [], "rollbacks": [], "quarantines": []}
    assert "Nothing: the first model" in _checked(render(nothing)).text
    _checked(render({**made, "weeks": []}))
    _checked(render(made_report(60, WEEKS[:12])))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_fits_the_screen(page: str, width: int, tmp_path: Path) -> None:
    probe = (
        "<script>onload=()=>{const f=document.querySelector('iframe').contentDocument;"
        "document.title=[f.documentElement.scrollWidth,"
        "[...f.querySelectorAll('svg')].filter(s=>s.getBoundingClientRect().width>0).length].join(' ')}</script>"
    )
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    frame = f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!doctype html><title></title>{probe}{frame}", encoding="utf-8")
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", *quiet, "--allow-file-access-from-files"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "frame.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    scroll, shown = dom.partition("<title>")[2].partition("</title>")[0].split()
    assert int(scroll) <= width, "nothing sticks out sideways"
    assert int(shown) == 5, "of each picture one form is shown"
