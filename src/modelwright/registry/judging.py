"""By which policy a model's versions take aliases, and what its gates say of one.

A *light* gate (entry points ``modelwright.gates``) is run at once; a *full* one (``modelwright.gates.full``) needs
libraries that the registry's function does not have, and is left to one that has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import GateResult
from modelwright.plugins import Gates, full_gates, verdict
from modelwright.project import GatePolicy, Model, load_current
from modelwright.registry.entities import ModelVersion, RegisteredModel
from modelwright.registry.evidence import gather
from modelwright.registry.store import RegistryStore
from modelwright.storage import Blobs, Tables


class Verdict(NamedTuple):
    """What gates said, and the names of those that are still to be run."""

    results: tuple[GateResult, ...] = ()
    pending: tuple[str, ...] = ()


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


def _declared(call: Call, tables: Tables) -> Mapping[str, Model]:
    try:
        return load_current(tables, call.workspace).models
    except NotFound:
        return {}


@dataclass(frozen=True, slots=True)
class Judge:
    """What it takes to run gates."""

    call: Call
    store: RegistryStore
    tables: Tables
    blobs: Blobs
    tier: str

    def at_once(
        self, model: RegisteredModel, version: ModelVersion, alias: str, policy: GatePolicy, gates: Gates
    ) -> Verdict:
        """Run a policy's light gates; the full ones are pending."""
        if alias not in policy.guarded or not policy.gates:
            return Verdict()
        full = full_gates()
        pending = tuple(name for name in policy.gates if name in full)
        light = [name for name in policy.gates if name not in full]
        if not light:
            version.candidate(alias, model)  # raises what is wrong with its tags while who asks is there to hear it
        return Verdict(self.run(light, model, version, alias, policy, gates), pending)

    def run(
        self,
        names: Sequence[str],
        model: RegisteredModel,
        version: ModelVersion,
        alias: str,
        policy: GatePolicy,
        gates: Gates,
    ) -> tuple[GateResult, ...]:
        """Return what gates say; one that does not load says no."""
        if not names:
            return ()
        candidate = gather(
            self.call,
            model,
            version,
            alias,
            store=self.store,
            tables=self.tables,
            blobs=self.blobs,
            policy=policy.model_copy(update={"gates": tuple(names)}),
            tier=self.tier,
        )
        return tuple(verdict(name, gates, candidate, policy) for name in names)
