import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from modelwright.errors import LocalStackError
from modelwright.local.packaging import LocalPackages, Sources, build, pack


def packages(sources: Sources, tmp_path: Path) -> LocalPackages:
    return LocalPackages(sources, tmp_path / "cache")


def names_in(path: Path) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(path.read_bytes())).namelist())


def test_a_package_holds_the_handler_modelwright_and_its_entry_points(sources: Sources, tmp_path: Path) -> None:
    names = names_in(packages(sources, tmp_path).zip("echo"))
    assert "echo/handler.py" in names
    assert "modelwright/errors.py" in names
    assert "modelwright-0.0.1.dist-info/entry_points.txt" in names
    assert any(name.startswith("modelwright/__pycache__/errors.") for name in names)


def test_entry_points_are_found_in_a_package(sources: Sources, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from importlib.metadata import entry_points;"
        "print([p.load().__name__ for p in entry_points(group='modelwright.test')])"
    )
    path = str(packages(sources, tmp_path).zip("echo"))
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['NotFound']"


def test_equal_content_makes_equal_bytes(sources: Sources, tmp_path: Path) -> None:
    first = packages(sources, tmp_path / "a").zip("echo")
    second = packages(sources, tmp_path / "b").zip("echo")
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name


def test_order_of_files_does_not_matter() -> None:
    files = [("b", b"2"), ("a", b"1")]
    assert pack(files) == pack(files[::-1])


def test_a_change_of_a_handler_changes_its_digest_alone(project: Path, sources: Sources, tmp_path: Path) -> None:
    before = packages(sources, tmp_path)
    digests = [before.digest(name) for name in ("echo", "worker")]
    added = project / "functions" / "echo" / "rows.py"
    added.write_text("ROWS = 3\n")
    try:
        after = packages(sources, tmp_path)
        assert after.digest("echo") != digests[0]
        assert after.digest("worker") == digests[1]
    finally:
        added.unlink()


def test_a_change_of_an_entry_point_changes_every_digest(sources: Sources, tmp_path: Path) -> None:
    changed = replace(sources, metadata={**sources.metadata, "entry_points.txt": "[modelwright.test]\n"})
    assert packages(changed, tmp_path).digest("echo") != packages(sources, tmp_path).digest("echo")


def test_a_function_without_handler_is_named(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"function nothere has no .*nothere/handler\.py"):
        packages(sources, tmp_path).digest("nothere")


def test_a_real_package_is_compiled_and_reports_its_size(sources: Sources, tmp_path: Path) -> None:
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    size = build("echo", tmp_path / "out", sources=sources, arch="arm64", python=running)
    assert (tmp_path / "out" / "echo" / "handler.py").is_file()
    assert list((tmp_path / "out" / "modelwright" / "__pycache__").glob("errors.*.pyc"))
    assert 0 < size < 1 << 20


def test_a_failing_pip_is_told_in_one_line(
    project: Path, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    requirements = project / "functions" / "echo" / "requirements.txt"
    requirements.write_text("no-such-library==1  # never\n")
    try:
        with pytest.raises(LocalStackError, match=r"libraries of echo.*no-such-library") as told:
            build("echo", tmp_path / "out", sources=sources, arch="x86_64", python="3.13")
        assert "\n" not in str(told.value)
    finally:
        requirements.unlink()


def test_a_package_over_lambdas_limit_is_refused(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelwright.local.packaging.UNZIPPED_LIMIT_BYTES", 10)
    with pytest.raises(LocalStackError, match=r"function echo is .* use an image"):
        build("echo", tmp_path / "out", sources=sources, arch="arm64", python="3.13")
