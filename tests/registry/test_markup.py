"""What people write on a card, as HTML and as Markdown that stays within its section."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from modelwright.registry.markup import headed, html_of, markdown_of

HARMLESS = {
    "a", "blockquote", "br", "code", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong", "table",
    "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
PIECES = st.sampled_from(
    ["<script>alert(1)</script>", "<!--", "-->", "```", "~~~", "# ", "## x", "=====", "[a](javascript:alert(1))",
     "[a](https://a.example/)", "![p](https://a.example/p.png)", "<https://a.example>", "&lt;", "|", "| - | - |",
     "> ", "- ", "1. ", "`", "*", "_", "\\", "\n", "\n\n", "    ", "<div onclick='x'>", "<style>", "]]>", "word"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join)


class Tags(HTMLParser):
    """The tags and attributes of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def as_github(text: str) -> str:
    """Return what a renderer makes of Markdown that lets HTML through."""
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def test_plain_markdown_is_rendered() -> None:
    html = html_of("For **flights** out of New York:\n\n- late ones\n- see [here](https://a.example/x)\n\n`code`")
    for part in ("<strong>flights</strong>", "<li>late ones</li>", 'href="https://a.example/x"', "<code>code</code>"):
        assert part in html


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<a href='javascript:alert(1)'>x</a>",
        "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](data:text/html,<script>)", "[x](vbscript:x)",
        "[x](/console)", "[x](//evil.example)", "![x](https://evil.example/p.png)", "<javascript:alert(1)>",
        "[x]: javascript:alert(1)\n\n[x]", "<svg/onload=alert(1)>", "<!-- <p>", "<style>*{display:none}",
        "[x](https://a.example/\"onmouseover=\"alert(1))", "[x](java&#115;cript:alert(1))",
        "[x](java\nscript:alert(1))",
    ],
)  # fmt: skip
def test_nothing_that_a_person_writes_runs_or_leads_astray(evil: str) -> None:
    for html in (html_of(evil), as_github(markdown_of(evil))):
        found = Tags(html)
        assert found.tags <= HARMLESS
        assert found.attributes <= {"href", "rel"}
        assert all(re.match("https?://|mailto:", link) for link in found.links), html


@given(TEXTS)
@settings(deadline=None)
def test_whatever_is_written_gives_harmless_html(text: str) -> None:
    found = Tags(html_of(text))
    assert found.tags <= HARMLESS
    assert found.attributes <= {"href", "rel", "start", "style", "class"}
    assert all(re.match("https?://|mailto:", link, re.IGNORECASE) for link in found.links)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_a_section_ends_where_it_ends(text: str) -> None:
    """What follows on the card is still a heading and a table, not swallowed by a comment, a fence or a list."""
    card = f"## Caveats\n\n{markdown_of(text)}\n\n## Metrics\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    html = as_github(card)
    assert html.rstrip().endswith("</table>")
    assert "<h2>Metrics</h2>" in html
    assert html.count("<h2>") == 2
    assert "<h1>" not in html
    assert "<!--" not in html


@given(TEXTS)
@example("- + -")
@settings(max_examples=200, deadline=None)
def test_written_anew_it_stays_as_it_is(text: str) -> None:
    once = markdown_of(text)
    assert markdown_of(once) == once


def test_headings_begin_below_those_of_the_card_and_keep_their_order() -> None:
    assert markdown_of("# One\n\n## Two\n\nx") == "### One\n\n#### Two\n\nx"
    assert markdown_of("### Three\n\nx") == "### Three\n\nx"
    assert "<h3>One</h3>" in html_of("One\n===\n\nx")


def test_tables_of_people_are_tables() -> None:
    table = "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert "<td>2</td>" in html_of(table)
    assert "<td>2</td>" in as_github(markdown_of(table))


def test_a_document_is_cut_at_its_headings() -> None:
    text = (
        "# Card\n\npre\n\n## Intended use\n\nx\n\n### part\n\ny\n\n```\n## not one\n```\n\n## Owner\nteam\n\n# End\nz\n"
    )
    assert headed(text) == [
        ("Intended use", "x\n\n### part\n\ny\n\n```\n## not one\n```"),
        ("Owner", "team"),
    ]
    assert headed("no heading") == []


@pytest.mark.parametrize(
    "text", ["[" * 20_000, ">" * 20_000, "*a" * 10_000, "![[" * 6000, "- " * 10_000, "|a" * 9000 + "\n" + "|-" * 9000]
)
def test_the_longest_section_is_written_in_no_time(text: str) -> None:
    began = time.process_time()
    html_of(text)
    markdown_of(text)
    assert time.process_time() - began < 10
