"""Historical features as jobs: asked over HTTP, joined when the event comes, saved once."""

import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.http import handler_of, payload

from features.offline_cases import EPOCH, Offline
from features.test_truth_table import PROJECT, seen
from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import InvalidInput, TooLarge, Unavailable
from modelwright.events import (
    Delivery,
    Envelope,
    HistoricalFeaturesFailed,
    HistoricalFeaturesRequested,
    HistoricalFeaturesSaved,
)
from modelwright.features import jobs, joining
from modelwright.features.jobs import INLINE_ROWS
from modelwright.governance.access import Grant
from modelwright.log import Log
from modelwright.project import Project, Service, current_key
from modelwright.runtime import Function
from modelwright.storage import Anything, Put
from modelwright.wiring import Settings, Wiring

WITH_CODE = PROJECT.model_copy(
    update=Project.model_validate(
        {
            **PROJECT.model_dump(),
            "on_demand": {
                "double": {
                    "function": "features.test_jobs:double",
                    "inputs": ["score"],
                    "outputs": ["twice"],
                }
            },
            "services": {
                "scores": {
                    "request": {"customer": "string", "event_timestamp": "timestamp"},
                    "views": ["profile"],
                    "on_demand": ["double"],
                    "inputs": ["score", "twice"],
                }
            },
        }
    ).__dict__
)


def double(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["score"] == 13.0:
        raise KeyError("thirteen")
    return {"twice": row["score"] and row["score"] * 2}


class Tired(MemoryBlobs):
    """Buckets that fail once, where they are told to."""

    fail_at = fail_to_delete = ""

    def put(self, bucket: Any, key: str, body: bytes, **options: Any) -> str:
        if self.fail_at and key.startswith(self.fail_at):
            self.fail_at = ""
            raise Unavailable("S3 does not answer")
        return super().put(bucket, key, body, **options)

    def delete(self, bucket: Any, key: str) -> None:
        if self.fail_to_delete and key.startswith(self.fail_to_delete):
            self.fail_to_delete = ""
            raise Unavailable("S3 does not answer")
        super().delete(bucket, key)


class Desk:
    """Both functions over one stack in memory, and the bus between them."""

    def __init__(self, blobs: Tired | None = None) -> None:
        self.stack = Offline(WITH_CODE)
        self.stack.blobs = self.blobs = blobs or Tired()
        self.stack.workspace = "default"
        for workspace in ("default", "other"):
            item = {**current_key(workspace)._asdict(), "project": WITH_CODE.model_dump_json()}
            self.stack.tables.write([Put("governance", item, Anything())])
        settings = Settings(
            function="test", workspace="default", bus="", virtual_time=True, tables={}, buckets={}, environment={}
        )
        self.wiring = Wiring(settings, tables=self.stack.tables, blobs=self.blobs)
        self.features: Function = handler_of("features", self.wiring)
        self.materialize: Function = handler_of("materialize", self.wiring)
        self.now = EPOCH + timedelta(hours=12)

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        headers = {"x-modelwright-as-of": self.now.isoformat(), **options.pop("headers", {})}
        answer = self.features(payload(method, path, body, headers=headers, **options))
        found = json.loads(answer["body"])
        return answer["statusCode"], json.loads(found) if isinstance(found, str) else found

    def request(self, **query: Any) -> str:
        status, body = self.ask("POST", "/v1/historical-features", query)
        assert status == 202, body
        return str(body["job_id"])

    def job(self, job_id: str) -> Any:
        status, body = self.ask("GET", f"/v1/features/jobs/{job_id}")
        assert status == 200, body
        return body

    def events(self, job_id: str) -> list[Any]:
        return [item.envelope for item in Log(self.stack.tables).read(f"WS#default#JOB#{job_id}")]

    def deliver(self, job_id: str) -> Any:
        envelope: Envelope = self.events(job_id)[0]
        assert Delivery.read("materialize", envelope.model_dump(mode="json")).envelope == envelope
        return self.materialize({"detail-type": envelope.type, "detail": envelope.model_dump(mode="json")})

    def done(self, **query: Any) -> Any:
        job_id = self.request(**query)
        assert self.deliver(job_id) == {"outcome": "handled"}
        return self.job(job_id)

    def table(self, job: Any) -> pa.Table:
        return pq.read_table(io.BytesIO(self.blobs.get("lake", job["key"]).body))

    def lies(self) -> list[str]:
        return [line.key for line in self.blobs.list("lake", "") if not line.key.startswith("offline/")]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.stack.put("profiles", [seen(1, 0, 1.0), seen(2, 2, 2.0)], "a")
    return desk


def hours(number: float) -> datetime:
    return EPOCH + timedelta(hours=number)


def ann(*times: float | None) -> dict[str, list[Any]]:
    return {
        "customer": ["ann"] * len(times),
        "event_timestamp": [None if t is None else hours(t).isoformat() for t in times],
    }


def test_features_of_inline_entities_are_joined_and_saved(desk: Desk) -> None:
    entities = {**ann(3, 1, 3, None), "label": [1, 0, 1, 0]}
    job_id = desk.request(features=["profile:score", "spent:n_2h"], entities=entities)
    waiting = desk.job(job_id)
    assert (waiting["state"], waiting["rows"], waiting["url"]) == ("requested", 4, "")
    assert desk.deliver(job_id) == {"outcome": "handled"}
    job = desk.job(job_id)
    assert (job["state"], job["rows"]) == ("saved", 4)
    assert job["url"]
    assert desk.table(job).drop_columns(["event_timestamp"]).to_pydict() == {
        "customer": ["ann"] * 4,
        "label": [1, 0, 1, 0],
        "profile:score": [2.0, 1.0, 2.0, None],
        "spent:n_2h": [1, 1, 1, None],
    }
    kinds = [envelope.type for envelope in desk.events(job_id)]
    assert kinds == ["HistoricalFeaturesRequested", "HistoricalFeaturesSaved"]
    saved = HistoricalFeaturesSaved.model_validate(desk.events(job_id)[1].data)
    assert (saved.digest, saved.rows, saved.as_of) == (job["digest"], 4, desk.now)
    assert saved.features == ("profile:score", "spent:n_2h")


def test_features_of_a_service_with_on_demand_features_are_joined(desk: Desk) -> None:
    assert desk.table(desk.done(service="scores", entities=ann(1, 3)))["twice"].to_pylist() == [2.0, 4.0]


def uploaded(desk: Desk, body: bytes) -> str:
    status, answer = desk.ask("POST", "/v1/features/uploads", {})
    assert status == 200
    assert answer["url"]
    desk.blobs.put("lake", answer["entities_key"], body)
    return str(answer["entities_key"])


def parquet_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_entities_of_an_uploaded_parquet_file_are_joined_and_the_upload_is_removed(desk: Desk) -> None:
    times = pa.array([hours(1), hours(3)], pa.timestamp("us", tz="UTC"))
    key = uploaded(desk, parquet_of(pa.table({"customer": ["ann", "ann"], "event_timestamp": times, "n": [7, 8]})))
    job = desk.done(features=["profile:score"], entities_key=key)
    found = desk.table(job)
    assert found["profile:score"].to_pylist() == [1.0, 2.0]
    assert found["n"].to_pylist() == [7, 8]
    assert desk.lies() == [f"datasets/default/{job['digest']}.json", job["key"]]


def test_entities_of_an_uploaded_csv_file_keep_their_leading_zeros_and_naive_times_are_utc(desk: Desk) -> None:
    desk.stack.put("profiles", [seen(9, 0, 9.0, customer="007")], "b")
    key = uploaded(
        desk, b"event_timestamp,customer,n\n2026-01-01 03:00:00,007,1\n2026-01-01T12:00:00+09:00,007,2\n,007,3\n"
    )
    found = desk.table(desk.done(features=["profile:score"], entities_key=key))
    assert found["customer"].to_pylist() == ["007"] * 3
    assert found["event_timestamp"].to_pylist() == [hours(3), hours(3), None]
    assert found["profile:score"].to_pylist() == [9.0, 9.0, None]


def test_a_dataset_can_be_asked_about_and_stays(desk: Desk) -> None:
    first = desk.done(features=["profile:score"], entities=ann(1))
    second = desk.done(features=["spent:n_2h"], entities_key=first["key"])
    assert desk.table(second).column_names == ["customer", "event_timestamp", "profile:score", "spent:n_2h"]
    assert first["key"] in desk.lies()


def test_what_was_asked_is_forgotten_when_the_job_is_over(desk: Desk) -> None:
    job_id = desk.request(features=["profile:score"], entities=ann(1))
    assert desk.lies() == [f"jobs/default/{job_id}.json"]
    desk.deliver(job_id)
    assert not [key for key in desk.lies() if key.startswith("jobs/")]


def test_an_event_that_comes_twice_changes_nothing(desk: Desk) -> None:
    job_id = desk.request(features=["profile:score"], entities=ann(1))
    assert desk.deliver(job_id) == {"outcome": "handled"}
    before, keys = desk.job(job_id), desk.lies()
    assert desk.deliver(job_id) == {"outcome": "duplicate"}
    assert {**desk.job(job_id), "url": ""} == {**before, "url": ""}
    assert (desk.lies(), len(desk.events(job_id))) == (keys, 2)


def test_a_job_that_dies_half_way_leaves_no_answer_and_is_finished_by_redelivery(desk: Desk) -> None:
    job_id = desk.request(features=["profile:score"], entities=ann(1, 3))
    desk.blobs.fail_at = "datasets/default/"
    with pytest.raises(Unavailable):
        desk.deliver(job_id)
    assert desk.job(job_id)["state"] == "requested"
    assert len(desk.events(job_id)) == 1
    assert not [key for key in desk.lies() if key.startswith("datasets/")]
    desk.now += timedelta(hours=5)
    desk.stack.put("profiles", [seen(1, 0, 100.0, created=12.5)], "late")
    assert desk.deliver(job_id) == {"outcome": "handled"}
    assert desk.table(desk.job(job_id))["profile:score"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize("dies_at", ["entities/default/", "jobs/default/"])
def test_a_job_that_dies_when_all_but_forgetting_is_done_forgets_by_redelivery(desk: Desk, dies_at: str) -> None:
    times = pa.array([hours(1)], pa.timestamp("us", tz="UTC"))
    key = uploaded(desk, parquet_of(pa.table({"customer": ["ann"], "event_timestamp": times})))
    job_id = desk.request(features=["profile:score"], entities_key=key)
    desk.blobs.fail_to_delete = dies_at
    with pytest.raises(Unavailable):
        desk.deliver(job_id)
    job = desk.job(job_id)
    assert job["state"] == "saved"
    assert desk.deliver(job_id) == {"outcome": "duplicate"}
    assert desk.lies() == [f"datasets/default/{job['digest']}.json", job["key"]]


def test_the_same_query_as_of_the_same_time_gives_the_same_bytes_even_after_corrections(desk: Desk) -> None:
    asked = {"features": ["profile:score", "spent:total_2h"], "entities": ann(1, 3, 24)}
    first = desk.done(**asked)
    as_of = desk.now
    desk.now += timedelta(hours=30)
    desk.stack.put("profiles", [seen(1, 0, 100.0, created=13), seen(2, 2, None, created=14), seen(3, 11, 5.0, 15)], "b")
    again = desk.done(**asked, as_of=as_of.isoformat())
    assert (again["digest"], again["as_of"]) == (first["digest"], first["as_of"])
    assert desk.done(**asked)["digest"] != first["digest"]


def test_a_dataset_says_what_it_is(desk: Desk) -> None:
    job = desk.done(features=["profile:score", "profile:city"], entities={**ann(3, 1, None), "n": [1, 2, 3]})
    status, about = desk.ask("GET", f"/v1/features/datasets/{job['digest']}")
    assert status == 200
    assert about["url"]
    assert (about["rows"], about["as_of"], about["views"]) == (3, job["as_of"], {"profile": 1})
    assert about["query"]["features"] == ["profile:score", "profile:city"]
    assert about["features"] == ["profile:score", "profile:city"]
    assert "entities" not in about["query"]
    columns = {column.pop("name"): column for column in about["columns"]}
    assert columns["profile:score"] == {"type": "double", "n": 3, "nulls": 1, "min": 1.0, "max": 2.0, "mean": 1.5}
    assert columns["profile:city"] == {"type": "string", "n": 3, "nulls": 1}
    assert columns["n"] == {"type": "int64", "n": 3, "nulls": 0}


@pytest.mark.parametrize("digest", ["0" * 64, "x", "..%2f"])
def test_a_dataset_that_is_not_there_is_not_found(desk: Desk, digest: str) -> None:
    assert desk.ask("GET", f"/v1/features/datasets/{digest}")[0] == 404


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"entities": ann(1)}, 400, "name either a `service` or `features`"),
    ({"features": ["profile:score"], "service": "scores", "entities": ann(1)}, 400, "name either"),
    ({"features": ["profile:score"]}, 400, "give either `entities`"),
    ({"features": ["profile:score"], "entities": ann(1), "entities_key": "x"}, 400, "give either `entities`"),
    ({"features": ["profile:scroe"], "entities": ann(1)}, 404, "has no feature scroe: it has score, city"),
    ({"service": "score", "entities": ann(1)}, 404, "there is no feature service score: there are scores"),
    ({"features": ["score"], "entities": ann(1)}, 400, "write view:feature"),
    ({"features": ["profile:score"], "entities": {"event_timestamp": []}}, 400, "1 to 20,000 entities"),
    ({"features": ["profile:score"], "entities": {"customer": ["a"]}}, 400, "lacks the column event_timestamp"),
    ({"features": ["profile:score"], "entities": {**ann(1), "customer": [1]}}, 400, "customer"),
    ({"features": ["profile:score"], "entities": {**ann(1), "customer": ["a", "b"]}}, 400, "differ in length"),
    ({"features": ["profile:score"], "entities": ann(1), "engine": "hadoop"}, 400, "there is no engine hadoop"),
    ({"features": ["profile:score"], "entities_key": "datasets/other/x"}, 400, "must begin with entities/default/"),
    ({"features": ["profile:score"], "entities_key": "entities/default/nothing"}, 404, "entities/default/nothing"),
    ({"features": ["profile:score"], "entities": ann(1), "as_of": "yesterday"}, 400, "as_of"),
    ({"features": ["profile:score"], "entities": ann(1), "egnine": "arrow"}, 400, "egnine"),
]


@pytest.mark.parametrize(("query", "status", "text"), BAD)
def test_a_bad_request_is_refused_at_once_and_leaves_nothing(
    desk: Desk, query: dict[str, Any], status: int, text: str
) -> None:
    found, body = desk.ask("POST", "/v1/historical-features", query)
    assert found == status
    assert text in json.dumps(body, ensure_ascii=False)
    assert desk.lies() == []
    assert desk.ask("GET", "/v1/features/jobs")[1]["jobs"] == []


def test_more_entities_than_a_request_holds_are_told_where_to_go(desk: Desk) -> None:
    many = {"customer": ["a"] * (INLINE_ROWS + 1), "event_timestamp": [None] * (INLINE_ROWS + 1)}
    status, body = desk.ask("POST", "/v1/historical-features", {"features": ["profile:score"], "entities": many})
    assert status == 400
    assert "upload a file (POST /v1/features/uploads)" in json.dumps(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"customer\nann\n", "lack the column event_timestamp"),
        (b"customer,event_timestamp\nann,yesterday\n", "event_timestamp of entity 0"),
        (b"a,b\n1\n", "neither Parquet nor CSV"),
        (b"PAR1 no more", "no Parquet file"),
        (b"", "neither Parquet nor CSV"),
        (b"customer,event_timestamp\n", "the file of entities has no rows"),
        (b"customer,event_timestamp\n\xff\xfe,2026-01-01\n", "neither Parquet nor CSV"),
    ],
)
def test_a_job_whose_file_is_not_as_it_must_be_fails_and_says_why(desk: Desk, body: bytes, reason: str) -> None:
    job = desk.done(features=["profile:score"], entities_key=uploaded(desk, body))
    assert job["state"] == "failed"
    assert reason in job["reason"]
    failed = HistoricalFeaturesFailed.model_validate(desk.events(job["job_id"])[-1].data)
    assert reason in failed.reason
    assert desk.lies() == []


def test_a_job_whose_row_function_fails_says_of_which_row(desk: Desk) -> None:
    desk.stack.put("profiles", [seen(3, 4, 13.0)], "b")
    job = desk.done(service="scores", entities=ann(1, 5))
    assert job["state"] == "failed"
    assert job["reason"] == "on-demand features double failed for row 1: KeyError"


def test_a_job_is_found_by_who_may_read_its_views_and_by_nobody_else(desk: Desk) -> None:
    job_id = desk.request(features=["profile:score"], entities=ann(1))
    strangers: tuple[dict[str, Any], ...] = ({"workspace": "other"}, {"grants": []})
    for options in strangers:
        assert desk.ask("GET", f"/v1/features/jobs/{job_id}", **options)[0] in (403, 404)
        assert desk.ask("GET", "/v1/features/jobs", **options)[1]["jobs"] == []
    only = [Grant(role="reader", resources="view/spent")]
    assert desk.ask("GET", f"/v1/features/jobs/{job_id}", grants=only)[0] == 403
    body = {"features": ["profile:score"], "entities": ann(1)}
    assert desk.ask("POST", "/v1/historical-features", body, grants=only)[0] == 403


def test_jobs_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    made = []
    for _ in range(53):
        desk.now += timedelta(seconds=1)
        made.append(desk.request(features=["profile:score"], entities=ann(1)))
    assert [job["job_id"] for job in pages(desk)] == made[::-1]


def pages(desk: Desk) -> Iterator[Any]:
    cursor = ""
    while True:
        _, page = desk.ask("GET", f"/v1/features/jobs?cursor={quote(cursor)}")
        yield from page["jobs"]
        if not (cursor := page["next"]):
            return


def test_the_same_request_again_is_the_same_job(desk: Desk) -> None:
    body = {"features": ["profile:score"], "entities": ann(1)}
    key = {"headers": {"idempotency-key": "k1"}}
    first, again = (desk.ask("POST", "/v1/historical-features", body, **key)[1] for _ in range(2))
    assert first == again
    assert len(desk.ask("GET", "/v1/features/jobs")[1]["jobs"]) == 1


def test_more_entities_than_fit_into_one_process_are_told_of_other_engines(desk: Desk) -> None:
    table = pa.table({"customer": pa.nulls(joining.MOST_ROWS + 1, pa.string())})
    times = pa.nulls(joining.MOST_ROWS + 1, pa.timestamp("us", tz="UTC"))
    key = uploaded(desk, parquet_of(table.append_column("event_timestamp", times)))
    job = desk.done(features=["profile:score"], entities_key=key)
    assert "ask with another engine, such as spark" in job["reason"]


def test_the_event_says_where_what_was_asked_lies(desk: Desk) -> None:
    job_id = desk.request(features=["profile:score"], entities=ann(1, 2))
    event = HistoricalFeaturesRequested.model_validate(desk.events(job_id)[0].data)
    assert (event.rows, event.engine) == (2, "arrow")
    assert json.loads(desk.blobs.get("lake", event.query_key).body)["entities"] == ann(1, 2)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b"customer,event_timestamp\nann,2026-01-01\nann,jo@example.org\n",
            "event_timestamp of entity 1: no ISO 8601 time",
        ),
        (b"customer,event_timestamp,n\nann,2026-01-01,1\njo@example.org,x\n", "neither Parquet nor CSV"),
    ],
)
def test_the_log_is_told_where_a_file_is_wrong_and_never_what_it_holds(desk: Desk, body: bytes, told: str) -> None:
    job = desk.done(features=["profile:score"], entities_key=uploaded(desk, body))
    failed = desk.events(job["job_id"])[-1]
    assert "jo@example.org" in job["reason"]
    assert "jo@example.org" not in failed.model_dump_json()
    assert told in failed.data["reason"]


def test_a_number_that_is_none_is_told_by_its_line() -> None:
    service = Service(request={"n": "integer"}, time_column="at", views=(), inputs=())
    with pytest.raises(InvalidInput, match="invalid value 'jo@") as raised:
        joining.read_entities(b"n\n1\njo@example.org\n", service)
    assert raised.value.logged.endswith("of the declared types: column 1, line 3")


VIEW_DENIED = [Grant(role="reader"), Grant(role="reader", resources="view/spent", effect="deny")]


def test_a_dataset_as_entities_takes_the_rights_on_its_views_along(desk: Desk) -> None:
    first = desk.done(features=["spent:n_2h"], entities=ann(1))
    query = {"features": ["profile:score"], "entities_key": first["key"]}
    assert desk.ask("POST", "/v1/historical-features", query, grants=VIEW_DENIED)[0] == 403
    second = desk.done(**query)
    assert second["views"] == ["profile", "spent"]
    assert desk.ask("GET", f"/v1/features/jobs/{second['job_id']}", grants=VIEW_DENIED)[0] == 403
    assert desk.ask("GET", f"/v1/features/datasets/{second['digest']}")[1]["views"] == {"profile": 1, "spent": 1}
    assert desk.ask("GET", f"/v1/features/datasets/{second['digest']}", grants=VIEW_DENIED)[0] == 403


def test_what_nothing_is_said_of_is_no_file_of_entities(desk: Desk) -> None:
    digest = "a" * 64
    for key in (f"datasets/default/{digest}.parquet", "datasets/default/x.parquet", f"datasets/default/{digest}/y"):
        desk.blobs.put("lake", key, parquet_of(pa.table({"customer": ["ann"]})))
        status, said = desk.ask("POST", "/v1/historical-features", {"features": ["profile:score"], "entities_key": key})
        assert status == 404, said
        assert "there is no dataset" in said["message"]


def test_a_file_that_is_too_large_is_refused_when_it_is_asked_about(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = uploaded(desk, b"customer,event_timestamp\nann,2026-01-01\n")
    monkeypatch.setattr(jobs, "MOST_BYTES", 10)
    status, said = desk.ask("POST", "/v1/historical-features", {"features": ["profile:score"], "entities_key": key})
    assert status == 413
    assert "bytes, more than 10: ask with another engine" in said["message"]


def test_rows_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(request={"customer": "string"}, time_column="at", views=(), inputs=())
    many = parquet_of(pa.table({"customer": ["ann"] * 1000}))
    torn = bytearray(many)
    torn[4:40] = bytes(36)  # whoever decodes this learns that it is no Parquet file
    with pytest.raises(TooLarge, match="1,000 entities are more than 999"):
        joining.read_entities(bytes(torn), service, most=999)
    with pytest.raises(InvalidInput, match="no Parquet file"):
        joining.read_entities(bytes(torn), service, most=1000)
    with pytest.raises(TooLarge, match="lines of entities"):
        joining.read_entities(b"customer\n" + b"ann\n" * 1000, service, most=999)
    monkeypatch.setattr(joining, "MOST_DECODED", 10)
    with pytest.raises(TooLarge, match="decoded bytes"):
        joining.read_entities(many, service, most=1000)


class Deadly(Tired):
    """Buckets that end the process of who reads an upload."""

    deadly = False

    def get(self, bucket: Any, key: str, version: str = "") -> Any:
        if key.startswith("entities/") and self.deadly:
            raise SystemExit
        return super().get(bucket, key, version)


def test_a_job_that_ends_its_process_fails_at_the_last_attempt() -> None:
    desk = Desk(blobs := Deadly())
    job_id = desk.request(features=["profile:score"], entities_key=uploaded(desk, b"customer,event_timestamp\n"))
    blobs.deadly = True
    for _ in range(joining.ATTEMPTS):
        with pytest.raises(SystemExit):
            desk.deliver(job_id)
        assert desk.job(job_id)["state"] == "requested"
    assert desk.deliver(job_id) == {"outcome": "handled"}
    assert (desk.job(job_id)["state"], desk.job(job_id)["reason"][:22]) == ("failed", "it was begun 2 times a")
    assert desk.lies() == []


def test_a_dependency_that_does_not_answer_counts_for_no_attempt(desk: Desk) -> None:
    job_id = desk.request(features=["profile:score"], entities=ann(1))
    for _ in range(joining.ATTEMPTS + 1):
        desk.blobs.fail_at = "datasets/"
        with pytest.raises(Unavailable):
            desk.deliver(job_id)
    assert desk.deliver(job_id) == {"outcome": "handled"}
    assert desk.job(job_id)["state"] == "saved"


def test_a_service_takes_no_other_time_column(desk: Desk) -> None:
    query = {"service": "scores", "entities": ann(1), "time_column": "event_timestamp"}
    status, said = desk.ask("POST", "/v1/historical-features", query)
    assert status == 400
    assert "a service names its own time column" in said["message"]


def test_a_name_that_is_none_is_told_with_those_that_the_caller_may_know(desk: Desk) -> None:
    for query in ({"features": ["nothing:x"]}, {"service": "nothing"}):
        status, said = desk.ask("POST", "/v1/historical-features", {**query, "entities": ann(1)}, grants=VIEW_DENIED)
        assert status == 404
        assert "spent" not in said["message"]
        assert ("profile" if "features" in query else "scores") in said["message"]
