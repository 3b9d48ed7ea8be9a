"""Segments: rows for which a column or an expression has the same value, profiled each by itself.

The profiles of an upload's segments lie beside its own in the lake, so that later windows have references by segment.
Of an expression with many values the ``MOST`` most frequent (in what was accepted before, then in these rows) are
segments, and all others together are one.
"""

import gzip
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from modelwright.errors import InvalidInput
from modelwright.monitoring import formulas
from modelwright.monitoring.documents import NUMBERS, Profile, Reference, merged
from modelwright.monitoring.profiles import profile_of
from modelwright.project import Source

MOST = 20
OTHERS = "all others"
MISSING = "missing"
_LONGEST_LABEL = 120


class Segments(BaseModel):
    """The profiles of an upload's segments.

    Attributes:
        profiles: by expression and value.
        values: by expression, how many different values these rows have.
        faults: by expression that could not be evaluated, why.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    segments_version: int = 1
    profiles: dict[str, dict[str, Profile]] = Field(default_factory=dict)
    values: dict[str, int] = Field(default_factory=dict)
    faults: dict[str, str] = Field(default_factory=dict)

    def packed(self) -> bytes:
        """Return the document as the lake keeps it; the same for the same segments."""
        return gzip.compress(self.model_dump_json().encode(), 6, mtime=0)

    @classmethod
    def unpacked(cls, data: bytes) -> "Segments":
        """Read a document."""
        return cls.model_validate_json(gzip.decompress(data))

    @property
    def columns(self) -> int:
        """How many profiles of columns it has."""
        return sum(len(profile.columns) for by in self.profiles.values() for profile in by.values())

    @property
    def memory_b(self) -> int:
        """About how much memory it takes."""
        return sum(profile.memory_b for by in self.profiles.values() for profile in by.values())

    def thinned(self) -> "Segments":
        """Return the segments with about as many numbers together as one profile may have."""
        share = NUMBERS // max(1, sum(map(len, self.profiles.values())))
        thin = {e: {value: profile.thinned(share) for value, profile in by.items()} for e, by in self.profiles.items()}
        return self.model_copy(update={"profiles": thin})

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of them."""
        many = (
            f"segments of {expression}: the {MOST} most frequent of {count} values, the others together"
            for expression, count in sorted(self.values.items())
            if count > MOST
        )
        faulty = (f"no segments of {expression}: {text}" for expression, text in sorted(self.faults.items()))
        return (*many, *faulty)


def segments_of(table: pa.Table, name: str, source: Source, digest: str, before: Iterable[Segments]) -> Segments:
    """Profile the segments of rows.

    Args:
        table: canonical rows.
        name: of their source.
        source: its declaration.
        digest: of their content.
        before: segments of what was accepted before, so that the same values are segments again.
    """
    known = _known(before)
    profiles, values, faults = {}, {}, {}
    for expression in source.drift.segments:
        try:
            texts = _texts(formulas.evaluate(expression, table))
        except InvalidInput as error:
            faults[expression] = error.logged
            continue
        counts = Counter(texts.tolist())
        values[expression] = len(counts)
        chosen = _chosen(counts, known.get(expression, Counter()))
        labels = np.array([text if text in chosen else OTHERS for text in texts.tolist()], dtype=object)
        profiles[expression] = {
            value: profile_of(rows, name, source, digest)
            for value in sorted(set(labels.tolist()))
            if (rows := table.filter(pa.array(labels == value))).column(source.event_time).null_count < rows.num_rows
        }
    return Segments(profiles=profiles, values=values, faults=faults).thinned()


def together(parts: Sequence[Segments]) -> Segments:
    """Return the segments of several files of one window."""
    found: dict[str, dict[str, list[Profile]]] = {}
    for part in parts:
        for expression, profiles in part.profiles.items():
            for value, profile in profiles.items():
                found.setdefault(expression, {}).setdefault(value, []).append(profile)
    return Segments(
        profiles={e: {value: merged(ps) for value, ps in sorted(by.items())} for e, by in found.items()},
        values={e: max(part.values.get(e, 0) for part in parts) for e in found},
        faults={e: text for part in parts for e, text in part.faults.items()},
    ).thinned()


def compared_with(segments: Segments, before: Sequence[Segments], text: str) -> Mapping[str, tuple[Profile, Reference]]:
    """Return each segment beside its reference, by name such as ``carrier = UA``.

    Args:
        segments: of the window.
        before: of the reference, oldest first.
        text: the reference in words.
    """
    return {
        f"{expression} = {value}": (profile, Reference(past, f"{text}, where {expression} = {value}"))
        for expression, profiles in segments.profiles.items()
        for value, profile in profiles.items()
        if (past := tuple(p for one in before if (p := one.profiles.get(expression, {}).get(value)) is not None))
    }


# --- private -----------------------------------------------------------------------------


def _known(before: Iterable[Segments]) -> dict[str, Counter[str]]:
    known: dict[str, Counter[str]] = {}
    for one in before:
        for expression, profiles in one.profiles.items():
            rows = {value: profile.rows for value, profile in profiles.items() if value != OTHERS}
            known.setdefault(expression, Counter()).update(rows)
    return known


def _chosen(counts: Counter[str], known: Counter[str]) -> set[str]:
    """Return the values that are segments; those of before first, so that they mean the same."""
    order = sorted(known, key=lambda value: (-known[value], value))
    order += sorted(set(counts) - set(known), key=lambda value: (-counts[value], value))
    return set(order[:MOST])


def _texts(values: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """Return values as people read them."""
    kind = values.type
    if pa.types.is_boolean(kind):
        texts = pc.if_else(values, "true", "false")
    elif pa.types.is_floating(kind):
        texts = pa.array([None if value is None else f"{value:g}" for value in values.to_pylist()], pa.string())
    else:
        texts = values.cast(pa.string())
    filled: np.ndarray[tuple[int], np.dtype[np.object_]] = pc.fill_null(texts, MISSING).to_numpy(zero_copy_only=False)
    return np.array([_label(text) for text in filled.tolist()], dtype=object)


def _label(text: str) -> str:
    """Return how a value is called: whole, or if it is long its beginning and what tells it from others."""
    if len(text) <= _LONGEST_LABEL:
        return text
    return f"{text[:_LONGEST_LABEL]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"
