"""Files for other tools: the runs of an experiment as one dataset, the points of their metrics as another.

A part of the snapshot has a file of its runs and some files of their points. They are written with it and merged with
it, but for files of points that are large already: those are handed on. Where runs are gone from a part, its
files are written again without them. What the files look like is the business of a ``Tabular``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from modelwright.errors import ConditionFailed, NotFound
from modelwright.storage import Blobs
from modelwright.tracking.entities import Point, Run

BUCKET: Final = "lake"
POINTS_ROWS: Final = 5_000_000
"""So many points at most go into a new file."""
POINTS_BYTES: Final = 64_000_000
"""A file of points is merged with others up to this size."""


class Tabular(Protocol):
    """Writes and rewrites files."""

    suffix: str

    def runs(self, runs: Sequence[Run]) -> bytes:
        """Return the file of some runs."""
        ...

    def points(self, points: Iterable[tuple[str, Point]]) -> bytes:
        """Return the file of points, each told with its run; empty when there is none."""
        ...

    def merged(self, files: Iterable[tuple[bytes, Collection[str]]]) -> bytes:
        """Return the rows of files of one kind as one, of each but those of some runs; empty when none is left."""
        ...


class File(BaseModel):
    """A file in the lake."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    key: str
    size: int


class Files(BaseModel):
    """The files of a part.

    Attributes:
        gone: how many rows of the part had gone when they were written; the files tell nothing of those.
        runs: its runs; none if all are gone.
        points: its runs' points.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    gone: int = 0
    runs: tuple[File, ...] = ()
    points: tuple[File, ...] = ()

    @property
    def keys(self) -> set[str]:
        """The keys of all of them."""
        return {file.key for file in (*self.runs, *self.points)}


@dataclass(frozen=True)
class Filing:
    """Files as they are to be, and those of them that are to be written first, by key."""

    files: Files
    bodies: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Cabinet:
    """The files of one experiment."""

    workspace: str
    experiment_id: str
    tabular: Tabular
    blobs: Blobs

    def fresh(self, name: str, runs: Sequence[Run], points: Iterable[tuple[str, Point]]) -> Filing:
        """Return the files of runs that had none; ``name`` must be one that no file ever had."""
        written, rest = dict[str, bytes](), iter(points)
        while body := self.tabular.points(islice(rest, POINTS_ROWS)):
            written[self._key("points", f"{name}-{len(written)}")] = body
        return _filing({self._key("runs", name): self.tabular.runs(runs)}, written)

    def merged(self, name: str, known: Sequence[tuple[Files, Collection[str]]], gone: int = 0) -> Filing:
        """Return the files that tell what others tell, without the runs that are gone from each.

        Raises:
            ConditionFailed: somebody else replaced them.
        """
        runs = [(file, without) for files, without in known for file in files.runs]
        bundles = list(_bundles([(file, without) for files, without in known for file in files.points]))
        written = {
            self._key("points", f"{name}-{number}"): self._merged(bundle)
            for number, bundle in enumerate(bundles)
            if not _untouched(bundle)
        }
        kept = [bundle[0][0] for bundle in bundles if _untouched(bundle)]
        return _filing({self._key("runs", name): self._merged(runs)}, written, kept, gone)

    def _merged(self, files: Sequence[tuple[File, Collection[str]]]) -> bytes:
        try:
            return self.tabular.merged((self.blobs.get(BUCKET, file.key).body, without) for file, without in files)
        except NotFound as error:
            raise ConditionFailed("the files were replaced while they were read", ()) from error

    def _key(self, kind: str, name: str) -> str:
        return f"tracking/{self.workspace}/parquet/{kind}/{self.experiment_id}/{name}{self.tabular.suffix}"


def _filing(runs: Mapping[str, bytes], points: Mapping[str, bytes], kept: Sequence[File] = (), gone: int = 0) -> Filing:
    files = Files(gone=gone, runs=_listed(runs), points=(*kept, *_listed(points)))
    return Filing(files, {key: body for key, body in {**runs, **points}.items() if body})


def _listed(bodies: Mapping[str, bytes]) -> tuple[File, ...]:
    return tuple(File(key=key, size=len(body)) for key, body in bodies.items() if body)


def _untouched(bundle: Sequence[tuple[File, Collection[str]]]) -> bool:
    """Say whether a bundle is a file that can stay as it is."""
    return len(bundle) == 1 and not bundle[0][1]


def _bundles(files: Sequence[tuple[File, Collection[str]]]) -> Iterator[list[tuple[File, Collection[str]]]]:
    """Yield files that are to become one each, in groups that are not too large; what is large is alone."""
    bundle: list[tuple[File, Collection[str]]] = []
    size = 0
    for file, without in sorted(files, key=lambda pair: (pair[0].size, pair[0].key)):
        if bundle and size + file.size > POINTS_BYTES:
            yield bundle
            bundle, size = [], 0
        bundle.append((file, without))
        size += file.size
    if bundle:
        yield bundle
