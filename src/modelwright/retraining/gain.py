"""What a training is expected to bring, from what past ones brought and from how far the champion fell.

A *gain* is a difference of a metric between the new model and the champion on the same held-out rows, positive when
the new one is better. Past gains of a model are a sample of what trainings of it do; what the next one brings lies, for
normal errors, within the prediction interval ``mean +- t * s * sqrt(1 + 1/n)``. Where the champion fell by ``f``, and
past trainings that answered falls ``f_i`` gained ``g_i``, the share that comes back is the ratio estimate
``sum(g_i) / sum(f_i)`` (Cochran 1977, chapter 6), and its errors ``g_i - share * f_i`` give the interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from modelwright.events import TrainingCompleted
from modelwright.retraining.store import Gain
from modelwright.retraining.triggers import Cause

HIGHER_IS_BETTER = frozenset(
    {"accuracy", "auc", "average_precision", "f1", "map", "mrr", "ndcg", "precision", "r2", "recall", "spearman"}
)
"""Metrics that rise when a model gets better; of all others (losses, gaps) less is better."""

_DIFFERENCE = "_difference"
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t with 1 to 9 degrees of freedom: of at most ten past trainings."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a training is expected to bring.

    Attributes:
        metric: in which; empty where nobody can say.
        value: None where nobody can say.
        text: where the figure comes from, and how sure it is.
    """

    metric: str
    value: float | None
    text: str


def fall_of(metric: str, value: float, reference: float) -> float:
    """Return by how much a figure is worse than its reference; below zero: better.

    Of a signed gap, such as that of mean score and observed rate, what counts is its size.
    """
    if metric.endswith("_gap"):
        return abs(value) - abs(reference)
    return reference - value if metric in HIGHER_IS_BETTER else value - reference


def brought(event: TrainingCompleted, metric: str = "", fall: float | None = None) -> tuple[Gain, ...]:
    """Return what a training brought in each metric in which its model was compared with the champion.

    Args:
        event: its end.
        metric: in which the champion had fallen.
        fall: by how much.
    """
    differences = {
        name.removesuffix(_DIFFERENCE): value for name, value in event.metrics.items() if name.endswith(_DIFFERENCE)
    }
    compared = {"auc": event.evaluation.auc_difference, "brier": event.evaluation.brier_difference}
    differences |= {name: estimate.value for name, estimate in compared.items() if estimate is not None}
    return tuple(
        Gain(metric=name, value=_better(name, difference), fall=fall if name == metric else None)
        for name, difference in sorted(differences.items())
    )


def expected(gains: Sequence[Gain], cause: Cause | None = None) -> Expected:
    """Return what a training is expected to bring.

    Args:
        gains: of past trainings of the model, oldest first.
        cause: what asks for the training, which may tell of a fall.
    """
    metric = cause.metric if cause else ""
    if cause is None or cause.fall is None:
        return _as_before(gains)
    answered = [(gain.value, gain.fall) for gain in gains if gain.metric == metric and gain.fall is not None]
    told = [(gained, fall) for gained, fall in answered if fall > 0]
    if told:
        return _share(metric, cause.fall, told)
    text = "what it lost; no training of this model has shown yet how much of that comes back"
    return Expected(metric, cause.fall, f"{cause.fall:.4f} {metric}: {text}")


def _as_before(gains: Sequence[Gain]) -> Expected:
    metrics = [gain.metric for gain in gains]
    metric = "auc" if "auc" in metrics else next((m for m in metrics if m != "brier"), "brier")
    values = [gain.value for gain in gains if gain.metric == metric]
    if not values:
        return Expected("", None, "nobody can say: no model of a training was compared with a champion yet")
    if len(values) == 1:
        return Expected(
            metric, values[0], f"{values[0]:.4f} {metric}: what the one before it brought, which says little"
        )
    mean = fmean(values)
    bounds = _bounds(mean, stdev(values), len(values))
    return Expected(metric, mean, f"{mean:.4f} {metric} ({bounds}): what the last {len(values)} trainings brought")


def _share(metric: str, fall: float, told: Sequence[tuple[float, float]]) -> Expected:
    share = sum(gained for gained, _ in told) / sum(lost for _, lost in told)
    value, count = share * fall, len(told)
    text = f"it lost {fall:.4f}, and {count} trainings after a fall won back {share:.0%} of it"
    if count == 1:
        text = f"it lost {fall:.4f}, and the one training after a fall won back {share:.0%} of it, which says little"
        return Expected(metric, value, f"{value:.4f} {metric}: {text}")
    errors = [gained - share * lost for gained, lost in told]
    spread = math.sqrt(sum(error**2 for error in errors) / (count - 1))
    return Expected(metric, value, f"{value:.4f} {metric} ({_bounds(value, spread, count)}): {text}")


def _bounds(value: float, spread: float, count: int) -> str:
    reach = _T_975[min(count - 1, len(_T_975)) - 1] * spread * math.sqrt(1 + 1 / count)
    return f"95 % between {value - reach:.4f} and {value + reach:.4f}"


def _better(metric: str, difference: float) -> float:
    return difference if metric in HIGHER_IS_BETTER else -difference
