"""Tells what it was asked, and writes to its table and bus when asked to."""

import json
import os
from typing import Any

import boto3


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    path = event["rawPath"]
    answer: dict[str, Any] = {"path": path, "event": event if path != "/big" else None}
    print(json.dumps({"level": "INFO", "message": "echoed", "correlation_id": "c-1"}))  # noqa: T201
    if path == "/put":
        put(json.loads(event["body"]))
    if path == "/presign":
        answer["url"] = boto3.client("s3").generate_presigned_url(
            "get_object", Params={"Bucket": os.environ["LANDING"], "Key": "hello.txt"}
        )
    if path == "/forbidden":
        boto3.client("dynamodb").scan(TableName=os.environ["TABLE"])
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)}


def put(item: dict[str, str]) -> None:
    boto3.resource("dynamodb").Table(os.environ["TABLE"]).put_item(Item=item)
