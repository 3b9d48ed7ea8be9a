"""The built-in search for a model: successive halving over scikit-learn pipelines, for as much as was reserved.

What a candidate is measured on is newer than what it was fitted to, and older than the holdout on which the winner
then meets the champion: nothing is drawn at random from a stream of time. What is searched is written down once
(``search``), so that a function which is stopped or killed is followed by one that goes on where it was, and comes to
the same end.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import InvalidInput, PluginError, Unavailable
from modelwright.events import SearchCandidate
from modelwright.flavors import single_thread
from modelwright.project import Model
from modelwright.retraining import pipelines, search
from modelwright.retraining.attempts import Runner
from modelwright.retraining.search import Fit, Metric, Plan, Position, Proposal, SearchOptions
from modelwright.storage import Tables

if TYPE_CHECKING:
    import pandas as pd

    from modelwright.retraining.workshop import Examples

TRAINER = "automl"
MARGIN_S = 60.0
"""Of the time that a function has left; what it has done is stored within."""

SLACK = 1.5
"""A fit may take so many times what it is expected to."""

Halt = Literal["short", "held"]
"""Why a search goes on elsewhere: time is short, or somebody else is at it."""

_VALIDATION = 0.2
"""The newest part, where the holdout's days are no good measure of one."""
_LEAST_VALIDATION = 50
_DIGITS = 12
"""Metrics are kept so exact, so that the order of sums on another machine decides nothing."""


@dataclass
class Stopwatch:
    """Seconds that pass."""

    clock: Callable[[], float]
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        now = self.clock()
        passed, self.began = now - self.began, now
        return passed


@dataclass(frozen=True)
class Winner:
    """What a search ended with.

    Attributes:
        seconds: of all fits, those of former invocations included.
    """

    proposal: Proposal
    name: str
    plan: Plan
    candidates: tuple[SearchCandidate, ...]
    seconds: float
    classify: bool
    text: str

    def fit(self, frame: "pd.DataFrame", labels: NDArray[Any], parameters: dict[str, float]) -> Any:
        """Fit the winner, as a team's own trainer would."""
        kind, said = self.proposal.kind, self.proposal.parameters
        made = pipelines.pipeline(kind, said, frame, classify=self.classify, seed=self.plan.seed)
        return pipelines.fitted(made, frame, labels)

    @property
    def parameters(self) -> dict[str, str]:
        """What the event says of it."""
        said = {f"automl.{name}": repr(value) for name, value in self.proposal.parameters.items()}
        more = {"automl.stopped": self.text} if self.text else {}
        return {"automl.kind": self.proposal.kind, "automl.candidate": self.name, **said, **more}


@dataclass(frozen=True)
class Search:
    """A search that is on.

    Attributes:
        remaining: seconds that the function still has.
        runner: who is at it.
    """

    tables: Tables
    workspace: str
    training_id: str
    plan: Plan
    classify: bool
    remaining: Callable[[], float]
    clock: Callable[[], float]
    runner: Runner

    def position(self) -> Position:
        """Return where it is."""
        return search.position(self.plan, self._fits())

    def advance(self, seen: "Examples", holdout_days: int, watch: Stopwatch) -> Winner | Halt:
        """Fit candidate after candidate to the end, or say why not: time is short, or somebody else is at it.

        Raises:
            PluginError: no candidate could be fitted.
        """
        fits, rows, done = self._fits(), None, 0
        while not (at := search.position(self.plan, fits)).over:
            number = at.pending[0]
            if done and self._short(search.expected(self.plan, fits, at.rung, number)):
                return "short"
            rows = rows or Rows.of(seen, holdout_days, self.classify)
            fit = self._fit(rows, at.rung, number, watch)
            if fit is None:
                return "held"
            fits[at.rung, number] = fit
            done += 1
        if done and self._short(search.finishing(self.plan, fits)):
            return "short"
        return self._winner(fits, at)

    def attempt(self, seen: "Examples", holdout_days: int, rung: int, number: int, watch: Stopwatch) -> str:
        """Fit one candidate in a rung, if it still has to be, and say what came of it.

        Raises:
            Unavailable: somebody else is at it.
        """
        fits = self._fits()
        if (rung, number) not in fits:
            at = search.position(self.plan, fits)
            if at.rung != rung or number not in at.pending:
                return f"{self.plan.name(number)} is not wanted in rung {rung + 1}"
            rows = Rows.of(seen, holdout_days, self.classify)
            made = self._fit(rows, rung, number, watch)
            if made is None:
                raise Unavailable(f"somebody else fits {self.plan.name(number)} in rung {rung + 1}")
            fits[rung, number] = made
        fit = fits[rung, number]
        return fit.text if fit.value is None else f"{self.plan.metric} {fit.value:.6g}"

    def _fits(self) -> dict[tuple[int, int], Fit]:
        return search.load_fits(self.tables, self.workspace, self.training_id)

    def _short(self, needed: float) -> bool:
        return self.remaining() < needed * SLACK + MARGIN_S

    def _begin(self, what: str) -> search.Begun:
        return search.begin(self.tables, self.workspace, self.training_id, what, self.runner)

    def _fit(self, rows: "Rows", rung: int, number: int, watch: Stopwatch) -> Fit | None:
        """Return what came of a fit; None where somebody else is at it."""
        value, text, began = None, "", self.clock()
        begun = self._begin(f"FIT#{rung:02}#{number:04}")
        if begun == "held":
            return None
        if begun == "killed":
            text = "the function was killed twice while it was fitted: it takes more memory or time than there is"
        else:
            try:
                value = self._measured(rows, rung, number)
            except (PluginError, InvalidInput) as error:
                text = str(error)[:300]
        fit = Fit(
            rung=rung,
            number=number,
            value=value,
            text=text,
            seconds=self.clock() - began,
            billed=watch.lap(),
            attempt=self.runner.attempt_id,
        )
        return search.keep_fit(self.tables, self.workspace, self.training_id, fit)

    def _measured(self, rows: "Rows", rung: int, number: int) -> float:
        frame, labels = rows.newest(self.plan.rows[rung])
        if self.classify and len(np.unique(labels)) < 2:
            raise PluginError(f"the newest {len(labels)} rows have one class only")
        proposal = self.plan.candidates[number]
        made = pipelines.pipeline(
            proposal.kind, proposal.parameters, frame, classify=self.classify, seed=self.plan.seed
        )
        with single_thread()():
            model = pipelines.fitted(made, frame, labels)
            scores = model.predict_proba(rows.frame)[:, 1] if self.classify else model.predict(rows.frame)
        value = measured(self.plan.metric, rows.labels, np.asarray(scores, dtype=np.float64))
        if not math.isfinite(value):
            raise PluginError(f"its {self.plan.metric} is {value}")
        return float(f"{value:.{_DIGITS}g}")

    def _winner(self, fits: dict[tuple[int, int], Fit], at: Position) -> Winner | Halt:
        best = search.winner(self.plan, fits)
        if best is None:
            reasons = sorted({fit.text for fit in fits.values() if fit.text})
            raise PluginError(f"the search found no model that can be fitted: {'; '.join(reasons[:3])}")
        begun = self._begin("FINAL")
        if begun == "held":
            return "held"
        if begun == "killed":
            raise PluginError(
                f"the function was killed twice while {self.plan.name(best)} was fitted to all rows: give the function "
                "more memory, the policy a shorter window_days, or let a bigger machine do it (trainer_options.on)"
            )
        return Winner(
            self.plan.candidates[best],
            self.plan.name(best),
            self.plan,
            leaderboard(self.plan, fits),
            search.spent(fits),
            self.classify,
            at.text,
        )


@dataclass(frozen=True)
class Rows:
    """What candidates are fitted to, in order of time, and the newer part that they are measured on."""

    older: "pd.DataFrame"
    older_labels: NDArray[Any]
    frame: "pd.DataFrame"
    labels: NDArray[Any]

    @classmethod
    def of(cls, seen: "Examples", holdout_days: int, classify: bool) -> "Rows":
        """Split what is before the holdout once more by time."""
        order, newest = _in_time(seen), _measured_on(seen, holdout_days, classify)
        frame, labels = seen.frame.iloc[order].reset_index(drop=True), seen.labels[order]
        first = len(order) - newest
        return cls(frame.iloc[:first], labels[:first], frame.iloc[first:].reset_index(drop=True), labels[first:])

    def newest(self, count: int) -> "tuple[pd.DataFrame, NDArray[Any]]":
        """Return the newest rows to fit to."""
        start = max(0, len(self.older) - count)
        return self.older.iloc[start:].reset_index(drop=True), self.older_labels[start:]


def planned(model: Model, examples: "Examples", seen: "Examples", seconds: float) -> Plan:
    """Return what a search over a model's training set does, within so many seconds.

    Raises:
        InvalidInput: ``trainer_options.search`` does not fit.
    """
    said = SearchOptions.read(model.retraining.trainer_options, pipelines.KINDS)
    classify = model.task == "classification"
    metric = _metric(said.metric, classify)
    drawn = pipelines.proposals(said.kinds, said.space, said.candidates, said.seed)
    for each in drawn:  # parameters that a kind does not take are said before anything is spent
        pipelines.pipeline(each["kind"], each["parameters"], seen.frame, classify=classify, seed=said.seed)
    rows = len(seen.labels) - _measured_on(seen, model.retraining.holdout_days, classify)
    return Plan(
        candidates=tuple(Proposal.model_validate(each) for each in drawn),
        rows=search.rungs(rows, len(drawn), said.eta, said.min_rows),
        all_rows=len(examples.labels),
        eta=said.eta,
        metric=metric,
        seed=said.seed,
        seconds=seconds,
        dataset_key=examples.key,
        dataset_digest=examples.digest,
    )


def leaderboard(plan: Plan, fits: search.Fits) -> tuple[SearchCandidate, ...]:
    """Return every candidate that was tried with its last fit: those that came furthest first, then by metric."""
    last: dict[int, Fit] = {}
    for _, fit in sorted(fits.items()):
        last[fit.number] = fit
    sign = -1.0 if plan.metric in search.RISING else 1.0

    def place(fit: Fit) -> tuple[float, ...]:
        return (fit.value is None, -fit.rung, sign * (fit.value or 0.0), fit.number)

    return tuple(
        SearchCandidate(
            name=plan.name(fit.number),
            parameters={
                "kind": plan.candidates[fit.number].kind,
                **{name: repr(value) for name, value in plan.candidates[fit.number].parameters.items()},
            },
            rung=fit.rung,
            rows=plan.rows[fit.rung],
            metric=fit.value,
            text=fit.text,
            seconds=math.fsum(each.seconds for each in fits.values() if each.number == fit.number),
        )
        for fit in sorted(last.values(), key=place)
    )


def measured(metric: Metric, labels: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Return a metric of scores: of probabilities of a yes, or of numbers."""
    from sklearn import metrics

    if metric == "auc":
        return float(metrics.roc_auc_score(labels, scores)) if len(np.unique(labels)) > 1 else math.nan
    if metric == "log_loss":
        return float(metrics.log_loss(labels, scores, labels=[0, 1]))
    if metric == "mae":
        return float(np.mean(np.abs(scores - labels)))
    squared = float(np.mean((scores - labels) ** 2))
    return squared if metric == "brier" else math.sqrt(squared)


def _metric(said: str, classify: bool) -> Metric:
    fitting: tuple[Metric, ...] = ("brier", "log_loss", "auc") if classify else ("rmse", "mae")
    for metric in fitting:
        if said in ("", metric):
            return metric
    raise InvalidInput(f"trainer_options.search.metric: {said} is not for this task, which takes {', '.join(fitting)}")


def _in_time(examples: "Examples") -> NDArray[np.intp]:
    return np.argsort(examples.times, kind="stable")


def _measured_on(seen: "Examples", holdout_days: int, classify: bool) -> int:
    """Return how many of the newest rows candidates are measured on: as many days as the holdout has, if these do."""
    times, labels = seen.times[_in_time(seen)], seen.labels[_in_time(seen)]
    count = int((times >= times[-1] - np.timedelta64(holdout_days, "D")).sum())
    good = _LEAST_VALIDATION <= count <= len(times) // 2
    if good and (not classify or len(np.unique(labels[-count:])) > 1):
        return count
    return max(1, round(len(times) * _VALIDATION))
