"""Alerts to an SNS topic."""

from functools import cached_property
from typing import Any


class SnsTopic:
    """``Topic`` over SNS.

    Args:
        arn: the topic.
    """

    def __init__(self, arn: str) -> None:
        self._arn = arn

    @cached_property
    def client(self) -> Any:
        """The client, made when first needed."""
        import boto3

        return boto3.client("sns")

    def send(self, severity: str, subject: str, text: str) -> None:
        """See ``Topic``; the subject is cut to what SNS takes, 100 characters of ASCII."""
        title = f"[{severity}] {subject}"[:100].encode("ascii", "replace").decode()
        self.client.publish(TopicArn=self._arn, Subject=title, Message=text)
