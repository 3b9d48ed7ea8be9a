"""What the notifiers send, and what they say when it is not taken."""

import dataclasses
import json
import re

import pytest
from botocore.stub import Stubber

from insights.watch import NOON
from modelwright.adapters.memory import MemoryOutbound
from modelwright.adapters.notifiers import EmailNotifier, SlackNotifier, SnsNotifier, WebhookNotifier
from modelwright.errors import InvalidInput, Unavailable
from modelwright.insights.notices import Notice
from modelwright.insights.webhook_requests import Reply, signature

NOTICE = Notice("default", "i1", "critical", "quarantine/wätter", "rain & <snow>", NOON)


def test_slack_gets_its_own_signs_as_text() -> None:
    outbound = MemoryOutbound()
    slack = SlackNotifier({}, outbound)
    slack.send(NOTICE, {"url": "https://hooks.slack.com/services/T/B/x"})
    ((url, body, _),) = outbound.sent
    assert url.startswith("https://hooks.slack.com/")
    told = json.loads(body)
    assert "rain &amp; &lt;snow&gt;" in told["blocks"][0]["text"]["text"]
    assert told["text"] == "[critical] quarantine/wätter"


@pytest.mark.parametrize("sign", ["&", "<", ">", "é"])
def test_a_long_text_is_cut_for_slack_and_never_within_a_sign(sign: str) -> None:
    outbound = MemoryOutbound()
    for shift in range(5):
        long = dataclasses.replace(NOTICE, subject=f"drift/{sign * 400}", text="x" * shift + sign * 5000)
        SlackNotifier({}, outbound).send(long, {"url": "https://hooks.slack.com/services/T/B/x"})
        told = json.loads(outbound.sent[-1][1])
        text = told["blocks"][0]["text"]["text"]
        assert 2800 < len(text) <= 3000
        assert re.sub("&(amp|lt|gt);", "", text).count("&") == 0
        assert re.sub("&(amp|lt|gt);", "", told["text"]).count("&") == 0


def test_what_an_endpoint_refuses_is_unavailable_with_its_answer() -> None:
    outbound = MemoryOutbound()
    outbound.replies["https://x.example.com/"] = Reply(410, "gone")
    for notifier in (SlackNotifier({}, outbound), WebhookNotifier({}, outbound)):
        with pytest.raises(Unavailable, match="answered 410"):
            notifier.send(NOTICE, {"url": "https://x.example.com/"})


def test_a_webhook_is_signed_with_its_secret() -> None:
    outbound = MemoryOutbound()
    WebhookNotifier({}, outbound).send(NOTICE, {"url": "https://x.example.com/", "secret": "s"})
    ((_, body, headers),) = outbound.sent
    assert json.loads(body)["type"] == "alert.opened"
    expected = signature("s", "i1-opened", headers["X-MLflow-Timestamp"], body)
    assert headers["X-MLflow-Signature"] == expected


def test_sns_gets_a_subject_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("sns", aws_access_key_id="x", aws_secret_access_key="x")
    arn = "arn:aws:sns:us-east-1:111122223333:alerts"
    about = "\n\ndefault, 2026-03-02 12:00:00 UTC, incident i1"
    sent = {"TopicArn": arn, "Subject": "[critical] quarantine/w?tter", "Message": f"rain & <snow>{about}"}
    with Stubber(client) as stub:
        stub.add_response("publish", {"MessageId": "1"}, sent)
        SnsNotifier({"MODELWRIGHT_ALERT_TOPIC": arn}, None, client).send(NOTICE, {})
        stub.add_client_error("publish", "Throttled")
        with pytest.raises(Unavailable, match="SNS did not take it"):
            SnsNotifier({"MODELWRIGHT_ALERT_TOPIC": arn}, None, client).send(NOTICE, {})
    with pytest.raises(InvalidInput, match="AlertTopicArn"):
        SnsNotifier({}).check({})


def test_mail_goes_from_the_verified_sender_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    client = boto3.client("sesv2", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    mail = EmailNotifier({"MODELWRIGHT_ALERT_SENDER": "ops@example.com"}, None, client)
    text = "rain & <snow>\n\ndefault, 2026-03-02 12:00:00 UTC, incident i1"
    content = {"Subject": {"Data": "[critical] quarantine/wätter"}, "Body": {"Text": {"Data": text}}}
    sent = {
        "FromEmailAddress": "ops@example.com",
        "Destination": {"ToAddresses": ["a@example.com", "b@example.com"]},
        "Content": {"Simple": content},
    }
    options = {"to": "a@example.com, b@example.com"}
    with Stubber(client) as stub:
        stub.add_response("send_email", {"MessageId": "1"}, sent)
        mail.send(NOTICE, options)
    mail.check(options)
    with pytest.raises(InvalidInput, match="1 of the addresses"):
        mail.check({"to": "a@example.com, nobody"})
    with pytest.raises(InvalidInput, match="AlertSender"):
        EmailNotifier({}).check(options)
