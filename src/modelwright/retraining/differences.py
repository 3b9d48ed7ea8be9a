"""The difference that another policy makes to recorded history: alarms, retrainings, money and outcome, in figures."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelwright.events import Performance
from modelwright.project import Project
from modelwright.retraining import deciding
from modelwright.retraining.counterfactual import GAIN_AS_BEFORE, Run, Usual, Window, run, schedule_of
from modelwright.retraining.decision import Triggers
from modelwright.retraining.gain import HIGHER_IS_BETTER
from modelwright.retraining.ordering import history_of
from modelwright.retraining.whatif import History, Past, told
from modelwright.storage import Tables

_WIDTH = 12


@dataclass(frozen=True)
class Outcome:
    """A figure of whoever was in charge, over the windows in which labels came, by rows.

    Attributes:
        history: over all windows; None where there is none.
        known: windows of which it is known under the other policy, too.
        there: history's figure over these.
        other: the other's figure over these.
        windows: in all.
        estimate: the other's figure over all windows; None where nothing tells.
    """

    metric: str
    history: float
    known: int
    there: float | None
    other: float | None
    windows: int
    estimate: float | None


@dataclass(frozen=True)
class Comparison:
    """History beside what another policy would have made of it.

    Attributes:
        first_difference: where the policies that ran decide otherwise than was recorded; empty: nowhere.
        schedule: how it is known when the schedule was due.
    """

    model: str
    period: tuple[datetime, datetime]
    first_difference: str
    decisions: int
    schedule: str
    history: Run
    other: Run
    outcomes: tuple[Outcome, ...]
    assumptions: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it for people."""
        since, until = self.period
        head = f"model {self.model}, {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
        exact = f"the policy that ran reproduces all {self.decisions} recorded decisions exactly"
        lines = [head, f"NOT reproduced: {self.first_difference}" if self.first_difference else exact, self.schedule]
        lines += ["", _row("", "history", "other", "difference"), *self._counts(), *map(_outcome, self.outcomes)]
        lines += ["", *(self._changed() or ["no decision is another"])]
        return [*lines, *(f"assumed: {text}" for text in self.assumptions)]

    def _counts(self) -> list[str]:
        ours, theirs = self.history, self.other
        counted = [("alarms", len(ours.alarms), len(theirs.alarms))]
        counted += [
            ("retrainings", ours.count("Requested"), theirs.count("Requested")),
            ("queued", ours.count("Queued"), theirs.count("Queued")),
            ("declined", ours.count("Declined"), theirs.count("Declined")),
        ]
        rows = [_row(name, str(one), str(other), f"{other - one:+d}") for name, one, other in counted]
        money = _row("US dollars", f"{ours.spent:.6f}", f"{theirs.spent:.6f}", f"{theirs.spent - ours.spent:+.6f}")
        return [*rows, money]

    def _changed(self) -> list[str]:
        """Return the decisions of one that the other did not make, in the order of time."""
        ours, theirs = told(self.history.decisions), told(self.other.decisions)
        gone, new = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
        lines = [*(("- ", line) for line in gone.elements()), *(("+ ", line) for line in new.elements())]
        return [sign + line for sign, line in sorted(lines, key=lambda each: each[1])]

    def json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "model": self.model,
            "from": self.period[0].isoformat(),
            "to": self.period[1].isoformat(),
            "reproduced": not self.first_difference,
            "first_difference": self.first_difference,
            "schedule": self.schedule,
            "history": _figures(self.history),
            "other": _figures(self.other),
            "outcomes": [vars(outcome) for outcome in self.outcomes],
            "changed": self._changed(),
            "assumptions": list(self.assumptions),
        }


def compare(
    past: Past,
    before: Project,
    after: Project,
    period: tuple[datetime, datetime],
    tables: Callable[[], Tables],
    triggers: Triggers = deciding.trigger,
) -> Comparison:
    """Tell a model's history to the policies that ran and to another.

    Args:
        past: the history.
        before: with the policy that ran before the log tells of any.
        after: with the other one, which decides from the period's start on.
        period: from when until when.
        tables: makes empty ones.
        triggers: as the decider has them.
    """
    history: History = history_of(past, before, tables(), triggers)
    hours, schedule = schedule_of(history, before, after, tables(), period[1], triggers)
    ours = run(history, before, None, period, hours, tables(), triggers)
    theirs = run(history, before, after, period, hours, tables(), triggers)
    outcomes, assumed = _outcomes(ours, theirs, Usual.of(past))
    return Comparison(
        model=past.model,
        period=period,
        first_difference=history.first_difference,
        decisions=len(history.said),
        schedule=schedule,
        history=ours,
        other=theirs,
        outcomes=outcomes,
        assumptions=tuple(sorted(theirs.assumptions | assumed | past.assumptions)),
    )


def _outcomes(ours: Run, theirs: Run, usual: Usual) -> tuple[tuple[Outcome, ...], set[str]]:
    pairs = list(zip(ours.windows, theirs.windows, strict=True))
    metrics = sorted({metric for window in ours.windows for metric in _measured(window)})
    found = tuple(_compared(metric, pairs, usual.gains.get(metric)) for metric in metrics)
    guessed = any(one.known < one.windows and one.estimate is not None for one in found)
    return found, {GAIN_AS_BEFORE} if guessed else set()


def _compared(metric: str, pairs: Sequence[tuple[Window, Window]], gained: float | None) -> Outcome:
    """Return a figure's means; where the other's is not known, history's and what trainings usually change."""
    both = [(one, other, _measured(one)[metric]) for one, other in pairs if metric in _measured(one)]
    known = [(*figure, _measured(other)[metric]) for _, other, figure in both if metric in _measured(other)]
    better = 1 if metric in HIGHER_IS_BETTER else -1
    guesses: list[tuple[float, int]] = []
    for one, other, (value, rows) in both:
        more = other.trained - one.trained
        there = _measured(other).get(metric)
        if there is not None:
            guesses.append(there)
        elif gained is not None or not more:
            guesses.append((value + better * more * (gained or 0.0), rows))
    return Outcome(
        metric=metric,
        history=_mean([figure for _, _, figure in both]),
        known=len(known),
        there=_mean([(value, rows) for value, rows, _ in known]) if known else None,
        other=_mean([other for _, _, other in known]) if known else None,
        windows=len(both),
        estimate=_mean(guesses) if len(guesses) == len(both) else None,
    )


def _measured(window: Window) -> dict[str, tuple[float, int]]:
    """Return the figures of who was in charge, with the rows they are of."""
    found = next((p for p in window.performances if p.version == window.champion and not p.segment), None)
    return {} if found is None else {name: (value, found.rows) for name, value in _values(found).items()}


def _values(one: Performance) -> dict[str, float]:
    estimates = {**one.metrics, "auc": one.auc, "brier": one.brier}
    return {name: estimate.value for name, estimate in estimates.items() if estimate is not None}


def _mean(figures: Sequence[tuple[float, int]]) -> float:
    return sum(value * rows for value, rows in figures) / max(1, sum(rows for _, rows in figures))


def _figures(run: Run) -> dict[str, Any]:
    return {
        "alarms": [{"at": at.isoformat(), "text": text} for at, text in run.alarms],
        "decisions": told(run.decisions),
        "retrainings": run.count("Requested"),
        "queued": run.count("Queued"),
        "declined": run.count("Declined"),
        "spent": run.spent,
        "imagined": run.imagined,
    }


def _outcome(one: Outcome) -> str:
    if one.known == one.windows:
        other = one.other if one.other is not None else one.history
        return _row(one.metric, f"{one.history:.4f}", f"{other:.4f}", f"{other - one.history:+.4f}")
    guess = "nothing tells" if one.estimate is None else f"an estimate for all is {one.estimate:.4f}"
    some = "" if one.other is None or one.there is None else f"; in the others {one.other:.4f} against {one.there:.4f}"
    text = f"unknown in {one.windows - one.known} of {one.windows} windows{some}; {guess}"
    return f"{_row(one.metric, f'{one.history:.4f}', 'unknown', '')} {text}"


def _row(name: str, *cells: str) -> str:
    return f"{name:<14}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)
