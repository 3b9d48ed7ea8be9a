"""MLflow's calls of aliases: free ones change at once, guarded ones go the way of ``transitions``.

Looking one up is a single read: with each alias lies what answers tell of the version that holds it.
"""

from typing import Any

from modelwright.context import Call
from modelwright.errors import Conflict, InvalidInput
from modelwright.events import AliasChanged
from modelwright.log import Log
from modelwright.plugins import Gates
from modelwright.project import GatePolicy
from modelwright.registry import transitions
from modelwright.registry.entities import ModelVersion, RegisteredModel, checked_alias, checked_name
from modelwright.registry.messages import OfAlias, RequestTransition, SetAlias
from modelwright.registry.models import milliseconds, writable
from modelwright.registry.policies import may_take_away, policy_named, policy_of
from modelwright.registry.store import RegistryStore
from modelwright.storage import Blobs, Tables

_AT_MOST = 16
"""Free aliases of a version, so that all that know it change in one transaction."""


def set_alias(
    call: Call, message: SetAlias, *, tables: Tables, log: Log, blobs: Blobs, gates: Gates, tier: str
) -> dict[str, Any]:
    """Point an alias to a version; a guarded one if the policy lets it be done at once.

    Raises:
        Refused: gates said no.
        Conflict: it has to wait, for gates or approvals; the text has the request's id, and how to follow it.
    """
    alias, store = checked_alias(message.alias), RegistryStore(tables, call)
    policy = policy_named(call, message.name, tables, tier)
    guarded = alias in (policy or GatePolicy()).guarded
    if not guarded:
        model = writable(call, message.name, store)
        guarded = (
            policy is None and model.born_as != model.name and alias in policy_of(call, model, tables, tier).guarded
        )
    if guarded:
        why = "set through the MLflow API"
        asked = RequestTransition(name=message.name, version=message.version, alias=alias, reason=why)
        said = transitions.request(
            call, asked, tables=tables, log=log, blobs=blobs, gates=gates, tier=tier, policy=policy
        )
        _must_be_applied(said["transition"])
        return {}
    version = store.version(model, message.version)
    if alias in (held := model.aliases_of(version.version)):
        return {}  # as it was: nothing happened
    if len(held) >= _AT_MOST:
        raise InvalidInput(f"{model.name} v{version.version} has {len(held)} aliases; delete some of them first")
    _change(call, model, alias, version, store, log)
    return {}


def delete_alias(call: Call, message: OfAlias, *, tables: Tables, log: Log, tier: str) -> dict[str, Any]:
    """Take an alias away; one that is not there is no error, as in MLflow.

    Raises:
        Forbidden: it is guarded, and the caller may not transition the model, or not override its policy.
    """
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    alias = checked_alias(message.alias)
    if alias in policy_of(call, model, tables, tier).guarded:
        call.authorise("models:transition", model.resource)
    if alias in model.aliases:
        may_take_away(call, model, [alias], tables, tier)
        _change(call, model, alias, None, store, log)
    return {}


def get_by_alias(call: Call, message: OfAlias, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the version that holds an alias; raises ``InvalidInput`` when none does, as MLflow does."""
    call.authorise("models:read", f"model/{message.name}")
    model, version = RegistryStore(tables, call).of_alias(checked_name(message.name), checked_alias(message.alias))
    return {"model_version": version.answer(model)}


def _must_be_applied(transition: dict[str, Any]) -> None:
    if transition["state"] == "applied":
        return
    name, identity = transition["model"], transition["request_id"]
    for_what = (
        f"the gates {', '.join(transition['pending'])}"
        if transition["state"] == "judging"
        else f"{transition['missing']} approval{'' if transition['missing'] == 1 else 's'}"
    )
    raise Conflict(
        f"{name} v{transition['version']} does not have the alias {transition['alias']} yet: request {identity} waits "
        f"for {for_what}. Follow it by `modelwright transitions show {name} {identity}` "
        f"or GET /v1/models/{name}/transitions/{identity}"
    )


def _change(
    call: Call, model: RegisteredModel, alias: str, version: ModelVersion | None, store: RegistryStore, log: Log
) -> None:
    number = version.version if version else None
    event = AliasChanged(model=model.name, alias=alias, version=number, previous=model.aliases.get(alias))
    changed = model.pointing(alias, number, call.now).model_copy(update={"updated": milliseconds(call)})
    writes = store.put_aliases(model, changed, *([version] if version else []))
    log.commit(call, [store.happened(model, event)], writes)
