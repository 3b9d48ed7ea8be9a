"""Notifiers: SNS, Slack, any webhook, and mail by SES. Each sends one notice once, or says why it was not taken."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from modelwright.errors import InvalidInput, Unavailable
from modelwright.insights.notices import Notice
from modelwright.insights.webhook_requests import Outbound, headers_of

TOPIC = "MODELWRIGHT_ALERT_TOPIC"
SENDER = "MODELWRIGHT_ALERT_SENDER"
_SUBJECT = 100
_SLACK_TITLE, _SLACK_TEXT = 300, 2600
"""Of one block of text Slack takes 3000 characters, with its own signs written out."""
_TORN = re.compile(r"&[a-z]{0,3}$")
_COLOURS = {"critical": ":red_circle:", "warning": ":large_yellow_circle:", "info": ":white_circle:"}


class SnsNotifier:
    """The stack's own topic, to which people subscribe by mail, SMS, or whatever SNS has.

    Args:
        environment: the function's variables.
        outbound: not needed.
        client: instead of one made when first needed.
    """

    options: Mapping[str, bool] = {}
    secrets: frozenset[str] = frozenset()

    def __init__(self, environment: Mapping[str, str], outbound: Outbound | None = None, client: Any = None) -> None:
        self._arn = environment.get(TOPIC, "")
        self._given = client

    @cached_property
    def _client(self) -> Any:
        import boto3

        return self._given or boto3.client("sns")

    def check(self, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        if not self._arn:
            raise InvalidInput("this stack has no alert topic: deploy it with AlertTopicArn")

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """See ``Notifier``; the title is cut to what SNS takes, 100 characters of ASCII."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._arn:
            raise Unavailable("this stack has no alert topic: deploy it with AlertTopicArn")
        title = notice.title[:_SUBJECT].encode("ascii", "replace").decode()
        try:
            self._client.publish(TopicArn=self._arn, Subject=title, Message=_letter(notice))
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"SNS did not take it: {error}") from error


class SlackNotifier:
    """A channel of Slack, by the URL of an incoming webhook.

    Args:
        environment: not needed.
        outbound: sends requests.
    """

    options: Mapping[str, bool] = {"url": True}
    secrets: frozenset[str] = frozenset({"url"})

    def __init__(self, environment: Mapping[str, str], outbound: Outbound) -> None:
        self._outbound = outbound

    def check(self, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        self._outbound.check(options["url"])

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """See ``Notifier``; Slack's own signs (&, <, >) in texts stay texts."""
        mark = ":white_check_mark:" if notice.state == "closed" else _COLOURS[notice.severity]
        title, text = _slack(notice.title, _SLACK_TITLE), _slack(notice.text, _SLACK_TEXT)
        told = f"{notice.workspace} | {notice.at:%Y-%m-%d %H:%M:%S} UTC | incident {notice.incident_id}"
        body = {
            "text": title,
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": f"{mark} *{title}*\n{text}"}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": _slack(told, _SLACK_TITLE)}]},
            ],
        }
        _post(self._outbound, options["url"], json.dumps(body).encode(), {"Content-Type": "application/json"})


class WebhookNotifier:
    """Any endpoint that takes JSON; with a secret signed as webhooks are (``insights.webhook_requests``).

    Args:
        environment: not needed.
        outbound: sends requests.
    """

    options: Mapping[str, bool] = {"url": True, "secret": False}
    secrets: frozenset[str] = frozenset({"url", "secret"})

    def __init__(self, environment: Mapping[str, str], outbound: Outbound) -> None:
        self._outbound = outbound

    def check(self, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        self._outbound.check(options["url"])

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        body = json.dumps(
            {
                "type": f"alert.{notice.state}",
                "workspace": notice.workspace,
                "incident_id": notice.incident_id,
                "severity": notice.severity,
                "subject": notice.subject,
                "text": notice.text,
                "at": notice.at.isoformat(),
            }
        ).encode()
        identity = f"{notice.incident_id}-{notice.state}"
        headers = headers_of(identity, body, options.get("secret", ""), datetime.now(UTC))
        _post(self._outbound, options["url"], body, headers)


class EmailNotifier:
    """Mail by SES, from the address with which the stack was deployed (``AlertSender``).

    Args:
        environment: the function's variables.
        outbound: not needed.
        client: instead of one made when first needed.
    """

    options: Mapping[str, bool] = {"to": True}
    secrets: frozenset[str] = frozenset()

    def __init__(self, environment: Mapping[str, str], outbound: Outbound | None = None, client: Any = None) -> None:
        self._sender = environment.get(SENDER, "")
        self._given = client

    @cached_property
    def _client(self) -> Any:
        import boto3

        return self._given or boto3.client("sesv2")

    def check(self, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        if not self._sender:
            raise InvalidInput("this stack sends no mail: deploy it with AlertSender, an address that SES has verified")
        if bad := [address for address in _addresses(options) if address.count("@") != 1 or " " in address]:
            raise InvalidInput(f"to: {len(bad)} of the addresses are none: write a@example.com, b@example.com")

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._sender:
            raise Unavailable("this stack sends no mail: deploy it with AlertSender")
        content = {"Subject": {"Data": notice.title[:_SUBJECT]}, "Body": {"Text": {"Data": _letter(notice)}}}
        try:
            self._client.send_email(
                FromEmailAddress=self._sender,
                Destination={"ToAddresses": _addresses(options)},
                Content={"Simple": content},
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"SES did not take it: {error}") from error


def _addresses(options: Mapping[str, str]) -> list[str]:
    return [address.strip() for address in options["to"].split(",") if address.strip()]


def _letter(notice: Notice) -> str:
    """Return a text that says itself what it is about, whoever it is passed on to."""
    return f"{notice.text}\n\n{notice.workspace}, {notice.at:%Y-%m-%d %H:%M:%S} UTC, incident {notice.incident_id}"


def _slack(text: str, longest: int) -> str:
    """Return a text with Slack's own signs written out, cut to so many characters, but within no sign."""
    written = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _TORN.sub("", written[:longest])


def _post(outbound: Outbound, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    reply = outbound.post(url, body, headers)
    if not reply.accepted:
        raise Unavailable(f"it was not taken: {reply.reason}")
