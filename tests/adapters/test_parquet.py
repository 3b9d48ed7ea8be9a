"""What other tools find: an experiment's runs as one dataset, and their points as another."""

import io
import math
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from support.http import ServedBlobs
from tracking.estate import estate, gc
from tracking.upkeep import Yard

from modelwright.adapters.parquet import POINTS, RUNS, ParquetTables
from modelwright.tracking.entities import Latest, Point, Run
from modelwright.tracking.tabular import Cabinet, Files

TABULAR = ParquetTables()


def found(yard: Yard, kind: str, tmp_path: Any) -> pa.Table:
    """Return a dataset of an experiment, as a tool reads it that knows nothing but the folder."""
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    for key in yard.objects(f"tracking/default/parquet/{kind}/{yard.experiment}/"):
        (folder / key.rsplit("/", 1)[1]).write_bytes(yard.desk.blobs.get("lake", key).body)
    schema = RUNS if kind == "runs" else POINTS
    return ds.dataset(str(folder), schema=schema, filesystem=fs.LocalFileSystem(), format="parquet").to_table()


def told(yard: Yard, run_ids: list[str]) -> list[dict[str, Any]]:
    """Return what the API tells, in the form of the runs' dataset."""
    rows = []
    for run_id in sorted(run_ids):
        run = yard.desk.get_run(run_id)
        info, data = run["info"], run["data"]
        rows.append(
            {
                **{name: info.get(name, "") for name in ("run_id", "experiment_id", "run_name", "user_id", "status")},
                "lifecycle_stage": info["lifecycle_stage"],
                "start_time_ms": info["start_time"],
                "end_time_ms": info.get("end_time"),
                "artifact_uri": info["artifact_uri"],
                "params": sorted((pair["key"], pair["value"]) for pair in data["params"]),
                "tags": sorted((pair["key"], pair["value"]) for pair in data["tags"]),
                "metrics": sorted((metric["key"], metric["value"]) for metric in data["metrics"]),
                "datasets": [],
            }
        )
    return rows


def is_exact(yard: Yard, run_ids: list[str], tmp_path: Any) -> None:
    """Check that the datasets tell what the API tells."""
    assert found(yard, "runs", tmp_path).sort_by("run_id").to_pylist() == told(yard, run_ids)
    points = found(yard, "points", tmp_path).to_pylist()
    places = sorted((row["run_id"], row["step"], row["value"]) for row in points)
    assert places == sorted((run_id, *point) for run_id in run_ids for point in yard.history(run_id))


def test_the_datasets_tell_what_the_api_tells_whatever_is_settled_merged_and_written_again(tmp_path: Any) -> None:
    yard = Yard()
    runs = [yard.ended(100 + number) for number in range(8)]
    for number in range(9):
        runs += [yard.ended(2 * number), yard.ended(2 * number + 1)]
        if number % 3 == 1:
            yard.tag(runs[0], str(number))
            yard.log(runs[1], 50.0 + number, 50 + number)
        yard.compact()
        is_exact(yard, runs, tmp_path)


def test_the_datasets_forget_what_was_collected(tmp_path: Any) -> None:
    e = estate()
    gc(e.yard)
    e.yard.compact()
    is_exact(e.yard, [*e.kept, e.needed], tmp_path)


def test_a_run_without_anything_and_one_with_everything_fit_into_one_file() -> None:
    bare = Run(run_id="a", experiment_id="1", run_name="", start_time=0, artifact_uri="")
    full = bare.model_copy(
        update={
            "run_id": "b", "params": {"p": "1"}, "tags": {"t": "ü"}, "start_time": 2**62,
            "metrics": {"nan": Latest(math.nan, 0, 0), "inf": Latest(math.inf, -1, -(2**63))},
        }
    )  # fmt: skip
    table = pq.read_table(io.BytesIO(TABULAR.runs([bare, full])))
    assert table.schema.equals(RUNS)
    one, other = table.to_pylist()
    assert (one["params"], one["metrics"], one["end_time_ms"]) == ([], [], None)
    assert (other["tags"], other["start_time_ms"]) == ([("t", "ü")], 2**62)
    assert other["metrics"][0] == ("inf", math.inf)
    assert math.isnan(other["metrics"][1][1])


def test_more_points_than_a_row_group_holds_come_back_in_order() -> None:
    points = [("run", Point("k", float(n), n, n)) for n in range(250_001)]
    file = pq.ParquetFile(io.BytesIO(TABULAR.points(iter(points))))
    assert file.num_row_groups == 3
    assert file.read()["step"].to_pylist() == list(range(250_001))


def test_no_point_is_no_file() -> None:
    assert TABULAR.points(iter(())) == b""
    everything = TABULAR.points([("run", Point("k", 1.0, 1, 1))])
    assert TABULAR.merged([(everything, {"run"})]) == b""


@pytest.mark.parametrize("kind", ["small", "large"])
def test_small_files_of_points_become_one_and_large_ones_are_handed_on(kind: str) -> None:
    blobs = ServedBlobs()
    cabinet = Cabinet("default", "1", TABULAR, blobs)
    known: list[tuple[Files, set[str]]] = []
    for number in range(3):
        filing = cabinet.fresh(f"f{number}", [_run(number)], [(str(number), Point("k", 1.0, 1, 1))])
        for key, body in filing.bodies.items():
            blobs.put("lake", key, body)
        sizes = [file.model_copy(update={"size": 40_000_000}) for file in filing.files.points]
        files = filing.files if kind == "small" else filing.files.model_copy(update={"points": tuple(sizes)})
        known.append((files, {"2"} if number == 2 else set()))
    merged = cabinet.merged("m", known)
    written = sorted(key.rsplit("/", 1)[1] for key in merged.bodies)
    names = sorted(file.key.rsplit("/", 1)[1] for file in merged.files.points)
    assert pq.read_table(io.BytesIO(merged.bodies[merged.files.runs[0].key]))["run_id"].to_pylist() == ["0", "1"]
    if kind == "small":
        assert (written, names) == (["m-0.parquet", "m.parquet"], ["m-0.parquet"])
    else:
        assert (written, names) == (["m.parquet"], ["f0-0.parquet", "f1-0.parquet"])


def _run(number: int) -> Run:
    return Run(run_id=str(number), experiment_id="1", run_name="r", start_time=0, artifact_uri="")
