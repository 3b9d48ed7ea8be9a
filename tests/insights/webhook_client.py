"""MLflow's webhooks with the stock client; run by ``test_webhook_client.py``."""

import os

import pytest
from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent, WebhookStatus
from mlflow.exceptions import MlflowException

url = os.environ["HOOK_URL"]
client = MlflowClient()

created = client.create_webhook(
    name="ci",
    url=url,
    events=["registered_model.created", "model_version.created", "model_version_alias.created"],
    description="tells the pipeline",
    secret=os.environ["HOOK_SECRET"],
)
assert (created.name, created.url, created.status) == ("ci", url, WebhookStatus.ACTIVE)
assert [str(event) for event in created.events] == [
    "registered_model.created", "model_version.created", "model_version_alias.created"
]  # fmt: skip
assert created.description == "tells the pipeline"
assert created.secret is None
assert created.creation_timestamp == created.last_updated_timestamp > 0
got = client.get_webhook(created.webhook_id)
assert (got.webhook_id, got.events, got.creation_timestamp) == (
    created.webhook_id, created.events, created.creation_timestamp
)  # fmt: skip

result = client.test_webhook(created.webhook_id)
assert (result.success, result.response_status, result.response_body) == (True, 200, "thanks")
event = WebhookEvent(WebhookEntity.PROMPT_ALIAS, WebhookAction.DELETED)
assert client.test_webhook(created.webhook_id, event).success

updated = client.update_webhook(created.webhook_id, name="cd", events=["prompt.created"], status="DISABLED")
assert (updated.name, updated.status, updated.url) == ("cd", WebhookStatus.DISABLED, url)
assert [str(event) for event in updated.events] == ["prompt.created"]
updated = client.update_webhook(created.webhook_id, events=[*created.events], status="ACTIVE")

others = [client.create_webhook(name=f"ci{n}", url=url, events=["prompt.created"]) for n in range(3)]
page = client.list_webhooks(max_results=3)
assert [webhook.name for webhook in page] == ["ci2", "ci1", "ci0"]
assert [webhook.name for webhook in client.list_webhooks(max_results=3, page_token=page.token)] == ["cd"]
for other in others:
    client.delete_webhook(other.webhook_id)
assert [webhook.name for webhook in client.list_webhooks()] == ["cd"]

for refused, said in (
    ({"name": "not a name", "url": url, "events": ["prompt.created"]}, "INVALID_PARAMETER_VALUE.*name"),
    ({"name": "ci", "url": "ftp://x/", "events": ["prompt.created"]}, "INVALID_PARAMETER_VALUE.*scheme"),
    ({"name": "ci", "url": url, "events": ["budget_policy.exceeded"]}, "INVALID_PARAMETER_VALUE.*never happens"),
):
    with pytest.raises(MlflowException, match=said):
        client.create_webhook(**refused)  # type: ignore[arg-type]
for ask in (client.get_webhook, client.delete_webhook, client.test_webhook, client.update_webhook):
    with pytest.raises(MlflowException, match=r"RESOURCE_DOES_NOT_EXIST.*ID nobody not found"):
        ask("nobody")

client.create_registered_model("flights", tags={"team": "ops"}, description="late?")
client.create_model_version("flights", "s3://x/y")
client.set_registered_model_alias("flights", "blue", "1")
