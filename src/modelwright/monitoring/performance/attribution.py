"""What a model rests on: the mean size of each feature's Shapley value, and whether that changed since its training.

Shapley values are estimated by sampling (Strumbelj & Kononenko, Knowledge and Information Systems 41, 2014, alg. 2):
in an order drawn by lot, the features of a row of another are replaced one after the other by the row's own, and what
each replacement changes of the score is credited to its feature. It needs nothing of the model but its scores, and
``(features + 1) * DRAWS`` of them per row. Both rankings, on rows of the training and on rows of a window, are
compared as SageMaker Clarify does ("Feature attribution drift", AWS, 2021): NDCG of the new order, with the old
attributions as gains, and an alarm below ``FLOOR``. The rows that were drawn are all that chance has a hand in: two
features that are nearly as important may change places and hardly cost anything.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelwright.monitoring.performance.records import Attribution
from modelwright.statistics import Floats

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

FLOOR = 0.9
MOST_ROWS = 128
DRAWS = 4
TOLD = 10


def attribution(score: "Callable[[pd.DataFrame], list[float]]", frame: "pd.DataFrame", seed: int) -> Floats:
    """Return the mean absolute Shapley value of each column of a frame, in the score's unit.

    Args:
        score: of rows of the frame.
        frame: rows; the others of each are drawn from them.
        seed: the same gives the same.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows, columns = len(frame), list(frame.columns)
    values = np.zeros((rows, len(columns)))
    for _ in range(DRAWS):
        order, others = rng.permutation(len(columns)), rng.permutation(rows)
        mixed = frame.iloc[others].reset_index(drop=True)
        steps = [mixed]
        for place in order:
            name = columns[place]
            mixed = mixed.assign(**{name: frame[name].reset_index(drop=True)})
            steps.append(mixed)
        said = np.asarray(score(pd.concat(steps, ignore_index=True)), dtype=np.float64).reshape(len(steps), rows)
        values[:, order] += np.diff(said, axis=0).T
    found: Floats = np.abs(values / DRAWS).mean(axis=0)
    return found


def compared(names: Sequence[str], then: Floats, now: Floats) -> Attribution:
    """Return how far two attributions of the same features agree."""
    shares = (then / max(float(then.sum()), 1e-300), now / max(float(now.sum()), 1e-300))
    order = np.argsort(-now, kind="stable")
    told = tuple((names[place], float(shares[0][place]), float(shares[1][place])) for place in order)
    agreement = ndcg(then, now)
    return Attribution(ndcg=agreement, shares=told, drifted=agreement < FLOOR)


def ndcg(then: Floats, now: Floats) -> float:
    """Return the discounted gain of the order of ``now``, with the attributions of ``then``, of the best there is."""
    discounts = 1 / np.log2(np.arange(len(then)) + 2.0)
    best = float((np.sort(then)[::-1] * discounts).sum())
    return float((then[np.argsort(-now, kind="stable")] * discounts).sum()) / best if best > 0 else 1.0


def changes(found: Attribution) -> tuple[str, ...]:
    """Return the largest changes of shares, as people read them."""
    largest = sorted(found.shares, key=lambda one: -abs(one[2] - one[1]))[:TOLD]
    return tuple(f"{name}: {then:.0%} -> {now:.0%}" for name, then, now in largest)
