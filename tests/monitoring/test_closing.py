"""The schedule closes the windows of every source, whatever is wrong with another."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import ConditionFailed, PluginError
from modelwright.monitoring import store
from modelwright.monitoring.detectors import Detector
from modelwright.monitoring.reading import parquet_bytes
from modelwright.monitoring.watching import close_windows
from modelwright.project import Column, DriftPolicy, Project, Source
from monitoring.desk import DETECTORS, Desk

START = datetime(2013, 1, 1, tzinfo=UTC)
COLUMNS = {"id": Column(type="string"), "at": Column(type="timestamp"), "x": Column(type="number")}


def source(name: str, *detectors: str) -> Source:
    policy = DriftPolicy(every="1h")
    said = {"key": ("id",), "event_time": "at", "checks": (), "drift": policy, "columns": COLUMNS}
    return Source.model_validate({"prefix": f"{name}/", "detectors": detectors or ("ks",), **said})


def desk_of(*names: str) -> Desk:
    desk = Desk(Project(name="tiny", sources={name: source(name) for name in names}))
    rng = np.random.default_rng(5)
    for hour in range(6):
        times = [START + timedelta(hours=hour, seconds=20 * n) for n in range(150)]
        for name in names:
            ids = [f"{hour}-{n}" for n in range(150)]
            table = pa.table({"id": ids, "at": pa.array(times, pa.timestamp("us", "UTC")), "x": rng.normal(size=150)})
            desk.land(f"{name}/{hour}.parquet", parquet_bytes(table))
    return desk


def judged(desk: Desk) -> dict[str, int]:
    return {one: len(store.judged_windows(desk.tables, "default", one, 99)) for one in "abc"}


def close(desk: Desk) -> None:
    def detector(name: str) -> Detector:
        if name == "gone":
            raise PluginError("no plugin gone of detectors")
        return DETECTORS[name]

    stores: Any = {"tables": desk.tables, "log": desk.log, "blobs": desk.blobs, "cache": {}}
    close_windows(desk.call(START + timedelta(hours=6)), detector=detector, **stores)


def test_one_source_that_cannot_be_judged_keeps_no_other_from_its_turn() -> None:
    desk = desk_of("a", "b", "c")
    assert judged(desk) == {"a": 2, "b": 2, "c": 2}
    desk.apply(Project(name="tiny", sources={"a": source("a", "gone"), "b": source("b"), "c": source("c", "gone")}))
    with pytest.raises(PluginError, match="gone") as raised:
        close(desk)
    assert judged(desk) == {"a": 2, "b": 3, "c": 2}
    faults = (raised.value, raised.value.__context__)
    assert [one.__notes__ for one in faults if one] == [
        [f"when the windows of source {name} were closed"] for name in "ca"
    ]
    desk.apply(Project(name="tiny", sources={"a": source("a"), "b": source("b"), "c": source("c", "gone")}))
    with pytest.raises(PluginError, match="gone"):
        close(desk)
    assert judged(desk) == {"a": 3, "b": 3, "c": 2}


class Overtaken(MemoryTables):
    """Tables on which somebody else votes first, so many times."""

    times = 0

    def write(self, writes: Any) -> None:
        if self.times and any(getattr(one, "item", {}).get("sk") == "DRIFT" for one in writes):
            self.times -= 1
            raise ConditionFailed("the votes changed", failed=(0,))
        super().write(writes)


def test_who_lost_a_race_judges_again_and_the_next_delivery_mends_the_rest() -> None:
    desk = desk_of("a", "b", "c")
    tables = Overtaken()
    vars(tables).update(vars(desk.tables))
    desk.tables = desk.log._tables = tables
    tables.times = 2
    close(desk)
    assert judged(desk) == {"a": 3, "b": 3, "c": 3}
    desk = desk_of("a", "b", "c")
    tables = Overtaken()
    vars(tables).update(vars(desk.tables))
    desk.tables = desk.log._tables = tables
    tables.times = 3
    with pytest.raises(ConditionFailed):
        close(desk)
    assert judged(desk) == {"a": 2, "b": 3, "c": 3}
    close(desk)
    assert judged(desk) == {"a": 3, "b": 3, "c": 3}
