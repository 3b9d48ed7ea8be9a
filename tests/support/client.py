"""Runs a script with the stock ``mlflow`` client, in an interpreter of its own, where its warnings stay."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.http import Exchange, serve
from support.mlflow_desk import Desk

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="the mlflow client is not installed"
)


def run_client(
    desk: Desk, script: Path, folder: Path, *, seen: list[Exchange] | None = None, parts: bool = True
) -> None:
    """Run a script against the desk's functions; what it asserts must hold.

    Args:
        desk: the functions.
        script: what to run.
        folder: where.
        seen: gets what was served.
        parts: whether files go in parts, which clients before 3.18 must be told.
    """
    with serve(tuple(desk.functions.values()), desk.blobs, seen) as url:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_TRACKING_TOKEN": "mw.default.0123456789abcdef.secret",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": str(parts).lower(),
            "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": str(parts).lower(),
            "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "0",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-4000:]
