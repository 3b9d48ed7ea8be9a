"""A version leaves for another stack: its manifest, made of the registry, of its files and of the log.

=======  ==========  ======  ==============================================
entity   pk          sk      access pattern
=======  ==========  ======  ==============================================
stack    ``STACK``   ``ID``  how the stack is called in origins; made once
=======  ==========  ======  ==============================================
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from modelwright.artifacts import resource_of_path
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, Refused, TooLarge
from modelwright.events import ModelVersionExported
from modelwright.log import Log, new_id, stream_of
from modelwright.once import Once
from modelwright.registry.cards import readable
from modelwright.registry.entities import ModelVersion, RegisteredModel
from modelwright.registry.manifests import MANIFEST_BYTES, MOST_FILES, File, Manifest, Origin, Proof, StoredItem, birth
from modelwright.registry.measuring import BUDGET_BYTES, Folder, Ruler
from modelwright.registry.messages import OfCard
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Absent, Blobs, Key, Put, Tables, every

LOCAL = {
    "v", "model", "version", "created", "updated", "source", "artifact_key", "artifact_digest", "run_link", "model_id",
    "user_id", "description", "stage", "tags", "size", "origin", "copied_from",
}  # fmt: skip
"""What a version is at one stack only, or what the manifest says by itself."""
CARRIED = frozenset(ModelVersion.model_fields) - LOCAL
PROOF_BYTES, PROOF_ITEMS = 1_500_000, 1000
_FAULTS_TOLD = 20


class ExportVersion(OfCard):
    """``GET /v1/models/<name>/versions/<version>/manifest``.

    Attributes:
        target: where it is carried, for the log.
    """

    target: str = Field(default="", max_length=200)


def manifest(
    call: Call, message: ExportVersion, *, tables: Tables, log: Log, blobs: Blobs, budget: int = BUDGET_BYTES
) -> dict[str, Any]:
    """Return a version's manifest and its digest, which the log names; or how far its files are measured by now.

    Raises:
        InvalidInput: its files lie elsewhere, or it has none.
        Refused: its file is not the one that was registered.
        TooLarge: it has too many files.
    """
    store, once = RegistryStore(tables, call), Once.of(call, "exports", message, TABLE)
    model, version = readable(call, message, store)
    if not version.artifact_key:
        raise InvalidInput(
            f"the files of {model.name} v{version.version} lie at {version.source}, not in this platform's bucket: "
            "they cannot be carried (prompts and such versions: `modelwright export mlflow`)"
        )
    call.authorise("artifacts:read", resource_of_path(version.artifact_key.removeprefix(f"{call.workspace}/")))
    measured = Ruler(tables, blobs, call.workspace, budget).measure(version.artifact_key)
    if not measured.whole:
        return measured.progress()
    made = _manifest(call, model, version, measured, tables)
    _sound(made, version)
    event = ModelVersionExported(model=model.name, version=version.version, digest=made.digest, target=message.target)
    try:
        log.commit(call, [store.happened(model, event)], once.mark(made.digest))
    except ConditionFailed:
        once.made(tables)  # the same request came before, and its export is in the log
    return {"digest": made.digest, "manifest": made.model_dump(mode="json")}


def _manifest(call: Call, model: RegisteredModel, version: ModelVersion, found: Folder, tables: Tables) -> Manifest:
    if len(found.files) > MOST_FILES:
        raise TooLarge(
            f"{model.name} v{version.version} has {len(found.files)} files: at most {MOST_FILES} are carried"
        )
    card = RegistryStore(tables, call).card(model, version.version)
    origin = Origin(stack=stack_id(tables), workspace=call.workspace, model=model.name, version=version.version)
    files = [File(path=path, size=each.size, digest=each.digest) for path, each in found.files.items()]
    return Manifest(
        origin=origin,
        description=version.description,
        tags=version.tags,
        facts=version.model_dump(mode="json", include=set(CARRIED), exclude_defaults=True),
        artifact_digest=version.artifact_digest,
        files=tuple(sorted(files, key=lambda file: file.path)),
        card={name: section.text for name, section in card.sections.items() if name in card.written},
        proof=_proof(stream_of(call.workspace, "MODEL", model.model_id), version.version, tables),
    )


def _sound(made: Manifest, version: ModelVersion) -> None:
    """Raise ``Refused`` for a version that the target would refuse."""
    what = f"{version.model} v{version.version} cannot be carried"
    if not made.files:
        raise InvalidInput(f"{what}: no file lies at {version.source}")
    if flaws := made.flaws():
        raise Refused(f"{what}: {listed(flaws)}")
    if len(made.text) > MANIFEST_BYTES:
        raise TooLarge(f"{what}: its manifest has {len(made.text)} bytes, more than {MANIFEST_BYTES}")


def _proof(stream: str, version: int, tables: Tables) -> Proof:
    """Return a piece of a stream that has the version's birth in it: from the stream's first item on, if that fits.

    What it ends with is no export, so that the same version, exported again, has the same manifest.
    """
    kept: list[StoredItem] = []
    size, seen = 0, False
    for stored in every(tables, "log", stream):
        item = StoredItem(**{name: stored[name] for name in StoredItem.model_fields})
        size += len(item.envelope)
        if kept and (size > PROOF_BYTES or len(kept) >= PROOF_ITEMS):
            if seen:
                break
            kept, size = [], len(item.envelope)
        kept.append(item)
        seen = seen or birth(item, version) is not None
    while kept and json.loads(kept[-1].envelope)["type"] == ModelVersionExported.detail_type():
        kept.pop()
    return Proof(items=tuple(kept), heads={stream: (int(kept[-1].sk), kept[-1].hash)} if kept else {})


def stack_id(tables: Tables) -> str:
    """Return how this stack is called in origins; nobody can guess it, and it stays when everything is renamed."""
    key = Key("STACK", "ID")
    if (item := tables.get(TABLE, key)) is None:
        item = {**key._asdict(), "id": new_id()}
        tables.write([Put(TABLE, item, Absent())])
    return str(item["id"])


def listed(found: Sequence[str]) -> str:
    """Return what is wrong in one line; of many things the first ones."""
    more = f"; and {len(found) - _FAULTS_TOLD} more" if len(found) > _FAULTS_TOLD else ""
    return "; ".join(found[:_FAULTS_TOLD]) + more
