"""What a version's run was, as tracking told when the version was made.

The platform's own training, where there was one, knows better than the run, and the run better than tags that a
client sets: so what a version has already stays.
"""

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import Delivery, ModelVersionTraced, RunRegistered
from modelwright.log import Log
from modelwright.registry.entities import ModelVersion, RegisteredModel
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Tables


def trace(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Give a version what is known of its run; one that is gone by now is left alone."""
    event: RunRegistered = delivery.event
    store = RegistryStore(tables, call)
    found = _find(event, store)
    if found is None:
        log.commit(call, (), delivery=delivery, table=TABLE)
        return
    model, version = found
    traced = version.model_copy(
        update={
            "code": version.code or event.code,
            "datasets": event.datasets or version.datasets,
            "metrics": {**event.metrics, **version.metrics},
        }
    )
    told = ModelVersionTraced(
        model=model.name,
        version=version.version,
        run_id=version.run_id,
        code=event.code,
        datasets=event.datasets,
        metrics=event.metrics,
    )
    store.point_from(model.model_id, traced)
    writes = store.put_version(model, traced)
    log.commit(call, [store.happened(model, told)], writes, delivery=delivery, table=TABLE)


def _find(event: RunRegistered, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion] | None:
    model = store.by_id([event.model_id]).get(event.model_id)
    if model is None or model.deleted:
        return None
    try:
        return model, store.version(model, event.version)
    except NotFound:
        return None
