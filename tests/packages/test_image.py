"""The image of the full functions, whose contents are made here as its Dockerfile makes them."""

import re
import tomllib
from pathlib import Path

import pytest
from template.stack import the_template

from packages.conftest import FULL, HEAVY, IMAGE, RESOURCES, ROOT, imported, size_of
from packages.test_light import kinds_of

LIMIT_BYTES = 10 * 1024**3


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def test_its_requirements_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert lines(IMAGE / "requirements.txt") == [*project["dependencies"], *project["optional-dependencies"]["full"]]


def test_it_is_lambdas_own_python_in_the_version_of_the_light_functions() -> None:
    bases = re.findall(r"^FROM (\S+)", (IMAGE / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    runtimes = {r["Runtime"].removeprefix("python") for r in RESOURCES.values() if "Runtime" in r}
    assert {f"public.ecr.aws/lambda/python:{version}" for version in runtimes} == set(bases)


def test_every_full_function_is_built_from_it() -> None:
    for name, resource in the_template()["Resources"].items():
        if resource.get("Properties", {}).get("PackageType") == "Image":
            assert resource["Metadata"]["Dockerfile"] == "infra/images/full/Dockerfile", name
            context = ROOT / resource["Metadata"]["DockerContext"]
            assert (context / resource["Metadata"]["Dockerfile"]).is_file(), name


def test_it_holds_all_that_its_handlers_need(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = {"checks", "detectors", "flavors", "gates.full"}
    kinds = tuple(sorted({kind for name in FULL for kind in kinds_of(name)} | loaded))
    found = imported(image, *FULL, kinds=kinds)
    assert found.handlers == FULL
    assert {"sklearn", "ks", "unit_change", "not_inferior", "latency_budget"} <= set(found.plugins)
    assert set(HEAVY) & {module.split(".")[0] for module in found.modules}
    assert [f for f in found.files if "site-packages" in f or str(ROOT) in f] == []
    size = size_of(image)
    with capsys.disabled():
        print(f"\nfull image: {size / (1 << 20):.1f} MB unpacked", end="")  # noqa: T201 - the figure is the point
    assert size < LIMIT_BYTES


def test_it_is_stripped_and_compiled_ahead(image: Path) -> None:
    assert not list(image.rglob("tests"))
    assert not (image / "modelwright" / "local").exists()
    assert list((image / "sklearn" / "__pycache__").glob("base.*.pyc"))
    assert list((image / "monitor" / "__pycache__").glob("handler.*.pyc"))
    assert list(image.glob("modelwright-*.dist-info/entry_points.txt"))


def test_every_command_of_the_template_is_in_it(image: Path) -> None:
    for name in FULL:
        assert (image / name / "handler.py").is_file()
