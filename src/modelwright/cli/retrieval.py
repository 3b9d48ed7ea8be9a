"""``modelwright features get``: features of the entities in a file, as of their times, into another file."""

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import requests
import typer

from modelwright.cli.telling import shown
from modelwright.client import Api
from modelwright.errors import InvalidInput, Refused, Unavailable
from modelwright.local import stacks

_WAITS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_TIMEOUT_S = 600
_BLOCK_BYTES = 2**20
Kind = Literal[".parquet", ".csv"]


def get(
    entities: Annotated[
        Path, typer.Option("--entities", help="Parquet or CSV: join keys, request columns, and the time of each row.")
    ],
    out: Annotated[Path, typer.Option("--out", help="What to write: .parquet or .csv.")],
    service: Annotated[str, typer.Option("--service", help="A feature service or model.")] = "",
    features: Annotated[str, typer.Option("--features", help="view:feature,group:output,... instead.")] = "",
    time_column: Annotated[
        str, typer.Option("--time-column", help="The column with the time, where features are named.")
    ] = "event_timestamp",
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", help="Leave out what became known later (UTC); by default now.")
    ] = None,
    by_event_time: Annotated[
        bool, typer.Option("--by-event-time", help="Count rows from their event time, known by then or not.")
    ] = False,
    engine: Annotated[str, typer.Option("--engine", help="What joins: arrow, spark, or one of your own.")] = "arrow",
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Get features of many entities, each as of its row's time, with rows and columns as they are in the file."""
    kind_of(out)
    query = {"time_column": time_column, "engine": engine, "available": not by_event_time}
    if service:
        query["service"] = service
    if features:
        query["features"] = [name.strip() for name in features.split(",")]
    if as_of is not None:
        query["as_of"] = as_of.isoformat() + ("" if as_of.tzinfo else "+00:00")
    api = stacks.connect(endpoint)
    job_id = start(api, query, entities)
    typer.echo(f"job {job_id}", err=True)
    job = finished(api, job_id)
    download(job["url"], out)
    typer.echo(shown(f"{job['rows']:,} rows as of {job['as_of']} in {out}; dataset {job['digest']}"))


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


def finished(api: Api, job_id: str) -> Any:
    """Wait for a job and return it; raises ``Refused`` if it failed."""
    waited = 0
    while (job := api.get(f"/v1/features/jobs/{quote(job_id, safe='')}"))["state"] == "requested":
        time.sleep(_WAITS_S[min(waited, len(_WAITS_S) - 1)])
        waited += 1
    if job["state"] == "failed":
        raise Refused(f"job {job_id} failed: {job['reason']}")
    return job


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
