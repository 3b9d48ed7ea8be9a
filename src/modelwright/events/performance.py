"""Events of what models do in production, as the labels tell."""

from pydantic import Field

from modelwright.events.envelope import Estimate, Event, Value, Window


class CalibrationPoint(Value):
    """Rows with scores near each other: what was said of them, and how many of them were so."""

    score: float
    rate: float
    rows: int


class Performance(Value):
    """How one version did on flights of truth: figures with 95 % intervals.

    Attributes:
        version: the model version.
        rows: labelled predictions.
        positives: of these, with a positive label.
        mean_score: mean predicted probability.
        brier: of a classification.
        metrics: every figure of its task by name.
        segment: ``carrier = UA``; empty for all rows.
        calibration: the curve of a classification over all rows, by score.
    """

    version: int
    rows: int
    positives: int
    mean_score: float
    auc: Estimate | None = None
    brier: Estimate | None = None
    metrics: dict[str, Estimate] = Field(default_factory=dict)
    segment: str = ""
    calibration: tuple[CalibrationPoint, ...] = ()


class Comparison(Value):
    """Two versions on the very same rows: sums of ``loss(challenger) - loss(champion)`` per row, in [-1, 1].

    The loss of a classification is Brier's; that of a number its squared error, as a share of the squared spread of
    earlier labels and at most 1. Of rankings there are none.

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
        segments: figures by values of the columns or expressions of the model's monitoring policy.
        again: whether it was looked at before, and these are labels whose predictions came later.
        reason: why there is nothing to join, where that is so: a column that holds no labels.
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
    segments: tuple[Performance, ...] = ()
    again: bool = False
    reason: str = ""


class PerformanceDegraded(Event):
    """The champion does worse than it did when it was new, by more than chance."""

    model: str
    version: int
    window: Window
    metric: str
    value: Estimate
    reference: float
    reason: str


class PerformanceEstimated(Event):
    """How a version probably does, before labels come, or that this is no longer asked, because they came.

    Attributes:
        estimator: ``cbpe`` or ``dle``.
        metric: the figure by which it is judged.
        rows: predictions of the window.
        reference: the figure on the labelled rows that the estimator was fitted on.
        degraded: whether the whole interval is beyond the bound of those rows.
        assumes: what has to hold for the estimate to be true.
        metrics: every figure that was estimated, by name.
    """

    model: str
    version: int
    window: Window
    estimator: str
    metric: str
    rows: int
    value: Estimate
    reference: float
    degraded: bool
    assumes: str
    metrics: dict[str, Estimate] = Field(default_factory=dict)


class FairnessBroken(Event):
    """Groups are treated differently, by more than is tolerated and than chance explains."""

    model: str
    version: int
    window: Window
    group: str
    metric: str
    worst: str
    best: str
    difference: Estimate
    tolerance: float
    reason: str


class FairnessRestored(Event):
    """A group and metric that were broken are within the tolerance again, or nobody asks any more.

    Attributes:
        version: that was unfair; 0 where nobody noted that.
        reason: why nobody asks any more, where that is so.
    """

    model: str
    group: str
    metric: str
    version: int = 0
    reason: str = ""


class AttributionDrifted(Event):
    """The model rests on other features than it did on the rows it was trained on.

    Attributes:
        ndcg: agreement of the two rankings by attribution, 1 for the same (SageMaker Clarify's measure; .9 alarms).
        features: of the largest changes, ``name: then -> now``.
    """

    model: str
    version: int
    window: Window
    ndcg: float
    floor: float
    features: tuple[str, ...]
