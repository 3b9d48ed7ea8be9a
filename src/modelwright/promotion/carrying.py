"""Carries a version: manifest, then files, one by one, each checked on its way, then the making of it at the target.

Whatever stops it, nothing half made is there, and the same again goes on: files that arrived are not sent again,
and a version that was made is found again. No more than a file per thread lies on this machine's disk,
and none in its memory.
"""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from modelwright.errors import Refused
from modelwright.promotion.stack import Arrivals
from modelwright.registry.manifests import File, Manifest
from modelwright.registry.measuring import Digest

THREADS = 4
_BLOCK_BYTES = 1024 * 1024


class Source(Protocol):
    """Where a version comes from; ``fetch`` is asked from several threads at once, after ``manifest``."""

    def manifest(self) -> Manifest:
        """Return the version's manifest, which may be broken."""
        ...

    def fetch(self, path: str, folder: Path) -> Path:
        """Return a local file, in ``folder``, with the bytes of one of the version's files."""
        ...


class Carried(NamedTuple):
    """What came of it.

    Attributes:
        version: its number at the target.
        sent: how many files were sent; others had arrived before.
        known: whether the target had the version already.
    """

    manifest: Manifest
    version: int
    sent: int
    known: bool


def carry(source: Source, arrivals: Arrivals, *, threads: int = THREADS) -> Carried:
    """Carry a version to a stack.

    Raises:
        Refused: what came is not what the manifest says; the text names each thing.
    """
    manifest = sound(source.manifest())
    version, there = arrivals.announce(manifest)
    if version:
        return Carried(manifest, version, 0, known=True)
    missing = [file for file in manifest.files if there.get(file.path) != file.size]
    each(missing, lambda file: with_file(source, file, lambda local: arrivals.put(manifest, file.path, local)), threads)
    with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
        told = Path(folder) / "manifest.json"
        told.write_bytes(manifest.text)
        return Carried(manifest, arrivals.make(manifest, told), len(missing), known=False)


def sound(manifest: Manifest) -> Manifest:
    """Return a manifest that is true to itself; raises ``Refused``."""
    if flaws := manifest.flaws():
        raise Refused(f"the manifest of {manifest.origin} is broken: {'; '.join(flaws)}")
    return manifest


def with_file(source: Source, file: File, use: Callable[[Path], None]) -> None:
    """Fetch a file, and use it if it is what the manifest says; raises ``Refused``."""
    with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
        local = source.fetch(file.path, Path(folder))
        if (found := digest_of(local)) != file.digest:
            raise Refused(f"{file.path} came with the digest {found}, the manifest says {file.digest}")
        use(local)


def digest_of(file: Path) -> str:
    """Return a local file's digest."""
    digest = Digest()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def each(files: Sequence[File], work: Callable[[File], None], threads: int) -> None:
    """Do something with every file, several at once; the first that goes wrong ends it."""
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, file) for file in files]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()
