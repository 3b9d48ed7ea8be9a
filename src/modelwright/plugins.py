"""Loads one plugin by name from an entry-point group, alone and lazily, and holds the kinds' protocols.

A kind of plugin is an entry-point group ``modelwright.<kind>`` and a ``Protocol``. Names come
from validated configuration. Only the plugin that is asked for is imported, so that a broken
one takes nobody else down, and what we ship comes through the same door as anybody's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

from modelwright.errors import PluginError
from modelwright.events import Evaluation, GateResult
from modelwright.project import GatePolicy

Kind = Literal[
    "detectors", "checks", "gates", "triggers", "trainers", "judges", "notifiers", "flavors", "engines", "features"
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


def _unscored() -> None:
    """Nothing was kept of how the version did on held-out rows."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model version that asks for an alias, with what is known of it.

    Attributes:
        metrics: figures of the training or of the client's run, by name.
        evaluation: challenger against champion on held-out rows, if there was one.
        dataset_digest: digest of the training data; empty when nobody said.
        champion: the version that holds the alias ``champion``, if one does.
        environment: which of the team's environments this is: ``dev``, ``staging``, ``prod``.
        features: names of the features that it is fed; empty when nobody said.
        known_features: those of them that the project's feature store serves.
        signature: columns and types it takes and gives, as its ``MLmodel`` file has them; empty when it has none.
        champion_signature: the champion's.
        parity: digest of the proof that its features are the same in training and serving; empty when there is none.
        size: bytes of all its files; None when nobody knows.
        card: sections of its model card that people wrote.
        quarantined: what is in quarantine of the data that feeds it.
        scored: reads the predictions of a version on held-out rows as Parquet; None where there are none.
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
    size: int | None = None
    card: frozenset[str] = frozenset()
    quarantined: tuple[str, ...] = ()
    scored: Callable[[], bytes | None] = _unscored


class Gate(Protocol):
    """Says whether a candidate may take an alias; made without arguments, keeps no state."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """Return the verdict; its text names the figures it rests on."""
        ...


Gates = Callable[[str], Gate]
"""Returns a gate by name; raises ``PluginError``."""


def gate(name: str) -> Gate:
    """Return the installed gate of that name; raises ``PluginError``."""
    made: Gate = load("gates", name)()
    return made
