"""What a repair is: a plugin of ``modelwright.repairs`` that says in which ways a held-back file could be mended.

A repair changes nothing and decides nothing. It *proposes*: none, one, or all the ways between which it cannot choose,
each with the evidence that makes it *sure* or leaves it to a person. ``searching`` looks which of them make quality
pass, and goes on only where there is exactly one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Protocol

import pyarrow as pa

from modelwright.errors import InvalidInput
from modelwright.events import Finding
from modelwright.monitoring.healing.past import Past
from modelwright.monitoring.healing.sheets import Sheet, sheet_of
from modelwright.monitoring.reading import Mask, typed_array
from modelwright.project import Source


@dataclass(frozen=True)
class Damaged:
    """A file that did not pass quality, as repairs see it.

    Attributes:
        body: its bytes.
        source: what it should be.
        findings: what is wrong with it.
        past: what was accepted of the source before.
        landed_at: when it landed.
    """

    body: bytes
    source: Source
    findings: tuple[Finding, ...]
    past: Past
    landed_at: datetime

    @cached_property
    def sheet(self) -> Sheet | None:
        """Its cells; None where it cannot be read as it is."""
        try:
            return sheet_of(self.body)
        except InvalidInput:
            return None

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Declared columns that it does not have."""
        return tuple(name for name in self.source.columns if self.sheet and name not in self.sheet.names)

    @cached_property
    def undeclared(self) -> tuple[str, ...]:
        """Columns that it has and that nobody declared."""
        return tuple(name for name in self.sheet.names if name not in self.source.columns) if self.sheet else ()

    def found(self, *checks: str) -> frozenset[str]:
        """Return the columns that some checks blame."""
        blamed = (finding.column for finding in self.findings if finding.check in checks)
        return frozenset(name for columns in blamed for name in columns.split(", ") if name)

    @property
    def blamed(self) -> frozenset[str]:
        """Columns that any check blames."""
        return self.found(*(finding.check for finding in self.findings))

    @property
    def checks(self) -> frozenset[str]:
        """Which checks did not pass."""
        return frozenset(finding.check for finding in self.findings if finding.severity == "block")

    def typed(self, name: str, declared: str = "") -> tuple[pa.Array, Mask | None]:
        """Return a column in the canonical type of a declared one, and which cells could not be it.

        Args:
            name: of the column in the file.
            declared: of the column as which it is read; itself, if it is not said.
        """
        assert self.sheet is not None
        values = self.sheet.values(name)
        return typed_array(pa.chunked_array([values]), self.source.columns[declared or name].type)


@dataclass(frozen=True)
class Proposal:
    """One way to mend a file.

    Attributes:
        sheet: the file, mended.
        text: what is done, without a value of a row: it goes into the log for ever.
        before: the file as it was read, where that was not as UTF-8 with commas.
        sure: whether the evidence is enough to do it without asking, if no other way is plausible.
        taken: rows that are taken out.
        forward: by column, the formula by which what was there came from what is there now.
    """

    sheet: Sheet
    text: str
    before: Sheet | None = None
    sure: bool = True
    taken: tuple[int, ...] = ()
    forward: Mapping[str, str] = field(default_factory=dict)


class Repair(Protocol):
    """A plugin that knows one kind of damage; made without arguments, keeps no state."""

    @property
    def name(self) -> str:
        """How configuration and logs call it."""
        ...

    @property
    def version(self) -> int:
        """Raised when the same damage is mended in another way than before."""
        ...

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """Return the ways in which a file could be mended: all that fit, none if this is not what is wrong with it."""
        ...
