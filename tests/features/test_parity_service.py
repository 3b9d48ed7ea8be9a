"""A proof from asking for it to the gate that requires it, over the functions; and the serving log that it reads."""

import gzip
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import Caller, deliver, handler_of

from features.parity_cases import FEATURES, NOW, PROJECT, SERVICE, START, orders, requests, visits
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.cli import parity as cli
from modelwright.errors import InvalidInput, Unavailable
from modelwright.events import Envelope, ParityFailed, ParityProven, ScheduleDue
from modelwright.features import serving_log
from modelwright.features.layout import micros
from modelwright.features.parity import report as parity_report
from modelwright.features.parity.report import Report
from modelwright.features.parity.rows import Row
from modelwright.features.serving_log import Answer, sampled
from modelwright.governance.access import Grant
from modelwright.log import Log
from modelwright.project import Project, current_key
from modelwright.storage import Anything, BucketName, Put
from modelwright.wiring import Settings, Wiring

PATH = f"/v1/features/parity/{SERVICE}"
SETTINGS = Settings(
    function="test", workspace="default", bus="", virtual_time=True, tables={}, buckets={}, environment={}
)


class LossyBlobs(MemoryBlobs):
    """A lake that takes no serving log."""

    def put(self, bucket: BucketName, key: str, body: bytes, **more: Any) -> str:
        """See ``Blobs``."""
        if key.startswith(serving_log.PREFIX):
            raise EndpointConnectionError(endpoint_url="https://lake")
        return super().put(bucket, key, body, **more)


class Deployed:
    """The shop on the functions."""

    def __init__(self, project: Project = PROJECT, blobs: MemoryBlobs | None = None) -> None:
        self.tables, self.blobs = MemoryTables(), blobs or MemoryBlobs()
        self.wiring = Wiring(SETTINGS, tables=self.tables, blobs=self.blobs)
        self.features, self.materialize, self.registry, self.notify = (
            handler_of(name, self.wiring) for name in ("features", "materialize", "registry", "notify")
        )
        self.apply(project)

    def apply(self, project: Project) -> None:
        key, said = current_key("default"), {"project": project.model_dump_json()}
        for sk in (key.sk, project.digest):
            self.tables.write([Put("governance", {"pk": key.pk, "sk": sk, **said}, Anything())])
        self.wiring.__dict__["_projects"].clear()

    def at(self, method: str, path: str, now: datetime, body: Any = None, **who: Any) -> tuple[int, Any]:
        return Caller(self.features, **who)(method, path, body, x_modelwright_as_of=now.isoformat())

    def push(self, source: str, rows: list[dict[str, Any]], now: datetime) -> None:
        plain = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
        status, said = self.at("POST", "/push", now, {"source": source, "rows": plain})
        assert status == 200, said

    def get(self, rows: list[Row], now: datetime) -> Any:
        entities = {name: [row[name] for row in rows] for name in ("customer", "shop", "basket")}
        body = {"feature_service": SERVICE, "entities": entities}
        status, said = self.at("POST", "/get-online-features", now, body)
        assert status == 200, said
        return said

    def fold(self, now: datetime) -> None:
        self.due("materialize", now)

    def due(self, name: str, now: datetime) -> None:
        detail = ScheduleDue(name=name, at=now).model_dump(mode="json")
        event = {"id": "1", "detail-type": "ScheduleDue", "source": "modelwright.schedule", "detail": detail}
        assert self.materialize(event) == {"outcome": "done"}

    def live(self, seed: int = 3, days: int = 6) -> None:
        """Let rows come when they become known, and customers ask in between; rows are folded in every day."""
        chosen = random.Random(seed)
        came = [("orders", row) for row in orders(chosen, 120, days, people=4)]
        came += [("visits", row) for row in visits(chosen, 80, days, people=4)]
        came.sort(key=lambda each: each[1]["known_at"])
        asking = requests(chosen, days * 12, people=4)
        for hour in range(0, days * 24, 2):
            now = START + timedelta(hours=hour + 2, minutes=7)
            for source in ("orders", "visits"):
                fresh = [
                    row for name, row in came if name == source and now - timedelta(hours=2) < row["known_at"] <= now
                ]
                if fresh:
                    self.push(source, fresh, now)
            if hour % 24 == 12:
                self.fold(now)
            self.get(asking[hour // 2 : hour // 2 + 1], now)
        self.fold(START + timedelta(days=days + 1))

    def told(self) -> list[Envelope]:
        """Return what the log tells of proofs, in order."""
        return [item.envelope for item in Log(self.tables).read(f"WS#default#PARITY#{SERVICE}")]

    def prove(self, now: datetime, **query: Any) -> Any:
        """Ask for a proof, let it be made, and return it with its report."""
        status, asked = self.at("POST", PATH, now, query)
        assert status == 202, asked
        assert asked["state"] == "waiting"
        assert deliver(self.materialize, self.told()[-1]) == {"outcome": "handled"}
        status, found = self.at("GET", f"{PATH}/{asked['proof_id']}", now)
        assert status == 200, found
        return found


LATER = START + timedelta(days=7)


@pytest.fixture(scope="module")
def lived() -> Deployed:
    made = Deployed()
    made.live()
    return made


# --- from asking to the outcome ----------------------------------------------------------


def test_what_the_functions_served_is_proven_against_what_they_train_on(lived: Deployed) -> None:
    found = lived.prove(LATER, pairs=200)
    report = Report.model_validate(found["report"])
    assert report.equal, parity_report.lines(report)
    served, replayed = report.compared
    assert (served.answers, served.rows, replayed.rows) == (72, 72, 200)
    proof = found["proof"]
    assert (proof["state"], proof["rows"], proof["values"]) == ("proven", 272, 272 * len(FEATURES))
    body = lived.blobs.get("lake", f"proofs/default/{proof['digest']}.json").body
    assert parity_report.digest_of(report) == proof["digest"]
    assert Report.model_validate_json(body) == report
    assert (
        b"proven: serving and training agree" in lived.blobs.get("lake", f"proofs/default/{proof['digest']}.html").body
    )
    event = ParityProven.model_validate(lived.told()[-1].data)
    assert (event.digest, event.service, event.features) == (proof["digest"], SERVICE, FEATURES)
    assert (event.rows, event.project) == (272, PROJECT.digest)


def test_rows_that_were_pushed_a_moment_ago_are_folded_in_before_it_is_compared() -> None:
    deployed = Deployed()
    chosen = random.Random(5)
    came, asked = START + timedelta(days=6), START + timedelta(days=6, hours=3)
    deployed.push("orders", [row for row in orders(chosen, 20, 5, people=2) if row["known_at"] <= came], came)
    deployed.get(requests(chosen, 4, people=2), asked)
    found = deployed.prove(asked + timedelta(minutes=1), pairs=10)
    report = Report.model_validate(found["report"])
    assert report.equal, parity_report.lines(report)
    assert report.compared[0].rows == 4


def test_the_answers_hold_more_than_nulls(lived: Deployed) -> None:
    answers, count = serving_log.answers(lived.blobs, "default", SERVICE, START, LATER, most=1_000)
    assert count == len(answers) == 72
    for name in FEATURES:
        assert len({value for answer in answers for value in answer.values[name]}) > 1, name
    assert {status for a in answers for s in a.statuses.values() for status in s} >= {"PRESENT", "NULL_VALUE"}


def test_a_delivery_that_comes_again_makes_no_second_proof() -> None:
    shop = Deployed()
    shop.push("visits", visits(random.Random(1), 20, 1), START)
    shop.get(requests(random.Random(1), 2), START + timedelta(days=1))
    shop.fold(START + timedelta(days=1))
    shop.prove(LATER, pairs=10)
    before = len(shop.told())
    asked = next(envelope for envelope in shop.told() if envelope.type == "ParityRequested")
    assert deliver(shop.materialize, asked) == {"outcome": "duplicate"}
    assert len(shop.told()) == before


def test_late_rows_fail_the_proof_and_open_an_incident_that_the_next_proof_closes() -> None:
    shop = Deployed()
    shop.live(days=4)
    late = [{**order, "order_id": f"late {order['order_id']}"} for order in orders(random.Random(5), 30, 3, people=4)]
    shop.push("orders", late, LATER)
    shop.fold(LATER)
    found = shop.prove(LATER + timedelta(minutes=1), pairs=50)
    assert found["proof"]["state"] == "failed"
    assert {each["cause"] for each in found["report"]["differences"]} == {"late data"}
    failed = shop.told()[-1]
    told = ParityFailed.model_validate(failed.data)
    assert {each.cause for each in told.differences} == {"late data"}
    assert "spent_7d" in {each.feature for each in told.differences}
    assert deliver(shop.notify, failed) == {"outcome": "handled"}
    assert open_incidents(shop) == [f"service/{SERVICE}/parity"]
    since = LATER + timedelta(minutes=1)
    shop.get(requests(random.Random(2), 3), LATER + timedelta(minutes=2))
    again = shop.prove(LATER + timedelta(hours=1), pairs=50, since=since.isoformat())
    assert again["proof"]["state"] == "proven"
    assert deliver(shop.notify, shop.told()[-1]) == {"outcome": "handled"}
    assert open_incidents(shop) == []
    status, listed = shop.at("GET", PATH, LATER)
    assert status == 200
    assert [each["state"] for each in listed["proofs"]] == ["proven", "failed"]


def open_incidents(shop: Deployed) -> list[str]:
    items = shop.tables.query("insights", "WS#default#INCIDENT").items
    return [item["sk"] for item in items if item["open"]]


def test_a_schedule_asks_for_a_proof_of_every_service_that_answered(lived: Deployed) -> None:
    before = len(lived.told())
    lived.due("parity", START + timedelta(days=6))
    asked = lived.told()[before:]
    assert [(envelope.type, envelope.data["pairs"]) for envelope in asked] == [("ParityRequested", 1_000)]
    assert asked[0].actor == "platform"
    lived.due("parity", NOW + timedelta(days=2))
    assert len(lived.told()) == before + 1, "nobody was answered of late"


def test_a_service_that_is_no_more_makes_the_proof_impossible() -> None:
    shop = Deployed()
    status, asked = shop.at("POST", PATH, LATER, {})
    assert status == 202
    waiting = shop.at("GET", f"{PATH}/{asked['proof_id']}", LATER)[1]
    assert (waiting["proof"]["state"], waiting["report"]) == ("waiting", None)
    shop.apply(PROJECT.model_copy(update={"services": {}}))
    assert deliver(shop.materialize, shop.told()[-1]) == {"outcome": "handled"}
    status, found = shop.at("GET", f"{PATH}/{asked['proof_id']}", LATER)
    assert found["proof"]["state"] == "impossible"
    assert found["proof"]["text"].startswith("there is no feature service checkout")
    assert found["report"] is None
    assert [envelope.type for envelope in shop.told()] == ["ParityRequested"]


def test_nothing_to_compare_makes_the_proof_impossible() -> None:
    found = Deployed().prove(LATER, pairs=5)
    assert found["proof"]["state"] == "impossible"
    assert "there is nothing to compare of checkout yet" in found["proof"]["text"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/v1/features/parity/nonsense", {}, 404, "there is no feature service nonsense: there are checkout"),
        (PATH, {"pairs": -1}, 400, "pairs"),
        (PATH, {"pairs": 200_000}, 400, "pairs"),
        (PATH, {"pears": 1}, 400, "pears"),
        (PATH, {"since": "2026-03-01T00:00:00"}, 400, "since"),
        (PATH, {"since": "2099-03-01T00:00:00Z"}, 400, "since lies ahead"),
    ],
)
def test_bad_requests_name_what_is_wrong(path: str, body: Any, status: int, text: str) -> None:
    shop = Deployed()
    code, said = shop.at("POST", path, LATER, body)
    assert code == status, said
    assert text in json.dumps(said)
    assert shop.told() == []


def test_a_proof_that_nobody_asked_for_is_not_found() -> None:
    code, said = Deployed().at("GET", f"{PATH}/01H", LATER)
    assert code == 404
    assert "there is no proof 01H of checkout" in json.dumps(said)


def test_readers_read_proofs_and_contributors_ask_for_them() -> None:
    shop = Deployed()
    reader, contributor = (Grant(role="reader"),), (Grant(role="contributor"),)
    assert shop.at("POST", PATH, LATER, {}, grants=reader)[0] == 403
    assert shop.at("POST", PATH, LATER, {}, grants=contributor)[0] == 202
    assert shop.at("GET", PATH, LATER, grants=reader)[0] == 200
    assert shop.at("GET", PATH, LATER, grants=())[0] == 403


# --- the command -------------------------------------------------------------------------


class Answers:
    """An API that answers one thing after another."""

    def __init__(self, *found: Any) -> None:
        self.found = list(found)

    def get(self, path: str) -> Any:
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


def test_the_command_waits_for_the_proof() -> None:
    waiting, done = ({"proof": {"state": state}} for state in ("waiting", "proven"))
    paused: list[float] = []
    api: Any = Answers(waiting, waiting, done)
    assert cli.awaited(api, SERVICE, "p", pause=paused.append) == done
    assert len(paused) == 2
    never: Any = Answers(waiting)
    with pytest.raises(Unavailable, match="still waits"):
        cli.awaited(never, SERVICE, "p", pause=paused.append)


def test_the_command_says_what_was_found(lived: Deployed) -> None:
    said = "\n".join(cli.told({**lived.prove(LATER, pairs=20), "url": "https://page"}))
    everything, served = f"{92 * len(FEATURES):,}", f"{72 * len(FEATURES):,}"
    assert said.startswith(f"checkout: proven: serving and training agree in all {everything} values, to the bit")
    assert f"72 answers, {served} of {served} values equal to the bit" in said
    assert "https://page" in said
    nothing = Deployed().prove(LATER, pairs=1)
    assert cli.told(nothing)[0].startswith("checkout: NOT PROVEN: there is nothing to compare")


# --- the serving log ---------------------------------------------------------------------


def unfolded(time: datetime) -> datetime:
    return time.replace(fold=0)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(),
    st.datetimes(datetime(1, 1, 1), datetime(9000, 1, 1), timezones=st.sampled_from([UTC, None])).map(unfolded),
)  # fmt: skip


def answer(**more: Any) -> Answer:
    said: dict[str, Any] = {
        "service": "checkout", "request": "r-1", "project": "a", "views": {"profile": 1}, "as_of": micros(START),
        "arrival": serving_log.watermark(START), "types": {"customer": "string"}, "given": {"customer": ["c1", "c2"]},
        "values": {"score": [0.1, None]}, "statuses": {"score": ["PRESENT", "NOT_FOUND"]},
    }  # fmt: skip
    return Answer(**{**said, **more})


@settings(max_examples=200, deadline=None)
@given(st.lists(values, max_size=5))
def test_an_answer_comes_back_to_the_bit(given: list[Any]) -> None:
    logged = answer(values={"x": given})
    back = Answer.read(logged.body())
    assert [(type(v), repr(v)) for v in back.values["x"]] == [(type(v), repr(v)) for v in given]
    assert replace(back, values=logged.values) == logged
    assert back.body() == logged.body()


@pytest.mark.parametrize("body", [b"", b"nonsense", gzip.compress(b"{"), gzip.compress(b'{"format": 9}')])
def test_what_is_no_logged_answer_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="no logged answer"):
        Answer.read(body)


def test_a_request_is_in_the_sample_or_not_by_its_id() -> None:
    ids = [f"request-{n}" for n in range(20_000)]
    tenth = [each for each in ids if sampled("checkout", each, 0.1)]
    assert tenth == [each for each in ids if sampled("checkout", each, 0.1)]
    assert abs(len(tenth) - 2_000) < 200
    assert set(tenth) <= {each for each in ids if sampled("checkout", each, 0.2)}
    assert not any(sampled("checkout", each, 0) for each in ids)
    assert all(sampled("checkout", each, 1) for each in ids)


def test_only_the_sampled_share_of_answers_of_services_is_logged() -> None:
    half = PROJECT.services[SERVICE].model_copy(update={"sampled": 0.5})
    shop = Deployed(PROJECT.model_copy(update={"services": {SERVICE: half}}))
    for n in range(60):
        shop.get(requests(random.Random(n), 1), START + timedelta(minutes=n))
    body = {"features": ["profile:score"], "entities": {"customer": ["c1"]}}
    assert shop.at("POST", "/get-online-features", START, body)[0] == 200
    logged = [listed.key for listed in shop.blobs.list("lake", "serving/")]
    assert 15 < len(logged) < 45
    assert all(key.startswith("serving/default/checkout/2024-03-04/") for key in logged)


def test_the_same_request_again_is_logged_once() -> None:
    shop = Deployed()
    caller, (row,) = Caller(shop.features), requests(random.Random(1), 1)
    entities = {name: [row[name]] for name in ("customer", "shop", "basket")}
    for _ in range(2):
        caller(
            "POST", "/get-online-features", {"feature_service": SERVICE, "entities": entities},
            x_modelwright_as_of=START.isoformat(), x_correlation_id="again",
        )  # fmt: skip
    assert len(list(shop.blobs.list("lake", "serving/"))) == 1


def test_a_log_that_fails_costs_nobody_the_answer() -> None:
    rows = requests(random.Random(1), 2)
    kept, lost = Deployed(), Deployed(blobs=LossyBlobs())
    assert lost.get(rows, START) == kept.get(rows, START)
    assert list(lost.blobs.list("lake", "serving/")) == []
    assert len(list(kept.blobs.list("lake", "serving/"))) == 1


def logged_at(*times: datetime) -> MemoryBlobs:
    blobs = MemoryBlobs()
    for time in times:
        said = answer(as_of=micros(time), request=str(time))
        blobs.put("lake", said.key("default"), said.body())
    return blobs


def test_answers_are_found_by_their_moments() -> None:
    times = [START + timedelta(hours=7 * n) for n in range(12)]
    blobs = logged_at(*times)
    for first, last in ((0, 11), (2, 5), (3, 3), (11, 11)):
        found, count = serving_log.answers(blobs, "default", "checkout", times[first], times[last], most=100)
        assert [each.as_of for each in found] == [micros(time) for time in times[first : last + 1]]
        assert count == last - first + 1
    newest, count = serving_log.answers(blobs, "default", "checkout", times[0], times[11], most=4)
    assert ([each.as_of for each in newest], count) == ([micros(time) for time in times[10:]], 12)
    fewest, count = serving_log.answers(blobs, "default", "checkout", times[0], times[11], most=3)
    assert ([each.as_of for each in fewest], count) == ([micros(time) for time in times[10:]], 12), "two rows each"
    assert serving_log.answers(blobs, "default", "other", times[0], times[11], most=9) == ([], 0)
    assert list(serving_log.services(blobs, "default", times[11])) == ["checkout"]
    assert list(serving_log.services(blobs, "default", times[11] + timedelta(days=1))) == []


def test_a_subject_leaves_an_answer_without_a_trace() -> None:
    left = serving_log.without(answer(), lambda row: row["customer"] == "c1")
    assert left.given == {"customer": ["c2"]}
    assert left.values == {"score": [None]}
    assert left.statuses == {"score": ["NOT_FOUND"]}
    assert len(left) == 1
    assert b"c1" not in gzip.decompress(left.body())


# --- who may know of it ------------------------------------------------------------------


def test_a_proof_is_for_who_may_read_the_views_of_the_service() -> None:
    shop = Deployed()
    shop.push("orders", orders(random.Random(1), 20, 2, people=4), START + timedelta(days=3))
    shop.fold(START + timedelta(days=3))
    found = shop.prove(START + timedelta(days=3), pairs=5)
    path = f"{PATH}/{found['proof']['proof_id']}"
    for view in found["report"]["views"]:
        denied = (Grant(role="admin"), Grant(role="admin", resources=f"view/{view}", effect="deny"))
        for method, asked in (("POST", PATH), ("GET", PATH), ("GET", path)):
            assert shop.at(method, asked, LATER, {} if method == "POST" else None, grants=denied)[0] == 403
    shop.apply(PROJECT.model_copy(update={"services": {}}))
    assert shop.at("GET", path, LATER)[0] == 200
    assert shop.at("GET", path, LATER, grants=denied)[0] == 403


def test_proofs_of_what_is_no_service_are_not_found() -> None:
    code, said = Deployed().at("GET", "/v1/features/parity/nonsense", LATER)
    assert code == 404
    assert "there is no feature service nonsense: there are checkout" in json.dumps(said)
