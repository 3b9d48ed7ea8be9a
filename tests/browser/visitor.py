"""A person at a browser: opens pages, looks at them, and notes whatever goes wrong in them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Response, expect

PATIENCE_MS = 30_000
EXPECTED = re.compile(
    r"/ajax-api/\d\.0/mlflow/(?:users/current|assistant/(?:config|providers)|ui-telemetry)$"
)  # fmt: skip
"""What MLflow's pages ask for and take a 404 to: who one is (with its own accounts), an assistant, telemetry."""

NOTICE = "ResizeObserver loop completed with undelivered notifications."
"""What Chromium says when a page lays itself out again while it is laid out: harmless, and at its own whim."""


@dataclass
class Visitor:
    """Somebody who looks at the pages of one stack.

    Attributes:
        url: the stack's.
        shots: the folder for pictures of what was seen.
        expected: parts of URLs that may be answered by an error in this visit.
        faults: failed requests, errors on the console, and whatever was asked of anybody but the stack.
    """

    page: Page
    url: str
    shots: Path
    expected: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.homes = (self.url, self.url.replace("127.0.0.1", "localhost"))
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def move(self, host: str) -> None:
        """Look at the same stack by another name of its host."""
        here = urlsplit(self.url)
        cookies = [{**each, "domain": host} for each in self.page.context.cookies()]
        self.page.context.add_cookies(cookies)  # type: ignore[arg-type]
        self.url = f"{here.scheme}://{host}:{here.port}"

    def open(self, place: str) -> None:
        """Go to a path, or to a fragment of MLflow's one page."""
        self.page.goto(f"{self.url}/{place}")

    def see(self, *texts: str | re.Pattern[str], within: Locator | None = None) -> None:
        """Wait until each text is visible."""
        for text in texts:
            found = (within or self.page).get_by_text(text, exact=isinstance(text, str))
            expect(found.filter(visible=True).first).to_be_visible(timeout=PATIENCE_MS)

    def keep(self, name: str) -> None:
        """Take a picture."""
        self.page.screenshot(path=self.shots / f"{name}.png")

    def _console(self, message: ConsoleMessage) -> None:
        told = message.type == "error" and not message.text.endswith(NOTICE)
        if told and not self._is_expected(message.location["url"]):
            self.faults.append(f"console: {message.text} ({message.location['url']})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((*self.homes, "data:", "blob:")):
            self.faults.append(f"asked of somebody else: {request.method} {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a page that is left gives up what it was asking for
            self.faults.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and not self._is_expected(response.url):
            self.faults.append(f"{response.status}: {response.request.method} {response.url}")

    def _is_expected(self, url: str) -> bool:
        return bool(EXPECTED.search(urlsplit(url).path)) or any(part in url for part in self.expected)
