"""Accepted rows in the lake: an object per upload, with the columns that its source declared at that time."""

from collections.abc import Sequence

import pyarrow as pa

from modelwright.errors import NotFound
from modelwright.monitoring.reading import parquet_table
from modelwright.storage import Blobs


def accepted_key(workspace: str, source: str, digest: str) -> str:
    """Return where in the lake the good rows of an upload lie."""
    return f"accepted/{workspace}/{source}/{digest}.parquet"


def accepted_rows(blobs: Blobs, workspace: str, source: str, digest: str) -> pa.Table | None:
    """Return the good rows of an upload; None if an erasure left nothing of it."""
    try:
        return parquet_table(blobs.get("lake", accepted_key(workspace, source, digest)).body)
    except NotFound:
        return None


def in_common(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return tables with the columns that all of them have, of one type: declarations change between uploads."""
    shared = [
        field.name
        for field in (tables[-1].schema if tables else ())
        if all(field.name in one.schema.names and one.schema.field(field.name).type == field.type for one in tables)
    ]
    return [one.select(shared) for one in tables]
