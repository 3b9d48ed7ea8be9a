"""What the replay would have cost on AWS: what the functions counted, at the prices of one region.

Duration is this machine's, so compute is an order of magnitude; units, calls and events are exact.
Storage, logs, traces and data transfer are not in it, nor is any free tier.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from modelwright.events import SCHEDULE_DUE
from modelwright.local import translation

PRICE_SOURCE = "AWS's public price list: us-east-1, on demand, Lambda on arm64; DynamoDB's as lowered in November 2024"
_MILLION = 1_000_000
PRICES = {
    "lambda_gb_seconds": 0.0000133334,
    "lambda_requests": 0.20 / _MILLION,
    "dynamodb_read_units": 0.125 / _MILLION,
    "dynamodb_write_units": 0.625 / _MILLION,
    "s3_reads": 0.0004 / 1000,
    "s3_writes": 0.005 / 1000,
    "events": 1.00 / _MILLION,
    "http_requests": 1.00 / _MILLION,
}
"""US dollars per unit; an HTTP request is one of an HTTP API, an event one put on EventBridge's bus."""

_DEFAULT_MB = 128
_COUNTED = {
    "dynamodb_read_units": "read_units",
    "dynamodb_write_units": "write_units",
    "s3_reads": "s3_reads",
    "s3_writes": "s3_writes",
}


class Cost(TypedDict):
    """What it would have cost, in US dollars.

    Attributes:
        parts: by what is paid for; they sum up to ``total``.
        units: what was counted, by the same names.
        prices: dollars per unit.
    """

    currency: str
    total: float
    per_week: float
    per_1000_predictions: float
    parts: dict[str, float]
    units: dict[str, float]
    prices: dict[str, float]
    source: str


@dataclass(frozen=True, slots=True)
class Training:
    """A training's time, for functions whose invocations print no outcome."""

    seconds: float
    function: str = "train"


def memory_sizes(template: str) -> dict[str, int]:
    """Return each function's memory in MB, from the text of a SAM template."""
    document = translation.parse(template)
    names = translation.functions(document)
    resources = document["Resources"]
    return {name: int(resources[key]["Properties"].get("MemorySize", _DEFAULT_MB)) for key, name in names.items()}


def estimate(
    outcomes: Iterable[Mapping[str, Any]],
    memory: Mapping[str, int],
    *,
    events: int,
    trainings: Iterable[Training],
    weeks: int,
    predictions: int,
) -> Cost:
    """Return the cost of a replay.

    Args:
        outcomes: one per invocation: ``service``, ``ms`` and what it counted, as in the functions' outcome lines (an
            invocation that printed none has only the first two).
        memory: MB by function.
        events: log items, each of which went over the bus.
        trainings: counted when no outcome is of their function.
        weeks: that were replayed.
        predictions: that were answered.
    """
    units: Counter[str] = Counter(dict.fromkeys(PRICES, 0))
    services, schedules = set(), set()
    for outcome in outcomes:
        service = str(outcome.get("service", ""))
        services.add(service)
        units.update(_units(outcome, memory.get(service, _DEFAULT_MB)))
        if str(outcome.get("message", "")).startswith(SCHEDULE_DUE):
            schedules.add(outcome.get("correlation_id"))
    for training in trainings:
        if training.function not in services:
            gb = memory.get(training.function, _DEFAULT_MB) / 1024
            units.update({"lambda_gb_seconds": training.seconds * gb, "lambda_requests": 1})
    units["events"] += events + len(schedules)
    parts = {name: units[name] * price for name, price in PRICES.items()}
    total = sum(parts.values())
    return Cost(
        currency="USD",
        total=total,
        per_week=total / max(weeks, 1),
        per_1000_predictions=1000 * total / max(predictions, 1),
        parts=parts,
        units={name: float(units[name]) for name in PRICES},
        prices=dict(PRICES),
        source=PRICE_SOURCE,
    )


def _units(outcome: Mapping[str, Any], memory_mb: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: outcome.get(key, 0) for name, key in _COUNTED.items()}
    found["lambda_gb_seconds"] = float(outcome.get("ms", 0)) / 1000 * memory_mb / 1024
    found["lambda_requests"] = 1
    found["http_requests"] = int("status" in outcome)
    return found
