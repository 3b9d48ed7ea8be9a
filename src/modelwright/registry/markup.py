"""The Markdown that people write, as HTML and as Markdown that stays within its own section.

Both are written from the parsed text (CommonMark by markdown-it-py, written anew by mdformat), never by patching it: an
HTML comment, a fence that nobody closed or a heading of the first level would take over what follows on the card.
Raw HTML is text; links lead to web pages and mailboxes only, and pictures, which would tell their host who reads
the card, are links. Headings begin below those of the card's sections.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""What some take for the end of a line and others do not."""
_HIGHEST, _LOWEST = 3, 6


def html_of(text: str) -> str:
    """Return a section's text as HTML."""
    parser = _parser(tables=True)
    return str(parser.renderer.render(_demoted(parser.parse(_clean(text))), parser.options, {}))


def markdown_of(text: str) -> str:
    """Return a section's text as Markdown that means the same, ends where it ends, and written anew stays as it is."""
    return _written(_written(text))  # lists of nothing but empty lists are rules when they are read again


def _written(text: str) -> str:
    from mdformat.renderer import MDRenderer

    parser = _parser(tables=False)  # mdformat knows no tables: their lines pass as the paragraphs that they look like
    options = {**parser.options, "mdformat": {}, "parser_extension": []}
    written = MDRenderer().render(_demoted(parser.parse(_clean(text))), options, {})
    return written.strip("\n")


def headed(text: str, level: int = 2) -> list[tuple[str, str]]:
    """Return the parts of a document that follow its headings of a level, with these; what comes before is left out."""
    tokens, lines = _parser(tables=False).parse(text), text.split("\n")
    found: list[tuple[str, int, int]] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.tag <= f"h{level}" and token.map:
            title = inline.content.strip() if token.tag == f"h{level}" else ""
            found.append((title, token.map[0], token.map[1]))
    found.append(("", len(lines), len(lines)))
    parts = ((title, lines[begin:end]) for (title, _, begin), (_, end, _) in pairwise(found) if title)
    return [(title, "\n".join(part).strip()) for title, part in parts]


@cache
def _parser(*, tables: bool) -> "MarkdownIt":
    from markdown_it import MarkdownIt

    class Careful(MarkdownIt):
        """CommonMark without HTML and pictures, and with few kinds of links."""

        def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
            return bool(_LINK.match(url))

    parser = Careful("commonmark", {"html": False}).disable("image")
    return parser.enable("table") if tables else parser


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")).rstrip("\n") + "\n"


def _demoted(tokens: Sequence["Token"]) -> list["Token"]:
    """Return the tokens with headings from the third level on, and links that vouch for nothing."""
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    down = max([_HIGHEST - int(token.tag[1:]) for token in headings], default=0)
    for token in headings:
        level = min(int(token.tag[1:]) + max(down, 0), _LOWEST)
        token.tag, token.markup = f"h{level}", "#" * level
    for link in (child for token in tokens for child in token.children or () if child.type == "link_open"):
        link.attrSet("rel", "nofollow noopener noreferrer")
    return list(tokens)
