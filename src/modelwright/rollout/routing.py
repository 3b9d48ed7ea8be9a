"""Which version answers a row: a hash, so that the same prediction meets the same version."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from modelwright.events import Route

_SPACE = 2**64


def bucket(salt: str, prediction_id: str) -> float:
    """Return where a prediction lies in [0, 100): the same for the same salt and id, uniform over ids."""
    digest = hashlib.sha256(f"{salt}\x1f{prediction_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _SPACE * 100


@dataclass(frozen=True, slots=True)
class Split:
    """Who scores which rows of a request.

    Attributes:
        champion: the version that answers what the canary does not.
        canary: the version of the canary, if there is one.
        on_canary: per row, whether the canary answers it.
        shadows: versions that score everything they do not answer.
    """

    champion: int
    canary: int | None
    on_canary: tuple[bool, ...]
    shadows: tuple[int, ...]

    def without(self, version: int) -> "Split":
        """Return the split if a version other than the champion could not score."""
        if version != self.canary:
            return Split(self.champion, self.canary, self.on_canary, tuple(s for s in self.shadows if s != version))
        shadows = tuple(s for s in self.shadows if s != version)
        return Split(self.champion, None, (False,) * len(self.on_canary), shadows)

    def rows_of(self, version: int) -> list[int]:
        """Return the rows that a version scores; the champion scores the canary's too, to be compared with."""
        if version == self.champion or version in self.shadows:
            return list(range(len(self.on_canary)))
        return [n for n, on in enumerate(self.on_canary) if on and version == self.canary]

    def role_of(self, version: int, row: int) -> str:
        """Return the role in which a version scores a row."""
        answers = self.on_canary[row] == (version == self.canary)
        if version not in (self.champion, self.canary) or not answers:
            return "shadow"
        return "canary" if version == self.canary else "champion"

    @property
    def versions(self) -> tuple[int, ...]:
        """Every version that scores something, the champion first."""
        canary = (self.canary,) if self.canary is not None and any(self.on_canary) else ()
        return tuple(dict.fromkeys((self.champion, *canary, *self.shadows)))


def split(routes: Sequence[Route], salt: str, prediction_ids: Sequence[str]) -> Split:
    """Return who scores what; routes must hold a champion."""
    champion = next(route.version for route in routes if route.role == "champion")
    canary = next((route for route in routes if route.role == "canary"), None)
    share = canary.percent if canary else 0
    return Split(
        champion=champion,
        canary=canary.version if canary else None,
        on_canary=tuple(share > 0 and bucket(salt, identity) < share for identity in prediction_ids),
        shadows=tuple(route.version for route in routes if route.role == "shadow"),
    )
