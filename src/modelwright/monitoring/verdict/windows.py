"""Windows of a source and what each is compared with: uploads in the lake, by spans of time.

A window is a file, or where a source says ``every``, all files whose last rows lie in one such span; spans follow one
another since 1970. A reference is made of windows like the one that it is for.
"""

import re
import time
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.context import Call
from modelwright.declarations import span_us
from modelwright.errors import NotFound
from modelwright.events import Finding, Window
from modelwright.monitoring import store
from modelwright.monitoring.accepted import accepted_rows, in_common
from modelwright.monitoring.detectors import Detector
from modelwright.monitoring.detectors.multivariate import MultivariateDetector
from modelwright.monitoring.documents import Profile, Reference, merged
from modelwright.monitoring.references import FRESH_S, MOST, MOST_COLUMNS, reference_of
from modelwright.monitoring.verdict.comparing import MIN_UPLOADS
from modelwright.monitoring.verdict.segments import Segments, together
from modelwright.plugins import load
from modelwright.project import Baseline, Source
from modelwright.storage import Blobs, Tables

Detectors = Callable[[str], Detector]
"""Returns a detector by name; raises ``PluginError``."""
MICROSECOND = timedelta(microseconds=1)
_SEGMENTED = 20
"""Of so many newest windows of the reference segments are read."""
_CACHED_BYTES = 200 * 2**20
_FILES = 24 * MOST
"""At most so many files make up a reference of spans, or a span."""
_WINDOWS_AT_ONCE = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _of_rows(name: str) -> MultivariateDetector:
    made: MultivariateDetector = load("detectors.rows", name)()
    return made


@dataclass(frozen=True)
class Watch:
    """A source, and the collaborators that looking for drift in it needs.

    Attributes:
        detector: the installed drift detectors by name.
        cache: what was read before, kept while the process lives.
        of_rows: the installed detectors that look at rows, by name.
    """

    call: Call
    name: str
    source: Source
    tables: Tables
    blobs: Blobs
    detector: Detectors
    cache: MutableMapping[str, Any] = field(default_factory=dict)
    of_rows: Callable[[str], MultivariateDetector] = _of_rows

    @property
    def workspace(self) -> str:
        """Whose source it is."""
        return self.call.workspace

    @cached_property
    def detectors(self) -> tuple[Detector, ...]:
        """The detectors that the source names."""
        return tuple(self.detector(one) for one in self.source.detectors)

    def segments_key(self, digest: str) -> str:
        """Return where in the lake the segments of an accepted upload lie: beside its profile."""
        return f"profiles/{self.workspace}/{self.name}/{digest}.segments.json"

    def segments(self, uploads: Sequence[Profile]) -> list[Segments]:
        """Return the segments of accepted uploads, of which some may have none; of too many the newest."""
        return [one for (one,) in self.segmented([(upload,) for upload in uploads])]

    def segmented(self, windows: Sequence[Sequence[Profile]]) -> list[tuple[Segments, ...]]:
        """Return the segments of windows of uploads that have some, oldest first.

        They are read from the newest on, up to ``_SEGMENTED`` and as many as fit into memory, ``MIN_UPLOADS`` at least.
        """
        found: list[tuple[Segments, ...]] = []
        columns = 0
        for uploads in reversed(windows[-_SEGMENTED:] if self.source.drift.segments else ()):
            if columns > MOST_COLUMNS and len(found) >= MIN_UPLOADS:
                break
            read = tuple(one for upload in uploads if (one := self._read_segments(upload.digest)) is not None)
            columns += sum(one.columns for one in read)
            found += [read] if read else []
        return found[::-1]

    def rows(self, upload: Profile) -> pa.Table | None:
        """Return the rows of an accepted upload; None if they are gone."""
        return accepted_rows(self.blobs, self.workspace, self.name, upload.digest)

    def reference(
        self, start: datetime, until: datetime, baseline: Baseline | None = None, most: int = MOST
    ) -> Reference:
        """Return accepted uploads; see ``references.reference_of``."""
        return reference_of(
            self.call, self.name, self.source, start, until,
            tables=self.tables, blobs=self.blobs, cache=self.cache, baseline=baseline, most=most,
        )  # fmt: skip

    def _read_segments(self, digest: str) -> Segments | None:
        known: dict[str, tuple[Segments, float]] = self.cache.setdefault("segments", {})
        key, now = self.segments_key(digest), time.monotonic()
        if key in known and known[key][1] >= now - FRESH_S:
            return known[key][0]
        known.pop(key, None)
        try:
            read = Segments.unpacked(self.blobs.get("lake", key).body).thinned()
        except NotFound:
            return None
        left = sum(one.memory_b for one, _ in known.values()) - _CACHED_BYTES
        for old in list(known):
            if left <= 0:
                break
            left -= known.pop(old)[0].memory_b
        known[key] = (read, now)
        return read


@dataclass(frozen=True)
class Judgeable:
    """A window that can be judged.

    Attributes:
        span: from when to when.
        rows: reads its rows.
        findings: what the quality checks say of it.
    """

    span: Window
    profile: Profile
    segments: Segments
    rows: Callable[[], pa.Table]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Before:
    """What a window is compared with.

    Attributes:
        uploads: by window, oldest first, the profiles of the files that make it up.
        text: in words.
    """

    uploads: tuple[tuple[Profile, ...], ...]
    text: str

    @cached_property
    def reference(self) -> Reference:
        """The reference, with a profile for each window."""
        windows = (files[0] if len(files) == 1 else merged(files).thinned() for files in self.uploads)
        return Reference(tuple(windows), self.text)

    def segments(self, watching: Watch) -> list[Segments]:
        """Return the segments of its newest windows, oldest first."""
        return [together(parts) for parts in watching.segmented(self.uploads)]

    def rows(self, watching: Watch, files: int, most: int) -> pa.Table | None:
        """Return rows of its newest files, at most so many, the same ones again."""
        newest = [upload for window in self.uploads for upload in window][-files:]
        return sampled([watching.rows(upload) for upload in newest], most)


def span_of(source: Source, time: datetime) -> Window:
    """Return the span of a source's windows in which a time lies."""
    length = timedelta(microseconds=span_us(source.drift.every))
    start = _EPOCH + (time.astimezone(UTC) - _EPOCH) // length * length
    return Window(start=start, end=start + length)


def spans_over(watching: Watch, newest: datetime, until: datetime) -> Iterable[Judgeable]:
    """Yield the windows of several files between the newest that was judged and a time, oldest first.

    Not too many at once: what stood still for long has no use for all of them.
    """
    since = max(newest, until - timedelta(days=watching.source.reference_days))
    kept = store.kept_profiles(watching.tables, watching.workspace, watching.name, since, until - MICROSECOND)
    spans = {span.start: span for one in kept for span in [span_of(watching.source, one.end)] if span.end > newest}
    for start in sorted(spans)[-_WINDOWS_AT_ONCE:]:
        span = spans[start]
        baseline = Baseline(kind="window", start=span.start, end=span.end - MICROSECOND)
        files = watching.reference(span.start, span.end, baseline, _FILES).profiles
        if files:
            segments = together([one for parts in watching.segmented([files]) for one in parts])
            yield Judgeable(span, merged(files).thinned(), segments, partial(_all_rows, watching, files))


def before(watching: Watch, window: Judgeable) -> Before:
    """Return what a window is compared with: windows like itself, without itself."""
    policy = watching.source.drift
    if not policy.every:
        found = watching.reference(window.span.start, window.profile.end)
        return Before(tuple((one,) for one in found.profiles if one.digest != window.profile.digest), found.text)
    found = watching.reference(window.span.start, window.profile.end, most=_FILES)
    slides = policy.reference.kind in ("sliding", "seasonal")
    parts: dict[datetime, list[Profile]] = {}
    for one in found.profiles:
        if one.end < window.span.start or not slides:
            parts.setdefault(span_of(watching.source, one.end).start, []).append(one)
    counted = f"{len(parts)} window{'s' * (len(parts) != 1)} of {policy.every}"
    text = re.sub(r"^\d+ (of \d+ )?uploads?", counted, found.text)
    return Before(tuple(tuple(parts[start]) for start in sorted(parts)), text)


def latest(watching: Watch) -> Reference:
    """Return what a window that begins now would be compared with; of a source that stood still, what was newest."""
    kept = store.kept_profiles(watching.tables, watching.workspace, watching.name, _EPOCH, watching.call.now)
    if not kept:
        return Reference((), "nothing was accepted")
    end = kept[-1].end + MICROSECOND
    nothing = Profile(source=watching.name, digest="", rows=0, start=end, end=end, columns={})
    span = span_of(watching.source, end) if watching.source.drift.every else Window(start=end, end=end + MICROSECOND)
    return before(watching, Judgeable(span, nothing, Segments(), partial(pa.table, {}))).reference


def sampled(tables: Sequence[pa.Table | None], most: int) -> pa.Table | None:
    """Return at most so many rows, evenly from all tables and the same ones again; None where there are none."""
    there = [table for table in tables if table is not None and table.num_rows]
    if not there:
        return None
    rng, each = np.random.default_rng(most), most // len(there)
    return pa.concat_tables(in_common([_some(table, each, rng) for table in there]))


# --- private -----------------------------------------------------------------------------


def _some(table: pa.Table, most: int, rng: np.random.Generator) -> pa.Table:
    if table.num_rows <= most:
        return table
    return table.take(pa.array(np.sort(rng.choice(table.num_rows, most, replace=False))))


def _all_rows(watching: Watch, files: Sequence[Profile]) -> pa.Table:
    tables = [table for one in files if (table := watching.rows(one)) is not None]
    if not tables:
        raise NotFound(f"the rows of {watching.name} up to {files[-1].end} are gone from the lake")
    return pa.concat_tables(in_common(tables))
