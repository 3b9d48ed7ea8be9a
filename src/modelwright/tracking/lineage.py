"""Which model versions came out of a run: what tracking knows of the registry, made of its events.

=====================  ============================  ================================  =======================
entity                 pk                            sk                                access pattern
=====================  ============================  ================================  =======================
version                ``WS#<ws>#RUN#<run id>``      ``VERSION#<model id>#<n:09>``     of a run
model's name           ``WS#<ws>#MODEL#<model id>``  ``NAME``                          with the versions
version that is gone   ``WS#<ws>#MODEL#<model id>``  ``GONE#<n:09>``                   with the versions
=====================  ============================  ================================  =======================

The registry's table is the registry's; what the page of a run shows of it may be a second old. Events come in
any order: a version is shown unless it is known to be gone, under the newest name that is known.

The other way round, the registry asks nobody what a run was: tracking tells it, once per version (``RunRegistered``).
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden, NotFound
from modelwright.events import Delivery, ModelVersionCreated, ModelVersionDeleted, RegisteredModelChanged, RunRegistered
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Absent, Anything, Blobs, Condition, Is, Item, Key, Put, Tables, Write, every
from modelwright.tracking.entities import Run
from modelwright.tracking.store import TABLE, TrackingStore

READY = "READY"
_NAME = "NAME"
_CODE = ("mlflow.source.git.commit", "mlflow.project.entryPoint")
_MOST_METRICS, _MOST_DATASETS, _LONGEST_CODE = 500, 100, 200
"""What an event has room for; of more, the first by name (or in the run's order) are told."""


def remember_version(call: Call, delivery: Delivery, *, tables: Tables, blobs: Blobs, log: Log) -> None:
    """Remember a version and the run that it says it came out of, and tell what that run is now."""
    event: ModelVersionCreated = delivery.event
    writes: list[Write] = []
    told: list[Happened] = []
    if event.run_id:
        told = _told(call, event, _model_id(delivery), TrackingStore(tables, call, blobs))
        model_id = _model_id(delivery)
        about = {"model": event.model, "version": event.version, "source": event.source, "model_id": model_id}
        at = {"at": int(delivery.envelope.at.timestamp() * 1000)}
        sk = f"VERSION#{model_id}#{event.version:09d}"
        writes.append(Put(TABLE, {"pk": _run(call, event.run_id), "sk": sk, **about, **at}, Anything()))
    log.commit(call, told, writes, delivery=delivery, table=TABLE)


def forget_version(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember that a version is gone."""
    event: ModelVersionDeleted = delivery.event
    gone = _gone_key(call, _model_id(delivery), event.version)
    log.commit(call, (), [Put(TABLE, gone._asdict(), Anything())], delivery=delivery, table=TABLE)


def rename_model(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember a model's new name (none when it was deleted), unless a newer one is known."""
    event: RegisteredModelChanged = delivery.event
    if event.change not in ("renamed", "deleted"):
        return
    key, sequence = _name_key(call, _model_id(delivery)), delivery.envelope.sequence
    known = tables.get(TABLE, key)
    writes: list[Write] = []
    if known is None or int(known["sequence"]) < sequence:
        condition: Condition = Is("sequence", int(known["sequence"])) if known else Absent()
        writes.append(Put(TABLE, {**key._asdict(), "name": event.new_name, "sequence": sequence}, condition))
    log.commit(call, (), writes, delivery=delivery, table=TABLE)


def versions_of(call: Call, run_ids: Sequence[str], *, tables: Tables) -> list[dict[str, Any]]:
    """Return the versions that came out of a run and that the caller may read, in the protocol's form.

    Args:
        call: who asks.
        run_ids: the run's ids; a training's run has two.
        tables: where the versions are.
    """
    items = [item for run_id in run_ids for item in every(tables, TABLE, _run(call, run_id), prefix="VERSION#")]
    names = {_name_key(call, str(item["model_id"])) for item in items}
    gone = {_gone_key(call, str(item["model_id"]), int(item["version"])) for item in items}
    found = tables.batch_get(TABLE, [*names, *gone]) if items else {}
    told = [
        (str(named["name"] if (named := found.get(_name_key(call, item["model_id"]))) else item["model"]), item)
        for item in items
        if _gone_key(call, item["model_id"], int(item["version"])) not in found
    ]
    return [_answer(name, item, run_ids[0]) for name, item in told if name and _readable(call, name)]


def _told(call: Call, event: ModelVersionCreated, model_id: str, store: TrackingStore) -> list[Happened]:
    """Return what a version's run is, as an event of the run; nothing if there is no such run (yet)."""
    try:
        run = store.run(event.run_id)
    except NotFound:
        return []
    registered = RunRegistered(
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        model=event.model,
        model_id=model_id,
        version=event.version,
        code=next((run.tags[tag] for tag in _CODE if run.tags.get(tag)), "")[:_LONGEST_CODE],
        datasets=tuple(dict.fromkeys(dataset.digest for dataset in run.datasets))[:_MOST_DATASETS],
        metrics=_finite(run),
    )
    return [Happened(stream_of(call.workspace, "RUN", run.run_id), registered)]


def _finite(run: Run) -> dict[str, float]:
    newest = ((key, latest.value) for key, latest in sorted(run.metrics.items()) if math.isfinite(latest.value))
    return dict(islice(newest, _MOST_METRICS))


def _readable(call: Call, model: str) -> bool:
    try:
        call.authorise("models:read", f"model/{model}")
    except Forbidden:
        return False
    return True


def _answer(name: str, item: Item, run_id: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": str(item["version"]),
        "status": READY,
        "source": item["source"],
        "creation_timestamp": int(item["at"]),
        "run_id": run_id,
    }


def _model_id(delivery: Delivery) -> str:
    """Return the model's id, which stays when its name changes: the end of its stream."""
    return delivery.envelope.stream.split("#", 3)[3]


def _run(call: Call, run_id: str) -> str:
    return f"WS#{call.workspace}#RUN#{run_id}"


def _name_key(call: Call, model_id: str) -> Key:
    return Key(f"WS#{call.workspace}#MODEL#{model_id}", _NAME)


def _gone_key(call: Call, model_id: str, version: int) -> Key:
    return Key(f"WS#{call.workspace}#MODEL#{model_id}", f"GONE#{version:09d}")
