"""Cold imports of the light functions, beside those of the libraries that they cannot do without."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from packages.conftest import LIGHT

ALLOWED = 1.3
RUNS = 7
LIBRARIES = """
import boto3
boto3.client("dynamodb")
from aws_lambda_powertools import Logger
Logger(service="x")
import pydantic
pydantic.BaseModel
"""


def spent(folder: Path, script: str) -> float:
    """Return the seconds of import that ``-X importtime`` counts while a script runs in a new interpreter."""
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "MODELWRIGHT_TABLE_LOG": "log"}
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    command = [
        sys.executable,
        "-I",
        "-S",
        "-X",
        "importtime",
        "-c",
        f"import sys; sys.path.insert(0, {str(folder)!r})\n{script}",
    ]
    done = subprocess.run(command, env={**environment, **keys}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    return sum(int(own) for own, *_ in lines if own.strip().isdigit()) / 1e6


@pytest.mark.bench
@pytest.mark.parametrize("name", LIGHT)
def test_a_light_function_takes_hardly_longer_than_its_libraries(name: str, package: Callable[[str], Path]) -> None:
    function = f"from {name}.handler import handler\nhandler.wiring.tables\nhandler._logger"
    pairs = [(spent(package(name), LIBRARIES), spent(package(name), function)) for _ in range(RUNS)]
    libraries, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    sys.stdout.write(f"{name}: {whole:.3f} s, its libraries {libraries:.3f} s, ratio {whole / libraries:.2f}\n")
    assert whole <= ALLOWED * libraries
