"""Every refusal of a known caller, in the log with its actor.

``AccessRefused`` goes into the stream ``WS#<ws>#ACCESS#refused-<actor>`` when a request ends in ``Forbidden`` (not when
a use case asks and goes on without). A client in a loop must not turn refusals into a flood of writes and events: the
same refusal within a minute is one event, and in a minute an actor is refused ``MOST`` times at most, the last of which
reads ``*`` on ``*`` and stands for all the others. That takes one read of the stream's end, so that what a refused
request costs is bounded. (Two at the very same time may both be written.)

Who could not be authenticated has no actor: that is a line of the function's own log, not an event.
"""

from datetime import datetime, timedelta

from modelwright import events
from modelwright.context import Call
from modelwright.errors import Forbidden
from modelwright.log import Happened, Log, LogItem, stream_of, time_of
from modelwright.storage import Tables

MOST = 20
WITHIN = timedelta(minutes=1)
_LONGEST = 300


def record(call: Call, refusal: Forbidden, *, asked: str, tables: Tables, log: Log, wall: datetime) -> str:
    """Put a refusal into the log, and return ``recorded``, or why it needed no event of its own.

    Args:
        call: whose request was refused.
        refusal: what was said.
        asked: what was requested, for a refusal that no rule about actions caused.
        tables: where the log is.
        log: the log.
        wall: the time on the wall.
    """
    stream = stream_of(call.workspace, "ACCESS", f"refused-{call.actor}")
    action, resource = refusal.action or "request", refusal.resource or asked
    event = events.AccessRefused(action=action[:_LONGEST], resource=resource[:_LONGEST])
    newest = [LogItem.read(item) for item in tables.query("log", stream, reverse=True, limit=MOST).items]
    lately = [each.envelope.data for each in newest if time_of(each.envelope.id) > wall - WITHIN]
    if event.model_dump(mode="json") in lately:
        return "recorded within the minute"
    if len(lately) >= MOST:
        return "too many within the minute"
    if len(lately) == MOST - 1:
        event = events.AccessRefused(action="*", resource="*")
    log.commit(call, [Happened(stream, event, fresh=not newest)])
    return "recorded"
