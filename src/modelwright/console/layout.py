"""What all pages share: their look, the way around, tables. Plain HTML that asks nobody else."""

from collections.abc import Sequence
from html import escape

from modelwright.registry.cardstyle import STYLE as CARD_STYLE

STYLE = (
    CARD_STYLE
    + """
body{max-width:70rem;margin:0 auto 4rem}h1{font-size:1.4rem}h2{font-size:1.1rem}
nav{display:flex;flex-wrap:wrap;align-items:center;gap:.2rem 1.2rem;padding:.7rem 0;margin-bottom:1.4rem;
border-bottom:1px solid #dde2ea}
nav a{text-decoration:none;padding:.15rem 0}nav a[aria-current]{border-bottom:2px solid currentColor}
.bare{padding-top:2rem}nav .brand{font-weight:700}nav form{margin-left:auto}
nav button{border:0;background:none;padding:0;color:#586274}
.crumbs{margin:0 0 .3rem;color:#586274;font-size:.9rem}.lead{margin:.2rem 0 1rem;overflow-wrap:anywhere}
.plain td:first-child,.state,.stack td:first-child{white-space:nowrap}.plain td:nth-child(n+3){overflow-wrap:anywhere}
.critical{color:#a4161a}.warning{color:#9a6700}
.state{display:inline-block;border-radius:.3rem;padding:.05rem .55rem;font-size:.85rem;border:1px solid currentColor}
.state.waiting,.state.judging{color:#8a5a00}.state.applied{color:#1f5c3f}.state.refused{color:#a4161a}
.when{white-space:nowrap;font-variant-numeric:tabular-nums;color:#586274}
form.sign{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}form.sign input{flex:1;min-width:12rem;padding:.4rem}
form.decide{border:1px solid #dde2ea;border-radius:.5rem;padding:1rem;margin:1rem 0 1.5rem;max-width:40rem}
form.decide label{display:block;font-weight:600;margin-bottom:.3rem}
textarea{width:100%;box-sizing:border-box;font:inherit;padding:.4rem;min-height:4.2rem}
button{font:inherit;cursor:pointer;padding:.35rem 1rem;border:1px solid #8a94a6;border-radius:.3rem;background:none;
color:inherit}button:disabled{opacity:.5;cursor:default}
.buttons{display:flex;flex-wrap:wrap;gap:.6rem;margin-top:.7rem}
button.yes{background:#1f5c3f;border-color:#1f5c3f;color:#fff}button.no{border-color:#a4161a;color:#a4161a}
[role=alert]{margin:.7rem 0 0;overflow-wrap:anywhere}[role=alert]:empty{display:none}
textarea,input{color:inherit;background:#fff;border:1px solid #8a94a6;border-radius:.3rem}
@media(prefers-color-scheme:dark){nav,form.decide{border-color:#2b3442}nav button,.crumbs,.when{color:#9aa5b5}
.critical,.state.refused,button.no{color:#ff8f8f}.warning,.state.waiting,.state.judging{color:#e7b75f}
.state.applied{color:#8fd3b0}button.no{border-color:#ff8f8f}button.yes{background:#2f7d57;border-color:#2f7d57}
textarea,input{background:#1b212b}}
@media(max-width:40rem){nav{gap:.2rem .9rem}.state,.stack td:first-child{white-space:normal}
.stack thead{display:none}.stack tr{display:block;border-bottom:1px solid #8a94a6;padding:.5rem 0}
.stack td{display:flex;gap:.8rem;border:0;padding:.1rem 0}.stack td:empty{display:none}
.stack td>*{min-width:0}.stack td::before{content:attr(data-name);flex:0 0 7rem;color:#586274}}
@media(max-width:40rem) and (prefers-color-scheme:dark){.stack td::before{color:#9aa5b5}}
"""
)

PLACES = (("Overview", "/console"), ("Models", "/console/models"), ("Approvals", "/console/approvals"))


def page(title: str, body: str, *, here: str = "", refresh_s: int = 0) -> str:
    """Return a page.

    Args:
        title: its title.
        body: its HTML.
        here: which of ``PLACES`` it belongs to; empty: no way around is shown.
        refresh_s: after how many seconds the browser asks again; 0: never.
    """
    again = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    around, kind = (_around(here), "") if here else ("", ' class="bare"')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{again}'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body{kind}>{around}{body}</body></html>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """Return a table of plain texts, or what to say when there are no rows."""
    return raw_table(head, [[escape(cell) for cell in row] for row in rows], empty, kind="plain")


def raw_table(head: Sequence[str], rows: Sequence[Sequence[str]], empty: str, *, kind: str = "stack") -> str:
    """Return a table whose cells are HTML; where a page is narrow, the cells of a ``stack`` lie below each other."""
    if not rows:
        return f"<p>{escape(empty)}</p>"
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("".join(map(_cell, head, row)) if kind == "stack" else _cells(row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    whole = f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide">{whole}</div>'


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in row)


def _cell(name: str, cell: str) -> str:
    return f'<td data-name="{escape(name)}">{f"<div>{cell}</div>" if cell else ""}</td>'


def at(text: str) -> str:
    """Return an ISO 8601 time of UTC to the second."""
    return text[:19].replace("T", " ")


def _around(here: str) -> str:
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if path == here else ""}>{name}</a>' for name, path in PLACES
    )
    out = '<form method="post" action="/logout"><button>Sign out</button></form>'
    return f'<nav><span class="brand">Modelwright</span>{links}{out}</nav>'
