"""Publishes new log items of the table to the bus; reports the ones it was told to fail."""

import json
import os
from typing import Any

import boto3


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    failures = []
    for record in event["Records"]:
        item = record["dynamodb"]["NewImage"]
        if item["sk"]["S"].startswith("poison"):
            failures.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
            continue
        boto3.client("events").put_events(
            Entries=[
                {
                    "EventBusName": os.environ["BUS"],
                    "Source": "modelwright",
                    "DetailType": "Published",
                    "Detail": json.dumps({"id": item["sk"]["S"]}),
                }
            ]
        )
    return {"batchItemFailures": failures}
