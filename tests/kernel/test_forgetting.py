"""Marks may be forgotten when nothing can come again; what the log holds never is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.errors import AlreadyHandled, ConditionFailed
from modelwright.events import Delivery, RegisteredModelCreated
from modelwright.governance.publishing import _WEEK
from modelwright.local import translation
from modelwright.log import HANDLED_FOR, Happened, Log, stream_of
from modelwright.once import REMEMBERED_FOR, Once
from modelwright.storage import Key

WALL = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
VIRTUAL = datetime(2013, 1, 1, tzinfo=UTC)
CALL = Call("default", "ann", VIRTUAL, "c", request="key k")
TEMPLATE = translation.parse((Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8"))
TABLES = {name: each["Properties"] for name, each in TEMPLATE["Resources"].items() if each["Type"].endswith("::Table")}


class Message(BaseModel):
    name: str = "flights"


def delivery() -> Delivery:
    event = RegisteredModelCreated(model="flights")
    envelope = {
        "id": "event-1", "type": event.detail_type(), "schema_version": 1, "workspace": "default", "stream": "s",
        "sequence": 1, "at": VIRTUAL, "actor": "ann", "correlation_id": "c", "data": event.model_dump(mode="json"),
    }  # fmt: skip
    return Delivery.read("registry", envelope)


def test_a_handled_delivery_may_be_forgotten_when_it_cannot_come_again() -> None:
    tables = MemoryTables()
    Log(tables, wall=lambda: WALL).commit(CALL, (), delivery=delivery(), table="registry")
    mark = tables.get("registry", Key("WS#default#HANDLED#registry", "event-1"))
    assert mark is not None
    assert mark["expires"] == int((WALL + HANDLED_FOR).timestamp())


def test_it_is_remembered_for_longer_than_a_rule_tries_dead_letters_wait_and_the_sweeper_looks_back() -> None:
    waiting = [
        each["Properties"]["MessageRetentionPeriod"]
        for each in TEMPLATE["Resources"].values()
        if each["Type"] == "AWS::SQS::Queue"
    ]
    assert timedelta(days=1) + timedelta(seconds=max(waiting)) + _WEEK < HANDLED_FOR


def test_a_mark_counts_until_it_is_deleted_however_old_it_is() -> None:
    tables = MemoryTables()
    Log(tables, wall=lambda: WALL).commit(CALL, (), delivery=delivery(), table="registry")
    later = Log(tables, wall=lambda: WALL + 2 * HANDLED_FOR)
    assert later.handled("registry", delivery())
    with pytest.raises(AlreadyHandled):
        later.commit(CALL, (), delivery=delivery(), table="registry")


def test_a_requests_name_may_be_forgotten_after_a_month_of_the_wall_clock() -> None:
    tables = MemoryTables()
    once = Once.of(CALL, "kind", Message(), "registry")
    tables.write(once.mark("id-1", wall=WALL))
    mark = tables.get("registry", once.key)
    assert mark is not None
    assert mark["expires"] == int((WALL + REMEMBERED_FOR).timestamp())
    assert once.made(tables) == "id-1"
    with pytest.raises(ConditionFailed):
        tables.write(once.mark("id-2", wall=WALL + 2 * REMEMBERED_FOR))
    (unsaid,) = Once.of(CALL, "other", Message(), "registry").mark("id-1")
    assert unsaid.item["expires"] > datetime.now(UTC).timestamp(), "not by the call's virtual time"  # type: ignore[union-attr]


def test_every_table_with_marks_forgets_by_the_marks_attribute_and_the_log_forgets_nothing() -> None:
    forgets = {name for name, table in TABLES.items() if "TimeToLiveSpecification" in table}
    assert set(TABLES) - forgets == {"LogTable", "GovernanceTable"}
    assert {str(TABLES[name]["TimeToLiveSpecification"]) for name in forgets} == {
        str({"AttributeName": "expires", "Enabled": True})
    }
    tables = MemoryTables()
    stream = stream_of("default", "MODEL", "flights")
    Log(tables, wall=lambda: WALL).commit(CALL, [Happened(stream, RegisteredModelCreated(model="flights"))])
    (item,) = tables.query("log", stream).items
    assert "expires" not in item


def test_the_audit_is_kept_for_six_months_at_least() -> None:
    """EU AI Act, articles 19 and 26: logs are kept for at least six months."""
    retention = TEMPLATE["Parameters"]["AuditRetentionDays"]
    assert retention["MinValue"] >= 184
    assert retention["Default"] >= retention["MinValue"]
    lock = TEMPLATE["Resources"]["AuditBucket"]["Properties"]["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"]["Days"] == {"Ref": "AuditRetentionDays"}
