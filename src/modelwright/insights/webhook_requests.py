"""What is sent to a webhook, and who sends it.

The request is MLflow's, which follows Standard Webhooks in all but its headers' names: JSON with entity,
action, time and data; an id of the delivery, by which a receiver tells a repetition; the time of the
attempt, by which it tells a replay; and, where the webhook has a secret, ``v1,`` and the Base64 of
HMAC-SHA256 over ``<delivery id>.<timestamp>.<body>``. A receiver that checks MLflow's signatures checks ours.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

DELIVERY_ID = "X-MLflow-Delivery-Id"
TIMESTAMP = "X-MLflow-Timestamp"
SIGNATURE = "X-MLflow-Signature"
_VERSION = "v1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Attributes:
        status: of the answer; None when there was none.
        text: the beginning of what it said.
        fault: why there was no answer.
    """

    status: int | None = None
    text: str = ""
    fault: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the endpoint took it: a redirect is not followed and is no acceptance."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """One sentence about it."""
        return self.fault or f"answered {self.status}" + (f": {self.text}" if self.text else "")


class Outbound(Protocol):
    """Sends requests to the outside, never to where it must not (``addresses``)."""

    def check(self, url: str) -> None:
        """Raise ``InvalidInput`` unless something may be sent there now."""
        ...

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Check the URL again, send a body there once, and say what came of it; nothing is raised."""
        ...


def body_of(name: str, data: Mapping[str, Any], at: datetime, workspace: str) -> bytes:
    """Return the body of a delivery: the same event gives the same bytes."""
    entity, _, action = name.partition(".")
    said = {"entity": entity, "action": action, "timestamp": at.isoformat(), "data": data, "workspace": workspace}
    return json.dumps(said).encode()


def headers_of(delivery_id: str, body: bytes, secret: str, at: datetime) -> dict[str, str]:
    """Return the headers of one attempt.

    Args:
        delivery_id: the same in each attempt.
        body: what is sent.
        secret: the webhook's; empty for no signature.
        at: when the attempt is made.
    """
    timestamp = str(int(at.timestamp()))
    headers = {"Content-Type": "application/json", DELIVERY_ID: delivery_id, TIMESTAMP: timestamp}
    return {**headers, SIGNATURE: signature(secret, delivery_id, timestamp, body)} if secret else headers


def signature(secret: str, delivery_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a delivery."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"
