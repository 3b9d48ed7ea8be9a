"""What SageMaker Model Monitor checks, by its ``constraints.json`` and a baseline's ``statistics.json``.

Its distance is the largest difference of the two distribution functions, or of the shares of a text. ``Robust`` takes
off ``1.8 sqrt((n + m) / (n m))``, the two-sample Kolmogorov-Smirnov bound at a level of 0.3 %; ``Simple`` does not, and
calls small windows drift that are none. Completeness must not fall below the baseline's by a single row, whatever the
number of rows. That numbers are not negative it writes down, and never looks at.
"""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modelwright.errors import InvalidInput
from modelwright.monitoring.columns import ColumnProfile
from modelwright.monitoring.compatibility.documents import (
    Constraints,
    DistributionConstraints,
    FeatureConstraints,
    MonitoringConfig,
    Statistics,
    columns_of,
    integral_share,
)
from modelwright.monitoring.detectors.numbers import kolmogorov_smirnov

ROBUST = 1.8
Check = Literal[
    "data_type_check",
    "completeness_check",
    "baseline_drift_check",
    "missing_column_check",
    "extra_column_check",
    "categorical_values_check",
]


class Judgement(BaseModel):
    """A check of one column.

    Attributes:
        value: what was found.
        limit: beyond which it is a violation.
        description: in words.
    """

    model_config = ConfigDict(frozen=True)
    feature_name: str
    constraint_check_type: Check
    value: float
    limit: float
    violated: bool
    description: str


class Violation(BaseModel):
    """An entry of ``constraint_violations.json``."""

    model_config = ConfigDict(frozen=True)
    feature_name: str
    constraint_check_type: str
    description: str


class Violations(BaseModel):
    """``constraint_violations.json``."""

    model_config = ConfigDict(frozen=True)
    violations: tuple[Violation, ...] = ()


def violations_of(judgements: tuple[Judgement, ...]) -> Violations:
    """Return what was violated as SageMaker writes it."""
    return Violations(
        violations=tuple(
            Violation.model_validate(one.model_dump(include=set(Violation.model_fields)))
            for one in judgements
            if one.violated
        )
    )


def judgements(
    constraints: Constraints, baseline: Statistics | None, current: Mapping[str, ColumnProfile]
) -> tuple[Judgement, ...]:
    """Return what all checks find, violated or not.

    Args:
        constraints: what must hold.
        baseline: what distributions are compared with; None: they are not.
        current: the columns of the window.

    Raises:
        InvalidInput: the constraints ask for what is not supported.
    """
    config = constraints.monitoring_config
    if config.evaluate_constraints == "Disabled":
        return ()
    usual = columns_of(baseline) if baseline is not None else {}
    found: list[Judgement] = []
    for feature in constraints.features:
        column = current.get(feature.name)
        if column is None:
            text = f"the window has no column {feature.name}"
            found.append(_judged(feature.name, "missing_column_check", 1.0, 0.0, text))
            continue
        found += [*_values(feature, column, config), *_distance(feature.name, usual, column, config)]
    known = {feature.name for feature in constraints.features}
    for name in current:
        if name not in known and current[name].kind != "times":
            found.append(_judged(name, "extra_column_check", 1.0, 0.0, f"the baseline has no column {name}"))
    return tuple(found)


def distance(usual: ColumnProfile, now: ColumnProfile, method: Literal["Robust", "Simple"] = "Robust") -> float:
    """Return how far two columns of one kind are apart, in [0, 1]; 0 where one of them has no values."""
    n, m = usual.count, now.count
    if not n or not m:
        return 0.0
    if usual.kind == "numbers":
        simple = kolmogorov_smirnov(usual.distribution, now.distribution).statistic
    else:
        names = {*usual.top, *now.top}
        simple = max((abs(usual.top.get(one, 0) / n - now.top.get(one, 0) / m) for one in names), default=0.0)
    return simple if method == "Simple" else max(0.0, simple - ROBUST * math.sqrt((n + m) / (n * m)))


# --- private -----------------------------------------------------------------------------


def _judged(name: str, check: Check, value: float, limit: float, text: str) -> Judgement:
    return Judgement(
        feature_name=name,
        constraint_check_type=check,
        value=value,
        limit=limit,
        violated=value > limit,
        description=text,
    )


def _values(feature: FeatureConstraints, column: ColumnProfile, config: MonitoringConfig) -> list[Judgement]:
    name, there = feature.name, column.count / column.rows if column.rows else 1.0
    text = f"{there:.2%} of rows have a value, the baseline has {feature.completeness:.2%}"
    found = [_judged(name, "completeness_check", 1 - there, 1 - feature.completeness, text)]
    if not column.count:
        return found
    alike = _share_of_type(feature.inferred_type, column)
    text = f"{alike:.2%} of values are {feature.inferred_type}, at least {config.datatype_check_threshold:.2%} must be"
    found.append(_judged(name, "data_type_check", 1 - alike, 1 - config.datatype_check_threshold, text))
    if feature.string_constraints is not None and feature.string_constraints.domains:
        known = sum(column.top.get(value, 0) for value in feature.string_constraints.domains) / column.count
        text = f"{known:.2%} of values are in the domain, at least {config.domain_content_threshold:.2%} must be"
        found.append(_judged(name, "categorical_values_check", 1 - known, 1 - config.domain_content_threshold, text))
    return found


def _share_of_type(expected: str, column: ColumnProfile) -> float:
    if expected == "Unknown":
        return 1.0
    if (expected == "String") != (column.kind == "categories"):
        return 0.0
    return integral_share(column) if expected == "Integral" else 1.0


def _distance(
    name: str, usual: Mapping[str, ColumnProfile], column: ColumnProfile, config: MonitoringConfig
) -> list[Judgement]:
    rule = config.distribution_constraints
    before = usual.get(name)
    if rule.perform_comparison == "Disabled" or before is None or before.kind != column.kind:
        return []
    found, limit = distance(before, column, rule.comparison_method), _limit(rule, column)
    text = f"{rule.comparison_method} distance {found:.4f} from the baseline, at most {limit:g} is allowed"
    return [_judged(name, "baseline_drift_check", found, limit, text)]


def _limit(rule: DistributionConstraints, column: ColumnProfile) -> float:
    if column.kind == "numbers":
        return rule.comparison_threshold
    if rule.categorical_drift_method == "ChiSquared":
        raise InvalidInput("categorical_drift_method ChiSquared is not supported here: say LInfinity, its default")
    of_texts = rule.categorical_comparison_threshold
    return rule.comparison_threshold if of_texts is None else of_texts
