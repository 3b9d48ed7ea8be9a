"""A version in a file: a zip archive with the manifest first and the files after it, by path.

Nothing in it is compressed, so that what is read is what lies there; times and modes are fixed, so that the same
manifest gives the same bytes. A file from elsewhere is not trusted: before anything is read out of it, its
members must be exactly those that the manifest names, at their sizes.
"""

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.promotion.carrying import Source, sound, with_file
from modelwright.registry.manifests import FILES, MANIFEST, MANIFEST_BYTES, Manifest

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3
_ENCRYPTED = 0x1
_BLOCK_BYTES = 1024 * 1024


def write(source: Source, target: Path) -> Manifest:
    """Write a version into a file, which is there only if all of it is.

    Raises:
        Refused: a file of the version is not what its manifest says.
    """
    manifest = sound(source.manifest())
    half = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(_member(MANIFEST), manifest.text)
            for file in manifest.files:
                member = _member(f"{FILES}/{file.path}")
                member.file_size = file.size  # decides, before a byte is written, whether its place is told in 64 bits

                def pack(local: Path, member: zipfile.ZipInfo = member) -> None:
                    with local.open("rb") as opened, archive.open(member, "w") as packed:
                        shutil.copyfileobj(opened, packed, _BLOCK_BYTES)

                with_file(source, file, pack)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
    return manifest


class BundleSource:
    """A version in a file, as a ``carrying.Source``.

    Args:
        file: the bundle.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            InvalidInput: the file is no bundle, or has members that a bundle does not have.
            Refused: a member is missing, more than the manifest names, or of another size.
        """
        with self._opened() as archive:
            members = archive.infolist()
            if not members or members[0].filename != MANIFEST:
                raise InvalidInput(f"{self._file} is no bundle of a model: {MANIFEST} does not come first")
            self._check_members(members)
            if members[0].file_size > MANIFEST_BYTES:
                raise InvalidInput(
                    f"{self._file}: the manifest has {members[0].file_size} bytes, more than {MANIFEST_BYTES}"
                )
            manifest = Manifest.read(archive.read(MANIFEST))
        self._compare(manifest, {member.filename: member.file_size for member in members[1:]})
        return manifest

    def fetch(self, path: str, folder: Path) -> Path:
        """See ``carrying.Source``."""
        file = folder / "file"
        with self._opened() as archive, archive.open(f"{FILES}/{path}") as packed, file.open("wb") as opened:
            shutil.copyfileobj(packed, opened, _BLOCK_BYTES)
        return file

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._file) as archive:
                yield archive
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {self._file}") from error
        except IsADirectoryError as error:
            raise InvalidInput(f"{self._file} is a folder, not a bundle") from error
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise InvalidInput(f"{self._file} is no bundle of a model, or was damaged: {error}") from error

    def _check_members(self, members: list[zipfile.ZipInfo]) -> None:
        """Raise ``InvalidInput`` for what ``write`` never writes."""
        seen: set[str] = set()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.filename in seen:
                fault = "is there twice"
            elif kind not in (0, stat.S_IFREG) or member.is_dir():
                fault = "is no plain file"
            elif member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                fault = "is compressed, which members of a bundle are not"
            elif member.flag_bits & _ENCRYPTED:
                fault = "is encrypted"
            else:
                seen.add(member.filename)
                continue
            raise InvalidInput(f"{self._file}: {member.filename[:100]!r} {fault}")
        if sum(member.file_size for member in members) > self._file.stat().st_size:
            raise InvalidInput(f"{self._file}: its members have more bytes than the file: they overlap")

    def _compare(self, manifest: Manifest, sizes: dict[str, int]) -> None:
        wanted = {f"{FILES}/{file.path}": file.size for file in manifest.files}
        found = [f"{name} is missing" for name in wanted if name not in sizes]
        found += [f"{name[:100]!r} is there and not in the manifest" for name in sizes if name not in wanted]
        found += [
            f"{name} has {sizes[name]} bytes, not {size}"
            for name, size in wanted.items()
            if name in sizes and sizes[name] != size
        ]
        if found:
            raise Refused(f"{self._file} is not as it was written: {'; '.join(found[:20])}")


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.create_system, member.external_attr = _UNIX, _MODE
    return member
