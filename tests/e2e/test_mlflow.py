"""The stock mlflow client in a shell that ran ``modelwright env``."""

import sys
from pathlib import Path

import pytest

from e2e import shell
from e2e.desk import Desk

pytestmark = [pytest.mark.e2e, pytest.mark.peers]


def test_the_stock_client_logs_registers_and_loads_a_model(desk: Desk, tmp_path: Path) -> None:
    script = Path(__file__).with_name("scientist_script.py")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet", "OMP_NUM_THREADS": "1"}
    said = shell.execute(sys.executable, str(script), folder=tmp_path, variables={**desk.running.env(), **quiet})
    assert said.code == 0, said.err[-3000:]
    assert (tmp_path / "done").exists(), "it did not come to its end"
