"""Finds out who calls; what they may do is decided later, per use case."""

import json
from typing import Any

from modelwright.errors import Unauthenticated
from modelwright.governance.access import authenticate, token_of
from modelwright.runtime import Function, headers_of
from modelwright.wiring import Wiring


def authorize(event: dict[str, Any], wiring: Wiring) -> dict[str, Any]:
    try:
        caller = authenticate(token_of(headers_of(event)), tables=wiring.tables)
    except Unauthenticated:
        return {"isAuthorized": False}
    grants = json.dumps([grant.model_dump() for grant in caller.grants])
    return {"isAuthorized": True, "context": {"actor": caller.actor, "workspace": caller.workspace, "grants": grants}}


handler = Function("authorize", raw=authorize)
