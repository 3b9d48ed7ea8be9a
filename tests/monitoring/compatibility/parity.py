"""Figures of other tools beside ours: every leaf of a document is computed, or left out by name with a reason."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.monitoring.compatibility.binning import Values
from modelwright.monitoring.compatibility.cells import values_of

DATA = Path(__file__).parent.parent / "data" / "drift"
PRECISION = 1e-9
"""Relative; a figure that is 0 must be within 1e-12 of it."""
FLOAT32 = 1.3e-7
"""Relative, of figures that were rounded to 32 bits: 2^-23 and a little."""
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@cache
def figures(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return found


@cache
def table(side: str) -> pa.Table:
    return pq.read_table(DATA / f"medium_{side}.parquet")


@cache
def raw(side: str, column: str) -> Values:
    """Values in order, times in seconds since 1970."""
    found = table(side).column(column)
    if pa.types.is_timestamp(found.type):
        seconds: Values = found.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
        return seconds
    return values_of(found)


def is_number(column: str) -> bool:
    return column.startswith(("num_", "int_"))


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for name, branch in tree.items():
            yield from leaves(branch, f"{path}/{name}")
    elif isinstance(tree, list | tuple):
        for position, branch in enumerate(tree):
            yield from leaves(branch, f"{path}/{position}")
    else:
        yield path, tree


def attempt(compute: Callable[[], Any]) -> Any:
    """What a computation gives, or the error that it raises as the documents write it."""
    try:
        return compute()
    except (ValueError, np.linalg.LinAlgError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


@dataclass(frozen=True)
class Comparison:
    reproduced: int
    left_out: dict[str, str]
    worst: float
    worst_at: str
    wrong: tuple[str, ...]
    passed_over: tuple[str, ...]
    idle: tuple[str, ...]
    """Reasons that match nothing, or match what is computed all the same."""


def compare(
    expected: Any,
    computed: Any,
    *,
    left_out: Mapping[str, str],
    precision: float = PRECISION,
    looser: Mapping[str, float] | None = None,
    own_words: tuple[str, ...] = (),
) -> Comparison:
    """Compare all leaves.

    Args:
        expected: the document.
        computed: what we make of the same data, in the same shape.
        left_out: reasons by pattern of path.
        precision: relative.
        looser: by pattern of path, the precision there.
        own_words: patterns of errors that are the tool's own: ours are of the same class, in words of our own.
    """
    ours = dict(leaves(computed))
    wrong, passed_over, excused, worst = [], [], {}, (0.0, "")
    reproduced = 0
    for path, value in leaves(expected):
        reason = next((reason for pattern, reason in left_out.items() if fnmatchcase(path, pattern)), None)
        if path not in ours:
            if reason is None:
                passed_over.append(path)
            else:
                excused[path] = reason
            continue
        allowed = next((p for pattern, p in (looser or {}).items() if fnmatchcase(path, pattern)), precision)
        error = _difference(value, ours[path], any(fnmatchcase(path, pattern) for pattern in own_words))
        worst = max(worst, (error if allowed == precision else 0.0, path))
        reproduced += 1
        if not error <= allowed:
            wrong.append(f"{path}: {value!r}, ours {ours[path]!r} ({error:.1e})")
    idle = [pattern for pattern in left_out if not any(fnmatchcase(path, pattern) for path in excused)]
    return Comparison(reproduced, excused, *worst, tuple(wrong), tuple(passed_over), tuple(idle))


def _difference(expected: Any, ours: Any, own_words: bool) -> float:
    if isinstance(expected, str) and expected in _WORDS:
        expected = _WORDS[expected]
    if isinstance(expected, str) and own_words and isinstance(ours, str):
        return 0.0 if expected.split(":")[0] == ours.split(":")[0] else math.inf
    if isinstance(expected, bool | str) or expected is None:
        return 0.0 if _shortened(expected) == _shortened(ours) else math.inf
    return _apart(float(expected), float(ours))


def _apart(expected: float, ours: float) -> float:
    if math.isnan(expected) or math.isnan(ours):
        return 0.0 if math.isnan(expected) and math.isnan(ours) else math.inf
    if math.isinf(expected) or math.isinf(ours):
        return 0.0 if expected == ours else math.inf
    if expected == 0:
        return abs(ours) * PRECISION / 1e-12
    return abs(ours - expected) / abs(expected)


def _shortened(said: Any) -> Any:
    """Figures within errors are printed with as many digits as a process was told to print."""
    return re.sub(r"\d+\.\d{5,}", lambda found: f"{float(found[0]):.5f}", said) if isinstance(said, str) else said
