"""``modelwright features get``: features of the entities in a file, as of their times, into another file.

``modelwright features jobs`` shows the jobs that do it, ``modelwright features dataset`` what is known of an answer.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import requests
import typer

from modelwright.cli.telling import shown, when
from modelwright.client import Api
from modelwright.errors import InvalidInput, Refused, Unavailable
from modelwright.local import stacks

_JOBS = "/v1/features/jobs"
_WAITS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_PATIENCE_MIN = 20
"""A function runs for a quarter of an hour at most, and its event takes a moment to arrive."""
_TIMEOUT_S = 600
_BLOCK_BYTES = 2**20
Kind = Literal[".parquet", ".csv"]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
Said = Mapping[str, Any]


def get(
    out: Annotated[Path, typer.Option("--out", help="What to write: .parquet or .csv.")],
    entities: Annotated[
        Path | None,
        typer.Option("--entities", help="Parquet or CSV: join keys, request columns, and the time of each row."),
    ] = None,
    job: Annotated[str, typer.Option("--job", help="Wait for this job, which was asked before, and write it.")] = "",
    service: Annotated[str, typer.Option("--service", help="A feature service or model.")] = "",
    features: Annotated[str, typer.Option("--features", help="view:feature,group:output,... instead.")] = "",
    time_column: Annotated[
        str, typer.Option("--time-column", help="The column with the time, where features are named; event_timestamp.")
    ] = "",
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", help="Leave out what became known later (UTC); by default now.")
    ] = None,
    by_event_time: Annotated[
        bool, typer.Option("--by-event-time", help="Count rows from their event time, known by then or not.")
    ] = False,
    engine: Annotated[str, typer.Option("--engine", help="What joins: arrow, spark, or one of your own.")] = "",
    patience: Annotated[int, typer.Option("--patience", min=1, help="Wait for so many minutes.")] = _PATIENCE_MIN,
    endpoint: Endpoint = "",
) -> None:
    """Get features of many entities, each as of its row's time, with rows and columns as they are in the file.

    The join is a job of the stack: who stops waiting gets its answer later with --job, by the id that is printed.
    """
    kind_of(out)
    query: dict[str, Any] = {"available": False} if by_event_time else {}
    given = {"service": service, "time_column": time_column, "engine": engine}
    query.update({name: value for name, value in given.items() if value})
    if features:
        query["features"] = [name.strip() for name in features.split(",")]
    if as_of is not None:
        query["as_of"] = as_of.isoformat() + ("" if as_of.tzinfo else "+00:00")
    if (entities is None) == (not job):
        raise InvalidInput("say which --entities features are wanted of, or which --job was asked for them before")
    if job and query:
        raise InvalidInput(f"job {job} is as it was asked: leave {', '.join(query)} out")
    api = stacks.connect(endpoint)
    if entities is not None:
        job = start(api, query, entities)
        typer.echo(f"job {job} was asked for; it goes on if you stop waiting: {_later(job, out)}", err=True)
    found = finished(api, job, out, minutes=patience, pause=time.sleep)
    download(found["url"], out)
    typer.echo(shown(f"{found['rows']:,} rows as of {found['as_of']} in {out}; dataset {found['digest']}"))


def jobs(
    job_id: Annotated[str, typer.Argument(help="Only this one.")] = "", as_json: AsJson = False, endpoint: Endpoint = ""
) -> None:
    """Print the newest jobs for features, what became of them, and why they failed."""
    api = stacks.connect(endpoint)
    found = api.get(_job(job_id)) if job_id else api.get(_JOBS)
    if as_json:
        typer.echo(json.dumps(found if job_id else found["jobs"], indent=2))
    else:
        typer.echo("\n".join(job_lines({"jobs": [found], "next": ""} if job_id else found)))


def job_lines(page: Said) -> Iterator[str]:
    """Yield a page of jobs, newest first; times are UTC."""
    for job in page["jobs"]:
        asked = job["service"] or ", ".join(job["features"])
        became = job["reason"] or (
            f"{job['rows']:,} rows, dataset {job['digest']}" if job["digest"] else "not over yet"
        )
        line = f"{job['job_id']} {when(job['requested_at'])} {job['state']:<9} {job['engine']} {asked}: {became}"
        yield shown(line)
    if not page["jobs"]:
        yield "there was no job: modelwright features get"
    if page["next"]:
        yield "older ones are left out"


def dataset(
    digest: Annotated[str, typer.Argument(help="Of a dataset, as `features get` and a version's lineage say it.")],
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print what is known of a dataset: what was asked, as of when, of which views, and its columns."""
    about = stacks.connect(endpoint).get(f"/v1/features/datasets/{quote(digest, safe='')}")
    typer.echo(json.dumps(about, indent=2) if as_json else "\n".join(map(shown, dataset_lines(about))))


def dataset_lines(about: Said) -> Iterator[str]:
    """Yield what is known of a dataset."""
    yield f"{about['digest']}: {about['rows']:,} rows, {about['bytes']:,} bytes"
    yield f"  as of    {when(about['as_of']) + ' UTC' if about['as_of'] else 'the times of its rows'}"
    yield f"  views    {', '.join(f'{name} version {n}' for name, n in about['views'].items()) or 'none'}"
    yield f"  project  {about['project'][:12]}"
    yield f"  asked    {json.dumps(about['query'], ensure_ascii=False)}"
    for column in about["columns"]:
        feature = ", a feature" if column["name"] in about["features"] else ""
        values = f"; {column['min']} to {column['max']}, mean {column['mean']}" if "mean" in column else ""
        yield f"  {column['name']} ({column['type']}{feature}): {column['nulls']:,} missing{values}"


def start(api: Api, query: dict[str, Any], entities: Path) -> str:
    """Upload entities, ask for their features, and return the job's id."""
    if not entities.is_file():
        raise InvalidInput(f"there is no file {entities}")
    place = api.post("/v1/features/uploads", {})
    with entities.open("rb") as file:
        try:
            answer = requests.put(place["url"], data=file, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise Unavailable(f"the bucket does not answer: {error}") from error
    if not answer.ok:
        raise Unavailable(f"the bucket does not take {entities}: {answer.status_code} {answer.text[:200]}")
    made = api.post("/v1/historical-features", {**query, "entities_key": place["entities_key"]})
    return str(made["job_id"])


def finished(api: Api, job_id: str, out: Path, *, minutes: int, pause: Callable[[float], None]) -> Any:
    """Wait for a job and return it.

    Raises:
        Refused: it failed.
        Unavailable: it is not over after so many minutes; the text says how its answer comes to ``out`` later.
    """
    waited_s, turn = 0.0, 0
    while (job := api.get(_job(job_id)))["state"] == "requested":
        if waited_s >= minutes * 60:
            raise Unavailable(
                f"job {job_id} is not over after {minutes} minutes: `modelwright logs materialize` says what it does, "
                f"and `{_later(job_id, out)}` waits for it again"
            )
        wait_s = _WAITS_S[min(turn, len(_WAITS_S) - 1)]
        pause(wait_s)
        waited_s, turn = waited_s + wait_s, turn + 1
    if job["state"] == "failed":
        raise Refused(f"job {job_id} failed: {job['reason']}")
    return job


def _job(job_id: str) -> str:
    return f"{_JOBS}/{quote(job_id, safe='')}"


def _later(job_id: str, out: Path) -> str:
    return f"modelwright features get --job {job_id} --out {out}"


def download(url: str, out: Path) -> None:
    """Write the Parquet file at a URL as what ``out`` is called; a file that is there is replaced when all has come."""
    part = out.with_name(out.name + ".part")
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_S) as answer, part.open("wb") as file:
            if not answer.ok:
                raise Unavailable(f"the bucket does not answer: {answer.status_code} {answer.text[:200]}")
            for block in answer.iter_content(_BLOCK_BYTES):
                file.write(block)
        if kind_of(out) == ".csv":
            _to_csv(part)
        part.replace(out)
    except requests.RequestException as error:
        raise Unavailable(f"the bucket does not answer: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def kind_of(out: Path) -> Kind:
    """Return the ending of a file's name; raises ``InvalidInput`` for one that is neither Parquet nor CSV."""
    match out.suffix:
        case ".parquet" | ".csv" as kind:
            return kind
        case _:
            raise InvalidInput(f"{out} ends neither in .parquet nor in .csv")


def _to_csv(path: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pyarrow.csv.write_csv(table, path)
