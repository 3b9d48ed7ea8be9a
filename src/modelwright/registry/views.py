"""What people look at: a model with all that is known of it."""

from typing import Any

from modelwright.context import Call
from modelwright.log import Log
from modelwright.registry.entities import checked_name
from modelwright.registry.messages import Named
from modelwright.registry.requests import RequestStore
from modelwright.registry.search import fitting
from modelwright.storage import Tables

_SHOWN = 20
"""So many of the newest requests."""


def show(call: Call, message: Named, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a model: versions with their evaluations (the newest, if not all fit), aliases, the last transitions."""
    store = RequestStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    said = model.model_dump(mode="json", exclude={"open", "alias_at", "deleted", "latest", "salt"})
    versions = [v.model_dump(mode="json", exclude={"model"}) for v in reversed(store.versions(model))]
    newest = fitting(versions)
    left = {"versions_left_out": len(versions) - len(newest)} if len(newest) < len(versions) else {}
    requests = store.newest_requests(model, _SHOWN).requests
    return {**said, "versions": newest[::-1], **left, "transitions": [request.shown() for request in requests]}
