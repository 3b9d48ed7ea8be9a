"""Which figures are followed as series: all that were measured of a window of labels, and what a training took."""

from collections.abc import Mapping
from datetime import datetime

from modelwright.context import Call
from modelwright.events import Delivery, Event, PerformanceMeasured, TrainingCompleted
from modelwright.insights.anomalies import Figure, take
from modelwright.insights.incidents import TABLE
from modelwright.log import Log
from modelwright.storage import Tables

FLOORS: Mapping[str, float] = {
    **dict.fromkeys(("auc", "average_precision", "accuracy", "precision", "recall", "f1", "log_loss"), 0.02),
    **dict.fromkeys(("brier", "calibration_gap", "ece"), 0.01),
    **dict.fromkeys(("ndcg@10", "map", "mrr", "r2", "mape", "smape"), 0.02),
    "mase": 0.05,
    **dict.fromkeys(("mae", "rmse", "bias"), 0.0),
}
"""Half the width that a band has at least, of the figures of ``taskmetrics``: those in the label's unit have none."""
MOST_METRICS = 25
"""Of a window: each is a series, kept and looked at with every upload of labels."""


def follow(delivery: Delivery, call: Call, *, tables: Tables, log: Log) -> None:
    """Take the figures that an event tells."""
    happened, writes = take(call, figures_of(delivery.event, call.now), tables=tables)
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)


def figures_of(event: Event, now: datetime) -> list[Figure]:
    """Return the figures that an event tells; none for others."""
    if isinstance(event, PerformanceMeasured):
        return _of_performance(event)
    if isinstance(event, TrainingCompleted):
        name = f"model/{event.model}/training"
        cost = Figure(series=f"{name}/cost", at=now, value=event.cost, floor=0.01)
        return [cost, Figure(series=f"{name}/seconds", at=now, value=event.seconds, floor=30.0)]
    return []


def _of_performance(event: PerformanceMeasured) -> list[Figure]:
    if not event.performances:
        return []
    most = max(event.performances, key=lambda one: one.rows)
    alone = {name: found for name in ("auc", "brier") if (found := getattr(most, name)) is not None}
    # those of taskmetrics first, should there ever be too many
    names = sorted({**most.metrics, **alone}, key=lambda name: (name not in FLOORS, name))[:MOST_METRICS]
    told = {name: (most.metrics.get(name) or alone[name]).value for name in names}
    base, at = f"model/{event.model}", event.window.end
    figures = [Figure(series=f"{base}/{name}", at=at, value=v, floor=FLOORS.get(name, 0.0)) for name, v in told.items()]
    share = event.joined / event.labels if event.labels else 0.0
    return [*figures, Figure(series=f"{base}/joined_share", at=at, value=share, floor=0.05)]
