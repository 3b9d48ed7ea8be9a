"""Runs a script with the stock ``mlflow`` client, in an interpreter of its own, where its warnings stay."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.http import serve
from support.mlflow_desk import Desk

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="the mlflow client is not installed"
)


def run_client(desk: Desk, script: Path, folder: Path) -> None:
    """Run a script against the desk's functions; what it asserts must hold."""
    with serve(tuple(desk.functions.values()), desk.blobs) as url:
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_TRACKING_TOKEN": "mw.default.0123456789abcdef.secret",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",  # clients before 3.18 ask for it themselves
            "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "0",
        }
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
