"""What people look at: a model with all that is known of it, and its history out of the log."""

from typing import Any

from modelwright.context import Call
from modelwright.log import Log, stream_of
from modelwright.registry.entities import checked_name
from modelwright.registry.messages import Named
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables


def show(call: Call, message: Named, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a model: versions with their evaluations, aliases, and the last transitions."""
    store = RegistryStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    said = model.model_dump(mode="json", exclude={"recent", "alias_at", "deleted", "latest"})
    versions = [v.model_dump(mode="json", exclude={"model"}) for v in store.versions(model)]
    return {**said, "versions": versions, "transitions": [t.model_dump(mode="json") for t in model.recent]}


def history(call: Call, message: Named, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return all that ever happened to a model, oldest first."""
    call.authorise("models:read", f"model/{message.name}")
    model = RegistryStore(tables, call).model(checked_name(message.name))
    stream = stream_of(call.workspace, "MODEL", model.model_id)
    items = [item.envelope.model_dump(mode="json") | {"hash": item.hash} for item in log.read(stream)]
    return {"model": model.name, "stream": stream, "events": items}
