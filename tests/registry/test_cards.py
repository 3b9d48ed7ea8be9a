"""Model cards over HTTP: what is generated, what people write, and its revisions."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from html import unescape as html_unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.http import payload
from support.mlflow_desk import API, Desk, event_of

from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.events import (
    ColumnDrift,
    DriftDetected,
    Estimate,
    Event,
    Finding,
    Performance,
    PerformanceDegraded,
    PerformanceMeasured,
    QualityFailed,
    QuarantineReleased,
    RoutesChanged,
    Slice,
    UploadAccepted,
    Window,
)
from modelwright.events import Route as Share
from modelwright.governance.access import Grant
from modelwright.log import Happened, canonical, stream_of
from modelwright.registry import cards
from modelwright.registry.cardforms import form_of, markdown
from modelwright.registry.cardtext import Code, Document, Grid, Names, Pairs, Part
from modelwright.registry.sections import GENERATED, LONGEST, MOST
from modelwright.registry.store import RegistryStore
from modelwright.storage import Write, key_of

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
CARD = "/v1/models/flights/versions/{}/card"
MARCH = datetime(2026, 3, 2, tzinfo=UTC)
WEEK = Window(start=MARCH, end=MARCH + timedelta(days=7))
USE = "Tells **late** flights."


def model(desk: Desk, versions: int = 1) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "flights"})
    for _ in range(versions):
        desk.registry.ok("POST", f"{MV}/create", {"name": "flights", "source": "mlflow-artifacts:/1/x"})


def write(desk: Desk, version: int = 1, **said: Any) -> Any:
    return desk.registry.ok("PUT", CARD.format(version), said)


def read(desk: Desk, version: int | str = 1, **query: Any) -> Any:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return desk.registry.ok("GET", f"{CARD.format(version)}?{asked}")


def counted(desk: Desk, version: int) -> frozenset[str]:
    """Return what gate ``card_complete`` would be told."""
    call = Call("default", "ann", MARCH, "c")
    store = RegistryStore(desk.tables, call)
    flights = store.model("flights")
    return cards.sections(call, flights, store.version(flights, version), tables=desk.tables)


# --- what people write -------------------------------------------------------------------


def test_a_section_is_written_and_read_back(desk: Desk) -> None:
    model(desk)
    said = write(desk, sections={"intended_use": f"  {USE}\r\n", "owner": "team delays"})
    assert said["revision"] == 1
    card = read(desk)
    section = card["sections"]["intended_use"]
    assert (section["text"], section["by"], section["carried_from"]) == (USE, "ann", 0)
    assert (card["revision"], card["changed_by"], card["missing"]) == (1, "ann", ["limitations"])
    assert counted(desk, 1) == {"intended_use", "owner"}


def test_a_write_changes_the_sections_it_names_and_no_others(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"intended_use": USE, "owner": "team delays"})
    said = write(desk, sections={"owner": "team arrivals", "caveats": "snow"})
    assert {name: section["text"] for name, section in said["sections"].items()} == {
        "intended_use": USE,
        "owner": "team arrivals",
        "caveats": "snow",
    }


def test_a_card_that_does_not_fit_into_an_item_is_refused(desk: Desk) -> None:
    model(desk)
    bells = {f"s{n}": "\a" * LONGEST for n in range(9)}
    status, said = desk.registry("PUT", CARD.format(1), {"sections": bells})
    assert (status, said["message"][:38]) == (413, "a model card with all its texts has 10")
    assert read(desk)["revision"] == 0


def test_an_empty_text_removes_a_section(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"owner": "team delays"})
    assert write(desk, sections={"owner": "  "})["sections"] == {}
    assert counted(desk, 1) == frozenset()


def test_each_revision_stays_as_it_was(desk: Desk) -> None:
    model(desk)
    for text in ("one", "two", "three"):
        write(desk, sections={"owner": text})
    assert [read(desk, revision=n)["sections"]["owner"]["text"] for n in (1, 2, 3)] == ["one", "two", "three"]
    status, said = desk.registry("GET", f"{CARD.format(1)}?revision=4")
    assert (status, said["message"]) == (404, "the card of flights v1 has no revision 4")


def test_revisions_are_listed_newest_first_with_who_changed_what(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"owner": "one", "caveats": "snow"})
    bob = desk.as_caller("registry", actor="bob")
    bob.ok("PUT", CARD.format(1), {"sections": {"owner": "two", "caveats": ""}})
    listed = desk.registry.ok("GET", f"{CARD.format(1)}/revisions")["revisions"]
    assert [(r["revision"], r["by"], r["changed"], r["sections"]) for r in listed] == [
        (2, "bob", ["caveats", "owner"], ["owner"]),
        (1, "ann", ["caveats", "owner"], ["caveats", "owner"]),
    ]


def test_who_knows_an_older_revision_is_told_the_newest_and_changes_nothing(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"owner": "one"}, revision=0)
    write(desk, sections={"owner": "two"}, revision=1)
    status, said = desk.registry("PUT", CARD.format(1), {"sections": {"owner": "mine"}, "revision": 1})
    assert (status, said["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert "flights v1 is at revision 2, not 1" in said["message"]
    assert read(desk)["sections"]["owner"]["text"] == "two"


def test_writing_what_is_there_makes_no_revision(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"owner": "one"})
    assert write(desk, sections={"owner": "one"})["revision"] == 1
    assert desk.types("MODEL", "flights").count("CardChanged") == 1


def test_the_same_request_again_makes_no_other_revision(desk: Desk) -> None:
    model(desk)
    body = {"sections": {"owner": "one"}, "revision": 0}
    first = desk.registry("PUT", CARD.format(1), body, idempotency_key="k")
    write(desk, sections={"owner": "two"})
    assert desk.registry("PUT", CARD.format(1), body, idempotency_key="k") == first
    assert read(desk)["sections"]["owner"]["text"] == "two"
    assert desk.registry("PUT", CARD.format(1), {"sections": {"owner": "x"}}, idempotency_key="k")[0] == 400


class Interrupted(MemoryTables):
    """Tables at which somebody else is always a little faster, once."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Callable[[], object] | None = None

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        if self.first is not None and any(
            "#MODEL#" in write_.pk and "CARD#" in write_.sk for write_ in map(key_of, writes)
        ):
            first, self.first = self.first, None
            first()
        super().write(writes)


def test_two_writers_at_once_make_two_revisions() -> None:
    """The second one finds its revision taken, and writes on what the first one left."""
    tables = Interrupted()
    desk = Desk(tables)
    model(desk)
    bob = desk.as_caller("registry", actor="bob")
    tables.first = lambda: bob.ok("PUT", CARD.format(1), {"sections": {"caveats": "snow"}})
    said = write(desk, sections={"owner": "one"})
    assert (said["revision"], sorted(said["sections"])) == (2, ["caveats", "owner"])
    assert {name: section["by"] for name, section in said["sections"].items()} == {"caveats": "bob", "owner": "ann"}


def test_a_card_of_a_version_that_is_gone_meanwhile_is_not_written() -> None:
    tables = Interrupted()
    desk = Desk(tables)
    model(desk)
    gone = {"name": "flights", "version": "1"}
    tables.first = lambda: desk.registry.ok("DELETE", f"{MV}/delete", gone)
    assert desk.registry("PUT", CARD.format(1), {"sections": {"owner": "one"}})[0] == 404
    assert "CardChanged" not in desk.types("MODEL", "flights")


def test_the_log_knows_a_salted_digest_and_not_the_text(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"owner": "someone@example.com"})
    envelope = desk.stream("MODEL", "flights")[-1].envelope
    card = read(desk)
    assert (envelope.type, envelope.data["sections"], envelope.data["revision"]) == ("CardChanged", ["owner"], 1)
    assert "someone" not in envelope.model_dump_json()
    texts = {name: section["text"] for name, section in card["sections"].items()}
    proof = hashlib.sha256(canonical({"salt": card["salt"], "sections": texts})).hexdigest()
    assert envelope.data["digest"] == card["digest"] == proof


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "a card is written by `sections`"),
        ({"sections": {"Owner": "x"}}, "sections.Owner"),
        ({"sections": {"a b": "x"}}, "sections.a b"),
        ({"sections": {"x" * 64: "y"}}, "sections."),
        ({"sections": {"owner": "x" * (LONGEST + 1)}}, f"owner has {LONGEST + 1} characters"),
        ({"sections": {f"s{n}": "x" for n in range(MOST + 1)}}, f"at most {MOST} sections"),
        ({"sections": {f"s{n}": "ü" * LONGEST for n in range(6)}}, "may have 200000 bytes, these have 240000"),
        ({"sections": {"metrics": "AUC 1.0"}}, "metrics is written by the platform"),
        ({"confirm": ["owner"]}, "nothing to confirm in owner"),
        ({"sections": {"owner": 3}}, "sections.owner"),
        ({"sections": {"owner": "x"}, "revision": -1}, "revision"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_name(desk: Desk, said: dict[str, Any], told: str) -> None:
    model(desk)
    status, answer = desk.registry("PUT", CARD.format(1), said)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert told in answer["message"]
    assert read(desk)["revision"] == 0


@pytest.mark.parametrize("name", GENERATED)
def test_no_generated_section_can_be_written_by_people(desk: Desk, name: str) -> None:
    model(desk)
    assert desk.registry("PUT", CARD.format(1), {"sections": {name: "x"}})[0] == 400


def test_a_form_of_another_site_writes_nothing(desk: Desk) -> None:
    model(desk)
    body = {"sections": {"owner": "x"}}
    assert desk.registry("PUT", CARD.format(1), body, content_type="text/plain")[0] == 400
    assert read(desk)["revision"] == 0


@pytest.mark.parametrize(("version", "status"), [("2", 404), ("0", 404), ("@nobody", 400), ("x", 400), ("%C2%B2", 400)])
def test_a_card_is_of_a_version_that_there_is(desk: Desk, version: str, status: int) -> None:
    model(desk)
    assert desk.registry("GET", CARD.format(version))[0] == status
    assert desk.registry("PUT", CARD.format(version), {"sections": {"owner": "x"}})[0] == status


def test_an_alias_names_the_version_of_a_card(desk: Desk) -> None:
    model(desk, versions=2)
    desk.registry.ok("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "2"})
    write(desk, version=2, sections={"owner": "two"})
    assert read(desk, "@blue")["version"] == 2
    assert desk.registry.ok("PUT", CARD.format("@blue"), {"sections": {"owner": "three"}})["revision"] == 2


def test_a_deleted_version_has_no_card(desk: Desk) -> None:
    model(desk)
    write(desk, sections={"owner": "one"})
    desk.registry.ok("DELETE", f"{MV}/delete?name=flights&version=1", {"name": "flights", "version": "1"})
    assert desk.registry("GET", CARD.format(1))[0] == 404
    assert desk.registry("PUT", CARD.format(1), {"sections": {"owner": "x"}})[0] == 404


def test_readers_read_and_only_contributors_write(desk: Desk) -> None:
    model(desk)
    reader = desk.as_caller("registry", grants=(Grant(role="reader"),))
    assert reader("GET", CARD.format(1))[0] == 200
    assert reader("PUT", CARD.format(1), {"sections": {"owner": "x"}})[0] == 403
    contributor = desk.as_caller("registry", grants=(Grant(role="contributor", resources="model/flights"),))
    assert contributor("PUT", CARD.format(1), {"sections": {"owner": "x"}})[0] == 200
    stranger = desk.as_caller("registry", workspace="other")
    assert stranger("GET", CARD.format(1))[0] == 404


# --- carried over ------------------------------------------------------------------------


def test_a_new_version_begins_with_its_predecessors_sections_as_a_draft(desk: Desk) -> None:
    model(desk, versions=3)
    write(desk, sections={"intended_use": USE, "owner": "team delays"})
    card = read(desk, 3)
    assert (card["revision"], card["sections"]["owner"]["carried_from"]) == (0, 1)
    assert card["sections"]["owner"]["text"] == "team delays"
    assert card["missing"] == ["intended_use", "limitations", "owner"]
    assert counted(desk, 3) == frozenset()


def test_a_carried_section_counts_once_it_is_confirmed_or_written(desk: Desk) -> None:
    model(desk, versions=2)
    write(desk, sections={"intended_use": USE, "owner": "team delays", "caveats": "snow"})
    bob = desk.as_caller("registry", actor="bob")
    said = bob.ok("PUT", CARD.format(2), {"confirm": ["owner"], "sections": {"intended_use": USE}})
    assert {name: (s["carried_from"], s["by"]) for name, s in said["sections"].items()} == {
        "intended_use": (0, "bob"),
        "owner": (0, "bob"),
        "caveats": (1, "ann"),
    }
    assert counted(desk, 2) == {"intended_use", "owner"}
    assert desk.stream("MODEL", "flights")[-1].envelope.data["sections"] == ["intended_use", "owner"]


def test_all_can_be_confirmed_at_once_and_a_second_time_changes_nothing(desk: Desk) -> None:
    model(desk, versions=2)
    write(desk, sections={"intended_use": USE, "owner": "team delays"})
    assert write(desk, version=2, confirm="*")["revision"] == 1
    assert write(desk, version=2, confirm=["*"])["revision"] == 1
    assert counted(desk, 2) == {"intended_use", "owner"}


def test_what_is_written_of_an_older_version_later_is_not_carried_into_a_card_of_its_own(desk: Desk) -> None:
    model(desk, versions=3)
    write(desk, sections={"owner": "one"})
    write(desk, version=2, sections={"owner": "two"})
    write(desk, sections={"owner": "one again", "caveats": "late"})
    assert read(desk, 2)["sections"]["owner"]["text"] == "two"
    third = read(desk, 3)["sections"]
    assert (third["owner"]["text"], third["owner"]["carried_from"], "caveats" in third) == ("two", 2, False)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["owner", "caveats"]), st.sampled_from(["", "a", "b"])),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_only_what_was_written_for_a_version_counts_for_it(writes: list[tuple[int, str, str]]) -> None:
    desk = Desk()
    model(desk, versions=4)
    written: dict[int, dict[str, str]] = {number: {} for number in range(1, 5)}
    for number, name, text in writes:
        write(desk, version=number, sections={name: text})
        written[number] = {k: v for k, v in {**written[number], name: text}.items() if v}
    for number, texts in written.items():
        assert counted(desk, number) == set(texts)
        shown = {name: s["text"] for name, s in read(desk, number)["sections"].items() if not s["carried_from"]}
        assert shown == texts


# --- what is generated -------------------------------------------------------------------


def project(desk: Desk, **gates: Any) -> None:
    """Declare the model ``flights``, fed by the source ``weather``."""
    times = {"t": {"type": "timestamp"}}
    weather = {"prefix": "weather/", "columns": {"origin": {"type": "string"}, **times}, "key": ["origin"]}
    arrivals = {
        "prefix": "arrivals/",
        "columns": {"id": {"type": "string"}, "late": {"type": "integer"}, **times},
        "key": ["late"],
    }
    declared = {
        "id_column": "id", "time_column": "t", "request": {"id": "string", "origin": "string"}, "views": ["now"],
        "inputs": ["now__origin"],
        "label": {"source": "arrivals", "column": "late", "above": 15}, "trainer": "code:fit",
        "gates": {"gates": [], **gates},
    }  # fmt: skip
    said = {
        "name": "demo",
        "sources": {"weather": {**weather, "event_time": "t"}, "arrivals": {**arrivals, "event_time": "t"}},
        "views": {"now": {"entity": ["origin"], "source": "weather", "features": ["origin"]}},
        "models": {"flights": declared},
    }
    desk.registry.ok("POST", "/v1/projects", {"project": said})


def happen(desk: Desk, kind: str, identity: str, *events: Event) -> None:
    call = Call("default", "platform", MARCH, "c")
    desk.wiring.log.commit(call, [Happened(stream_of("default", kind, identity), event) for event in events])


def trained(desk: Desk, **changes: Any) -> Any:
    event = event_of("registry-training-completed.json", **changes)
    desk.tell("registry", event, at=MARCH)
    return event


def facts(desk: Desk, version: int = 1) -> Any:
    return read(desk, version)["generated"]


def test_a_training_fills_data_features_metrics_slices_comparison_and_lineage(desk: Desk) -> None:
    project(desk)
    slices = [Slice(column="carrier", value="AA", rows=200, positives=50, auc=0.71, brier=0.16)]
    plain = event_of("registry-training-completed.json")
    event = trained(desk, evaluation={**plain.evaluation.model_dump(), "slices": [s.model_dump() for s in slices]})
    said = facts(desk)
    window = event.model_dump(mode="json")["window"]
    assert said["training_data"] == {"digests": [event.dataset_digest], "rows": event.rows, "window": window}
    assert said["features"] == list(event.features)
    auc = next(metric for metric in said["metrics"] if metric["name"] == "auc")
    assert event.evaluation.challenger_auc is not None
    assert auc == {
        "name": "auc", **event.evaluation.challenger_auc.model_dump(), "source": "held-out rows",
        "rows": event.evaluation.rows,
    }  # fmt: skip
    assert said["slices"] == [slices[0].model_dump()]
    assert said["comparison"]["figures"][0]["difference"] == event.evaluation.auc_difference.model_dump()
    assert said["lineage"]["artifact_digest"] == event.artifact_digest
    assert (said["overview"]["aliases"], said["overview"]["trigger"]) == (["champion"], event.trigger)


def test_a_clients_version_says_what_its_tags_and_its_creator_say(desk: Desk) -> None:
    model(desk)
    for key, value in (("modelwright.metric.f1", "0.5"), ("modelwright.dataset_digest", "d1")):
        body = {"name": "flights", "version": "1", "key": key, "value": value}
        desk.registry.ok("POST", f"{MV}/set-tag", body)
    said = facts(desk)
    assert said["metrics"] == [{"name": "f1", "value": "0.5", "source": "tag"}]
    assert (said["training_data"]["digests"], said["comparison"], said["slices"]) == (["d1"], None, [])
    assert said["overview"]["created_by"] == "ann"


def test_a_version_without_named_features_is_fed_the_columns_of_its_signature(desk: Desk) -> None:
    signature = {"inputs": json.dumps([{"name": "temp", "type": "double"}, {"type": "double"}])}
    desk.blobs.put("artifacts", "default/1/x/MLmodel", json.dumps({"signature": signature}).encode())
    model(desk)
    assert facts(desk)["features"] == ["temp"]


def test_a_tag_that_is_no_evaluation_takes_no_card_away(desk: Desk) -> None:
    model(desk)
    body = {"name": "flights", "version": "1", "key": "modelwright.evaluation", "value": "nonsense"}
    desk.registry.ok("POST", f"{MV}/set-tag", body)
    assert facts(desk)["comparison"] is None


def measured(version: int, brier: float, start: datetime = MARCH) -> PerformanceMeasured:
    figures = Estimate(value=brier, low=brier - 0.01, high=brier + 0.01)
    return PerformanceMeasured(
        model="flights", window=Window(start=start, end=start + timedelta(days=7)), labels_key="k", labels=900,
        joined=900, comparisons=(),
        performances=(Performance(version=version, rows=900, positives=200, mean_score=0.2, brier=figures),),
        canary_comparisons=(),
    )  # fmt: skip


def test_the_newest_performance_of_the_version_itself_is_told(desk: Desk) -> None:
    project(desk)
    trained(desk)
    worse = Estimate(value=0.6, low=0.58, high=0.62)
    happen(
        desk, "PERFORMANCE", "flights",
        measured(1, 0.15), measured(1, 0.17, MARCH + timedelta(days=7)), measured(2, 0.1),
        PerformanceDegraded(
            model="flights", version=1, window=WEEK, metric="auc", value=worse, reference=0.7, reason="fell by 0.1"
        ),
    )  # fmt: skip
    told = facts(desk)["drift"]["performance"]
    assert told["measured"]["brier"]["value"] == 0.17
    assert told["measured"]["window"]["start"].startswith("2026-03-09")
    assert told["degraded"]["reason"] == "fell by 0.1"
    trained(desk, training_id="t2")
    assert facts(desk, 2)["drift"]["performance"]["degraded"] is None


def accepted(window: Window) -> UploadAccepted:
    return UploadAccepted(
        source="weather", upload_key="weather/1.csv", upload_version="1", digest="d", key="k", rows=500, bad_rows=2,
        window=window, profile_key="p",
    )  # fmt: skip


def drifted(window: Window) -> DriftDetected:
    columns = [
        ColumnDrift(column=c, detector="ks", effect=0.2, floor=0.1, p_value=1e-6, drifted=c == "temp")
        for c in ("temp", "x")
    ]
    return DriftDetected(source="weather", window=window, reference="r", columns=tuple(columns))


def held(identity: str) -> QualityFailed:
    finding = Finding(check="unit_change", column="temp", severity="block", text="temp looks like Celsius")
    return QualityFailed(
        source="weather", upload_key="k", upload_version="1", quarantine_id=identity, quarantine_key="q", rows=500,
        findings=(finding,),
    )  # fmt: skip


def test_drift_and_quality_of_the_sources_that_feed_it_are_told(desk: Desk) -> None:
    project(desk)
    trained(desk)
    later = Window(start=WEEK.end, end=WEEK.end + timedelta(days=7))
    released = QuarantineReleased(source="weather", quarantine_id="q1", reason="sent again")
    happen(desk, "SOURCE", "weather", accepted(WEEK), drifted(WEEK), held("q1"), released, held("q2"))
    (source,) = facts(desk)["drift"]["sources"]
    assert (source["source"], source["accepted"]["rows"]) == ("weather", 500)
    assert ([c["column"] for c in source["drift"]["columns"]], source["drift"]["current"]) == (["temp"], True)
    assert source["quarantined"] == [{"id": "q2", "rows": 500, "reasons": ["temp looks like Celsius"]}]
    happen(desk, "SOURCE", "weather", accepted(later))
    assert facts(desk)["drift"]["sources"][0]["drift"]["current"] is False


def test_sources_that_the_reader_may_not_see_are_left_out(desk: Desk) -> None:
    project(desk)
    trained(desk)
    happen(desk, "SOURCE", "weather", accepted(WEEK))
    narrow = desk.as_caller("registry", grants=(Grant(role="reader", resources="model/flights"),))
    assert narrow.ok("GET", CARD.format(1))["generated"]["drift"]["sources"] == []


def test_the_share_of_traffic_is_that_of_the_newest_routes(desk: Desk) -> None:
    project(desk)
    trained(desk)
    shares = (Share(version=1, role="champion", percent=90), Share(version=2, role="canary", percent=10))
    happen(desk, "ROLLOUT", "flights", RoutesChanged(model="flights", routes=shares, reason="canary"))
    assert facts(desk)["serving"] == {"aliases": ["champion"], "routes": [{"role": "champion", "percent": 90}]}


def test_requests_with_gates_and_approvals_are_told(desk: Desk) -> None:
    project(desk, gates=["data_known"], approvals=1)
    trained(desk)
    desk.registry("POST", "/v1/models/flights/transitions", {"version": 1, "alias": "champion", "reason": "better"})
    (request,) = [r for r in facts(desk)["approvals"] if r["reason"] == "better"] or facts(desk)["approvals"][:1]
    assert (request["state"], request["needed"], request["alias"]) == ("waiting", 1, "champion")
    bob = desk.as_caller("registry", actor="bob")
    bob.ok("POST", f"/v1/models/flights/transitions/{request['request_id']}/approve", {"comment": "go"})
    told = facts(desk)["approvals"][0]
    assert (told["state"], told["approvals"][0]["actor"], told["approvals"][0]["comment"]) == ("applied", "bob", "go")
    assert {result["gate"] for result in told["results"]} == {"data_known"}


def test_requests_for_other_versions_are_not_told(desk: Desk) -> None:
    model(desk, versions=2)
    for version, alias in ((1, "champion"), (2, "challenger")):
        desk.registry.ok("POST", "/v1/models/flights/transitions", {"version": version, "alias": alias})
    assert [request["alias"] for request in facts(desk, 2)["approvals"]] == ["challenger"]


def test_what_the_policy_wants_and_nobody_wrote_is_missing(desk: Desk) -> None:
    project(desk, card=["owner", "ethics"])
    trained(desk)
    assert read(desk)["missing"] == ["owner", "ethics"]
    write(desk, sections={"ethics": "none"})
    assert read(desk)["missing"] == ["owner"]


# --- forms -------------------------------------------------------------------------------


class Page(HTMLParser):
    """A page's tags, its words, and whom it would ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.asks: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.asks += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


EVIL = "<script>alert('x')</script>|**x**`y`\n\n# z [a](javascript:b) \\| &lt; _u_"


def everything(desk: Desk, text: str) -> None:
    """Make a version of whose card every part that others say is this text."""
    project(desk)
    slices = [Slice(column=text, value=text, rows=200, positives=50, auc=0.71, brier=0.16)]
    plain = event_of("registry-training-completed.json")
    trained(
        desk, features=(text,), trigger=text, dataset_digest=text, metrics={text: 0.5}, artifact_digest=text,
        evaluation={**plain.evaluation.model_dump(), "slices": [s.model_dump() for s in slices]},
    )  # fmt: skip
    degraded = PerformanceDegraded(
        model="flights", version=1, window=WEEK, metric=text, value=Estimate(value=0.6, low=0.5, high=0.7),
        reference=0.7, reason=text,
    )  # fmt: skip
    happen(desk, "PERFORMANCE", "flights", measured(1, 0.15), degraded)
    happen(desk, "SOURCE", "weather", accepted(WEEK), drifted(WEEK), held("q2"))
    desk.registry.ok("PATCH", f"{RM}/update", {"name": "flights", "description": text})
    desk.registry.ok("PATCH", f"{MV}/update", {"name": "flights", "version": "1", "description": text})
    write(desk, sections={"intended_use": text, "owner": "team delays"})


def form(desk: Desk, name: str, version: int = 1) -> str:
    status, said = desk.registry("GET", f"{CARD.format(version)}?format={name}")
    assert status == 200
    return said if isinstance(said, str) else said.decode()


@pytest.mark.parametrize(
    "text", ["plain words", EVIL, "|" * 50, "`" * 7 + "x", "1. a", "- a", "a\\|b", "[x]: https://a.b", "=="]
)
def test_the_markdown_form_keeps_its_shape_whatever_is_said(desk: Desk, text: str) -> None:
    everything(desk, text)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(form(desk, "markdown"))
    assert "<script" not in html
    headings = re.findall("<h2>(.*?)</h2>", html)
    assert headings == [
        "Intended use", "Owner", "Not written yet", "Overview", "Metrics", "Slices", "Comparison", "Drift",
        "Training data", "Features", "Lineage", "Approvals", "Serving",
    ]  # fmt: skip
    assert html.count("<h1>") == 1
    for table in re.findall("<table>.*?</table>", html, re.DOTALL):
        columns = {len(re.findall("<t[hd]", row)) for row in re.findall("<tr>.*?</tr>", table, re.DOTALL)}
        assert len(columns) == 1


@pytest.mark.parametrize("text", [EVIL, "1. a", "- a", "# a", "[x]: https://a.b", "![p](https://a.b/p.png)", "== a"])
def test_what_is_said_is_read_back_from_the_markdown_form_as_it_was(desk: Desk, text: str) -> None:
    everything(desk, text)
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(form(desk, "markdown"))
    plain = html_unescape(re.sub("<[^>]*>", "", html))
    assert plain.count(" ".join(text.split())) >= 6


@pytest.mark.parametrize("name", ["a|b", "a\\|b", "`", "``a", "*a*", "a b"])
def test_names_keep_a_table_in_shape(name: str) -> None:
    blocks = (Grid(("Gate", "Why"), ((Code(name), name),)), Names((name,)), Pairs((("Run", Code(name)),)))
    text = markdown(Document("flights v1", (name,), (), (Part("p", "Part", blocks),), ""))
    html = MarkdownIt("commonmark").enable("table").render(text)
    cells = [html_unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall("<td>(.*?)</td>", html)]
    assert cells == [name, name]
    assert [html_unescape(code) for code in re.findall("<code>(.*?)</code>", html)][-2:] == [name, name]


def test_plain_words_and_figures_are_not_escaped(desk: Desk) -> None:
    everything(desk, "plain words")
    lines = form(desk, "markdown").splitlines()
    assert "| AUC | 0.7520 [0.7410, 0.7630] | 12,000 held-out rows |" in lines
    assert not [line for line in lines if "\\" in line]


def test_the_html_form_is_a_page_of_its_own_that_runs_nothing(desk: Desk) -> None:
    everything(desk, EVIL)
    answer = desk.functions["registry"](payload("GET", f"{CARD.format(1)}?format=html"))
    page = Page(answer["body"])
    assert not page.tags & {"script", "img", "iframe", "link", "object", "form", "svg"}
    assert all(ask.startswith("#") for ask in page.asks)
    assert "alert('x')" in page.text
    policy = answer["headers"]["content-security-policy"]
    (style,) = re.findall("<style>(.*?)</style>", answer["body"], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_carried_section_says_so_in_every_form(desk: Desk) -> None:
    model(desk, versions=2)
    write(desk, sections={"owner": "team delays"})
    for name in ("markdown", "html"):
        assert "Carried over from v1 and not confirmed for this version" in form(desk, name, 2)
        assert "Carried over" not in form(desk, name, 1)


def test_a_bare_version_has_a_card_in_every_form(desk: Desk) -> None:
    model(desk)
    for name in ("markdown", "html"):
        text = form(desk, name)
        assert "Nobody said what this version was trained on." in text
        assert "Nobody wrote or confirmed for this version: intended use, limitations, owner." in text


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"), ("*/*", "json"), ("application/json", "json"), ("text/markdown", "markdown"),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "html"), ("TEXT/Markdown;q=1", "markdown"),
    ],
)  # fmt: skip
def test_the_form_is_the_one_that_is_accepted(accept: str, form: str) -> None:
    assert form_of(accept) == form


def test_what_the_query_says_outranks_what_is_accepted(desk: Desk) -> None:
    model(desk)
    status, said = desk.registry("GET", f"{CARD.format(1)}?format=json", accept="text/html")
    assert (status, said["version"]) == (200, 1)
    assert "<!doctype" in str(desk.registry("GET", CARD.format(1), accept="text/html")[1])
    assert desk.registry("GET", f"{CARD.format(1)}?format=pdf")[0] == 400
