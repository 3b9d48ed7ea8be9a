"""An event whose stream record was lost is published by the sweep."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from e2e.desk import Desk, wait
from modelwright.context import Call
from modelwright.events import GateResult, TransitionRefused
from modelwright.governance.publishing import GRACE
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Key

pytestmark = pytest.mark.e2e


@contextmanager
def deaf_stream(desk: Desk) -> Iterator[None]:
    """Nothing reads the log's stream meanwhile."""
    functions = desk.running.client("lambda")
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def test_an_event_that_the_stream_lost_is_published_by_the_sweep(desk: Desk) -> None:
    wall = datetime.now(UTC)
    written = wall - GRACE - timedelta(seconds=5)
    call = Call("default", "somebody", wall, "sweep-1")
    refused = GateResult(gate="metric_floor", passed=False, text="too low for the sweep")
    event = TransitionRefused(model="swept", version=1, alias="champion", results=(refused,), request_id="r1")
    tables = desk.tables()
    with deaf_stream(desk):
        log = Log(tables, wall=lambda: written)
        (item,) = log.commit(call, [Happened(stream_of("default", "MODEL", "swept"), event)])
        key = Key(item.envelope.stream, f"{item.envelope.sequence:012d}")
        (young,) = Log(tables).commit(call, [Happened(stream_of("default", "MODEL", "young"), event)])
        assert subjects(desk) == set()
        desk.due("sweep", wall)
        wait(lambda: "model/swept" in " ".join(subjects(desk)), "the incident of the swept event")
        stored = tables.get("log", key)
        assert stored is not None
        assert stored["published"]
        left = tables.get("log", Key(young.envelope.stream, f"{young.envelope.sequence:012d}"))
        assert left is not None
        assert not left["published"], "the sweep must leave to the stream what is younger than its grace"
    wait(lambda: tables.get("log", Key(young.envelope.stream, f"{1:012d}"))["published"], "the stream")  # type: ignore[index]
    desk.observer.settle()


def subjects(desk: Desk) -> set[str]:
    found = desk.api().get("/v1/incidents")["incidents"]
    return {incident["subject"] for incident in found if "swept" in incident["subject"]}
