"""What comes in wrong: said clearly, kept whole, and nothing else disturbed."""

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from e2e.desk import Desk, parquet

pytestmark = pytest.mark.e2e

JSON = {"content-type": "application/json"}
NOON = datetime(2012, 6, 29, 12, tzinfo=UTC)


def weather(day: int, temperature: float = 60.0) -> pd.DataFrame:
    """Return a day of observations of 2012, which the replay never sees."""
    hours = pd.Series(pd.date_range(f"2012-06-{day:02d}", periods=24, freq="h", tz="UTC").as_unit("us"))
    rows = len(hours)
    measured = {"temp": temperature, "dewp": 40.0, "humid": 50.0, "wind_dir": 180.0, "wind_speed": 9.0}
    more = {"wind_gust": 12.0, "precip": 0.0, "pressure": 1010.0, "visib": 10.0}
    table: dict[str, Any] = {"origin": ["JFK"] * rows, "observed_at": hours}
    table |= {name: [value + n / 10 for n in range(rows)] for name, value in {**measured, **more}.items()}
    return pd.DataFrame({**table, "known_at": hours + pd.Timedelta(hours=1)})


HEADER = ",".join(weather(1).columns).encode()


@pytest.mark.parametrize(
    ("key", "body", "source", "reason"),
    [
        ("weather/broken.parquet", b"PAR1 and nonsense PAR1", "weather", "begins like Parquet and cannot be read"),
        ("weather/picture.csv", b"\x89PNG\xff\xfe\x00", "weather", "neither Parquet nor CSV"),
        ("weather/empty.csv", b"", "weather", "the file is empty"),
        ("weather/header.csv", HEADER + b"\n", "weather", "a header and no rows"),
        ("weather/columns.csv", b"city,warmth\nJFK,3\n", "weather", "no column origin"),
        ("nowhere/rows.csv", b"a,b\n1,2\n", "unknown", "nowhere/rows.csv"),
    ],
    ids=["no parquet", "no text", "empty", "no rows", "other columns", "unknown prefix"],
)
def test_an_upload_that_cannot_be_read_is_held_with_its_reason(
    desk: Desk, key: str, body: bytes, source: str, reason: str
) -> None:
    before, last = desk.keys(), desk.newest()
    outcome = desk.land(key, body, NOON)
    assert outcome.startswith("quarantined as ")
    assert reason in outcome
    (failed,) = desk.events("QualityFailed", after=last)
    data = failed.envelope.data
    assert (data["source"], data["upload_key"], data["scope"]) == (source, key, "file")
    assert reason in data["findings"][0]["text"]
    new = desk.keys() - before
    folder = data["quarantine_key"].rsplit("/", 1)[0]
    assert new == {data["quarantine_key"], f"{folder}/reasons.json"}
    assert desk.body(data["quarantine_key"]) == body
    assert reason in desk.body(f"{folder}/reasons.json").decode()
    assert not desk.events("UploadAccepted", after=last)


def test_a_good_upload_after_bad_ones_is_accepted_and_computed_on(desk: Desk) -> None:
    before, last = desk.keys(), desk.newest()
    assert desk.land("weather/good.parquet", parquet(weather(1)), NOON) == "accepted 24 rows"
    assert [item.envelope.data["rows"] for item in desk.events("UploadAccepted", after=last)] == [24]
    new = desk.keys() - before
    assert any(key.startswith("accepted/default/weather/") for key in new)
    assert any(key.startswith("offline/default/") for key in new)
    assert not [key for key in new if key.startswith("quarantine/")]


def test_what_is_sent_twice_counts_once(desk: Desk) -> None:
    body = parquet(weather(2))
    assert desk.land("weather/once.parquet", body, NOON) == "accepted 24 rows"
    before, last = desk.keys(), desk.newest()
    for key in ("weather/once.parquet", "weather/again.parquet"):
        assert desk.land(key, body, NOON) == "same content as weather/once.parquet, which was accepted"
    assert desk.events(after=last) == []
    assert desk.keys() == before


def test_repeated_rows_are_dropped_and_rows_that_contradict_each_other_are_held(desk: Desk) -> None:
    good = weather(3)
    repeated = pd.concat([good, good.head(2)], ignore_index=True)
    assert desk.land("weather/repeats.parquet", parquet(repeated), NOON) == "accepted 24 rows"
    last = desk.newest()
    day = weather(4)
    contradicting = pd.concat([day, day.head(1).assign(temp=99.0)], ignore_index=True)
    assert desk.land("weather/contradicts.parquet", parquet(contradicting), NOON) == "accepted 23 rows, held 2"
    (failed,) = desk.events("QualityFailed", after=last)
    assert (failed.envelope.data["scope"], failed.envelope.data["rows"]) == ("rows", 2)
    assert "different values" in failed.envelope.data["findings"][0]["text"]


# --- HTTP --------------------------------------------------------------------------------


JUNE = {"start": "2012-06-01T00:00:00Z", "end": "2012-06-02T00:00:00Z"}


def row(number: int) -> dict[str, Any]:
    known = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400}
    return {"flight_id": f"x{number}", **known, "scheduled_departure": "2012-06-01T12:00:00+00:00"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/predict/flights", b"{", 400, "JSON"),
        ("POST", "/v1/predict/flights", b"[]", 400, "object"),
        ("POST", "/v1/predict/flights", {"rows": []}, 400, "at least one"),
        ("POST", "/v1/predict/flights", {"rows": [{"flight_id": "x"}]}, 400, "row 0: column carrier is missing"),
        ("POST", "/v1/predict/flights", {"rows": [row(n) for n in range(5_001)]}, 413, "5001 rows are more than 5000"),
        ("POST", "/v1/predict/flights", b'{"rows": "' + b"x" * 6_300_000 + b'"}', 413, "bytes"),
        ("POST", "/v1/predict/nobody", {"rows": [row(1)]}, 404, "nobody"),
        ("GET", "/v1/models/nobody", None, 404, "nobody"),
        ("GET", "/v1/rollouts/nobody", None, 404, "nobody"),
        ("GET", "/v1/monitoring/nobody", None, 404, "nobody"),
        ("GET", "/v1/retraining/nobody", None, 404, "nobody"),
        ("POST", "/v1/retraining/nobody", {"reason": "why not"}, 404, "nobody"),
        ("POST", "/v1/retraining/flights", {"why": "not"}, 400, "reason"),
        ("POST", "/v1/training-sets", {"model": "nobody", **JUNE}, 404, "nobody"),
        ("POST", "/v1/training-sets", {"model": "flights", **JUNE, "start": "never"}, 400, "start"),
        ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=4711", None, 404, "4711"),
        ("GET", "/api/2.0/mlflow/runs/get?run_id=4711", None, 404, "4711"),
        ("POST", "/api/2.0/mlflow/experiments/create", b"no json", 400, "JSON"),
        ("POST", "/v1/models/nobody/transitions", {"version": 1, "alias": "champion"}, 404, "nobody"),
        ("POST", "/get-online-features", {"features": ["no_view:x"], "entities": {"origin": ["JFK"]}}, 0, "no_view"),
        ("POST", "/push", {"push_source_name": "nobody", "rows": [{}]}, 0, "nobody"),
        ("POST", "/v1/projects", {"project": {"name": "x"}, "wheel": "%"}, 400, ""),
        ("GET", "/v1/log/WS%23default%23MODEL%23nobody", None, 404, "nobody"),
        ("DELETE", "/v1/access/tokens/nobody", None, 404, "nobody"),
        ("POST", "/v1/quarantine/nobody/discard", None, 404, "nobody"),
        ("GET", "/v1/nothing", None, 404, "no such endpoint: GET /v1/nothing"),
        ("DELETE", "/v1/status", None, 404, "no such endpoint: DELETE /v1/status"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    desk: Desk, method: str, path: str, body: Any, status: int, said: str
) -> None:
    last = desk.newest()
    sent = {"data": body, "headers": JSON} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    answer = desk.ask(method, path, **sent)
    assert answer.status_code == status or (status == 0 and answer.status_code in (400, 404, 422)), answer.text[:500]
    assert said in answer.text, answer.text[:500]
    assert answer.json(), "an error is JSON for programs, too"
    assert "Traceback" not in answer.text
    assert desk.events(after=last) == []


def test_a_model_without_champion_says_how_it_gets_one(desk: Desk) -> None:
    answer = desk.ask("POST", "/v1/predict/flights", token=desk.other, json={"rows": [row(1)]})
    assert answer.status_code == 409
    assert "has no champion yet: set its alias" in answer.json()["message"]


# --- tokens ------------------------------------------------------------------------------

ANY = "/v1/status"


def test_nobody_comes_in_without_a_valid_token(desk: Desk) -> None:
    forged = desk.token[:-3] + ("abc" if not desk.token.endswith("abc") else "xyz")
    moved = desk.token.replace("mw.default.", "mw.other.")
    for token in ("", "rubbish", "mw.default.x.y", forged, moved, "x" * 5000):
        answer = desk.ask("GET", ANY, token=token)
        assert answer.status_code in (401, 403), token
        assert "message" in answer.json()
    assert desk.ask("GET", ANY).status_code == 200


def test_a_revoked_token_is_refused_at_once(desk: Desk) -> None:
    made = desk.ask("POST", "/v1/access/tokens", json={"actor": "guest", "grants": [{"role": "reader"}]})
    token = made.json()["token"]
    assert desk.ask("GET", ANY, token=token).status_code == 200
    assert desk.ask("DELETE", f"/v1/access/tokens/{token.split('.')[2]}").status_code == 200
    assert desk.ask("GET", ANY, token=token).status_code in (401, 403)
    listed = {one["id"]: one for one in desk.ask("GET", "/v1/access/tokens").json()["tokens"]}
    assert listed[token.split(".")[2]]["revoked"]
    assert token.split(".")[3] not in json.dumps(listed)


def test_a_reader_may_look_and_not_touch(desk: Desk) -> None:
    made = desk.ask("POST", "/v1/access/tokens", json={"actor": "reader", "grants": [{"role": "reader"}]})
    token = made.json()["token"]
    assert desk.ask("GET", "/v1/projects/current", token=token).status_code == 200
    for method, path, body in (
        ("POST", "/api/2.0/mlflow/experiments/create", {"name": "mine"}),
        ("POST", "/api/2.0/mlflow/registered-models/create", {"name": "mine"}),
        ("POST", "/v1/predict/flights", {"rows": [row(1)]}),
        ("POST", "/v1/retraining/flights", {"reason": "I want to"}),
        ("PUT", "/v1/rollouts/flights/shadows", {"versions": []}),
        ("POST", "/v1/access/tokens", {"actor": "reader", "grants": [{"role": "admin"}]}),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/x.txt", {}),
    ):
        answer = desk.ask(method, path, token=token, json=body)
        assert (answer.status_code, "may not" in answer.text) == (403, True), (path, answer.text)
