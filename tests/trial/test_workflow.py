"""The workflow that `modelwright init` writes: of the form that GitHub takes, and safe for requests from forks."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from modelwright.cli.commands import app
from modelwright.demo import sample
from modelwright.trial.report import MARKER


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("projects") / "churn"
    said = CliRunner().invoke(app, ["init", str(made)])
    assert said.exit_code == 0, said.output
    return made


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return folder / ".github" / "workflows" / "modelwright.yml"


@pytest.fixture(scope="module")
def workflow(file: Path) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(file.read_text())
    return loaded


def steps(workflow: dict[Any, Any], job: str) -> list[dict[str, Any]]:
    return list(workflow["jobs"][job]["steps"])


def test_it_is_of_the_form_that_github_s_schema_has(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_job_may_do_more_than_it_must(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {}
    granted = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert granted == {"check": {"contents": "read"}, "comment": {"pull-requests": "write"}}


def test_it_runs_for_pull_requests_only_and_never_with_the_target_s_rights(workflow: dict[Any, Any]) -> None:
    assert workflow[True] == {"pull_request": None}  # YAML 1.1 takes the word `on` for true
    assert workflow["concurrency"]["cancel-in-progress"]


def test_no_step_has_both_a_secret_and_the_code_of_the_request(workflow: dict[Any, Any]) -> None:
    with_secret = [step for job in workflow["jobs"] for step in steps(workflow, job) if "secrets." in str(step)]
    assert [step["name"] for step in with_secret] == ["Fetch the champion"]
    assert "modelwright export model" in with_secret[0]["run"]
    assert "modelwright check" not in with_secret[0]["run"]
    checkouts = [step for step in steps(workflow, "check") if "checkout" in step.get("uses", "")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False, False]
    assert all("checkout" not in step.get("uses", "") for step in steps(workflow, "comment"))


def test_no_text_of_the_request_gets_into_a_script(workflow: dict[Any, Any]) -> None:
    scripts = [step.get("run", "") + step.get("with", {}).get("script", "") for job in workflow["jobs"]
               for step in steps(workflow, job)]  # fmt: skip
    assert any(scripts)
    assert not [script for script in scripts if "${{" in script]


def test_a_fork_gets_a_summary_and_no_comment(workflow: dict[Any, Any]) -> None:
    condition = workflow["jobs"]["comment"]["if"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in condition
    shown = next(step for step in steps(workflow, "check") if step.get("name") == "Show the report")
    assert "GITHUB_STEP_SUMMARY" in shown["run"]
    assert "cancelled" in shown["if"]


def test_its_comment_is_found_by_what_the_report_begins_with(workflow: dict[Any, Any]) -> None:
    script = steps(workflow, "comment")[-1]["with"]["script"]
    assert f"'{MARKER}'" in script
    assert "updateComment" in script
    assert "createComment" in script


def test_actions_are_pinned_by_their_major_version_and_come_from_github(workflow: dict[Any, Any]) -> None:
    used = [step["uses"] for job in workflow["jobs"] for step in steps(workflow, job) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


def test_its_commands_are_ones_that_there_are(workflow: dict[Any, Any], folder: Path) -> None:
    text = "\n".join(step.get("run", "") for step in steps(workflow, "check"))
    for command in re.findall(r"modelwright (\w+(?: model)?) ", text):
        said = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert said.exit_code == 0, command
    options = set(re.findall(r"(--[a-z]+)", text))
    shown = CliRunner().invoke(app, ["check", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
    assert options == {"--data", "--environment", "--report", "--against"}
    assert all(option in re.sub(r"\x1b\[[0-9;]*m", "", shown) for option in options)
    assert (folder / workflow["env"]["SAMPLE"]).is_dir()


def test_the_shell_of_every_step_is_sound(workflow: dict[Any, Any]) -> None:
    for step in steps(workflow, "check"):
        if "run" in step:
            done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr


def test_the_sample_is_always_the_same(folder: Path, tmp_path: Path) -> None:
    sample.write(tmp_path)
    for file in sorted(path for path in tmp_path.rglob("*.csv")):
        assert file.read_bytes() == (folder / "sample" / file.relative_to(tmp_path)).read_bytes()
    assert len(list(tmp_path.rglob("*.csv"))) == 3
