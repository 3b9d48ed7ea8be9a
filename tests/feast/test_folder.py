"""A translated repository as a folder that a person keeps."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast.feast_cases import applied, entity, file, on_demand, reads, service, takes, translated, view
from modelwright.errors import InvalidInput
from modelwright.feast import folder
from modelwright.feast.translation import Translation

ROOT = Path(__file__).parents[2]
WIDE = {f"a_feature_with_a_name_of_some_length_{n}": "double" for n in range(5)}
FUNCTION = 'def f(inputs):\n    return {"plus": inputs["rate"] + inputs["val"]}\n'


def whole() -> Translation:
    """Return a translation with something of each kind, short and long."""
    inputs = [reads("stats", {"rate": "double"}), takes({"val": "int64"})]
    long_inputs = [reads("wide", WIDE), takes({"val": "int64"})]
    sums = [{"column": name, "function": "sum", "time_window": {"seconds": 3600}} for name in (*WIDE, "fare")]
    hourly = view("hourly", {"sum_fare": "double"}, batch_source=file("fares", "fares.parquet"), aggregations=sums)
    return translated(
        {"math": "import math"},
        entities=[entity("driver", description='says "so"', tags={"k" * 40: "v" * 40, "l": "w" * 40})],
        feature_views=[
            view("stats", {"rate": "double"}, ttl={"seconds": 60}, description='"quoted" and \\ and \' and\nlines'),
            view("wide", WIDE, batch_source=file("others", "others.parquet"), owner="x@y.z"),
        ],
        stream_feature_views=[hourly],
        on_demand_feature_views=[
            on_demand("plus", FUNCTION, inputs, {"plus": "double"}, singleton=True),
            on_demand(
                "long", FUNCTION, long_inputs, {"plus": "double"}, description="Long.", owner="me", tags={"a": "b"}
            ),
        ],
        feature_services=[service("model", {"stats": ["rate"], "wide": list(WIDE), "plus": ["plus"]})],
    )


def test_what_is_written_is_laid_out_as_the_formatter_does(tmp_path: Path) -> None:
    applied(whole(), tmp_path / "p")
    command = [sys.executable, "-m", "ruff", "format", "--check", "--diff", "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, str(tmp_path / "p")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_report_lies_beside_the_code(tmp_path: Path) -> None:
    translation = translated(feature_views=[view("stats", {"rate": "double", "vector": "floats"})])
    applied(translation, tmp_path / "p")
    text = (tmp_path / "p" / "FEAST.md").read_text()
    assert "taken:\n  entities: driver\n  feature views: stats\n  sources: trips\n" in text
    assert "left out:\n  feature view stats: vector, of type Array(Float32)\n" in text


def test_a_folder_that_is_there_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(InvalidInput, match="exists already"):
        folder.write(whole(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@settings(max_examples=60, deadline=None)
@given(said=st.text(st.characters(codec="utf-8"), max_size=40), key=st.text(st.characters(codec="utf-8"), max_size=10))
def test_any_text_comes_back_as_it_was(said: str, key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = file(description=said, owner=said, tags={key: said})
    found = translated(
        entities=[entity("driver", description=said)],
        feature_views=[view("stats", {"rate": "double"}, description=said, tags={key: said}, batch_source=source)],
    )
    project = applied(found, tmp_path_factory.mktemp("p") / "p").project
    assert project.views["stats"].description == project.entities["driver"].description == said
    assert project.views["stats"].tags == project.sources["trips"].tags == {key: said}
    assert project.sources["trips"].description == project.sources["trips"].owner == said
