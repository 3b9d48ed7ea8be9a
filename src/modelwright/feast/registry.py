"""A project as Feast's registry, so that Feast's clients find entities, views and services without a server for it.

It is made from the project alone: the same project gives the same bytes to all who may read all of it; what a caller
may not read is left out. Feast's entities have one
join key, so a composite key is several of them. Every source is a push source over one of rows here
(``modelwright://<source>``), of which ``modelwright.feast.offline_store`` makes training data. On-demand features are
not in it, as Feast would load their code pickled; a feature service answers them too: the server computes them.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from modelwright.context import Call
from modelwright.declarations import NO_ENTITY, ColumnType, Described
from modelwright.definitions import Entity, View
from modelwright.feast.kinds import number_of
from modelwright.feast.messages import Message, new
from modelwright.feast.sources import DUMMY, FILE, PUSH
from modelwright.features.layout import micros
from modelwright.features.plan import plan_of
from modelwright.features.rights import visible
from modelwright.project import Project, current_key, load_current
from modelwright.storage import Blobs, Tables

SCHEME = "modelwright://"
EPOCH = "1970-01-01T00:00:00+00:00"
_VERSION = "1"
_STRING: ColumnType = "string"


def key_of(workspace: str) -> str:
    """Return where a workspace's registry lies in the lake bucket."""
    return f"feast/{workspace}/registry.db"


def of_workspace(call: Call, *, tables: Tables) -> bytes:
    """Return the registry of what the caller may read of a workspace's project.

    Raises:
        NotFound: no project was applied yet.
    """
    project = load_current(tables, call.workspace)
    call.authorise("projects:read", f"project/{project.name}")
    item = tables.get("governance", current_key(call.workspace)) or {}
    return registry(visible(call, project), datetime.fromisoformat(item.get("applied", EPOCH)))


def publish(call: Call, *, tables: Tables, blobs: Blobs) -> None:
    """Put the registry of a workspace's project where Feast's clients look for it: ``s3://<lake>/feast/<ws>/...``."""
    blobs.put("lake", key_of(call.workspace), of_workspace(call, tables=tables))


def registry(project: Project, at: datetime) -> bytes:
    """Return a project as a registry of Feast's.

    Args:
        project: the definitions.
        at: when they were applied.
    """
    entities = _entities(project)
    views = {name: _view(project, name, entities, at) for name in project.views}
    services = {**project.services, **project.models}
    return bytes(
        new(
            "Registry",
            registry_schema_version=_VERSION,
            version_id=project.digest,
            last_updated=_time(at),
            projects=[{"spec": {"name": project.name}, "meta": _meta(at)}],
            entities=[_entity(project, name, key, entities, at) for key, name in sorted(entities.items())],
            data_sources=[source for name in project.sources for source in _sources(project, name, at)],
            feature_views=list(views.values()),
            feature_services=[
                {
                    "spec": {
                        "name": name,
                        "project": project.name,
                        "features": list(_projections(project, name, views)),
                        **_described(service),
                    },
                    "meta": _meta(at),
                }
                for name, service in services.items()
            ],
        ).SerializeToString(deterministic=True)
    )


def _entities(project: Project) -> dict[str, str]:
    """Return the entities by join key: as they are declared, else called as the key."""
    declared = {entity.join_keys[0]: name for name, entity in project.entities.items() if len(entity.join_keys) == 1}
    used = {key for view in project.views.values() for key in view.entity}
    used |= {key for entity in project.entities.values() for key in entity.join_keys}
    return {key: declared.get(key, key) for key in used - {NO_ENTITY}}


def _entity(project: Project, name: str, key: str, entities: Mapping[str, str], at: datetime) -> dict[str, Any]:
    said = project.entities.get(name, Entity(join_keys=(key,)))
    kind = next((_types(project, view)[key] for view in project.views.values() if key in view.entity), _STRING)
    spec = {"name": entities[key], "project": project.name, "join_key": key, "value_type": number_of(kind)}
    return {"spec": {**spec, **_described(said)}, "meta": _meta(at)}


def _sources(project: Project, name: str, at: datetime) -> Iterator[Message]:
    source = project.sources[name]
    said = {"project": project.name, **_described(source), "meta": _meta(at)}
    rows = new(
        "DataSource",
        name=f"{name}_rows",
        type=FILE,
        timestamp_field=source.event_time,
        created_timestamp_column=source.available_at,
        file_options={"uri": SCHEME + name, "file_format": {"parquet_format": {}}},
        **said,
    )
    yield rows
    yield new("DataSource", name=name, type=PUSH, push_options={}, batch_source=rows, **said)


def _view(project: Project, name: str, entities: Mapping[str, str], at: datetime) -> Message:
    view = project.views[name]
    types = _types(project, view)
    rows, pushed = _sources(project, view.source, at)
    message = new(
        "FeatureView",
        spec={
            "name": name,
            "project": project.name,
            "entities": [entities.get(key, DUMMY) for key in view.entity],
            "entity_columns": [_feature(key, types[key]) for key in view.entity],
            "features": [_feature(feature, types[feature]) for feature in view.feature_names()],
            "batch_source": rows,
            # Feast's client writes what is pushed view by view; the columns of windows are none of their features
            "stream_source": None if view.aggregates else pushed,
            "online": True,
            **_described(view),
        },
        meta=_meta(at),
    )
    message.spec.ttl.FromMicroseconds(view.ttl_us)
    return message


def _projections(project: Project, service: str, views: Mapping[str, Message]) -> Iterator[dict[str, Any]]:
    plan = plan_of(project, service)
    asked: dict[str, list[str]] = {}
    for name in plan.service.inputs:
        if name in plan.stored:
            asked.setdefault(plan.stored[name].view, []).append(plan.stored[name].feature)
    for view, features in asked.items():
        columns = {column.name: column for column in views[view].spec.features}
        rows = views[view].spec.batch_source
        yield {
            "feature_view_name": view,
            "feature_columns": [columns[feature] for feature in features],
            "timestamp_field": rows.timestamp_field,
            "created_timestamp_column": rows.created_timestamp_column,
            "batch_source": rows,
            "view_type": "featureView",
        }


def _types(project: Project, view: View) -> dict[str, ColumnType]:
    source = project.sources[view.source]
    return {**{key: source.columns[key].type for key in view.entity}, **view.types(source)}


def _feature(name: str, kind: ColumnType) -> dict[str, Any]:
    return {"name": name, "value_type": number_of(kind)}


def _described(said: Described) -> dict[str, Any]:
    return {"description": said.description, "owner": said.owner, "tags": said.tags}


def _meta(at: datetime) -> dict[str, Any]:
    return {"created_timestamp": _time(at), "last_updated_timestamp": _time(at)}


def _time(at: datetime) -> dict[str, int]:
    seconds, us = divmod(micros(at), 1_000_000)
    return {"seconds": seconds, "nanos": us * 1000}
