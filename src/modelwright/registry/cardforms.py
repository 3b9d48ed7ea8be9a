"""A card's document as Markdown and as HTML."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

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

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem;margin:0 .6rem 0 0;display:inline-block;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}a{color:inherit}
.badge{display:inline-block;border:1px solid #2f6f4f;color:#1f5c3f;border-radius:1rem;padding:0 .6rem;
margin:.2rem .3rem .2rem 0;font-size:.85rem;white-space:nowrap}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #dde2ea;vertical-align:top}
td:first-child code{white-space:nowrap}.places{font-size:.85rem;margin:.6rem 0 0}.places a{margin-right:.7rem}
td.n,th.n{padding-right:1.6rem;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.2rem 1rem;margin:.5rem 0}
dt{color:#586274}dd{margin:0;overflow-wrap:anywhere}
code{font-size:.85em;overflow-wrap:anywhere}pre{overflow-x:auto;background:#f4f6f9;padding:.6rem}
.note{color:#586274;font-size:.85rem}.carried{border-left:4px solid #b7791f;padding-left:.8rem}
.carried .note{color:#8a5a00}.bad{color:#a4161a;font-weight:600}.good{color:#1f5c3f}
footer{margin-top:3rem;color:#586274;font-size:.8rem;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#12161d;color:#dfe5ee}td,th{border-color:#2b3442}
pre{background:#1b212b}dt,.note,footer{color:#9aa5b5}.badge{border-color:#5fae86;color:#8fd3b0}.good{color:#8fd3b0}
.bad{color:#ff8f8f}.carried{border-color:#d69e2e}.carried .note{color:#e7b75f}}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
"""

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
