"""Takes log items to EventBridge, and looks at what it refused."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from modelwright.events import SOURCE
from modelwright.log import LogItem

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

ENTRIES = 10
CALL_BYTES = 900_000
"""Below EventBridge's limit of 1 MB for all entries of one call, names and sources included."""


class EventBridgeBus:
    """Publishes to one bus.

    Args:
        client: a boto3 EventBridge client.
        bus: the bus's name.
    """

    def __init__(self, client: "EventBridgeClient", bus: str) -> None:
        self._client = client
        self._bus = bus

    def publish(self, items: Sequence[LogItem]) -> frozenset[str]:
        """Put items on the bus and return the ids of the events that it took.

        A call that fails as a whole, or entries that ``FailedEntryCount`` counts, are left out: the
        caller keeps them for later.
        """
        taken: set[str] = set()
        for chunk in _chunks([(item.envelope.id, self._entry(item)) for item in items]):
            try:
                answer = self._client.put_events(Entries=[entry for _, entry in chunk])
            except (ClientError, BotoCoreError):
                continue
            results = answer["Entries"] if answer["FailedEntryCount"] else [{}] * len(chunk)
            taken.update(i for (i, _), result in zip(chunk, results, strict=True) if "ErrorCode" not in result)
        return frozenset(taken)

    def _entry(self, item: LogItem) -> "PutEventsRequestEntryTypeDef":
        detail = item.envelope.model_dump(mode="json")
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": item.envelope.type,
            "Detail": json.dumps(detail, ensure_ascii=False),
        }


def _chunks(
    entries: "Sequence[tuple[str, PutEventsRequestEntryTypeDef]]",
) -> "Iterator[list[tuple[str, PutEventsRequestEntryTypeDef]]]":
    """Yield what fits into one call each; an entry that is too large alone hinders no other."""
    chunk: list[tuple[str, PutEventsRequestEntryTypeDef]] = []
    size = 0
    for identity, entry in entries:
        bytes_more = len(entry["Detail"].encode())
        if chunk and (len(chunk) == ENTRIES or size + bytes_more > CALL_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((identity, entry))
        size += bytes_more
    if chunk:
        yield chunk
