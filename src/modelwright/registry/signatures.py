"""What a model takes and gives: the signature of an ``MLmodel`` file, and whether one can stand in for another.

MLflow writes lists of columns as JSON texts under ``inputs``, ``outputs`` and ``params``. A column has a type and
mostly a name; ``required`` is true unless it says otherwise. Columns without names (tensors, mostly) count by place.
"""

import json
from collections.abc import Container, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright.log import canonical

LONGEST = 50_000
"""A longer signature, in characters of its canonical form, is not kept."""
_PARTS = ("inputs", "outputs", "params")


class Column(BaseModel):
    """One column or parameter.

    Attributes:
        kind: its type as canonical text; equal texts are equal types.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    name: str
    kind: str
    required: bool = True


class Signature(BaseModel):
    """What a model takes and gives, in order."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    inputs: tuple[Column, ...] = ()
    outputs: tuple[Column, ...] = ()
    params: tuple[Column, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Signature | None":
        """Return the signature of ``told``'s form; None where there is none, or none that says anything."""
        try:
            said = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict):
            return None
        parts = {part: tuple(_columns(said.get(part))) for part in _PARTS}
        return cls(**parts) if parts["inputs"] or parts["outputs"] else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the input columns."""
        return tuple(column.name for column in self.inputs)


def told(document: Mapping[str, Any]) -> str:
    """Return the signature that an ``MLmodel`` document says, as canonical JSON; empty where it says none.

    What is not well formed says nothing: a file of a client must not keep its version from being made.
    """
    signature = document.get("signature")
    if not isinstance(signature, dict):
        return ""
    parts = {part: listed for part in _PARTS if (listed := _listed(signature.get(part)))}
    try:
        text = canonical(parts).decode() if parts else ""
    except (ValueError, TypeError, RecursionError):
        return ""
    return text if len(text) <= LONGEST and Signature.read(text) else ""


def incompatibilities(ours: Signature, theirs: Signature, served: Container[str] = ()) -> list[str]:
    """Return why who calls a model by their signature cannot call one of our signature.

    Args:
        ours: of the model that is to be called.
        theirs: of the one that is called now.
        served: columns that callers need not say, because something between them and the model does.
    """
    faults = []
    known = {column.name: column for column in theirs.inputs}
    for column in ours.inputs:
        before = known.get(column.name)
        if before is None:
            missing = column.required and column.name not in served
            faults += [f"input {column.name} is new and required"] if missing else []
        elif before.kind != column.kind:
            faults.append(f"input {column.name} is {_said(column.kind)}, it was {_said(before.kind)}")
        elif column.required and not before.required:
            faults.append(f"input {column.name} is required, it was optional")
    types = {column.name: column.kind for column in ours.params}
    for column in theirs.params:
        if column.name not in types:
            faults.append(f"parameter {column.name} is gone")
        elif types[column.name] != column.kind:
            faults.append(f"parameter {column.name} is {_said(types[column.name])}, it was {_said(column.kind)}")
    return faults + _outputs(ours, theirs)


def _outputs(ours: Signature, theirs: Signature) -> list[str]:
    given, before = ({column.name: column.kind for column in s.outputs} for s in (ours, theirs))
    faults = [f"output {name} is gone" for name in before if name not in given]
    faults += [f"output {name} is new" for name in given if name not in before]
    return faults + [
        f"output {name} is {_said(given[name])}, it was {_said(kind)}"
        for name, kind in before.items()
        if name in given and given[name] != kind
    ]


def _listed(part: Any) -> list[Any]:
    """Return a part's columns: MLflow says them as JSON text."""
    if isinstance(part, str) and len(part) <= LONGEST:
        try:
            part = json.loads(part)
        except (ValueError, RecursionError):
            return []
    return part if isinstance(part, list) and all(isinstance(column, dict) for column in part) else []


def _columns(listed: Any) -> Iterator[Column]:
    for place, said in enumerate(_listed(listed)):
        name = str(said.get("name") or f"#{place + 1}")
        kind = {key: value for key, value in said.items() if key not in ("name", "required", "optional", "default")}
        yield Column(name=name, kind=canonical(kind).decode(), required=_required(said))


def _required(said: Mapping[str, Any]) -> bool:
    if "required" in said:
        return said["required"] is not False
    return said.get("optional") is not True


def _said(kind: str) -> str:
    """Return a type as people write it."""
    parts = json.loads(kind)
    return str(parts["type"]) if list(parts) == ["type"] else kind
