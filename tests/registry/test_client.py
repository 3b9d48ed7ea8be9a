from pathlib import Path

import pytest
from support.client import needs_mlflow, run_client
from support.mlflow_desk import Desk


@pytest.mark.peers
@needs_mlflow
def test_the_stock_client_logs_registers_and_loads_a_model(desk: Desk, tmp_path: Path) -> None:
    run_client(desk, Path(__file__).with_name("client.py"), tmp_path)
    assert "AliasChanged" in desk.types("MODEL", "flights")
