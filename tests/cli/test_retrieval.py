"""``modelwright features get`` over both functions behind a loopback port."""

import json
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
from features.test_truth_table import PROJECT as TRUTH
from features.test_truth_table import hours, seen
from support.http import ServedBlobs, deliver, handler_of, payload, serve
from typer.testing import CliRunner, Result

from modelwright.cli import retrieval
from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound, Refused, Unavailable
from modelwright.http import Request, Route
from modelwright.local import stacks
from modelwright.log import Log
from modelwright.project import Service, current_key
from modelwright.runtime import Function
from modelwright.storage import Anything, Put
from modelwright.wiring import Settings, Wiring

Run = Callable[..., Result]
TIME = pa.timestamp("us", tz="UTC")
SCORES = Service(
    request={"customer": "string", "at": "timestamp"}, time_column="at", views=("profile",), inputs=("score",)
)
PROJECT = TRUTH.model_copy(update={"services": {"scores": SCORES}})


@pytest.fixture
def blobs() -> ServedBlobs:
    return ServedBlobs()


@pytest.fixture
def wiring(blobs: ServedBlobs) -> Wiring:
    stack = Offline(PROJECT)
    stack.workspace, stack.blobs = "default", blobs
    item = {**current_key("default")._asdict(), "project": PROJECT.model_dump_json()}
    stack.tables.write([Put("governance", item, Anything())])
    stack.put("profiles", [seen(1, 0, 1.0), seen(2, 2, 2.0), seen(3, 1, 3.0, created=5)], "a")
    settings = Settings(
        function="test", workspace="default", bus="", virtual_time=True, tables={}, buckets={}, environment={}
    )
    return Wiring(settings, tables=stack.tables, blobs=blobs)


@pytest.fixture
def run(wiring: Wiring, blobs: ServedBlobs) -> Iterator[Run]:
    with serve([with_bus(wiring)], blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["features", *arguments, "--endpoint", url])


@pytest.fixture
def slow(wiring: Wiring, blobs: ServedBlobs) -> Iterator[str]:
    """A stack whose bus brings nothing until it is told to (``bring``)."""
    features = handler_of("features", wiring)
    features(payload("GET", "/health"))  # the functions' loggers keep the stream that they first see
    with serve([features], blobs) as url:
        yield url


def bring(wiring: Wiring, job_id: str) -> None:
    (item,) = Log(wiring.tables).read(f"WS#default#JOB#{job_id}")
    deliver(handler_of("materialize", wiring), item.envelope)


def with_bus(wiring: Wiring) -> Function:
    """Return ``features`` on a bus that brings its events to ``materialize`` at once."""
    features = handler_of("features", wiring)
    handler_of("materialize", wiring)(payload("GET", "/", workspace="default"))  # see ``slow``

    def asked(route: Route) -> Route:
        def answer(request: Request, given: Wiring) -> Any:
            said = route.handler(request, given)
            bring(given, said.body["job_id"])
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
    done = run("get", "--features", "profile:score, spent:n_2h", "--entities", str(entities), "--out", str(out))
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
    assert run("get", *options).exit_code == 0
    assert pyarrow.csv.read_csv(out)["profile:score"].to_pylist() == [2]


def test_rows_count_from_their_event_time_where_that_is_asked(run: Run, entities: Path, tmp_path: Path) -> None:
    asked = pa.table({"customer": ["ann"], "event_timestamp": pa.array([hours(1)], TIME)})
    pq.write_table(asked, entities)
    found = []
    for options in ((), ("--by-event-time",)):
        out = str(tmp_path / "out.parquet")
        assert (
            run("get", "--features", "profile:score", "--entities", str(entities), "--out", out, *options).exit_code
            == 0
        )
        found += pq.read_table(out)["profile:score"].to_pylist()
    assert found == [1.0, 3.0]


def test_what_became_known_after_a_given_time_is_left_out(run: Run, entities: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer": ["ann"], "event_timestamp": pa.array([hours(9)], TIME)}), entities)
    out = str(tmp_path / "out.parquet")
    options = ("--features", "forever:score", "--entities", str(entities), "--out", out)
    assert run("get", *options, "--as-of", "2026-01-01T01:30:00").exit_code == 0
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
    done = run("get", *options, "--entities", str(entities), "--out", str(tmp_path / "out.parquet"))
    assert isinstance(done.exception, kind)
    assert text in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["entities.parquet"]


def test_files_are_looked_at_before_anything_is_asked(run: Run, entities: Path, tmp_path: Path) -> None:
    for given, out in ((entities, "out.txt"), (tmp_path / "none.csv", "out.csv")):
        done = run("get", "--features", "profile:score", "--entities", str(given), "--out", str(tmp_path / out))
        assert isinstance(done.exception, InvalidInput)


def test_a_service_names_its_own_time_column(run: Run, tmp_path: Path) -> None:
    given, out = tmp_path / "in.csv", tmp_path / "out.csv"
    given.write_text("customer,at\nann,2026-01-01 03:00\n")
    done = run("get", "--service", "scores", "--entities", str(given), "--out", str(out))
    assert done.exit_code == 0, (done.output, done.exception)
    assert pyarrow.csv.read_csv(out)["score"].to_pylist() == [2]


def test_who_stops_waiting_gets_the_answer_later(slow: str, wiring: Wiring, entities: Path, tmp_path: Path) -> None:
    api, out, waits = stacks.connect(slow), tmp_path / "out.parquet", list[float]()
    job_id = retrieval.start(api, {"features": ["profile:score"]}, entities)
    with pytest.raises(Unavailable) as raised:
        retrieval.finished(api, job_id, out, minutes=20, pause=waits.append)
    later = f"modelwright features get --job {job_id} --out {out}"
    assert f"job {job_id} is not over after 20 minutes" in str(raised.value)
    assert f"`{later}`" in str(raised.value)
    assert 20 * 60 <= sum(waits) < 21 * 60
    listed = CliRunner().invoke(app, ["features", "jobs", "--endpoint", slow])
    assert re.fullmatch(rf"{job_id} \S+ \S+ requested arrow profile:score: not over yet\n", listed.stdout)
    bring(wiring, job_id)
    done = CliRunner().invoke(app, [*later.split()[1:], "--endpoint", slow])
    assert done.exit_code == 0, (done.output, done.exception)
    assert pq.read_table(out)["profile:score"].to_pylist() == [2.0, 1.0, None]


def test_jobs_are_listed_newest_first_with_what_became_of_them(run: Run, entities: Path, tmp_path: Path) -> None:
    assert run("jobs").stdout == "there was no job: modelwright features get\n"
    asked = ("--entities", str(entities), "--out", str(tmp_path / "out.parquet"))
    said = run("get", "--features", "profile:score", *asked)
    job_id = re.findall(r"^job (\S+) was asked for; .*--job \1 --out \S+out.parquet$", said.stderr, re.MULTILINE)[0]
    run("get", "--features", "pair:score", *asked)
    failed, saved = run("jobs").stdout.splitlines()
    assert failed.split()[3:6] == ["failed", "arrow", "pair:score:"]
    assert "lack the column city" in failed
    digest = said.stdout.split()[-1]
    assert saved.split()[0] == job_id
    assert saved.endswith(f" saved     arrow profile:score: 3 rows, dataset {digest}")
    assert run("jobs", job_id).stdout.splitlines() == [saved]
    assert [job["job_id"] for job in json.loads(run("jobs", "--json").stdout)][1] == job_id
    assert json.loads(run("jobs", job_id, "--json").stdout)["digest"] == digest
    assert isinstance(run("jobs", "none").exception, NotFound)


def test_a_dataset_is_described(run: Run, entities: Path, tmp_path: Path) -> None:
    asked = ("--entities", str(entities), "--out", str(tmp_path / "out.parquet"))
    digest = run("get", "--features", "profile:score", *asked).stdout.split()[-1]
    said = run("dataset", digest)
    assert said.exit_code == 0, (said.output, said.exception)
    head, *lines = said.stdout.splitlines()
    assert head.startswith(f"{digest}: 3 rows, ")
    assert "  views    profile version 1" in lines
    assert "  profile:score (double, a feature): 1 missing; 1.0 to 2.0, mean 1.5" in lines
    assert "  label (int64): 0 missing" in lines
    assert json.loads(run("dataset", digest, "--json").stdout)["features"] == ["profile:score"]
    assert isinstance(run("dataset", "abc").exception, NotFound)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "say which --entities features are wanted of, or which --job"),
        (("--entities", "a.csv", "--job", "j"), "say which --entities features are wanted of, or which --job"),
        (("--job", "j", "--features", "profile:score", "--by-event-time"), "job j is as it was asked: leave available"),
    ],
)
def test_entities_and_a_job_exclude_each_other(run: Run, options: tuple[str, ...], text: str) -> None:
    said = run("get", *options, "--out", "out.csv")
    assert isinstance(said.exception, InvalidInput)
    assert text in str(said.exception)
