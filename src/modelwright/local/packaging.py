"""What goes into one function's package, for the emulator and for AWS.

Both hold ``<name>/`` from ``functions/`` and the ``modelwright`` package *with its dist-info*, so
that entry points exist. ``LocalPackages`` adds nothing else (the emulator's functions see the
environment's libraries) and yields zips whose bytes depend on their content alone, so that an
unchanged function is not deployed again. ``build`` adds the libraries for a Lambda runtime.

From a shell, as ``functions/Makefile`` does for ``sam build``::

    python -m modelwright.local.packaging tracking "$(ARTIFACTS_DIR)" --arch arm64
"""

import argparse
import hashlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from modelwright.errors import LocalStackError

UNZIPPED_LIMIT_BYTES = 250 * 1024 * 1024
PLATFORMS = {"x86_64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}
DISTRIBUTION = "modelwright"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = frozenset({"__pycache__", "_deploy", "local", "tests", "test"})
_CODE_CACHE = "__pycache__"
_RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Sources:
    """Where the deployable parts are: in a checkout, or inside the installed package.

    Attributes:
        template: ``template.yaml``.
        functions: the folder with one folder per function.
        infra: what the template refers to besides functions.
        package: the ``modelwright`` package.
        metadata: files of its dist-info by name, among them ``entry_points.txt``.
    """

    template: Path
    functions: Path
    infra: Path
    package: Path
    metadata: Mapping[str, str]

    @classmethod
    def find(cls) -> "Sources":
        """Return the sources of the running ``modelwright``: its checkout's, else its wheel's.

        Raises:
            LocalStackError: neither holds a ``template.yaml``.
        """
        package = Path(__file__).resolve().parent.parent
        checkout, carried = package.parent.parent, package / "_deploy"
        for root in (checkout, carried):
            if (root / "template.yaml").is_file():
                return cls.at(root, package)
        raise LocalStackError(f"no template.yaml in {checkout} or {carried}: install modelwright again")

    @classmethod
    def at(cls, root: Path, package: Path) -> "Sources":
        """Return the sources whose template and functions are in ``root``."""
        return cls(
            template=root / "template.yaml",
            functions=root / "functions",
            infra=root / "infra",
            package=package,
            metadata=_metadata(root / "pyproject.toml"),
        )

    def function(self, name: str) -> Path:
        """Return the folder of a function.

        Raises:
            LocalStackError: it has none.
        """
        folder = self.functions / name
        if not (folder / "handler.py").is_file():
            raise LocalStackError(f"function {name} has no {folder / 'handler.py'}")
        return folder


@dataclass
class LocalPackages:
    """Zips of functions for the emulator; the shared part is read and compiled once.

    Attributes:
        sources: what to package.
        cache: a folder for finished zips, kept between runs.
    """

    sources: Sources
    cache: Path
    _zips: dict[str, Path] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        """Return 16 hex digits that change when, and only when, the package's content would."""
        digest = hashlib.sha256(self._shared_digest.encode())
        _feed(digest, self.sources.function(name))
        return digest.hexdigest()[:16]

    def zip(self, name: str) -> Path:
        """Return the function's zip, built unless its content is that of an earlier run."""
        target = self.cache / f"{name}-{self.digest(name)}.zip"
        if not target.is_file():
            self.cache.mkdir(parents=True, exist_ok=True)
            for outdated in self.cache.glob(f"{name}-*.zip"):
                outdated.unlink()
            target.write_bytes(self._packed(name))
        return target

    @cached_property
    def _shared_digest(self) -> str:
        digest = hashlib.sha256(sys.version.encode())
        for name, text in sorted(self.sources.metadata.items()):
            digest.update(f"{name}\0{text}\0".encode())
        _feed(digest, self.sources.package)
        return digest.hexdigest()

    @cached_property
    def _shared_files(self) -> list[tuple[str, bytes]]:
        with tempfile.TemporaryDirectory() as folder:
            install(self.sources, Path(folder))
            precompile(Path(folder))
            return list(_read_tree(Path(folder)))

    def _packed(self, name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            copy_tree(self.sources.function(name), Path(folder) / name)
            precompile(Path(folder))
            return pack([*self._shared_files, *_read_tree(Path(folder))])


def build(name: str, target: Path, *, sources: Sources, arch: str, python: str) -> int:
    """Fill ``target`` with a function's deployable folder for Lambda.

    The libraries are those of ``functions/<name>/requirements.txt``, else what ``modelwright``
    itself requires. Everything is compiled ahead and stripped of tests.

    Args:
        name: the function.
        target: a folder; it is created.
        sources: what to build from.
        arch: ``arm64`` or ``x86_64``.
        python: the runtime's version, ``3.13``.

    Returns:
        The unzipped size in bytes.

    Raises:
        LocalStackError: pip failed, or the folder exceeds Lambda's 250 MB.
    """
    target.mkdir(parents=True, exist_ok=True)
    _install_requirements(name, _requirements(name, sources), target, arch=arch, python=python)
    install(sources, target)
    copy_tree(sources.function(name), target / name)
    strip(target)
    precompile(target, python)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > UNZIPPED_LIMIT_BYTES:
        raise LocalStackError(f"function {name} is {size >> 20} MB unzipped, Lambda takes 250: use an image")
    return size


def install(sources: Sources, target: Path) -> None:
    """Put the ``modelwright`` package and its dist-info into ``target``."""
    copy_tree(sources.package, target / DISTRIBUTION)
    info = target / f"{DISTRIBUTION}-{_version(sources.metadata)}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    for name, text in sources.metadata.items():
        (info / name).write_text(text, encoding="utf-8")


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder without caches, tests and what only a laptop needs."""
    for path in _files(source):
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)


def precompile(folder: Path, python: str | None = None) -> None:
    """Compile a tree ahead, because Lambda cannot write caches: a cold start is 2.6 times faster.

    Args:
        folder: the tree.
        python: the version to compile for; nothing happens when that Python is not on PATH.
    """
    interpreter = sys.executable if python in (None, _RUNNING) else shutil.which(f"python{python}")
    if interpreter is None:
        return
    options = ["-q", "-f", "-s", str(folder), "--invalidation-mode", "unchecked-hash"]
    subprocess.run(  # noqa: S603  our own arguments
        [interpreter, "-m", "compileall", *options, str(folder)], capture_output=True, check=False
    )


def strip(folder: Path) -> None:
    """Remove tests, caches and command line scripts of installed libraries."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and path.name in {_CODE_CACHE, "tests"}:
            shutil.rmtree(path)
    shutil.rmtree(folder / "bin", ignore_errors=True)


def pack(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a zip whose bytes depend on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name not in _LEFT_OUT:
                yield from _files(path)
        elif path.suffix != ".pyc":
            yield path


def _read_tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _feed(digest: Any, folder: Path) -> None:
    for path in _files(folder):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())


def _metadata(pyproject: Path) -> Mapping[str, str]:
    """Return dist-info files: from a checkout's pyproject.toml, else from the installed distribution.

    (The dist-info of an editable install may be older than the pyproject.toml.)
    """
    if pyproject.is_file():
        return _metadata_of_project(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"])
    try:
        return _metadata_of_installed(distribution(DISTRIBUTION))
    except PackageNotFoundError as missing:
        raise LocalStackError(f"{DISTRIBUTION} is neither installed nor a checkout: no dist-info") from missing


def _metadata_of_project(project: Mapping[str, Any]) -> Mapping[str, str]:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project.get('version', '0')}",
        *(f"Requires-Dist: {each}" for each in project.get("dependencies", ())),
    ]
    groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    entries = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in sorted(points.items()))])
        for group, points in sorted(groups.items())
        if points
    ]
    return {
        "METADATA": "\n".join(lines) + "\n",
        "entry_points.txt": "\n\n".join(entries) + "\n",
        "INSTALLER": "modelwright\n",
    }


def _metadata_of_installed(found: Distribution) -> Mapping[str, str]:
    texts = {name: found.read_text(name) for name in ("METADATA", "entry_points.txt")}
    return {name: text for name, text in texts.items() if text} | {"INSTALLER": "modelwright\n"}


def _version(metadata: Mapping[str, str]) -> str:
    return _headers(metadata, "Version")[0]


def _headers(metadata: Mapping[str, str], name: str) -> list[str]:
    head = metadata["METADATA"].split("\n\n", 1)[0]
    prefix = f"{name}: "
    return [line.removeprefix(prefix) for line in head.splitlines() if line.startswith(prefix)]


def _requirements(name: str, sources: Sources) -> list[str]:
    own = sources.function(name) / "requirements.txt"
    if own.is_file():
        lines = (line.partition("#")[0].strip() for line in own.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line]
    return [each for each in _headers(sources.metadata, "Requires-Dist") if "extra ==" not in each]


def _install_requirements(name: str, requirements: Sequence[str], target: Path, *, arch: str, python: str) -> None:
    if not requirements:
        return
    if importlib.util.find_spec("pip") is None:
        raise LocalStackError(f"pip is not installed in {sys.prefix}: add it to build packages for Lambda")
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(target), "--upgrade", "--no-compile", "--only-binary=:all:"),
        *("--platform", PLATFORMS[arch], "--implementation", "cp", "--python-version", python),
        *requirements,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own arguments
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise LocalStackError(f"pip could not install the libraries of {name}: {reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build one function's folder, and print its size."""
    parser = argparse.ArgumentParser(prog="modelwright.local.packaging", description=main.__doc__)
    parser.add_argument("function")
    parser.add_argument("target", type=Path)
    parser.add_argument("--arch", choices=sorted(PLATFORMS), default="arm64")
    parser.add_argument("--python", default="3.13", help="version of the Lambda runtime")
    given = parser.parse_args(arguments)
    size = build(given.function, given.target, sources=Sources.find(), arch=given.arch, python=given.python)
    compiled = any(given.target.rglob("*.pyc"))
    note = "" if compiled else f", not compiled: python{given.python} does not run here"
    sys.stdout.write(f"{given.function}: {size / (1 << 20):.1f} MB{note}\n")


if __name__ == "__main__":
    main()
