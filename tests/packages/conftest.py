"""Real packages of the functions, as they are deployed; the libraries come from the package index once per session."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from template.stack import FUNCTION, the_template

from modelwright.local.packaging import Sources, build, copy_tree, precompile

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "infra" / "images" / "full"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = "arm64" if os.uname().machine == "aarch64" else "x86_64"
RESOURCES = {k: r["Properties"] for k, r in the_template()["Resources"].items() if r["Type"] == FUNCTION}
LIGHT = sorted(r["Handler"].split(".")[0] for r in RESOURCES.values() if r.get("PackageType") != "Image")
FULL = sorted(
    r["ImageConfig"]["Command"][0].split(".")[0] for r in RESOURCES.values() if r.get("PackageType") == "Image"
)
HEAVY = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")

_ASK = """
import importlib, json, sys
from importlib.metadata import distribution, entry_points
sys.path.insert(0, {folder!r})
handlers = [importlib.import_module(name + ".handler").handler.name for name in {names!r}]
loaded = [p.name for kind in {kinds!r} for p in entry_points(group="modelwright." + kind) if p.load()]
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(json.dumps([handlers, loaded, distribution("modelwright").version, [f for f in files if f], list(sys.modules)]))
"""


@dataclass(frozen=True)
class Imported:
    """What an interpreter that sees one package alone says of it."""

    handlers: list[str]
    plugins: list[str]
    version: str
    files: list[str]
    modules: list[str]


def imported(folder: Path, *names: str, kinds: tuple[str, ...] = ()) -> Imported:
    """Import handlers with nothing but a package and the standard library in reach, and load their plugins."""
    script = _ASK.format(folder=str(folder), names=names, kinds=kinds)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Imported(*json.loads(done.stdout.splitlines()[-1]))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def sources() -> Sources:
    return Sources.find()


@pytest.fixture(scope="session")
def package(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the package of a light function; those without requirements of their own share one download."""
    root = tmp_path_factory.mktemp("packages")
    first = root / LIGHT[0]

    def of(name: str) -> Path:
        target = root / name
        if target.exists():
            return target
        if name == LIGHT[0] or (sources.function(name) / "requirements.txt").is_file():
            build(name, target, sources=sources, arch=ARCH, python=PYTHON)
            return target
        shutil.copytree(of(LIGHT[0]), target, copy_function=os.link, ignore=shutil.ignore_patterns(first.name))
        copy_tree(sources.function(name), target / name)
        precompile(target / name, PYTHON)
        return target

    return of


def steps(dockerfile: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the COPY and RUN steps of the first stage of a Dockerfile."""
    stage = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[1]
    for line in stage.replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word in ("COPY", "RUN"):
            yield word, rest.split() if word == "COPY" else [rest]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do in a folder what the Dockerfile does in its first stage, with this Python; return what the image gets."""
    root = tmp_path_factory.mktemp("image")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ""}
    for word, arguments in steps((IMAGE / "Dockerfile").read_text(encoding="utf-8")):
        if word == "COPY":
            *froms, to = arguments
            for name in froms:
                source, target = ROOT / name, root / to.removeprefix("/")
                target = target / source.name if to.endswith("/") else target
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copyfile(source, target)
        else:
            command = re.sub(r"(?<=[\s=])/(?=package|source|requirements)", f"{root}/", f" {arguments[0]}")
            done = subprocess.run(
                ["bash", "-ec", command], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"RUN {arguments[0]}: {done.stderr}"
    return root / "package"
