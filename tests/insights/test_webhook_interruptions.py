"""Killed between any two calls, notify tells each webhook at least once, and leaves nothing half done."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from support.mlflow_desk import API

from insights.hooks import DOWN, NOON, URL, HookDesk
from modelwright.adapters.memory import MemoryOutbound, MemoryTables
from modelwright.insights.webhook_requests import Reply
from modelwright.insights.webhook_store import DUE
from modelwright.storage import Item, Key, Page, TableName, Write

OTHER = "https://other.example.com/"
AGAIN = NOON + timedelta(days=2)


class Killed(BaseException):
    """The process ends here."""


class Bomb:
    """Counts calls, and ends the process at one of them: before it took effect, or after."""

    def __init__(self) -> None:
        self.left = -1
        self.after = False

    def __call__(self, call: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        answer = call()
        if self.left == 0:
            raise Killed
        return answer


class Mortal(MemoryTables):
    """``MemoryTables`` under a bomb."""

    def __init__(self, bomb: Bomb) -> None:
        super().__init__()
        self.bomb = bomb

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        found: Item | None = self.bomb(lambda: MemoryTables.get(self, table, key))
        return found

    def query(self, table: TableName, pk: str, **options: Any) -> Page:
        """See ``Tables``."""
        page: Page = self.bomb(lambda: MemoryTables.query(self, table, pk, **options))
        return page

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        self.bomb(lambda: MemoryTables.write(self, writes))


class MortalOutbound(MemoryOutbound):
    """``MemoryOutbound`` under a bomb; who is killed after sending has sent."""

    def __init__(self, bomb: Bomb) -> None:
        super().__init__()
        self.bomb = bomb

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See ``Outbound``."""
        reply: Reply = self.bomb(lambda: MemoryOutbound.post(self, url, body, headers))
        return reply


def killed(act: Callable[[], object], bomb: Bomb, at: int, *, after: bool) -> bool:
    """Do something, killed at the call of this number; say whether it got so far."""
    bomb.left, bomb.after = at, after
    try:
        act()
    except Killed:
        return True
    finally:
        bomb.left = -1
    return False


def mortal() -> tuple[HookDesk, Bomb]:
    bomb = Bomb()
    desk = HookDesk(Mortal(bomb))
    desk.outbound = desk.wiring.cache["outbound"] = MortalOutbound(bomb)
    return desk, bomb


def consistent(desk: HookDesk) -> bool:
    """Say whether what waits is due once, and nothing else is due."""
    items = desk.tables._items["insights"]
    due = sorted(key.sk for key in items if key.pk == DUE)
    waiting = []
    for key, item in items.items():
        if "#WEBHOOK#" in key.pk:
            document = json.loads(item["doc"])
            if document["status"] == "pending":
                waiting.append(f"{document['due']}#default#{document['webhook_id']}-{key.sk}")
    return due == sorted(waiting)


def ids_sent_to(desk: HookDesk, url: str) -> list[str]:
    return [headers["X-MLflow-Delivery-Id"] for to, _, headers in desk.outbound.sent if to == url]


def runs(act: Callable[[HookDesk, Bomb, int, bool], bool]) -> int:
    """Kill at every call in turn, before and after it; return how many there were."""
    for after in (False, True):
        number = 1
        while True:
            desk, bomb = mortal()
            if not act(desk, bomb, number, after):
                break
            number += 1
    return number


def test_whoever_is_killed_while_an_event_is_told_loses_no_delivery() -> None:
    def act(desk: HookDesk, bomb: Bomb, number: int, after: bool) -> bool:
        desk.outbound.replies[OTHER] = DOWN
        hooks = [desk.hook("registered_model.created", url=url) for url in (URL, OTHER)]
        desk.registry(
            "POST", f"{API}/registered-models/create", {"name": "churn"}, x_modelwright_as_of=NOON.isoformat()
        )
        died = killed(desk.pump, bomb, number, after=after)
        assert consistent(desk), number
        desk.pump(again=True)
        assert consistent(desk), number
        desk.outbound.replies.clear()
        desk.sweeps(NOON, 2)
        assert consistent(desk), number
        for hook, url in zip(hooks, (URL, OTHER), strict=True):
            (delivery,) = desk.deliveries(hook)
            assert delivery["status"] == "delivered", (number, delivery)
            assert set(ids_sent_to(desk, url)) == {delivery["delivery_id"]}
        return died

    assert runs(act) > 8


@pytest.mark.parametrize("recovers", [True, False])
def test_whoever_is_killed_while_a_sweep_goes_on_loses_no_delivery(recovers: bool) -> None:
    def act(desk: HookDesk, bomb: Bomb, number: int, after: bool) -> bool:
        desk.outbound.replies[URL] = DOWN
        hook = desk.hook("registered_model.created")
        for name in ("a", "b"):
            desk.registry(
                "POST", f"{API}/registered-models/create", {"name": name}, x_modelwright_as_of=NOON.isoformat()
            )
        desk.pump()
        if recovers:
            desk.outbound.replies.clear()
        died = killed(lambda: desk.sweep(NOON + timedelta(minutes=15)), bomb, number, after=after)
        assert consistent(desk), number
        desk.sweeps(NOON + timedelta(minutes=15), 48)
        assert consistent(desk), number
        assert {each["status"] for each in desk.deliveries(hook)} == {"delivered" if recovers else "dead"}
        failures = [i.envelope.data["delivery_id"] for i in desk.log() if i.envelope.type == "WebhookFailed"]
        assert len(failures) == len(set(failures)) == (0 if recovers else 2)
        return died

    assert runs(act) > 8


def test_whoever_is_killed_at_the_last_attempt_gives_up_once() -> None:
    def act(desk: HookDesk, bomb: Bomb, number: int, after: bool) -> bool:
        desk.outbound.replies[URL] = DOWN
        hook = desk.hook("registered_model.created")
        desk.registry("POST", f"{API}/registered-models/create", {"name": "a"}, x_modelwright_as_of=NOON.isoformat())
        desk.pump()
        desk.sweeps(NOON, 21)
        last = NOON + timedelta(hours=24)
        died = killed(lambda: desk.sweep(last), bomb, number, after=after)
        assert consistent(desk), number
        desk.sweeps(last, 2)
        (delivery,) = desk.deliveries(hook)
        assert delivery["status"] == "dead", (number, delivery)
        assert [i.envelope.type for i in desk.log()].count("WebhookFailed") == 1
        return died

    assert runs(act) > 5


def test_whoever_is_killed_while_sending_again_loses_nothing() -> None:
    def act(desk: HookDesk, bomb: Bomb, number: int, after: bool) -> bool:
        hook = desk.hook("registered_model.created")
        desk.registry("POST", f"{API}/registered-models/create", {"name": "a"}, x_modelwright_as_of=NOON.isoformat())
        desk.pump()
        (delivery,) = desk.deliveries(hook)
        path = f"/v1/webhooks/{hook}/deliveries/{delivery['delivery_id']}/redeliver"
        asked: Callable[[], object] = lambda: desk.hooks("POST", path, {}, x_modelwright_as_of=AGAIN.isoformat())  # noqa: E731
        died = killed(asked, bomb, number, after=after)
        assert consistent(desk), number
        desk.sweeps(AGAIN, 1)
        (delivery,) = desk.deliveries(hook)
        assert delivery["status"] == "delivered"
        committed = [i.envelope.data["change"] for i in desk.log() if i.envelope.type == "WebhookChanged"]
        if "redelivered" in committed:
            assert len(ids_sent_to(desk, URL)) >= 2
        return died

    assert runs(act) > 4
