"""The prediction log: who said what about which row, as Parquet in the lake.

``predictions/<ws>/<model>/dt=<day of as_of>/<request id>.parquet``; a request whose rows lie on several
days writes one object for each, so that a day's partition is all of that day. Bytes follow from
content, and the same request is the same object. One row per (prediction, version); exactly one row
of a prediction has role ``champion`` or ``canary``: the one that answered.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.storage import Blobs

SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("version", pa.int32()),
        ("role", pa.string()),
        ("score", pa.float64()),
        ("request_id", pa.string()),
        ("mode", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Scored:
    """One line of the log."""

    prediction_id: str
    as_of: datetime
    version: int
    role: str
    score: float


def write(
    lines: Sequence[Scored], *, workspace: str, model: str, request_id: str, mode: str, blobs: Blobs
) -> tuple[str, ...]:
    """Write the lines and return the keys of the objects, in order of days."""
    days: dict[str, list[Scored]] = {}
    for line in lines:
        days.setdefault(f"{line.as_of:%Y-%m-%d}", []).append(line)
    keys = []
    for day, of_day in sorted(days.items()):
        columns = [[getattr(line, name) for line in of_day] for name in SCHEMA.names[:5]]
        columns += [[request_id] * len(of_day), [mode] * len(of_day)]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), buffer, compression="snappy")
        key = f"predictions/{workspace}/{model}/dt={day}/{request_id}.parquet"
        blobs.put("lake", key, buffer.getvalue())
        keys.append(key)
    return tuple(keys)


def read(keys: Sequence[str], *, blobs: Blobs) -> Iterator[Scored]:
    """Yield the lines of log objects."""
    for key in keys:
        table = pq.read_table(io.BytesIO(blobs.get("lake", key).body))
        for row in table.select(SCHEMA.names[:5]).to_pylist():
            yield Scored(**row)
