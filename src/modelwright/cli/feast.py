"""``modelwright import feast``: turn a Feast repository into a project of ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from modelwright.client import Api
from modelwright.feast import folder, repository
from modelwright.feast.translation import Translation
from modelwright.local import stacks
from modelwright.team import Team

Repository = Annotated[
    Path, typer.Argument(help="A Feast repository's folder (feature_store.yaml), or its registry.db.")
]
Folder = Annotated[Path | None, typer.Argument(help="The folder to make; without it, called as the project.")]
Python = Annotated[
    str, typer.Option("--python", help="The interpreter that has Feast: reads the definitions, applied or not.")
]
Project = Annotated[str, typer.Option("--project", help="Which project of a registry that has several.")]
WithData = Annotated[bool, typer.Option("--data", help="Apply it too, and copy the rows of its file sources.")]
Landing = Annotated[
    str, typer.Option("--landing", help="With --data: a deployed stack's landing bucket, by your AWS credentials.")
]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]


def import_feast(
    repo: Repository,
    into: Folder = None,
    python: Python = "",
    project: Project = "",
    with_data: WithData = False,
    landing: Landing = "",
    endpoint: Endpoint = "",
) -> None:
    """Write a Feast repository as a project: modelwright.toml, features.py, and what became of each part.

    The registry's file is read as it is. Where it is in a database or a bucket, or was never applied, name the
    interpreter that has Feast.
    """
    read = repository.read(repo, python=python)
    found = repository.translated(read, project)
    target = into or Path(found.project)
    stack = (stacks.connect(endpoint), stacks.landing(landing)) if with_data else None
    team = folder.write(found, target)
    typer.echo(f"{found.notes.told()}made {target}")
    if stack is None:
        typer.echo(f"then: modelwright apply {target}")
    else:
        copy(found, team, read.folder, *stack)


def copy(found: Translation, team: Team, repo: Path, api: Api, put: Callable[[str, bytes], None]) -> None:
    """Apply a project and land the rows of Feast's file sources, from where their features are materialized."""
    from modelwright.feast import data

    stacks.apply(team, api)
    for name, files in found.files.items():
        count = 0
        for key, body in data.landing(found.sources[name], files, repo):
            put(key, body)
            count += 1
        typer.echo(f"landed {files.uri} below {found.sources[name].prefix} ({count} files)")
