"""``modelwright gc``: what was deleted is removed for good.

The stack answers page by page, each after some seconds of work, and what a page tells is done. Who interrupts
the command and gives it again goes on where it was.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from modelwright.client import Api
from modelwright.local import stacks

_KINDS = {"run": "run", "logged_model": "logged model", "trace": "trace", "experiment": "experiment"}


def gc(
    older_than: Annotated[str, typer.Option("--older-than", help="Deleted at least so long ago: 30d, 1d2h3m4s.")] = "",
    experiment_ids: Annotated[
        str, typer.Option("--experiment-ids", help="Only these (with commas), and all in them.")
    ] = "",
    run_ids: Annotated[str, typer.Option("--run-ids", help="Only these runs (with commas).")] = "",
    logged_model_ids: Annotated[str, typer.Option("--logged-model-ids", help="Only these (with commas).")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, say what would be.")] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Remove deleted runs, logged models and experiments for good, with their points and files.

    What a registered model version needs is kept.
    """
    wanted = {
        "older_than": older_than,
        "experiment_ids": _listed(experiment_ids),
        "run_ids": _listed(run_ids),
        "logged_model_ids": _listed(logged_model_ids),
        "dry_run": dry_run,
    }
    done: dict[str, int] = {}
    for outcome in collect(stacks.connect(endpoint), wanted):
        typer.echo(line(outcome, dry_run=dry_run))
        if not outcome["kept"]:
            done[outcome["kind"]] = done.get(outcome["kind"], 0) + 1
            done["file"] = done.get("file", 0) + outcome["files"]
    typer.echo(total(done, dry_run=dry_run))


def collect(api: Api, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a stack did with each thing that was deleted, as it goes."""
    token = ""
    while True:
        page = api.post("/v1/gc", {**wanted, "page_token": token})
        yield from page["outcomes"]
        if not (token := page["next_page_token"]):
            return


def line(outcome: Mapping[str, Any], *, dry_run: bool = False) -> str:
    """Return an outcome as a sentence."""
    place = "" if outcome["kind"] == "experiment" else f" of experiment {outcome['experiment_id']}"
    thing = f"{_KINDS[outcome['kind']]} {outcome['id']}{place}"
    if outcome["kept"]:
        return f"kept {thing}: {outcome['kept']}"
    left = f"; {outcome['left']}" if outcome["left"] else ""
    return f"{'would remove' if dry_run else 'removed'} {thing}: {_many(outcome['files'], 'file')}{left}"


def total(done: Mapping[str, int], *, dry_run: bool = False) -> str:
    """Return the sum of all that was removed."""
    counts = [_many(done.get(kind, 0), name) for kind, name in {**_KINDS, "file": "file"}.items()]
    return f"{'would remove' if dry_run else 'removed'} {', '.join(counts)}"


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
