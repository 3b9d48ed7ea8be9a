"""Checks of files against what was accepted before; each is a plugin of ``modelwright.checks``.

A check looks at a file and at the reference, and says in words what is wrong, and where it can in which rows. *block*
means that these rows, or nothing of the file, can be believed; *warn* goes along with the accepted file. The bounds
are learned: a value is out of bounds when it is further from the accepted uploads of the last weeks than these are
from each other, by more than a floor, so that seasons pass. What is learned speaks on no fewer than ``MIN_ROWS`` rows
and never before anything was accepted.

What a source declares (types, bounds, rules, keys) is checked in ``rows``, whether a plugin asks for it or not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modelwright.errors import InvalidInput
from modelwright.monitoring.checks.arriving import Schema, TruncatedFile, renamed
from modelwright.monitoring.checks.files import MIN_ROWS, MIN_UPLOADS, Check, Fault, File, Others
from modelwright.monitoring.checks.rates import ConstantColumn, MissingRate, Uniqueness, UnknownCategories, Volume
from modelwright.monitoring.checks.skews import Skew
from modelwright.monitoring.checks.texts import Encoding
from modelwright.monitoring.checks.times import Freshness, FutureDates, LateFile, TimeZones
from modelwright.monitoring.checks.units import UNITS, Unit, UnitChange, restored
from modelwright.monitoring.checks.values import LearnedRange, SwappedColumns, TextShape
from modelwright.project import Source

__all__ = [
    "MIN_ROWS",
    "MIN_UPLOADS",
    "UNITS",
    "Check",
    "Checks",
    "ConstantColumn",
    "Encoding",
    "Fault",
    "File",
    "Freshness",
    "FutureDates",
    "LateFile",
    "LearnedRange",
    "MissingRate",
    "Others",
    "Schema",
    "Skew",
    "SwappedColumns",
    "TextShape",
    "TimeZones",
    "TruncatedFile",
    "Uniqueness",
    "Unit",
    "UnitChange",
    "UnknownCategories",
    "Volume",
    "checks_of",
    "faults_of",
    "renamed",
    "with_options",
]

Checks = Callable[[str], Check]
"""Returns a check by name; raises ``PluginError``."""
_EXPLAINED: Mapping[str, tuple[str, ...]] = {
    "swapped_columns": (
        *("unit_change", "range", "constant_column", "missing_rate"),
        *("unknown_categories", "text_shape", "uniqueness"),
    ),
    "unit_change": ("range",),
}
"""What follows from another fault of the same columns is not said beside it: not of a unit that hardly fits."""


def checks_of(source: Source, check: Checks) -> list[Check]:
    """Return the checks that a source asks for, with its options.

    Raises:
        PluginError: one is not installed.
        InvalidInput: one has no such option.
    """
    return [with_options(name, check(name), source.check_options.get(name, {})) for name in source.checks]


def with_options(name: str, check: Check, options: Mapping[str, Any]) -> Check:
    """Return a check with options instead of its defaults.

    Args:
        name: of the check.
        check: a dataclass, whose fields but ``name`` are options; of any other there are none.
        options: by name.

    Raises:
        InvalidInput: it has no such option, or not with such a value.
    """
    if not options:
        return check
    there: list[str] = []
    if is_dataclass(check):
        there = [field.name for field in fields(check) if field.name != "name"]
    if unknown := sorted(set(options) - set(there)):
        told = ", ".join(there) or "none"
        raise InvalidInput(f"the check {name} has no option {', '.join(unknown)}: there are {told}")
    try:
        made: Check = TypeAdapter(type(check)).validate_python(dict(options))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise InvalidInput(f"the options of check {name}: {told}") from error
    return made


def faults_of(file: File, checks: Sequence[Check], *, learned: bool) -> list[Fault]:
    """Return what checks find in a file, as severe as its source says.

    Args:
        file: to look at.
        checks: of its source.
        learned: whether those run that compare with what was accepted before, or the others.
    """
    if learned and (file.count < MIN_ROWS or (not file.reference.profiles and file.newest is None)):
        return []
    found = [fault for check in checks if check.learned == learned for fault in check.check(file)]
    said = [_as_severe(fault, file.source) for fault in found]
    return [fault for fault in said if not _is_explained(fault, said, file)]


def _as_severe(fault: Fault, source: Source) -> Fault:
    severity = source.severity.get(fault.finding.check, fault.finding.severity)
    return fault._replace(finding=fault.finding.model_copy(update={"severity": severity}))


def _is_explained(fault: Fault, faults: Sequence[Fault], file: File) -> bool:
    columns = set(fault.finding.column.split(", "))
    return any(
        fault.finding.check in _EXPLAINED.get(other.finding.check, ())
        and other.finding.severity == "block"
        and columns <= set(other.finding.column.split(", "))
        and (other.finding.check != "unit_change" or all(_is_restored(file, name) for name in columns))
        for other in faults
    )


def _is_restored(file: File, column: str) -> bool:
    """Say whether a unit leaves nothing else to be said of a column: another fault may look like one from afar."""
    return restored(file.profile.columns[column], file.reference.uploads(column))
