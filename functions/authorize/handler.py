"""Finds out who calls; what they may do is decided later, per use case.

Who cannot be authenticated has no actor, and is no event of the log: the reason is in this function's own log line.
API Gateway keeps no answer of this (``ReauthorizeEvery: 0``), so that what expires or is revoked ends at once.
"""

import json
from datetime import UTC, datetime
from typing import Any

from modelwright.governance.authentication import authenticate
from modelwright.governance.tokens import token_of
from modelwright.http import WORKSPACE_HEADER, headers_of
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def authorize(event: dict[str, Any], w: Wiring) -> dict[str, Any]:
    headers = headers_of(event)
    workspace = headers.get(WORKSPACE_HEADER) or w.settings.workspace
    caller = authenticate(token_of(headers), workspace, tables=w.tables, keys=w.keys, wall=datetime.now(UTC))
    grants = json.dumps([grant.model_dump() for grant in caller.grants])
    return {"isAuthorized": True, "context": {"actor": caller.actor, "workspace": caller.workspace, "grants": grants}}


handler = Function("authorize", raw=authorize)
