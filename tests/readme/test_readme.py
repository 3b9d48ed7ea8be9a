"""The README keeps its word: its commands run, its code works, its plugin is one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PORT = "4831"

ELSEWHERE = {
    'pip install ".[demo]" && modelwright demo': "tests/e2e/test_demo.py, with --fast",
    'pip install ".[test]" && pytest': "this run",
    'pip install ".[local]"': "tests/readme: the wheel",
    "sam build": "needs Docker; tests/packages makes the same packages",
    "sam deploy --guided --capabilities CAPABILITY_IAM": "needs an account; the same template is deployed locally",
    "modelwright bootstrap --stack modelwright": "below, against the local stack",
    "sam deploy --parameter-overrides Ui=cloudfront": "needs an account; tests/cli/test_ui.py deploys it locally",
    "modelwright ui publish --stack modelwright": "tests/cli/test_ui.py",
    'modelwright transitions request churn 7 champion --reason "the new tariff"': "tests/cli/test_transitions.py",
    "modelwright transitions list": "tests/cli/test_transitions.py",
    "modelwright transitions approve churn REQUEST": "tests/cli/test_transitions.py",
    "modelwright models history churn": "tests/cli/test_models.py",
    "modelwright models as-of churn 2026-03-01T12:00Z": "tests/cli/test_models.py",
    "modelwright models lineage churn@champion": "tests/cli/test_models.py",
    "modelwright models uses monthly_charges": "tests/cli/test_models.py",
    "modelwright models card churn @champion --format html --out card.html": "tests/cli/test_cards.py",
    "modelwright features backfill payments --view spending": "tests/cli/test_backfills.py",
    "modelwright features backfills": "tests/cli/test_backfills.py",
    "modelwright features held": "tests/cli/test_held.py",
    "modelwright erase customer c-4711": "tests/cli/test_erase.py",
    "modelwright erase --status ERASURE": "tests/cli/test_erase.py",
    "modelwright quarantine list": "tests/cli/test_quarantine.py",
    "modelwright quarantine show QUARANTINE": "tests/cli/test_quarantine.py",
    'modelwright quarantine repair QUARANTINE --rule unit_change --reason "the station sends Celsius since Monday"': "tests/cli/test_quarantine.py",  # noqa: E501
    'modelwright quarantine revert QUARANTINE --reason "it was Kelvin"': "tests/cli/test_quarantine.py",
    "modelwright monitor plan weather --rows 500": "tests/cli/test_monitor.py",
    "modelwright monitor drift weather": "tests/cli/test_monitor.py",
    "modelwright monitor report weather --output weather.html": "tests/cli/test_monitor.py",
    "modelwright alerts add ops slack --option url=- --tier critical --tier warning": "tests/cli/test_alerts.py",
    'modelwright silences add quarantine/weather/ "the station is being moved" --for 2h': "tests/cli/test_alerts.py",
    "modelwright incidents list": "tests/cli/test_alerts.py",
    "modelwright replay --policy other.toml --from 2026-01-01 --to 2026-03-31": "tests/cli/test_replay.py",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.strip().splitlines()]


def shell(script: str, folder: Path) -> str:
    """Run lines as a person's shell would, stopping at the first that fails."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_every_command_is_known_to_some_test() -> None:
    here = blocks("sh")[2].strip().splitlines()
    assert here[0] == "modelwright up --detach"
    said = [command for command in commands() if command not in here]
    assert [command for command in said if command.partition("  # ")[0].rstrip() not in ELSEWHERE] == []


@pytest.mark.e2e
@pytest.mark.peers
def test_the_tour_and_the_client_work_in_one_shell(tmp_path: Path) -> None:
    lines = blocks("sh")[2].strip().splitlines()
    lines[0] += f" --port {PORT}"
    (tmp_path / "track.py").write_text(blocks("python")[0])
    before_down = ["python track.py", "modelwright bootstrap --stack modelwright | grep '^mw.default.'"]
    said = shell("\n".join(["trap 'modelwright down' EXIT", *lines[:-1], *before_down, lines[-1]]), tmp_path)
    assert "1 items in 1 streams: verified" in said
    assert "churn" in said


def test_the_plugin_passes_the_checks_for_gates() -> None:
    from modelwright.testing import GATE_CHECKS

    scope: dict[str, object] = {}
    exec(next(block for block in blocks("python") if "class Recalls" in block), scope)
    gate = scope["Recalls"]
    for check in GATE_CHECKS:
        check(gate)  # type: ignore[arg-type]


@pytest.mark.e2e
def test_the_wheel_has_all_that_the_commands_need(tmp_path: Path) -> None:
    """Without a checkout: the wheel alone on the path, its template deployed."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    site = tmp_path / "site"
    run = f"PYTHONPATH={site} {sys.executable} -m modelwright.cli.main"
    where = f'PYTHONPATH={site} {sys.executable} -c "import modelwright; print(modelwright.__file__)"'
    script = f"""
        trap '{run} down' EXIT
        {where}
        {run} up --detach --port {int(PORT) + 1}
        {run} init churn
        {run} apply churn
        {run} log verify
    """
    said = shell(script, tmp_path)
    assert said.startswith(str(site))
    assert "verified" in said
