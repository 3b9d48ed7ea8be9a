"""Which version holds which alias, and why: requested, judged by gates, then applied or refused with every reason.

``champion`` and ``challenger`` are guarded by the gates that the project declares for the model (none
declared: no gates), whichever door the request comes through. Every other alias is free.
A refusal is written down before it is raised.
"""

from dataclasses import dataclass
from typing import Any

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, PluginError, Refused
from modelwright.events import AliasChanged, Event, GateResult, TransitionRefused, TransitionRequested
from modelwright.log import Log, new_id
from modelwright.plugins import Gates
from modelwright.project import GatePolicy, load_current
from modelwright.registry.entities import (
    CHALLENGER,
    CHAMPION,
    GUARDED,
    ModelVersion,
    RegisteredModel,
    Transition,
    checked_alias,
    checked_name,
)
from modelwright.registry.messages import OfAlias, RequestTransition, SetAlias
from modelwright.registry.models import milliseconds, writable
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables


@dataclass(frozen=True, slots=True)
class Decision:
    """A request decided: the model as it is afterwards, the events, and the record of it."""

    model: RegisteredModel
    events: tuple[Event, ...]
    transition: Transition

    @property
    def reasons(self) -> str:
        """Why it was refused, all at once."""
        failed = [f"{r.gate}: {r.text}" for r in self.transition.results if not r.passed]
        return "; ".join(failed)


def policy_of(call: Call, model: str, tables: Tables) -> GatePolicy:
    """Return the gates of a model; none where no project declares it."""
    try:
        return load_current(tables, call.workspace).model(model).gates
    except NotFound:
        return GatePolicy(gates=())


def judge(
    version: ModelVersion, alias: str, model: RegisteredModel, policy: GatePolicy, gates: Gates
) -> tuple[GateResult, ...]:
    """Return what every gate says; one that does not load says no."""
    candidate = version.candidate(alias, model)
    results = []
    for name in policy.gates:
        try:
            results.append(gates(name).check(candidate, policy))
        except PluginError as error:
            results.append(GateResult(gate=name, passed=False, text=str(error)))
    return tuple(results)


def decide(
    call: Call,
    model: RegisteredModel,
    version: ModelVersion,
    alias: str,
    results: tuple[GateResult, ...],
    *,
    reason: str = "",
    force: bool = False,
) -> Decision:
    """Decide a request; pure, so that it can be committed together with whatever else happened."""
    request_id = new_id(call.now)
    refused = not force and not all(result.passed for result in results)
    forced = force and not all(result.passed for result in results)
    transition = Transition(
        request_id=request_id,
        version=version.version,
        alias=alias,
        outcome="refused" if refused else "applied",
        at=call.now,
        actor=call.actor,
        reason=reason,
        forced=forced,
        results=results,
    )
    asked = TransitionRequested(request_id=request_id, model=model.name, version=version.version, alias=alias)
    if refused:
        no = TransitionRefused(
            request_id=request_id, model=model.name, version=version.version, alias=alias, results=results
        )
        return Decision(model.remembering(transition), (asked, no), transition)
    changed = AliasChanged(
        model=model.name,
        alias=alias,
        version=version.version,
        previous=model.aliases.get(alias),
        request_id=request_id,
        results=results,
        forced=reason if forced else "",
        reason=reason,
    )
    pointed, dropped = model.pointing(alias, version.version, call.now), tuple[Event, ...]()
    if alias == CHAMPION:
        pointed, dropped = without_challenger(pointed, version.version, f"v{version.version} became champion", call)
    return Decision(pointed.remembering(transition), (asked, changed, *dropped), transition)


def without_challenger(
    model: RegisteredModel, version: int, reason: str, call: Call
) -> tuple[RegisteredModel, tuple[Event, ...]]:
    """Return the model without the alias challenger, and that as an event, if this version held it."""
    if model.aliases.get(CHALLENGER) != version:
        return model, ()
    event = AliasChanged(model=model.name, alias=CHALLENGER, version=None, previous=version, reason=reason)
    return model.pointing(CHALLENGER, None, call.now), (event,)


def request(call: Call, message: RequestTransition, *, tables: Tables, log: Log, gates: Gates) -> dict[str, Any]:
    """Ask that a version take an alias.

    Returns:
        The transition as applied.

    Raises:
        Refused: gates said no; the text has every reason, and the refusal is in the log.
        Forbidden: the caller may not transition this model, or not override its gates.
    """
    store = RegistryStore(tables, call)
    call.authorise("models:transition", f"model/{message.name}")
    if message.force:
        call.authorise("models:override", f"model/{message.name}")
        if not message.reason.strip():
            raise InvalidInput("an override needs a written reason")
    model = store.model(checked_name(message.name))
    version = store.version(model, message.version)
    alias = checked_alias(message.alias)
    guarded = alias in GUARDED and model.aliases.get(alias) != version.version
    policy = policy_of(call, model.name, tables) if guarded else GatePolicy(gates=())
    results = judge(version, alias, model, policy, gates)
    decision = decide(call, model, version, alias, results, reason=message.reason, force=message.force)
    if model.aliases.get(alias) == version.version:
        return {"transition": decision.transition.model_dump(mode="json")}
    log.commit(
        call, [store.happened(model, e) for e in decision.events], [store.put_model(_touched(call, decision.model))]
    )
    if decision.transition.outcome == "refused":
        what = f"{model.name} v{version.version} was refused the alias {alias}"
        raise Refused(f"{what} (request {decision.transition.request_id}): {decision.reasons}")
    return {"transition": decision.transition.model_dump(mode="json")}


def set_alias(call: Call, message: SetAlias, *, tables: Tables, log: Log, gates: Gates) -> dict[str, Any]:
    """Answer MLflow's call: a free alias is set at once, a guarded one goes through the gates."""
    alias = checked_alias(message.alias)
    if alias in GUARDED:
        asked = RequestTransition(
            name=message.name, version=message.version, alias=alias, reason="set through the MLflow API"
        )
        request(call, asked, tables=tables, log=log, gates=gates)
        return {}
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    version = store.version(model, message.version)
    _change(call, model, alias, version.version, store, log)
    return {}


def delete_alias(call: Call, message: OfAlias, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Take an alias away; one that is not there is no error, as in MLflow."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    alias = checked_alias(message.alias)
    if alias in GUARDED:
        call.authorise("models:transition", model.resource)
    if alias in model.aliases:
        _change(call, model, alias, None, store, log)
    return {}


def get_by_alias(call: Call, message: OfAlias, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the version that holds an alias; raises ``InvalidInput`` when none does, as MLflow does."""
    store = RegistryStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    version = store.version(model, model.version_of(checked_alias(message.alias)))
    return {"model_version": version.answer(model)}


def _change(
    call: Call, model: RegisteredModel, alias: str, version: int | None, store: RegistryStore, log: Log
) -> None:
    event = AliasChanged(model=model.name, alias=alias, version=version, previous=model.aliases.get(alias))
    changed = _touched(call, model.pointing(alias, version, call.now))
    log.commit(call, [store.happened(model, event)], [store.put_model(changed)])


def _touched(call: Call, model: RegisteredModel) -> RegisteredModel:
    return model.model_copy(update={"updated": milliseconds(call)})
