"""MLflow's interface as it is found in the installed package, and how its files are given out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelwright.local.ui import FILES, PAGE, Build, content_type, installed


@pytest.fixture(scope="module")
def build() -> Build:
    found = installed()
    assert found is not None, "the test extra installs mlflow"
    return found


def test_it_is_found_without_importing_mlflow() -> None:
    script = (
        "import sys; from modelwright.local.ui import installed; assert installed(); print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("has", [(), ("mlflow/__init__.py",), ("mlflow/server/js/build/static/main.js",)])
def test_where_no_build_is_there_is_none(has: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in has:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    assert installed() is None


def test_the_page_asks_for_files_that_are_there(build: Build) -> None:
    page = build.files[PAGE].path.read_text(encoding="utf-8")
    asked = [name.removeprefix("./") for name in re.findall(r'(?:src|href)="([^"]+)"', page)]
    assert asked
    assert [name for name in asked if not name.startswith(FILES) or name not in build.files] == []


def test_every_file_has_a_type_that_browsers_take(build: Build) -> None:
    unknown = [name for name, file in build.files.items() if file.content_type == "application/octet-stream"]
    assert unknown == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("index.html", "text/html; charset=utf-8"), ("a.js", "text/javascript; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"), ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"), ("a.json", "application/json; charset=utf-8"),
        ("a.woff2", "font/woff2"), ("a.png", "image/png"), ("a.wasm", "application/wasm"),
        ("a.js.LICENSE.txt", "text/plain; charset=utf-8"), ("a.none-of-these", "application/octet-stream"),
    ],
)  # fmt: skip
def test_the_type_is_by_the_name(name: str, said: str) -> None:
    assert content_type(name) == said


def test_only_names_with_a_hash_are_kept_for_ever(build: Build) -> None:
    kept = {name for name, file in build.files.items() if "immutable" in file.cache_control}
    assert any(name.startswith(f"{FILES}static/js/main.") for name in kept)
    assert not {PAGE, f"{FILES}index.html", f"{FILES}manifest.json", f"{FILES}favicon.ico"} & kept
    assert {build.files[name].cache_control for name in set(build.files) - kept} == {"no-cache"}
