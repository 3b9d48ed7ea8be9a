"""What the gates of a policy say of a version that asks for an alias.

A *light* gate (entry points ``modelwright.gates``) is run at once; a *full* one (``modelwright.gates.full``) needs
libraries that the registry's function does not have, and is left to one that has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelwright.context import Call
from modelwright.events import GateResult
from modelwright.plugins import Gates, full_gates, verdict
from modelwright.project import GatePolicy
from modelwright.registry.entities import ModelVersion, RegisteredModel
from modelwright.registry.evidence import gather
from modelwright.registry.store import RegistryStore
from modelwright.storage import Blobs, Tables


class Verdict(NamedTuple):
    """What gates said, and the names of those that are still to be run."""

    results: tuple[GateResult, ...] = ()
    pending: tuple[str, ...] = ()


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
