"""How often estimates without labels cover what the labels tell: 200 simulated windows per world.

    python -m bench.estimators [windows]

A line per world and estimator: of each figure the share of windows whose realised figure lies in the 95 % interval.
Where the estimator's assumptions hold that is to be .90 at least; where the concept drifts it is not, as it says.
"""

import sys

from monitoring.performance.worlds import covered

from modelwright.monitoring.performance.cbpe import ConfidenceBased
from modelwright.monitoring.performance.dle import DirectLoss
from modelwright.monitoring.performance.estimators import Estimator

WORLDS: tuple[tuple[str, dict[str, float]], ...] = (
    ("as before", {}),
    ("inputs shifted by 0.5 sd", {"shift": 0.5}),
    ("days that differ", {"day": 0.4}),
    ("concept drift", {"concept": 0.8}),
)
KNOWN, FRESH = 3000, 700


def main(windows: int) -> None:
    """Print the table."""
    estimators: tuple[Estimator, ...] = (ConfidenceBased(), DirectLoss())
    for estimator in estimators:
        for name, world in WORLDS:
            found = covered(estimator, windows, KNOWN, FRESH, world)
            told = "  ".join(f"{figure} {share:.3f}" for figure, share in sorted(found.items()))
            sys.stdout.write(f"{estimator.name:5} {name:26} {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
