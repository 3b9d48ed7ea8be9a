"""Every operation reaches what is asked of it, beside MLflow's own server."""

import pytest

from bench import tracking
from bench.ours import complain
from bench.table import text


@pytest.mark.bench
def test_every_operation_reaches_what_is_asked_of_it() -> None:
    rows, notes = tracking.run()
    complain("\n" + text(rows, notes))
    assert {row.operation: row.misses for row in rows if row.misses} == {}
