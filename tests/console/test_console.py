"""The console: pages that escape, sign-in by cookie, and a log that shows one workspace alone."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from support.http import Caller, handler_of, memory_wiring, payload

from modelwright.adapters.memory import MemoryTables
from modelwright.console import pages
from modelwright.context import Call
from modelwright.events import Finding, QualityFailed, RegisteredModelCreated, Route, RoutesChanged
from modelwright.governance import verifier
from modelwright.governance.access import Grant
from modelwright.governance.anchoring import anchor
from modelwright.governance.tokens import COOKIE, authenticate, bootstrap_token
from modelwright.insights.causes import OPENS
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Column, Label, Model, Project, Source, current_key
from modelwright.runtime import Function
from modelwright.storage import Anything, Put

NOW = datetime.now(UTC)
EVIL = "<script>alert('x')</script>\"&"
FLIGHTS = stream_of("default", "MODEL", "flights")


@pytest.fixture
def tables() -> MemoryTables:
    return MemoryTables()


@pytest.fixture
def console(tables: MemoryTables) -> Function:
    return handler_of("console", memory_wiring(tables=tables))


def happen(tables: MemoryTables, *models: str, workspace: str = "default") -> None:
    call = Call(workspace, "ann", NOW, "c")
    for name in models:
        event = RegisteredModelCreated(model=name)
        Log(tables).commit(call, [Happened(stream_of(workspace, "MODEL", name), event)])


def apply(tables: MemoryTables, workspace: str = "default") -> None:
    column = Column(type="string")
    project = Project(
        name="demo",
        sources={"labels": Source(prefix="labels/", columns={"id": column, "t": column}, key=("id",), event_time="t")},
        models={
            "flights": Model(
                id_column="id", time_column="t", request={"id": "string"}, views=(), inputs=("id",), trainer="a:b",
                label=Label(source="labels", column="id", above=0),
            )
        },
    )  # fmt: skip
    item = {**current_key(workspace)._asdict(), "project": project.model_dump_json()}
    tables.write([Put("governance", item, Anything())])


# --- signing in --------------------------------------------------------------------------


def sign_in(console: Function, body: str) -> dict[str, Any]:
    event = payload("POST", "/login", body.encode(), signed_in=False)
    answer: dict[str, Any] = console(event)
    return answer


def test_a_token_becomes_a_cookie_that_scripts_cannot_read(tables: MemoryTables, console: Function) -> None:
    token = bootstrap_token("default", tables=tables, now=NOW)
    answer = sign_in(console, urlencode({"token": token}))
    assert (answer["statusCode"], answer["headers"]["location"]) == (303, "/")
    cookie = answer["headers"]["set-cookie"]
    name, _, value = cookie.split(";")[0].partition("=")
    assert name == COOKIE
    assert authenticate(value, tables=tables, wall=datetime.now(UTC)).actor == "administrator"
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_the_cookie_lets_the_browser_in(tables: MemoryTables, console: Function) -> None:
    token = bootstrap_token("default", tables=tables, now=NOW)
    cookie = sign_in(console, urlencode({"token": token}))["headers"]["set-cookie"].split(";")[0]
    authorize = handler_of("authorize", memory_wiring(tables=tables))
    assert authorize({"version": "2.0", "cookies": ["other=1", cookie]})["isAuthorized"] is True


def test_the_page_is_open_and_shows_itself_to_who_signed_in(tables: MemoryTables, console: Function) -> None:
    token = bootstrap_token("default", tables=tables, now=NOW)
    bare = payload("GET", "/console", signed_in=False)
    cookie = {**bare, "cookies": ["other=1", f"{COOKIE}={token}"]}
    bearer = payload("GET", "/console", signed_in=False, headers={"Authorization": f"Bearer {token}"})
    for event in (cookie, bearer):
        answer = console(event)
        assert (answer["statusCode"], "No project applied yet" in answer["body"]) == (200, True)


@pytest.mark.parametrize("cookies", [[], ["other=1"], [f"{COOKIE}=mw.default.x.y"], [f"{COOKIE}="]])
def test_who_did_not_sign_in_is_sent_to_the_form(console: Function, cookies: list[str]) -> None:
    answer = console({**payload("GET", "/console", signed_in=False), "cookies": cookies})
    assert (answer["statusCode"], answer["headers"]["location"], answer["body"]) == (303, "/login?to=/console", "")


# --- where one is led --------------------------------------------------------------------


def led(console: Function, to: str) -> str:
    """Return where a person gets who follows a link to the form and signs in with a good token."""
    token = bootstrap_token("default", tables=console.wiring._tables, now=NOW)  # type: ignore[arg-type]
    form = console(payload("GET", f"/login?to={quote(to, safe='')}", signed_in=False))["body"]
    (kept,) = re.findall('name="to" value="([^"]*)"', form)
    answer = sign_in(console, urlencode({"token": token, "to": unescape(kept)}))
    assert answer["statusCode"] == 303
    return str(answer["headers"]["location"])


@pytest.mark.parametrize("path", ["/", "/console", "/v1/log?cursor=a%20b&x=1"])
def test_signing_in_leads_back_to_where_one_came_from(console: Function, path: str) -> None:
    assert led(console, path) == path


ELSEWHERE = [
    "", "console", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
    "javascript:alert(1)", "/x\r\nset-cookie: a=b", "/\t/evil.example", "/\n", "/" + "x" * 600, '/"><script>',
    "/\u2215evil",
]  # fmt: skip


@pytest.mark.parametrize("to", ELSEWHERE)
def test_a_link_to_the_form_leads_nobody_elsewhere(console: Function, to: str) -> None:
    assert led(console, to) == "/"
    token = bootstrap_token("default", tables=console.wiring._tables, now=NOW)  # type: ignore[arg-type]
    assert sign_in(console, urlencode({"token": token, "to": to}))["headers"]["location"] == "/"


def test_a_wrong_token_keeps_the_way_back(console: Function) -> None:
    answer = sign_in(console, urlencode({"token": "x", "to": "/console"}))
    assert answer["statusCode"] == 401
    assert 'name="to" value="/console"' in answer["body"]


def test_the_root_of_the_api_leads_to_mlflows_interface_where_there_is_one(console: Function) -> None:
    asked = payload("GET", "/", signed_in=False)
    known = {**asked, "stageVariables": {"interface": "https://ui.example/"}}
    for event, location in ((asked, "/console"), ({**asked, "stageVariables": None}, "/console")):
        answer = console(event)
        assert (answer["statusCode"], answer["headers"]["location"]) == (303, location)
    assert console(known)["headers"]["location"] == "https://ui.example/"


def test_the_page_links_to_mlflows_interface_where_there_is_one(tables: MemoryTables, console: Function) -> None:
    token = bootstrap_token("default", tables=tables, now=NOW)
    asked = payload("GET", "/console", signed_in=False, headers={"Authorization": f"Bearer {token}"})
    behind_the_door = {**asked, "headers": {**asked["headers"], "x-modelwright-interface": "https://evil.example"}}
    in_aws = {**asked, "stageVariables": {"interface": "https://ui.example/"}}
    links = [Page(console(event)["body"]).asks for event in (asked, behind_the_door, in_aws)]
    around = ["/console", "/console/models", "/console/approvals", "/logout"]
    assert links == [around, [*around, "/"], [*around, "https://ui.example/"]]


def test_signing_out_takes_the_cookie_away(console: Function) -> None:
    answer = console(payload("POST", "/logout", signed_in=False))
    assert (answer["statusCode"], answer["headers"]["location"]) == (303, "/login")
    assert answer["headers"]["set-cookie"].startswith(f"{COOKIE}=; ")
    assert "Max-Age=0" in answer["headers"]["set-cookie"]


@pytest.mark.parametrize("body", ["", "token=", "token=mw.default.x.y", "other=1", "\xff\xfe", "token=" + quote(EVIL)])
def test_a_wrong_token_gets_the_form_again_and_no_cookie(console: Function, body: str) -> None:
    answer = sign_in(console, body)
    assert answer["statusCode"] == 401
    assert "set-cookie" not in answer["headers"]
    assert "the token is not valid" in answer["body"]
    assert answer["body"] == pages.login("the token is not valid")


def test_what_is_open_needs_nobody(console: Function) -> None:
    for path in ("/health", "/version", "/login"):
        assert console(payload("GET", path, signed_in=False))["statusCode"] == 200
    for path in ("/v1/status", "/v1/log", "/v1/incidents", "/v1/log/" + quote(FLIGHTS)):
        assert console(payload("GET", path, signed_in=False))["statusCode"] == 401


# --- pages -------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags of a page and where it would ask anyone."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.asks: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asks += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def incident(tables: MemoryTables) -> None:
    event = QualityFailed(
        source="weather", upload_key=EVIL, upload_version="1", quarantine_id="q", quarantine_key="k", rows=1,
        findings=(Finding(check="c", severity="block", text=EVIL),),
    )  # fmt: skip
    assert type(event) in OPENS
    detail = {
        "id": "e", "type": "QualityFailed", "schema_version": 1, "workspace": "default", "stream": "s", "sequence": 1,
        "at": NOW.isoformat(), "actor": "a", "correlation_id": "c", "data": event.model_dump(mode="json"),
    }  # fmt: skip
    notify = handler_of("notify", memory_wiring(tables=tables))
    notify({"detail-type": "QualityFailed", "source": "modelwright", "detail": detail})


def test_a_page_escapes_whatever_it_shows(tables: MemoryTables, console: Function) -> None:
    apply(tables)
    incident(tables)
    happen(tables, EVIL)
    status, page = Caller(console)("GET", "/console")
    assert status == 200
    assert EVIL not in page
    assert "alert(&#x27;x&#x27;)" in page
    assert "script" not in Page(page).tags


def test_a_page_asks_nobody_else_and_says_so(tables: MemoryTables, console: Function) -> None:
    apply(tables)
    for path in ("/console", "/login"):
        answer = console(payload("GET", path))
        policy = answer["headers"]["content-security-policy"]
        assert "default-src 'none'" in policy
        assert answer["headers"]["content-type"].startswith("text/html")
        assert not {"img", "link", "iframe"} & set(Page(answer["body"]).tags)
        assert all(re.match("/(console|login|logout)", ask) for ask in Page(answer["body"]).asks)


def test_the_form_has_the_one_script_that_its_policy_names(console: Function) -> None:
    answer = console(payload("GET", "/login?to=/console", signed_in=False))
    scripts = re.findall(r"<script>(.*?)</script>", answer["body"], re.DOTALL)
    named = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    policy = answer["headers"]["content-security-policy"].split("; ")
    assert len(named) == 1
    assert f"script-src 'sha256-{named[0]}'" in policy


def test_a_fault_on_the_form_is_escaped() -> None:
    assert EVIL not in pages.login(EVIL)


def test_the_page_shows_the_project_its_traffic_and_what_happened(tables: MemoryTables, console: Function) -> None:
    assert "No project applied yet" in Caller(console)("GET", "/console")[1]
    apply(tables)
    route = Route(version=3, role="champion", percent=100)
    event = RoutesChanged(model="flights", routes=(route,), reason="first")
    call = Call("default", "ann", NOW, "c")
    Log(tables).commit(call, [Happened(stream_of("default", "ROLLOUT", "flights"), event)])
    page = Caller(console)("GET", "/console")[1]
    for text in ("demo in workspace default", "<td>champion</td>", "<td>100 %</td>", "RoutesChanged"):
        assert text in page


# --- the read API ------------------------------------------------------------------------


def test_who_is_denied_something_sees_the_status_without_events(tables: MemoryTables, console: Function) -> None:
    happen(tables, "flights")
    deny = Grant(role="reader", resources="model/secret", effect="deny")
    shown = [
        json.loads(console(payload("GET", "/v1/status", grants=grants))["body"])["events"]
        for grants in ((Grant(role="reader"),), (Grant(role="reader"), deny))
    ]
    assert [len(events) for events in shown] == [1, 0]


def test_the_status_is_of_the_callers_workspace(tables: MemoryTables, console: Function) -> None:
    apply(tables)
    incident(tables)
    happen(tables, "mine")
    happen(tables, "theirs", workspace="other")
    mine = Caller(console).ok("GET", "/v1/status")
    assert mine["models"] == {"flights": {"routes": []}}
    assert [one["subject"] for one in mine["incidents"]] == ["quarantine/weather/q"]
    assert {event["stream"].split("#")[1] for event in mine["events"]} == {"default"}
    theirs = Caller(console, workspace="other").ok("GET", "/v1/status")
    assert (theirs["project"], theirs["models"], theirs["incidents"]) == (None, {}, [])
    assert [event["data"]["model"] for event in theirs["events"]] == ["theirs"]


def test_without_a_project_there_still_are_incidents(tables: MemoryTables, console: Function) -> None:
    incident(tables)
    said = Caller(console).ok("GET", "/v1/status")
    assert [one["subject"] for one in said["incidents"]] == ["quarantine/weather/q"]
    assert [event["type"] for event in said["events"]] == ["IncidentOpened"]


def test_the_newest_events_come_first(tables: MemoryTables, console: Function) -> None:
    apply(tables)
    for minute, name in enumerate("abc"):
        log = Log(tables, wall=lambda: NOW - timedelta(minutes=3 - minute))  # noqa: B023 - used at once
        stream = stream_of("default", "MODEL", name)
        log.commit(Call("default", "ann", NOW, "c"), [Happened(stream, RegisteredModelCreated(model=name))])
    events = Caller(console).ok("GET", "/v1/status")["events"]
    assert [event["data"]["model"] for event in events] == ["c", "b", "a"]


def test_streams_are_listed_with_their_heads_and_the_last_root(tables: MemoryTables, console: Function) -> None:
    happen(tables, "flights", "flights")
    happen(tables, "theirs", workspace="other")
    call = Call("default", "platform", NOW, "c")
    anchor(call, wall=datetime.now(UTC), tables=tables, blobs=console.wiring.blobs, log=Log(tables))
    happen(tables, "flights")
    said = Caller(console).ok("GET", "/v1/log")
    assert said["streams"][FLIGHTS] == 3
    assert said["root"]["heads"][FLIGHTS][0] == 2
    assert not any(name.startswith("WS#other#") for name in [*said["streams"], *said["root"]["heads"]])
    assert "root" not in said["root"]
    assert verifier.root_faults([said["root"]]) == []


def test_a_root_of_one_workspace_alone_is_shown_as_it_was_hashed(tables: MemoryTables, console: Function) -> None:
    happen(tables, "flights")
    call = Call("default", "platform", NOW, "c")
    event = anchor(call, wall=datetime.now(UTC), tables=tables, blobs=console.wiring.blobs, log=Log(tables))
    root = Caller(console).ok("GET", "/v1/log")["root"]
    assert event is not None
    assert root["root"] == event.root
    assert verifier.root_faults([root]) == []


def test_a_stream_comes_as_it_is_stored_page_by_page(tables: MemoryTables, console: Function) -> None:
    happen(tables, *["flights"] * 3)
    said = Caller(console).ok("GET", f"/v1/log/{quote(FLIGHTS, safe='')}")
    assert said["next"] == ""
    assert verifier.verify(said["items"]) == ([], 1, 3)
    assert json.loads(said["items"][0]["envelope"])["type"] == "RegisteredModelCreated"


@pytest.mark.parametrize(
    "stream", ["WS#other#MODEL#theirs", "WS#default#MODEL#nobody", "WS#default", "HOUR#2026-01-01T00#0", "x" * 3000]
)
def test_a_stream_of_others_is_not_found_as_one_that_is_not_there(
    tables: MemoryTables, console: Function, stream: str
) -> None:
    happen(tables, "theirs", workspace="other")
    status, said = Caller(console)("GET", f"/v1/log/{quote(stream, safe='')}")
    assert (status, said["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert said["message"] == f"there is no stream {stream}"


def test_a_page_token_of_nobodys_is_refused(tables: MemoryTables, console: Function) -> None:
    happen(tables, "flights")
    assert Caller(console)("GET", f"/v1/log/{quote(FLIGHTS, safe='')}?cursor=x")[0] == 400


CLOSED = ["/console", "/v1/status", "/v1/log", f"/v1/log/{quote(FLIGHTS, safe='')}", "/v1/incidents"]


@pytest.mark.parametrize("path", CLOSED)
def test_who_was_granted_nothing_sees_nothing(tables: MemoryTables, console: Function, path: str) -> None:
    apply(tables)
    happen(tables, "flights")
    assert Caller(console, grants=())("GET", path)[0] == 403
