"""Profiles as documents that are kept, read again, merged, so that a day is the sum of its hours, and compared with.

``columns`` says what is known of a column, ``profiles`` how a file is profiled. A ``Reference`` is the profiles of what
was accepted before: their pool, and each upload by itself, because how much uploads differ among themselves is the
measure of what is normal.

A profile has at most about ``NUMBERS`` numbers in its sketches, because sixty of them have to lie in memory at once:
sketches of up to 128 columns are what ``sketches`` makes of them, those of 500 columns have a thousand points each.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from pydantic import BaseModel, ConfigDict, field_validator

from modelwright.monitoring.columns import ColumnProfile, pool

VERSION = 2
NUMBERS = 1 << 19
"""4 MB of a profile, 250 MB of a reference; a sketch of a thousand points errs by a thousandth."""
FEWEST = 64
_LOOKED_AT = 4
_OBJECT = 4_000
"""Bytes of a column besides its sketch, about."""
_GZIP, _JSON = b"\x1f\x8b", b"{"


class Profile(BaseModel):
    """All columns of one file, or of several merged.

    Attributes:
        digest: of the file's content; of several, of their digests.
        start: smallest event time.
        end: largest event time.
        duplicates: rows whose key another row of the same file had before; None where there is no key.
        landed: when the file landed; None where that is not known, as of several.
        undeclared: columns that it had besides those of its source.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    profile_version: int = VERSION
    source: str
    digest: str
    rows: int
    start: datetime
    end: datetime
    columns: dict[str, ColumnProfile]
    duplicates: int | None = None
    landed: datetime | None = None
    undeclared: tuple[str, ...] = ()

    @field_validator("profile_version")
    @classmethod
    def _lifted(cls, version: int) -> int:
        """What is read is of this version, since columns lift what is older."""
        return max(version, VERSION)

    def packed(self) -> bytes:
        """Return the document as the lake keeps it: JSON, compressed; the same for the same profile."""
        return gzip.compress(self.model_dump_json().encode(), 6, mtime=0)

    def thinned(self, numbers: int = NUMBERS) -> "Profile":
        """Return the profile with about so many numbers at most in all sketches together."""
        most = max(FEWEST, numbers // max(1, len(self.columns)))
        columns = {name: column.thinned(most) for name, column in self.columns.items()}
        if all(columns[name] is column for name, column in self.columns.items()):
            return self
        return self.model_copy(update={"columns": columns})

    @cached_property
    def memory_b(self) -> int:
        """About how much memory it takes."""
        sketches = sum(level.nbytes for one in self.columns.values() for level in one.sketch.levels)
        words = sum(len(one.top) for one in self.columns.values())
        return sketches + 100 * words + _OBJECT * len(self.columns)

    @classmethod
    def unpacked(cls, data: bytes) -> "Profile":
        """Read a document of any version, compressed or not."""
        body = bytes(data)
        if body.startswith(_GZIP):
            body = gzip.decompress(body)
        elif not body.startswith(_JSON):
            body = zlib.decompress(body)
        return cls.model_validate_json(body)


def merged(profiles: Sequence[Profile]) -> Profile:
    """Return the profile of several files of one source together, of which there is at least one.

    Duplicates are those within each file, since profiles keep no keys.
    """
    parts: dict[str, list[ColumnProfile]] = {}
    for profile in sorted(profiles, key=lambda one: (one.end, one.digest)):
        for name, column in profile.columns.items():
            parts.setdefault(name, []).append(column)
    counted = [profile.duplicates for profile in profiles if profile.duplicates is not None]
    digests = sorted(profile.digest for profile in profiles)
    return Profile(
        source=profiles[0].source,
        digest=digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        rows=sum(profile.rows for profile in profiles),
        start=min(profile.start for profile in profiles),
        end=max(profile.end for profile in profiles),
        columns={name: pool(columns) for name, columns in parts.items()},
        duplicates=sum(counted) if counted else None,
    )


@dataclass(frozen=True)
class Reference:
    """What a file or window is compared with.

    Attributes:
        profiles: uploads that were accepted, oldest first.
        text: in words, which they are, or why there are none.
    """

    profiles: tuple[Profile, ...]
    text: str = ""

    @property
    def rows(self) -> int:
        """Rows of all uploads together."""
        return sum(profile.rows for profile in self.profiles)

    def uploads(self, column: str) -> list[ColumnProfile]:
        """Return the profile of a column in each upload that has values of it."""
        return [profile for _, profile in self.by_upload(column) if profile.count]

    def by_upload(self, column: str) -> list[tuple[Profile, ColumnProfile]]:
        """Return the uploads that have a column, each with its profile.

        Of the columns that were looked at last only, what their profiles were asked for is remembered: that of all
        would take four times as much memory as the profiles themselves.
        """
        if column not in self._looked_at:
            while len(self._looked_at) >= _LOOKED_AT:
                del self._looked_at[next(iter(self._looked_at))]
            known = ((profile, profile.columns.get(column)) for profile in self.profiles)
            self._looked_at[column] = [(profile, one.afresh()) for profile, one in known if one is not None]
        return self._looked_at[column]

    def pooled(self, column: str) -> ColumnProfile | None:
        """Return the column over all uploads together (None: never seen)."""
        return self._pools.get(column)

    @cached_property
    def _looked_at(self) -> dict[str, list[tuple[Profile, ColumnProfile]]]:
        return {}

    @cached_property
    def _pools(self) -> dict[str, ColumnProfile]:
        return dict(merged(self.profiles).columns) if self.profiles else {}
