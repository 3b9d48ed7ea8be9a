"""The pages of models, versions, requests and approvals; that of a request has a script, which sends a decision."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from modelwright.console.layout import at, page, raw_table
from modelwright.registry.cardforms import article, block_html
from modelwright.registry.cardtext import asked, document, estimate, gates, number, state, time

Facts = Mapping[str, Any]
MODELS, APPROVALS = "/console/models", "/console/approvals"
OPEN = ("waiting", "judging")
JUDGING_S = 5
"""A page of a request whose gates are being run looks again after so many seconds."""

_SCRIPT = """
const form = document.querySelector('form.decide')
form.addEventListener('submit', async event => {
  event.preventDefault()
  const verb = event.submitter.value, said = form.said.value.trim(), told = form.querySelector('[role=alert]')
  if (verb === 'reject' && !said) { told.textContent = 'Say why it is rejected.'; form.said.focus(); return }
  const buttons = form.querySelectorAll('button')
  buttons.forEach(button => { button.disabled = true })
  told.textContent = 'Sending…'
  try {
    const answer = await fetch(form.dataset.path + '/' + verb, {
      method: 'POST', headers: {'content-type': 'application/json'},
      body: JSON.stringify(verb === 'approve' ? {comment: said} : {reason: said})
    })
    if (answer.ok) { location.reload(); return }
    const body = await answer.json().catch(() => ({}))
    told.textContent = body.message || 'The platform answered ' + answer.status + '.'
  } catch { told.textContent = 'No answer came. Load the page again to see whether it was done.' }
  buttons.forEach(button => { button.disabled = false })
})
"""

SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
"""By which a policy allows that script and no other."""


def models(listed: Sequence[Facts]) -> str:
    """Return the page of all models."""
    rows = [
        (
            _model_link(one["name"]),
            _version_link(one["name"], one["champion"]) if one["champion"] else "none",
            _when(one["since"]),
            _aliases(one["name"], one["others"]),
            str(one["newest"]),
            _open(one["open"]),
        )
        for one in listed
    ]
    head = ("Model", "Champion", "Since", "Other aliases", "Newest version", "Open requests")
    return page("Models", f"<h1>Models</h1>{raw_table(head, rows, 'There is no model yet.')}", here=MODELS)


def model(one: Facts) -> str:
    """Return the page of a model."""
    name = one["name"]
    open_ = [request for request in one["requests"] if request["state"] in OPEN]
    parts = [
        _crumbs((("Models", MODELS),)),
        f"<h1>{escape(name)}</h1>{_holders(one['aliases'])}",
        f'<p class="lead">{escape(one["description"])}</p>' if one["description"] else "",
        f"<h2>Waits for a decision</h2>{_requests(open_)}" if open_ else "",
        f"<h2>Aliases</h2>{_alias_table(one)}",
        f"<h2>Versions</h2>{_versions(one)}",
        f"<h2>Requests</h2>{_requests(one['requests'])}",
        f"<h2>What happened</h2>{_events(one['events'])}",
    ]
    return page(name, "".join(parts), here=MODELS)


def version(card: Facts) -> str:
    """Return the page of a version: its card."""
    name = card["model"]
    api = f"/v1/models/{quote(name, safe='')}/versions/{card['version']}/card"
    kinds = (("markdown", "Markdown"), ("html", "HTML"), ("json", "JSON"))
    forms = ", ".join(f'<a href="{api}?format={form}">{title}</a>' for form, title in kinds)
    files = f'<p class="note">As a file: {forms}. <a href="{api}/revisions">Revisions of what people wrote</a>.</p>'
    trail = _crumbs((("Models", MODELS), (name, _model_path(name))))
    return page(f"{name} v{card['version']}", trail + article(document(card)) + files, here=MODELS)


def request(said: Facts) -> str:
    """Return the page of a request, with the buttons that the person who looks at it may press."""
    name, alias = said["model"], said["alias"]
    title = f"{name} v{said['version']} as {alias}"
    held = f", which v{said['holder']} has now" if said["holder"] else ""
    what = f"{_version_link(name, said['version'])} take the alias {escape(alias)}{held}"
    failed = sum(not result["passed"] for result in said["results"])
    count = f" ({failed} of {len(said['results'])} failed)" if failed else ""
    judged = block_html(gates(_failed_first(said["results"]))) if said["results"] else "<p>No gate was asked.</p>"
    parts = [
        _crumbs((("Models", MODELS), (name, _model_path(name)))),
        f"<h1>{escape(title)}</h1> {_state(said)}",
        f'<p class="lead">{escape(said["actor"])} asks that {what}.</p>' if said["state"] in OPEN else "",
        _decide(said),
        block_html(asked(said)),
        f"<h2>Gates{count}</h2>{judged}",
    ]
    refresh = JUDGING_S if said["state"] == "judging" else 0
    return page(title, "".join(parts), here=APPROVALS, refresh_s=refresh)


def approvals(inbox: Facts) -> str:
    """Return the page of what waits for approval."""
    more = "<p>There are more: decide some of these first.</p>" if inbox["more"] else ""
    mine = _requests(inbox["mine"], "Nothing waits for your approval.")
    others = _requests(inbox["others"], "Nothing else is open.")
    body = f"<h1>Approvals</h1><h2>Waiting for you</h2>{mine}<h2>Open, for others or for gates</h2>{others}{more}"
    return page("Approvals", body, here=APPROVALS)


def fault(title: str, text: str) -> str:
    """Return the page that says what is wrong."""
    return page(title, f"<h1>{escape(title)}</h1><p class='lead'>{escape(text)}</p>", here=MODELS)


# --- pieces ------------------------------------------------------------------------------


def _decide(said: Facts) -> str:
    may = said["may"]
    kinds = (("approve", "Approve", "yes"), ("reject", "Reject", "no"), ("withdraw", "Withdraw", ""))
    buttons = "".join(
        f'<button value="{verb}" class="{kind}">{name}</button>' for verb, name, kind in kinds if may[verb]
    )
    why = f"<p>{escape(may['why'])}</p>" if may["why"] else ""
    if not buttons:
        return why
    path = f"/v1/models/{quote(said['model'], safe='')}/transitions/{quote(said['request_id'], safe='')}"
    label = "Comment (a rejection needs one)" if may["reject"] else "Comment"
    return (
        f'<form class="decide" data-path="{escape(path)}">{why}<label for="said">{label}</label>'
        f'<textarea id="said" name="said" maxlength="1000"></textarea><div class="buttons">{buttons}</div>'
        f'<p role="alert"></p></form><script>{_SCRIPT}</script>'
    )


def _requests(listed: Sequence[Facts], empty: str = "Nobody asked for an alias yet.") -> str:
    rows = [
        (
            f'<a href="{_model_path(r["model"])}/requests/{quote(r["request_id"], safe="")}">'
            f"{escape(r['model'])} v{r['version']} as {escape(r['alias'])}</a>",
            _state(r),
            escape(r["actor"]),
            _when(r["at"]),
            escape(r["reason"]),
        )
        for r in listed
    ]
    return raw_table(("Request", "State", "Asked by", "Asked", "Reason"), rows, empty)


def _alias_table(one: Facts) -> str:
    rows = [
        (
            escape(alias),
            _version_link(one["name"], held["version"]),
            _when(held["since"]),
            escape(one["routes"].get(held["version"], "")),
        )
        for alias, held in one["aliases"].items()
    ]
    return raw_table(("Alias", "Version", "Since", "Traffic"), rows, "No version has an alias yet.")


def _versions(one: Facts) -> str:
    rows = [
        (
            _version_link(one["name"], v["version"]) + "".join(f" {_badge(alias)}" for alias in v["aliases"]),
            _when(v["created"]),
            escape(v["by"]),
            estimate(v["auc"]) if v["auc"] else "",
            number(v["brier"]) if v["brier"] is not None else "",
            escape(v["description"][:200]),
        )
        for v in one["versions"]
    ]
    head = ("Version", "Created", "By", "AUC [95 % interval]", "Brier score", "Description")
    cut = (
        f"<p>{one['newest'] - len(rows)} older or deleted ones are not shown.</p>" if one["newest"] > len(rows) else ""
    )
    return raw_table(head, rows, "There is no version yet.") + cut


def _events(told: Sequence[Facts]) -> str:
    rows = [(_when(e["at"]), escape(e["text"]), escape(e["actor"])) for e in told]
    return raw_table(("When", "What", "Who"), rows, "Nothing happened yet.")


def _state(said: Facts) -> str:
    return f'<span class="state {escape(said["state"])}">{escape(state(said))}</span>'


def _open(count: int) -> str:
    return f'<span class="state waiting">{count}</span>' if count else "0"


def _when(text: str) -> str:
    return f'<span class="when" title="{escape(at(text))} UTC">{escape(time(text))}</span>' if text else ""


def _holders(aliases: Mapping[str, Facts]) -> str:
    return "".join(_badge(f"{alias} v{held['version']}") for alias, held in aliases.items())


def _badge(text: str) -> str:
    return f'<span class="badge">{escape(text)}</span>'


def _aliases(name: str, others: Mapping[str, int]) -> str:
    return ", ".join(f"{escape(alias)} {_version_link(name, version)}" for alias, version in others.items()) or "none"


def _failed_first(results: Sequence[Facts]) -> list[Facts]:
    return sorted(results, key=lambda result: bool(result["passed"]))


def _model_path(name: str) -> str:
    return f"{MODELS}/{quote(name, safe='')}"


def _model_link(name: str) -> str:
    return f'<a href="{_model_path(name)}">{escape(name)}</a>'


def _version_link(name: str, version: int) -> str:
    return f'<a href="{_model_path(name)}/versions/{version}">v{version}</a>'


def _crumbs(trail: Sequence[tuple[str, str]]) -> str:
    links = " / ".join(f'<a href="{path}">{escape(name)}</a>' for name, path in trail)
    return f'<p class="crumbs">{links}</p>'
