"""Takes log items to EventBridge, and looks at what it refused."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from modelwright.events import SOURCE
from modelwright.log import LogItem

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

ENTRIES = 10


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
        for first in range(0, len(items), ENTRIES):
            chunk = items[first : first + ENTRIES]
            try:
                answer = self._client.put_events(Entries=[self._entry(item) for item in chunk])
            except (ClientError, BotoCoreError):
                continue
            results = answer["Entries"] if answer["FailedEntryCount"] else [{}] * len(chunk)
            taken.update(i.envelope.id for i, r in zip(chunk, results, strict=True) if "ErrorCode" not in r)
        return frozenset(taken)

    def _entry(self, item: LogItem) -> "PutEventsRequestEntryTypeDef":
        detail = item.envelope.model_dump(mode="json")
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": item.envelope.type,
            "Detail": json.dumps(detail),
        }
