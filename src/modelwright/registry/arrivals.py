"""A version arrives from another stack.

What arrives was uploaded to a folder of its own (``manifests.folder_of``), whose name follows from what is to come. The
server reads all of it where it lies and compares it with the manifest, before anything is made: the version, the
marks by which it is known again, and the events are one transaction. If anything differs, the folder is emptied.

========  ==============================  ==================  ==============================================
entity    pk                              sk                  access pattern
========  ==============================  ==================  ==============================================
arriving  ``ARRIVING``                    ``<ws>#<folder>``   since when files may lie in a folder; all
arrival   ``WS#<ws>#ARRIVALS``            ``<folder>``        which version a folder became
origin    ``WS#<ws>#ORIGIN#<SHA-256>``    ``<model id>``      which version of a model has this origin
========  ==============================  ==================  ==============================================

Who breaks off leaves files behind, with which the next attempt goes on; after a week they are collected. A folder is
emptied, or becomes a version, only by who finds the ``token`` of its item as it was read before the files were: so
nobody removes the files of a version that is just being made, and none is made of files that are just being removed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from modelwright.artifacts import BUCKET, checked_path, key_of_path, resource_of_path
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, Refused, TooLarge
from modelwright.events import CardChanged, Event, ModelVersionCreated, RegisteredModelCreated
from modelwright.log import Log, new_id
from modelwright.protocol import faults
from modelwright.registry.bundles import CARRIED, listed, stack_id
from modelwright.registry.entities import UNPINNED_TAG, ModelVersion, RegisteredModel, checked_name, checked_tag
from modelwright.registry.manifests import (
    FILES,
    MANIFEST,
    MANIFEST_BYTES,
    Manifest,
    Origin,
    folder_of,
    source_of,
)
from modelwright.registry.measuring import BUDGET_BYTES, Folder, Ruler
from modelwright.registry.messages import Named
from modelwright.registry.models import born, milliseconds
from modelwright.registry.proofs import proven, told
from modelwright.registry.sections import Card
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Absent, Blobs, Condition, Delete, Is, Item, Key, Put, Tables, Write, every

ORIGIN_TAGS = {"run_id": "modelwright.origin_run", "training_id": "modelwright.origin_training"}
"""Facts that name what is at the origin alone: tags of the arrived version tell them."""

KEPT = timedelta(days=7)
"""How long files of an arrival that was broken off wait for the next attempt."""

_ARRIVING = "ARRIVING"


class OfArrival(Named):
    """``PUT /v1/models/<name>/arrivals/<content>``: its files will be uploaded.

    Attributes:
        content: the manifest's ``content``, which names the folder.
    """

    content: str = Field(pattern=r"^[0-9a-f]{64}$")


class Arrive(OfArrival):
    """``POST /v1/models/<name>/arrivals``: manifest and files lie in their folder by now.

    Attributes:
        digest: SHA-256 of the manifest.
    """

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Known(NamedTuple):
    """A version that arrived before, and what its mark knows besides."""

    model_id: str
    version: int
    content: str = ""


def announce(call: Call, message: OfArrival, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return the version that came of a folder, or the files that lie in it by now, by path with their sizes.

    Raises:
        Refused: it came of it under another name.
    """
    name, folder = _place(call, message)
    if (known := _became(call, name, folder, RegistryStore(tables, call), tables)) is not None:
        return _answer(name, known.version, made=False)
    key = _arriving_key(call.workspace, folder)
    item = tables.get(TABLE, key)
    fresh = {**key._asdict(), "workspace": call.workspace, "folder": folder, "token": new_id()}
    condition: Condition = Absent() if item is None else Is("token", str(item["token"]))
    tables.write([Put(TABLE, {**fresh, **(item or {}), "began": call.now.isoformat()}, condition)])
    prefix = f"{key_of_path(call.workspace, folder)}/{FILES}/"
    return {"files": {line.key.removeprefix(prefix): line.size for line in blobs.list(BUCKET, prefix)}}


def collect(call: Call, *, tables: Tables, blobs: Blobs) -> int:
    """Remove what was uploaded to folders, of all workspaces, of which no version came; return how many those were."""
    before, count = (call.now - KEPT).isoformat(), 0
    for item in list(every(tables, TABLE, _ARRIVING)):
        if item["began"] < before:
            emptied = _empty(replace(call, workspace=str(item["workspace"])), item, tables, blobs)
            key = Key(str(item["pk"]), str(item["sk"]))
            tables.write([Delete(TABLE, key, Is("token", str(emptied["token"])))])
            count += 1
    return count


def arrive(
    call: Call, message: Arrive, *, tables: Tables, log: Log, blobs: Blobs, budget: int = BUDGET_BYTES
) -> dict[str, Any]:
    """Make a version of what was uploaded, if all of it is as the manifest says; or say how far it is checked by now.

    What arrived before is the version that it became then.

    Raises:
        Refused: anything differs; the text names each thing, and the folder is empty now.
        NotFound: no manifest was uploaded.
    """
    name, folder = _place(call, message)
    store = RegistryStore(tables, call)
    if (known := _became(call, name, folder, store, tables)) is not None:
        return _answer(name, known.version, made=False)
    arriving = tables.get(TABLE, _arriving_key(call.workspace, folder))
    if arriving is None:
        raise NotFound(f"nothing was announced of {message.content}: PUT it to where it shall arrive, then its files")
    place = f"{key_of_path(call.workspace, folder)}/"
    ruler = Ruler(tables, blobs, call.workspace, budget)
    try:
        said = _said(call, place, message, tables, blobs)
        model = _free(call, name, said, store, tables)
        measured = _checked(call, said, ruler, f"{place}{FILES}/")
    except (InvalidInput, Refused, TooLarge):
        _empty(call, arriving, tables, blobs)
        raise
    if not measured.whole:
        return measured.progress()
    version = _make(call, name, model, said, arriving, store, tables=tables, log=log)
    ruler.forget(f"{place}{FILES}/")
    return _answer(name, version, made=True)


def _place(call: Call, message: OfArrival) -> tuple[str, str]:
    """Return the name and the folder of an arrival that the caller may bring about.

    Gates believe what arrives of evaluation and parity as if it were made here: it takes more than to make a version.
    """
    name = checked_name(message.name)
    call.authorise("models:receive", f"model/{name}")
    folder = folder_of(name, message.content)
    call.authorise("artifacts:write", resource_of_path(folder))
    return name, folder


def _empty(call: Call, arriving: Item, tables: Tables, blobs: Blobs) -> Item:
    """Remove all files of a folder, unless a version was made of it meanwhile, and return its item as it is then."""
    emptied = {**arriving, "token": new_id()}
    tables.write([Put(TABLE, emptied, Is("token", str(arriving["token"])))])
    place = f"{key_of_path(call.workspace, str(arriving['folder']))}/"
    blobs.delete_many(BUCKET, [line.key for line in blobs.list(BUCKET, place)])
    Ruler(tables, blobs, call.workspace).forget(f"{place}{FILES}/")
    return emptied


def _said(call: Call, place: str, message: Arrive, tables: Tables, blobs: Blobs) -> Manifest:
    """Return the manifest that was uploaded."""
    try:
        size = blobs.size(BUCKET, place + MANIFEST)
    except NotFound as error:
        raise NotFound(f"nothing arrived of {message.content}: upload {MANIFEST} and the files first") from error
    if size > MANIFEST_BYTES:
        raise TooLarge(f"the manifest has {size} bytes, more than {MANIFEST_BYTES}")
    text = blobs.get(BUCKET, place + MANIFEST).body
    if (found := hashlib.sha256(text).hexdigest()) != message.digest:
        raise Refused(f"the manifest that arrived has the digest {found}, not {message.digest}")
    said = Manifest.read(text)
    if said.content != message.content:
        raise Refused(f"the manifest is of the files {said.content}, not {message.content}")
    origin = said.origin
    if (origin.stack, origin.workspace, origin.model) == (stack_id(tables), call.workspace, message.name):
        raise InvalidInput(f"{origin.model} v{origin.version} comes from here: give the copy another name")
    return said


def _free(call: Call, name: str, said: Manifest, store: RegistryStore, tables: Tables) -> RegisteredModel | None:
    """Return the model that gets the version, if there is one; raises ``Refused`` if its origin had other files."""
    model = store.find(name)
    if model is not None and (before := _of_origin(call, model, said, tables)) is not None:
        raise Refused(f"{said.origin} came before, as {name} v{before.version}, and had other files then")
    return model


def _checked(call: Call, said: Manifest, ruler: Ruler, prefix: str) -> Folder:
    """Return the files as they lie there, if they are those of the manifest, as far as there was time to read them.

    Raises:
        Refused: with everything that is wrong; what needs no reading comes first.
    """
    before = {path: (line.size, line.etag) for path, line in ruler.listed(prefix).items()}
    found = [*said.flaws(), *_misplaced(said, {path: size for path, (size, _) in before.items()})]
    try:
        _version(call, said.origin.model, 1, said, "")
        Card(version=1).having(call, said.card, ())
    except InvalidInput as error:
        found.append(str(error))
    measured = Folder({}, 0, whole=False) if found else ruler.measure(prefix)
    if measured.whole:
        after = {path: (line.size, line.etag) for path, line in ruler.listed(prefix).items()}
        found += _differing(said, measured, before, after)
    if found:
        raise Refused(f"{said.origin} did not arrive as it was sent: {listed(found)}")
    return measured


def _misplaced(said: Manifest, sizes: Mapping[str, int]) -> list[str]:
    wanted = {file.path: file.size for file in said.files}
    found = [f"{path} is missing" for path in wanted if path not in sizes]
    found += [f"{path} is there and not in the manifest" for path in sizes if path not in wanted]
    for path, size in wanted.items():
        if path in sizes and sizes[path] != size:
            found.append(f"{path} has {sizes[path]} bytes, not {size}")
    return found


def _differing(
    said: Manifest, measured: Folder, before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]
) -> list[str]:
    found = [
        f"{file.path} has the digest {digest}, not {file.digest}"
        for file in said.files
        if (digest := measured.files[file.path].digest) != file.digest
    ]
    if not before == {path: (file.size, file.etag) for path, file in measured.files.items()} == after:
        found.append("files were changed while they were read")
    return found


def _make(
    call: Call,
    name: str,
    known: RegisteredModel | None,
    said: Manifest,
    arriving: Item,
    store: RegistryStore,
    *,
    tables: Tables,
    log: Log,
) -> int:
    model, folder = known or born(call, name, store), str(arriving["folder"])
    grown = model.grown(milliseconds(call))
    version = _version(call, name, grown.newest, said, folder)
    card = Card(version=version.version).having(call, said.card, ())
    events: list[Event] = [] if known else [RegisteredModelCreated(model=name)]
    events.append(_created(model, version, said))
    writes: list[Write] = [store.put_model(grown), *store.add_version(grown, version)]
    writes += [] if known else store.take_name(name, model.model_id)
    writes.append(Delete(TABLE, _arriving_key(call.workspace, folder), Is("token", str(arriving["token"]))))
    writes += _marks(call, model, said, folder, version.version, tables)
    if said.card:
        changed = tuple(sorted(said.card))
        events.append(
            CardChanged(
                model=name, version=version.version, revision=card.revision, sections=changed, digest=card.digest
            )
        )
        writes += store.put_card(model, card)[:1]  # the version, which it would check, is made with it
    log.commit(call, [store.happened(model, event) for event in events], writes)
    return version.version


def _version(call: Call, name: str, number: int, said: Manifest, folder: str) -> ModelVersion:
    """Return the version as it will be here; raises ``InvalidInput`` for facts or tags that this stack cannot keep."""
    if unknown := sorted(set(said.facts) - CARRIED):
        raise InvalidInput(f"this stack does not know {', '.join(unknown)}: it is older than the source")
    kept = {key: value for key, value in said.tags.items() if key != UNPINNED_TAG or not said.artifact_digest}
    tags = {k: v for key, value in kept.items() for k, v in checked_tag(key, value).items()}
    tags |= {tag: str(said.facts[fact]) for fact, tag in ORIGIN_TAGS.items() if said.facts.get(fact)}
    source = source_of(folder)
    here = {
        "model": name,
        "version": number,
        "created": milliseconds(call),
        "updated": milliseconds(call),
        "source": source,
        "artifact_key": f"{call.workspace}/{folder}/{FILES}/",
        "artifact_digest": said.artifact_digest,
        "user_id": call.actor,
        "description": said.description,
        "tags": tags,
        "size": said.size,
        "origin": str(said.origin),
    }
    facts = {fact: value for fact, value in said.facts.items() if fact not in ORIGIN_TAGS}
    try:
        return ModelVersion.model_validate({**facts, **here})
    except ValidationError as error:
        raise InvalidInput(f"the manifest's facts are not a version's: {faults(error)}") from error


def _created(model: RegisteredModel, version: ModelVersion, said: Manifest) -> ModelVersionCreated:
    return ModelVersionCreated(
        model=version.model,
        version=version.version,
        source=version.source,
        artifact_key=version.artifact_key,
        features=version.features,
        artifact_digest=version.artifact_digest,
        dataset_digest=version.dataset_digest,
        code=version.code,
        environment_digest=version.environment_digest,
        datasets=version.datasets,
        origin=version.origin,
        manifest=said.digest,
        metrics=version.metrics,
        told=told(version.tags),
        **proven(model, version.description, version.tags),
    )


# --- what arrived before -----------------------------------------------------------------


def _became(call: Call, name: str, folder: str, store: RegistryStore, tables: Tables) -> _Known | None:
    """Return the version that a folder became, unless it was deleted since; raises ``Refused`` if it is another's."""
    item = tables.get(TABLE, _arrival_key(call, folder))
    if item is None:
        return None
    known = _known(item)
    model = store.by_id([known.model_id]).get(known.model_id)
    if model is None or model.deleted or not _there(model, known.version, store):
        return None
    if model.name != name:
        raise Refused(f"this arrived before as {name} v{known.version}, which is called {model.name} by now")
    return known


def _of_origin(call: Call, model: RegisteredModel, said: Manifest, tables: Tables) -> _Known | None:
    """Return the version of this origin that has other files, unless it was deleted since."""
    item = tables.get(TABLE, _origin_key(call, said.origin, model.model_id))
    if item is None or item["content"] == said.content:
        return None
    known = _known(item)
    return known if _there(model, known.version, RegistryStore(tables, call)) else None


def _marks(
    call: Call, model: RegisteredModel, said: Manifest, folder: str, version: int, tables: Tables
) -> list[Write]:
    """Return the writes of the marks; they fail when the same arrived meanwhile."""
    mark = {"model_id": model.model_id, "version": version, "content": said.content, "digest": said.digest}
    keys = _arrival_key(call, folder), _origin_key(call, said.origin, model.model_id)
    return [Put(TABLE, {**key._asdict(), **mark}, _as_it_is(tables.get(TABLE, key))) for key in keys]


def _as_it_is(item: Item | None) -> Condition:
    return Absent() if item is None else Is("version", int(item["version"]))


def _there(model: RegisteredModel, version: int, store: RegistryStore) -> bool:
    try:
        store.version(model, version)
    except NotFound:
        return False
    return True


def _known(item: Item) -> _Known:
    return _Known(str(item["model_id"]), int(item["version"]), str(item["content"]))


def _arrival_key(call: Call, folder: str) -> Key:
    return Key(f"WS#{call.workspace}#ARRIVALS", checked_path(folder))


def _origin_key(call: Call, origin: Origin, model_id: str) -> Key:
    return Key(f"WS#{call.workspace}#ORIGIN#{hashlib.sha256(str(origin).encode()).hexdigest()}", model_id)


def _arriving_key(workspace: str, folder: str) -> Key:
    return Key(_ARRIVING, f"{workspace}#{checked_path(folder)}")


def _answer(name: str, version: int, *, made: bool) -> dict[str, Any]:
    return {"model": name, "version": version, "made": made}
