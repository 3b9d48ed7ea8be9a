"""Notes each event in the table; fails on demand."""

import json
import os
import time
from importlib.metadata import entry_points
from typing import Any

import boto3


def handler(event: dict[str, Any], context: Any) -> None:
    kind = event.get("detail-type", "direct")
    detail = event.get("detail", {})
    if detail.get("fail"):
        raise ValueError("told to fail")
    time.sleep(detail.get("sleep_s", 0))
    boto3.resource("dynamodb").Table(os.environ["TABLE"]).put_item(
        Item={
            "pk": f"SEEN#{kind}",
            "sk": str(detail.get("id", event.get("id"))),
            "pid": os.getpid(),
            "groups": len(entry_points(group="modelwright.test")),
            "event": json.dumps(event),
        }
    )
