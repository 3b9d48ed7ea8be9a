"""What commands do with the local stack: start it with a token in it, describe it, apply a project."""

import base64
import os
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelwright.adapters.dynamodb import DynamoTables
from modelwright.client import ENDPOINT, TOKEN, Api
from modelwright.errors import InvalidInput, LocalStackError, NotFound
from modelwright.governance.tokens import bootstrap_token
from modelwright.local.stack import Running, Stack
from modelwright.local.ui import installed
from modelwright.log import Log
from modelwright.storage import TableName
from modelwright.team import Team


def stack(workdir: Path) -> Stack:
    """Return the local stack of a folder."""
    return Stack(workdir)


def up(
    workdir: Path,
    *,
    port: int,
    workspace: str,
    detach: bool,
    virtual_time: bool,
    private_webhooks: bool = False,
    environment: str = "dev",
    say: Callable[[str], None],
) -> Running | None:
    """Start the stack, or bring a running one up to date, and say where it is."""

    def ready(running: Running) -> Mapping[str, str]:
        extra = first_token(running)
        say(f"MLflow, Feast and ours: {running.url}   workspace {running.workspace}")
        elsewhere = "" if workdir == Path() else f" --workdir {shlex.quote(str(workdir))}"
        say(f'for this shell\'s clients: eval "$(modelwright env{elsewhere})"')
        say(f"for a browser: {pages(running.url)}; sign in with the MLFLOW_TRACKING_TOKEN of `modelwright env`")
        return extra

    return Stack(workdir).up(
        port=port or None,
        workspace=workspace,
        detach=detach,
        parameters=parameters(virtual_time=virtual_time, private_webhooks=private_webhooks, environment=environment),
        bootstrap=ready,
        say=say,
    )


def pages(url: str) -> str:
    """Return where a person looks: MLflow's interface where mlflow is installed, and the console."""
    return f"{url}/ is MLflow's, {url}/console is ours" if installed() else f"{url}/console (MLflow's: install mlflow)"


def parameters(*, virtual_time: bool, private_webhooks: bool = False, environment: str = "dev") -> dict[str, str]:
    """Return the template's parameters: who says what time it is sends the schedules' events too."""
    return {
        "Environment": environment,
        "WebhookPrivateAddresses": "allowed" if private_webhooks else "refused",
        "VirtualTime": "allowed" if virtual_time else "refused",
        "SchedulesState": "DISABLED" if virtual_time else "ENABLED",
    }


def first_token(running: Running) -> Mapping[str, str]:
    """Put an administrator's token into a stack that has none yet; return what its users' programs need."""
    token = running.extra.get(TOKEN)
    if not token:
        tables = DynamoTables(running.client("dynamodb"), {"governance": running.outputs["GovernanceTableName"]})
        token = bootstrap_token(running.workspace, tables=tables, now=datetime.now(UTC))
    return {ENDPOINT: running.url, TOKEN: token}


def bootstrap(stack: str, workspace: str) -> str:
    """Make an administrator's token of a deployed stack with the caller's AWS credentials.

    Raises:
        NotFound: there is no such stack, or it is not one of ours.
    """
    import boto3

    known = outputs(stack)
    names: dict[TableName, str] = {"governance": known["GovernanceTableName"], "log": known["LogTableName"]}
    tables = DynamoTables(boto3.client("dynamodb"), names)
    return bootstrap_token(workspace, tables=tables, now=datetime.now(UTC), log=Log(tables))


def outputs(stack: str) -> dict[str, str]:
    """Return the outputs of a deployed stack, as the caller's AWS credentials see them.

    Raises:
        NotFound: there is no such stack, or it is not one of ours.
    """
    import boto3
    from botocore.exceptions import ClientError

    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise NotFound(f"there is no stack {stack} in this account and region: {error}") from error
    told = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    if "GovernanceTableName" not in told:
        raise NotFound(f"the stack {stack} is not Modelwright's: it tells no GovernanceTableName")
    return told


def describe(workdir: Path) -> dict[str, Any]:
    """Return whether the stack runs, and where."""
    running = Stack(workdir).status()
    if running is None:
        return {"running": False}
    names = {name: value for name, value in running.outputs.items() if name.endswith(("BucketName", "BusName"))}
    return {"running": True, "endpoint": running.url, "workspace": running.workspace, **names}


def environment(workdir: Path) -> dict[str, str]:
    """Return the environment of programs that use the stack; raises when it is not ready."""
    found = Stack(workdir).env()
    if TOKEN not in found:
        raise LocalStackError("the local stack is not ready yet: wait for `modelwright up` to say so")
    return found


def connect(endpoint: str = "", workdir: Path = Path()) -> Api:
    """Return the API of a stack: the one named, else the environment's, else the one that runs in this folder.

    Raises:
        InvalidInput: there is none.
    """
    if endpoint or (endpoint := os.environ.get(ENDPOINT, "")):
        return Api(endpoint, os.environ.get(TOKEN, ""))
    if (running := Stack(workdir).status()) is not None:
        return Api(running.url, running.extra.get(TOKEN, ""))
    raise InvalidInput(f"which stack? give --endpoint, set {ENDPOINT}, or start one here with `modelwright up`")


def apply(team: Team, api: Api) -> Any:
    """Send a team's project and code to a stack."""
    body = {"project": team.project.model_dump(mode="json"), "wheel": base64.b64encode(team.wheel).decode()}
    return api.post("/v1/projects", body)


def landing(bucket: str = "", workdir: Path = Path()) -> Callable[[str, bytes], None]:
    """Return what puts an object into a landing bucket.

    Args:
        bucket: of a deployed stack, by the caller's own AWS credentials; empty: of the one that runs in the folder.
        workdir: the folder.

    Raises:
        InvalidInput: no stack runs there.
    """
    if bucket:
        import boto3

        client = boto3.client("s3")
    elif (running := Stack(workdir).status()) is not None:
        client, bucket = running.client("s3"), running.outputs["LandingBucketName"]
    else:
        raise InvalidInput("which landing bucket? give --landing, or start a stack here with `modelwright up`")

    def put(key: str, body: bytes) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=body)

    return put
