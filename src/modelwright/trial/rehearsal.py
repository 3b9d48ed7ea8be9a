"""A model is tried: trained on a sample, compared with a rival that has not seen the rows either, asked of its gates.

What a champion was trained on, it cannot be judged by: it would win against anything. So a registered champion is a
rival only if all its rows are older than those that are held out here. A project as it was before a change always is
one: it is trained on the same rows as the candidate, up to the held-out ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from modelwright import plugins
from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import NotFound
from modelwright.events import GateResult, TrainingCompleted, TrainingFailed, Window
from modelwright.project import Model
from modelwright.promotion.carrying import Source, sound, with_file
from modelwright.registry import arrivals
from modelwright.registry.entities import CHAMPION
from modelwright.registry.judging import Judge
from modelwright.registry.manifests import FILES, MANIFEST, Manifest, folder_of
from modelwright.registry.models import born
from modelwright.registry.store import RegistryStore
from modelwright.team import Team
from modelwright.trial.stage import MOMENT, WORKSPACE, Stage, StageSource

AFTERWARDS = frozenset({"card_complete"})
"""Gates about what people do only once there is a version: their no is told, and stops nobody yet."""


@dataclass(frozen=True)
class Rehearsal:
    """What came of it.

    Attributes:
        reason: why no model came of it; empty when one did.
        completed: the training, if it gave a model.
        results: what each gate of the policy said.
        held: uploads of the sample that quality checks held back, with the reason.
        rival: what the candidate was compared with; empty for nothing.
        notes: why it was not compared with what else was named.
    """

    model: str
    environment: str
    reason: str = ""
    completed: TrainingCompleted | None = None
    results: tuple[GateResult, ...] = ()
    held: tuple[str, ...] = ()
    rival: str = ""
    notes: tuple[str, ...] = ()

    @property
    def refusals(self) -> tuple[GateResult, ...]:
        """The gates that say no, but for those that are about later."""
        return tuple(result for result in self.results if not result.passed and result.gate not in AFTERWARDS)

    @property
    def passed(self) -> bool:
        """Whether a version like this would get its alias."""
        return self.completed is not None and not self.refusals and not self.held


class Rival(NamedTuple):
    """What the candidate may be compared with: a version, or a project as it was."""

    called: str
    of: Source | Team


class _Chosen(NamedTuple):
    """The rival that a candidate is compared with, brought to its stage, and why others are not."""

    called: str = ""
    manifest: Manifest | None = None
    key: str = ""
    notes: tuple[str, ...] = ()


def rehearse(team: Team, name: str, data: Path, *, environment: str, rivals: Sequence[Rival] = ()) -> Rehearsal:
    """Train a project's model on a sample, compare it, and ask its gates.

    Args:
        team: the project.
        name: of the model in it.
        data: a folder with files below the prefixes of the project's sources, as they would land.
        environment: whose policy counts.
        rivals: what to compare it with; the first that has not seen the held-out rows is it.

    Raises:
        InvalidInput: there is no file that a source takes.
        NotFound: there is no such model.
        Refused: a rival did not come as it is registered.
    """
    stage = Stage(team)
    model = team.project.model(name)
    held = stage.land(data)
    result = partial(Rehearsal, model=name, environment=environment, held=held)
    if (window := stage.window(name)) is None:
        return result(reason=f"no label of {model.label.source} was accepted")
    cutoff = window.end - MOMENT - timedelta(days=model.retraining.holdout_days)
    chosen = _choose(stage, name, data, Window(start=window.start, end=cutoff), rivals)
    ended = stage.train(name, window, chosen.manifest, chosen.key)
    if isinstance(ended, TrainingFailed):
        return result(reason=ended.reason, notes=chosen.notes)
    failed = ended.parameters.get("champion_not_compared", "")
    notes = (*chosen.notes, *([f"{chosen.called}: {failed}"] if failed else []))
    results = _judge(stage, name, model, environment)
    return result(completed=ended, results=results, rival=chosen.called, notes=notes)


def _choose(stage: Stage, name: str, data: Path, seen: Window, rivals: Sequence[Rival]) -> _Chosen:
    notes: list[str] = []
    for called, of in rivals:
        source = _trained(of, name, data, seen) if isinstance(of, Team) else of
        if isinstance(source, str):
            notes.append(f"{called}: {source}")
            continue
        manifest = sound(source.manifest())
        if fault := "" if isinstance(of, Team) else _may_have_seen(manifest, seen.end):
            notes.append(f"{called} ({manifest.origin}): {fault}")
            continue
        return _Chosen(called, manifest, _bring(stage, name, source, manifest), tuple(notes))
    return _Chosen(notes=tuple(notes))


def _trained(team: Team, name: str, data: Path, seen: Window) -> Source | str:
    """Return a project's model, trained on the rows that the candidate sees too, or why there is none."""
    stage = Stage(team)
    try:
        team.project.model(name)
    except NotFound as error:
        return str(error)
    stage.land(data)
    ended = stage.train(name, seen) if stage.window(name) else None
    if ended is None or isinstance(ended, TrainingFailed):
        return ended.reason if ended else "the sample has no labels for it"
    return StageSource(stage, name)


def _may_have_seen(manifest: Manifest, cutoff: datetime) -> str:
    """Return why a version's scores of rows since ``cutoff`` would prove nothing; empty if they do."""
    evaluation = manifest.facts.get("evaluation") or {}
    known = [Window.model_validate(each) for each in (manifest.facts.get("window"), evaluation.get("window")) if each]
    if not known:
        return "nobody knows up to when the rows go that it was trained on, so it may have seen these"
    if (newest := max(window.end for window in known)) > cutoff:
        return f"it was trained on rows up to {newest:%Y-%m-%d}, and those held out here begin {cutoff:%Y-%m-%d}"
    return ""


def _bring(stage: Stage, name: str, source: Source, manifest: Manifest) -> str:
    """Make a version champion of a stage, under its own number, and return where its files lie."""
    folder = f"{WORKSPACE}/{folder_of(name, manifest.content)}"
    stage.blobs.put("artifacts", f"{folder}/{MANIFEST}", manifest.text)
    for file in manifest.files:
        with_file(source, file, partial(_keep, stage.blobs, f"{folder}/{FILES}/{file.path}"))
    store = RegistryStore(stage.tables, stage.call)
    before = born(stage.call, name, store).model_copy(update={"newest": manifest.origin.version - 1})
    stage.tables.write([store.put_model(before), *store.take_name(name, before.model_id)])
    message = arrivals.Arrive(name=name, content=manifest.content, digest=manifest.digest)
    arrivals.announce(stage.call, message, tables=stage.tables, blobs=stage.blobs)
    arrivals.arrive(stage.call, message, **stage.stores, budget=manifest.size + 1)
    pointing = store.model(name).pointing(CHAMPION, manifest.origin.version, stage.now)
    stage.tables.write([store.put_model(pointing)])
    return f"{folder}/{FILES}/"


def _keep(blobs: MemoryBlobs, key: str, local: Path) -> None:
    blobs.put("artifacts", key, local.read_bytes())


def _judge(stage: Stage, name: str, model: Model, environment: str) -> tuple[GateResult, ...]:
    store = RegistryStore(stage.tables, stage.call)
    registered = store.model(name)
    version = store.version(registered, registered.newest)
    if registered.aliases.get(CHAMPION) == version.version:  # the first version took it at once, and now asks for it
        registered = registered.pointing(CHAMPION, None, stage.now)
    policy, full = model.policy(environment), plugins.full_gates()
    judge = Judge(stage.call, store, stage.tables, stage.blobs, environment)

    def any_gate(gate: str) -> plugins.Gate:
        return plugins.full_gate(gate) if gate in full else plugins.gate(gate)

    return judge.run(policy.gates, registered, version, CHAMPION, policy, any_gate)
