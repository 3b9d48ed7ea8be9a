"""By which policy a model's versions take aliases, and who may go around it.

An alias that a policy guards is not only taken by its rules: who could take it from its version alone, by deleting or
renaming what holds it, could put the next one there without a champion to beat, or stop what others approved.
"""

from collections.abc import Iterable, Mapping

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.project import GatePolicy, Model, load_current
from modelwright.registry.entities import CHALLENGER, RegisteredModel
from modelwright.storage import Tables


def policy_named(call: Call, name: str, tables: Tables, tier: str) -> GatePolicy | None:
    """Return how versions of the model that a project declares by this name take aliases, if one does."""
    declared = _declared(call, tables).get(name)
    return declared.policy(tier) if declared else None


def policy_of(call: Call, model: RegisteredModel, tables: Tables, tier: str) -> GatePolicy:
    """Return how versions of a model take aliases in an environment; without gates where no project declares it.

    It is declared by its name, or else by the name that it was born with: or whoever may rename a model could take it
    out of its policy's reach for as long as that is in the way.
    """
    known = _declared(call, tables)
    declared = known.get(model.name) or known.get(model.born_as)
    return declared.policy(tier) if declared else GatePolicy(gates=())


def may_take_away(call: Call, model: RegisteredModel, aliases: Iterable[str], tables: Tables, tier: str) -> None:
    """Raise ``Forbidden`` if one of these aliases had to be judged or approved and the caller may not override that.

    A challenger is none: without it there is one rollout less, and nothing that anybody relies on.
    """
    if not (named := [alias for alias in sorted(aliases) if alias != CHALLENGER]):
        return
    policy = policy_of(call, model, tables, tier)
    kept = [alias for alias in named if alias in policy.guarded and (policy.gates or policy.approvals_for(alias))]
    if kept and not call.roles(model.resource) & frozenset(policy.override):
        who = " or ".join(policy.override) or "nobody"
        raise Forbidden(
            f"{call.actor} may not take {', '.join(kept)} from the version of {model.name} that holds it: its policy "
            f"lets {who}. Ask that another version take it instead",
            action="models:override",
            resource=model.resource,
        )


def may_be_called(call: Call, model: RegisteredModel, name: str, tables: Tables) -> None:
    """Raise ``InvalidInput`` for a name that a project declares, unless the model was born with it.

    Its versions took their aliases by another policy, or none, and what serves the name would not know them.
    """
    known = _declared(call, tables)
    if name in known and (name != model.born_as or model.name in known):
        raise InvalidInput(
            f"{model.name} cannot be renamed to {name}, which a project declares: create {name} and copy the versions, "
            "so that they take their aliases by its policy"
        )


def _declared(call: Call, tables: Tables) -> Mapping[str, Model]:
    try:
        return load_current(tables, call.workspace).models
    except NotFound:
        return {}
