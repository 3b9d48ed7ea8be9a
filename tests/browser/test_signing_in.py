"""The way in: the form, where it leads, our own page, and the function that stands at the edge in AWS."""

from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from template.stack import the_template

from browser.conftest import Gallery
from browser.visitor import Visitor
from modelwright.governance.tokens import COOKIE

pytestmark = [pytest.mark.browser, pytest.mark.e2e]


def sign_in(visitor: Visitor, token: str) -> None:
    visitor.page.get_by_label("Token").fill(token)
    visitor.page.get_by_role("button", name="Sign in").click()


def test_a_link_of_the_client_opens_after_signing_in(stranger: Visitor, gallery: Gallery) -> None:
    stranger.open(f"#/experiments/{gallery.experiment}/runs/{gallery.runs[3]}")
    stranger.see("Modelwright")
    stranger.keep("form")
    sign_in(stranger, gallery.token)
    stranger.see("barrel-3", gallery.runs[3])
    assert stranger.page.url.startswith(f"{gallery.url}/#/experiments/{gallery.experiment}/runs/{gallery.runs[3]}")
    (cookie,) = stranger.page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (COOKIE, True, True, "Lax")


def test_a_wrong_token_is_said_to_be_wrong_and_the_way_is_kept(stranger: Visitor, gallery: Gallery) -> None:
    stranger.expected.append("/login")
    stranger.open(f"#/experiments/{gallery.experiment}/runs")
    sign_in(stranger, gallery.token[:-1])
    stranger.see("the token is not valid")
    stranger.keep("form-refuses")
    assert stranger.page.context.cookies() == []
    sign_in(stranger, gallery.token)
    stranger.see("barrel-3")


def test_the_cookie_of_another_stack_leads_to_the_form(stranger: Visitor, gallery: Gallery) -> None:
    foreign = {"name": COOKIE, "value": "mw.default.someone.else", "url": gallery.url}
    stranger.page.context.add_cookies([foreign])  # type: ignore[list-item]
    stranger.open("")
    stranger.see("Modelwright", "Token")


def test_the_console_is_a_page_of_its_own(stranger: Visitor, gallery: Gallery) -> None:
    stranger.open("console")
    sign_in(stranger, gallery.token)
    stranger.page.wait_for_url(f"{gallery.url}/console")
    stranger.see("No project applied yet", "Newest events", "RunCreated")
    stranger.keep("console")
    stranger.page.get_by_role("link", name="Experiments, runs and models").click()
    stranger.see("Recent Experiments")
    stranger.open("console")
    stranger.page.get_by_role("button", name="Sign out").click()
    stranger.see("Token")
    assert stranger.page.context.cookies() == []
    stranger.open("")
    expect(stranger.page).to_have_url(f"{gallery.url}/login")


@pytest.mark.parametrize(
    ("cookies", "passes"),
    [
        ({COOKIE: {"value": "mw.default.x.y"}}, True),
        ({"other": {"value": "1"}, COOKIE: {"value": "mw.default.x.y"}}, True),
        ({}, False),
        ({"other": {"value": "1"}}, False),
        ({COOKIE: {"value": ""}}, False),
    ],
)
def test_the_function_at_the_edge_lets_through_who_has_the_cookie(
    browser: Browser, cookies: dict[str, Any], passes: bool
) -> None:
    """CloudFront runs the text that is in the template; here Chromium does."""
    code = the_template()["Resources"]["UiSignedIn"]["Properties"]["FunctionCode"]
    request = {"method": "GET", "uri": "/", "querystring": {}, "headers": {}, "cookies": cookies}
    page = browser.new_page()
    answer = page.evaluate(f"event => {{ {code}; return handler(event); }}", {"version": "1.0", "request": request})
    page.close()
    if passes:
        assert answer == request
    else:
        assert (answer["statusCode"], answer["headers"]["location"]["value"]) == (303, "/login")
