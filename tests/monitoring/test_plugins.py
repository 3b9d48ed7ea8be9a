from collections.abc import Callable
from functools import partial

import pytest

from modelwright.monitoring.checks import Check
from modelwright.monitoring.detectors import Detector
from modelwright.project import Column, Source
from modelwright.testing import CHECK_CHECKS, DETECTOR_CHECKS
from monitoring.desk import CHECKS, DETECTORS

PLAIN = Source(prefix="p/", columns={"at": Column(type="timestamp")}, key=("at",), event_time="at")


@pytest.mark.parametrize("contract", DETECTOR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("detector", DETECTORS.values(), ids=lambda detector: detector.name)
def test_our_detectors_keep_the_contract(
    detector: Detector, contract: Callable[[Callable[[], Detector]], None]
) -> None:
    contract(type(detector))


@pytest.mark.parametrize("contract", CHECK_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.name)
def test_our_checks_keep_the_contract(check: Check, contract: Callable[[Callable[[], Check]], None]) -> None:
    contract(type(check))


def test_a_source_asks_for_plugins_that_we_ship() -> None:
    assert set(PLAIN.checks) == set(CHECKS) - {"skew"}, "which is about two sources that somebody names"
    assert set(PLAIN.detectors) <= set(DETECTORS)
    assert all(DETECTORS[name].name == name for name in DETECTORS)


def test_a_detector_that_breaks_the_contract_is_told_why() -> None:
    class Negative(type(DETECTORS["ks"])):  # type: ignore[misc]
        def compare(self, reference: object, window: object) -> tuple[float, float]:
            return -1.0, 2.0

    for contract in DETECTOR_CHECKS[:2]:
        with pytest.raises(AssertionError, match="effect"):
            contract(partial(Negative))
