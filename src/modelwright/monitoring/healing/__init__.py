"""Self-healing: what went to quarantine is repaired by versioned rules, where exactly one repair is plausible.

``repairs`` says what a repair is (plugins of ``modelwright.repairs``), ``searching`` finds the one that lets a file
pass quality, ``repairing`` has the use cases, ``logs`` takes a repair back to the byte. The rules: ``renaming``,
``units``, ``coercion``, ``timestyles``, ``texts`` and ``rowwise``. A file is changed as a ``Sheet``, in which what no
rule touched stays as it was written. What was accepted before (``past``) is the measure: a repair must make a file look
like it, and a world that moved is no damage.
"""

from modelwright.monitoring.healing.logs import RepairLog, undo
from modelwright.monitoring.healing.repairing import (
    AS_IT_IS,
    STAYS,
    RepairBody,
    RevertBody,
    heal,
    original_of,
    repair,
    revert,
    show,
)
from modelwright.monitoring.healing.repairs import Damaged, Proposal, Repair
from modelwright.monitoring.healing.wards import Repairs, Shop

__all__ = [
    "AS_IT_IS",
    "STAYS",
    "Damaged",
    "Proposal",
    "Repair",
    "RepairBody",
    "RepairLog",
    "Repairs",
    "RevertBody",
    "Shop",
    "heal",
    "original_of",
    "repair",
    "revert",
    "show",
    "undo",
]
