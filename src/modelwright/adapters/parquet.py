"""Parquet, for tools that read nothing else."""

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.log import LogItem


def events_table(items: Sequence[LogItem]) -> pa.Table:
    """Return log items as a table: the envelope's fields as columns, its data as JSON, and the hash."""
    ordered = sorted(items, key=lambda item: (item.envelope.stream, item.envelope.sequence))
    rows = [item.envelope.model_dump(exclude={"data"}) for item in ordered]
    data = [{"data": json.dumps(item.envelope.data, sort_keys=True), "hash": item.hash} for item in ordered]
    return pa.Table.from_pylist([{**row, **more} for row, more in zip(rows, data, strict=True)])


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file (zstd)."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
