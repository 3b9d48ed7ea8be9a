"""What a row may be at most, so that the items of all views of its source can be written: checked before it is kept.

A row that was kept and cannot be put online would stop everything that comes after it. Plain Python: pushing runs in a
light function; ``fitting`` asks the same of tables.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelwright.errors import InvalidInput
from modelwright.features.latest import weight_of
from modelwright.features.layout import WINDOWS, entity_key, micros, spelled
from modelwright.features.windows import columns_of
from modelwright.project import View

ROW = 250_000
"""Bytes of the values that a view keeps of a row: an item has to hold it beside what says so."""
FIRST_US = micros(datetime.min.replace(tzinfo=UTC))
LAST_US = micros(datetime.max.replace(tzinfo=UTC))
"""The first and the last time that there is in Python: those of the years 1 and 9999."""


def fault(workspace: str, name: str, view: View, values: Mapping[str, Any]) -> str:
    """Return why a row cannot be in the items of a view, without its values; empty if it can.

    Args:
        workspace: whose row.
        name: of the view.
        view: the view.
        values: of the row, by column.
    """
    joined = [values[column] for column in view.entity]
    if None not in joined:
        try:
            entity_key(workspace, name, view, spelled(joined), WINDOWS).checked()
        except InvalidInput:
            return f"the join key of view {name} ({', '.join(view.entity)}) is too long: 2048 bytes with its names"
    for columns in (view.features, columns_of(view)):
        if sum(weight_of(values[column]) for column in columns) > ROW:
            return f"what view {name} keeps of it is more than {ROW // 1000} KB"
    return ""
