"""The figures of a replay: the first model beside the loop, on the very same flights.

The predictions table has one row per flight and version that scored it:

=========  ===============================================================================
column     content
=========  ===============================================================================
flight_id  names the flight
version    of the model; 1 is the first champion, which scores every flight to the end
route      ``champion`` or ``canary``: this row answered; ``shadow``: it did not
score      probability of a late arrival
label      1 late, 0 not, null for a flight that never arrived
week       number of the replayed week
as_of      when it was asked, UTC
=========  ===============================================================================

*Static* is version 1, whatever its route; *loop* is the row that answered.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from modelwright.errors import InvalidInput
from modelwright.events import Estimate
from modelwright.statistics import Floats, auc, auc_interval, bootstrap_auc_difference

FIRST_VERSION = 1
LEAST_WEEKS = 8
"""With fewer weeks than this the bootstrap draws days: an interval from a handful of blocks says nothing."""
_ANSWERED = ("champion", "canary")
_COLUMNS = ("flight_id", "version", "route", "score", "label", "week", "as_of")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Scores:
    """How well one side did."""

    auc: float
    brier: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether every flight was predicted exactly once.

    Attributes:
        expected: flights that should have been predicted.
        predicted: of these, flights with exactly one answer.
        labelled: of these, flights whose outcome is known.
        missing: flights without an answer.
        duplicates: flights with two answers, or scored twice by one version.
        unexpected: flights that nobody should have asked about.
        without_static: flights that were answered and that version 1 did not score.
    """

    expected: int
    predicted: int
    labelled: int
    missing: tuple[str, ...]
    duplicates: tuple[str, ...]
    unexpected: tuple[str, ...]
    without_static: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in sentences that name the first flights; nothing if each was predicted exactly once."""
        texts = {
            "were not predicted": self.missing,
            "were predicted more than once": self.duplicates,
            "were predicted though not expected": self.unexpected,
            f"have no score of version {FIRST_VERSION}": self.without_static,
        }
        return tuple(_named(flights, what) for what, flights in texts.items() if flights)


@dataclass(frozen=True, slots=True)
class WeekFigures:
    """One week.

    Attributes:
        flights: answered.
        late_share: of the labelled ones; None without any.
        champion: the version that answered most as champion.
        canary: the version that answered as canary, if one did.
        canary_share: percent of the answers that were the canary's.
        static: None when the week has too few labels for an AUC, as ``loop``.
    """

    number: int
    flights: int
    labelled: int
    late_share: float | None
    champion: int | None
    canary: int | None
    canary_share: float
    static: Estimate | None
    loop: Estimate | None
    static_brier: float | None
    loop_brier: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them.

    Attributes:
        no_information_brier: of the base rate as everyone's score: p(1 - p).
        resampled: what the interval's bootstrap drew: ``weeks`` or ``days``.
    """

    static: Scores
    loop: Scores
    no_information_brier: float
    difference: Estimate
    resampled: str
    coverage: Coverage
    weeks: tuple[WeekFigures, ...]


def measure(predictions: pa.Table | pd.DataFrame, expected: Collection[str]) -> Figures:
    """Return the figures of a predictions table.

    Args:
        predictions: as above.
        expected: ids of the flights of the replayed weeks.

    Raises:
        InvalidInput: a column is missing, or there are too few labels for an AUC.
    """
    table = _frame(predictions)
    answered = _paired(table)
    coverage = cover(table, expected)
    known = answered[answered["label"].notna() & answered["static"].notna()]
    label, static, loop = (known[name].to_numpy(np.float64) for name in ("label", "static", "score"))
    resampled = "weeks" if known["week"].nunique() >= LEAST_WEEKS else "days"
    blocks = known["week"] if resampled == "weeks" else known["as_of"].dt.floor("D")
    scores = Scores(auc(label, static), _brier(label, static)), Scores(auc(label, loop), _brier(label, loop))
    rate = float(label.mean())
    interval = bootstrap_auc_difference(label, static, loop, blocks.to_numpy())
    return Figures(
        static=scores[0],
        loop=scores[1],
        no_information_brier=rate * (1 - rate),
        difference=interval.estimate(),
        resampled=resampled,
        coverage=coverage,
        weeks=tuple(_week(int(str(number)), rows) for number, rows in answered.groupby("week", sort=True)),
    )


def measure_week(predictions: pa.Table | pd.DataFrame, number: int) -> WeekFigures:
    """Return the figures of one week of the table; raises ``InvalidInput`` when it has no row of that week."""
    table = _frame(predictions)
    rows = _paired(table[table["week"] == number])
    if rows.empty:
        raise InvalidInput(f"no flight of week {number} was predicted")
    return _week(number, rows)


def cover(predictions: pa.Table | pd.DataFrame, expected: Collection[str]) -> Coverage:
    """Return whether every expected flight was predicted exactly once, and which were not."""
    table = _frame(predictions)
    asked = np.asarray(pd.Series(list(expected), dtype=object).drop_duplicates(), dtype=object)
    names = np.concatenate([table["flight_id"].to_numpy(dtype=object), asked])
    codes, ids = pd.factorize(names)
    code, wanted = codes[: len(table)], np.zeros(len(ids), bool)
    wanted[codes[len(table) :]] = True
    version = table["version"].to_numpy()
    answering = table["route"].isin(_ANSWERED).to_numpy()
    answers = np.bincount(code[answering], minlength=len(ids))
    scored = pd.Series(code * (int(version.max(initial=0)) + 1) + version)
    twice = answers > 1
    twice[code[scored.duplicated().to_numpy()]] = True
    once = wanted & (answers == 1) & ~twice
    by_static, labelled = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    by_static[code[version == FIRST_VERSION]] = True
    labelled[code[answering & table["label"].notna().to_numpy()]] = True

    def named(chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(sorted(str(identity) for identity in ids[chosen]))

    return Coverage(
        expected=int(wanted.sum()),
        predicted=int(once.sum()),
        labelled=int((once & labelled).sum()),
        missing=named(wanted & (answers == 0)),
        duplicates=named(twice),
        unexpected=named(~wanted & (answers > 0)),
        without_static=named((answers > 0) & ~by_static),
    )


# --- private -----------------------------------------------------------------------------


def _frame(predictions: pa.Table | pd.DataFrame) -> pd.DataFrame:
    table = predictions if isinstance(predictions, pd.DataFrame) else predictions.to_pandas()
    if missing := [name for name in _COLUMNS if name not in table.columns]:
        raise InvalidInput(f"the predictions table has no column {', '.join(missing)}")
    return pd.DataFrame(table)


def _paired(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per answered flight, with version 1's score of the same flight as ``static``."""
    answered = table[table["route"].isin(_ANSWERED)].drop_duplicates("flight_id")
    static = table[table["version"] == FIRST_VERSION].drop_duplicates("flight_id")
    return answered.assign(static=answered["flight_id"].map(static.set_index("flight_id")["score"]))


def _week(number: int, rows: pd.DataFrame) -> WeekFigures:
    known = rows[rows["label"].notna() & rows["static"].notna()]
    label, static, loop = (known[name].to_numpy(np.float64) for name in ("label", "static", "score"))
    enough = bool(len(label)) and 2 <= label.sum() <= len(label) - 2
    canary = rows["route"] == "canary"
    return WeekFigures(
        number=number,
        flights=len(rows),
        labelled=int(rows["label"].notna().sum()),
        late_share=float(label.mean()) if len(label) else None,
        champion=_most(rows.loc[~canary, "version"]),
        canary=_most(rows.loc[canary, "version"]),
        canary_share=100 * float(canary.mean()),
        static=auc_interval(label, static).estimate() if enough else None,
        loop=auc_interval(label, loop).estimate() if enough else None,
        static_brier=_brier(label, static) if len(label) else None,
        loop_brier=_brier(label, loop) if len(label) else None,
    )


def _most(versions: "pd.Series[int]") -> int | None:
    return int(versions.mode().iloc[0]) if len(versions) else None


def _brier(label: Floats, score: Floats) -> float:
    return float(((score - label) ** 2).mean())


def _named(flights: Sequence[str], what: str) -> str:
    more = f" and {len(flights) - _NAMED:,} more" if len(flights) > _NAMED else ""
    return f"{len(flights):,} flights {what}: {', '.join(flights[:_NAMED])}{more}"
