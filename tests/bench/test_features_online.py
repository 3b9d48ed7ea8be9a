"""Online serving costs a tenth of the CPU that Feast's takes for the same values."""

import os

import pytest

from bench import features_online
from bench.ours import complain


@pytest.mark.bench
@pytest.mark.skipif("MODELWRIGHT_FEAST_PYTHON" not in os.environ, reason="names no interpreter with feast[aws]")
def test_a_hundred_entities_cost_a_tenth_of_the_cpu() -> None:
    cells = features_online.run()
    complain("\n" + features_online.text(cells))
    largest = cells[-1]
    assert largest.ratio is not None
    assert largest.ratio >= 10
