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


class QuarantineRepaired(Event):
    """Held-back data was repaired by rules, passed quality, and goes on as if it had landed so.

    Attributes:
        rules: ``name@version`` in the order in which they were applied.
        repaired_key: the repaired file, in the lake; the original stays where it was.
        log_key: what was changed, cell by cell or by formula, from which the original follows to the byte.
    """

    source: str
    quarantine_id: str
    upload_key: str
    upload_version: str
    rules: tuple[str, ...]
    rows: int
    repaired_key: str
    log_key: str


class RepairAsked(Event):
    """No rule, or more than one, fits what is held back: a person has to say which.

    Attributes:
        choices: repairs that are plausible, as ``rule@version: what it would do``; none: nothing is known to help.
    """

    source: str
    quarantine_id: str
    choices: tuple[str, ...]
    reason: str


class RepairReverted(Event):
    """A repair was taken back: what it had released is retracted, and the original is in quarantine again."""

    source: str
    quarantine_id: str
    repaired_key: str
    reason: str


class ColumnDrift(Value):
    """One column's verdict.

    Attributes:
        column: its name; several joined by commas where a detector looks at them together.
        drifted: whether so many windows agree.
        p_adjusted: corrected over all columns and tests of the window.
        since: start of the first window in which it moved.
        segment: ``carrier = UA``; empty for all rows.
        reference: what was compared with, in words.
        weight: its importance.
        text: what moved and by how much, in words and figures.
    """

    column: str
    detector: str
    effect: float
    floor: float
    p_value: float
    drifted: bool
    p_adjusted: float | None = None
    since: datetime | None = None
    segment: str = ""
    reference: str = ""
    weight: float = 1.0
    text: str = ""


class DriftDetected(Event):
    """The distribution of a source moved against its reference; evidence, never alone a reason to retrain.

    Attributes:
        columns: what drifts, of each column, detector and segment; of more than 50 the furthest.
        rows: of the window.
        drifting: how many there are, told or not; the report has all.
        share: of the importance of all columns, how much drifts.
        dataset: whether that is enough for the data set as a whole.
        report_key: the report, in the lake.
    """

    source: str
    window: Window
    reference: str
    columns: tuple[ColumnDrift, ...]
    rows: int | None = None
    share: float | None = None
    dataset: bool | None = None
    report_key: str = ""
    drifting: int | None = None


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
