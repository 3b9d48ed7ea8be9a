"""Labels that come again, before their predictions, for many models, or with nothing that could be a label."""

import copy
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import AlreadyHandled
from modelwright.events import Delivery, PerformanceMeasured, UploadAccepted
from modelwright.monitoring import performance, store
from modelwright.monitoring.performance import records
from modelwright.monitoring.performance.unlabelled import waiting
from modelwright.project import Project
from modelwright.storage import Write
from monitoring.performance.stage import MODEL, START, Rows, Shop, project
from monitoring.year import csv_bytes


def upload(shop: Shop, rows: Rows, labels: Sequence[object], delay: int = 0) -> Delivery:
    told = [
        {"sale": i, "at": t, "known_at": t + timedelta(days=delay), "price": y}
        for i, t, y in zip(rows.ids, rows.times, labels, strict=True)
    ]
    shop.number += 1
    assert shop.desk.land(f"sales/{shop.number}.csv", csv_bytes(told)).startswith("accepted")
    return shop.desk.delivery(shop.desk.events(UploadAccepted, "sales")[-1], "WS#default#SOURCE#sales")


def measure(shop: Shop, delivery: Delivery) -> None:
    desk = shop.desk
    performance.measure(delivery, desk.call(), tables=desk.tables, log=desk.log, blobs=desk.blobs)


def look(shop: Shop, days: int = 0) -> None:
    desk = shop.desk
    call = desk.call(desk.call().now + timedelta(days=days))
    performance.look_again(call, tables=desk.tables, log=desk.log, blobs=desk.blobs)


def measured(shop: Shop, model: str = MODEL) -> list[PerformanceMeasured]:
    return shop.desk.events(PerformanceMeasured, model, "PERFORMANCE")


def waits(shop: Shop) -> int:
    return sum(one.labels for one in records.unjoined(shop.desk.tables, "default", MODEL))


def declared(**changes: Any) -> Project:
    """A project whose labels are dated by when they became known."""
    made = project("classification").model_dump(mode="json")
    made["sources"]["sales"] |= {"event_time": "known_at", **changes}
    return Project.model_validate(made)


def test_a_label_that_comes_again_weeks_later_with_another_value_counts_once() -> None:
    shop = Shop(declared())
    shop.champion()
    rows = shop.rows(0, days=2)
    shop.answer(rows, [0.5] * rows.count)
    measure(shop, upload(shop, rows, [0.0] * rows.count, delay=10))
    measure(shop, upload(shop, rows, [1.0] * rows.count, delay=30))
    assert [(one.joined, len(one.performances)) for one in measured(shop)] == [(rows.count, 1), (0, 0)]
    files = store.labelled_files(shop.desk.tables, "default", MODEL, START)
    fresh = waiting(shop.desk.blobs, ("default", MODEL), 1, START.date(), START + timedelta(days=60), 10, files)
    assert sum(one.rows.num_rows for one in fresh) == 0


def test_labels_before_their_predictions_join_them_when_these_are_there() -> None:
    shop = Shop(project("classification"))
    shop.champion()
    rows = shop.rows(0)
    measure(shop, upload(shop, rows, [float(n % 2) for n in range(rows.count)]))
    assert (measured(shop)[-1].joined, waits(shop)) == (0, rows.count)
    look(shop)
    assert len(measured(shop)) == 1
    shop.answer(part(rows, 0, 400), [0.5] * 400)
    look(shop, days=1)
    assert waits(shop) == 300
    look(shop, days=1)
    shop.answer(part(rows, 400, 700), [0.5] * 300)
    look(shop, days=2)
    assert [(one.labels, one.joined, one.again) for one in measured(shop)[1:]] == [(400, 400, True), (300, 300, True)]
    assert waits(shop) == 0
    look(shop, days=3)
    assert len(measured(shop)) == 3


def test_labels_do_not_wait_for_ever_nor_for_what_is_gone() -> None:
    shop = Shop(project("classification"))
    rows = shop.rows(0)
    first = upload(shop, rows, [1.0] * rows.count)
    measure(shop, first)
    look(shop, days=29)
    assert waits(shop) == rows.count
    look(shop, days=31)
    assert waits(shop) == 0
    later = shop.rows(7)
    second = upload(shop, later, [1.0] * later.count)
    measure(shop, second)
    shop.desk.blobs.delete("lake", second.event.key)
    shop.answer(later, [0.5] * later.count)
    look(shop)
    assert (waits(shop), len(measured(shop))) == (0, 2)


def part(rows: Rows, start: int, end: int) -> Rows:
    some = copy.copy(rows)
    some.count = end - start
    for name in ("ids", "times", "shops", "size", "kind"):
        setattr(some, name, getattr(rows, name)[start:end])
    return some


# --- many models -------------------------------------------------------------------------


class Counting(MemoryTables):
    """Tables that know how much was written at once, and refuse what one model writes."""

    def __init__(self) -> None:
        super().__init__()
        self.most, self.refused = 0, ""

    def write(self, writes: Sequence[Write]) -> None:
        self.most = max(self.most, len(writes))
        if self.refused and any(self.refused in str(write) for write in writes):
            raise ValueError(f"nothing of {self.refused} is taken")
        super().write(writes)


def many(count: int) -> tuple[Shop, Counting]:
    made = project("classification").model_dump(mode="json")
    one = made["models"].pop(MODEL)
    made["models"] = {f"m{n}": one for n in range(count)}
    shop, tables = Shop(Project.model_validate(made)), Counting()
    shop.desk.tables = tables
    shop.desk.log = type(shop.desk.log)(tables)
    shop.desk.apply(shop.project)
    return shop, tables


def test_however_many_models_one_source_labels_each_is_measured() -> None:
    shop, tables = many(30)
    rows = shop.rows(0, count=20)
    delivery = upload(shop, rows, [1.0] * rows.count)
    tables.most = 0
    measure(shop, delivery)
    assert all(len(measured(shop, f"m{n}")) == 1 for n in range(30))
    assert tables.most < 10
    with pytest.raises(AlreadyHandled):
        measure(shop, delivery)


def test_a_model_that_cannot_be_measured_keeps_no_other_from_it_and_none_is_measured_twice() -> None:
    shop, tables = many(3)
    rows = shop.rows(0, count=20)
    delivery = upload(shop, rows, [1.0] * rows.count)
    tables.refused = "PERFORMANCE#m1"
    with pytest.raises(ValueError, match="nothing of") as failed:
        measure(shop, delivery)
    assert failed.value.__notes__ == ["of model m1"]
    tables.refused = ""
    measure(shop, delivery)
    assert [len(measured(shop, f"m{n}")) for n in range(3)] == [1, 1, 1]


# --- what is no label --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "said"),
    [({"column": "sale"}, "label column sale holds string"), ({"column": "no"}, "lack the column no")],
)
def test_a_column_without_labels_is_a_reason_and_no_error(label: dict[str, str], said: str) -> None:
    made = project("classification")
    model = made.models[MODEL]
    model = model.model_copy(update={"label": model.label.model_copy(update=label)})
    shop = Shop(made.model_copy(update={"models": {MODEL: model}}))
    rows = shop.rows(0, count=20)
    measure(shop, upload(shop, rows, [1.0] * rows.count))
    (event,) = measured(shop)
    assert said in event.reason
    assert (event.labels, event.joined, event.labelled_key) == (0, 0, "")


def test_streams_that_nobody_installed_are_said_and_the_labels_are_measured() -> None:
    shop = Shop(project("classification", monitoring={"streams": ["nonsense"]}))
    shop.champion()
    rows = shop.rows(0, count=100)
    shop.answer(rows, [0.5] * rows.count)
    measure(shop, upload(shop, rows, [1.0] * rows.count))
    assert measured(shop)[-1].joined == 100
    assert "nonsense" in records_text(shop)


def records_text(shop: Shop) -> str:
    return store.measured_windows(shop.desk.tables, "default", MODEL, 1)[0].text
