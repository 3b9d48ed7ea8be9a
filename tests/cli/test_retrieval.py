"""``modelwright features get`` over both functions behind a loopback port."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from features.offline_cases import Offline
from features.test_truth_table import PROJECT, hours, seen
from support.http import ServedBlobs, handler_of, payload, serve
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.log import Log
from modelwright.project import current_key
from modelwright.runtime import Function, Request, Route
from modelwright.storage import Anything, Put
from modelwright.wiring import Settings, Wiring

Run = Callable[..., Result]
TIME = pa.timestamp("us", tz="UTC")


@pytest.fixture
def run() -> Iterator[Run]:
    stack, blobs = Offline(PROJECT), ServedBlobs()
    stack.workspace, stack.blobs = "default", blobs
    item = {**current_key("default")._asdict(), "project": PROJECT.model_dump_json()}
    stack.tables.write([Put("governance", item, Anything())])
    stack.put("profiles", [seen(1, 0, 1.0), seen(2, 2, 2.0), seen(3, 1, 3.0, created=5)], "a")
    settings = Settings(
        function="test", workspace="default", bus="", virtual_time=True, tables={}, buckets={}, environment={}
    )
    wiring = Wiring(settings, tables=stack.tables, blobs=blobs)
    with serve([with_bus(wiring)], blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["features", "get", *arguments, "--endpoint", url])


def with_bus(wiring: Wiring) -> Function:
    """Return ``features`` on a bus that brings its events to ``materialize`` at once."""
    features, materialize = handler_of("features", wiring), handler_of("materialize", wiring)
    materialize(payload("GET", "/", workspace="default"))  # the functions' loggers keep the stream that they first see

    def asked(route: Route) -> Route:
        def answer(request: Request, given: Wiring) -> Any:
            said = route.handler(request, given)
            (item,) = Log(given.tables).read(f"WS#default#JOB#{said.body['job_id']}")
            detail = item.envelope.model_dump(mode="json")
            materialize({"detail-type": item.envelope.type, "detail": detail})
            return said

        return replace(route, handler=answer)

    routes = [asked(route) if route.path == "/v1/historical-features" else route for route in features.routes]
    return Function("features", table="features", routes=routes, wiring=wiring)


@pytest.fixture
def entities(tmp_path: Path) -> Path:
    times = pa.array([hours(3), hours(0.5), hours(3)], TIME)
    table = pa.table({"label": [1, 0, 1], "customer": ["ann", "ann", "bob"], "event_timestamp": times})
    pq.write_table(table, tmp_path / "entities.parquet")
    return tmp_path / "entities.parquet"


def test_features_of_a_file_are_written_beside_its_columns(run: Run, entities: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    done = run("--features", "profile:score, spent:n_2h", "--entities", str(entities), "--out", str(out))
    assert done.exit_code == 0, (done.output, done.exception)
    found = pq.read_table(out)
    assert found.select(["label", "customer", "event_timestamp"]) == pq.read_table(entities)
    assert found["profile:score"].to_pylist() == [2.0, 1.0, None]
    assert found["spent:n_2h"].to_pylist() == [1, 0, 0]
    assert re.fullmatch(r"3 rows as of 20\S+ in \S+out.parquet; dataset [0-9a-f]{64}", done.stdout.rstrip())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entities.parquet", "out.parquet"]


def test_csv_goes_in_and_comes_out(run: Run, tmp_path: Path) -> None:
    given, out = tmp_path / "in.csv", tmp_path / "out.csv"
    given.write_text("customer,event_timestamp\nann,2026-01-01 03:00\n")
    options = ("--features", "profile:score", "--entities", str(given), "--out", str(out))
    assert run(*options).exit_code == 0
    assert pyarrow.csv.read_csv(out)["profile:score"].to_pylist() == [2]


def test_rows_count_from_their_event_time_where_that_is_asked(run: Run, entities: Path, tmp_path: Path) -> None:
    asked = pa.table({"customer": ["ann"], "event_timestamp": pa.array([hours(1)], TIME)})
    pq.write_table(asked, entities)
    found = []
    for options in ((), ("--by-event-time",)):
        out = str(tmp_path / "out.parquet")
        assert run("--features", "profile:score", "--entities", str(entities), "--out", out, *options).exit_code == 0
        found += pq.read_table(out)["profile:score"].to_pylist()
    assert found == [1.0, 3.0]


def test_what_became_known_after_a_given_time_is_left_out(run: Run, entities: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer": ["ann"], "event_timestamp": pa.array([hours(9)], TIME)}), entities)
    out = str(tmp_path / "out.parquet")
    options = ("--features", "forever:score", "--entities", str(entities), "--out", out)
    assert run(*options, "--as-of", "2026-01-01T01:30:00").exit_code == 0
    assert pq.read_table(out)["forever:score"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (("--features", "profile:scroe"), NotFound, "no feature scroe: it has score, city"),
        (("--service", "none"), NotFound, "there is no feature service none"),
        ((), InvalidInput, "name either a `service` or `features`"),
        (("--features", "profile:score", "--engine", "hadoop"), InvalidInput, "there is no engine hadoop"),
        (("--features", "pair:score"), Refused, "lack the column city"),
    ],
)
def test_a_fault_is_told_and_nothing_is_written(
    run: Run, entities: Path, tmp_path: Path, options: tuple[str, ...], kind: type[Exception], text: str
) -> None:
    done = run(*options, "--entities", str(entities), "--out", str(tmp_path / "out.parquet"))
    assert isinstance(done.exception, kind)
    assert text in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["entities.parquet"]


def test_files_are_looked_at_before_anything_is_asked(run: Run, entities: Path, tmp_path: Path) -> None:
    for given, out in ((entities, "out.txt"), (tmp_path / "none.csv", "out.csv")):
        done = run("--features", "profile:score", "--entities", str(given), "--out", str(tmp_path / out))
        assert isinstance(done.exception, InvalidInput)
