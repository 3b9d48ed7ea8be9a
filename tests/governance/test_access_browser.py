"""The session of a browser: one cookie, which is the token and ends with it."""

from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import pytest
from support.http import handler_of, memory_wiring, payload

from governance.desk import Desk
from governance.identity import IdentityProvider, provider
from modelwright.governance.access import Grant
from modelwright.governance.federation import trust
from modelwright.governance.tokens import COOKIE, issue_token, revoke_token
from modelwright.runtime import Function
from modelwright.wiring import Wiring

READER = [Grant(role="reader")]


@pytest.fixture
def desk() -> Desk:
    return Desk(wall=datetime.now(UTC))


@pytest.fixture
def idp() -> IdentityProvider:
    return IdentityProvider()


@pytest.fixture
def wiring(desk: Desk, idp: IdentityProvider) -> Wiring:
    wiring = memory_wiring(tables=desk.tables)
    wiring.keys = idp.keys
    return wiring


@pytest.fixture
def console(wiring: Wiring) -> Function:
    return handler_of("console", wiring)


def sign_in(console: Function, token: str, **headers: str) -> dict[str, Any]:
    body = urlencode({"token": token}).encode()
    answer: dict[str, Any] = console(payload("POST", "/login", body, signed_in=False, headers=headers))
    return answer


def looks(console: Function, token: str) -> int:
    event = {**payload("GET", "/console", signed_in=False), "cookies": [f"{COOKIE}={token}"]}
    return int(console(event)["statusCode"])


def test_scripts_other_sites_and_plain_connections_do_not_get_the_cookie(desk: Desk, console: Function) -> None:
    token = issue_token(desk.call, READER, actor="ann", tables=desk.tables, log=desk.log)
    jar = SimpleCookie(sign_in(console, token)["headers"]["set-cookie"])
    assert list(jar) == [COOKIE]
    kept = jar[COOKIE]
    assert kept.value == token
    assert (kept["httponly"], kept["secure"], kept["samesite"], kept["path"]) == (True, True, "Lax", "/")
    assert kept["domain"] == "", "so that no other host of the domain is sent it"
    assert kept["max-age"] == str(12 * 3600)


def test_a_revoked_token_ends_its_sessions_at_once(desk: Desk, console: Function, wiring: Wiring) -> None:
    token = issue_token(desk.call, READER, actor="ann", tables=desk.tables, log=desk.log)
    assert looks(console, token) == 200
    revoke_token(desk.call, token.split(".")[2], tables=desk.tables, log=desk.log)
    assert looks(console, token) == 303
    assert handler_of("authorize", wiring)({"cookies": [f"{COOKIE}={token}"]}) == {"isAuthorized": False}
    assert sign_in(console, token)["statusCode"] == 401


def test_an_expired_token_starts_no_session(desk: Desk, console: Function) -> None:
    expires = desk.wall + timedelta(hours=1)
    past = desk.wall - timedelta(hours=2)
    token = issue_token(desk.call, READER, actor="ann", tables=desk.tables, log=desk.log, expires=expires)
    assert sign_in(console, token)["statusCode"] == 303
    desk.wall = past
    token = issue_token(
        desk.call, READER, actor="ann", tables=desk.tables, log=desk.log, expires=past + timedelta(hours=1)
    )
    answer = sign_in(console, token)
    assert answer["statusCode"] == 401
    assert "set-cookie" not in answer["headers"]


def test_a_person_of_an_identity_provider_signs_in_with_their_token(
    desk: Desk, console: Function, idp: IdentityProvider
) -> None:
    trust(desk.call, provider(), tables=desk.tables, log=desk.log)
    answer = sign_in(console, idp.token())
    assert answer["statusCode"] == 303
    assert looks(console, SimpleCookie(answer["headers"]["set-cookie"])[COOKIE].value) == 200
    assert sign_in(console, idp.token(aud="payroll"))["statusCode"] == 401


def test_a_token_that_a_browser_would_not_keep_is_refused(desk: Desk, console: Function, idp: IdentityProvider) -> None:
    trust(desk.call, provider(), tables=desk.tables, log=desk.log)
    answer = sign_in(console, idp.token(groups=["staff", "x" * 4000]))
    assert answer["statusCode"] == 401
    assert "no token of more than 3800 characters" in answer["body"]


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 401), ("same-site", 401), ("same-origin", 303), ("none", 303)]
)
def test_another_sites_form_signs_nobody_in(desk: Desk, console: Function, site: str, status: int) -> None:
    token = issue_token(desk.call, READER, actor="eve", tables=desk.tables, log=desk.log)
    answer = sign_in(console, token, **{"Sec-Fetch-Site": site})
    assert answer["statusCode"] == status
    assert ("set-cookie" in answer["headers"]) == (status == 303)
