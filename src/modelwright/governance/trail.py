"""Items of the log as records that tools for audit trails read: the fields of AWS CloudTrail, as far as we have them.

``eventTime`` is the wall-clock time of writing, which an item's id tells; ``domainTime`` is the time that the event is
about, which is another only where a virtual time is allowed. Addresses and user agents are not stored.
"""

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, Literal

from modelwright.events import SOURCE
from modelwright.log import canonical, time_of
from modelwright.storage import Item

Format = Literal["csv", "cloudtrail"]
FILES: dict[Format, str] = {"csv": "log.csv", "cloudtrail": "cloudtrail.json"}
_ERRORS = {"AccessRefused": "AccessDenied", "TransitionRefused": "TransitionRefused"}
_COLUMNS = (
    "eventTime", "eventID", "eventName", "eventSource", "userIdentity", "requestID", "resource", "requestParameters",
    "recipientAccountId", "readOnly", "errorCode", "domainTime", "sequence", "hash",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BATCH = 1000


def written(item: Item) -> datetime:
    """Return when an item was written."""
    return time_of(json.loads(item["envelope"])["id"])


def record(item: Item) -> dict[str, Any]:
    """Return an item with CloudTrail's names."""
    envelope = json.loads(item["envelope"])
    error = _ERRORS.get(envelope["type"])
    return {
        "eventVersion": str(envelope["schema_version"]),
        "eventTime": _time(time_of(envelope["id"])),
        "eventID": envelope["id"],
        "eventName": envelope["type"],
        "eventSource": SOURCE,
        "userIdentity": {"type": "Pseudonym", "principalId": envelope["actor"]},
        "requestID": envelope["correlation_id"],
        "resources": [{"resourceName": envelope["stream"], "type": envelope["stream"].split("#")[2]}],
        "requestParameters": envelope["data"],
        "recipientAccountId": envelope["workspace"],
        "readOnly": False,
        **({"errorCode": error} if error else {}),
        "additionalEventData": {
            "domainTime": envelope["at"], "sequence": envelope["sequence"], "hash": item["hash"]
        },
    }  # fmt: skip


class Trail:
    """Collects items in any order on disk, and gives them back by the time of writing.

    Args:
        start: only items written from here on.
        end: and before this.
    """

    def __init__(self, start: datetime, end: datetime) -> None:
        self._start, self._end = start, end
        self._rows = sqlite3.connect("")  # a file of its own, which goes with the connection
        self._rows.execute("create table items (id text primary key, item text) without rowid")
        self.items = 0

    def take(self, item: Item) -> None:
        """Keep an item, if it is of the period."""
        if self._start <= written(item) < self._end:
            row = (json.loads(item["envelope"])["id"], canonical(item).decode())
            self._rows.execute("insert or replace into items values (?, ?)", row)
            self.items += 1

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records by time."""
        with closing(self._rows.execute("select item from items order by id")) as found:
            while rows := found.fetchmany(_BATCH):
                yield from (record(json.loads(text)) for (text,) in rows)

    def close(self) -> None:
        """Forget everything."""
        self._rows.close()


def text_of(kind: Format, records: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield a file piece by piece."""
    pieces: dict[Format, Callable[[Iterator[dict[str, Any]]], Iterator[str]]]
    pieces = {"csv": _csv, "cloudtrail": _cloudtrail}
    return pieces[kind](records)


def _cloudtrail(records: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield '{"Records":['
    for number, each in enumerate(records):
        yield (",\n" if number else "\n") + json.dumps(each, ensure_ascii=False)
    yield "\n]}\n"


def _csv(records: Iterator[dict[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    rows.writerow(_COLUMNS)
    for each in records:
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        rows.writerow([_cell(value) for value in _row(each)])
    yield buffer.getvalue()


def _row(each: dict[str, Any]) -> tuple[Any, ...]:
    more = each["additionalEventData"]
    return (
        each["eventTime"], each["eventID"], each["eventName"], each["eventSource"], each["userIdentity"]["principalId"],
        each["requestID"], each["resources"][0]["resourceName"],
        json.dumps(each["requestParameters"], sort_keys=True, ensure_ascii=False), each["recipientAccountId"], "false",
        each.get("errorCode", ""), more["domainTime"], more["sequence"], more["hash"],
    )  # fmt: skip


def _cell(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
