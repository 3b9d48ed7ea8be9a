"""What follows in the feature store when a project is applied: views that are new or other ones are filled.

=============  ======================  =========  ===================================================
entity         pk (table ``features``)  sk         access pattern
=============  ======================  =========  ===================================================
adopted views  ``WS#<ws>#ADOPTED``      ``VIEWS``  get: of each view, what it was when it was filled
=============  ======================  =========  ===================================================

A view is filled from the rows that its source has, or that can be derived: by a backfill, for which this only asks.
One for which there are no rows yet needs none.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping

from modelwright.context import Call
from modelwright.events import BackfillRequested, Delivery
from modelwright.features.freshness import known
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.project import Project, View
from modelwright.storage import Absent, Is, Key, Put, Tables

_COMPUTED = {"entity", "source", "features", "aggregates", "windows", "tumbling", "by", "tile", "version"}


def follow_project(delivery: Delivery, call: Call, *, project: Project, tables: Tables, log: Log) -> None:
    """Ask for a backfill of each view that is computed otherwise than when this was last done, or never was.

    Args:
        delivery: says that a project was applied.
        call: in whose workspace.
        project: the one that counts now, which may be newer than the delivery.
        tables: remembers what was filled; the offline store's manifests.
        log: takes the events.

    Raises:
        AlreadyHandled: the delivery came before.
    """
    key = Key(f"WS#{call.workspace}#ADOPTED", "VIEWS")
    item = tables.get("features", key)
    before: dict[str, str] = json.loads(item["views"]) if item else {}
    after = {name: _digest(view) for name, view in project.views.items()}
    changed = {name: project.views[name] for name in after if after[name] != before.get(name)}
    wanted: dict[str, None] = {}
    for view in changed.values():
        wanted.update(dict.fromkeys(_filled(project, view.source, tables, call.workspace)))
    events = [
        Happened(stream_of(call.workspace, "SOURCE", source), _request(delivery, source, changed)) for source in wanted
    ]
    version = int(item["v"]) if item else 0
    stored = {**key._asdict(), "views": json.dumps(after), "v": version + 1}
    writes = [Put("features", stored, Is("v", version) if item else Absent())] if after != before else []
    log.commit(call, events, writes, delivery=delivery, table="features")


def _filled(project: Project, source: str, tables: Tables, workspace: str) -> Iterator[str]:
    """Yield the source whose backfill fills one, if any does: itself, or a new one that it is derived from."""
    chain = project.origins(source)
    for place, name in enumerate(chain):
        if known(name, tables=tables, workspace=workspace).rows:
            yield chain[max(place - 1, 0)]
            return


def _request(delivery: Delivery, source: str, changed: Mapping[str, View]) -> BackfillRequested:
    views = tuple(name for name, view in changed.items() if view.source == source)
    return BackfillRequested(backfill_id=f"{delivery.envelope.id}-{source}", source=source, views=views, window=None)


def _digest(view: View) -> str:
    return hashlib.sha256(canonical(view.model_dump(mode="json", include=_COMPUTED))).hexdigest()[:16]
