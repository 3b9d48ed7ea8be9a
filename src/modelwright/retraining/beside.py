"""What a training leaves beside its model, so that gates and auditors need not take its word.

=======================  ========================================================================
``requirements.txt``     the libraries of this very function, ``name==version`` in order
``predictions.parquet``  what challenger and champion said of the held-out rows
``sample.parquet``       some of these rows, as the model is fed them
``parity.json``          how many of them, computed again as they are served, were equal to the bit
=======================  ========================================================================

The same training gives the same bytes, wherever the same libraries are.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelwright.artifacts import CHAMPION_KEY, PARITY, PREDICTIONS, SAMPLE
from modelwright.errors import ModelwrightError
from modelwright.log import canonical

if TYPE_CHECKING:
    import pandas as pd

    from modelwright.retraining.workshop import Examples

SAMPLED = 128
"""Rows from all of the holdout: what a model rests on later is compared with what it rests on here."""
PROVEN = 16
"""Rows that are computed again: spread over the holdout, since what differs mostly differs for all rows of a time."""
REQUIREMENTS = "requirements.txt"

_TYPES = {"f": "double", "i": "long", "u": "long", "b": "boolean"}


def files(
    held: "Examples", challenger: Sequence[float], champion: Sequence[float] | None, rival: str
) -> dict[str, bytes]:
    """Return the files by name, but for the proof of parity.

    Args:
        held: the held-out rows.
        challenger: what the model that had not seen them said of them.
        champion: what the champion said of them; None where it was not compared.
        rival: which champion that was, as ``Evaluation.champion`` says it.
    """
    return {
        REQUIREMENTS: requirements(),
        PREDICTIONS: _predictions(held, challenger, champion, rival),
        SAMPLE: _sample(held.frame),
    }


def requirements() -> bytes:
    """Return what is installed here, a line each: the lock of what the model was trained with."""
    found = {
        re.sub(r"[-_.]+", "-", str(each.metadata["Name"])).lower(): each.version
        for each in distributions()
        if each.metadata["Name"]
    }
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items())).encode()


def signature(frame: "pd.DataFrame") -> dict[str, list[dict[str, Any]]]:
    """Return what a model of this frame takes and gives: columns as an ``MLmodel`` file has them."""
    columns = [
        {"type": _TYPES.get(frame[name].dtype.kind, "string"), "name": str(name), "required": True}
        for name in frame.columns
    ]
    return {"inputs": columns, "outputs": [{"type": "double", "required": True}]}


def parity(held: "Examples", service: str) -> tuple[dict[str, bytes], str]:
    """Compute some held-out rows again as they are served, and compare them with what the model was fed, to the bit.

    Args:
        held: the held-out rows.
        service: the model and the digest of the project whose features these are.

    Returns:
        The proof as a file; none where nothing was or could be compared, or something differs, with why.
    """
    if held.again is None or held.places is None:
        return {}, "the feature store cannot serve past rows again"
    chosen = np.unique(np.linspace(0, len(held.labels) - 1, PROVEN).astype(np.int64))
    try:
        served = held.again([int(place) for place in held.places[chosen]])
    except ModelwrightError as error:
        return {}, f"rows could not be served again: {error}"
    fed = held.frame.iloc[chosen]
    equal = {str(name): _equal(fed[name], served[name]) for name in fed.columns}
    rows = np.logical_and.reduce(list(equal.values())) if equal else np.ones(len(chosen), dtype=bool)
    if not rows.all():
        differing = ", ".join(name for name, same in equal.items() if not same.all())
        return (
            {},
            f"{int((~rows).sum())} of {len(rows)} rows are served otherwise than they were trained on: {differing}",
        )
    said = {"service": service, "rows": len(rows), "equal": int(rows.sum()), "digest": _digest(fed)}
    return {PARITY: canonical(said)}, ""


def _predictions(held: "Examples", challenger: Sequence[float], champion: Sequence[float] | None, rival: str) -> bytes:
    import pyarrow as pa

    rows = len(held.labels)
    ids = [str(n) for n in range(rows)] if held.ids is None else [str(each) for each in held.ids]
    days = held.times.astype("datetime64[D]").astype(np.int64)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "label": pa.array(held.labels, pa.float64() if held.labels.dtype.kind == "f" else pa.int8()),
            "challenger": pa.array(challenger, pa.float64()),
            "champion": pa.array([None] * rows if champion is None else champion, pa.float64()),
            "cluster": pa.array(days, pa.int64()),
        }
    )
    return _parquet(table.replace_schema_metadata({CHAMPION_KEY: rival} if rival else None))


def _sample(frame: "pd.DataFrame") -> bytes:
    import pyarrow as pa

    places = np.unique(np.linspace(0, len(frame) - 1, SAMPLED).astype(np.int64))
    return _parquet(pa.Table.from_pandas(frame.iloc[places], preserve_index=False))


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return sink.getvalue()


def _equal(fed: "pd.Series[Any]", served: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Say of each row whether both are the same, to the bit; missing is missing."""
    if fed.dtype.kind == "f" and served.dtype.kind == "f":
        left, right = (np.asarray(column.to_numpy(), dtype=np.float64) for column in (fed, served))
        bits: NDArray[np.bool_] = left.view(np.int64) == right.view(np.int64)
        return bits | (np.isnan(left) & np.isnan(right))
    return np.array([a == b for a, b in zip(_texts(fed), _texts(served), strict=True)], dtype=bool)


def _texts(column: "pd.Series[Any]") -> list[Any]:
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]


def _digest(frame: "pd.DataFrame") -> str:
    """Return SHA-256 of a frame's columns: floats by their bits, all else as JSON."""
    columns: Mapping[str, str] = {
        str(name): frame[name].to_numpy().astype("<f8").tobytes().hex()
        if frame[name].dtype.kind == "f"
        else json.dumps(_texts(frame[name]))
        for name in frame.columns
    }
    return hashlib.sha256(canonical(columns)).hexdigest()
