"""The report of a window in a real browser: by day, by night and on a phone, from a file, with nothing else to ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from monitoring.test_report import report
from playwright.sync_api import Browser, Page

from modelwright.monitoring.report import page as page_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    place: Path = tmp_path_factory.mktemp("report") / "report.html"
    place.write_bytes(page_of(report(12, 6)))
    return place.as_uri()


def opened(browser: Browser, file: str, width: int, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.extend([] if request.url == file else [request.url]))
    page.goto(file)
    yield page
    context.close()
    assert not said


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "light"), (390, "dark")])
def test_a_report_fits_its_screen_and_asks_nobody(
    browser: Browser, file: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    for page in opened(browser, file, width, scheme):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("article svg").count() == 18
        ground, ink = (page.evaluate(f"getComputedStyle(document.body).{one}") for one in ("backgroundColor", "color"))
        assert ground != ink
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_click_on_a_head_sorts_the_table_by_its_figures(browser: Browser, file: str) -> None:
    for page in opened(browser, file, 1200, "light"):
        effects = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => +r.children[2].dataset.key)"
        head = page.locator("th", has_text="Effect").first
        for order in ("descending", "ascending"):
            head.locator("button").click()
            found = page.evaluate(effects)
            assert found == sorted(found, reverse=order == "descending")
            assert head.get_attribute("aria-sort") == order
