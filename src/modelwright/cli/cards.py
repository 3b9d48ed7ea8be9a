"""``modelwright models card`` and ``write-card``: read a version's model card, and write its sections from a file."""

import json
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.errors import InvalidInput
from modelwright.local import stacks
from modelwright.registry.cardforms import GENERATED_FROM_HERE, note
from modelwright.registry.cardtext import document
from modelwright.registry.markup import headed, markdown_of
from modelwright.registry.sections import title

Name = Annotated[str, typer.Argument(help="A registered model.")]
Version = Annotated[str, typer.Argument(help="A version's number, or @ and an alias: 3, @champion.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]


class Form(StrEnum):
    """How a card is told."""

    markdown = "markdown"
    html = "html"
    json = "json"


def card(
    name: Name,
    version: Version,
    form: Annotated[Form, typer.Option("--format", help="How it is told.")] = Form.markdown,
    revision: Annotated[int, typer.Option(min=0, help="Of what people wrote; 0: the newest.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write it here instead of printing it.")] = None,
    endpoint: Endpoint = "",
) -> None:
    """Print a version's model card."""
    said = stacks.connect(endpoint).get(_path(name, version), format=form.value, revision=str(revision))
    text = said if isinstance(said, str) else json.dumps(said, indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")


def write_card(
    name: Name,
    version: Version,
    file: Annotated[
        Path | None, typer.Argument(help="Markdown; each `## Heading` is a section. -: standard input.")
    ] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            help="A section that is right as it was carried over from an earlier version; *: all; repeatable."
        ),
    ] = None,
    endpoint: Endpoint = "",
) -> None:
    """Write sections of a version's model card from a Markdown file, or confirm those that were carried over.

    Sections that the file does not name stay; a heading with nothing below it removes its section. A card as `models
    card` prints it can be edited and written back: what is generated in it is passed over. If somebody else wrote
    meanwhile, nothing is changed.
    """
    if file is None and not confirm:
        raise InvalidInput("what is to be written? name a Markdown file, or sections to --confirm")
    api, path = stacks.connect(endpoint), _path(name, version)
    known = api.get(path, format="json")
    texts = changed(known, _read(file)) if file else {}
    if not texts and not confirm:
        typer.echo(f"{name} v{known['version']}: nothing changed, revision {known['revision']}")
        return
    said = api.put(path, {"sections": texts, "confirm": confirm or [], "revision": known["revision"]})
    typer.echo(f"{name} v{said['version']}: revision {said['revision']}")
    drafts = [section for section, told in said["sections"].items() if told["carried_from"]]
    if drafts:
        typer.echo(f"carried over and not confirmed: {', '.join(drafts)}")


def changed(known: Mapping[str, Any], text: str) -> dict[str, str]:
    """Return the sections of a file that say something else than the card does.

    Args:
        known: the card's JSON.
        text: Markdown with a heading of the second level for each section.

    Raises:
        InvalidInput: it has no such heading, or one of them twice.
    """
    notes = {part.name: note(part) for part in document(known).people}
    found: dict[str, str] = {}
    for heading, body in headed(text.partition(GENERATED_FROM_HERE)[0]):
        section = re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")
        if section in found:
            raise InvalidInput(f"the heading {title(section)!r} comes twice")
        found[section] = body.removesuffix(notes.get(section, "")).strip()
    if not found:
        raise InvalidInput("the file has no section: each begins with a heading such as `## Intended use`")
    before = {section: markdown_of(told["text"]) for section, told in known["sections"].items()}
    return {section: body for section, body in found.items() if markdown_of(body) != before.get(section, "")}


def _path(name: str, version: str) -> str:
    return f"/v1/models/{quote(name, safe='')}/versions/{quote(version, safe='@')}/card"


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}") from error
