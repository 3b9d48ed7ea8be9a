"""Sixteen writers over a real wire, with shuffled, repeated, late and corrected rows: what is served is exact."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.cloud import Cloud, cloud

from features.offline_cases import _version
from features.window_cases import FEATURES, PROJECT, START, Till, bits, sale
from modelwright.context import Call
from modelwright.errors import ConditionFailed, Unavailable
from modelwright.features import materialization, online
from modelwright.features import push as pushes
from modelwright.features.layout import source_key
from modelwright.log import new_id
from modelwright.wiring import Wiring

pytestmark = pytest.mark.e2e
WRITERS = 16
PUSHES = 3
CUSTOMERS = [f"c{n}" for n in range(8)]
NOW = START + timedelta(hours=9)
_PATIENCE = 30


@pytest.fixture(scope="module")
def emulator() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


def batches(writer: int) -> list[list[dict[str, Any]]]:
    """Return what a writer pushes: rows that others push too, in any order, some corrected, some twice."""
    chance = random.Random(writer)
    found = []
    for _ in range(PUSHES):
        numbers = chance.sample(range(60), 5)
        lag = chance.choice([0, 0, 30, 200, 400])
        rows = [
            sale(f"s{n}", 6 * n, lag=lag, customer=CUSTOMERS[n % 8], amount=(lag + n) / 8, shop=f"shop {n % 5}")
            for n in numbers
        ]
        found += [rows] * chance.choice([1, 1, 2])
    chance.shuffle(found)
    return found


def call() -> Call:
    return Call("default", "tester", NOW, "c-1")


def push(wiring: Wiring, rows: list[dict[str, Any]]) -> str:
    """Push as a client does that sends again what was answered 503."""
    given = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
    for _ in range(_PATIENCE):
        try:
            body = pushes.Push(source="sales", rows=given)
            stores: dict[str, Any] = {"project": PROJECT, "tables": wiring.tables, "blobs": wiring.blobs}
            return pushes.push(call(), body, identity=new_id(), **stores).digest
        except Unavailable:
            continue
    raise AssertionError("the writer was never let in")


def fold(wiring: Wiring) -> None:
    stores: dict[str, Any] = {"tables": wiring.tables, "log": wiring.log, "blobs": wiring.blobs, "cache": wiring.cache}
    for _ in range(_PATIENCE):
        try:
            materialization.fold_pushed(call(), project=PROJECT, **stores)
        except (ConditionFailed, Unavailable):
            continue
        return
    raise AssertionError("the fold was never let in")


def served(wiring: Wiring, as_of: datetime) -> list[dict[str, Any]]:
    wanted = {name: view.feature_names() for name, view in PROJECT.views.items()}
    rows = [{"customer": customer} for customer in CUSTOMERS]
    found = online.lookup(PROJECT, wanted, rows, as_of=as_of, tables=wiring.tables, workspace="default")
    columns = {
        f"{v}:{f}": view.of_rows(column.values) for v, view in found.items() for f, column in view.features.items()
    }
    return [bits({feature: columns[feature][n] for feature in FEATURES}) for n in range(len(rows))]


def test_sixteen_writers_leave_what_every_version_says(emulator: Cloud) -> None:
    def work(writer: int) -> list[tuple[str, list[dict[str, Any]]]]:
        wiring, sent = emulator.wiring(), []
        for number, rows in enumerate(batches(writer)):
            sent.append((push(wiring, rows), rows))
            if number == 1 and writer % 4 == 0:
                fold(wiring)
        return sent

    with ThreadPoolExecutor(WRITERS) as pool:
        sent = [one for found in pool.map(work, range(WRITERS)) for one in found]
    wiring, till = emulator.wiring(), Till()
    for digest, rows in sent:
        ledger = wiring.tables.get("features", source_key("default", "sales", f"PUSHED#{digest}"))
        assert ledger is not None
        for row in rows:
            version = _version(PROJECT.sources["sales"], row, ledger["arrival"], NOW)
            till.seen.versions["sales"][version.key, version.available, version.arrival] = version
    times = [NOW, NOW + timedelta(minutes=59), NOW + timedelta(hours=4)]
    for as_of in times:
        assert served(wiring, as_of) == till.expected(CUSTOMERS, as_of)
    fold(wiring)
    for as_of in times:
        assert served(wiring, as_of) == till.expected(CUSTOMERS, as_of)
    assert any(value != till.expected(["nobody"], NOW)[0] for value in till.expected(CUSTOMERS, NOW))
