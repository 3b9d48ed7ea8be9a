from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from modelwright.monitoring.healing import Damaged, Proposal, Repair
from modelwright.plugins import installed, load
from modelwright.sources import Healing
from modelwright.testing import REPAIR_CHECKS


@pytest.mark.parametrize("contract", REPAIR_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", installed("repairs"))
def test_our_repairs_keep_the_contract(name: str, contract: Callable[[Callable[[], Repair]], None]) -> None:
    contract(load("repairs", name))


def test_a_source_is_healed_by_all_rules_that_we_ship_unless_it_says_otherwise() -> None:
    assert set(Healing().rules) == set(installed("repairs"))
    assert all(load("repairs", name)().name == name for name in installed("repairs"))


def test_a_repair_that_breaks_the_contract_is_told_why() -> None:
    @dataclass
    class Careless:
        name: str = ""
        version: int = 0
        asked: int = 0

        def propose(self, damaged: Damaged) -> Sequence[Proposal]:
            self.asked += 1
            if damaged.sheet is None or not damaged.sheet.rows:
                return [Proposal(damaged.sheet, "")] if damaged.sheet else ()
            gone = damaged.sheet.renamed([f"{name}{self.asked}" for name in damaged.sheet.names])
            return [Proposal(gone, "renames", taken=(0,))]

    for contract in REPAIR_CHECKS:
        with pytest.raises((AssertionError, ValueError)):
            contract(Careless)
