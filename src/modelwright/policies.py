"""A team's policies: when a model counts as degraded, when it is trained, who takes an alias, how one takes over."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from modelwright.declarations import Declared


class Fairness(Declared):
    """Whose groups a model must treat alike.

    Attributes:
        group: the request column or expression that names them.
        metric: ``demographic_parity`` (rates of a positive answer), ``equal_opportunity`` (of these among true
            positives), ``equalized_odds``, ``accuracy`` or ``calibration``.
        tolerance: the largest difference between groups that is allowed.
        threshold: from which score on an answer is positive.
        min_rows: smaller groups are not judged.
    """

    group: str
    metric: Literal["demographic_parity", "equal_opportunity", "equalized_odds", "accuracy", "calibration"] = (
        "equalized_odds"
    )
    tolerance: float = Field(default=0.1, gt=0, lt=1)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    min_rows: int = Field(default=200, ge=10)


class MonitoringPolicy(Declared):
    """When a champion counts as degraded. See ``modelwright.monitoring.degradation``.

    Attributes:
        min_rows: labelled rows that a window needs; smaller label files are taken together.
        look_backs: how many newest windows are compared with as many first ones.
        auc_fall: a smaller fall of the AUC does not matter.
        calibration_gap: a smaller difference of mean score and observed rate does not matter.
        alpha: chance of a false alarm per look, over all comparisons.
        error_rise: of a task without AUC, the share of the first error by which a rise does not matter.
        segments: request columns, inputs (as ``feature_<name>``) or expressions, by whose values figures are measured.
        fairness: whose groups must be treated alike.
        estimators: names of what estimates performance while labels are missing, ``cbpe`` or ``dle``.
        streams: names of detectors that are told the champion's errors one by one, ``adwin``, ``ddm``, ``hddm_a``,
            ``kswin`` or ``page_hinkley``: they speak sooner than windows, and more often of nothing.
    """

    min_rows: int = Field(default=300, ge=2)
    look_backs: tuple[Annotated[int, Field(ge=1, le=52)], ...] = Field(default=(1, 2), min_length=1)
    auc_fall: float = Field(default=0.02, ge=0, lt=1)
    calibration_gap: float = Field(default=0.02, ge=0, lt=1)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    error_rise: float = Field(default=0.05, ge=0)
    segments: tuple[str, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    estimators: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _judges_groups_once(self) -> "MonitoringPolicy":
        said = [(each.group, each.metric) for each in self.fairness]
        if twice := [one for place, one in enumerate(said) if one in said[:place]]:
            group, metric = twice[0]
            raise ValueError(f"fairness of {group!r} by {metric} is declared twice: one tolerance can hold")
        return self


class RetrainingPolicy(Declared):
    """When to train, on what, and what it may cost.

    Attributes:
        window_days: labelled history to train on.
        holdout_days: the newest part of it, on which challenger meets champion.
        cooldown_days: between trainings.
        retry_hours: after a training that failed, before the next; twice as long for each further failure in a row,
            up to the cooldown (but never less than this). A person who asks does not wait.
        max_age_days: a champion older than this is challenged anyway (trigger ``age``).
        min_new_labels: labels since the last training that trigger ``new_data`` waits for.
        budget: money per calendar month, in US dollars.
        reserve: money reserved per training.
        trainer: name of a trainer plugin.
        trainer_options: what the trainer is told besides: an instance type, a state machine, a search space.
        queue: whether triggers that come while a training or rollout is on wait for their turn; else they are refused.
        queue_limit: how many may wait.
        min_gain: the expected gain (what trainings of the past brought, or the fall since the champion was new) below
            which a training is not worth its price.
    """

    triggers: tuple[str, ...] = ("performance", "age", "manual")
    window_days: int = Field(default=364, ge=1)
    holdout_days: int = Field(default=7, ge=1)
    cooldown_days: int = Field(default=21, ge=0)
    retry_hours: int = Field(default=24, ge=0)
    max_age_days: int = Field(default=84, ge=1)
    min_new_labels: int = Field(default=20_000, ge=1)
    budget: float = Field(default=5.0, ge=0)
    reserve: float = Field(default=0.05, gt=0)
    trainer: str = "lambda"
    trainer_options: dict[str, Any] = Field(default_factory=dict)
    veto_on_quarantine: bool = True
    queue: bool = False
    queue_limit: int = Field(default=100, ge=1, le=1000)
    min_gain: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _can_be_paid_and_tried(self) -> "RetrainingPolicy":
        if self.budget and self.reserve > self.budget:
            raise ValueError(
                f"reserve ${self.reserve:g} is more than the month's budget ${self.budget:g}: none can start"
            )
        if self.holdout_days >= self.window_days:
            raise ValueError(f"holdout_days {self.holdout_days} leaves nothing of window_days {self.window_days}")
        return self


Environment = Literal["dev", "staging", "prod"]


class GatePolicy(Declared):
    """How a version takes an alias: which gates it passes, with their parameters, and who has to approve.

    Attributes:
        guarded: aliases that this is about; all others are free.
        gates: names of gate plugins.
        metric: what ``metric_floor`` looks at.
        floor: what it must reach (a loss: must not exceed).
        comparison: what is compared with the champion, on the same held-out rows: ``auc`` or ``brier``; by the gate
            ``not_inferior``, which reads the rows, also ``accuracy``, ``log_loss``, ``rmse`` and ``mae``.
        tolerance: how much worse, with 95 % confidence, the version may at most be; the canary's margin.
        max_bytes: size of all files of a version that ``size_budget`` allows.
        max_latency_ms: time to score one row that ``latency_budget`` allows.
        card: sections of the model card that ``card_complete`` wants to be written.
        approvals: how many people, other than who asked, have to approve.
        approve: aliases whose requests have to be approved; empty: all that are guarded. A challenger that its rollout
            finds no worse becomes champion without a request: where people must have seen every champion, name both.
        approvers: who may ask and approve where approvals are needed: ``people`` are those whom an identity provider
            vouches for, so that nobody, not even who gives out tokens, acts in two names.
        waits_days: a request that is not decided by then is refused.
        override: roles that may override the gates' no and missing approvals; nobody else may, whatever was granted.
        override_reason: the least length of the written reason, in characters.
    """

    guarded: tuple[str, ...] = ("champion", "challenger")
    gates: tuple[str, ...] = ("metric_floor", "beats_champion", "data_known")
    metric: str = "auc"
    floor: float = 0.6
    comparison: str = "brier"
    tolerance: float = 0.005
    max_bytes: int = Field(default=1_000_000_000, ge=1)
    max_latency_ms: float = Field(default=50.0, gt=0)
    card: tuple[str, ...] = ("intended_use", "limitations", "owner")
    approvals: int = Field(default=0, ge=0, le=10)
    approve: tuple[str, ...] = ()
    approvers: Literal["anyone", "people"] = "anyone"
    waits_days: int = Field(default=14, ge=1, le=3650)
    override: tuple[Literal["contributor", "approver", "admin"], ...] = ("admin",)
    override_reason: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _approves_what_it_guards(self) -> "GatePolicy":
        if free := sorted(set(self.approve) - set(self.guarded)):
            raise ValueError(f"approvals are for guarded aliases, and these are free: {', '.join(free)}")
        return self

    def approvals_for(self, alias: str) -> int:
        """Return how many approvals a request for an alias needs."""
        return self.approvals if alias in (self.approve or self.guarded) else 0


class RolloutPolicy(Declared):
    """How a challenger takes over.

    Attributes:
        steps: percent of traffic per step; the last is 100.
        min_rows: labelled rows that a step needs before the next one.
        alpha: chance of a false rollback over the whole rollout.
        margin: harm (mean loss difference) that is tolerated; it also pays for rows of a day that depend on each other.
        judge: name of a judge plugin.
        shadow: whether the challenger also scores what the champion answers, so that every row is evidence.
        max_days: a rollout that found no end by then is aborted.
    """

    steps: tuple[int, ...] = (10, 50, 100)
    min_rows: int = Field(default=200, ge=1)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    margin: float = Field(default=0.005, ge=0)
    judge: str = "paired_confidence_sequence"
    shadow: bool = True
    max_days: int = Field(default=60, ge=1)

    @model_validator(mode="after")
    def _steps_rise_to_all(self) -> "RolloutPolicy":
        if not self.steps or list(self.steps) != sorted({*self.steps, 100}) or self.steps[0] < 1:
            raise ValueError(f"the steps of a rollout rise from at least 1 to 100 percent, not {self.steps}")
        return self
