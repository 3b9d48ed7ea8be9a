"""The pages: plain HTML that asks nobody else. The form alone has a script, of three statements."""

import base64
import hashlib
import json
import re
from html import escape
from typing import Any

from modelwright.console.layout import at, page, table

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
        '<form class="sign" method="post" action="/login"><label for="token">Token</label>'
        f'<input type="hidden" name="to" value="{escape(to)}">'
        '<input id="token" name="token" type="password" autocomplete="current-password" required>'
        f"<button>Sign in</button></form><script>{_SCRIPT}</script>"
    )
    hint = "<p>On your own machine <code>modelwright env</code> prints it as <code>MLFLOW_TRACKING_TOKEN</code>.</p>"
    return page("Sign in", f"<h1>Modelwright</h1>{note}{form}{hint}")


def overview(status: dict[str, Any], interface: str = "") -> str:
    """Return the page of the platform at a glance, with a link to MLflow's interface where there is one."""
    project = status["project"]
    title = f"{project['name']} in workspace {status['workspace']}" if project else "No project applied yet"
    incidents = table(
        ("since", "subject", "what", "times"),
        [(at(i["at"]), i["subject"], i["last_text"], str(i["count"])) for i in status["incidents"]],
        "No open incident.",
    )
    routes = table(
        ("model", "version", "role", "share"),
        [
            (name, str(r["version"]), r["role"], f"{r['percent']} %")
            for name, model in status["models"].items()
            for r in model["routes"]
        ],
        "No model serves yet.",
    )
    events = table(
        ("at", "event", "stream", "what"),
        [
            (at(e["at"]), e["type"], f"{e['stream']} {e['sequence']}", json.dumps(e["data"])[:200])
            for e in status["events"]
        ],
        "Nothing happened yet.",
    )
    link = f'<p><a href="{escape(interface)}">Experiments, runs and models</a></p>' if interface else ""
    body = (
        f"<h1>{escape(title)}</h1>{link}<h2>Incidents</h2>{incidents}<h2>Traffic</h2>{routes}"
        f"<h2>Newest events</h2>{events}"
    )
    return page("Modelwright", body, here="/console")
