from pathlib import Path

import pytest
from support.client import needs_mlflow, run_client
from support.mlflow_desk import Desk

from registry.test_transitions import apply_project


@pytest.mark.peers
@needs_mlflow
def test_the_stock_client_logs_registers_and_loads_a_model(desk: Desk, tmp_path: Path) -> None:
    run_client(desk, Path(__file__).with_name("client.py"), tmp_path)
    assert "AliasChanged" in desk.types("MODEL", "flights")


@pytest.mark.peers
@needs_mlflow
def test_the_stock_client_is_told_what_its_alias_waits_for(desk: Desk, tmp_path: Path) -> None:
    apply_project(desk, gates=[], approvals=1, approve=["champion"])
    run_client(desk, Path(__file__).with_name("guarded_client.py"), tmp_path)
    told = desk.types("MODEL", "flights")
    assert told.count("TransitionRequested") == 3
    assert told.count("TransitionRefused") == 1  # overridden
