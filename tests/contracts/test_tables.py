"""What every ``Tables`` promises."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelwright.errors import ConditionFailed, InvalidInput
from modelwright.storage import (
    Absent,
    Anything,
    Check,
    Condition,
    Delete,
    Exists,
    Is,
    Item,
    Key,
    Put,
    Raised,
    Tables,
    Update,
    Write,
    every,
)

PARTITIONS = count()


def put(pk: str, sk: str, *, on: Condition | None = None, **attributes: Any) -> Put:
    return Put("log", {"pk": pk, "sk": sk, **attributes}, on or Absent())


def filled(tables: Tables, pk: str, names: Sequence[str]) -> None:
    tables.write_many("log", [{"pk": pk, "sk": name, "n": n} for n, name in enumerate(names)])


def sort_keys(items: Sequence[Item]) -> list[str]:
    return [item["sk"] for item in items]


# --- items -------------------------------------------------------------------------------


def test_an_item_that_was_put_is_got(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", v=1)])
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "v": 1}


def test_an_item_that_is_not_there_is_none(tables: Tables, pk: str) -> None:
    assert tables.get("log", Key(pk, "a")) is None


def test_a_put_replaces_the_whole_item(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", v=1, old="x")])
    tables.write([put(pk, "a", on=Is("v", 1), v=2)])
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "v": 2}


def test_tables_do_not_share_items(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a")])
    assert tables.get("registry", Key(pk, "a")) is None


def test_what_is_changed_after_a_read_or_write_is_not_what_is_stored(tables: Tables, pk: str) -> None:
    item: dict[str, Any] = {"pk": pk, "sk": "a", "list": [1]}
    tables.write([Put("log", item, Absent())])
    item["list"].append(2)
    got: Any = tables.get("log", Key(pk, "a"))
    got["list"].append(3)
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "list": [1]}


def test_an_update_sets_some_attributes_and_leaves_the_others(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", published="", hash="h", kept=[1, {"x": True}])])
    tables.write([Update("log", Key(pk, "a"), {"published": "now", "new": 7}, Is("hash", "h"))])
    expected = {"pk": pk, "sk": "a", "published": "now", "hash": "h", "new": 7, "kept": [1, {"x": True}]}
    assert tables.get("log", Key(pk, "a")) == expected


def test_an_update_may_set_the_attribute_that_its_condition_is_about(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", v=1)])
    tables.write([Update("log", Key(pk, "a"), {"v": 2}, Is("v", 1))])
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "v": 2}


def test_a_deleted_item_is_gone(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a")])
    tables.write([Delete("log", Key(pk, "a"))])
    assert tables.get("log", Key(pk, "a")) is None
    assert tables.query("log", pk).items == ()


values = st.recursive(
    st.text() | st.integers(-(10**37), 10**37) | st.booleans() | st.none() | st.binary(min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)
names = st.text("abcdefgh#_ ", min_size=1).filter(lambda name: name not in ("pk", "sk"))


@given(attributes=st.dictionaries(names, values, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_come_back_as_they_were_put(tables: Tables, attributes: Mapping[str, Any]) -> None:
    key = Key(f"WS#default#values#{next(PARTITIONS)}", "a")
    item = {**key._asdict(), **attributes}
    tables.write([Put("log", item, Absent())])
    got = tables.get("log", key)
    assert got == item
    assert typed(got) == typed(item)


def typed(value: Any) -> Any:
    """The value with the types of its leaves, because True == 1."""
    if isinstance(value, Mapping):
        return {name: typed(part) for name, part in value.items()}
    return [typed(part) for part in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize("wrong", [0.5, [0.5], {"x": [{"y": 0.5}]}])
def test_floats_are_refused(tables: Tables, pk: str, wrong: Any) -> None:
    with pytest.raises(TypeError):
        tables.write([put(pk, "a", wrong=wrong)])
    with pytest.raises(TypeError):
        tables.write_many("log", [{"pk": pk, "sk": "a", "wrong": wrong}])
    tables.write([put(pk, "a")])
    with pytest.raises(TypeError):
        tables.write([Update("log", Key(pk, "a"), {"wrong": wrong})])


@pytest.mark.parametrize("key", [Key("", "a"), Key("p", ""), Key("p" * 2049, "a"), Key("p", "s" * 1025)])
def test_what_is_no_key_is_refused(tables: Tables, key: Key) -> None:
    for use in (
        lambda: tables.get("log", key),
        lambda: tables.batch_get("log", [key]),
        lambda: tables.write([Put("log", {"pk": key.pk, "sk": key.sk}, Absent())]),
        lambda: tables.write([Delete("log", key, Anything())]),
    ):
        with pytest.raises(InvalidInput, match="is no key"):
            use()


@pytest.mark.parametrize("pk", ["", "p" * 2049])
def test_what_is_no_partition_is_refused(tables: Tables, pk: str) -> None:
    with pytest.raises(InvalidInput, match="is no key"):
        tables.query("log", pk)


# --- conditions --------------------------------------------------------------------------

PRESENT: tuple[tuple[Condition, bool], ...] = (
    (Absent(), False),
    (Exists(), True),
    (Anything(), True),
    (Is("v", 1), True),
    (Is("v", 2), False),
    (Is("v", "1"), False),
    (Is("name", "x"), True),
    (Is("nowhere", "x"), False),
)
MISSING: tuple[tuple[Condition, bool], ...] = (
    (Absent(), True),
    (Exists(), False),
    (Anything(), True),
    (Is("v", 1), False),
)


@pytest.mark.parametrize(
    ("present", "condition", "holds"),
    [(True, *case) for case in PRESENT] + [(False, *case) for case in MISSING],
    ids=str,
)
@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a transaction"])
def test_every_kind_of_write_keeps_to_its_condition(
    tables: Tables, pk: str, *, present: bool, condition: Condition, holds: bool, together: bool
) -> None:
    kinds: tuple[Write, ...] = (
        Put("log", {"pk": pk, "sk": "put", "new": 1}, condition),
        Update("log", Key(pk, "update"), {"new": 1}, condition),
        Delete("log", Key(pk, "delete"), condition),
        *([] if condition == Anything() else [Check("log", Key(pk, "check"), condition)]),
    )
    for number, write in enumerate(kinds):
        sk = ("put", "update", "delete", "check")[number]
        before = {"pk": pk, "sk": sk, "v": 1, "name": "x"}
        if present:
            tables.write_many("log", [before])
        others: list[Write] = [put(pk, f"other-{number}")] if together else []
        if holds:
            tables.write([write, *others])
        else:
            with pytest.raises(ConditionFailed) as refused:
                tables.write([*others, write])
            assert refused.value.failed == (len(others),)
            assert tables.get("log", Key(pk, sk)) == (before if present else None)
        assert (tables.get("log", Key(pk, f"other-{number}")) is not None) == (together and holds)


def test_a_condition_says_nothing_of_what_it_does_not_write(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", v=1)])
    tables.write([put(pk, "b"), Check("log", Key(pk, "a"), Is("v", 1))])
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "v": 1}


# --- transactions ------------------------------------------------------------------------


def test_of_several_writes_all_happen(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "gone", v=1), put(pk, "changed", v=1)])
    tables.write(
        [
            put(pk, "a"),
            Put("registry", {"pk": pk, "sk": "b"}, Absent()),
            Delete("log", Key(pk, "gone")),
            Update("log", Key(pk, "changed"), {"v": 2}, Is("v", 1)),
        ]
    )
    assert [(item["sk"], item.get("v")) for item in tables.query("log", pk).items] == [("a", None), ("changed", 2)]
    assert tables.get("registry", Key(pk, "b")) is not None


def test_of_several_writes_none_happens_and_every_failed_place_is_told(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", v=1)])
    with pytest.raises(ConditionFailed) as refused:
        tables.write(
            [
                put(pk, "b"),
                put(pk, "a"),
                Put("registry", {"pk": pk, "sk": "c"}, Absent()),
                Delete("log", Key(pk, "nobody")),
                Check("log", Key(pk, "else"), Is("v", 2)),
            ]
        )
    assert refused.value.failed == (1, 3, 4)
    assert tables.query("log", pk).items == ({"pk": pk, "sk": "a", "v": 1},)
    assert tables.get("registry", Key(pk, "c")) is None


def test_a_hundred_writes_are_one_transaction(tables: Tables, pk: str) -> None:
    tables.write([put(pk, f"{n:03}") for n in range(100)])
    assert len(list(every(tables, "log", pk))) == 100


def test_more_than_a_hundred_writes_are_refused(tables: Tables, pk: str) -> None:
    with pytest.raises(InvalidInput, match="101 writes"):
        tables.write([put(pk, f"{n:03}") for n in range(101)])
    assert tables.query("log", pk).items == ()


def test_an_item_named_twice_in_a_transaction_is_refused(tables: Tables, pk: str) -> None:
    with pytest.raises(InvalidInput, match="twice"):
        tables.write([put(pk, "a"), Check("log", Key(pk, "a"), Absent())])
    assert tables.get("log", Key(pk, "a")) is None


def test_no_write_is_no_error(tables: Tables) -> None:
    tables.write([])
    tables.write_many("log", [])
    tables.delete_many("log", [])


# --- many --------------------------------------------------------------------------------


def test_any_number_of_items_is_put(tables: Tables, pk: str) -> None:
    filled(tables, pk, [f"{n:04}" for n in range(60)])
    assert sort_keys(list(every(tables, "log", pk))) == [f"{n:04}" for n in range(60)]


def test_putting_many_replaces_what_was_there(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", old=1)])
    tables.write_many("log", [{"pk": pk, "sk": "a", "new": 1}])
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "new": 1}


def test_putting_many_takes_an_item_named_twice_and_keeps_the_last(tables: Tables, pk: str) -> None:
    tables.write_many("log", [{"pk": pk, "sk": "a", "n": 1}, {"pk": pk, "sk": "b"}, {"pk": pk, "sk": "a", "n": 2}])
    assert tables.get("log", Key(pk, "a")) == {"pk": pk, "sk": "a", "n": 2}


def test_any_number_of_items_is_removed_and_others_stay(tables: Tables, pk: str) -> None:
    names = [f"{n:04}" for n in range(60)]
    filled(tables, pk, names)
    tables.delete_many("log", [Key(pk, name) for name in (*names[:55], "absent", names[0])])
    assert sort_keys(list(every(tables, "log", pk))) == names[55:]


def test_over_a_hundred_keys_are_got_and_the_missing_left_out(tables: Tables, pk: str) -> None:
    filled(tables, pk, [f"{n:04}" for n in range(0, 260, 2)])
    found = tables.batch_get("log", [Key(pk, f"{n:04}") for n in range(260)])
    assert sorted(key.sk for key in found) == [f"{n:04}" for n in range(0, 260, 2)]
    assert found[Key(pk, "0004")] == {"pk": pk, "sk": "0004", "n": 2}


def test_a_key_asked_for_twice_is_got_once(tables: Tables, pk: str) -> None:
    filled(tables, pk, ["a"])
    assert list(tables.batch_get("log", [Key(pk, "a"), Key(pk, "a"), Key(pk, "b")])) == [Key(pk, "a")]


def test_asking_for_no_key_gets_nothing(tables: Tables) -> None:
    assert tables.batch_get("log", []) == {}


def test_only_the_attributes_asked_for_are_got_besides_the_key(tables: Tables, pk: str) -> None:
    tables.write([Put("log", {"pk": pk, "sk": "a", "x.y": 1, "name": "n", "z": 3}, Absent())])
    key = Key(pk, "a")
    assert tables.batch_get("log", [key], ["x.y", "name", "nowhere"]) == {
        key: {"pk": pk, "sk": "a", "x.y": 1, "name": "n"}
    }


# --- queries -----------------------------------------------------------------------------

LETTERS = ("a", "b#1", "b#2", "c", "é", "日", "🙂")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, LETTERS),
        ({"reverse": True}, LETTERS[::-1]),
        ({"prefix": "b#"}, ("b#1", "b#2")),
        ({"prefix": "x"}, ()),
        ({"start": "b#2"}, LETTERS[2:]),
        ({"start": "b#1", "end": "c"}, ("b#1", "b#2", "c")),
        ({"start": "b#1", "end": "c", "reverse": True}, ("c", "b#2", "b#1")),
        ({"start": "bb", "end": "bz"}, ()),
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_query_yields_the_items_of_a_range_in_order(
    tables: Tables, pk: str, options: dict[str, Any], expected: tuple[str, ...], limit: int
) -> None:
    filled(tables, pk, sorted(LETTERS, reverse=True))
    filled(tables, pk + "x", ["b#1"])
    assert tuple(sort_keys(list(every(tables, "log", pk, limit=limit, **options)))) == expected
    assert len(tables.query("log", pk, limit=limit, **options).items) <= (limit or len(LETTERS))


def test_a_page_is_no_longer_than_its_limit_and_its_cursor_leads_on(tables: Tables, pk: str) -> None:
    filled(tables, pk, "abcde")
    first = tables.query("log", pk, limit=2)
    second = tables.query("log", pk, limit=2, cursor=first.cursor)
    assert (sort_keys(first.items), sort_keys(second.items)) == (["a", "b"], ["c", "d"])
    assert sort_keys(tables.query("log", pk, cursor=second.cursor).items) == ["e"]
    assert tables.query("log", pk).cursor == ""


@pytest.mark.parametrize("reverse", [False, True])
def test_a_cursor_outlives_the_item_it_stands_on(tables: Tables, pk: str, *, reverse: bool) -> None:
    filled(tables, pk, "abcde")
    page = tables.query("log", pk, limit=2, reverse=reverse)
    tables.write([Delete("log", Key(pk, page.items[-1]["sk"]))])
    rest = tables.query("log", pk, cursor=page.cursor, reverse=reverse)
    assert sort_keys(rest.items) == (["c", "b", "a"] if reverse else ["c", "d", "e"])


@pytest.mark.parametrize("cursor", ["x", "bm8=", "e30=", "eyJwayI6IDF9", "WzFd", "\x1f", "🙂"])
def test_a_cursor_that_is_none_is_refused(tables: Tables, pk: str, cursor: str) -> None:
    filled(tables, pk, "abc")
    with pytest.raises(InvalidInput, match="page token"):
        tables.query("log", pk, cursor=cursor)


def hour(pk: str, sk: str, identity: str, **more: Any) -> Item:
    return {"pk": pk, "sk": sk, "by_hour_pk": f"HOUR#{pk}", "by_hour_sk": identity, **more}


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_an_index_has_the_items_with_its_keys_in_order_of_them(tables: Tables, pk: str, limit: int) -> None:
    one, two = pk + "1", pk + "2"
    rows = [("x", one), ("v", two), ("w", one)]
    tables.write_many(
        "log", [{**hour(pk, "1", i), "pk": partition, "sk": i} for i, partition in rows] + [{"pk": pk, "sk": "none"}]
    )
    found = list(every(tables, "log", f"HOUR#{pk}", index="by_hour", limit=limit))
    assert [(i["by_hour_sk"], i["pk"]) for i in found] == [("v", two), ("w", one), ("x", one)]
    later = every(tables, "log", f"HOUR#{pk}", index="by_hour", start="w", reverse=True, limit=limit)
    assert [i["by_hour_sk"] for i in later] == ["x", "w"]


def test_an_index_pages_through_items_of_equal_keys(tables: Tables, pk: str) -> None:
    tables.write_many("log", [hour(pk, str(n), "same") for n in range(5)])
    found = every(tables, "log", f"HOUR#{pk}", index="by_hour", limit=2)
    assert sorted(sort_keys(list(found))) == list("01234")


def test_an_index_forgets_an_item_that_lost_its_keys(tables: Tables, pk: str) -> None:
    tables.write_many("log", [hour(pk, "a", "x"), hour(pk, "b", "y")])
    tables.write_many("log", [{"pk": pk, "sk": "a"}])
    tables.write([Delete("log", Key(pk, "b"))])
    assert tables.query("log", f"HOUR#{pk}", index="by_hour").items == ()


# --- entries that only grow --------------------------------------------------------------

GUARD = Is("stage", "open")


def raised(tables: Tables, pk: str, **entries: bytes) -> Raised:
    return tables.raise_entries("log", Key(pk, "a"), "m", entries, guard=GUARD, counter="n")


def test_entries_that_are_absent_or_smaller_are_set_and_the_rest_stays(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", stage="open", n=1, m={"x": b"\x01", "z": b"\x09"}, other="kept")])
    wanted = {"pk": pk, "sk": "a", "stage": "open", "n": 2, "m": {"x": b"\x02", "y": b"\x00", "z": b"\x09"}}
    assert raised(tables, pk, x=b"\x02", y=b"\x00") == Raised(done=True, item={**wanted, "other": "kept"})
    assert tables.get("log", Key(pk, "a")) == {**wanted, "other": "kept"}


@pytest.mark.parametrize("entry", [b"\x05", b"\x04\xff", b""])
def test_one_entry_that_is_not_larger_holds_all_back_and_the_item_is_told(
    tables: Tables, pk: str, entry: bytes
) -> None:
    before = {"pk": pk, "sk": "a", "stage": "open", "n": 1, "m": {"x": b"\x05"}}
    tables.write_many("log", [before])
    assert raised(tables, pk, new=b"\x01", x=entry) == Raised(done=False, item=before)
    assert tables.get("log", Key(pk, "a")) == before


def test_bytes_compare_without_sign(tables: Tables, pk: str) -> None:
    tables.write([put(pk, "a", stage="open", n=1, m={"x": b"\x7f"})])
    assert raised(tables, pk, x=b"\x80").done
    assert not raised(tables, pk, x=b"\x7f\xff").done


def test_an_item_whose_guard_does_not_hold_is_left_and_told(tables: Tables, pk: str) -> None:
    before = {"pk": pk, "sk": "a", "stage": "closed", "n": 1, "m": {}}
    tables.write_many("log", [before])
    assert raised(tables, pk, x=b"\x01") == Raised(done=False, item=before)


def test_where_there_is_no_item_none_comes_into_being(tables: Tables, pk: str) -> None:
    assert raised(tables, pk, x=b"\x01") == Raised(done=False, item=None)
    assert tables.get("log", Key(pk, "a")) is None
