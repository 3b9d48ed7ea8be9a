"""The runs that searches are measured on: the same on either side. Needs the standard library alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

START = 1_760_000_000_000
METRICS = ("acc", "loss", "f1", "auc", "rmse")


@dataclass(frozen=True)
class SeededRun:
    """A finished run; times in milliseconds."""

    name: str
    start_time: int
    end_time: int
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def seeded(count: int) -> Iterator[SeededRun]:
    """Yield runs, oldest first."""
    drawn = random.Random(7)
    for number in range(count):
        name = f"run-{number}"
        start = START + number * 1000
        yield SeededRun(
            name=name,
            start_time=start,
            end_time=start + 900,
            metrics={key: drawn.random() for key in METRICS},
            params={
                "lr": str(drawn.choice([0.1, 0.01, 0.001])),
                "depth": str(drawn.randint(1, 9)),
                "model": drawn.choice(["rf", "xgb", "lin"]),
            },
            tags={
                "mlflow.user": "b",
                "mlflow.source.name": "bench.py",
                "mlflow.runName": name,
                "team": drawn.choice("abc"),
            },
        )
