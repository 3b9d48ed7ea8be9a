"""What the report of a window says, before anybody gives it a form."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modelwright.events import ColumnDrift, Finding


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Shape(_Content):
    """A column's distribution in the reference and in the window, as shares of the values that are there.

    Attributes:
        edges: of numbers, the ends of bins of equal width, one more than there are shares; the first and the last
            bin are open, so that the shares always add up to 1.
        names: of categories, one per share; the last may stand for all others.
        reference: shares; none where the reference has no values.
        window: shares; none where the window has no values.
    """

    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    window: tuple[float, ...] = ()


class Side(_Content):
    """A column's figures, on one of the two sides that are compared; see ``ColumnProfile``."""

    rows: int
    missing: int
    infinite: int = 0
    distinct: int = 0
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    median: float | None = None


class ColumnReport(_Content):
    """One column of the window.

    Attributes:
        reference: None where the reference never had the column.
        strength: the largest effect of any detector over all rows, in multiples of that detector's floor.
        drifted: whether any verdict on it says so, in all rows or in a segment.
    """

    name: str
    kind: Literal["numbers", "categories", "times"]
    window: Side
    reference: Side | None = None
    shape: Shape | None = None
    strength: float = 0.0
    drifted: bool = False


class PastWindow(_Content):
    """An earlier window of the source.

    Attributes:
        strengths: by column, see ``ColumnReport``.
        drifted: columns that drifted.
        share: see ``DriftDetected``.
    """

    start: datetime
    end: datetime
    rows: int = 0
    strengths: dict[str, float] = Field(default_factory=dict)
    drifted: tuple[str, ...] = ()
    share: float | None = None


class WindowReport(_Content):
    """A window of a source, compared with its reference.

    Attributes:
        digest: of the window; with the source it names the report.
        reference: in words.
        columns: those that moved most first.
        verdicts: of every column, detector and segment that was compared, the strongest first.
        history: the windows before, oldest first.
        share: of the importance of all columns, how much drifts.
        dataset: whether that is enough for the data set as a whole.
        policy: whose choices were followed: empty for ours, else the compatibility set's name.
    """

    report_version: int = 1
    workspace: str
    source: str
    digest: str
    start: datetime
    end: datetime
    rows: int
    made: datetime
    reference: str = ""
    reference_rows: int = 0
    columns: tuple[ColumnReport, ...] = ()
    verdicts: tuple[ColumnDrift, ...] = ()
    findings: tuple[Finding, ...] = ()
    history: tuple[PastWindow, ...] = ()
    share: float | None = None
    dataset: bool | None = None
    policy: str = ""

    def past(self) -> PastWindow:
        """Return what later reports show of this window."""
        return PastWindow(
            start=self.start,
            end=self.end,
            rows=self.rows,
            strengths={column.name: column.strength for column in self.columns if column.strength > 0},
            drifted=tuple(column.name for column in self.columns if column.drifted),
            share=self.share,
        )
