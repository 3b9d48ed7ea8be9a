"""Checks of what a file is: its end, its columns."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from modelwright.events import Finding
from modelwright.monitoring.checks.files import MIN_ROWS, MIN_UPLOADS, Fault, File, fault
from modelwright.monitoring.checks.spreads import scale_of
from modelwright.monitoring.checks.units import SAME, distance
from modelwright.monitoring.documents import Reference
from modelwright.monitoring.profiles import column_profile
from modelwright.monitoring.reading import typed_array
from modelwright.project import Source


@dataclass(frozen=True)
class TruncatedFile:
    """A text file breaks off: its last line has no end, and it has fewer rows than any before.

    A last line that lacks fields is held in any case; one that is whole may still lack digits, and is held where the
    file is shorter than ``share`` of the shortest before.
    """

    learned: ClassVar[bool] = True
    name: str = "truncated_file"
    share: float = 0.9

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        before = [one.rows for one in file.reference.profiles]
        if not file.rows.unended or len(before) < MIN_UPLOADS or file.count >= self.share * min(before):
            return []
        text = f"the file is cut: its last line has no end, and it has {file.count} rows, usually {min(before)} or more"
        if file.rows.cut_line:
            return [fault(self.name, "", False, text)]
        last = np.zeros(file.count, dtype=bool)
        last[-1] = True
        return [fault(self.name, "", True, text, last)]


@dataclass(frozen=True)
class Schema:
    """A file has columns that neither its source declares nor the last accepted file had; they are not read."""

    learned: ClassVar[bool] = True
    name: str = "schema"

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        before = [set(one.undeclared) for one in file.reference.profiles[-1:]]
        new = [name for name in file.rows.undeclared if before and name not in before[0]]
        if not new:
            return []
        told = f"{', '.join(new[:5])}{', ...' if len(new) > 5 else ''}"
        return [fault(self.name, "", False, f"the file has new columns that are not declared: {told}")]


def renamed(table: pa.Table, source: Source, reference: Reference) -> tuple[Finding, ...]:
    """Say which column of a file that lacks declared ones may be one of these, by its name and by its values.

    Only where most columns are there, so that the file's first line surely is a header and not somebody's data.

    Args:
        table: the file.
        source: what it should be.
        reference: what was accepted before.
    """
    missing = [name for name in source.columns if name not in table.column_names]
    others = [name for name in table.column_names if name not in source.columns]
    if len(missing) * 2 > len(source.columns):
        return ()
    found = []
    for name in missing:
        likely = {other: _likeness(table, other, name, source, reference) for other in others}
        best = max(likely, key=lambda other: likely[other], default="")
        if best and likely[best] > 0:
            text = f"{name}: the file has no such column; {best} looks like it was renamed"
            found.append(Finding(check="renamed_column", column=name, severity="block", text=text))
    return tuple(found)


def _likeness(table: pa.Table, other: str, name: str, source: Source, reference: Reference) -> float:
    """Return how much a column looks like a declared one, above 0 if at all: 1 for its values, up to 1 for its name."""
    kind = source.columns[name].type
    typed, broken = typed_array(table.column(other), kind)
    if broken is not None and broken.mean() > 0.5:
        return 0.0
    named = difflib.SequenceMatcher(None, other.lower(), name.lower()).ratio()
    now = column_profile(pa.chunked_array([typed]), kind)
    uploads = [one for one in reference.uploads(name) if one.kind == now.kind]
    if not uploads or now.count < MIN_ROWS or name in source.key:
        return named if named > 0.4 else 0.0
    if kind in ("integer", "number"):
        scale = scale_of(uploads)
        near = scale > 0 and distance(now, uploads[-4:], SAME, scale) < 1
        return named + 1 if near else 0.0
    if now.kind == "categories" and now.top:
        seen = {value for upload in uploads for value in upload.top}
        return named + sum(count for value, count in now.top.items() if value in seen) / sum(now.top.values())
    return named
