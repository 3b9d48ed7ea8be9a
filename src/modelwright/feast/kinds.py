"""Feast's types of values, and ours."""

from collections.abc import Mapping
from typing import NamedTuple

from modelwright.declarations import ColumnType

UNKNOWN = 0


class Kind(NamedTuple):
    """What one of Feast's types is here.

    Attributes:
        name: what Feast calls it.
        ours: our type; None where there is none.
        told: what is different about it, if anything.
    """

    name: str
    ours: ColumnType | None
    told: str = ""


_SCALARS: Mapping[int, Kind] = {
    2: Kind("String", "string"),
    3: Kind("Int32", "integer"),
    4: Kind("Int64", "integer"),
    5: Kind("Float64", "number"),
    6: Kind("Float32", "number"),
    7: Kind("Bool", "boolean"),
    8: Kind("UnixTimestamp", "timestamp"),
    32: Kind("Json", "string", "the JSON as text"),
    36: Kind("Uuid", "string", "the UUID as text"),
    37: Kind("TimeUuid", "string", "the UUID as text"),
    44: Kind("Decimal", "string", "the decimal as text"),
}
_WITHOUT: Mapping[int, str] = {
    1: "Bytes", 11: "Array(Bytes)", 12: "Array(String)", 13: "Array(Int32)", 14: "Array(Int64)", 15: "Array(Float64)",
    16: "Array(Float32)", 17: "Array(Bool)", 18: "Array(UnixTimestamp)", 20: "Map", 21: "Array(Map)", 33: "Array(Json)",
    34: "Struct", 35: "Array(Struct)", 38: "Array(Uuid)", 39: "Array(TimeUuid)", 42: "Array(Array)", 43: "Set(Array)",
    45: "Array(Decimal)", 47: "ScalarMap", 48: "ZonedTimestamp",
}  # fmt: skip
_SENT: Mapping[ColumnType, int] = {"string": 2, "integer": 4, "number": 5, "boolean": 7, "timestamp": 8}


def kind_of(number: int) -> Kind:
    """Return what one of Feast's types is here."""
    return _SCALARS.get(number) or Kind(_WITHOUT.get(number, f"the type {number}"), None)


def number_of(kind: ColumnType) -> int:
    """Return Feast's number of one of our types."""
    return _SENT[kind]


def wider(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """Return the type that holds the values of both; None: there is none."""
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else None
