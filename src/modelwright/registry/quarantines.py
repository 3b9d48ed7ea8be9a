"""Which data is in quarantine, as the monitor's events say: a gate asks, and monitoring's table is not ours to read.

================  ======================  ==========================  =============================
entity            pk                      sk                          access pattern
================  ======================  ==========================  =============================
open quarantine   ``WS#<ws>#QUARANTINE``  ``OPEN#<source>#<id>``      all that are open
mark of its end   ``WS#<ws>#QUARANTINE``  ``CLOSED#<source>#<id>``    none; a late word of its begin
================  ======================  ==========================  =============================
"""

from collections.abc import Iterable

from modelwright import events
from modelwright.context import Call
from modelwright.events import Delivery
from modelwright.log import Log
from modelwright.registry.store import TABLE
from modelwright.storage import Absent, Anything, Check, Delete, Key, Put, Tables, Write, every


def note(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember that a quarantine began or ended, in whichever order the two are told.

    Single rows that were held back of a file whose others went on are no quarantine that anybody has to end.
    """
    event: events.QualityFailed | events.QuarantineReleased = delivery.event
    key = f"{event.source}#{event.quarantine_id}"
    begun, ended = Key(_pk(call.workspace), f"OPEN#{key}"), Key(_pk(call.workspace), f"CLOSED#{key}")
    writes: list[Write] = []
    if isinstance(event, events.QuarantineReleased):
        writes = [Delete(TABLE, begun, Anything()), Put(TABLE, {**ended._asdict()}, Anything())]
    elif event.scope == "file" and tables.get(TABLE, ended) is None:
        item = {**begun._asdict(), "source": event.source, "upload_key": event.upload_key}
        writes = [Put(TABLE, item, Anything()), Check(TABLE, ended, Absent())]
    log.commit(call, (), writes, delivery=delivery, table=TABLE)


def held(tables: Tables, workspace: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Return what is in quarantine of these sources, as people read it; one read."""
    wanted = set(sources)
    items = every(tables, TABLE, _pk(workspace), prefix="OPEN#")
    return tuple(f"{item['upload_key']} of {item['source']}" for item in items if item["source"] in wanted)


def _pk(workspace: str) -> str:
    return f"WS#{workspace}#QUARANTINE"
