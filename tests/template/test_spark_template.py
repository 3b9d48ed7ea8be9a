"""The optional template of the engine `spark`: no fault that can be found without deploying it, and no wide grant."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from features.test_jobs import Desk

from modelwright.adapters import emr
from modelwright.local import translation
from template.stack import REGION, ROOT, listed, the_template

FILE = ROOT / "infra" / "spark" / "template.yaml"


@pytest.fixture(scope="module")
def spark() -> Any:
    return translation.parse(FILE.read_text(encoding="utf-8"))


def statements(spark: Any) -> list[Any]:
    resources = spark["Resources"]
    documents = [policy["PolicyDocument"] for policy in resources["JobRole"]["Properties"]["Policies"]]
    documents.append(resources["MaterializeStartsJobs"]["Properties"]["PolicyDocument"])
    return [statement for document in documents for statement in document["Statement"]]


def test_cfn_lint_finds_nothing_in_it() -> None:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", REGION, "--", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_costs_nothing_while_no_job_runs(spark: Any) -> None:
    application = spark["Resources"]["Application"]["Properties"]
    assert "InitialCapacity" not in application
    assert application["AutoStopConfiguration"]["Enabled"]
    assert application["AutoStartConfiguration"]["Enabled"]
    assert application["MaximumCapacity"]


def test_no_statement_is_about_every_action_or_everything(spark: Any) -> None:
    for statement in statements(spark):
        assert not [action for action in listed(statement["Action"]) if "*" in action]
        assert "*" not in listed(statement["Resource"])


def test_jobs_read_and_write_in_the_folders_of_features_alone(spark: Any) -> None:
    granted = {
        s["Sid"]: [json.dumps(resource).split("}/")[-1].rstrip('"}') for resource in listed(s["Resource"])]
        for s in statements(spark)
    }
    assert granted["ReadLake"] == ["offline/*.parquet", "jobs/*", "entities/*", "datasets/*.parquet"]
    assert granted["WriteLake"] == ["datasets/*", "jobs/*.answer.json"]
    assert granted["ReadCode"] == ["projects/*"]


def test_the_function_passes_that_role_on_to_emr_serverless_alone(spark: Any) -> None:
    (passes,) = [s for s in statements(spark) if "iam:PassRole" in listed(s["Action"])]
    assert passes["Resource"] == {"Fn::GetAtt": ["JobRole", "Arn"]}
    assert passes["Condition"] == {"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}}


def test_what_it_needs_the_platform_gives_and_what_it_gives_the_platform_takes(spark: Any) -> None:
    platform = the_template()
    told = {name: parameter.get("Description", "") for name, parameter in spark["Parameters"].items()}
    needed = {name for name, text in told.items() if "of the platform's stack" in text}
    assert len(needed) == 4
    assert needed <= set(platform["Outputs"])
    assert set(spark["Outputs"]) <= set(platform["Parameters"])
    variables = platform["Resources"]["MaterializeFunction"]["Properties"]["Environment"]["Variables"]
    assert variables[emr.APPLICATION] == {"Ref": "SparkApplication"}
    assert variables[emr.ROLE] == {"Ref": "SparkRole"}


def test_the_image_is_made_from_the_release_of_the_application(spark: Any) -> None:
    release = spark["Parameters"]["ReleaseLabel"]["Default"]
    assert f"emr-serverless/spark/{release}:" in FILE.with_name("Dockerfile").read_text(encoding="utf-8")


def test_the_end_of_a_job_is_told_in_words_that_the_function_takes(spark: Any) -> None:
    (told,) = spark["Resources"]["JobIsOver"]["Properties"]["Targets"]
    desk = Desk()
    values = {"id": "8d4c1b2a-0000-4000-8000-000000000000", "at": "2026-01-02T03:04:05Z"}
    said = told["InputTransformer"]["InputTemplate"]
    assert set(told["InputTransformer"]["InputPathsMap"]) == set(values)
    for name, value in values.items():
        said = said.replace(f"<{name}>", json.dumps(value))
    assert desk.materialize(json.loads(said)) == {"outcome": "done"}
