"""Loads one plugin by name from an entry-point group, alone and lazily, and holds the kinds' protocols.

A kind of plugin is an entry-point group ``modelwright.<kind>`` and a ``Protocol``. Names come
from validated configuration. Only the plugin that is asked for is imported, so that a broken
one takes nobody else down, and what we ship comes through the same door as anybody's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

from modelwright.errors import NotFound, PluginError, Unavailable
from modelwright.events import Evaluation, GateResult
from modelwright.project import GatePolicy, Project

Kind = Literal[
    "detectors",
    "detectors.rows",
    "detectors.streams",
    "checks",
    "repairs",
    "estimators",
    "gates",
    "gates.full",
    "triggers",
    "trainers",
    "judges",
    "notifiers",
    "flavors",
    "engines",
    "features",
]


def installed(kind: Kind) -> tuple[str, ...]:
    """Return the names of the installed plugins of a kind; imports none of them."""
    return tuple(sorted({point.name for point in entry_points(group=f"modelwright.{kind}")}))


def load(kind: Kind, name: str) -> Any:
    """Return what the plugin's entry point names (a class or a function), importing that one alone.

    Raises:
        PluginError: there is no such plugin (the text lists what there is), or it does not import.
    """
    points = tuple(entry_points(group=f"modelwright.{kind}", name=name))
    if not points:
        raise PluginError(f"no plugin {name} of {kind}: installed are {', '.join(installed(kind)) or 'none'}")
    try:
        return points[0].load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise PluginError(f"the plugin {name} of {kind} ({points[0].value}) does not load: {error}") from error


# --- gates -------------------------------------------------------------------------------


def _nothing() -> None:
    """Nothing was kept."""


def _nowhere(name: str) -> bytes:
    """No file is known."""
    raise NotFound(name)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model version that asks for an alias, with what is known of it.

    Attributes:
        metrics: figures of the training or of the client's run, by name.
        evaluation: challenger against champion on held-out rows, if there was one.
        dataset_digest: digest of the training data; empty when nobody said.
        champion: the version that holds the alias ``champion``, if one does.
        champion_digest: what the champion's ``model.pkl`` is; empty when nobody knows.
        environment: which of the team's environments this is: ``dev``, ``staging``, ``prod``.
        features: names of the features that it is fed; empty when nobody said.
        known_features: those of them that the project's feature store serves.
        signature: columns and types it takes and gives, as its ``MLmodel`` file has them; empty when it has none.
        champion_signature: the champion's.
        parity: digest of the proof that its features are the same in training and serving; empty when there is none.
        parity_rows: how many rows that proof is about.
        parity_faults: where the newest proof of its feature service failed, what differs; such a version has none.
        parity_served: whether the proof is of its feature service, made with what was served, not of its training.
        size: bytes of all its files; None when nobody knows.
        card: sections of its model card that people wrote.
        quarantined: what is in quarantine of the data that feeds it.
        scored: reads the predictions of a version on held-out rows as Parquet; None where there are none.
        digest: what its ``model.pkl`` must be; empty when nobody knows.
        read: reads a file of its folder; raises ``NotFound``.
        code: reads the wheel of the team's code, whose classes its model may be made of; None where there is none.
    """

    model: str
    version: int
    alias: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    dataset_digest: str = ""
    champion: int | None = None
    environment: str = "dev"
    features: tuple[str, ...] = ()
    known_features: frozenset[str] = frozenset()
    signature: str = ""
    champion_signature: str = ""
    parity: str = ""
    parity_rows: int = 0
    parity_faults: str = ""
    parity_served: bool = False
    size: int | None = None
    card: frozenset[str] = frozenset()
    quarantined: tuple[str, ...] = ()
    scored: Callable[[], bytes | None] = _nothing
    digest: str = ""
    read: Callable[[str], bytes] = _nowhere
    code: Callable[[], bytes | None] = _nothing
    champion_digest: str = ""

    def is_champion(self, said: str) -> bool:
        """Say whether a digest, or where there is none a number, names the champion: the same one in every stack."""
        return self.champion is not None and said in (self.champion_digest or str(self.champion), str(self.champion))


class Gate(Protocol):
    """Says whether a candidate may take an alias; made without arguments, keeps no state."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """Return the verdict; its text names the figures it rests on."""
        ...


_VERDICT_LENGTH = 4_000
"""Of what a gate says: all verdicts of a request are kept and told together."""

Gates = Callable[[str], Gate]
"""Returns a gate by name; raises ``PluginError``."""


def gate(name: str) -> Gate:
    """Return the installed gate of that name that runs anywhere; raises ``PluginError``."""
    made: Gate = load("gates", name)()
    return made


def full_gate(name: str) -> Gate:
    """Return the installed gate of that name that runs where its libraries are; raises ``PluginError``."""
    made: Gate = load("gates.full", name)()
    return made


def verdict(name: str, gates: Gates, candidate: Candidate, policy: GatePolicy) -> GateResult:
    """Return what a gate says; one that is not installed, does not load or fails says no, and why.

    Raises:
        Unavailable: something that the gate reads did not answer; ask again.
    """
    try:
        return _checked(name, gates(name), candidate, policy)
    except PluginError as error:
        return GateResult(gate=name, passed=False, text=str(error)[:_VERDICT_LENGTH])


def _checked(name: str, asked: Gate, candidate: Candidate, policy: GatePolicy) -> GateResult:
    try:
        said = asked.check(candidate, policy)
    except (PluginError, Unavailable):
        raise
    except Exception as error:  # a team's gate may raise anything, and a request must not hang for it
        raise PluginError(f"the gate {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(said, GateResult):
        raise PluginError(f"the gate {name} gave a {type(said).__name__}, not a GateResult")
    return said.model_copy(update={"text": said.text[:_VERDICT_LENGTH]})


def full_gates() -> frozenset[str]:
    """Return the names of the gates that run where their libraries are; imports none of them."""
    return frozenset(installed("gates.full"))


# --- what a project names ----------------------------------------------------------------


def not_installed(project: Project) -> Iterator[str]:
    """Yield in words what a project names and nobody has installed; imports no plugin."""
    there = cache(lambda kind: {*installed(kind), *(full_gates() if kind == "gates" else ())})

    def unknown(of: str, kind: Kind, names: Iterable[str]) -> Iterator[str]:
        if missing := [name for name in names if name not in there(kind)]:
            told = ", ".join(sorted(there(kind))) or "none"
            yield f"{of} names no installed {kind.partition('.')[0]}: {', '.join(missing)}; there are {told}"

    for name, source in project.sources.items():
        of, drift = f"source {name}", source.drift
        yield from unknown(of, "checks", source.checks)
        yield from unknown(of, "detectors", source.detectors)
        yield from unknown(of, "detectors.rows", drift.multivariate)
        yield from unknown(of, "repairs", source.healing.rules)
    for name, model in project.models.items():
        of, retraining, watched = f"model {name}", model.retraining, model.monitoring
        for policy in (model.gates, *map(model.policy, model.environments)):
            yield from unknown(of, "gates", policy.gates)
        yield from unknown(of, "triggers", retraining.triggers)
        yield from unknown(of, "trainers", (retraining.trainer,))
        yield from unknown(of, "estimators", watched.estimators)
        yield from unknown(of, "detectors.streams", watched.streams)
        yield from unknown(of, "judges", (model.rollout.judge,))
