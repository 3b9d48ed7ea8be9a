"""Profile and verdict of a million rows cost half more than sorting them, and a hundredth of other tools' reports."""

import os
from pathlib import Path

import pytest

from bench import monitoring
from bench.ours import complain


@pytest.mark.bench
def test_profile_and_verdict_cost_little_more_than_sorting(tmp_path: Path) -> None:
    figures = monitoring.run(tmp_path)
    complain("\n" + monitoring.text(figures))
    ours = figures["ours"]
    assert ours["s"] <= monitoring.SORTING * figures["sorting"]["s"]
    assert ours["mb"] < monitoring.PEAK_MB
    assert figures["large"]["mb"] < monitoring.LARGE_MB
    for tool, asked in (("evidently", monitoring.EVIDENTLY), ("nannyml", monitoring.NANNYML)):
        if f"MODELWRIGHT_{tool.upper()}_PYTHON" in os.environ:
            assert figures[tool]["s"] >= asked * ours["s"], tool
