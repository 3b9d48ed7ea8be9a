"""Feast's ``/materialize`` and ``/materialize-incremental``, for its client and for jobs that call them by the clock.

Uploads are served once they were judged, and rows pushed online at once, so that *incremental* materialization has
nothing left to start: it says that, or how many pushes still wait for the schedule that folds them in. A window that
is named is computed again from the offline store, by a backfill of each source; its rows are served meanwhile, as
they were.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import Window
from modelwright.features.backfill import BackfillQuery, request
from modelwright.features.layout import PENDING, source_key
from modelwright.features.rights import visible
from modelwright.log import Log
from modelwright.project import Project
from modelwright.storage import Tables, every


class Materialize(BaseModel):
    """Feast's body of ``/materialize``.

    Attributes:
        start_ts: ISO 8601; the event times that are meant, in UTC where it names no zone.
        end_ts: ISO 8601.
        feature_views: which; all where it is left out.
        disable_event_timestamp: all event times are meant.
        version: of the one view that is named, such as ``v2``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    start_ts: str = ""
    end_ts: str = ""
    feature_views: tuple[str, ...] | None = None
    disable_event_timestamp: bool = False
    version: str | None = None


class MaterializeIncremental(BaseModel):
    """Feast's body of ``/materialize-incremental``."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    end_ts: str
    feature_views: tuple[str, ...] | None = None
    version: str | None = None


def materialize(call: Call, body: Materialize, *, project: Project, tables: Tables, log: Log) -> dict[str, Any]:
    """Ask for a backfill of each source of the views; ``/v1/features/backfills`` says how far they are.

    Raises:
        NotFound: a view that does not exist, or not in that version; the text says what does.
        InvalidInput: the window is none.
    """
    names = _views(call, project, body.feature_views, body.version)
    window = None if body.disable_event_timestamp else _window(body)
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(project.views[name].source, []).append(name)
    queries = [BackfillQuery(source=name, views=tuple(views), window=window) for name, views in wanted.items()]
    asked = [request(_of(call, query.source), query, project=project, tables=tables, log=log) for query in queries]
    return {"status": "accepted", "feature_views": names, "backfills": [one["backfill_id"] for one in asked]}


def materialize_incremental(
    call: Call, body: MaterializeIncremental, *, project: Project, tables: Tables
) -> dict[str, Any]:
    """Say what of the views is served: all that arrived, or what waits for the schedule. Raises as ``materialize``."""
    names = _views(call, project, body.feature_views, body.version)
    _time("end_ts", body.end_ts)
    origins = dict.fromkeys(one for name in names for one in project.origins(project.views[name].source))
    waiting = {source: count for source in origins if (count := _waiting(call, source, tables))}
    told = "rows are served from the moment they arrive"
    if waiting:
        told = (
            "pushes wait to be folded in, which the schedule does: until then those that went only offline, and rows "
            "that are made of others, are not served"
        )
    status = "waiting" if waiting else "materialized"
    return {"status": status, "feature_views": names, "waiting": waiting, "told": told}


def _waiting(call: Call, source: str, tables: Tables) -> int:
    """Return how many pushes of a source are not folded in yet."""
    pk = source_key(call.workspace, source, "").pk
    return sum(1 for _ in every(tables, "features", pk, prefix=PENDING))


def _of(call: Call, source: str) -> Call:
    """Return the call as it asks for one of several sources: the same again is the same backfill of each."""
    return replace(call, request=f"{call.request}/{source}") if call.request else call


def _views(call: Call, project: Project, names: Sequence[str] | None, version: str | None) -> list[str]:
    if names is not None and not names:
        raise InvalidInput("feature_views names none: leave it out for all")
    found = list(project.views if names is None else dict.fromkeys(names))
    for name in found:
        if name not in project.views:
            there = ", ".join(visible(call, project).views) or "none"
            raise NotFound(f"there is no feature view {name}: there are {there}")
        call.authorise("features:push", f"source/{project.views[name].source}")
    if version is not None:
        if len(found) != 1:
            raise InvalidInput(f"a version is of one view, and {len(found)} are named")
        if version != (there := f"v{project.views[found[0]].version}"):
            raise NotFound(f"feature view {found[0]} has no version {version}: it has {there}")
    return found


def _window(body: Materialize) -> Window:
    start, end = _time("start_ts", body.start_ts), _time("end_ts", body.end_ts)
    if start >= end:
        raise InvalidInput(f"start_ts {body.start_ts} must be before end_ts {body.end_ts}")
    return Window(start=start, end=end)


def _time(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name} is no ISO 8601 time: {text!r}") from error
