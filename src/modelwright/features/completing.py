"""What a row's writer did not say, as the online store has it: for rows that are written view by view.

Feast's client writes each view of a push source by itself, with that view's columns alone. In Feast these are rows of
several tables; here they are one row of one source, and what one view's write leaves out is no change of it. So
a version of the same row that another view holds fills in its columns. Two such writes at the same time may miss
each other; the row is then as the later one says.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelwright.errors import InvalidInput
from modelwright.features import latest
from modelwright.features.layout import LATEST, entity_key, row_key, spelled
from modelwright.features.rows import typed
from modelwright.project import Project, View
from modelwright.storage import Key, Tables


def completed(
    project: Project, view: str, rows: Sequence[Mapping[str, Any]], *, tables: Tables, workspace: str
) -> list[dict[str, Any]]:
    """Return rows of a view's source with the columns of its other views that they leave out.

    Args:
        project: the definitions.
        view: the name of the view whose columns the rows have.
        rows: as they came; those that are not as declared are returned as they are.
        tables: the online store.
        workspace: whose.
    """
    source = project.views[view].source
    said = set(rows[0]) if rows else set()
    found = [dict(row) for row in rows]
    for name, other in project.views.items():
        wanted = [feature for feature in other.features if feature not in said]
        if name != view and other.source == source and wanted and rows:
            for n, values in _known(project, name, other, rows, wanted, tables, workspace):
                found[n] = {**values, **found[n]}
    return found


def _known(
    project: Project,
    name: str,
    view: View,
    rows: Sequence[Mapping[str, Any]],
    wanted: Sequence[str],
    tables: Tables,
    workspace: str,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the places of rows of which a view holds a version, and its values."""
    source = project.sources[view.source]
    named = {n: names for n, row in enumerate(rows) if (names := _named(project, view, row)) is not None}
    keys: dict[int, Key] = {n: entity_key(workspace, name, view, entity, LATEST) for n, (_, entity) in named.items()}
    items = tables.batch_get("features", list(dict.fromkeys(keys.values()))) if keys else {}
    for n, (row, _) in named.items():
        versions = [v for v in latest.read_newest(items.get(keys[n]), source, wanted).rows if v.key == row]
        if versions:
            yield n, dict(zip(wanted, max(versions, key=lambda version: version.age).values, strict=True))


def _named(project: Project, view: View, row: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return which row and which entity it is; None if it does not say so as it must."""
    source = project.sources[view.source]
    try:
        values = {name: typed(source.columns[name].type, row.get(name), name) for name in (*source.key, *view.entity)}
    except InvalidInput:
        return None
    if None in values.values():
        return None
    return row_key([values[name] for name in source.key]), spelled([values[name] for name in view.entity])
