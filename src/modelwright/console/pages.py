"""The pages: plain HTML that asks nobody else. The form alone has a script, of three statements."""

import base64
import hashlib
import json
import re
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde2ea;vertical-align:top}
td:first-child{white-space:nowrap}td:nth-child(n+3){overflow-wrap:anywhere}
.critical{color:#a4161a}.warning{color:#9a6700}code{font-size:.85em}a{color:inherit}form{display:flex;gap:.5rem}input{flex:1;padding:.4rem}
@media(prefers-color-scheme:dark){body{background:#12161d;color:#dfe5ee}td,th{border-color:#2b3442}}
"""


HOME = "/"
_SCRIPT = """
document.forms[0].action += location.hash
localStorage['mlflow.workflowType_v1'] ??= '"machine_learning"'
localStorage['mlflow.assistant.fab.autoOpenedOnFirstLoad_v1'] ??= 'true'
"""
"""MLflow's interface keeps its place in the fragment, which no server sees: the form takes it along.

And it begins with its pages for language models and an open assistant, neither of which has anything behind it
here: who has not chosen yet begins with the pages for models.
"""

SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
"""By which a policy allows that script and no other."""

_OWN_PATH = re.compile(r"/(?![/\\])[\w\-./~%?=&]{0,500}", re.ASCII)


def own_path(said: str) -> str:
    """Return a path of this site as it was said, or the home page: nobody is led elsewhere by a link to the form."""
    return said if _OWN_PATH.fullmatch(said) else HOME


def login(fault: str = "", *, to: str = HOME) -> str:
    """Return the page that asks for a token.

    Args:
        fault: what was wrong with the last one.
        to: where to go with a good one; an ``own_path``.
    """
    note = f'<p class="critical">{escape(fault)}</p>' if fault else ""
    form = (
        '<form method="post" action="/login"><label for="token">Token</label>'
        f'<input type="hidden" name="to" value="{escape(to)}">'
        '<input id="token" name="token" type="password" autocomplete="current-password" required>'
        f"<button>Sign in</button></form><script>{_SCRIPT}</script>"
    )
    hint = "<p>On your own machine <code>modelwright env</code> prints it as <code>MLFLOW_TRACKING_TOKEN</code>.</p>"
    return _page("Sign in", f"<h1>Modelwright</h1>{note}{form}{hint}")


def overview(status: dict[str, Any], interface: str = "") -> str:
    """Return the page of the platform at a glance, with a link to MLflow's interface where there is one."""
    project = status["project"]
    title = f"{project['name']} in workspace {status['workspace']}" if project else "No project applied yet"
    incidents = _table(
        ("since", "subject", "what", "times"),
        [(_at(i["at"]), i["subject"], i["last_text"], str(i["count"])) for i in status["incidents"]],
        "No open incident.",
    )
    routes = _table(
        ("model", "version", "role", "share"),
        [
            (name, str(r["version"]), r["role"], f"{r['percent']} %")
            for name, model in status["models"].items()
            for r in model["routes"]
        ],
        "No model serves yet.",
    )
    events = _table(
        ("at", "event", "stream", "what"),
        [
            (_at(e["at"]), e["type"], f"{e['stream']} {e['sequence']}", json.dumps(e["data"])[:200])
            for e in status["events"]
        ],
        "Nothing happened yet.",
    )
    link = f'<p><a href="{escape(interface)}">Experiments, runs and models</a></p>' if interface else ""
    body = (
        f"<h1>{escape(title)}</h1>{link}<h2>Incidents</h2>{incidents}<h2>Traffic</h2>{routes}"
        f"<h2>Newest events</h2>{events}"
        '<form method="post" action="/logout"><p><button>Sign out</button></p></form>'
    )
    return _page("Modelwright", body)


def _at(text: str) -> str:
    """Return an ISO 8601 time of UTC to the second."""
    return text[:19].replace("T", " ")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], empty: str) -> str:
    if not rows:
        return f"<p>{escape(empty)}</p>"
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )
