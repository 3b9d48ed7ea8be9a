"""Finds out who calls; what they may do is decided later, per use case."""

import json
from typing import Any

from modelwright.errors import Unauthenticated
from modelwright.governance.access import COOKIE, authenticate
from modelwright.runtime import Function, Wiring


def token_of(event: dict[str, Any]) -> str:
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return str(token).strip()
    pairs = "; ".join(event.get("cookies") or [headers.get("cookie", "")]).split(";")
    return dict(pair.strip().partition("=")[::2] for pair in pairs).get(COOKIE, "")


def authorize(event: dict[str, Any], wiring: Wiring) -> dict[str, Any]:
    try:
        caller = authenticate(token_of(event), tables=wiring.tables)
    except Unauthenticated:
        return {"isAuthorized": False}
    grants = json.dumps([grant.model_dump() for grant in caller.grants])
    return {"isAuthorized": True, "context": {"actor": caller.actor, "workspace": caller.workspace, "grants": grants}}


handler = Function("authorize", raw=authorize)
