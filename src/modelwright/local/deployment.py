"""Puts the template into a running emulator, changing only what changed.

One digest covers the template, its parameters, every function's content and this translation; it is
a tag of the stack. A deploy of the same digest does nothing, so a restart on saved state is quick.
Otherwise: upload the zips that are new -> translate SAM -> create or update the CloudFormation stack
-> wait -> outputs.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from modelwright.errors import LocalStackError
from modelwright.local import translation
from modelwright.local.emulator import REGION, Credentials
from modelwright.local.packaging import LocalPackages

Client: TypeAlias = Any
Clients: TypeAlias = Callable[[str], Client]

DEPLOY_LIMIT_S = 120.0
_POLL_S = 0.1
_DIGEST_TAG = "modelwright:digest"


@dataclass(frozen=True)
class Deployed:
    """A stack as it stands.

    Attributes:
        outputs: the template's outputs by name.
        resources: physical ids by logical id.
        changed: whether this deploy changed anything.
    """

    outputs: Mapping[str, str]
    resources: Mapping[str, str]
    changed: bool


def clients(endpoint: str, credentials: Credentials) -> Clients:
    """Return a maker of boto3 clients that see the emulator and nothing of the caller's own AWS."""
    session = boto3.Session(
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name=REGION,
    )
    make: Any = session.client  # the stubs know services as literals only
    config = Config(signature_version="v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return lambda service: make(
        service,
        endpoint_url=endpoint,
        config=config.merge(Config(signature_version="s3v4")) if service == "s3" else config,
    )


def deploy(
    *,
    stack: str,
    template: Path,
    packages: LocalPackages,
    parameters: Mapping[str, str],
    client: Clients,
) -> Deployed:
    """Create or update the stack, and return it.

    Args:
        stack: its name.
        template: the SAM template.
        packages: zips of its functions.
        parameters: of the template; those it does not declare are an error.
        client: makes boto3 clients.

    Raises:
        LocalStackError: the template is invalid, a function does not start, or a resource failed; names it
            and the reason.
    """
    text = template.read_text(encoding="utf-8")
    parsed = translation.parse(text)
    _refuse_unknown(parameters, parsed)
    names = sorted(set(translation.functions(parsed).values()))
    keys = {name: f"{name}-{packages.digest(name)}.zip" for name in names}
    digest = _digest(text, keys, parameters)
    cloudformation = client("cloudformation")
    current = _find(cloudformation, stack)
    if _tag(current) == digest:
        return _deployed(cloudformation, stack, changed=False)
    bucket = f"{stack}-deployment"
    _refuse_unstartable(packages.sources.functions, names)
    _upload(client("s3"), bucket, {keys[name]: packages.zip(name) for name in names})
    local = translation.with_code(
        translation.zip_images(parsed), {name: f"s3://{bucket}/{key}" for name, key in keys.items()}
    )
    processed = translation.route_apis(translation.translate(local, parameters, REGION))
    translation.refuse_dangling(processed)
    client("s3").put_object(Bucket=bucket, Key="template.json", Body=json.dumps(processed).encode())
    request = {
        "StackName": stack,
        "TemplateURL": f"{cloudformation.meta.endpoint_url}/{bucket}/template.json",
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": _DIGEST_TAG, "Value": digest}],
    }
    _apply(cloudformation, request, current)
    deployed = _deployed(cloudformation, stack, changed=True)
    lock_buckets(processed, deployed.resources, parameters, client("s3"))
    return deployed


def lock_buckets(
    template: Mapping[str, Any], resources: Mapping[str, str], parameters: Mapping[str, str], s3: Client
) -> None:
    """Turn on versioning and Object Lock for the buckets that ask for it.

    MiniStack's CloudFormation ignores ``ObjectLockEnabled``. Until: it reads it.
    """
    defaults = {k: v.get("Default") for k, v in template.get("Parameters", {}).items()}
    for identity, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] != "AWS::S3::Bucket" or not properties.get("ObjectLockEnabled"):
            continue
        bucket = resources[identity]
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        rule = properties.get("ObjectLockConfiguration", {"ObjectLockEnabled": "Enabled"})
        resolved = _typed(_resolve(rule, {**defaults, **parameters}))
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=resolved)


def _resolve(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Replace references to parameters."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return parameters[value["Ref"]]
        return {key: _resolve(each, parameters) for key, each in value.items()}
    return value


def _typed(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    retention = lock.get("Rule", {}).get("DefaultRetention")
    if not retention:
        return lock
    numbers = {key: int(each) for key, each in retention.items() if key in ("Days", "Years")}
    return {**lock, "Rule": {"DefaultRetention": {**retention, **numbers}}}


def _refuse_unknown(parameters: Mapping[str, str], template: Mapping[str, Any]) -> None:
    unknown = sorted(set(parameters) - set(template.get("Parameters", {})))
    if unknown:
        raise LocalStackError(f"template.yaml has no parameter {', '.join(unknown)}")


def _refuse_unstartable(functions: Path, names: Sequence[str]) -> None:
    """Import every handler once, in a process of its own: else its first event would find out."""
    command = [sys.executable, "-c", _START, str(functions), *names]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own arguments
    if tried.returncode:
        raise LocalStackError(f"a function does not start: {tried.stderr.strip().splitlines()[-1]}")


_START = """
import importlib, sys
folder, *names = sys.argv[1:]
sys.path.insert(0, folder)
for name in names:
    try:
        importlib.import_module(f"{name}.handler")
    except Exception as error:
        sys.exit(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}")
"""


def _digest(text: str, keys: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    translator = Path(translation.__file__).read_text(encoding="utf-8")
    versions = [version("ministack"), version("aws-sam-translator")]
    parts = [text, sorted(keys.items()), sorted(parameters.items()), translator, versions]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _find(cloudformation: Client, stack: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return found if not found["StackStatus"].startswith("DELETE") else None


def _tag(stack: Mapping[str, Any] | None) -> str | None:
    if stack is None or not stack["StackStatus"].endswith(("CREATE_COMPLETE", "UPDATE_COMPLETE")):
        return None
    return next((tag["Value"] for tag in stack["Tags"] if tag["Key"] == _DIGEST_TAG), None)


def _upload(s3: Client, bucket: str, files: Mapping[str, Path]) -> None:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        s3.create_bucket(Bucket=bucket)
    present = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())}
    for key, path in files.items():
        if key not in present:
            s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    for outdated in present - set(files):
        s3.delete_object(Bucket=bucket, Key=outdated)


def _apply(cloudformation: Client, request: Mapping[str, Any], current: Mapping[str, Any] | None) -> None:
    stack = request["StackName"]
    if current is not None and current["StackStatus"].startswith(("ROLLBACK", "CREATE_FAILED")):
        cloudformation.delete_stack(StackName=stack)
        _await(cloudformation, stack)
        current = None
    before = _last_event(cloudformation, stack) if current else None
    try:
        (cloudformation.update_stack if current else cloudformation.create_stack)(**request)
    except ClientError as refused:
        if "No updates are to be performed" in str(refused):
            return
        raise LocalStackError(f"stack {stack} was refused: {refused.response['Error']['Message']}") from refused
    status = _await(cloudformation, stack)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise LocalStackError(f"stack {stack}: {_reason(cloudformation, stack, before) or status}")


def _await(cloudformation: Client, stack: str) -> str:
    deadline = time.monotonic() + DEPLOY_LIMIT_S
    while time.monotonic() < deadline:
        found = _find(cloudformation, stack)
        status = found["StackStatus"] if found else "DELETE_COMPLETE"
        if not status.endswith("_IN_PROGRESS"):
            return str(status)
        time.sleep(_POLL_S)
    raise LocalStackError(f"stack {stack} was not deployed in {DEPLOY_LIMIT_S:.0f} s")


def _last_event(cloudformation: Client, stack: str) -> str | None:
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    return events[0]["EventId"] if events else None


def _reason(cloudformation: Client, stack: str, before: str | None) -> str:
    """Return the first failure since ``before`` (events come newest first)."""
    reason = ""
    for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:
        if event["EventId"] == before:
            break
        if event["ResourceStatus"].endswith("_FAILED"):
            reason = (
                f"{event['LogicalResourceId']} ({event['ResourceType']}) failed: "
                f"{event.get('ResourceStatusReason', event['ResourceStatus'])}"
            )
    return reason


def _deployed(cloudformation: Client, stack: str, *, changed: bool) -> Deployed:
    found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    return Deployed(
        outputs={each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())},
        resources={each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources},
        changed=changed,
    )
