"""A card's document as Markdown and as HTML."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from modelwright.registry.cardstyle import STYLE
from modelwright.registry.cardtext import (
    Alarm,
    Block,
    Code,
    Document,
    Grid,
    Heading,
    Names,
    Pairs,
    Part,
    Prose,
    Written,
    document,
)
from modelwright.registry.markup import html_of, markdown_of

GENERATED_FROM_HERE = "<!-- What follows is generated: what is written there is not read back. -->"

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""A browser takes the page's own style and nothing else, from nobody."""

VERDICTS = {"passed": "good", "FAILED": "bad"}
_SPECIAL = re.compile(r"([\\`*<>|~]|(?<=\])\(|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|&(?=[#0-9A-Za-z]))")
_BEGINS_BLOCK = re.compile(r"^(\d{0,9})(?=[.)](?:\s|$))|^(?=[#+=\[-])")


HEADERS: Mapping[str, Mapping[str, str]] = {
    "json": {"content-type": "application/json"},
    "markdown": {"content-type": "text/markdown; charset=utf-8", "x-content-type-options": "nosniff"},
    "html": {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    },
}
"""What is said of each form of a card."""


def form_of(accept: str) -> str:
    """Return the form that an ``Accept`` header names first; JSON where it names none."""
    named = (kind.partition(";")[0].strip().lower() for kind in accept.split(","))
    known = {"application/json": "json", "text/markdown": "markdown", "text/html": "html"}
    return next((known[kind] for kind in named if kind in known), "json")


def written_as(form: str, card: Mapping[str, Any]) -> Any:
    """Return a card's JSON in a form of ``HEADERS``."""
    if form == "json":
        return dict(card)
    return html(document(card)) if form == "html" else markdown(document(card))


# --- Markdown ----------------------------------------------------------------------------


def markdown(card: Document) -> str:
    """Return the card as Markdown (CommonMark with GitHub's tables): what people wrote first."""
    badges = " · ".join(f"**{_plain(badge)}**" for badge in card.badges)
    people = [_markdown_part(part) for part in card.people]
    generated = [_markdown_part(part) for part in card.generated]
    parts = [f"# {_plain(card.title)}", badges, *people, GENERATED_FROM_HERE, *generated, "---", _paragraph(card.foot)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_part(part: Part) -> str:
    blocks = [_MARKDOWN[type(block)](block) for block in part.blocks]
    return "\n\n".join([f"## {_plain(part.title)}", *blocks])


def _markdown_pairs(block: Pairs) -> str:
    return "\n".join(f"- **{_plain(name)}:** {_inline(value)}" for name, value in block.pairs)


def _markdown_grid(block: Grid) -> str:
    rule = ["---:" if column in block.figures else "---" for column in range(len(block.head))]
    rows = [[_plain(name) for name in block.head], rule, *([_cell(cell) for cell in row] for row in block.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def note(part: Part) -> str:
    """Return the last line of a section that people wrote: by whom, and when."""
    return "".join(f"*{_plain(block.note)}*" for block in part.blocks if isinstance(block, Written))


def _markdown_written(block: Written) -> str:
    return f"{markdown_of(block.markdown)}\n\n*{_plain(block.note)}*"


def _inline(text: str) -> str:
    return _code(text) if isinstance(text, Code) else _plain(text)


def _cell(text: str) -> str:
    """Return text for a table, where a bar ends the cell even within code: then it is no code."""
    return _plain(text) if {"|", "\\"} & set(text) else _inline(text)


def _plain(text: str) -> str:
    """Return text that means itself within a line of Markdown, in a table's cell too."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _paragraph(text: str) -> str:
    """Return text that means itself as a paragraph of its own: no heading, no list."""
    return _BEGINS_BLOCK.sub(r"\1\\", _plain(text))


def _code(text: str) -> str:
    """Return text as a code span: its fence is longer than any run of backticks in it."""
    line = " ".join(text.split())
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else ""


_MARKDOWN: Mapping[type, Callable[[Any], str]] = {
    Prose: lambda block: _paragraph(block.text),
    Alarm: lambda block: f"**{_plain(block.text)}**",
    Names: lambda block: ", ".join(map(_code, block.names)),
    Heading: lambda block: f"### {_plain(block.text)}",
    Pairs: _markdown_pairs,
    Grid: _markdown_grid,
    Written: _markdown_written,
}


# --- HTML --------------------------------------------------------------------------------


def html(card: Document) -> str:
    """Return the card as a page that asks nobody for anything."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(card.title)}</title><style>{STYLE}</style></head><body>{article(card)}</body></html>"
    )


def article(card: Document) -> str:
    """Return the card as a part of a page."""
    badges = "".join(f'<span class="badge">{escape(badge)}</span>' for badge in card.badges)
    parts = "".join(map(_html_part, (*card.people, *card.generated)))
    links = (f'<a href="#{escape(part.name)}">{escape(part.title)}</a>' for part in (*card.people, *card.generated))
    head = f'<header><h1>{escape(card.title)}</h1>{badges}<p class="places">{" ".join(links)}</p></header>'
    return f"<article>{head}{parts}<footer>{escape(card.foot)}</footer></article>"


def block_html(block: Block) -> str:
    """Return one block as HTML."""
    return _HTML[type(block)](block)


def _html_part(part: Part) -> str:
    blocks = "".join(map(block_html, part.blocks))
    return f'<section id="{escape(part.name)}"><h2>{escape(part.title)}</h2>{blocks}</section>'


def _html_pairs(block: Pairs) -> str:
    return "<dl>" + "".join(f"<dt>{escape(n)}</dt><dd>{_html_inline(v)}</dd>" for n, v in block.pairs) + "</dl>"


def _html_grid(block: Grid) -> str:
    def cells(row: tuple[str, ...], tag: str) -> str:
        kinds = [' class="n"' if column in block.figures else "" for column in range(len(row))]
        return "".join(f"<{tag}{kind}>{_html_inline(c)}</{tag}>" for c, kind in zip(row, kinds, strict=True))

    rows = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in block.rows)
    return (
        f'<div class="wide"><table><thead><tr>{cells(block.head, "th")}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _html_written(block: Written) -> str:
    kind = ' class="carried"' if block.carried else ""
    return f'<div{kind}>{html_of(block.markdown)}<p class="note">{escape(block.note)}</p></div>'


def _html_inline(text: str) -> str:
    if isinstance(text, Code):
        return f"<code>{escape(text)}</code>"
    return f'<span class="{VERDICTS[text]}">{escape(text)}</span>' if text in VERDICTS else escape(text)


_HTML: Mapping[type, Callable[[Any], str]] = {
    Prose: lambda block: f"<p>{escape(block.text)}</p>",
    Alarm: lambda block: f'<p class="bad">{escape(block.text)}</p>',
    Names: lambda block: "<p>" + ", ".join(f"<code>{escape(name)}</code>" for name in block.names) + "</p>",
    Heading: lambda block: f"<h3>{escape(block.text)}</h3>",
    Pairs: _html_pairs,
    Grid: _html_grid,
    Written: _html_written,
}
