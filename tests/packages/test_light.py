"""Light functions: what they may import, and that their packages hold all they need."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from template.stack import modules_of

from modelwright.local.packaging import UNZIPPED_LIMIT_BYTES, Sources
from packages.conftest import HEAVY, LIGHT, RESOURCES, ROOT, imported, size_of


def kinds_of(name: str) -> tuple[str, ...]:
    """Return the kinds of plugins that a function's own code loads."""
    texts = [path.read_text(encoding="utf-8") for path in modules_of(name) if path.name != "plugins.py"]
    return tuple(sorted({kind for text in texts for kind in re.findall(r"\bload\(\"(\w+)\"", text)}))


def heavy_imports(path: Path) -> list[str]:
    """Return the heavy libraries that a file imports, at the top or when a function runs."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in HEAVY]
    return found


@pytest.mark.parametrize("name", LIGHT)
def test_no_module_that_a_light_function_can_reach_imports_a_heavy_library(name: str) -> None:
    reached = {str(p.relative_to(ROOT)): heavy_imports(p) for p in modules_of(name)}
    assert {path: heavy for path, heavy in reached.items() if heavy} == {}


def test_the_check_above_sees_heavy_imports() -> None:
    assert any(heavy_imports(path) for path in modules_of("maintain"))
    assert any(heavy_imports(path) for path in modules_of("monitor"))


@pytest.mark.parametrize("name", LIGHT)
def test_a_package_holds_all_that_its_handler_needs(
    name: str, package: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = package(name)
    found = imported(folder, name, kinds=kinds_of(name))
    assert found.handlers == [name]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert found.version == project["version"]
    assert not {module.split(".")[0] for module in found.modules} & set(HEAVY)
    size = size_of(folder)
    with capsys.disabled():
        print(f"\n{name}: {size / (1 << 20):.1f} MB unzipped", end="")  # noqa: T201 - the figure is the point
    assert size < UNZIPPED_LIMIT_BYTES


@pytest.mark.parametrize("name", LIGHT)
def test_a_package_holds_its_own_handler_and_no_siblings(name: str, package: Callable[[str], Path]) -> None:
    assert [other for other in LIGHT if (package(name) / other / "handler.py").exists()] == [name]
    assert not (package(name) / "modelwright" / "local").exists()
    assert not list((package(name)).rglob("tests"))


def test_whatever_is_imported_comes_out_of_the_package(package: Callable[[str], Path]) -> None:
    folder = package("tracking")
    outside = [f for f in imported(folder, "tracking").files if "site-packages" in f or str(ROOT) in f]
    assert outside == []


def test_plugins_are_found_by_their_entry_points(package: Callable[[str], Path]) -> None:
    gates = imported(package("registry"), "registry", kinds=("gates",)).plugins
    assert {"metric_floor", "beats_champion", "data_known"} <= set(gates)


def test_a_package_is_compiled_ahead(package: Callable[[str], Path]) -> None:
    compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in package("tracking").rglob("*.pyc")}
    sources = set(package("tracking").rglob("*.py"))
    assert len(sources - compiled) < len(sources) // 50


def test_a_missing_library_or_dist_info_would_be_noticed(package: Callable[[str], Path], tmp_path: Path) -> None:
    """Guards the tests above: the interpreter that asks sees the package alone."""
    for entry in package("console").iterdir():
        if entry.name != "pydantic" and not entry.name.startswith("modelwright-"):
            (tmp_path / entry.name).symlink_to(entry)
    with pytest.raises(AssertionError, match="No module named 'pydantic'"):
        imported(tmp_path, "console")
    (tmp_path / "pydantic").symlink_to(package("console") / "pydantic")
    with pytest.raises(AssertionError, match="PackageNotFoundError"):
        imported(tmp_path, "console")


@pytest.mark.parametrize("name", LIGHT)
def test_sam_builds_a_function_by_the_same_packaging(name: str, sources: Sources) -> None:
    (identity,) = [k for k, r in RESOURCES.items() if r.get("Handler", "").startswith(f"{name}.")]
    runtime = RESOURCES[identity]["Runtime"].removeprefix("python")
    command = [
        "make",
        "--no-print-directory",
        "-n",
        "-C",
        str(sources.functions),
        f"build-{identity}",
        "ARTIFACTS_DIR=/out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = f'python -m modelwright.local.packaging {name} "/out" --arch arm64 --python {runtime}'
    assert done.stdout.strip() == expected
