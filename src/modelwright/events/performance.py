"""Events of what models do in production, as the labels tell."""

from modelwright.events.envelope import Estimate, Event, Value, Window


class Performance(Value):
    """How one version did on flights of truth: figures with 95 % intervals.

    Attributes:
        version: the model version.
        rows: labelled predictions.
        positives: of these, with a positive label.
        mean_score: mean predicted probability.
    """

    version: int
    rows: int
    positives: int
    mean_score: float
    auc: Estimate | None = None
    brier: Estimate


class Comparison(Value):
    """Two versions on the very same rows: sums of ``loss(challenger) - loss(champion)`` per row (Brier, in [-1, 1]).

    Attributes:
        rows: labelled rows that both scored.
        total: sum of differences.
        squares: sum of squared differences.
    """

    challenger: int
    champion: int
    rows: int
    total: float
    squares: float


class PerformanceMeasured(Event):
    """Labels of an upload were joined with the predictions they belong to.

    Attributes:
        labels: rows of the upload that have a label.
        joined: of these, with a prediction that was not counted before.
        labelled_key: the object with the joined rows; empty when there are none.
        quarantined: sources that feed the model and are in quarantine over this window; its scores may be
            wrong for that reason alone, so they let no rollout advance.
    """

    model: str
    window: Window
    labels_key: str
    labels: int
    joined: int
    performances: tuple[Performance, ...]
    comparisons: tuple[Comparison, ...]
    canary_comparisons: tuple[Comparison, ...]
    labelled_key: str = ""
    quarantined: tuple[str, ...] = ()


class PerformanceDegraded(Event):
    """The champion does worse than it did when it was new, by more than chance."""

    model: str
    version: int
    window: Window
    metric: str
    value: Estimate
    reference: float
    reason: str
