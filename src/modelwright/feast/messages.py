"""The messages of Feast's registry, as far as we read and write them, without Feast.

Feast's registry is one protobuf message. Its fields' names, numbers and types are facts of the format; the
messages are built from them in a pool of their own, so that they live beside Feast's in one process. Enumerations
are the ``int32`` that they are on the wire. Fields that are not here are read over.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from modelwright.errors import InvalidInput

Message = Any
"""A protobuf message; the library has no types."""

_PACKAGE = "modelwright.feast"
_TAGS = "map string"
_TIME = ".google.protobuf.Timestamp"
_SPAN = ".google.protobuf.Duration"
_FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Registry": {
        "entities": (1, "*Entity"),
        "registry_schema_version": (3, "string"),
        "version_id": (4, "string"),
        "last_updated": (5, _TIME),
        "feature_views": (6, "*FeatureView"),
        "feature_services": (7, "*FeatureService"),
        "on_demand_feature_views": (8, "*OnDemandFeatureView"),
        "saved_datasets": (11, "*Named"),
        "data_sources": (12, "*DataSource"),
        "validation_references": (13, "*NamedReference"),
        "stream_feature_views": (14, "*StreamFeatureView"),
        "permissions": (16, "*Named"),
        "projects": (17, "*Project"),
        "label_views": (19, "*Named"),
    },
    "Named": {"spec": (1, "NameOnly")},
    "NameOnly": {"name": (1, "string")},
    "NamedReference": {"name": (1, "string")},
    "Project": {"spec": (1, "ProjectSpec"), "meta": (2, "Meta")},
    "ProjectSpec": {"name": (1, "string"), "description": (2, "string"), "tags": (3, _TAGS), "owner": (4, "string")},
    "Meta": {"created_timestamp": (1, _TIME), "last_updated_timestamp": (2, _TIME)},
    "Entity": {"spec": (1, "EntitySpec"), "meta": (2, "Meta")},
    "EntitySpec": {
        "name": (1, "string"),
        "value_type": (2, "int32"),
        "description": (3, "string"),
        "join_key": (4, "string"),
        "tags": (8, _TAGS),
        "project": (9, "string"),
        "owner": (10, "string"),
    },
    "Feature": {
        "name": (1, "string"),
        "value_type": (2, "int32"),
        "tags": (3, _TAGS),
        "description": (4, "string"),
    },
    "FeatureView": {"spec": (1, "FeatureViewSpec"), "meta": (2, "FeatureViewMeta")},
    "FeatureViewMeta": {
        "created_timestamp": (1, _TIME),
        "last_updated_timestamp": (2, _TIME),
        "materialization_intervals": (3, "*Interval"),
    },
    "Interval": {"start_time": (1, _TIME), "end_time": (2, _TIME)},
    "FeatureViewSpec": {
        "name": (1, "string"),
        "project": (2, "string"),
        "entities": (3, "*string"),
        "features": (4, "*Feature"),
        "tags": (5, _TAGS),
        "ttl": (6, _SPAN),
        "batch_source": (7, "DataSource"),
        "online": (8, "bool"),
        "stream_source": (9, "DataSource"),
        "description": (10, "string"),
        "owner": (11, "string"),
        "entity_columns": (12, "*Feature"),
        "offline": (13, "bool"),
        "source_views": (14, "*FeatureViewSpec"),
        "feature_transformation": (15, "Transformation"),
        "mode": (16, "string"),
        "disabled": (20, "bool"),
    },
    "StreamFeatureView": {"spec": (1, "StreamFeatureViewSpec"), "meta": (2, "FeatureViewMeta")},
    "StreamFeatureViewSpec": {
        "name": (1, "string"),
        "project": (2, "string"),
        "entities": (3, "*string"),
        "features": (4, "*Feature"),
        "entity_columns": (5, "*Feature"),
        "description": (6, "string"),
        "tags": (7, _TAGS),
        "owner": (8, "string"),
        "ttl": (9, _SPAN),
        "batch_source": (10, "DataSource"),
        "stream_source": (11, "DataSource"),
        "online": (12, "bool"),
        "mode": (14, "string"),
        "aggregations": (15, "*Aggregation"),
        "timestamp_field": (16, "string"),
        "feature_transformation": (17, "Transformation"),
        "disabled": (23, "bool"),
    },
    "Aggregation": {
        "column": (1, "string"),
        "function": (2, "string"),
        "time_window": (3, _SPAN),
        "slide_interval": (4, _SPAN),
        "name": (5, "string"),
    },
    "DataSource": {
        "type": (1, "int32"),
        "field_mapping": (2, _TAGS),
        "timestamp_field": (3, "string"),
        "date_partition_column": (4, "string"),
        "created_timestamp_column": (5, "string"),
        "file_options": (11, "FileOptions"),
        "bigquery_options": (12, "TableOptions"),
        "kafka_options": (13, "KafkaOptions"),
        "kinesis_options": (14, "KinesisOptions"),
        "redshift_options": (15, "TableOptions"),
        "custom_options": (16, "CustomOptions"),
        "data_source_class_type": (17, "string"),
        "request_data_options": (18, "RequestDataOptions"),
        "snowflake_options": (19, "TableOptions"),
        "name": (20, "string"),
        "project": (21, "string"),
        "push_options": (22, "PushOptions"),
        "description": (23, "string"),
        "tags": (24, _TAGS),
        "owner": (25, "string"),
        "batch_source": (26, "DataSource"),
        "spark_options": (27, "SparkOptions"),
        "trino_options": (30, "TableOptions"),
        "athena_options": (35, "TableOptions"),
        "meta": (50, "SourceMeta"),
    },
    "SourceMeta": {"created_timestamp": (3, _TIME), "last_updated_timestamp": (4, _TIME)},
    "FileOptions": {"file_format": (1, "FileFormat"), "uri": (2, "string"), "s3_endpoint_override": (3, "string")},
    "FileFormat": {"parquet_format": (1, "PushOptions"), "delta_format": (2, "PushOptions")},
    "TableOptions": {"table": (1, "string"), "query": (2, "string")},
    "SparkOptions": {
        "table": (1, "string"),
        "query": (2, "string"),
        "path": (3, "string"),
        "file_format": (4, "string"),
    },
    "KafkaOptions": {"kafka_bootstrap_servers": (1, "string"), "topic": (2, "string")},
    "KinesisOptions": {"region": (1, "string"), "stream_name": (2, "string")},
    "CustomOptions": {"configuration": (1, "bytes")},
    "RequestDataOptions": {"schema": (3, "*Feature")},
    "PushOptions": {},
    "Transformation": {"user_defined_function": (1, "Function"), "substrait_transformation": (2, "PushOptions")},
    "Function": {"name": (1, "string"), "body": (2, "bytes"), "body_text": (3, "string"), "mode": (4, "string")},
    "OnDemandFeatureView": {"spec": (1, "OnDemandFeatureViewSpec"), "meta": (2, "Meta")},
    "OnDemandFeatureViewSpec": {
        "name": (1, "string"),
        "project": (2, "string"),
        "features": (3, "*Feature"),
        "sources": (4, "map OnDemandSource"),
        "user_defined_function": (5, "Function"),
        "description": (6, "string"),
        "tags": (7, _TAGS),
        "owner": (8, "string"),
        "feature_transformation": (10, "Transformation"),
        "mode": (11, "string"),
        "write_to_online_store": (12, "bool"),
        "singleton": (15, "bool"),
        "aggregations": (16, "*Aggregation"),
        "disabled": (19, "bool"),
    },
    "OnDemandSource": {
        "feature_view": (1, "FeatureView"),
        "request_data_source": (2, "DataSource"),
        "feature_view_projection": (3, "Projection"),
    },
    "Projection": {
        "feature_view_name": (1, "string"),
        "feature_columns": (2, "*Feature"),
        "feature_view_name_alias": (3, "string"),
        "join_key_map": (4, _TAGS),
        "timestamp_field": (5, "string"),
        "created_timestamp_column": (7, "string"),
        "batch_source": (8, "DataSource"),
        "view_type": (11, "string"),
    },
    "FeatureService": {"spec": (1, "FeatureServiceSpec"), "meta": (2, "Meta")},
    "FeatureServiceSpec": {
        "name": (1, "string"),
        "project": (2, "string"),
        "features": (3, "*Projection"),
        "tags": (4, _TAGS),
        "description": (5, "string"),
        "owner": (6, "string"),
        "logging_config": (7, "LoggingConfig"),
    },
    "LoggingConfig": {"sample_rate": (1, "float")},
}
_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "float": FieldDescriptorProto.TYPE_FLOAT,
}


def new(name: str, /, **values: Any) -> Message:
    """Return a message; an argument that is a message's field may be given as a dictionary."""
    return GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))(**values)


def read_registry(body: bytes, place: str) -> Message:
    """Return a registry from its bytes.

    Raises:
        InvalidInput: they are no registry of Feast's.
    """
    registry = new("Registry")
    try:
        registry.ParseFromString(body)
    except DecodeError as error:
        raise InvalidInput(f"{place} is no registry of Feast's: {error}") from error
    if not registry.registry_schema_version:
        raise InvalidInput(f"{place} is no registry of Feast's: it does not say its version")
    return registry


@cache
def _pool() -> Any:
    pool = DescriptorPool()
    for known in (timestamp_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    file = FileDescriptorProto(name="modelwright/feast.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.extend(["google/protobuf/timestamp.proto", "google/protobuf/duration.proto"])
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            if kind.startswith("map "):
                _add_map(message, name, field, number, kind.removeprefix("map "))
            else:
                _add_field(message, field, number, kind)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: Message, name: str, number: int, kind: str) -> None:
    one = kind.removeprefix("*")
    label = FieldDescriptorProto.LABEL_REPEATED if one != kind else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if one in _SCALARS:
        field.type = _SCALARS[one]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = one if one.startswith(".") else f".{_PACKAGE}.{one}"


def _add_map(message: Message, owner: str, name: str, number: int, kind: str) -> None:
    """Add a map from strings, which the format spells as repeated entries of a message of their own."""
    entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "string")
    _add_field(entry, "value", 2, kind)
    _add_field(message, name, number, f"*{owner}.{entry.name}")
