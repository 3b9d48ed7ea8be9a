"""Evaluation datasets and their records, and MLflow's forms of them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modelwright.filters import Actual
from modelwright.tracking.entities import Document
from modelwright.tracking.evaluation_messages import GivenRecord, Source

USER = "mlflow.user"
_EMPTY_SHAPE: Mapping[str, Any] = {"inputs": {}, "outputs": {}, "expectations": {}, "version": "1.0"}


class Page(BaseModel):
    """Some records that lie together.

    Attributes:
        id: names them; other records never get the same.
        last: the number of the last one.
        records: how many they are.
        size: their bytes.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    id: str
    last: int
    records: int
    size: int


class EvaluationDataset(Document):
    """What is asked of a program, and what is expected of it, for some experiments.

    Attributes:
        shape: which fields records have, and of which types (MLflow's ``schema``).
        pages: where the records lie, in their order.
        told: how many records were ever added; the next one gets this number.
        deleted: nobody sees it any more, but what it had may still be there.
    """

    dataset_id: str
    name: str
    digest: str = ""
    created_time: int
    last_update_time: int
    created_by: str | None = None
    last_updated_by: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    experiment_ids: tuple[str, ...] = ()
    shape: dict[str, Any] | None = None
    pages: tuple[Page, ...] = ()
    told: int = 0
    deleted: bool = False

    @property
    def resources(self) -> tuple[str, ...]:
        """What grants name: it belongs to its experiments; without any, to those who may do so everywhere."""
        own = tuple(f"experiment/{each}" for each in self.experiment_ids)
        return own or (f"evaluation-dataset/{self.dataset_id}",)

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(page.records for page in self.pages)

    def at(self, now: int, **changes: Any) -> "EvaluationDataset":
        """Return the dataset changed at a time, with the digest of that state."""
        digest = hashlib.sha256(f"{self.name}:{now}:{self.v}".encode()).hexdigest()[:8]
        return self.model_copy(update={**changes, "last_update_time": now, "digest": digest})

    def value(self, entity: str, key: str) -> tuple[Actual]:
        """Return what a filter or order sees."""
        return (self.tags.get(key) if entity == "tags" else getattr(self, key),)

    def answer(self) -> dict[str, Any]:
        """Return the protocol's form."""
        said = {
            "dataset_id": self.dataset_id,
            "name": self.name,
            "tags": json.dumps(self.tags),
            "schema": None if self.shape is None else json.dumps(self.shape),
            "profile": json.dumps({"num_records": self.records}) if self.records else None,
            "digest": self.digest,
            "created_time": self.created_time,
            "last_update_time": self.last_update_time,
            "created_by": self.created_by,
            "last_updated_by": self.last_updated_by,
            "experiment_ids": list(self.experiment_ids),
        }
        return {key: value for key, value in said.items() if value is not None}


class Record(BaseModel):
    """One example; its inputs tell it from others, and ``number`` orders them."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    number: int
    dataset_record_id: str
    inputs: dict[str, Any]
    outputs: Any = None
    expectations: dict[str, Any] = Field(default_factory=dict)
    tags: dict[str, Any] = Field(default_factory=dict)
    source: Source | None = None
    created_time: int
    last_update_time: int
    created_by: str | None = None
    last_updated_by: str | None = None

    @classmethod
    def made(cls, given: GivenRecord, identity: str, number: int, now: int) -> "Record":
        """Return a new record."""
        user = user_of(given)
        return cls(
            number=number,
            dataset_record_id=identity,
            inputs=given.inputs,
            outputs=given.outputs if "outputs" in given.model_fields_set else {},
            expectations=given.expectations,
            tags=given.tags,
            source=given.source,
            created_time=now,
            last_update_time=now,
            created_by=user,
            last_updated_by=user,
        )

    def told(self, given: GivenRecord, now: int) -> "Record":
        """Return the record with what is told of it now: outputs replaced, expectations and tags merged."""
        changes = {
            "outputs": given.outputs if "outputs" in given.model_fields_set else self.outputs,
            "expectations": {**self.expectations, **given.expectations},
            "tags": {**self.tags, **given.tags},
            "last_update_time": now,
            "last_updated_by": user_of(given) or self.last_updated_by,
        }
        return self.model_copy(update=changes)

    def answer(self, dataset_id: str) -> dict[str, Any]:
        """Return the protocol's form."""
        source = self.source
        data = source.source_data if source else {}
        said = {
            "dataset_record_id": self.dataset_record_id,
            "dataset_id": dataset_id,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "expectations": self.expectations or None,
            "tags": self.tags,
            "source": source.model_dump() if source else None,
            "source_id": data.get("trace_id" if source and source.source_type == "TRACE" else "source_id"),
            "source_type": source.source_type if source else None,
            "created_time": self.created_time,
            "last_update_time": self.last_update_time,
            "created_by": self.created_by,
            "last_updated_by": self.last_updated_by,
        }
        return {key: value for key, value in said.items() if value is not None}


def user_of(given: GivenRecord) -> str | None:
    """Return who a record is from, by its own tag."""
    user = given.tags.get(USER)
    return user if isinstance(user, str) else None


def record_id(dataset_id: str, inputs: Mapping[str, Any]) -> str:
    """Return the id of the record of these inputs."""
    named = json.dumps([dataset_id, inputs], sort_keys=True)
    return f"dr-{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def shape_of(known: Mapping[str, Any] | None, records: Iterable[GivenRecord]) -> dict[str, Any] | None:
    """Return which fields records have, with their types; the first type that a field had stays."""
    shape = {key: dict(part) if isinstance(part, dict) else part for key, part in (known or _EMPTY_SHAPE).items()}
    count = 0
    for record in records:
        count += 1
        for part in ("inputs", "outputs", "expectations"):
            shape[part] = _with(shape[part], getattr(record, part))
    return shape if count or known else None


def _with(shape: Any, told: Any) -> Any:
    if isinstance(shape, dict) and isinstance(told, dict):
        return {**{key: _type_of(value) for key, value in told.items()}, **shape}
    return _type_of(told) if not shape and told is not None else shape


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
