"""The time machine: what happened, in words and page by page, and what was so at a time."""

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from support.http import Caller
from support.mlflow_desk import API, Desk, event_of

from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.events import ModelVersionDeleted, RolloutPromoted, kinds
from modelwright.governance.access import Grant
from modelwright.log import Happened, Log
from modelwright.registry.words import words
from modelwright.storage import Key, Write
from registry.oracle import NAMES, START, World, project

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
JAN, FEB, MAR, APR = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
Ask = Callable[..., Any]


@pytest.fixture
def do(desk: Desk) -> Ask:
    """Return what sends a request to the registry as of a time."""

    def ask(at: datetime, method: str, path: str, body: Any = None, actor: str = "ann") -> Any:
        caller = desk.as_caller("registry", actor=actor)
        status, said = caller(method, path, body, x_modelwright_as_of=at.isoformat())
        assert status in (200, 202), said
        return said

    return ask


def as_of(desk: Desk, at: datetime | str, name: str = "churn", more: str = "") -> tuple[int, Any]:
    time = at if isinstance(at, str) else at.isoformat()
    return desk.registry("GET", f"/v1/models/{name}/as-of?time={quote(time)}{more}")


def changes(desk: Desk, identity: str = "churn") -> list[dict[str, Any]]:
    return [item.envelope.data for item in desk.stream("MODEL", identity)]


# --- the oracle --------------------------------------------------------------------------


def test_a_brute_force_oracle_answers_a_thousand_questions_as_the_time_machine_does() -> None:
    world = World(seed=6)
    while world.done < 200:
        world.step()
    span, times = world.now - START, [difference.at for difference in world.differences]
    answers: list[dict[str, Any]] = []
    for _ in range(1000):
        anywhere = START - timedelta(hours=1) + world.random.random() * (span + timedelta(hours=2))
        at, name = world.random.choice((world.random.choice(times), anywhere)), world.random.choice(NAMES)
        expected = world.as_of(name, at)
        assert world.asked(name, at) == expected, (name, at)
        answers += [expected] if expected else []
    held = [alias for answer in answers for alias in answer["aliases"].values()]
    assert 500 < len(answers) < 1000, "some names were nobody's at some times"
    assert any(alias["approved_by"] == ["bob"] for alias in held), "requests were approved"
    assert any(len(answer["traffic"]) > 1 for answer in answers), "there were canaries"
    assert any("created" not in version for answer in answers for version in answer["versions"]), "some came late"
    assert sorted(times) != times, "and out of order"


# --- as of -------------------------------------------------------------------------------


def test_who_was_champion_is_told_with_its_origin_and_who_let_it_be(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn", "description": "who leaves"})
    run = desk.run(desk.experiment())
    source = f"mlflow-artifacts:/1/{run}/artifacts/model"
    for _ in range(2):
        do(JAN, "POST", f"{MV}/create", {"name": "churn", "source": source, "run_id": run})
    do(FEB, "POST", "/v1/models/churn/transitions", {"version": 1, "alias": "champion", "reason": "first"})
    do(MAR, "POST", "/v1/models/churn/transitions", {"version": 2, "alias": "champion", "reason": "better"}, "bob")
    status, said = as_of(desk, MAR - timedelta(microseconds=1))
    assert (status, said["champion"], said["challenger"], said["others"]) == (200, 1, None, 1)
    held = said["aliases"]["champion"]
    assert (held["since"], held["set_by"], held["reason"]) == (FEB.isoformat(), "ann", "first")
    (version,) = said["versions"]
    assert (version["run_id"], version["source"], version["aliases"]) == (run, source, ["champion"])
    assert as_of(desk, MAR)[1]["champion"] == 2, "from that very moment on"
    assert as_of(desk, MAR)[1]["aliases"]["champion"]["previous"] == 1
    assert as_of(desk, FEB, more="&version=2")[1]["versions"][1]["version"] == 2
    assert as_of(desk, FEB, more="&version=3")[0] == 404


def test_what_people_wrote_is_told_as_there_or_not_and_never_what_it_said(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn", "tags": [{"key": "owner", "value": "Ann Smith"}]})
    do(JAN, "POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y", "description": "by Ann Smith"})
    for key, value in {"note": "Ann Smith", "modelwright.metric.auc": "0.7", "modelwright.note": "Ann Smith"}.items():
        do(FEB, "POST", f"{MV}/set-tag", {"name": "churn", "version": "1", "key": key, "value": value})
    do(MAR, "PATCH", f"{MV}/update", {"name": "churn", "version": "1", "description": ""})
    said = as_of(desk, FEB, more="&version=1")[1]
    assert (said["described"], said["tags"]) == (False, ["owner"])
    (version,) = said["versions"]
    assert version["described"]
    assert version["tags"] == {"modelwright.metric.auc": "0.7", "modelwright.note": "", "note": ""}
    assert version["metrics"] == {"auc": 0.7}
    assert not as_of(desk, MAR, more="&version=1")[1]["versions"][0]["described"]
    log = repr(desk.tables._items["log"])
    assert "note" in log
    assert "Smith" not in log


def test_a_name_means_the_model_that_had_it_then(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(FEB, "POST", f"{RM}/rename", {"name": "churn", "new_name": "leavers"})
    do(MAR, "POST", f"{RM}/create", {"name": "churn"})
    do(APR, "DELETE", f"{RM}/delete", {"name": "churn"})
    day = timedelta(days=1)
    first, second = as_of(desk, JAN)[1]["model_id"], as_of(desk, MAR)[1]["model_id"]
    assert as_of(desk, FEB, "leavers")[1]["model_id"] == first != second
    status, said = as_of(desk, JAN - day)
    assert status == 404
    assert f"it was born at {JAN:%Y-%m-%dT%H:%M:%SZ}" in said["message"]
    status, said = as_of(desk, FEB + day)
    assert (status, "gave it up at 2026-02-01" in said["message"]) == (404, True)
    status, said = as_of(desk, JAN + day, "leavers")
    assert (status, "was called churn then" in said["message"]) == (404, True)
    status, said = as_of(desk, APR + day)
    assert (status, "gave it up at 2026-04-01" in said["message"]) == (404, True)
    assert as_of(desk, APR, "nobody")[0] == 404


def test_of_two_that_had_a_name_at_once_as_a_late_delivery_has_it_the_later_one_is_meant(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(APR, "DELETE", f"{RM}/delete", {"name": "churn"})
    desk.tell("registry", event_of("registry-training-completed.json", model="churn"), at=FEB)
    first, second = (as_of(desk, at)[1]["model_id"] for at in (FEB - timedelta(days=1), FEB))
    assert first != second
    assert as_of(desk, MAR)[1]["model_id"] == second
    assert as_of(desk, APR)[1]["model_id"] == second


def test_a_time_that_is_to_come_is_now_and_no_time_at_all_is_too(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(FEB, "POST", f"{RM}/set-tag", {"name": "churn", "key": "a", "value": "b"})
    to_come = as_of(desk, datetime(2999, 1, 1, tzinfo=UTC))[1]
    now = desk.registry.ok("GET", "/v1/models/churn/as-of")
    assert now["tags"] == to_come["tags"] == ["a"]
    assert to_come["as_of"] == "2999-01-01T00:00:00+00:00"


@pytest.mark.parametrize("time", ["soon", "2026-13-01", "2026-03-01T25:00Z", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused_with_an_example(desk: Desk, do: Ask, time: str) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    status, said = as_of(desk, time)
    assert (status, "2026-03-01T12:00Z" in said["message"]) == (400, True)
    assert desk.registry("GET", f"/v1/models/churn/history?since={quote(time)}")[0] == 400


def test_times_may_be_said_in_any_zone(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    for time in ("2026-02-01", "2026-02-01T01:00%2B01:00", "2026-02-01T01:00+01:00", "2026-02-01T00:00Z"):
        said = desk.registry.ok("GET", f"/v1/models/churn/as-of?time={time}")
        assert said["as_of"] == FEB.isoformat()


def test_a_promotion_that_comes_late_does_not_undo_a_later_change(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    for _ in range(3):
        do(JAN, "POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y"})
    do(MAR, "POST", "/v1/models/churn/transitions", {"version": 3, "alias": "champion"})
    promoted = event_of("registry-rollout-promoted.json", model="churn", challenger=2, champion=1)
    assert isinstance(promoted, RolloutPromoted)
    desk.tell("registry", promoted, at=FEB)
    assert as_of(desk, APR)[1]["champion"] == 3
    assert as_of(desk, FEB)[1]["champion"] is None


def test_open_requests_are_told_until_they_are_decided(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", "/v1/projects", {"project": project()})
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(JAN, "POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y"})
    asked = do(FEB, "POST", "/v1/models/churn/transitions", {"version": 1, "alias": "champion"})["transition"]
    do(MAR - timedelta(days=20), "POST", f"/v1/models/churn/transitions/{asked['request_id']}/approve", {}, "bob")
    (waiting,) = as_of(desk, FEB)[1]["waiting"]
    assert (waiting["request_id"], waiting["requested_by"], waiting["approvals"]) == (asked["request_id"], "ann", 1)
    said = as_of(desk, MAR)[1]
    assert (said["waiting"], said["aliases"]["champion"]["approved_by"]) == ([], ["bob"])
    assert said["aliases"]["champion"]["requested_by"] == "ann"


def test_only_who_may_read_the_model_asks_and_a_name_of_today_stays_hidden(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(FEB, "POST", f"{RM}/rename", {"name": "churn", "new_name": "secret"})
    reader = desk.as_caller("registry", grants=(Grant(role="reader", resources="model/churn"),))
    for path in ("as-of?time=2026-01-02", "history"):
        assert reader("GET", f"/v1/models/secret/{path}")[0] == 403
        status, said = reader("GET", f"/v1/models/churn/{path}")
        assert (status, "secret" in json.dumps(said)) == (404, False)
        assert Caller(desk.functions["registry"], workspace="other")("GET", f"/v1/models/churn/{path}")[0] == 404


def test_ten_thousand_events_are_folded_in_time(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    first = desk.tables.get("log", Key("WS#default#MODEL#churn", f"{1:012d}"))
    assert first is not None
    envelope, items = json.loads(first["envelope"]), []
    for number in range(2, 10_002):
        data = {"model": "churn", "change": "tag_set", "key": f"k{number % 7}", "proof": "0" * 64}
        told = {**envelope, "sequence": number, "type": "RegisteredModelChanged", "data": data}
        sk = f"{number:012d}"
        items.append({**first, "sk": sk, "type": told["type"], "envelope": json.dumps(told)})
    desk.tables.write_many("log", items)
    before = datetime.now(UTC)
    said = as_of(desk, FEB)[1]
    assert (said["events"], len(said["tags"])) == (10_001, 7)
    assert datetime.now(UTC) - before < timedelta(seconds=10)
    pages: list[list[int]] = []
    token = ""
    while not pages or token:
        page = desk.registry.ok("GET", f"/v1/models/churn/history?max_results=4000&page_token={token}")
        token = page.get("next_page_token", "")
        pages.append([event["sequence"] for event in page["events"]])
    assert [number for page in pages for number in page] == list(range(1, 10_002))
    assert len(pages) > 2


class Busy(MemoryTables):
    """Tables in which somebody else writes to the stream just before each write, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.others = 0
        self._log = Log(self)

    def write(self, writes: Sequence[Write]) -> None:
        if self.others:
            left, self.others = self.others - 1, 0
            event = Happened("WS#default#MODEL#churn", ModelVersionDeleted(model="churn", version=9))
            self._log.commit(Call("default", "bob", JAN, "c"), [event])
            self.others = left
        super().write(writes)


def test_who_tags_a_version_while_ten_others_write_to_its_stream_gets_his_turn() -> None:
    desk = Desk(tables=(tables := Busy()))
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    tables.others = 10
    desk.registry.ok("POST", f"{RM}/set-tag", {"name": "churn", "key": "k", "value": "v"})
    assert desk.types("MODEL", "churn") == [
        "RegisteredModelCreated",
        *["ModelVersionDeleted"] * 10,
        "RegisteredModelChanged",
    ]


# --- the history -------------------------------------------------------------------------


def test_a_history_is_told_in_words_from_type_to_type_and_time_to_time(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(FEB, "POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y"})
    do(MAR, "POST", f"{RM}/alias", {"name": "churn", "alias": "blue", "version": "1"}, "bob")

    def texts(query: str = "") -> list[str]:
        return [event["text"] for event in desk.registry.ok("GET", f"/v1/models/churn/history{query}")["events"]]

    everything = ["churn was born", "v1 was made from s3://x/y", "v1 became blue"]
    assert texts() == everything
    assert texts("?type=AliasChanged") == everything[2:]
    assert texts("?type=AliasChanged&type=RegisteredModelCreated") == [everything[0], everything[2]]
    assert texts(f"?since={FEB:%Y-%m-%d}&until={MAR:%Y-%m-%d}") == everything[1:2], "the end is not in it"
    page = desk.registry.ok("GET", "/v1/models/churn/history?max_results=2")
    assert len(page["events"]) == 2
    assert texts(f"?page_token={page['next_page_token']}") == everything[2:]
    assert desk.registry("GET", "/v1/models/churn/history?page_token=x")[0] == 400
    assert desk.registry("GET", "/v1/models/churn/history?max_results=0")[0] == 400


def test_the_history_of_a_name_that_is_free_is_that_of_its_last_model(desk: Desk, do: Ask) -> None:
    do(JAN, "POST", f"{RM}/create", {"name": "churn"})
    do(FEB, "DELETE", f"{RM}/delete", {"name": "churn"})
    texts = [event["text"] for event in desk.registry.ok("GET", "/v1/models/churn/history")["events"]]
    assert texts == ["churn was born", "churn was deleted with all its versions"]
    do(MAR, "POST", f"{RM}/create", {"name": "churn"})
    assert len(desk.registry.ok("GET", "/v1/models/churn/history")["events"]) == 1


RESULTS = [{"gate": "floor", "passed": False, "text": "0.5 is too low"}, {"gate": "size", "passed": True, "text": ""}]
ABOUT = {"request_id": "r", "model": "churn", "version": 3, "alias": "champion"}


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("RegisteredModelCreated", {"tags": {"b": "", "a": ""}}, "churn was born (tags a; b)"),
        ("RegisteredModelChanged", {"change": "renamed", "new_name": "x"}, "churn was renamed to x"),
        ("RegisteredModelChanged", {"change": "description"}, "the description of churn was emptied"),
        ("RegisteredModelChanged", {"change": "tag_set", "key": "k"}, "the tag k of churn was set"),
        ("ModelVersionCreated", {"version": 3, "source": "s", "artifact_key": "", "training_id": "t", "code": "c" * 40,
          "features": ["a", "b"]}, "v3 was made from training t, code cccccccccccc, 2 features"),
        ("ModelVersionCreated", {"version": 3, "source": "s", "artifact_key": "", "copied_from": "x/1"},
         "v3 was made from s, a copy of x/1"),
        ("ModelVersionTraced", {"version": 3, "run_id": "r", "datasets": ["d"], "metrics": {"a": 1}},
         "v3 was traced to run r (data d; 1 metrics)"),
        ("ModelVersionChanged", {"version": 3, "change": "tag_set", "key": "k", "value": "0.7"},
         "the tag k of v3 was set to 0.7"),
        ("ModelVersionChanged", {"version": 3, "change": "stage", "key": "Staging"},
         "v3 was moved to the stage Staging"),
        ("ModelVersionDeleted", {"version": 3}, "v3 was deleted"),
        ("ModelVersionExported", {"version": 3, "digest": "d", "target": "prod"}, "v3 was packed for prod: bundle d"),
        ("CardChanged", {"version": 3, "revision": 2, "sections": ["owner"], "digest": ""},
         "the card of v3 was written, revision 2: owner"),
        ("TransitionRequested", {**ABOUT, "reason": "why", "approvals": 2, "pending": ["g"]},
         "v3 was asked to become champion (gates still to be run: g; approvals needed: 2; reason: why)"),
        ("TransitionJudged", {**ABOUT, "results": RESULTS},
         "gates judged v3 as champion: floor failed: 0.5 is too low; size passed"),
        ("TransitionApproved", {**ABOUT, "approvals": 1, "needed": 2}, "v3 was approved as champion, 1 of 2"),
        ("TransitionRefused", {**ABOUT, "results": RESULTS},
         "v3 was refused as champion by its gates (floor: 0.5 is too low)"),
        ("TransitionRefused", {**ABOUT, "results": (), "why": "rejected", "reason": "no"},
         "v3 was refused as champion by a person (reason: no)"),
        ("AliasChanged", {"alias": "champion", "version": 3, "previous": 2, "requested_by": "ann",
          "approved_by": ["bob"], "forced": "now"},
         "v3 became champion in place of v2 (asked for by ann; approved by bob; gates overridden: now)"),
        ("AliasChanged", {"alias": "champion", "version": None, "previous": 2, "reason": "version deleted"},
         "champion was taken from v2 (reason: version deleted)"),
        ("SomethingNew", {}, "SomethingNew"),
    ],
)  # fmt: skip
def test_each_event_has_its_words(kind: str, data: dict[str, Any], said: str) -> None:
    assert words(kind, {"model": "churn", **data}) == said


def test_every_event_of_a_models_stream_has_words_of_its_own() -> None:
    prefixes = ("RegisteredModel", "ModelVersion", "Transition", "Alias", "Card")
    assert [kind for kind in kinds() if kind.startswith(prefixes) and kind not in WORDED] == []


WORDED = {
    "RegisteredModelCreated", "RegisteredModelChanged", "ModelVersionCreated", "ModelVersionTraced",
    "ModelVersionChanged", "ModelVersionDeleted", "ModelVersionExported", "CardChanged", "TransitionRequested",
    "TransitionJudged", "TransitionApproved", "TransitionRefused", "AliasChanged",
}  # fmt: skip
"""Those that the test above shows the words of."""


# --- every change is an event ------------------------------------------------------------

MODEL_CHANGES = {
    "description": ("PATCH", f"{RM}/update", {"description": "new"}),
    "tag_set": ("POST", f"{RM}/set-tag", {"key": "k", "value": "new"}),
    "tag_deleted": ("DELETE", f"{RM}/delete-tag", {"key": "old"}),
}
VERSION_CHANGES = {
    "description": ("PATCH", f"{MV}/update", {"description": "new"}),
    "tag_set": ("POST", f"{MV}/set-tag", {"key": "k", "value": "new"}),
    "tag_deleted": ("DELETE", f"{MV}/delete-tag", {"key": "old"}),
    "stage": ("POST", f"{MV}/transition-stage", {"stage": "Staging"}),
}


@pytest.mark.parametrize("change", MODEL_CHANGES)
def test_every_change_of_a_model_is_an_event_once_with_a_proof_of_its_text(desk: Desk, change: str) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn", "tags": [{"key": "old", "value": "x"}]})
    method, path, body = MODEL_CHANGES[change]
    for _ in range(2):
        desk.registry.ok(method, path, {"name": "churn", **body})
    _, event = changes(desk)
    assert event["change"] == change
    assert event["proof"] == ("" if change == "tag_deleted" else proof(desk, "new"))


@pytest.mark.parametrize("change", VERSION_CHANGES)
def test_every_change_of_a_version_is_an_event_once_with_a_proof_of_its_text(desk: Desk, change: str) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    tags = [{"key": "old", "value": "x"}]
    desk.registry.ok("POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y", "tags": tags})
    method, path, body = VERSION_CHANGES[change]
    for _ in range(2):
        desk.registry.ok(method, path, {"name": "churn", "version": "1", **body})
    _, created, event = changes(desk)
    assert created["tags"] == {"old": proof(desk, "x")}
    assert (event["change"], event["version"]) == (change, 1)
    assert event["proof"] == (proof(desk, "new") if change in ("description", "tag_set") else "")
    assert event["key"] == {"tag_set": "k", "tag_deleted": "old", "stage": "Staging"}.get(change, "")


def proof(desk: Desk, text: str) -> str:
    """Return the proof of a text, as an auditor who has the salt works it out."""
    item = desk.tables.get("registry", Key("WS#default#MODEL#churn", "META"))
    assert item is not None
    salt = json.loads(item["doc"])["salt"]
    assert len(salt) == 32
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_a_models_salt_is_its_own_and_nobody_is_shown_it(desk: Desk) -> None:
    proofs = set()
    for name in ("churn", "fraud"):
        desk.registry.ok("POST", f"{RM}/create", {"name": name, "description": "same"})
        proofs.add(changes(desk, name)[0]["description"])
        item = desk.tables.get("registry", Key(f"WS#default#MODEL#{name}", "META"))
        assert item is not None
        salt = json.loads(item["doc"])["salt"]
        said = [desk.registry.ok("GET", path) for path in (f"/v1/models/{name}", f"{RM}/get?name={name}")]
        said += [desk.registry.ok("GET", f"/v1/models/{name}/{path}") for path in ("history", "as-of")]
        assert salt not in json.dumps(said)
    assert len(proofs) == 2


def test_what_is_archived_by_a_move_is_an_event_of_each_version_however_many(desk: Desk) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    for number in range(1, 121):
        desk.registry.ok("POST", f"{MV}/create", {"name": "churn", "source": "s3://x/y"})
        moved = {"name": "churn", "version": str(number), "stage": "Production"}
        if number < 120:
            desk.registry.ok("POST", f"{MV}/transition-stage", moved)
    before = len(changes(desk))
    desk.registry.ok("POST", f"{MV}/transition-stage", {**moved, "archive_existing_versions": True})
    events = changes(desk)[before:]
    assert {event["version"] for event in events if event["key"] == "Archived"} == set(range(1, 120))
    assert (events[-1]["version"], events[-1]["key"]) == (120, "Production")
    latest = desk.registry.ok("POST", f"{RM}/get-latest-versions", {"name": "churn"})["model_versions"]
    assert {(each["current_stage"], each["version"]) for each in latest} == {("Production", "120"), ("Archived", "119")}
