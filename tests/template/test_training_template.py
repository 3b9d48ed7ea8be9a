"""The optional template of trainings elsewhere: no fault, no wide grant, and state machines that do what they say."""

import io
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from e2e.shell import free_port
from pydantic import BaseModel
from support.http import handler_of, memory_wiring

from modelwright.adapters.trainers.batch import BatchOptions
from modelwright.adapters.trainers.sagemaker import SageMakerOptions
from modelwright.adapters.trainers.stepfunctions import StepFunctionsOptions
from modelwright.local import translation
from modelwright.local.emulator import Credentials, Emulator
from modelwright.retraining.steps import reason_in
from template.stack import REGION, ROOT, listed, the_template

FILE = ROOT / "infra" / "training" / "template.yaml"
FOR_ALL = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "ecr:GetAuthorizationToken",
    "batch:DescribeJobs",
    "batch:ListJobs",
}
"""Actions that AWS grants for everything or for nothing."""
SAID = {"workspace": "default", "training_id": "01KJP8TRAINING000000000001"}


@pytest.fixture(scope="module")
def training() -> Any:
    return translation.parse(FILE.read_text(encoding="utf-8"))


def statements(training: Any) -> Iterator[Any]:
    for resource in training["Resources"].values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::IAM::RolePolicy":
            yield from properties["PolicyDocument"]["Statement"]
        elif resource["Type"] == "AWS::IAM::Role":
            for policy in properties["Policies"]:
                yield from policy["PolicyDocument"]["Statement"]


def test_cfn_lint_finds_nothing_in_it() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", REGION, "--", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_costs_nothing_while_no_job_runs(training: Any) -> None:
    paid = {"AWS::EC2::Instance", "AWS::EC2::NatGateway", "AWS::SageMaker::NotebookInstance", "AWS::ECS::Service"}
    assert not {resource["Type"] for resource in training["Resources"].values()} & paid
    compute = training["Resources"]["Compute"]["Properties"]["ComputeResources"]
    assert compute["Type"] == "FARGATE"
    assert "MinvCpus" not in compute


def test_without_an_image_there_are_state_machines_alone(training: Any) -> None:
    always = {name for name, resource in training["Resources"].items() if "Condition" not in resource}
    roles = {"StatesRole", "RetrainStartsExecutions"}
    assert always == {"Pipeline", "Search", *roles, "ExecutionIsOver", "ExecutionIsOverMayTell"}


def test_no_statement_is_wider_than_aws_lets_it_be(training: Any) -> None:
    for statement in statements(training):
        assert not [action for action in listed(statement["Action"]) if "*" in action]
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= FOR_ALL, statement["Sid"]


def test_jobs_elsewhere_may_what_the_function_may(training: Any) -> None:
    platform = the_template()["Resources"]["TrainFunction"]["Properties"]["Policies"][0]["Statement"]
    mine = {action for statement in platform for action in listed(statement["Action"])}
    (policy,) = [p for p in training["Resources"]["JobRole"]["Properties"]["Policies"] if p["PolicyName"] == "train"]
    theirs = {action for statement in policy["PolicyDocument"]["Statement"] for action in listed(statement["Action"])}
    assert theirs == mine


def test_jobs_elsewhere_are_told_what_the_function_is_told() -> None:
    resources = the_template()["Resources"]
    told = resources["RetrainFunction"]["Properties"]["Environment"]["Variables"]["MODELWRIGHT_TRAIN_ENVIRONMENT"]
    said = json.loads(re.sub(r"\$\{(\w+)\}", r"\1", told["Fn::Sub"].replace("${AWS::Region}", "region")))
    own = resources["TrainFunction"]["Properties"]["Environment"]["Variables"]
    assert {name: value["Ref"] for name, value in own.items() if isinstance(value, dict)} == {
        name: value for name, value in said.items() if name.startswith(("MODELWRIGHT_TABLE", "MODELWRIGHT_BUCKET"))
    }
    assert len(json.dumps(said)) < 2048, "a function's variables are 4 KB together"


def test_what_it_needs_the_platform_gives_and_what_it_gives_trainers_take(training: Any) -> None:
    told = {name: parameter.get("Description", "") for name, parameter in training["Parameters"].items()}
    needed = {name for name, text in told.items() if "of the platform's stack" in text}
    assert len(needed) == 9
    assert needed <= set(the_template()["Outputs"])
    options: dict[str, type[BaseModel]] = {
        "stepfunctions": StepFunctionsOptions,
        "sagemaker": SageMakerOptions,
        "batch": BatchOptions,
    }
    for output in training["Outputs"].values():
        option, trainer = re.findall(r"Option (\w+) of the trainer (\w+)", output["Description"])[0]
        assert option in options["stepfunctions" if trainer == "automl" else trainer].model_fields


def test_the_end_of_every_kind_of_job_is_told_in_words_that_the_function_takes(training: Any) -> None:
    retrain = handler_of("retrain", memory_wiring())
    rules = [r["Properties"] for r in training["Resources"].values() if r["Type"] == "AWS::Events::Rule"]
    assert [rule["EventPattern"]["source"] for rule in rules] == [["aws.states"], ["aws.sagemaker"], ["aws.batch"]]
    for rule in rules:
        (told,) = rule["Targets"]
        said = told["InputTransformer"]["InputTemplate"].replace("<name>", json.dumps("default-01KJP8TRAINING"))
        assert retrain(json.loads(said)) == {"outcome": "not ours"}


# --- the state machines, run -------------------------------------------------------------

FUNCTION = """
import json, os, pathlib

SEEN = pathlib.Path(os.environ["SEEN"])

class Unavailable(Exception): pass
class PluginError(Exception): pass

def handler(event, context):
    with SEEN.open("a") as seen:
        seen.write(json.dumps(event) + "\\n")
    past = [json.loads(line) for line in SEEN.read_text().splitlines()]
    step, kind = event["step"], event["workspace"]
    if kind == "shaky" and step == "prepare" and len(past) == 1:
        raise Unavailable("later")
    if kind == "broken" and step == "fit":
        raise PluginError("the trainer failed")
    if step == "plan":
        plans = sum(one["step"] == "plan" for one in past)
        pending = {1: [0, 1, 2], 2: [1]}.get(plans, [])
        return {"outcome": "planned", "over": not pending, "rung": plans - 1, "pending": pending, "concurrency": 2}
    return {"outcome": step}
"""


class Machines:
    """The emulator with a function `train` that notes its steps, and the template's state machines."""

    def __init__(self, folder: Path, training: Any) -> None:
        self.seen = folder / "seen.jsonl"
        self._training = training
        self._emulator = Emulator(folder / "home", free_port(), Credentials("root", "secret"))

    def __enter__(self) -> "Machines":
        self._emulator.start()
        role = {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}
        self._role = self._client("iam").create_role(**role)["Role"]["Arn"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("stub.py", FUNCTION)
        made = self._client("lambda").create_function(
            FunctionName="train", Runtime="python3.13", Role=self._role, Handler="stub.handler",
            Code={"ZipFile": archive.getvalue()}, Environment={"Variables": {"SEEN": str(self.seen)}},
        )  # fmt: skip
        self._function = made["FunctionArn"]
        return self

    def __exit__(self, *_: object) -> None:
        self._emulator.stop()

    def _client(self, service: str) -> Any:
        made: BaseClient = boto3.client(
            service, endpoint_url=self._emulator.endpoint, region_name=REGION,
            aws_access_key_id="root", aws_secret_access_key="secret",
        )  # type: ignore[call-overload]  # fmt: skip
        return made

    def run(self, machine: str, workspace: str, *, unavailable: str = "") -> tuple[str, list[dict[str, Any]]]:
        """Run a state machine to its end and return how it ended and the steps that were taken.

        The emulator calls whatever a function raises by one name, ``unavailable``, where AWS tells the class.
        """
        self.seen.write_text("")
        properties = self._training["Resources"][machine]["Properties"]
        text = json.dumps(properties["Definition"]).replace("${Train}", self._function)
        text = text.replace("${Invoke}", "arn:aws:states:::lambda:invoke")
        text = text.replace('"Unavailable"', json.dumps(unavailable or "Unavailable"))
        states, name = self._client("stepfunctions"), f"{machine}-{workspace}"
        made = states.create_state_machine(name=name, definition=text, roleArn=self._role)["stateMachineArn"]
        said = json.dumps({**SAID, "workspace": workspace})
        execution = states.start_execution(stateMachineArn=made, name="once", input=said)["executionArn"]
        deadline, status = time.monotonic() + 60, "RUNNING"
        while status == "RUNNING" and time.monotonic() < deadline:
            status = states.describe_execution(executionArn=execution)["status"]
        return status, [json.loads(line) for line in self.seen.read_text().splitlines()]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, training: Any) -> Iterator[Machines]:
    with Machines(tmp_path_factory.mktemp("machines"), training) as running:
        yield running


def test_the_pipeline_takes_its_steps_in_order_and_again_what_was_not_available(machines: Machines) -> None:
    status, seen = machines.run("Pipeline", "shaky", unavailable="Runtime.HandlerError")
    assert status == "SUCCEEDED"
    assert [one["step"] for one in seen] == ["prepare", "prepare", "fit", "evaluate", "register"]
    assert all(one["training_id"] == SAID["training_id"] for one in seen)


def test_a_pipeline_whose_step_fails_says_so_with_the_reason(machines: Machines) -> None:
    status, seen = machines.run("Pipeline", "broken")
    assert status == "FAILED"
    assert [one["step"] for one in seen] == ["prepare", "fit", "fail"]
    assert reason_in(seen[-1]["error"]).endswith("the trainer failed")


def test_the_search_fits_the_candidates_of_each_rung_and_then_the_best(machines: Machines) -> None:
    status, seen = machines.run("Search", "calm")
    assert status == "SUCCEEDED"
    assert [one["step"] for one in seen] == ["plan", *["try"] * 3, "plan", "try", "plan", "register"]
    tried = sorted((one["rung"], one["number"]) for one in seen if one["step"] == "try")
    assert tried == [(0, 0), (0, 1), (0, 2), (1, 1)]
