"""What the stock client meets where a policy wants an approval; run by ``test_client.py``."""

import os
import re

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

client = MlflowClient()
client.create_registered_model("flights")
for _ in range(2):
    client.create_model_version("flights", "s3://elsewhere/x")

with pytest.raises(MlflowException, match="waits for 1 approval") as waiting:
    client.set_registered_model_alias("flights", "champion", "1")
assert waiting.value.error_code == "RESOURCE_CONFLICT"
found = re.search(r"GET (/v1/models/flights/transitions/\w+)", str(waiting.value))
assert found is not None

stack = os.environ["MLFLOW_TRACKING_URI"]
request = requests.get(stack + found[1], timeout=10).json()["transition"]
assert (request["state"], request["version"], request["missing"]) == ("waiting", 1, 1)
assert client.get_registered_model("flights").aliases == {}

with pytest.raises(MlflowException, match="is open already"):
    client.set_registered_model_alias("flights", "champion", "1")
own = requests.post(f"{stack}{found[1]}/approve", json={}, timeout=10)
assert (own.status_code, own.json()["error_code"]) == (403, "PERMISSION_DENIED")
body = {"version": 1, "alias": "champion", "force": True, "reason": "outage"}
assert requests.post(f"{stack}/v1/models/flights/transitions", json=body, timeout=10).status_code == 200

held = client.get_model_version_by_alias("flights", "champion")
assert (held.version, held.aliases) == ("1", ["champion"])
client.set_model_version_tag("flights", "1", "checked", "yes")
assert client.get_model_version_by_alias("flights", "champion").tags == {"checked": "yes"}
client.set_registered_model_alias("flights", "champion", "1")  # it has it already

client.set_registered_model_alias("flights", "challenger", "2")  # the policy wants no approval of that
client.set_registered_model_alias("flights", "blue", "2")
assert client.get_registered_model("flights").aliases == {"blue": "2", "challenger": "2", "champion": "1"}
client.delete_registered_model_alias("flights", "challenger")
client.delete_registered_model_alias("flights", "nothing")
with pytest.raises(MlflowException, match="alias challenger not found") as gone:
    client.get_model_version_by_alias("flights", "challenger")
assert gone.value.error_code == "INVALID_PARAMETER_VALUE"
assert client.get_model_version_by_alias("flights", "blue").version == "2"
