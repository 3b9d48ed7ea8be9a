"""Successive halving, as a state that outlives its function.

Many candidates are fitted to few rows, the best of them to more, until few are fitted to all (Jamieson & Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016): a rung has ``eta`` times the
rows of the one before, and a share of ``1 / eta`` of its candidates. Rows are the newest ones, and what is measured on
is newer than all of them.

==========  ===================================  =======================  ============================================
entity      pk                                   sk                       access pattern
==========  ===================================  =======================  ============================================
plan        ``WS#<ws>#SEARCH#<training id>``     ``PLAN``                 get; written once, by whoever comes first
mark        ``WS#<ws>#SEARCH#<training id>``     ``MARK#<what>``          get: how often something was begun
fit         ``WS#<ws>#SEARCH#<training id>``     ``FIT#<rung>#<number>``  all of a search; each written once
==========  ===================================  =======================  ============================================

Plan and fits are all there is to know: who is in which rung, whether the money lasts for the next, and who won follow
from them. So a function that is killed is followed by another that goes on where it was. Of several that come at once
one does the work: a mark has an owner, who holds it until it is stopped at the latest.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwright.errors import ConditionFailed, InvalidInput
from modelwright.retraining.attempts import Runner
from modelwright.retraining.store import Document
from modelwright.storage import Absent, Is, Item, Key, Put, Tables, every

Metric = Literal["brier", "log_loss", "auc", "rmse", "mae"]
RISING = frozenset({"auc"})
"""Metrics of which more is better."""

FINAL_FITS = 2
"""The winner is fitted once to be compared with the champion, and once to be kept."""

_TWICE = 2
"""What killed its function so often is not begun again."""


class SearchOptions(BaseModel):
    """What a policy's ``trainer_options.search`` says.

    Attributes:
        kinds: of models, as ``pipelines.KINDS`` names them.
        candidates: how many to try.
        eta: the share of a rung's candidates that goes on is one in so many.
        min_rows: of the first rung.
        metric: by which they are compared; empty: the Brier score of yes or no, the root of the mean squared error
            of a number.
        space: by kind, what its parameters may be instead of the defaults.
        concurrency: how many fits at a time, where a state machine runs them.
        seed: of all that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kinds: tuple[str, ...] = ("linear", "random_forest", "extra_trees", "hist_gradient_boosting", "naive_bayes")
    candidates: int = Field(default=27, ge=1, le=100)
    eta: int = Field(default=3, ge=2, le=10)
    min_rows: int = Field(default=500, ge=50)
    metric: Metric | Literal[""] = ""
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    concurrency: int = Field(default=8, ge=1, le=40)
    seed: int = Field(default=20160509, ge=0, lt=2**32)

    @classmethod
    def read(cls, options: Mapping[str, Any], kinds: Sequence[str]) -> "SearchOptions":
        """Read a policy's ``trainer_options``; raises ``InvalidInput`` with what is wrong."""
        try:
            said = cls.model_validate(options.get("search", {}))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in ("trainer_options.search", *first["loc"]))
            raise InvalidInput(f"{where}: {first['msg']}") from error
        if unknown := sorted({*said.kinds, *said.space} - set(kinds)):
            raise InvalidInput(
                f"trainer_options.search: no kind of model {', '.join(unknown)}; there are {', '.join(kinds)}"
            )
        if not said.kinds:
            raise InvalidInput(f"trainer_options.search.kinds: name at least one of {', '.join(kinds)}")
        return said


class Proposal(BaseModel):
    """A kind of model with its parameters."""

    model_config = ConfigDict(frozen=True)
    kind: str
    parameters: dict[str, Any]


class Plan(Document):
    """What a search is going to do; it never changes.

    Attributes:
        rows: to fit to, by rung; rising.
        all_rows: of the training set, to which the winner is fitted.
        seconds: that may be spent in all, as the money reserved allows.
        dataset_key: the saved set.
    """

    candidates: tuple[Proposal, ...]
    rows: tuple[int, ...]
    all_rows: int
    eta: int
    metric: Metric
    seed: int
    seconds: float
    dataset_key: str = ""
    dataset_digest: str = ""

    def name(self, number: int) -> str:
        """Return what a candidate is called."""
        return f"{self.candidates[number].kind}-{number:02}"


class Fit(Document):
    """What came of fitting a candidate in a rung.

    Attributes:
        value: the metric; None where it could not be fitted.
        seconds: of the fit alone.
        billed: seconds since what was stored before: reading data, too.
        attempt: in which it was fitted.
    """

    rung: int
    number: int
    value: float | None = None
    text: str = ""
    seconds: float
    billed: float
    attempt: str = ""


class Mark(Document):
    """Who is at something.

    Attributes:
        times: how often it was begun.
        owner: by whom last (``attempts.Runner``).
        until: wall time at which that one is stopped; None: never.
    """

    times: int
    owner: str
    until: datetime | None


Begun = Literal["begun", "held", "killed"]

Fits = Mapping[tuple[int, int], Fit]
"""By rung and number."""


class Position(BaseModel):
    """Where a search is.

    Attributes:
        rung: the one that is on, or the last one.
        pending: its candidates that were not fitted yet.
        over: whether nothing more is tried; then ``pending`` is empty.
        text: why no further rung is tried, where there would be one.
    """

    model_config = ConfigDict(frozen=True)
    rung: int
    pending: tuple[int, ...]
    over: bool
    text: str = ""


def rungs(rows: int, candidates: int, eta: int, min_rows: int) -> tuple[int, ...]:
    """Return the rows of each rung: the last has all, each before it an ``eta``-th, while there are some to halve."""
    least = min(min_rows, rows)
    most = int(math.log(candidates, eta) + 1e-9)
    count = min(most, int(math.log(rows / least, eta) + 1e-9)) if rows > least else 0
    return (*(max(least, rows // eta**k) for k in range(count, 0, -1)), rows)


def entrants(plan: Plan, fits: Fits, rung: int) -> tuple[int, ...]:
    """Return the candidates of a rung: all in the first, then the best of the one before; those that failed are out."""
    if rung == 0:
        return tuple(range(len(plan.candidates)))
    before = ranked(plan, fits, rung - 1)
    return tuple(sorted(before[: math.ceil(len(entrants(plan, fits, rung - 1)) / plan.eta)]))


def ranked(plan: Plan, fits: Fits, rung: int) -> tuple[int, ...]:
    """Return the candidates that were fitted in a rung, best first; of equal ones the first drawn."""
    sign = -1.0 if plan.metric in RISING else 1.0
    values = {f.number: sign * f.value for f in fits.values() if f.rung == rung and f.value is not None}
    return tuple(sorted(values, key=lambda number: (values[number], number)))


def position(plan: Plan, fits: Fits) -> Position:
    """Return where a search is, which follows from plan and fits alone."""
    for rung in range(len(plan.rows)):
        inside = entrants(plan, fits, rung)
        pending = tuple(number for number in inside if (rung, number) not in fits)
        text = _unaffordable(plan, fits, rung, pending)
        if text:
            last = rung if any(f.rung == rung for f in fits.values()) else rung - 1
            return Position(rung=max(0, last), pending=(), over=True, text=text)
        if pending:
            return Position(rung=rung, pending=pending, over=False)
        if rung + 1 < len(plan.rows) and len(ranked(plan, fits, rung)) <= 1:
            return Position(rung=rung, pending=(), over=True)
    return Position(rung=len(plan.rows) - 1, pending=(), over=True)


def winner(plan: Plan, fits: Fits) -> int | None:
    """Return the best candidate of the highest rung that has all its fits, or else of the highest that has one."""
    done = [rung for rung in range(len(plan.rows)) if ranked(plan, fits, rung)]
    whole = [rung for rung in done if all((rung, n) in fits for n in entrants(plan, fits, rung))]
    chosen = whole or done
    return ranked(plan, fits, chosen[-1])[0] if chosen else None


def expected(plan: Plan, fits: Fits, rung: int, number: int) -> float:
    """Return how many seconds a fit may take: as its last did, by rows; before its first, as its kind's longest did."""
    if (rung - 1, number) in fits:
        return fits[rung - 1, number].seconds * plan.rows[rung] / plan.rows[rung - 1]
    kind = plan.candidates[number].kind
    same = [f.seconds for f in fits.values() if f.rung == rung and plan.candidates[f.number].kind == kind]
    return max(same, default=0.0)


def finishing(plan: Plan, fits: Fits) -> float:
    """Return how many seconds it may take to fit the winner as it will be kept."""
    best = winner(plan, fits)
    if best is None:
        return 0.0
    last = max((f for f in fits.values() if f.number == best), key=lambda f: f.rung)
    return FINAL_FITS * last.seconds * plan.all_rows / plan.rows[last.rung]


def spent(fits: Fits) -> float:
    """Return the seconds of a search that are behind it."""
    return math.fsum(fit.billed for fit in fits.values())


def _unaffordable(plan: Plan, fits: Fits, rung: int, pending: Sequence[int]) -> str:
    """Say why not to go on: a rung is begun only if all of it, and the winner's fits, can be paid."""
    if not pending or not fits:
        return ""
    begun = any(f.rung == rung for f in fits.values())
    ahead = [expected(plan, fits, rung, n) for n in pending]
    # In the first rung nobody knows what the others take; after it a rung is paid as a whole.
    needed = (max(ahead) if rung == 0 else math.fsum(ahead)) + finishing(plan, fits)
    if (begun and rung > 0) or spent(fits) + needed <= plan.seconds:
        return ""
    what = f"{len(pending)} more of the first fits" if rung == 0 else f"rung {rung + 1} of {len(plan.rows)}"
    return (
        f"{what} would take {needed:.0f} s after {spent(fits):.0f} s, and what was reserved pays {plan.seconds:.0f} s"
    )


# --- storage -----------------------------------------------------------------------------


def load_plan(tables: Tables, workspace: str, training_id: str) -> Plan | None:
    """Return the plan of a search; None before there is one."""
    item = tables.get("retraining", _key(workspace, training_id, "PLAN"))
    return Plan.model_validate_json(item["document"]) if item else None


def keep_plan(tables: Tables, workspace: str, training_id: str, plan: Plan) -> Plan:
    """Store a plan unless there is one, and return the one that holds."""
    try:
        tables.write([Put("retraining", _item(_key(workspace, training_id, "PLAN"), plan), Absent())])
    except ConditionFailed:
        return load_plan(tables, workspace, training_id) or plan
    return plan


def load_fits(tables: Tables, workspace: str, training_id: str) -> dict[tuple[int, int], Fit]:
    """Return all fits of a search."""
    items = every(tables, "retraining", _key(workspace, training_id, "").pk, prefix="FIT#")
    found = [Fit.model_validate_json(item["document"]) for item in items]
    return {(fit.rung, fit.number): fit for fit in found}


def keep_fit(tables: Tables, workspace: str, training_id: str, fit: Fit) -> Fit:
    """Store a fit unless somebody else did, and return the one that holds."""
    key = _key(workspace, training_id, f"FIT#{fit.rung:02}#{fit.number:04}")
    try:
        tables.write([Put("retraining", _item(key, fit), Absent())])
    except ConditionFailed:
        item = tables.get("retraining", key)
        return Fit.model_validate_json(item["document"]) if item else fit
    return fit


def begin(tables: Tables, workspace: str, training_id: str, what: str, runner: Runner) -> Begun:
    """Note that something is begun.

    Returns:
        ``held`` when somebody else is at it, and ``killed`` when it was begun twice and killed its function each time.
    """
    key = _key(workspace, training_id, f"MARK#{what}")
    item = tables.get("retraining", key)
    known = Mark.model_validate_json(item["document"]) if item else Mark(times=0, owner="", until=None)
    elsewhere = known.times and known.owner != runner.owner
    if elsewhere and (known.until is None or known.until > runner.wall()):
        return "held"
    if known.times >= _TWICE:
        return "killed"
    mark = Mark(times=known.times + 1, owner=runner.owner, until=runner.until)
    marked: Item = {**_item(key, mark), "times": mark.times}
    try:
        tables.write([Put("retraining", marked, Is("times", known.times) if known.times else Absent())])
    except ConditionFailed:
        return "held"  # by whoever was faster
    return "begun"


def kept_by(fits: Fits) -> dict[str, float]:
    """Return, by attempt, the seconds of what it stored."""
    found: dict[str, float] = {}
    for fit in fits.values():
        found[fit.attempt] = found.get(fit.attempt, 0.0) + fit.billed
    return found


def _key(workspace: str, training_id: str, sk: str) -> Key:
    return Key(f"WS#{workspace}#SEARCH#{training_id}", sk)


def _item(key: Key, document: Document) -> Item:
    return {**key._asdict(), "document": document.model_dump_json()}
