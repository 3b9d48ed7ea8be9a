"""How large a file may be that is judged, so that the function never dies of it, and then again at every delivery.

A function has 2,048 MB. 250 are taken by libraries, up to 600 by references of wide sources. Typed, checked and
profiled, a cell of Parquet takes 62 bytes at the peak and one of CSV 91 (measured with 16 numbers and 4 texts a row).
So the limits are ``LARGEST`` bytes as the bucket lists them, before anything is read, and ``CELLS`` cells: of Parquet
as its footer says, of text by its lines and the commas of its first. What is larger is held back and stays where it is.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.events import Finding

LARGEST = 256 * 2**20
CELLS = {"Parquet": 20_000_000, "text": 12_000_000}
CHECK = "size"
_ADVICE = (
    "split it into files that are smaller (rows of one time together), or have Spark profile it"
    " (modelwright.adapters.spark_profiles); then discard this quarantine"
)


def too_large(size: int) -> Finding | None:
    """Return what is wrong with a file of so many bytes."""
    if size <= LARGEST:
        return None
    return _finding(f"the file has {size / 2**20:,.0f} MB, and more than {LARGEST >> 20} MB have no room in memory")


def too_many(body: bytes) -> Finding | None:
    """Return what is wrong with a file of so many cells; of one that is no Parquet though it begins like it nothing."""
    kind = "Parquet" if body[:4] == b"PAR1" else "text"
    cells = _of_parquet(body) if kind == "Parquet" else _of_text(body)
    if cells <= CELLS[kind]:
        return None
    limit = f"more than {CELLS[kind] / 1e6:.0f} million of {kind} have no room in memory"
    return _finding(f"the file has {cells / 1e6:,.0f} million cells, and {limit}")


def _finding(text: str) -> Finding:
    return Finding(check=CHECK, severity="block", text=f"{text}: {_ADVICE}")


def _of_parquet(body: bytes) -> int:
    try:
        said = pq.read_metadata(pa.BufferReader(body))
    except (pa.ArrowException, OSError):
        return 0
    return int(said.num_rows) * len(said.schema.to_arrow_schema())


def _of_text(body: bytes) -> int:
    return body.count(b"\n") * (1 + body[: body.find(b"\n")].count(b","))
