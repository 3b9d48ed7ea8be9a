"""Alerts to an SNS topic."""


def alert(topic: str, severity: str, subject: str, text: str) -> None:
    """Send one alert; ``subject`` is cut to the 100 characters that SNS takes."""
    import boto3

    boto3.client("sns").publish(TopicArn=topic, Subject=f"[{severity}] {subject}"[:100], Message=text)
