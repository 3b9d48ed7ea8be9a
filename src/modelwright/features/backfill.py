"""Backfills: views of a source computed again from the offline store, when they are new, were changed, or on request.

A backfill is asked for by an event, which somebody's request or a changed project gives; ``refilling`` does it, in
steps. The item below says how far it is; it can be asked for while it runs and afterwards.

============  ========================  ==================  ======================================
entity        pk (table ``features``)   sk                  access pattern
============  ========================  ==================  ======================================
backfill      ``WS#<ws>#BACKFILLS``     ``<backfill id>``   get; query, newest first
open one      ``WS#<ws>#BACKFILLS``     ``~OPEN#<id>``      query by prefix: what is not over yet
============  ========================  ==================  ======================================
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import BackfillRequested, Window
from modelwright.log import Happened, Log, new_id, stream_of
from modelwright.once import Once
from modelwright.project import Project
from modelwright.storage import Absent, Is, Item, Key, Put, Tables, Write

OPEN = "~OPEN#"
_PAGE = 50


class BackfillQuery(BaseModel):
    """What to compute again.

    Attributes:
        source: whose views.
        views: which; empty for all of the source.
        window: only entities that have rows with event times in it; None for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    source: str
    views: tuple[str, ...] = ()
    window: Window | None = None


class Backfill(BaseModel):
    """A backfill and how far it is.

    Attributes:
        phase: what is being done: ``derive``, or a view's name and kind; empty before and after.
        cursor: the last step of it that is done.
        steps: how many are done, of all phases.
        of: how many there were to do when this was last counted.
        rows: how many were read.
        reason: why it failed.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    backfill_id: str
    state: Literal["requested", "running", "completed", "failed"]
    source: str
    views: tuple[str, ...]
    window: Window | None
    requested_at: datetime
    touched_at: datetime
    phase: str = ""
    cursor: str = ""
    steps: int = 0
    of: int = 0
    rows: int = 0
    online_items: int = 0
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more is done about it."""
        return self.state in ("completed", "failed")

    @classmethod
    def started(cls, event: BackfillRequested, now: datetime) -> "Backfill":
        """Return a backfill of which nothing is done yet."""
        return cls(
            backfill_id=event.backfill_id,
            state="requested",
            source=event.source,
            views=event.views,
            window=event.window,
            requested_at=now,
            touched_at=now,
        )

    def writes(self, workspace: str, version: int) -> list[Write]:
        """Return the writes that store it, if nobody else went on with it since version ``version`` was read."""
        key = backfill_key(workspace, self.backfill_id)
        item = {**key._asdict(), "backfill": self.model_dump_json(), "v": version + 1}
        stored: list[Write] = [Put("features", item, Is("v", version) if version else Absent())]
        if not version:
            stored.append(Put("features", open_key(workspace, self.backfill_id)._asdict(), Absent()))
        return stored


def request(call: Call, query: BackfillQuery, *, project: Project, tables: Tables, log: Log) -> dict[str, Any]:
    """Ask for a backfill and return what is known of it; the same request again is the same backfill.

    Raises:
        NotFound: there is no such source, or view of it.
        InvalidInput: the window is none.
    """
    if query.source not in project.sources:
        raise NotFound(f"there is no source {query.source}: there are {', '.join(project.sources) or 'none'}")
    call.authorise("features:push", f"source/{query.source}")
    known = [name for name, view in project.views.items() if view.source == query.source]
    if strange := [name for name in query.views if name not in known]:
        raise NotFound(f"source {query.source} has no view {', '.join(strange)}: it has {', '.join(known) or 'none'}")
    if query.window and query.window.start >= query.window.end:
        raise InvalidInput(f"the window ends at {query.window.end.isoformat()}, not after its start")
    once = Once.of(call, "backfill", query, "features")
    if (made := once.made(tables)) is not None:
        return show(call, made, tables=tables)
    event = BackfillRequested(backfill_id=new_id(call.now), **dict(query))
    backfill = Backfill.started(event, call.now)
    happened = Happened(stream_of(call.workspace, "SOURCE", query.source), event)
    log.commit(call, [happened], [*backfill.writes(call.workspace, 0), *once.mark(event.backfill_id)])
    return backfill.model_dump(mode="json")


def show(call: Call, backfill_id: str, *, tables: Tables) -> dict[str, Any]:
    """Return how far a backfill is; raises ``NotFound``."""
    backfill, _ = find(call.workspace, backfill_id, tables)
    call.authorise("features:read", f"source/{backfill.source}")
    return backfill.model_dump(mode="json")


def listed(call: Call, *, tables: Tables, cursor: str = "") -> dict[str, Any]:
    """Return a page of backfills, the newest first."""
    call.authorise("features:read", "source/*")
    pk, _ = backfill_key(call.workspace, "any")
    page = tables.query("features", pk, start="0", end="Z~", reverse=True, limit=_PAGE, cursor=cursor)
    found = [_read(item).model_dump(mode="json") for item in page.items]
    return {"backfills": found, "cursor": page.cursor}


def find(workspace: str, backfill_id: str, tables: Tables) -> tuple[Backfill, int]:
    """Return a backfill and its version; raises ``NotFound``."""
    item = tables.get("features", backfill_key(workspace, backfill_id))
    if item is None:
        raise NotFound(f"there is no backfill {backfill_id}")
    return _read(item), int(item["v"])


def backfill_key(workspace: str, backfill_id: str) -> Key:
    """Return the key of a backfill's item."""
    return Key(f"WS#{workspace}#BACKFILLS", backfill_id)


def open_key(workspace: str, backfill_id: str) -> Key:
    """Return the key of the mark that a backfill is not over."""
    return Key(f"WS#{workspace}#BACKFILLS", f"{OPEN}{backfill_id}")


def _read(item: Item) -> Backfill:
    return Backfill.model_validate_json(item["backfill"])
