"""A champion's errors, one by one in the order of what was predicted, told to detectors of change.

What a detector keeps is put away between two files of labels. Labels that come later than those after them are passed
over here (the windows of ``degradation`` have them): a stream cannot be told its past again.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from modelwright import plugins
from modelwright.events import Estimate, PerformanceDegraded, Window
from modelwright.monitoring.distributions import Floats
from modelwright.monitoring.store import model_key
from modelwright.storage import Absent, Is, Put, Tables, Write

_POSITIVE = 0.5
_WIDE = 3.0
_Z = 1.959963984540054


class Stored(Protocol):
    """A detector whose state can be put away."""

    def update(self, error: float) -> bool:
        """Take the next error; return whether the stream changed."""
        ...

    def state(self) -> dict[str, Any]:
        """Return all that it knows, as JSON can say it."""
        ...


Streams = Callable[[str], Any]
"""Returns a class of detectors by name; raises ``PluginError``."""


class Standing(BaseModel):
    """What is known of a champion's stream.

    Attributes:
        newest: microseconds since 1970 of the newest row that was told.
        rows: told so far, and the sum of their errors.
        scale: of errors that are no yes or no: what counts as 1.
        states: of each detector.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    v: int = 0
    version: int = 0
    newest: int = -(2**62)
    rows: int = 0
    total: float = 0.0
    scale: float = 0.0
    states: dict[str, dict[str, Any]] = Field(default_factory=dict)


def installed(name: str) -> Any:
    """Return the installed class of detectors of that name; raises ``PluginError``."""
    return plugins.load("detectors.streams", name)


def load(tables: Tables, workspace: str, model: str) -> Standing:
    """Return what is known of a champion's stream; an empty one where nothing is."""
    item = tables.get("monitoring", model_key(workspace, model, "STREAM"))
    return Standing.model_validate_json(item["document"]) if item else Standing()


def put(workspace: str, model: str, standing: Standing) -> Write:
    """Replace it; fails if somebody else did meanwhile."""
    following = standing.model_copy(update={"v": standing.v + 1})
    item = {"v": following.v, "document": following.model_dump_json()}
    condition = Is("v", standing.v) if standing.v else Absent()
    return Put("monitoring", {**model_key(workspace, model, "STREAM")._asdict(), **item}, condition)


def follow(
    model: str, version: int, window: Window, joined: pa.Table, names: Sequence[str], streams: Streams, known: Standing,
    *, classification: bool,
) -> tuple[Standing, list[PerformanceDegraded]]:  # fmt: skip
    """Tell detectors the errors of a champion's newly labelled rows.

    Args:
        model: its name.
        version: the champion.
        window: of the labels.
        joined: rows that were not counted before, of all versions.
        names: of the detectors.
        streams: returns their classes.
        known: what was put away.
        classification: whether an error is a wrong yes or no; else how far off a number was.

    Returns:
        What to put away, and an event for each detector that saw a change (at most one each).
    """
    standing = known if known.version == version else Standing(v=known.v, version=version)
    times, off = _errors(joined, version, standing.newest, classification=classification)
    if not len(times):
        return standing, []
    scale = standing.scale or (1.0 if classification else _WIDE * float(np.median(off)) or 1.0)
    errors = np.clip(off / scale, 0.0, 1.0)
    found, states = [], {}
    for name in names:
        detector = streams(name)
        made: Stored = detector.restored(standing.states[name]) if name in standing.states else detector()
        places = [place for place, error in enumerate(errors.tolist()) if made.update(error)]
        states[name] = made.state()
        if places:
            found.append(_degraded(model, version, window, name, errors, places[0], standing))
    following = {
        "newest": int(times[-1]), "rows": standing.rows + len(errors), "total": standing.total + float(errors.sum()),
        "scale": scale, "states": states,
    }  # fmt: skip
    return standing.model_copy(update=following), found


def _errors(joined: pa.Table, version: int, newest: int, *, classification: bool) -> tuple[Any, Floats]:
    """Return times and errors of a version's rows after a time, in order."""
    rows = joined.filter(pc.equal(joined.column("version"), version))
    times = rows.column("as_of").cast(pa.int64()).to_numpy()
    names = np.array(rows.column("prediction_id").to_pylist(), dtype=np.str_)
    order = np.lexsort((names, times))
    order = order[times[order] > newest]
    scores = np.asarray(rows.column("score").to_numpy(), dtype=np.float64)[order]
    labels = np.asarray(rows.column("label").cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)[order]
    off = (scores > _POSITIVE) != (labels > _POSITIVE) if classification else np.abs(scores - labels)
    return times[order], off.astype(np.float64)


def _degraded(
    model: str, version: int, window: Window, name: str, errors: Floats, place: int, before: Standing
) -> PerformanceDegraded:
    """Return what a detector saw, with the mean error of this file's rows and of all before."""
    mean, count = float(errors.mean()), len(errors)
    half = _Z * float(errors.std()) / max(1.0, count**0.5)
    usual = before.total / before.rows if before.rows else float(errors[: place + 1].mean())
    reason = (
        f"{name} saw its errors change after {before.rows + place + 1} labelled predictions: "
        f"{mean:.3f} on average in these, {usual:.3f} before"
    )
    value = Estimate(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))
    return PerformanceDegraded(
        model=model, version=version, window=window, metric=f"error ({name})", value=value, reference=usual,
        reason=reason,
    )  # fmt: skip
