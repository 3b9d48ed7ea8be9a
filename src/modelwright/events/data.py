"""Events of data: uploads and their quality, drift, features, and sets of examples."""

from datetime import datetime
from typing import Literal

from modelwright.events.envelope import Event, Value, Window


class Finding(Value):
    """One reason of a quality verdict."""

    check: str
    column: str = ""
    severity: Literal["warn", "block"]
    text: str


class UploadAccepted(Event):
    """An upload passed quality; ``key`` is the object with its good rows, for others to read.

    Attributes:
        findings: warnings that blocked nothing.
    """

    source: str
    upload_key: str
    upload_version: str
    digest: str
    key: str
    rows: int
    bad_rows: int
    window: Window
    profile_key: str
    findings: tuple[Finding, ...] = ()


class QualityFailed(Event):
    """An upload, or some of its rows, went to quarantine and is served to nobody.

    Attributes:
        scope: whether the whole file is held back or some rows of one whose others went on.
    """

    source: str
    upload_key: str
    upload_version: str
    quarantine_id: str
    quarantine_key: str
    rows: int
    window: Window | None = None
    findings: tuple[Finding, ...]
    scope: Literal["file", "rows"] = "file"


class QuarantineReleased(Event):
    """A quarantine closed: the data was repaired, sent again correctly, or discarded."""

    source: str
    quarantine_id: str
    reason: str


class ColumnDrift(Value):
    """One column's verdict."""

    column: str
    detector: str
    effect: float
    floor: float
    p_value: float
    drifted: bool


class DriftDetected(Event):
    """The distribution of a source moved against its reference; evidence, never alone a reason to retrain."""

    source: str
    window: Window
    reference: str
    columns: tuple[ColumnDrift, ...]


class FeaturesMaterialized(Event):
    """Rows of an accepted upload are in the offline store and, where newest, online.

    Attributes:
        held: how many of the same upload are held instead (``RowsHeld``).
    """

    source: str
    upload_key: str
    views: tuple[str, ...]
    rows: int
    online_items: int
    window: Window
    held: int = 0

    @property
    def whole(self) -> bool:
        """Whether there were new rows, and none of them had to be held."""
        return self.rows > 0 and not self.held


class TrainingSetSaved(Event):
    """An immutable set of examples: a point-in-time join, stored under its content's digest.

    Attributes:
        as_of: labels that became known later are not in it; None in events from before that was said.
    """

    request_id: str
    model: str
    digest: str
    key: str
    rows: int
    window: Window
    features: tuple[str, ...]
    as_of: datetime | None = None
