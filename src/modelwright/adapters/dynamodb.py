"""``Tables`` on DynamoDB.

Every single write is a ``PutItem`` or ``DeleteItem`` with a condition, several are one
``TransactWriteItems``; reads of the table are consistent, reads of an index are not. Numbers
come back as integers. ``UnprocessedKeys`` are retried with full jitter and never reported as
absent.
"""

import json
import random
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from modelwright.adapters.batchget import ShortWay, quicken
from modelwright.errors import ConditionFailed, InvalidInput, Unavailable
from modelwright.storage import (
    Absent,
    Anything,
    Check,
    Condition,
    Exists,
    Is,
    Item,
    Key,
    Page,
    Put,
    Raised,
    TableName,
    Update,
    Write,
    admissible,
)

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_GET_LIMIT = 100
BATCH_WRITE_LIMIT = 25
_ATTEMPTS = 8
_BASE_S = 0.05
_CAP_S = 2.0
_THREADS = 8
_HELD = {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
_THROTTLED = {
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
}
_NO_CURSOR = "the page token is not one of ours"

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def from_stream(image: Mapping[str, Any]) -> Item:
    """Return the item in a stream record's ``NewImage`` (whose binaries are base64, which no log item has)."""
    return _decode(image)


class DynamoTables:
    """``Tables`` over one DynamoDB table per capability.

    Args:
        client: a boto3 DynamoDB client.
        names: the deployed table name of each table.
        credentials: the client's, by which batches are read the short way.
    """

    def __init__(
        self, client: "DynamoDBClient", names: Mapping[TableName, str], credentials: "Credentials | None" = None
    ) -> None:
        self._client = client
        self._names = names
        self._short_way = ShortWay(client, credentials) if credentials else None
        quicken(client)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, thread_name_prefix="dynamodb")

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        where = _encode(Key(*key).checked()._asdict())
        answer = self._client.get_item(TableName=self._name(table), Key=where, ConsistentRead=True)
        item = answer.get("Item")
        return _decode(item) if item else None

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``; over 100 keys the calls run in parallel."""
        wanted = [key if _short(key) else Key(*key).checked() for key in dict.fromkeys(keys)]
        chunks = [wanted[n : n + BATCH_GET_LIMIT] for n in range(0, len(wanted), BATCH_GET_LIMIT)]
        if len(chunks) <= 1:
            rows = [self._batch_get(table, chunk, attributes) for chunk in chunks]
        else:
            rows = list(self._pool.map(lambda chunk: self._batch_get(table, chunk, attributes), chunks))
        return {Key(item["pk"], item["sk"]): item for row in rows for item in row}

    def query(
        self,
        table: TableName,
        pk: str,
        *,
        prefix: str = "",
        start: str = "",
        end: str = "",
        index: str = "",
        reverse: bool = False,
        limit: int = 0,
        cursor: str = "",
    ) -> Page:
        """See ``Tables``."""
        Key(pk, "any").checked()
        part, sort = (f"{index}_pk", f"{index}_sk") if index else ("pk", "sk")
        condition, values = "#p = :p", {":p": pk}
        if prefix:
            condition, values = f"{condition} AND begins_with(#s, :s)", {**values, ":s": prefix}
        elif start and end:
            condition, values = f"{condition} AND #s BETWEEN :s AND :e", {**values, ":s": start, ":e": end}
        elif start:
            condition, values = f"{condition} AND #s >= :s", {**values, ":s": start}
        request: dict[str, Any] = {
            "TableName": self._name(table),
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#p": part} | ({"#s": sort} if "#s" in condition else {}),
            "ExpressionAttributeValues": _encode(values),
            "ScanIndexForward": not reverse,
        }
        request |= {"IndexName": index} if index else {"ConsistentRead": True}
        request |= {"Limit": limit} if limit else {}
        request |= {"ExclusiveStartKey": _from_cursor(cursor)} if cursor else {}
        try:
            answer = self._client.query(**request)
        except ClientError as error:
            if cursor and error.response["Error"]["Code"] == "ValidationException":
                raise InvalidInput(_NO_CURSOR) from error
            raise
        return Page(tuple(_decode(i) for i in answer["Items"]), _to_cursor(answer.get("LastEvaluatedKey")))

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        admissible(writes)
        try:
            if len(writes) == 1 and not isinstance(writes[0], Check):
                self._write_one(writes[0])
            elif writes:
                self._client.transact_write_items(TransactItems=cast(Any, [self._action(w) for w in writes]))
        except ClientError as error:
            raise _translated(error, len(writes)) from error

    def raise_entries(
        self,
        table: TableName,
        key: Key,
        attribute: str,
        entries: Mapping[str, bytes],
        *,
        guard: Is,
        counter: str,
    ) -> Raised:
        """See ``Tables``."""
        names = {f"#e{n}": name for n, name in enumerate(entries)}
        smaller = (f"(attribute_not_exists(#m.#e{n}) OR #m.#e{n} < :e{n})" for n in range(len(entries)))
        request: dict[str, Any] = {
            "TableName": self._name(table),
            "Key": _encode(Key(*key).checked()._asdict()),
            "UpdateExpression": "SET #n = #n + :one, " + ", ".join(f"#m.#e{n} = :e{n}" for n in range(len(entries))),
            "ConditionExpression": " AND ".join(("#g = :g", *smaller)),
            "ExpressionAttributeNames": {"#m": attribute, "#n": counter, "#g": guard.attribute, **names},
            "ExpressionAttributeValues": _encode(
                {":one": 1, ":g": guard.value, **{f":e{n}": entry for n, entry in enumerate(entries.values())}}
            ),
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            answer = self._client.update_item(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise _translated(error, 1) from error
            held = cast(dict[str, Any], error.response).get("Item")
            return Raised(done=False, item=_decode(held) if held else None)
        return Raised(done=True, item=_decode(answer["Attributes"]))

    def write_many(self, table: TableName, items: Sequence[Item]) -> None:
        """See ``Tables``."""
        self._batch_write(table, [{"PutRequest": {"Item": _encode(item)}} for item in items])

    def delete_many(self, table: TableName, keys: Sequence[Key]) -> None:
        """See ``Tables``."""
        wanted = [Key(*key).checked() for key in dict.fromkeys(keys)]
        self._batch_write(table, [{"DeleteRequest": {"Key": _encode(key._asdict())}} for key in wanted])

    def _batch_write(self, table: TableName, requests: Sequence[dict[str, Any]]) -> None:
        name = self._name(table)
        for first in range(0, len(requests), BATCH_WRITE_LIMIT):
            request: dict[str, Any] = {name: list(requests[first : first + BATCH_WRITE_LIMIT])}
            for attempt in range(_ATTEMPTS):
                request = cast(
                    dict[str, Any], self._client.batch_write_item(RequestItems=request).get("UnprocessedItems")
                )
                if not request:
                    break
                _wait(attempt)
            else:
                raise Unavailable(f"{name} did not take {len(request[name])} items: it is throttled")

    def _batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str]) -> list[Item]:
        name = self._name(table)
        what: dict[str, Any] = {"ConsistentRead": True, "Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys]}
        if attributes:
            names = {f"#a{n}": a for n, a in enumerate(dict.fromkeys(("pk", "sk", *attributes)))}
            what |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        items: list[Item] = []
        request: Any = {name: what}
        for attempt in range(_ATTEMPTS):
            answer = self._asked(request)
            items.extend(_plainly(item) for item in answer["Responses"].get(name, []))
            request = answer.get("UnprocessedKeys")
            if not request:
                return items
            _wait(attempt)
        raise Unavailable(f"{name} did not answer for {len(request[name]['Keys'])} keys: it is throttled")

    def _asked(self, request: Any) -> Any:
        answer = self._short_way.ask(request) if self._short_way else None
        try:
            return answer or self._client.batch_get_item(RequestItems=request)
        except ClientError as error:
            raise _translated(error, 0) from error

    def _write_one(self, write: Write) -> None:
        ((operation, request),) = self._action(write).items()
        if operation == "Put":
            self._client.put_item(**request)
        elif operation == "Update":
            self._client.update_item(**request)
        else:
            self._client.delete_item(**request)

    def _action(self, write: Write) -> dict[str, dict[str, Any]]:
        request: dict[str, Any] = {"TableName": self._name(write.table), **_expression(write.condition)}
        if isinstance(write, Put):
            return {"Put": {**request, "Item": _encode(write.item)}}
        request["Key"] = _encode(write.key._asdict())
        if isinstance(write, Update):
            return {"Update": _assignment(request, write.attributes)}
        return {"ConditionCheck" if isinstance(write, Check) else "Delete": request}

    def _name(self, table: TableName) -> str:
        if table not in self._names:
            raise InvalidInput(f"this function was given no table for {table}: it may not touch it")
        return self._names[table]


def _expression(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, Anything):
        return {}
    if isinstance(condition, Absent):
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    if isinstance(condition, Exists):
        return {"ConditionExpression": "attribute_exists(pk)"}
    assert isinstance(condition, Is)
    return {
        "ConditionExpression": "#c = :c",
        "ExpressionAttributeNames": {"#c": condition.attribute},
        "ExpressionAttributeValues": _encode({":c": condition.value}),
    }


def _assignment(request: dict[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    names = {f"#u{n}": name for n, name in enumerate(attributes)}
    values = {f":u{n}": value for n, value in enumerate(attributes.values())}
    return {
        **request,
        "UpdateExpression": "SET " + ", ".join(f"#u{n} = :u{n}" for n in range(len(attributes))),
        "ExpressionAttributeNames": {**request.get("ExpressionAttributeNames", {}), **names},
        "ExpressionAttributeValues": {**request.get("ExpressionAttributeValues", {}), **_encode(values)},
    }


def _translated(error: ClientError, writes: int) -> Exception:
    code = error.response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return ConditionFailed("the item is not as expected", (0,))
    if code == "TransactionCanceledException":
        reasons = cast(list[dict[str, Any]], error.response.get("CancellationReasons", []))
        failed = tuple(n for n, r in enumerate(reasons) if r.get("Code") == "ConditionalCheckFailed")
        if failed:
            return ConditionFailed(f"{len(failed)} of {writes} conditions do not hold", failed)
        code = next((r["Code"] for r in reasons if r.get("Code") in _THROTTLED | _HELD), code)
    if code in _HELD:
        return ConditionFailed("another transaction holds one of the items", ())
    if code in _THROTTLED:
        return Unavailable("the table is throttled")
    return error


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, min(_CAP_S, _BASE_S * 2**attempt)))  # noqa: S311 - jitter is no secret


def _encode(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serializer.serialize(value) for name, value in item.items()}


def _decode(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(_deserializer.deserialize(cast(Any, value))) for name, value in item.items()}


def _short(key: Key) -> bool:
    """Say whether a key surely is one, without its bytes."""
    return 0 < len(key[0]) < 512 and 0 < len(key[1]) < 256


def _plainly(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``_decode`` does, quickly for text, which is nearly all that is read in batches."""
    return {name: value["S"] if "S" in value else _of_kind(value) for name, value in item.items()}


def _of_kind(value: Mapping[str, Any]) -> Any:
    if "N" in value and value["N"].lstrip("-").isdecimal():
        return int(value["N"])
    return value["B"] if "B" in value else _plain(_deserializer.deserialize(cast(Any, value)))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, Binary):
        return bytes(cast(Any, value).value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _to_cursor(key: Mapping[str, Any] | None) -> str:
    return urlsafe_b64encode(json.dumps(_decode(key)).encode()).decode() if key else ""


def _from_cursor(cursor: str) -> dict[str, Any]:
    try:
        key = json.loads(urlsafe_b64decode(cursor))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(_NO_CURSOR) from error
    if not isinstance(key, dict) or not all(isinstance(key.get(part), str) for part in ("pk", "sk", *key)):
        raise InvalidInput(_NO_CURSOR)
    return _encode(key)
