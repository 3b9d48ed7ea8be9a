"""Compacted points: a range per metric, whatever their number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http import ServedBlobs

from modelwright.storage import BucketName
from modelwright.tracking.archive import Archive, archived
from modelwright.tracking.entities import Point
from modelwright.tracking.points import distinct, pack

I64 = st.integers(-(2**63), 2**63 - 1)
POINTS = st.builds(Point, st.sampled_from(["a", "b", "ü/x"]), st.floats(), I64, I64)


class Ranged(ServedBlobs):
    """Buckets that know how many bytes were read of them."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def get_range(self, bucket: BucketName, key: str, start: int, length: int) -> bytes:
        """See ``Blobs``."""
        self.read.append(length)
        return super().get_range(bucket, key, start, length)


def stored(batches: list[bytes]) -> tuple[Archive, Ranged]:
    blobs = Ranged()
    archive, body = archived(batches, "there")
    blobs.put("lake", "there", body)
    return Archive.read(archive.attributes()), blobs


@given(st.lists(st.lists(POINTS, max_size=20), max_size=5))
def test_the_points_of_all_batches_come_back_each_once_and_in_order(batches: list[list[Point]]) -> None:
    archive, blobs = stored([pack(batch) for batch in batches])
    wanted = distinct(point for batch in batches for point in batch)
    assert repr(list(archive.points(blobs))) == repr(wanted)
    for key in ("a", "b", "ü/x", "none"):
        assert repr(list(archive.points(blobs, key))) == repr([point for point in wanted if point.key == key])
    assert archive.count == len(wanted)


@given(st.lists(POINTS, max_size=30), st.lists(POINTS, max_size=30))
def test_what_was_compacted_before_is_compacted_with_what_came_later(one: list[Point], other: list[Point]) -> None:
    known, blobs = stored([pack(one)])
    archive, body = archived([*known.blocks(blobs), pack(other)], "newer")
    blobs.put("lake", "newer", body)
    assert repr(list(archive.points(blobs))) == repr(distinct([*one, *other]))


@pytest.mark.parametrize(("keys", "reads"), [(3, 1), (5_000, 2)])
def test_one_metric_is_one_range_and_a_long_directory_another(keys: int, reads: int) -> None:
    points = [Point(f"metric number {n * 7919 % 99_991}", math.sqrt(n + step), step, step) for n in range(keys)
              for step in range(3)]  # fmt: skip
    archive, blobs = stored([pack(points)])
    assert len(list(archive.points(blobs, points[4].key))) == 3
    assert len(blobs.read) == reads
    assert blobs.read[-1] < 120
    assert bool(archive.directory) == (reads == 1)


def test_a_metric_with_very_many_points_is_unpacked_piece_by_piece() -> None:
    points = [Point("loss", step / 3, 1_000 + step, step) for step in range(120_000)]
    archive, blobs = stored([pack(points[::2]), pack(points[1::2])])
    assert [len(block) > 0 for block in archive.blocks(blobs, "loss")] == [True, True, True]
    assert list(archive.points(blobs, "loss")) == points
