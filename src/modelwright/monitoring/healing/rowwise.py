"""Repairs of rows: repeated ones, and values that are missing where a rule is stated for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.healing.numerals import Style
from modelwright.monitoring.healing.past import Past
from modelwright.monitoring.healing.repairs import Damaged, Proposal
from modelwright.monitoring.healing.timestyles import TimeStyle
from modelwright.monitoring.reading import UTC_TIME, Mask
from modelwright.monitoring.rows import codes_of
from modelwright.project import Source

_SAME = 0.5
"""Share of the values of a row that a correction of it leaves as they are."""


@dataclass(frozen=True)
class Deduplication:
    """Keeps one row of each key: of exact repeats the first, of versions the one that became known last.

    Versions are told apart by the column that the source states for it (``available_at``). Where different rows of a
    key have the same availability, or the source states no such column, nothing is proposed: nobody said which counts.
    It is a guess where versions say less than half the same: they may be about something else under a wrong key.
    """

    name: str = "deduplication"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.sheet is None or damaged.missing:
            return ()
        table = pa.table({name: damaged.typed(name)[0] for name in damaged.source.columns})
        gone, versions = _superseded(table, damaged.source.key, damaged.source.available_at)
        if gone is None or not gone.any():
            return ()
        sure = not versions or _corrections(table, gone, damaged.source)
        rows = tuple(np.flatnonzero(gone).tolist())
        how = "of each key keeps what became known last" if versions else "keeps one of rows that are the same"
        return [Proposal(damaged.sheet.without(gone), f"{how}: {len(rows)} rows less", sure=sure, taken=rows)]


def _corrections(table: pa.Table, gone: Mask, source: Source) -> bool:
    """Say whether what does not count says mostly the same as what does: else it may be of something else."""
    keys = codes_of(table.select(list(source.key)))
    kept = {int(key): row for row, key in enumerate(keys) if not gone[row]}
    rows = np.flatnonzero(gone)
    survivors = np.array([kept[int(keys[row])] for row in rows])
    said = [name for name in source.columns if name not in source.key and name != source.available_at]
    columns = (codes_of(table.select([name])) for name in said)
    same = np.array([codes[rows] == codes[survivors] for codes in columns])
    return not said or bool(np.all(same.mean(axis=0) >= _SAME))


def _superseded(table: pa.Table, key: Sequence[str], available_at: str) -> tuple[Mask | None, bool]:
    """Return the rows that do not count, None where that cannot be said, and whether any is a version of another."""
    keys = codes_of(table.select(list(key)))
    whole = codes_of(table)
    gone = np.zeros(table.num_rows, dtype=bool)
    _, first = np.unique(whole, return_index=True)
    gone[:] = True
    gone[first] = False
    left = np.flatnonzero(~gone)
    _, inverse, counts = np.unique(keys[left], return_inverse=True, return_counts=True)
    if counts.max(initial=0) < 2:
        return gone, False
    if not available_at:
        return None, False
    known = table.column(available_at).cast(UTC_TIME).cast(pa.int64())
    if known.null_count:
        return None, False
    times = np.asarray(known.to_numpy())[left]
    latest = np.full(len(counts), np.iinfo(np.int64).min)
    np.maximum.at(latest, inverse, times)
    last = times == latest[inverse]
    if np.bincount(inverse, weights=last, minlength=len(counts)).max() > 1:
        return None, True
    gone[left[~last]] = True
    return gone, True


@dataclass(frozen=True)
class Imputation:
    """Fills missing values of the columns for which ``Healing.impute`` states a rule, and of no other.

    ``median`` and ``mode`` are those of what was accepted before; anything else is the value itself.
    """

    name: str = "imputation"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        sheet, stated = damaged.sheet, damaged.source.healing.impute
        if sheet is None or damaged.missing:
            return ()
        done = []
        for name in (name for name in damaged.source.columns if name in stated):
            values = sheet.values(name)
            empty = _empty(values)
            said = _stated(damaged.past, name, stated[name])
            if said is None or not empty.any() or name not in damaged.found("required", "missing_rate"):
                continue
            sheet = sheet.with_values(name, _filled(values, empty, said))
            done.append(f"{int(empty.sum())} of {name} by {_rule(stated[name])}")
        return [Proposal(sheet, f"fills missing values: {'; '.join(done)}")] if done else ()


def _rule(stated: str | float) -> str:
    return f"the {stated} of what was accepted" if stated in ("median", "mode") else "the stated value"


def _empty(values: pa.Array) -> Mask:
    empty = values.is_null(nan_is_null=True)
    return np.asarray(empty.to_numpy(zero_copy_only=False)).astype(bool)


def _stated(past: Past, name: str, rule: str | float) -> str | float | None:
    if rule not in ("median", "mode"):
        return rule
    column = past.column(name)
    known = None if column is None else column.drop_null()
    if known is None or not len(known):
        return None
    if rule == "mode":
        value: Any = _commonest(known) if pa.types.is_string(known.type) else pc.mode(known)[0]["mode"].as_py()
    else:
        value = float(np.median(known.cast(pa.float64(), safe=False).to_numpy()))
    return str(value).lower() if isinstance(value, bool) else value


def _commonest(words: pa.ChunkedArray) -> str:
    counts = pc.value_counts(words).to_pylist()
    return str(min(counts, key=lambda one: (-one["counts"], one["values"]))["values"])


def _filled(values: pa.Array, empty: Mask, said: str | float) -> pa.Array:
    if pa.types.is_string(values.type):
        style = Style.of(values.to_pylist())
        text = said if isinstance(said, str) else style.model_copy(update={"decimals": None}).write(said)
        return pc.if_else(pa.array(empty), pa.scalar(text), values)
    whole = pa.types.is_integer(values.type) and float(said) == int(float(said))
    scalar = pa.scalar(said) if not whole else pa.scalar(int(float(said)), values.type)
    return pc.if_else(pa.array(empty), scalar, values)


@dataclass(frozen=True)
class LateFile:
    """Nothing is wrong but that the file is late: its rows are of before what was accepted meanwhile.

    They go in as they are, but for when they became known: not before the file landed, whatever it says, so that no
    answer and no training set of before changes (``Source.available_at``).
    """

    name: str = "late_file"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.sheet is None or damaged.missing or "late_file" not in damaged.checks:
            return ()
        name = damaged.source.available_at
        if not name:
            return [Proposal(damaged.sheet, "takes the rows as they are, as late ones")]
        typed, _ = damaged.typed(name)
        landed = pa.scalar(damaged.landed_at, UTC_TIME)
        early = np.asarray(pc.less(typed, landed).fill_null(False).to_numpy(zero_copy_only=False)).astype(bool)
        if not early.any():
            return ()
        values = damaged.sheet.values(name)
        if pa.types.is_string(values.type):
            landed = pa.scalar(TimeStyle.of_file(damaged).write(damaged.landed_at), pa.string())
        else:
            values = typed
        sheet = damaged.sheet.with_values(name, pc.if_else(pa.array(early), landed, values))
        return [Proposal(sheet, f"says in {name} of {int(early.sum())} rows that they became known when they landed")]
