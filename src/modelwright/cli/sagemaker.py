"""``modelwright export sagemaker`` and ``modelwright import sagemaker``: Model Monitor's baselines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelwright.errors import InvalidInput, NotFound
from modelwright.team import read_team

if TYPE_CHECKING:
    from modelwright.monitoring.compatibility.documents import Constraints, Statistics
    from modelwright.monitoring.profiles import Profile

Folder = Annotated[Path, typer.Argument(help="Folder with modelwright.toml.")]
SourceName = Annotated[str, typer.Argument(help="The source that files are of.")]
Files = Annotated[list[Path], typer.Argument(help="Parquet files; several count as one.")]
STATISTICS, CONSTRAINTS, VIOLATIONS = "statistics.json", "constraints.json", "constraint_violations.json"


def export_sagemaker(
    folder: Folder,
    source: SourceName,
    files: Files,
    to: Annotated[Path, typer.Option("--to", help="Folder for statistics.json and constraints.json.")] = Path(),
) -> None:
    """Write SageMaker's statistics.json and constraints.json from files of a source, as its baseline job would."""
    from modelwright.monitoring.compatibility import documents

    profile = _profile(folder, source, files)
    to.mkdir(parents=True, exist_ok=True)
    statistics = documents.statistics_of(profile.columns, profile.rows)
    (to / STATISTICS).write_bytes(documents.written(statistics))
    (to / CONSTRAINTS).write_bytes(documents.written(documents.constraints_of(profile.columns)))
    typer.echo(f"{to / STATISTICS} and {to / CONSTRAINTS}: {len(statistics.features)} columns, {profile.rows} rows")


def import_sagemaker(
    baseline: Annotated[Path, typer.Argument(help="Folder with constraints.json (and statistics.json).")],
    files: Annotated[list[Path] | None, typer.Argument(help="Parquet files to check against it.")] = None,
    folder: Annotated[Path, typer.Option("--project", help="Folder with modelwright.toml, for --source.")] = Path(),
    source: Annotated[str, typer.Option(help="The source that the files are of; needed to check them.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs: constraint_violations.json.")] = False,
) -> None:
    """Print a baseline's constraints as a source's columns for modelwright.toml, or check files against it.

    Exit status 1 if a file violates a constraint.
    """
    from modelwright.monitoring.compatibility import documents, sagemaker

    constraints = documents.read(documents.Constraints, _body(baseline / CONSTRAINTS), str(baseline / CONSTRAINTS))
    statistics = _statistics(baseline / STATISTICS)
    if not files:
        typer.echo("\n".join(columns_toml(constraints)))
        return
    if not source:
        raise InvalidInput("--source says which source of the project the files are of")
    profile = _profile(folder, source, files)
    found = sagemaker.violations_of(sagemaker.judgements(constraints, statistics, profile.columns))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        lines = (f"{one.feature_name}: {one.constraint_check_type}: {one.description}" for one in found.violations)
        typer.echo("\n".join(lines) or "no constraint is violated")
    if found.violations:
        raise typer.Exit(1)


def columns_toml(constraints: "Constraints") -> list[str]:
    """Return a source's columns as lines of modelwright.toml; whose source, key and times it is, people say."""
    types = {"Integral": "integer", "Fractional": "number", "String": "string", "Unknown": "string"}
    lines = ["[sources.NAME.columns]"]
    for feature in constraints.features:
        said = [f'type = "{types[feature.inferred_type]}"']
        if feature.completeness < 1:
            said.append("nullable = true")
        if feature.num_constraints is not None and feature.num_constraints.is_non_negative:
            said.append("low = 0")
        if feature.string_constraints is not None and feature.string_constraints.domains:
            said.append(f"values = {json.dumps(list(feature.string_constraints.domains))}")
        lines.append(f"{json.dumps(feature.name)} = {{ {', '.join(said)} }}")
    return lines


def _profile(folder: Path, source: str, files: list[Path]) -> "Profile":
    from modelwright.monitoring.profiles import merged, profile_file

    sources = read_team(folder).project.sources
    if source not in sources:
        raise NotFound(f"source {source} is not in the project: it has {', '.join(sources) or 'none'}")
    return merged([profile_file(file, source, sources[source]) for file in files])


def _statistics(place: Path) -> "Statistics | None":
    from modelwright.monitoring.compatibility import documents

    return documents.read(documents.Statistics, _body(place), str(place)) if place.exists() else None


def _body(place: Path) -> bytes:
    if not place.exists():
        raise NotFound(f"there is no {place}")
    return place.read_bytes()
