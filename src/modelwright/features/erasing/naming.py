"""Which parts of what is stored people named themselves: of an object's key, and of a document.

A subject may be called as one of our own words, ``rows`` or ``week`` or as a source is. What we named therefore stays
as it is, whoever is erased: folders, sources, digests, members of our documents. Only what people chose is searched for
a subject's name, and changed: files' names below a source's prefix, and texts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelwright.features.erasing.subjects import Subject
from modelwright.storage import BucketName

TEXTS = frozenset({"closed", "last_text", "malformed", "reason", "reasons", "text"})
"""Members of our documents that hold sentences or lines, in which a file's name or a cell may be told."""
QUOTES = "quoting"
"""The member that quotes cells of what somebody sent; it goes as a whole, also where a key is short."""
PATHS: dict[str, BucketName] = {"upload_key": "landing", "key": "lake"}
"""Members of our documents that name objects, and in which bucket."""
_OURS = ("rows.parquet", "reasons.json")
"""In quarantine, beside files that people sent."""
_ENDING = re.compile(r"(?:\.(?:csv|tsv|txt|parquet|json|jsonl|ndjson|html|gz))*$", re.IGNORECASE)

_UNKNOWN = re.compile(r"[a-z0-9]{1,4}")
"""Endings of other files."""


@dataclass(frozen=True)
class Names:
    """Tells names that people chose from our own.

    Attributes:
        prefixes: of sources, in the landing bucket.
        shapes: the columns of each source.
    """

    prefixes: tuple[str, ...] = ()
    shapes: tuple[frozenset[str], ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """The columns of all sources; what is called so in a file is no person."""
        return frozenset().union(*self.shapes)

    def declared(self, columns: Iterable[str]) -> bool:
        """Say whether these are the columns of a source, or some of them, so that it is known what each means."""
        given = set(columns)
        return bool(given) and any(given <= shape or shape <= given for shape in self.shapes if shape)

    def foreign(self, bucket: str, key: str) -> bool:
        """Say whether people wrote an object, in whatever shape they liked."""
        parts = key.split("/")
        sent = parts[0] in ("quarantine", "repaired") and parts[-1] not in _OURS
        return bucket == "landing" or parts[0] == "entities" or sent

    def renamed(self, bucket: str, key: str, subject: Subject) -> str:
        """Return an object's key without the subject's spelling, as far as people chose it."""
        fixed, free = self._split(bucket, key)
        if not free:
            return key
        *folders, file = (_marked(part, subject) for part in free.split("/"))
        return fixed + "/".join([*folders, file])

    def _split(self, bucket: str, key: str) -> tuple[str, str]:
        """Return the part of a key that is ours, and the one that is not."""
        if bucket == "landing":
            fixed = max((prefix for prefix in self.prefixes if key.startswith(prefix)), key=len, default="")
            return fixed, key[len(fixed) :]
        if self.foreign(bucket, key) and key.startswith("quarantine/"):
            folder, _, file = key.rpartition("/")
            return f"{folder}/", file
        return key, ""


def _marked(part: str, subject: Subject) -> str:
    """Return a part of a key in which a mark stands for the subject; a file's ending is no name."""
    ending = _ENDING.search(part)
    stem = part[: ending.start()] if ending else part

    def instead(found: re.Match[str]) -> str:
        unknown = found.end() == len(stem) and stem[: found.start()].endswith(".") and _UNKNOWN.fullmatch(found[0])
        return found[0] if unknown else subject.mark

    return subject.spelling.sub(instead, stem) + part[len(stem) :]
