"""A registry as Feast writes one, made of its messages, and what a test says of its parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelwright.feast import folder
from modelwright.feast.messages import Message, new
from modelwright.feast.translation import Translation, translate
from modelwright.team import Team

TYPES = {
    "bytes": 1, "string": 2, "int32": 3, "int64": 4, "double": 5, "float": 6, "bool": 7, "time": 8,
    "floats": 16, "map": 20, "json": 32, "uuid": 36,
}  # fmt: skip
PROJECT = "rides"


def feature(name: str, kind: str = "double") -> dict[str, Any]:
    """Return a field."""
    return {"name": name, "value_type": TYPES[kind]}


def features(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return fields by name and type."""
    return [feature(name, kind) for name, kind in columns.items()]


def entity(name: str, key: str = "", **said: Any) -> dict[str, Any]:
    """Return an entity."""
    return {"spec": {"name": name, "project": PROJECT, "join_key": key or f"{name}_id", **said}}


def file(name: str = "trips", uri: str = "data/trips.parquet", **said: Any) -> Message:
    """Return a file source."""
    return new("DataSource", name=name, type=1, timestamp_field="at", file_options={"uri": uri}, **said)


def view(name: str, columns: Mapping[str, str], **said: Any) -> dict[str, Any]:
    """Return a feature view of drivers, of a file source."""
    source = said.pop("batch_source", None)
    if source is None and "stream_source" not in said:
        source = file()
    given = {"batch_source": source} if source is not None else {}
    keys = said.pop("keys", {"driver_id": "int64"})
    spec = {"name": name, "project": PROJECT, "features": features(columns), "entity_columns": features(keys)}
    return {"spec": {"entities": ["driver"], "online": True, **spec, **given, **said}}


def registry(**parts: Any) -> Message:
    """Return a registry with a driver in it."""
    parts.setdefault("entities", [entity("driver")])
    return new("Registry", registry_schema_version="1", **parts)


def translated(imported: Mapping[str, str] | None = None, **parts: Any) -> Translation:
    """Return what a registry becomes."""
    return translate(registry(**parts), "", imported or {})


def applied(translation: Translation, target: Path) -> Team:
    """Return the project that a translation is read as, once it is written."""
    return folder.write(translation, target)


def on_demand(name: str, text: str, sources: Sequence[Any], outputs: Mapping[str, str], **said: Any) -> dict[str, Any]:
    """Return an on-demand feature view in Python mode."""
    function = {"user_defined_function": {"name": name, "body_text": text, "mode": said.get("mode", "python")}}
    spec = {
        "name": name, "project": PROJECT, "mode": "python", "features": features(outputs),
        "sources": {str(n): source for n, source in enumerate(sources)}, "feature_transformation": function,
    }  # fmt: skip
    return {"spec": {**spec, **said}}


def reads(view: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return an on-demand source: stored features."""
    return {"feature_view_projection": {"feature_view_name": view, "feature_columns": features(columns)}}


def takes(columns: Mapping[str, str]) -> dict[str, Any]:
    """Return an on-demand source: request columns."""
    return {"request_data_source": {"name": "asked", "type": 7, "request_data_options": {"schema": features(columns)}}}


def service(name: str, views: Mapping[str, Sequence[str]], **said: Any) -> dict[str, Any]:
    """Return a feature service."""
    parts = [
        {"feature_view_name": view, "feature_columns": [feature(column) for column in columns]}
        for view, columns in views.items()
    ]
    return {"spec": {"name": name, "project": PROJECT, "features": parts, **said}}
