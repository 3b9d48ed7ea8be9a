"""What gates are told of a version that asks for an alias.

Most of it the version's own document says. The rest costs a call each, and is read only for a policy with a gate that
asks for it: ``NEEDS`` says so of our gates, and of a gate that it does not name everything is read. What full
gates need besides (predictions, the model itself) is read when they ask.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from modelwright.artifacts import BUCKET, PARITY, PREDICTIONS
from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy, Model, Project, load_current
from modelwright.registry import cards, parities, quarantines
from modelwright.registry.entities import CHAMPION, ModelVersion, RegisteredModel
from modelwright.registry.signatures import Signature
from modelwright.registry.store import RegistryStore
from modelwright.storage import Blobs, Tables

EVERYTHING = frozenset({"champion", "features", "parity", "card", "quarantine"})
NEEDS: dict[str, frozenset[str]] = {
    "metric_floor": frozenset(),
    "beats_champion": frozenset({"champion"}),
    "data_known": frozenset(),
    "size_budget": frozenset(),
    "signature_compatible": frozenset({"champion", "features"}),
    "features_known": frozenset({"features"}),
    "parity_proven": frozenset({"parity"}),
    "card_complete": frozenset({"card"}),
    "no_quarantine": frozenset({"quarantine"}),
    "not_inferior": frozenset({"champion"}),
    "latency_budget": frozenset(),
}
"""What has to be read for a gate, beyond the version's own document."""


def gather(
    call: Call,
    model: RegisteredModel,
    version: ModelVersion,
    alias: str,
    *,
    store: RegistryStore,
    tables: Tables,
    blobs: Blobs,
    policy: GatePolicy,
    tier: str,
) -> Candidate:
    """Return what gates see of a version.

    Args:
        call: who asks, and when.
        model: the version's model.
        version: the version.
        alias: which one it asks for.
        store: the registry.
        tables: the project, the card, quarantines.
        blobs: the version's files.
        policy: its ``gates`` are those that are to be run now; what none of them asks for is not read.
        tier: which of the team's environments this is.

    Raises:
        InvalidInput: a tag of the version that gates read is not what it must be.
    """
    needed = {need for gate in policy.gates for need in NEEDS.get(gate, EVERYTHING)}
    known = replace(
        version.candidate(alias, model),
        environment=tier,
        dataset_digest=next(iter(version.data), ""),
        features=version.features or _inputs(version),
        signature=version.signature,
        size=version.size,
        digest=version.artifact_digest,
        read=_reader(version, blobs),
        scored=_predictions(version, blobs),
        code=_code(call, tables, blobs),
    )
    if "champion" in needed:
        champion = _champion(model, version, store)
        known = replace(known, champion_signature=champion.signature, champion_digest=champion.artifact_digest)
    if "parity" in needed:
        proof, rows = _parity(version, blobs)
        known = replace(known, parity=proof, parity_rows=rows)
    if "card" in needed:
        known = replace(known, card=cards.sections(call, model, version, tables=tables))
    if needed & {"features", "parity", "quarantine"}:
        known = _with_project(call, known, needed, tables)
    return known


def served(project: Project, model: Model) -> frozenset[str]:
    """Return the names of all inputs that a project can give a model."""
    stored = {view: project.views[view].feature_names() for view in model.views}
    plain = {name for names in stored.values() for name in names}
    spelled = {f"{view}{mark}{name}" for view, names in stored.items() for name in names for mark in (":", "__")}
    groups = (project.on_demand[name] for name in model.on_demand if name in project.on_demand)
    return frozenset({*model.request, *plain, *spelled, *(output for group in groups for output in group.outputs)})


def _with_project(call: Call, known: Candidate, needed: set[str], tables: Tables) -> Candidate:
    """Return a candidate with what its project says; a model that no project declares has no features and sources."""
    try:
        project = load_current(tables, call.workspace)
        model = project.model(known.model)
    except NotFound:
        return known
    if "features" in needed:
        known = replace(known, known_features=served(project, model))
    if "parity" in needed:
        known = _as_served(call, known, project, model, tables)
    if "quarantine" in needed:
        sources = {model.label.source, *(project.views[view].source for view in model.views)}
        known = replace(known, quarantined=quarantines.held(tables, call.workspace, sources))
    return known


def _as_served(call: Call, known: Candidate, project: Project, model: Model, tables: Tables) -> Candidate:
    """Return a candidate with the newest proof of its feature service under this project, if that speaks of it."""
    newest = parities.newest(tables, call.workspace, known.model, project.digest)
    if newest is None or not newest.covers(known.features, model.request):
        return known
    if newest.faults:
        return replace(known, parity="", parity_rows=0, parity_faults=newest.faults)
    return replace(known, parity=newest.digest, parity_rows=newest.rows, parity_served=True)


def _inputs(version: ModelVersion) -> tuple[str, ...]:
    """Return the columns that a version takes by its signature; columns without names tell nothing."""
    signature = Signature.read(version.signature)
    return tuple(name for name in signature.names if not name.startswith("#")) if signature else ()


def _champion(model: RegisteredModel, version: ModelVersion, store: RegistryStore) -> ModelVersion:
    """Return the champion; where there is none, or it is this version, the version."""
    champion = model.aliases.get(CHAMPION, version.version)
    return version if champion == version.version else store.version(model, champion)


def _parity(version: ModelVersion, blobs: Blobs) -> tuple[str, int]:
    """Return the digest of a version's proof and how many rows it is about; nothing unless it is the training's own."""
    if not (version.parity and version.artifact_key):
        return "", 0
    try:
        body = blobs.get(BUCKET, version.artifact_key + PARITY).body
    except NotFound:
        return "", 0
    if hashlib.sha256(body).hexdigest() != version.parity:
        return "", 0
    said: dict[str, Any] = json.loads(body)
    return (version.parity, int(said["rows"])) if said["equal"] == said["rows"] > 0 else ("", 0)


def _reader(version: ModelVersion, blobs: Blobs) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if not version.artifact_key:
            raise NotFound(f"the files of {version.model} v{version.version} are not in this stack's artifacts")
        return blobs.get(BUCKET, version.artifact_key + name).body

    return read


def _code(call: Call, tables: Tables, blobs: Blobs) -> Callable[[], bytes | None]:
    """Return what reads the code of the current project, as serving does; of another digest than it names, none."""

    def read() -> bytes | None:
        try:
            wheel = load_current(tables, call.workspace).wheel
            body = blobs.get(BUCKET, wheel).body if wheel else b""
        except NotFound:
            return None
        return body if body and hashlib.sha256(body).hexdigest() in wheel else None

    return read


def _predictions(version: ModelVersion, blobs: Blobs) -> Callable[[], bytes | None]:
    """Return what reads the predictions that lay there when the version was made, and no others."""

    def read() -> bytes | None:
        if not (version.predictions and version.artifact_key):
            return None
        try:
            body = blobs.get(BUCKET, version.artifact_key + PREDICTIONS).body
        except NotFound:
            return None
        return body if hashlib.sha256(body).hexdigest() == version.predictions else None

    return read
