"""``modelwright audit``: take any period of the log with its proof, check it, and see the roots.

An export is a folder: ``log.jsonl`` (what is stored, a line each, everything between the two roots around the
period), ``manifest.json`` (where each stream begins and ends, SHA-256 of every file), the two roots, and for people
and their tools ``log.csv`` or ``cloudtrail.json`` (the period's own events, by time, with CloudTrail's names).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from modelwright.client import Api, full_name
from modelwright.errors import InvalidInput, NotFound
from modelwright.governance import excerpts, trail, verifier
from modelwright.governance.excerpts import MANIFEST, File, Tally
from modelwright.local import stacks
from modelwright.log import canonical

app = typer.Typer(no_args_is_help=True, help="Export any period of the log with its proof, verify it, list the roots.")
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
Since = Annotated[str, typer.Option("--from", help="UTC, by the wall clock: 2026-03-01 or 2026-03-01T12:00.")]
Until = Annotated[str, typer.Option("--to", help="The same, exclusive; without it, until now.")]
LOG = "log.jsonl"


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    start: Since,
    end: Until = "",
    kind: Annotated[
        Literal["jsonl", "csv", "cloudtrail"],
        typer.Option("--format", help="What there is besides the JSON Lines, which are the proof."),
    ] = "jsonl",
    endpoint: Endpoint = "",
) -> None:
    """Write what was written to the log in a period, with what proves it; that it was taken is in the log."""
    period = time_of(start), time_of(end) if end else datetime.now(UTC)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} must be a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    items, streams, digest = take(stacks.connect(endpoint), folder, period, kind)
    typer.echo(f"{items} items of {streams} streams in {folder}; digest of the manifest, as the log has it: {digest}")


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="An export, or a day of the archive.")],
    roots: Annotated[list[Path] | None, typer.Option(help="Roots from the audit bucket, not those beside it.")] = None,
    digest: Annotated[str, typer.Option(help="The manifest's SHA-256, as the log has it.")] = "",
    recorded: Annotated[bool, typer.Option("--recorded", help="Ask the stack's own log for the digest.")] = False,
    endpoint: Endpoint = "",
) -> None:
    """Check an export by its manifest and roots; exit status 1 and the first bad sequence number if it is broken."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise InvalidInput(f"{folder} is no export: it has no {MANIFEST}")
    if recorded:
        typer.echo(record_of(stacks.connect(endpoint), manifest))
    given = [verifier.read(path) for path in roots or sorted(folder.glob("root-*.json"))]
    faults, streams, items = verifier.check_excerpt(manifest, given, digest)
    how = verifier.believed(given) or (
        "" if roots else ", by the roots beside it: --roots takes the audit bucket's own"
    )
    typer.echo(verifier.covered(manifest))
    raise typer.Exit(verifier.tell(faults or remade_faults(folder), streams, items, how))


@app.command("roots")
def roots(
    start: Since = "",
    end: Until = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    endpoint: Endpoint = "",
) -> None:
    """List the roots of a time (without one, of the last week) and where they lie in the audit bucket."""
    until = time_of(end) if end else datetime.now(UTC)
    since = time_of(start) if start else until - timedelta(days=7)
    found = list(roots_of(stacks.connect(endpoint), since, until))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for root in found:
        at = datetime.fromisoformat(root["at"]).astimezone(UTC)
        typer.echo(f"{root['number']:>8} {at:%Y-%m-%d %H:%M:%S} {root['key']} {root['root']}")


def take(api: Api, folder: Path, period: tuple[datetime, datetime], kind: str) -> tuple[int, int, str]:
    """Write an export into a folder; return its items, its streams and the digest of its manifest."""
    asked = {"start": period[0].isoformat(), "end": period[1].isoformat(), "format": kind}
    begun = api.post("/v1/audit/exports", asked)
    period = datetime.fromisoformat(begun["start"]), datetime.fromisoformat(begun["end"])
    tally, others = Tally(), dict[str, File]()
    with closing(trail.Trail(*period)) as records:
        log = _write_log(folder / LOG, _items(api, begun["export"]), tally, records if kind in trail.FILES else None)
        for format_, name in trail.FILES.items():
            if format_ == kind:
                pieces = trail.text_of(format_, records.records())
                others[name] = _write(folder / name, (piece.encode() for piece in pieces))
    for told in (begun["from"], begun["to"]):
        if told:
            name = f"root-{told['number']:08d}.json"
            others[name] = _write(folder / name, iter([canonical(_root(api, told["at"]))]))
    manifest = excerpts.manifest(
        tally,
        workspace=begun["workspace"],
        period=period,
        roots=(begun["from"], begun["to"]),
        log={LOG: log},
        others=others,
        export=begun["export"],
    )
    digest = _write(folder / MANIFEST, iter([manifest])).sha256
    api.post(f"/v1/audit/exports/{begun['export']}", {"items": tally.items, "digest": digest})
    return tally.items, len(tally.streams), digest


def roots_of(api: Api, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    """Yield where the roots of a time lie, oldest first."""
    cursor = ""
    while True:
        told = {"from": start.isoformat(), "to": end.isoformat(), "cursor": cursor}
        page = api.get("/v1/audit/roots", **told)
        yield from page["roots"]
        if not (cursor := page["next"]):
            return


def record_of(api: Api, manifest: Path) -> str:
    """Return what the log says of the export or archived day with this manifest.

    Raises:
        InvalidInput: nothing.
    """
    body = manifest.read_bytes()
    digest, workspace = hashlib.sha256(body).hexdigest(), _told(body).get("workspace")
    of_whole = full_name("AUDIT#archive", api.token)
    stream = f"WS#{workspace}#AUDIT#exports" if workspace else of_whole
    with suppress(NotFound):
        for item in api.stream(stream):
            envelope = json.loads(item["envelope"])
            if envelope["data"]["digest"] == digest:
                return f"the log has this manifest: {envelope['id']}, {envelope['at']}, by {envelope['actor']}"
    raise InvalidInput(f"{stream} tells of no manifest with the digest {digest}")


def remade_faults(folder: Path) -> list[str]:
    """Check that the files for people and tools are what the JSON Lines beside them, which are right, make."""
    manifest = _told((folder / MANIFEST).read_bytes())
    made = [(kind, name) for kind, name in trail.FILES.items() if name in manifest.get("files", {})]
    if not made or not (folder / LOG).is_file():
        return []
    period = datetime.fromisoformat(manifest["start"]), datetime.fromisoformat(manifest["end"])
    with closing(trail.Trail(*period)) as records:
        with (folder / LOG).open(encoding="utf-8") as lines:
            for line in lines:
                records.take(json.loads(line))
        return [
            f"{name} is not what {LOG} makes"
            for kind, name in made
            if _digest(trail.text_of(kind, records.records())) != _digest_of(folder / name)
        ]


def time_of(text: str) -> datetime:
    """Return a time in UTC, which is what none is said of; raises ``InvalidInput``."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no time: say 2026-03-01 or 2026-03-01T12:00") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


# --- pages and files ---------------------------------------------------------------------


def _items(api: Api, export: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = api.get(f"/v1/audit/exports/{quote(export, safe='')}/items", cursor=cursor)
        yield from page["items"]
        if not (cursor := page["next"]):
            return


def _root(api: Api, at: str) -> dict[str, Any]:
    """Return a root as far as it is the workspace's, of all its pages."""
    root = api.get("/v1/audit/root", at=at, after="")
    after = root.pop("next")
    while after:
        page = api.get("/v1/audit/root", at=at, after=after)
        root["heads"].update(page["heads"])
        after = page["next"]
    return dict(root)


def _write_log(path: Path, items: Iterator[dict[str, Any]], tally: Tally, records: trail.Trail | None) -> File:
    def lines() -> Iterator[bytes]:
        for item in items:
            tally.take(item)
            if records is not None:
                records.take(item)
            yield excerpts.line(item)

    return _write(path, lines())


def _write(path: Path, pieces: Iterator[bytes]) -> File:
    """Write a file piece by piece."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    return File(size, digest.hexdigest())


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError as error:
        raise InvalidInput(f"the manifest cannot be read: {error}") from error
    if not isinstance(told, dict):
        raise InvalidInput("the manifest cannot be read: it is no object")
    return told


def _digest(pieces: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode())
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
