"""DynamoDB's request units, reckoned on the wire: a second opinion on ``adapters.metering``.

From "Read and write operations", "Item sizes and formats" and "Amazon DynamoDB Transactions" of the developer guide:
a write counts the larger of the item before and after it, a deletion the item that is deleted, a refused write the
item that refused it; a transaction twice; each index entry once. A consistent read counts 4 KB
steps, of each item alone, or of a query as a whole; what is not there counts as one step. What is projected is not
smaller. The items before and after are looked up past the wire.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from support.cloud import Wire

_WRITE, _READ = 1024, 4096
_deserializer = TypeDeserializer()


@dataclass
class Units:
    """Request units.

    Attributes:
        missing: those of ``reads`` that are for items which are not there.
        operations: the calls.
    """

    writes: int = 0
    reads: int = 0
    missing: int = 0
    operations: list[str] = field(default_factory=list)


@dataclass
class Auditor(Wire):
    """A wire that reckons units.

    Attributes:
        client: of a session that no wire is on.
        reckoned: since it was last taken.
    """

    client: Any = None
    reckoned: Units = field(default_factory=Units)

    def take(self) -> Units:
        """Return what was reckoned and begin anew."""
        found, self.reckoned = self.reckoned, Units()
        return found

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request and reckon what it costs."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        target = _text(headers.get("x-amz-target", ""))
        if not target.startswith("DynamoDB"):
            return super().send(request)
        operation, asked = target.partition(".")[2], json.loads(_text(request.body))
        self.reckoned.operations.append(operation)
        writes = _writes(operation, asked)
        before = [self._item(table, key) for table, key, _ in writes]
        response = super().send(request)
        after = [self._item(table, key) for table, key, _ in writes]
        factor = 2 if operation == "TransactWriteItems" else 1
        for (table, _, kind), old, new in zip(writes, before, after, strict=True):
            self.reckoned.writes += factor * _steps(max(_size(old), _size(new)), _WRITE)
            if table.endswith("-log") and kind == "Put":
                self.reckoned.writes += _steps(_size(new), _WRITE)
        self.reckoned.reads += self._reads(operation, asked, json.loads(response.content))
        return response

    def _reads(self, operation: str, asked: Mapping[str, Any], answer: Mapping[str, Any]) -> int:
        if operation == "GetItem":
            return _steps(_size(answer.get("Item")), _READ)
        if operation == "Query":
            steps = _steps(sum(map(_size, answer["Items"])), _READ)
            return steps if asked.get("ConsistentRead") else -(-steps // 2)
        if operation == "BatchGetItem":
            found = [self._item(name, key) for name, what in asked["RequestItems"].items() for key in what["Keys"]]
            self.reckoned.missing += found.count(None)
            return sum(_steps(_size(item), _READ) for item in found)
        return 0

    def _item(self, table: str, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        plain = {name: _deserializer.deserialize(value) for name, value in key.items()}
        wanted = {name: {"S": value} for name, value in plain.items()}
        answer = self.client.get_item(TableName=table, Key=wanted, ConsistentRead=True)
        item: Mapping[str, Any] | None = answer.get("Item")
        return item


def _writes(operation: str, asked: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    """Return the table and key of each item that is written, and how."""
    if operation in ("PutItem", "UpdateItem", "DeleteItem"):
        kind = operation.removesuffix("Item")
        return [(asked["TableName"], _key(asked), kind)]
    if operation == "TransactWriteItems":
        actions = [(kind, action) for each in asked["TransactItems"] for kind, action in each.items()]
        return [(action["TableName"], _key(action), kind) for kind, action in actions]
    if operation == "BatchWriteItem":
        found = []
        for table, requests in asked["RequestItems"].items():
            for request in requests:
                ((kind, action),) = request.items()
                found.append((table, _key(action), kind.removesuffix("Request")))
        return found
    return []


def _key(action: Mapping[str, Any]) -> Mapping[str, Any]:
    whole: Mapping[str, Any] = action.get("Key") or action["Item"]
    return {name: whole[name] for name in ("pk", "sk")}


def _size(item: Mapping[str, Any] | None) -> int:
    return sum(len(name.encode()) + _of(value) for name, value in (item or {}).items())


def _of(value: Mapping[str, Any]) -> int:
    """Return the bytes of a value in DynamoDB's JSON, or as boto3 gives it."""
    ((kind, said),) = value.items()
    if kind == "S":
        return len(said.encode())
    if kind == "N":
        return -(-len(said.lstrip("-").rstrip("0") or "0") // 2) + 1
    if kind == "B":
        return len(said if isinstance(said, bytes) else b64decode(said))
    if kind == "M":
        return 3 + sum(len(name.encode()) + 1 + _of(part) for name, part in said.items())
    if kind == "L":
        return 3 + sum(1 + _of(part) for part in said)
    return 1


def _steps(size: int, step: int) -> int:
    return max(1, -(-size // step))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
