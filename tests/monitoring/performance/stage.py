"""A model in production: rows that are asked about, a log of answers as serving writes it, and labels that land."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from modelwright.events import AliasChanged, PerformanceMeasured, UploadAccepted
from modelwright.monitoring import performance
from modelwright.project import Project
from modelwright.rollout import predictions
from monitoring.desk import Desk
from monitoring.year import csv_bytes

START = datetime(2026, 3, 2, tzinfo=UTC)
MODEL = "prices"


def project(task: str = "regression", **more: Any) -> Project:
    label: dict[str, Any] = {"source": "sales", "column": "price"}
    return Project.model_validate(
        {
            "name": "shop",
            "sources": {
                "sales": {
                    "prefix": "sales/",
                    "columns": {
                        "sale": {"type": "string"},
                        "at": {"type": "timestamp"},
                        "known_at": {"type": "timestamp"},
                        "price": {"type": "number"},
                    },
                    "key": ["sale"],
                    "event_time": "at",
                    "available_at": "known_at",
                    "checks": [],
                    "detectors": [],
                    "labels": True,
                }
            },
            "models": {
                MODEL: {
                    "id_column": "sale",
                    "time_column": "at",
                    "request": {"sale": "string", "at": "timestamp", "shop": "string", "size": "number"},
                    "views": [],
                    "inputs": ["size", "kind"],
                    "label": label | ({"above": 0.5} if task == "classification" else {}),
                    "task": task,
                    "trainer": "shop:train",
                    **({"rank_by": "shop"} if task == "ranking" else {}),
                    **more,
                }
            },
        }
    )


class Rows:
    """Rows of some days: sale, time, shop, size and kind."""

    def __init__(self, rng: np.random.Generator, name: str, day: int, days: int, count: int) -> None:
        self.count = count
        self.ids = [f"{name}-{n}" for n in range(count)]
        minutes = np.sort(rng.integers(0, days * 1440, count))
        self.times = [START + timedelta(days=day, minutes=int(m)) for m in minutes]
        self.shops = [str(s) for s in rng.choice(["north", "south", "east"], count, p=[0.5, 0.3, 0.2])]
        self.size = rng.normal(0, 1, count)
        self.kind = rng.choice(["a", "b"], count)

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame({"size": self.size, "kind": pd.Categorical(self.kind)})


class Shop:
    """A desk with a model on it."""

    def __init__(self, declared: Project, seed: int = 0) -> None:
        self.desk, self.project = Desk(declared), declared
        self.rng = np.random.default_rng(seed)
        self.number = 0

    def rows(self, day: int, days: int = 7, count: int = 700) -> Rows:
        self.number += 1
        return Rows(self.rng, f"r{self.number}", day, days, count)

    def answer(self, rows: Rows, scores: Sequence[float], *, version: int = 1, role: str = "champion") -> None:
        times = dict(zip(rows.ids, rows.times, strict=True))
        lines = [
            predictions.Scored(identity, times[identity], version, role, float(score))
            for identity, score in zip(rows.ids, scores, strict=True)
        ]
        asked = [
            {"sale": i, "at": t, "shop": s, "size": float(z)}
            for i, t, s, z in zip(rows.ids, rows.times, rows.shops, rows.size, strict=True)
        ]
        columns = self.project.models[MODEL].request
        inputs = predictions.Inputs.of(rows.ids, asked, columns, rows.frame)
        self.number += 1
        request = predictions.Request("default", MODEL, f"q{self.number}", "online", START)
        predictions.write(lines, times, request, inputs, blobs=self.desk.blobs)

    def label(self, rows: Rows, labels: Sequence[float]) -> PerformanceMeasured:
        told = [
            {"sale": i, "at": t, "known_at": t, "price": float(y)}
            for i, t, y in zip(rows.ids, rows.times, labels, strict=True)
        ]
        self.number += 1
        assert self.desk.land(f"sales/{self.number}.csv", csv_bytes(told)).startswith("accepted")
        delivery = self.desk.delivery(self.desk.events(UploadAccepted, "sales")[-1], "WS#default#SOURCE#sales")
        desk = self.desk
        performance.measure(delivery, desk.call(), tables=desk.tables, log=desk.log, blobs=desk.blobs)
        return self.desk.events(PerformanceMeasured, MODEL, "PERFORMANCE")[-1]

    def champion(self, version: int = 1, day: int = 0) -> None:
        event = AliasChanged(model=MODEL, alias="champion", version=version, previous=None)
        at = START + timedelta(days=day)
        delivery = self.desk.delivery(event, f"WS#default#MODEL#{MODEL}", at)
        performance.follow_alias(delivery, self.desk.call(at), tables=self.desk.tables, log=self.desk.log)

    def classified(
        self, day: int, *, lying: float = 0.0, count: int = 700, shop: str = "", extra: float = 0.0, days: int = 7
    ) -> PerformanceMeasured:
        """A week of probabilities, which ``lying`` mixes with chance; of one shop they are ``extra`` higher."""
        rows = self.rows(day, days, count)
        truth = 1 / (1 + np.exp(-2 * rows.size))
        said = (1 - lying) * truth + lying * self.rng.uniform(0, 1, rows.count)
        said = np.clip(said + np.where(np.array(rows.shops) == shop, extra, 0.0), 0, 1)
        self.answer(rows, [float(s) for s in said])
        return self.label(rows, [float(self.rng.uniform() < p) for p in truth])

    def valued(self, day: int, *, noise: float = 1.0, count: int = 700) -> PerformanceMeasured:
        """A week of numbers."""
        rows = self.rows(day, count=count)
        self.answer(rows, [float(s) for s in 3 * rows.size])
        return self.label(rows, [float(y) for y in 3 * rows.size + self.rng.normal(0, noise, rows.count)])
