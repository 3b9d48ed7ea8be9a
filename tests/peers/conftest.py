"""The stock Feast client, in an environment of its own: it wants an older pandas than we do."""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import pytest

FEAST = "feast==0.67.0"
PYTHON = "MODELWRIGHT_FEAST_PYTHON"


@pytest.fixture(scope="session")
def feast_python() -> str:
    """Return an interpreter that has the stock client: the one that the environment names, else one made here, once."""
    if named := os.environ.get(PYTHON):
        return named
    folder = Path(tempfile.gettempdir()) / f"modelwright-{FEAST.replace('==', '-')}-{sys.version_info.minor}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", FEAST, "boto3"]
        made = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert made.returncode == 0, f"no environment with {FEAST} (or name one: {PYTHON}): {made.stderr[-2000:]}"
        ready.touch()
    return str(python)
