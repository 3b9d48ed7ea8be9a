"""The offline store holds one object per week, and forgets those that were replaced when nobody reads them any more."""

from datetime import timedelta

from features.window_cases import START, Till, sale
from modelwright.context import Call
from modelwright.features.compaction import remove_replaced
from modelwright.features.history import History, canonical, decoded, fold
from modelwright.features.layout import arrival, micros

DAY = timedelta(days=1)


def removed(till: Till, day: float) -> int:
    call = Call("default", "tester", START + day * DAY, "c")
    stack = till.stack
    return remove_replaced(call, project=till.project, tables=stack.tables, blobs=stack.blobs)["sales"]


def objects(till: Till) -> set[str]:
    return {listed.key for listed in till.stack.blobs.list("lake", "offline/default/sales/")}


def test_many_small_files_become_one_object_per_week_and_the_others_go() -> None:
    till = Till()
    for n in range(12):
        till.upload([sale(f"s{n}", n)], START + timedelta(minutes=20 + n))
    before = objects(till)
    assert removed(till, 1) == 0
    assert removed(till, 1.5) == 0
    assert objects(till) == before
    assert removed(till, 2.1) == len(before) - len(objects(till))
    stack = till.stack
    history = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    (partition,) = history.manifest("sales").partitions
    assert {path.rpartition("/")[2].partition(".")[0] for path in objects(till)} == {partition.digest}
    (rows,) = history.rows(till.project.sources["sales"], "sales", [partition])
    assert rows.num_rows == 12


def test_what_came_back_into_the_manifest_stays() -> None:
    till = Till()
    till.upload([sale("a", 0)], START + timedelta(minutes=20))
    stack = till.stack
    history = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    first = history.manifest("sales")
    till.upload([sale("b", 1)], START + timedelta(minutes=21))
    second = history.manifest("sales")
    assert removed(till, 1) == 0
    stack.tables.write([history.replacement("sales", second, first.partitions)])
    assert removed(till, 2.1) == 0
    assert removed(till, 3.2) > 0
    assert history.rows(till.project.sources["sales"], "sales", first.partitions)[0].num_rows == 1


def test_what_an_attempt_puts_again_stays_however_long_ago_it_was_put_first() -> None:
    till = Till()
    stack, now = till.stack, START + timedelta(minutes=20)
    delivery, declared = stack.delivery("sales", [sale("a", 0)], now), till.project.sources["sales"]
    history = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    came, file = arrival(now, delivery.envelope.id), decoded(stack.blobs.get("lake", delivery.event.key).body)
    rows = canonical(declared, file, now_us=micros(now), arrival=came)
    manifest = history.manifest("sales")
    fold(history, "sales", declared, manifest, rows)  # and died before it was committed
    assert removed(till, 1) == 0
    again = fold(history, "sales", declared, manifest, rows)
    assert removed(till, 3) == 0, "it was put again"
    stack.tables.write([history.replacement("sales", manifest, again.partitions)])
    assert removed(till, 6) == 0
    fresh = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    (found,) = fresh.rows(declared, "sales", fresh.manifest("sales").partitions)
    assert found.num_rows == 1


def test_what_no_attempt_puts_again_goes() -> None:
    till = Till()
    till.upload([sale("a", 0)], START + timedelta(minutes=20))
    till.upload([sale("b", 0)], START + timedelta(minutes=21))
    assert (removed(till, 1), removed(till, 3), removed(till, 6)) == (0, 3, 0)


def test_a_reader_that_read_the_manifest_before_it_was_replaced_still_reads() -> None:
    till = Till()
    till.upload([sale("a", 0)], START + timedelta(minutes=20))
    stack = till.stack
    history = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    seen = history.manifest("sales").partitions
    till.upload([sale("b", 1)], START + timedelta(hours=23))
    removed(till, 1)
    removed(till, 1.9)
    assert history.rows(till.project.sources["sales"], "sales", seen)[0].num_rows == 1
