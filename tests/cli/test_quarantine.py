"""``modelwright quarantine``, over the function behind a loopback port."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from monitoring.healing.test_repairing import GUESS, UNIT, ward_of
from monitoring.healing.ward import Ward
from support.http import ServedBlobs, deliver, handler_of, memory_wiring, serve
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app
from modelwright.errors import NotFound, Refused
from modelwright.runtime import Function

Run = Callable[..., Result]


@pytest.fixture
def ward() -> Ward:
    return ward_of()


@pytest.fixture
def monitor(ward: Ward) -> Function:
    return handler_of("monitor", memory_wiring(tables=ward.tables, blobs=ward.blobs))


@pytest.fixture
def run(ward: Ward, monitor: Function) -> Iterator[Run]:
    blobs: Any = ServedBlobs()
    with serve([monitor], blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["quarantine", *arguments, "--endpoint", url])


def test_a_person_reads_repairs_and_takes_back(ward: Ward, monitor: Function, run: Run) -> None:
    assert run("list").stdout == "nothing is in quarantine\n"
    ward.land("sales/9.csv", GUESS)
    deliver(monitor, ward.failures("sales")[0].envelope)
    identity = ward.failures("sales")[0].event.quarantine_id
    line = run("list").stdout
    assert identity in line
    assert "the whole file of sales/9.csv  asked: the one repair that fits is a guess" in line
    assert json.loads(run("list", "--json").stdout)[0]["id"] == identity
    said = run("show", identity).stdout
    assert "a person was asked: the one repair that fits is a guess\n  1. unit_change@1: brings degrees back" in said
    assert json.loads(run("show", identity, "--json").stdout)["choices"]
    assert isinstance(run("repair", identity, "--rule", "magic").exception, Refused)
    done = run("repair", identity, "--rule", "unit_change", "--reason", "they said so").stdout
    assert done == f"{identity}: repaired by unit_change@1 as ann said\n"
    assert "  unit_change@1: brings degrees back" in run("show", identity).stdout
    assert run("revert", identity, "--reason", "they were wrong").stdout == f"{identity}-r\n"
    assert "taken back by ann: they were wrong" in run("show", identity).stdout
    assert f"a repair of {identity} was taken back" in run("show", f"{identity}-r").stdout
    assert run("discard", f"{identity}-r").stdout == f"{identity}-r: discarded by ann\n"
    assert isinstance(run("show", "nobody").exception, NotFound)


def test_what_repaired_itself_is_shown(ward: Ward, monitor: Function, run: Run) -> None:
    ward.land("sales/9.csv", UNIT)
    deliver(monitor, ward.failures("sales")[0].envelope)
    said = run("show", ward.failures("sales")[0].event.quarantine_id).stdout
    assert "repaired by unit_change@1\n  unit_change@1: brings degrees back by the inverse of (x-32)*5/9" in said
