"""The replay's report: one JSON document of what the log, the predictions and the functions' own counts say.

Pure: everything comes in as an argument. ``page`` and ``live.summary`` show what is made here.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, cast

import pandas as pd
import pyarrow as pa

from modelwright.demo import cost, figures
from modelwright.demo.chronicle import (
    Chronicle,
    Declined,
    Happening,
    Incident,
    Quarantine,
    Retraining,
    Rollback,
    Rollout,
    week_of,
)
from modelwright.demo.cost import Cost, Training
from modelwright.demo.data import Week
from modelwright.demo.figures import Figures, Scores, WeekFigures
from modelwright.events import Estimate, TrainingCompleted
from modelwright.log import LogItem


class Range(TypedDict):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(Range):
    """Loop minus static; ``resampled``: what the bootstrap drew, weeks or days."""

    resampled: str


class Score(TypedDict):
    """How well one side did."""

    auc: float
    brier: float


class Baseline(TypedDict):
    """How well the base rate alone does."""

    brier: float


class Counts(TypedDict):
    """Flights; ``faults`` names those that were not predicted exactly once."""

    expected: int
    predicted: int
    labelled: int
    faults: list[str]


class WeekRow(TypedDict):
    """One week of the replay.

    Attributes:
        champion: None when nothing was answered, as in a learning week.
        canary_percent: the rollout's step; 0 without a canary.
        quarantined: files held back as a whole.
    """

    number: int
    start: str
    end: str
    flights: int
    labelled: int
    late_share: float | None
    champion: int | None
    canary: int | None
    canary_percent: int
    static_auc: Range | None
    loop_auc: Range | None
    static_brier: float | None
    loop_brier: float | None
    quarantined: int
    events: list[Happening]


class Parity(TypedDict):
    """Online against offline, to the bit."""

    compared: int
    equal: int
    first_difference: str | None


class Chain(TypedDict):
    """The verifier's word on the log."""

    verified: bool
    items: int
    streams: int
    breaks: list[str]


class Deliveries(TypedDict):
    """Events that rules send to consumers, and those that consumers marked as handled."""

    expected: int
    handled: int


class Report(TypedDict):
    """The document."""

    static: Score
    loop: Score
    no_information: Baseline
    auc_difference: Difference
    flights: Counts
    weeks: list[WeekRow]
    retrainings: list[Retraining]
    rollouts: list[Rollout]
    rollbacks: list[Rollback]
    quarantines: list[Quarantine]
    declined: list[Declined]
    incidents: list[Incident]
    parity: Parity
    chain: Chain
    dead_letters: int
    deliveries: Deliveries
    cost: Cost
    seconds: float
    predictions: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Metered:
    """What the functions counted.

    Attributes:
        outcomes: parsed outcome lines, see ``cost.estimate``.
        memory: MB by function, see ``cost.memory_sizes``.
    """

    outcomes: Iterable[Mapping[str, Any]]
    memory: Mapping[str, int]


def build(
    *,
    items: Iterable[LogItem],
    predictions: pa.Table | pd.DataFrame,
    weeks: Sequence[Week],
    expected: Collection[str],
    parity: Parity,
    chain: Chain,
    dead_letters: int,
    deliveries: Deliveries,
    metered: Metered,
    seconds: float,
    path: str,
    options: Mapping[str, Any],
    model: str = "flights",
) -> Report:
    """Make the report.

    Args:
        items: the workspace's log, in any order.
        predictions: see ``figures``.
        weeks: the replayed weeks; learning weeks (below 1) may be among them and get no row.
        expected: ids of the flights of the weeks from 1 on.
        parity: of the days that were lived hour by hour.
        chain: see ``chain_of``.
        dead_letters: messages in all dead-letter queues.
        deliveries: see ``Observer.deliveries``.
        metered: for the cost.
        seconds: of wall time.
        path: of the predictions file.
        options: of the command.
        model: whose log is told.

    Raises:
        InvalidInput: the predictions cannot be measured.
    """
    seen = list(items)
    chronicle = Chronicle(seen, model)
    measured = figures.measure(predictions, expected)
    trainings = [Training(s.event.seconds) for s in chronicle.of(TrainingCompleted)]
    replayed = [week for week in weeks if week.number >= 1]
    return Report(
        static=_score(measured.static),
        loop=_score(measured.loop),
        no_information=Baseline(brier=measured.no_information_brier),
        auc_difference=_difference(measured),
        flights=_counts(measured),
        weeks=week_rows(replayed, measured.weeks, chronicle),
        retrainings=chronicle.retrainings(weeks),
        rollouts=chronicle.rollouts,
        rollbacks=chronicle.rollbacks(),
        quarantines=chronicle.quarantines(),
        declined=chronicle.declined(),
        incidents=chronicle.incidents(),
        parity=parity,
        chain=chain,
        dead_letters=dead_letters,
        deliveries=deliveries,
        cost=cost.estimate(
            metered.outcomes,
            metered.memory,
            events=len({item.envelope.id for item in seen}),
            trainings=trainings,
            weeks=len(replayed),
            predictions=measured.coverage.predicted,
        ),
        seconds=round(seconds, 1),
        predictions=path,
        options=dict(options),
    )


def week_rows(weeks: Sequence[Week], measured: Iterable[WeekFigures], chronicle: Chronicle) -> list[WeekRow]:
    """Return one row per week, with what happened in it; what lies outside of all weeks goes to the nearest."""
    known = {row.number: row for row in measured}
    events: dict[int, list[Happening]] = {week.number: [] for week in weeks}
    for at, happening in chronicle.happenings():
        if weeks:
            events[week_of(at, weeks)].append(happening)
    times = [datetime.fromisoformat(held["at"]) for held in chronicle.quarantines() if held["scope"] == "file"]
    held = Counter(week_of(at, weeks) for at in times if weeks)
    return [
        week_row(week, known.get(week.number), chronicle.rollouts, held[week.number], events[week.number])
        for week in weeks
    ]


def week_row(
    week: Week, measured: WeekFigures | None, rollouts: Iterable[Rollout], quarantined: int, events: list[Happening]
) -> WeekRow:
    """Return one week's row; without figures, that of a week in which nothing was asked."""
    row = measured or WeekFigures(week.number, 0, 0, None, None, None, 0.0, None, None, None, None)
    return WeekRow(
        number=week.number,
        start=week.start.isoformat(),
        end=week.end.isoformat(),
        flights=row.flights,
        labelled=row.labelled,
        late_share=row.late_share,
        champion=row.champion,
        canary=row.canary,
        canary_percent=_percent(row, rollouts),
        static_auc=_range(row.static),
        loop_auc=_range(row.loop),
        static_brier=row.static_brier,
        loop_brier=row.loop_brier,
        quarantined=quarantined,
        events=events,
    )


def chain_of(breaks: Sequence[object], streams: int, items: int) -> Chain:
    """Return what the report says of ``verifier.verify``'s answer; a log without items is not verified."""
    verified = not breaks and items > 0
    return Chain(verified=verified, items=items, streams=streams, breaks=[str(broken) for broken in breaks])


def write(report: Report, path: Path) -> None:
    """Write the document; strict JSON, so that every reader takes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> Report:
    """Read a written report."""
    return cast(Report, json.loads(path.read_text(encoding="utf-8")))


# --- private -----------------------------------------------------------------------------


def _score(scores: Scores) -> Score:
    return Score(auc=scores.auc, brier=scores.brier)


def _range(estimate: Estimate | None) -> Range | None:
    return Range(value=estimate.value, low=estimate.low, high=estimate.high) if estimate else None


def _difference(measured: Figures) -> Difference:
    found = measured.difference
    return Difference(value=found.value, low=found.low, high=found.high, resampled=measured.resampled)


def _counts(measured: Figures) -> Counts:
    found = measured.coverage
    return Counts(
        expected=found.expected, predicted=found.predicted, labelled=found.labelled, faults=list(found.faults)
    )


def _percent(row: WeekFigures, rollouts: Iterable[Rollout]) -> int:
    """Return the step of the canary's rollout that is nearest to its observed share of answers."""
    if row.canary is None:
        return 0
    steps = [step["percent"] for r in rollouts if r["challenger"] == row.canary for step in r["steps"]]
    return min(steps or [round(row.canary_share)], key=lambda percent: abs(percent - row.canary_share))
