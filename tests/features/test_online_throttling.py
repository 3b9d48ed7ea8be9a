"""DynamoDB that throttles: over HTTP, beneath botocore. A key that was not answered is never taken for absent."""

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config

from features.online_cases import Shop, profile, sale
from modelwright.adapters.dynamodb import BATCH_GET_LIMIT, DynamoTables
from modelwright.adapters.memory import MemoryTables
from modelwright.storage import Item, Key, TableName

SIZE = 300


class Throttling:
    """Answers BatchGetItem out of memory, but leaves some of the keys of each call unprocessed.

    Args:
        items: what is stored.
        share: of the keys of a call.
    """

    def __init__(self, items: MemoryTables, share: float) -> None:
        self._items, self._share = items, share
        self._random = random.Random(7)
        self.asked = self.refused = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a BatchGetItem."""
        ((table, asked),) = request["RequestItems"].items()
        assert 0 < len(asked["Keys"]) <= BATCH_GET_LIMIT
        count = round(self._share * len(asked["Keys"])) or (self._share > 0 and self._random.random() < self._share)
        refused = self._random.sample(asked["Keys"], int(count))
        self.asked, self.refused = self.asked + len(asked["Keys"]), self.refused + len(refused)
        names = asked.get("ExpressionAttributeNames", {}).values()
        keys = [Key(key["pk"]["S"], key["sk"]["S"]) for key in asked["Keys"] if key not in refused]
        found = MemoryTables.batch_get(self._items, "features", keys, tuple(names)).values()
        left = {table: {**asked, "Keys": refused}} if refused else {}
        return {"Responses": {table: [_typed(item) for item in found]}, "UnprocessedKeys": left}


def _typed(item: Item) -> dict[str, Any]:
    return {n: {"S": v} if isinstance(v, str) else {"N": str(v)} for n, v in item.items() if isinstance(v, str | int)}


@contextmanager
def served(throttling: Throttling) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.headers["X-Amz-Target"].endswith(".BatchGetItem")
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps(throttling.answer(request)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Mixed(MemoryTables):
    """Memory, whose batches of features come over HTTP once there is an address."""

    remote: DynamoTables | None = None

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        if self.remote is not None and table == "features":
            return self.remote.batch_get(table, keys, attributes)
        return super().batch_get(table, keys, attributes)


def filled() -> Shop:
    tables: Any = Mixed()
    shop = Shop(tables=tables)
    shop.push("profiles", [profile(n, age=n % 100, score=n / 7) for n in range(0, SIZE, 2)])
    shop.push("sales", [sale(f"s{n}", n, amount=n / 3) for n in range(0, SIZE, 3)])
    return shop


def connected(url: str) -> DynamoTables:
    client: Any = boto3.client(
        "dynamodb", endpoint_url=url, region_name="us-east-1", aws_access_key_id="testing",
        aws_secret_access_key="testing", config=Config(retries={"mode": "standard", "max_attempts": 2}),
    )  # fmt: skip
    return DynamoTables(client, {"features": "features"})


def remotely(shop: Shop, url: str) -> None:
    tables: Any = shop.tables
    tables.remote = connected(url)


BODY = {
    "features": ["profile:age", "profile:score", "visit:amount"],
    "entities": {"customer": list(range(SIZE)), "shop": ["A"] * SIZE},
}


def test_with_a_tenth_of_the_keys_throttled_nothing_is_absent_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    shop = filled()
    expected = shop.ok("/get-online-features", BODY)
    throttling = Throttling(shop.tables, 0.1)
    with served(throttling) as url:
        remotely(shop, url)
        for _ in range(4):
            assert shop.ok("/get-online-features", BODY) == expected
    assert throttling.refused > 4 * 2 * SIZE / 10
    statuses = [status for result in expected["results"] for status in result["statuses"]]
    assert {"PRESENT", "NOT_FOUND"} == set(statuses), "some are there and some are not, and both are told apart"


def test_keys_that_stay_throttled_are_a_503_and_not_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    shop = filled()
    with served(Throttling(shop.tables, 1.0)) as url:
        remotely(shop, url)
        status, error = shop.post("/get-online-features", BODY)
    assert (status, error["class"]) == (503, "ConnectionError")
    assert "throttled" in error["message"]
    assert len(waits) >= 7, "it was asked again, later and later"
