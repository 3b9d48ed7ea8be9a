import pytest
from support.mlflow_desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()
