"""The template, as it is and as CloudFormation gets it, has no fault that can be found without deploying it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from template.checks import CHECKS, Faults
from template.stack import REGION, Stack, the_template


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack.of(the_template())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_template_has_no_fault(check: Callable[[Stack], Faults], stack: Stack) -> None:
    assert not check(stack), "\n".join(["template.yaml:", *check(stack)])


def test_cfn_lint_finds_nothing_in_the_translated_template(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "translated.json"
    file.write_text(json.dumps(stack.translated, indent=1))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", REGION, "--", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_function_has_a_folder_and_every_folder_a_function(stack: Stack) -> None:
    folders = {path.parent.name for path in Path("functions").resolve().glob("*/handler.py")}
    assert set(stack.names.values()) == folders


@pytest.mark.parametrize("name", ["Maintain", "Features"])
def test_whoever_gives_up_on_an_event_is_noticed(name: str, stack: Stack) -> None:
    watched = stack.of_type("AWS::CloudWatch::Alarm", translated=True)[f"{name}DeadLettersAlarm"]
    assert f"{name}DeadLetters" in str(watched["Dimensions"])
    assert f"{name}DeadLetters" in stack.of_type("AWS::SQS::Queue", translated=True)


@pytest.mark.parametrize("name", ["Api", "SignedApi"])
def test_what_no_route_takes_is_answered_to_who_has_signed_in(name: str, stack: Stack) -> None:
    body = stack.of_type("AWS::ApiGatewayV2::Api", translated=True)[name]["Body"]
    operation = body["paths"]["$default"]["x-amazon-apigateway-any-method"]
    assert operation["isDefaultRoute"]
    assert operation["security"]
    assert "ConsoleFunction" in str(operation["x-amazon-apigateway-integration"]["uri"])
