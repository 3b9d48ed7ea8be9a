"""What people write on a model card: its sections, and the rules of their revisions.

Each write makes the next revision, which holds all sections and never changes. A version whose card nobody wrote
shows its predecessor's sections as *carried over* from the version in which somebody wrote them. That is a draft:
what was intended of v3 need not be of v4, so a carried section counts as written only when somebody writes
it, or confirms it as it is.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.log import canonical

SectionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
USUAL = ("intended_use", "limitations", "ethical_considerations", "owner", "contact", "caveats")
"""Sections in the order of a card; others follow by name."""

GENERATED = (
    "overview", "training_data", "features", "metrics", "slices", "comparison", "drift", "lineage", "approvals",
    "serving", "missing",
)  # fmt: skip
"""Sections that the platform writes: people may not."""

LONGEST = 20_000
MOST_BYTES = 200_000
MOST = 40
LAST_REVISION = 999_999
EVERY = "*"


class Section(BaseModel):
    """One section.

    Attributes:
        text: Markdown.
        by: who wrote or confirmed it.
        carried_from: the version for which somebody did; 0: for this one.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    text: str
    by: str
    at: datetime
    carried_from: int = 0


class Card(BaseModel):
    """One revision of what people wrote on a version's card.

    Attributes:
        revision: from 1; 0 where nobody wrote yet.
        salt: random, so that the log's digest tells nothing of a text that was erased.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    version: int
    revision: int = 0
    by: str = ""
    at: datetime | None = None
    salt: str = ""
    sections: dict[str, Section] = Field(default_factory=dict)

    @property
    def written(self) -> frozenset[str]:
        """Names of the sections that people wrote, or confirmed, for this very version."""
        return frozenset(name for name, section in self.sections.items() if not section.carried_from)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of salt and texts by name; empty where nobody wrote yet."""
        texts = {name: section.text for name, section in self.sections.items()}
        return hashlib.sha256(canonical({"salt": self.salt, "sections": texts})).hexdigest() if self.revision else ""

    def ordered(self) -> list[tuple[str, Section]]:
        """Return the sections in the order of a card."""
        place = {name: number for number, name in enumerate(USUAL)}
        return sorted(self.sections.items(), key=lambda pair: (place.get(pair[0], len(USUAL)), pair[0]))

    def carried_to(self, version: int) -> "Card":
        """Return the draft that a later version starts with."""
        carried = {
            name: section.model_copy(update={"carried_from": section.carried_from or self.version})
            for name, section in self.sections.items()
        }
        return Card(version=version, sections=carried)

    def having(self, call: Call, texts: Mapping[str, str], confirm: Iterable[str]) -> "Card":
        """Return the next revision; the card itself when nothing would change.

        Args:
            call: who writes.
            texts: by section's name; an empty one removes the section.
            confirm: sections that stand as they are; ``*``: all.

        Raises:
            InvalidInput: a section is the platform's own, too long, not there, or there are too many.
        """
        sections = dict(self.sections)
        for name in self._confirmed(confirm):
            sections[name] = _stated(call, sections[name], sections[name].text)
        for name, said in texts.items():
            text = _checked(name, said)
            if text:
                sections[name] = _stated(call, sections.get(name), text)
            else:
                sections.pop(name, None)
        if sections == self.sections:
            return self
        if self.revision >= LAST_REVISION or len(sections) > MOST:
            raise InvalidInput(f"a card has at most {MOST} sections and {LAST_REVISION} revisions")
        size = sum(len(section.text.encode()) for section in sections.values())
        if size > MOST_BYTES:
            raise InvalidInput(f"the sections of a card may have {MOST_BYTES} bytes, these have {size}")
        changed = {"sections": sections, "revision": self.revision + 1, "by": call.actor, "at": call.now}
        return self.model_copy(update={**changed, "salt": secrets.token_hex(16)})

    def changed_since(self, before: "Card") -> tuple[str, ...]:
        """Return the names of the sections that people changed since another revision."""
        gone = set(before.sections) - set(self.sections)
        stated = {name for name in self.written if self.sections[name] != before.sections.get(name)}
        return tuple(sorted(gone | stated))

    def _confirmed(self, names: Iterable[str]) -> list[str]:
        wanted = list(names)
        if EVERY in wanted:
            return list(self.sections)
        if unknown := sorted(set(wanted) - set(self.sections)):
            known = ", ".join(sorted(self.sections)) or "none"
            raise InvalidInput(f"there is nothing to confirm in {', '.join(unknown)}: the card has {known}")
        return wanted


def title(name: str) -> str:
    """Return a section's name as a heading: ``intended_use`` is "Intended use"."""
    return name.replace("_", " ").capitalize()


def _stated(call: Call, before: Section | None, text: str) -> Section:
    """Return a section as its writer states it; what was stated for this version before stays as it was."""
    if before is not None and before.text == text and not before.carried_from:
        return before
    return Section(text=text, by=call.actor, at=call.now)


def _checked(name: str, text: str) -> str:
    if name in GENERATED:
        raise InvalidInput(f"the section {name} is written by the platform, not by people")
    if len(text) > LONGEST:
        raise InvalidInput(f"the section {name} has {len(text)} characters, it may have {LONGEST}")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
