"""Which versions of rows an entity's item keeps, against every version there ever was."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.metering import item_size
from modelwright.features.aggregates import NEVER
from modelwright.features.latest import (
    FEW,
    LARGEST,
    SLACK_H,
    Newest,
    Version,
    expires,
    merged,
    newest_write,
    outdated,
    read_newest,
)
from modelwright.features.layout import HOUR_US, moment
from modelwright.project import Source, View
from modelwright.storage import Key

NOW = 1_000 * HOUR_US
SOURCE = Source.model_validate(
    {
        "columns": {
            "who": {"type": "string"},
            "at": {"type": "timestamp"},
            "x": {"type": "number", "nullable": True},
            "seen": {"type": "timestamp", "nullable": True},
        },
        "key": ["who", "at"],
        "event_time": "at",
    }
)
VIEW = View(entity=("who",), source="s", features=("x", "seen"), ttl="6h")
hours = st.integers(NOW // HOUR_US - 40, NOW // HOUR_US).map(lambda h: h * HOUR_US)


@st.composite
def histories(draw: st.DrawFn) -> list[Version]:
    """Versions of rows of one entity; a correction keeps its row's event time."""
    found: list[Version] = []
    for key in range(draw(st.integers(0, 6))):
        event = draw(hours)
        for n, available in enumerate(draw(st.lists(hours, max_size=4))):
            found.append(Version(event, available, f"{n:03d}", key, NEVER, (float(len(found)), None)))
    return found


def oracle(history: Sequence[Version], time: int) -> Version | None:
    """Return what is served as of a time, by looking at every version there ever was."""
    best: Version | None = None
    for version in history:
        mine = [v for v in history if v.key == version.key and v.available <= time]
        newest = max(mine, key=lambda v: (v.available, v.arrival), default=None)
        if version is newest and version.event <= time and (best is None or version.rank > best.rank):
            best = version
    return best


def values(version: Version | None) -> tuple[object, ...] | None:
    return None if version is None else version.values


@given(histories(), st.data())
def test_versions_in_any_order_and_grouping_serve_what_all_of_them_say(
    history: list[Version], data: st.DataObject
) -> None:
    shuffled = data.draw(
        st.permutations([*history, *data.draw(st.lists(st.sampled_from(history)) if history else st.just([]))])
    )
    item = Newest()
    while shuffled:
        count = data.draw(st.integers(1, len(shuffled)))
        part, shuffled = shuffled[:count], shuffled[count:]
        item = merged(item, part, NOW) or item
    for time in range(NOW - SLACK_H * HOUR_US, NOW + 3 * HOUR_US, HOUR_US // 2):
        assert values(item.as_of(time)) == values(oracle(history, time))


@given(histories())
def test_putting_in_what_is_there_changes_nothing(history: list[Version]) -> None:
    item = merged(Newest(), history, NOW)
    assert item is None or merged(item, history, NOW) is None


def test_a_correction_ends_what_it_corrects_and_reads_before_it_still_see_that() -> None:
    first = Version(NOW - 9 * HOUR_US, NOW - 8 * HOUR_US, "1", 7, NEVER, (1.0,))
    second = Version(NOW - 9 * HOUR_US, NOW - 2 * HOUR_US, "2", 7, NEVER, (2.0,))
    item = merged(Newest(), [second, first], NOW)
    assert item is not None
    found = [values(item.as_of(NOW - hours * HOUR_US)) for hours in (9, 8, 3, 2, 0)]
    assert found == [None, (1.0,), (1.0,), (2.0,), (2.0,)]


def test_a_version_that_comes_again_with_an_end_ends() -> None:
    row = Version(NOW - 9 * HOUR_US, NOW - 8 * HOUR_US, "1", 7, NEVER, (1.0,))
    below = row._replace(event=NOW - 20 * HOUR_US, available=NOW - 20 * HOUR_US, key=8, values=(0.0,))
    item = merged(Newest(), [row], NOW)
    assert item is not None
    item = merged(item, [row._replace(until=NOW - HOUR_US), below], NOW)
    assert item is not None
    assert (values(item.as_of(NOW - 2 * HOUR_US)), values(item.as_of(NOW))) == ((1.0,), (0.0,))
    assert merged(item, [row], NOW) is None, "an end is never taken back"


def test_what_was_never_visible_is_not_kept() -> None:
    row = Version(NOW - HOUR_US, NOW - HOUR_US, "1", 7, NEVER, (1.0,))
    again = row._replace(arrival="2", values=(2.0,))
    item = merged(Newest(), [row, again], NOW)
    assert item is not None
    assert [v.values for v in item.rows] == [(2.0,)]


def test_an_item_of_many_rows_is_kept_small_and_says_since_when_it_can_be_read() -> None:
    minute = HOUR_US // 60
    rows = [Version(NOW - n * minute, NOW - n * minute, "1", n, NEVER, (float(n),)) for n in range(5 * FEW)]
    item = merged(Newest(), rows, NOW)
    assert item is not None
    assert (item.since, len(item.rows)) == (NOW - 5 * minute, 7)
    assert values(item.as_of(NOW - 5 * minute)) == (5.0,), "a request that began before the write is answered"


def stored_bytes(item: Newest) -> int:
    return item_size(newest_write(Key("a", "b"), VIEW.model_copy(update={"features": ("x",)}), item).item)


@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 1_500, '"' * 4_000])
def test_an_item_of_long_texts_goes_less_far_back_and_stays_within_its_bound(text: str) -> None:
    second = HOUR_US // 3600
    rows = [Version(NOW - n * second, NOW - n * second, "1", n, NEVER, (text,)) for n in range(200)]
    item = merged(Newest(), rows, NOW)
    assert item is not None
    assert NOW - 60 * second <= item.since <= NOW
    assert stored_bytes(item) < LARGEST
    assert values(item.as_of(NOW)) == (text,)
    one_by_one = Newest()
    for row in reversed(rows):
        one_by_one = merged(one_by_one, [row], NOW) or one_by_one
    assert stored_bytes(one_by_one) < LARGEST
    assert one_by_one.as_of(NOW) == item.as_of(NOW)


def test_of_rows_of_the_future_those_stay_that_are_served_first() -> None:
    rows = [Version(NOW + n, NOW, "1", n, NEVER, (float(n),)) for n in range(9_000)]
    item = merged(Newest(), rows, NOW)
    assert item is not None
    assert stored_bytes(item) < LARGEST
    assert len(item.rows) > 1_000
    assert [row.event for row in item.rows] == [NOW + n for n in reversed(range(len(item.rows)))]
    again = merged(merged(Newest(), rows[1::2], NOW) or Newest(), rows[::2], NOW)
    assert again is not None
    assert list(again.rows) == list(item.rows)


def test_what_is_behind_the_newest_is_served_once_that_is_corrected_to_an_earlier_time() -> None:
    old = Version(NOW - 90 * HOUR_US, NOW - 90 * HOUR_US, "1", 1, NEVER, (1.0,))
    new = Version(NOW - 80 * HOUR_US, NOW - 80 * HOUR_US, "2", 2, NEVER, (2.0,))
    item = merged(merged(Newest(), [old], NOW) or Newest(), [new], NOW)
    assert item is not None
    item = merged(item, [new._replace(event=NOW - 99 * HOUR_US, available=NOW, arrival="3")], NOW)
    assert item is not None
    assert values(item.as_of(NOW)) == (1.0,)


def test_an_item_can_be_read_for_a_day_back_and_says_so() -> None:
    item = merged(Newest(), [Version(0, 0, "1", 1, NEVER, (1.0,))], NOW)
    assert item is not None
    assert item.since == NOW - SLACK_H * HOUR_US


@given(histories().filter(bool))
def test_an_item_comes_back_as_it_was_stored(history: list[Version]) -> None:
    history = [v._replace(values=(v.values[0], moment(v.event))) for v in history]
    item = merged(Newest(), history, NOW)
    if item is not None:
        stored = newest_write(Key("a", "b"), VIEW, item).item
        assert read_newest(stored, SOURCE, VIEW.features) == Newest(item.since, item.rows, 1)


def test_a_feature_declared_since_is_null_in_older_items() -> None:
    item = Newest(0, [Version(1, 2, "3", 4, NEVER, (5.0,))])
    stored = newest_write(Key("a", "b"), VIEW.model_copy(update={"features": ("x",)}), item).item
    assert read_newest(stored, SOURCE, ("seen", "x")).rows[0].values == (None, 5.0)


@pytest.mark.parametrize(("age_h", "over"), [(6, False), (6.001, True)])
def test_a_ttl_includes_its_last_moment(age_h: float, over: bool) -> None:
    assert outdated(VIEW, NOW - int(age_h * HOUR_US), NOW) is over


def test_an_item_may_be_deleted_a_day_after_its_rows_are_too_old() -> None:
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    item = Newest(0, [Version(NOW - HOUR_US, NOW, "1", 1, NEVER, (1.0, None))])
    assert expires(VIEW, item, NOW, wall) == int(wall.timestamp()) + (5 + SLACK_H) * 3600
    assert expires(VIEW.model_copy(update={"ttl": ""}), item, NOW, wall) == 0
