"""Files that have no room in memory are held before they are read, with words on what to do."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import Refused
from modelwright.events import QualityFailed, RepairAsked
from modelwright.monitoring import sizes
from modelwright.monitoring.store import open_quarantines
from modelwright.project import Column, Project, Source
from modelwright.storage import BucketName, Stored
from monitoring.healing.ward import Ward

SOURCE = Source(
    prefix="s/",
    columns={"id": Column(type="integer"), "at": Column(type="timestamp"), "x": Column(type="number")},
    key=("id",),
    event_time="at",
)


class Unreadable(MemoryBlobs):
    """Objects of which those that land are not to be read."""

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        assert bucket != "landing", "it is larger than memory"
        return super().get(bucket, key, version)

    def size(self, bucket: BucketName, key: str) -> int:
        return sizes.LARGEST + 1 if bucket == "landing" else super().size(bucket, key)


def test_a_file_too_large_is_held_unread_and_says_what_to_do() -> None:
    ward = Ward(Project(name="tiny", sources={"s": SOURCE}))
    ward.blobs = Unreadable()
    assert "more than 256 MB have no room in memory" in ward.land("s/1.parquet", b"PAR1 and very much")
    (failed,) = ward.events(QualityFailed, "s")
    assert [one.check for one in failed.findings] == ["size"]
    assert "modelwright.adapters.spark_profiles" in failed.findings[0].text
    assert failed.quarantine_key.endswith("/reasons.json")
    assert b"split it into files" in ward.blobs.get("lake", failed.quarantine_key).body
    ward.heal("s")
    assert "split it" in ward.events(RepairAsked, "s")[0].reason
    for rule in ("as_it_is", "unit_change"):
        with pytest.raises(Refused, match="split it"):
            ward.repair(failed.quarantine_id, rule)
    ward.land("elsewhere/1.parquet", b"PAR1 and very much")
    assert {one.source for one in open_quarantines(ward.tables, "default")} == {"s", "unknown"}


def test_cells_are_counted_before_they_are_read() -> None:
    sink, zeros = io.BytesIO(), pa.array(np.zeros(sizes.CELLS["Parquet"] // 2 + 1, dtype=bool))
    pq.write_table(pa.table({"a": zeros, "b": zeros}), sink)
    found = sizes.too_many(sink.getvalue())
    assert found is not None
    assert found.text.startswith("the file has 20 million cells, and more than 20 million of Parquet")
    assert sizes.too_many(b"a,b\n" + b",\n" * (sizes.CELLS["text"] // 2 + 1)) is not None
    assert sizes.too_many(b"a,b\n" + b",\n" * 1_000) is None
    assert sizes.too_many(b"PAR1 cut") is None
    assert sizes.too_many(b"") is None
