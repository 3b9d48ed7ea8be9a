"""Copies folders of files: listed on both sides, and fetched and stored file by file where they differ.

Stores of artifacts fail in as many ways as there are stores, so they are asked in threads of their own, whose
futures hand over whatever was raised. What fails at the source is the fault of one folder or file; the target's
answers end the copy where they do elsewhere.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from modelwright.errors import ModelwrightError
from modelwright.transfer.records import Entry
from modelwright.transfer.sides import FATAL, Source, Target
from modelwright.transfer.tally import Tally

T = TypeVar("T")


class Fault(ModelwrightError):
    """A file or folder of the source could not be read, for whatever reason."""


class Files:
    """Copies what lies below one URI to below another.

    A file is there if the target has one of that path and size. No more than a file per thread lies on this
    machine's disk, and none in its memory.

    Args:
        source: where from.
        target: where to.
        tally: where files and bytes are counted, and what could not be copied is named.
        threads: how many files at once.
    """

    def __init__(self, source: Source, target: Target, tally: Tally, threads: int) -> None:
        self._source, self._target, self._tally = source, target, tally
        self._pool = ThreadPoolExecutor(threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def copy(self, what: str, old: str, new: str) -> int:
        """Copy all files below ``old`` that are not below ``new`` yet, and return how many there are to copy."""
        found = listed(what, self._source, old, self._tally, self._pool)
        there = self._there(new) if found else {}
        begun = [
            (path, self._pool.submit(self._one, old, new, path))
            for path, entry in found.items()
            if not _same(entry, there.get(path))
        ]
        for path, future in begun:
            try:
                _result(future)
            except FATAL:
                raise
            except ModelwrightError as error:
                self._tally.differs(what, f"the file {path} cannot be copied: {error}")
        self._count(what, found, self._there(new) if begun else there)
        return len(found)

    def _there(self, uri: str) -> dict[str, Entry]:
        return _walked(uri, lambda folder: _result(self._pool.submit(self._target.level, uri, folder)))

    def _one(self, old: str, new: str, path: str) -> None:
        with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
            try:
                file = self._source.fetch(old, path, Path(folder))
            except FATAL as error:
                raise Fault(str(error)) from error
            self._target.put(new, path, file)

    def _count(self, what: str, found: dict[str, Entry], there: dict[str, Entry]) -> None:
        same = [path for path, entry in found.items() if _same(entry, there.get(path))]
        size = {path: (there[path].size or 0) if path in there else 0 for path in found}
        told = {path: size[path] if entry.size is None else entry.size for path, entry in found.items()}
        self._tally.count("files", len(found), len(same))
        self._tally.count("bytes", sum(told.values()), sum(size[path] for path in same))
        for path in sorted(set(found) - set(same)):
            how = f"has {size[path]} bytes, not {told[path]}" if path in there else "is not there"
            self._tally.differs(what, f"the file {path} {how}")


def listed(what: str, source: Source, uri: str, tally: Tally, pool: ThreadPoolExecutor) -> dict[str, Entry]:
    """Return every file below a URI by path; a folder that cannot be listed is named and left out."""

    def level(folder: str) -> list[Entry]:
        try:
            return _result(pool.submit(source.level, uri, folder))
        except ModelwrightError as error:
            tally.differs(what, f"the folder {folder or uri} of {source.name} cannot be listed: {error}")
            return []

    return _walked(uri, level)


def _walked(uri: str, level: Callable[[str], list[Entry]]) -> dict[str, Entry]:
    files: dict[str, Entry] = {}
    folders = [""] if uri else []
    while folders:
        found = level(folders.pop())
        folders += [entry.path for entry in found if entry.is_folder]
        files |= {entry.path: entry for entry in found if not entry.is_folder}
    return files


def _result(future: Future[T]) -> T:
    """Return what a thread returned; what it raised comes as one of our errors."""
    error = future.exception()
    if isinstance(error, Exception) and not isinstance(error, ModelwrightError):
        raise Fault(f"{type(error).__name__}: {error}") from error
    return future.result()


def _same(wanted: Entry, there: Entry | None) -> bool:
    return there is not None and (wanted.size is None or there.size is None or wanted.size == there.size)
