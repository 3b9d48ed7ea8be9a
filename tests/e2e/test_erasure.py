"""An erasure in the whole stack: afterwards every version of every object, and every item, is searched."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from boto3.dynamodb.types import TypeDeserializer
from features.erasure_cases import decoded, decoded_object, stands

from e2e.desk import Desk, parquet, wait
from modelwright.cli.erase import awaited, lines
from modelwright.features.layout import row_key

pytestmark = pytest.mark.e2e

GONE, STAYS = "zebra-air-7734", "albatross-air-12"
THEN = datetime(1999, 5, 3, 6, tzinfo=UTC)
KEYS = [row_key([f"{GONE}-{n}"]) for n in range(40)]


def departures(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "flight_id": f"{name}-{n}",
            "carrier": name,
            "origin": "EWR",
            "dest": "BOS",
            "scheduled_departure": THEN + timedelta(minutes=7 * n),
            "dep_delay": n % 40,
            "late": n % 3 == 0,
            "cancelled": False,
            "known_at": THEN + timedelta(minutes=7 * n + 30),
        }
        for n in range(first, first + count)
        for name in (GONE, STAYS)
    ]


def contents(desk: Desk) -> Iterator[tuple[str, Any]]:
    """Yield every item of every table, and every version of every object of the buckets that hold data."""
    dynamodb, s3, read = desk.running.client("dynamodb"), desk.running.client("s3"), TypeDeserializer()
    for output in [name for name in desk.running.outputs if name.endswith("TableName")]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=desk.running.outputs[output]):
            for item in page["Items"]:
                plain = {name: read.deserialize(value) for name, value in item.items()}
                plain = {k: bytes(v) if type(v).__name__ == "Binary" else v for k, v in plain.items()}
                yield f"{output} {plain['pk']} {plain['sk']}", [plain["pk"], plain["sk"], decoded(plain)]
    for output in ("LandingBucketName", "LakeBucketName"):
        bucket = desk.running.outputs[output]
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            yield from (
                (f"{output} {marker['Key']} deleted", marker["Key"]) for marker in page.get("DeleteMarkers", ())
            )
            for one in page.get("Versions", ()):
                answer = s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
                content = decoded_object(one["Key"], answer["Body"].read())
                yield f"{output} {one['Key']} {one['VersionId']}", [one["Key"], content]


def found(desk: Desk, name: str, keys: list[int]) -> list[str]:
    return sorted(place for place, content in contents(desk) if stands(content, [name], keys))


def test_an_airline_is_erased_from_everything_and_the_other_is_not(desk: Desk) -> None:
    outcome = desk.land("departures/1999.parquet", parquet(pd.DataFrame(departures(0, 30))), THEN + timedelta(days=1))
    assert outcome.startswith("accepted"), outcome
    rows = [{k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()} for row in departures(30, 2)]
    desk.api(THEN + timedelta(days=1)).post("/push", {"push_source_name": "departures", "rows": rows})
    desk.observer.settle()
    before = found(desk, GONE, KEYS)
    assert {place.split()[0] for place in before} >= {"FeaturesTableName", "LandingBucketName", "LakeBucketName"}
    kept = len(found(desk, STAYS, []))

    api = desk.api(THEN + timedelta(days=1))
    said = api.post("/v1/erasures", {"entity": "airline", "key": [GONE]})
    api = desk.api()
    wait(lambda: api.get(f"/v1/erasures/{said['erasure_id']}")["status"] == "erased", "the receipt", limit_s=60)
    desk.observer.settle()
    answer = awaited(api, said["erasure_id"])
    receipt = answer["receipt"]
    assert receipt["rows"]["landing"] == receipt["rows"]["accepted"] == 30
    assert receipt["rows"]["offline"] == 32
    assert receipt["rows"]["online"] >= 1
    assert any("backups     expire by 1999-06-08" in line for line in lines(answer))
    assert found(desk, GONE, KEYS) == []
    assert len(found(desk, STAYS, [])) >= kept - 2
    assert GONE not in json.dumps(receipt)
    assert not [line for line in desk.outcomes.lines if GONE in json.dumps(line)]


def test_who_cannot_be_erased_is_said(desk: Desk) -> None:
    answer = desk.ask("POST", "/v1/erasures", json={"entity": "passenger", "key": "x"})
    assert (answer.status_code, "airport" in answer.text) == (404, True)
    assert desk.ask("GET", "/v1/erasures/nothing").status_code == 404
    assert desk.ask("POST", "/v1/erasures", json={"entity": "airline", "key": ["a", "b"]}).status_code == 400
