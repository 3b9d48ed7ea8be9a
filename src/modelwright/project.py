"""What a team declares, validated: sources, feature views, models and policies.

``modelwright apply`` reads ``modelwright.toml`` and ``features.py``, makes one ``Project`` of
them, and stores it as JSON beside a content-addressed wheel of the team's code. Every function
reads the same document, so nobody's definitions drift from anybody else's.

================  ==========================  =============
entity            pk                          sk
================  ==========================  =============
current project   ``WS#<ws>#PROJECT``         ``CURRENT``
applied project   ``WS#<ws>#PROJECT``         ``<digest>``
================  ==========================  =============
"""

import ast
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from modelwright.definitions import (
    Aggregate,
    Baseline,
    Column,
    ColumnType,
    Declared,
    Derived,
    Described,
    DriftPolicy,
    Entity,
    Expected,
    Healing,
    Name,
    OnDemand,
    Service,
    Source,
    View,
    derived,
    on_demand,
)
from modelwright.errors import NotFound
from modelwright.storage import Key, Tables

DAY_S = 86_400
__all__ = [
    "Aggregate",
    "Baseline",
    "Column",
    "ColumnType",
    "Declared",
    "Derived",
    "Described",
    "DriftPolicy",
    "Entity",
    "Expected",
    "Healing",
    "Name",
    "OnDemand",
    "Service",
    "Source",
    "View",
    "derived",
    "on_demand",
]


class Label(Declared):
    """What a model predicts: whether ``column`` of a label source is above a threshold, or the column itself.

    Attributes:
        above: the threshold of a yes or no; None where the value itself is predicted.
    """

    source: str
    column: str
    above: float | None = None


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
    threshold: float = 0.5
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
    look_backs: tuple[int, ...] = (1, 2)
    auc_fall: float = 0.02
    calibration_gap: float = 0.02
    alpha: float = Field(default=0.05, gt=0, lt=1)
    error_rise: float = Field(default=0.05, ge=0)
    segments: tuple[str, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    estimators: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()


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
    window_days: int = 364
    holdout_days: int = 7
    cooldown_days: int = 21
    retry_hours: int = 24
    max_age_days: int = 84
    min_new_labels: int = 20_000
    budget: float = 5.0
    reserve: float = 0.05
    trainer: str = "lambda"
    trainer_options: dict[str, Any] = Field(default_factory=dict)
    veto_on_quarantine: bool = True
    queue: bool = False
    queue_limit: int = Field(default=100, ge=1, le=1000)
    min_gain: float = Field(default=0.0, ge=0)


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
    min_rows: int = 200
    alpha: float = 0.05
    margin: float = 0.005
    judge: str = "paired_confidence_sequence"
    shadow: bool = True
    max_days: int = 60

    @model_validator(mode="after")
    def _steps_rise_to_all(self) -> "RolloutPolicy":
        if not self.steps or list(self.steps) != sorted({*self.steps, 100}) or self.steps[0] < 1:
            raise ValueError(f"the steps of a rollout rise from at least 1 to 100 percent, not {self.steps}")
        return self


class Model(Service):
    """A model, and the feature service of its name: what it is asked and fed, how it is trained, watched and replaced.

    Attributes:
        id_column: request column that names a prediction; labels join by it.
        trainer: ``module:function`` in the team's code: ``(frame, labels, parameters) -> model``; with the built-in
            search ``automl`` nothing has to be named.
        task: what kind of answer it gives: a probability, a number, an order within a group, a number of the future.
        rank_by: of a ranking, the request column whose equal values make one list.
        season: of forecasting, after how many steps the naive forecast repeats itself.
        environments: by environment (``dev``, ``staging``, ``prod``), what its policy says otherwise than ``gates``.
    """

    id_column: str
    label: Label
    task: Literal["classification", "regression", "ranking", "forecasting"] = "classification"
    rank_by: str = ""
    season: int = Field(default=1, ge=1)
    trainer: str = ""
    parameters: dict[str, float] = Field(default_factory=dict)
    monitoring: MonitoringPolicy = Field(default_factory=MonitoringPolicy)
    retraining: RetrainingPolicy = Field(default_factory=RetrainingPolicy)
    gates: GatePolicy = Field(default_factory=GatePolicy)
    rollout: RolloutPolicy = Field(default_factory=RolloutPolicy)
    environments: dict[Environment, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _task_fits_label(self) -> "Model":
        if (self.task == "classification") != (self.label.above is not None):
            said = "needs a label with a threshold, above" if self.task == "classification" else "takes no threshold"
            raise ValueError(f"a model of task {self.task} {said}")
        if self.task == "ranking" and not self.rank_by:
            raise ValueError("a model of task ranking needs rank_by, the request column that makes a list")
        return self

    @model_validator(mode="after")
    def _task_can_be_watched_so(self) -> "Model":
        watched = self.monitoring
        if watched.fairness and self.task != "classification":
            raise ValueError(f"fairness compares answers of yes or no: a model of task {self.task} gives none")
        if "cbpe" in watched.estimators and self.task != "classification":
            raise ValueError(f"the estimator cbpe needs probabilities: a model of task {self.task} gives none")
        if watched.estimators and self.task == "ranking":
            raise ValueError("of a model of task ranking nothing can be estimated without labels")
        if self.rank_by and self.rank_by not in self.request:
            raise ValueError(f"rank_by names {self.rank_by}, which is no request column: {', '.join(self.request)}")
        known = {*self.request, *(f"feature_{name}" for name in self.inputs)}
        for expression in (*watched.segments, *(fairness.group for fairness in watched.fairness)):
            if unknown := sorted(_columns_of(expression) - known):
                told = f"{expression!r} names {', '.join(unknown)}, which is neither asked nor fed"
                raise ValueError(f"{told}: there are {', '.join(sorted(known))}")
        return self

    @model_validator(mode="after")
    def _somebody_trains(self) -> "Model":
        if not self.trainer and self.retraining.trainer != "automl" and self.task != "ranking":
            raise ValueError(
                "trainer must be module:function, such as trainer:train, or retraining.trainer must be automl, "
                "the built-in search, for which nothing has to be named"
            )
        if self.retraining.trainer == "automl" and self.task == "ranking":
            raise ValueError("the trainer automl searches for classification, regression and forecasting, not ranking")
        return self

    @model_validator(mode="after")
    def _environments_are_policies(self) -> "Model":
        for environment in self.environments:
            self.policy(environment)
        return self

    def policy(self, environment: str) -> GatePolicy:
        """Return how versions take aliases in an environment: ``gates``, but for what is said of it in particular."""
        own = {str(name): policy for name, policy in self.environments.items()}.get(environment, {})
        return GatePolicy.model_validate({**self.gates.model_dump(), **own}) if own else self.gates


class Project(Declared):
    """All of a team's declarations, and the digest of the code they came with.

    Attributes:
        wheel: key of the code's wheel in the artifacts bucket; empty when there is no code.
    """

    name: Name
    digest: str = ""
    wheel: str = ""
    sources: dict[Name, Source]
    entities: dict[Name, Entity] = Field(default_factory=dict)
    views: dict[Name, View] = Field(default_factory=dict)
    on_demand: dict[Name, OnDemand] = Field(default_factory=dict)
    services: dict[Name, Service] = Field(default_factory=dict)
    models: dict[Name, Model] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sources_are_declared(self) -> "Project":
        for name, source in self.sources.items():
            if source.derived and source.derived.source not in self.sources:
                raise ValueError(f"source {name} is derived from {source.derived.source}, which is not declared")
        for name, view in self.views.items():
            if view.source not in self.sources:
                raise ValueError(f"view {name} reads source {view.source}, which is not declared")
        for name, model in self.models.items():
            if model.label.source not in self.sources:
                raise ValueError(f"model {name} takes labels from {model.label.source}, which is not declared")
        return self

    @model_validator(mode="after")
    def _views_are_declared(self) -> "Project":
        if both := sorted(set(self.services) & set(self.models)):
            raise ValueError(f"these are feature services and models, which are services too: {', '.join(both)}")
        for name, model in self.models.items():
            for used in model.views:
                if used not in self.views:
                    raise ValueError(f"model {name} uses view {used}, which is not declared")
        for name, service in self.services.items():
            for used in service.views:
                if used not in self.views:
                    raise ValueError(f"feature service {name} uses view {used}, which is not declared")
        return self

    def model(self, name: str) -> Model:
        """Return a model; raises ``NotFound`` with what there is."""
        if name not in self.models:
            raise NotFound(f"model {name} is not in project {self.name}: it has {', '.join(self.models) or 'none'}")
        return self.models[name]

    def service(self, name: str) -> Service:
        """Return a feature service, or a model, which is one too; raises ``NotFound`` with what there is."""
        known = {**self.services, **self.models}
        if name not in known:
            raise NotFound(f"there is no feature service {name}: there are {', '.join(known) or 'none'}")
        return known[name]

    def entities_of(self, view: View) -> tuple[str, ...]:
        """Return the entities that a view is about: the one of its join keys, else those that they are made up of."""
        exact = tuple(name for name, entity in self.entities.items() if entity.join_keys == view.entity)
        return exact or tuple(n for n, entity in self.entities.items() if set(entity.join_keys) < set(view.entity))

    def origins(self, source: str) -> tuple[str, ...]:
        """Return a source and those that its rows are made from, nearest first."""
        chain = [source]
        while (derived := self.sources[chain[-1]].derived) and derived.source not in chain:
            chain.append(derived.source)
        return tuple(chain)

    def source_of(self, key: str) -> str:
        """Return the name of the source whose files land under this key; raises ``NotFound``."""
        for name, source in self.sources.items():
            if source.prefix and key.startswith(source.prefix):
                return name
        prefixes = ", ".join(s.prefix for s in self.sources.values() if s.prefix)
        raise NotFound(f"no source of project {self.name} takes {key}: their prefixes are {prefixes}")


def _columns_of(expression: str) -> set[str]:
    """Return the columns that an expression names; in backticks any, else such as Python could name."""
    quoted = set(re.findall("`([^`]+)`", expression))
    try:
        tree = ast.parse(re.sub("`[^`]+`", "0", expression).strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{expression!r} is no expression over columns: {error}") from error
    return quoted | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def features_named(views: Mapping[str, View], name: str) -> tuple[tuple[str, str], ...]:
    """Return the features, each with its view, that a name can mean: one if it says the view, else all called so."""
    for separator in (":", "__"):
        view, found, feature = name.partition(separator)
        if found and view in views and feature in views[view].feature_names():
            return ((view, feature),)
    return tuple((view, name) for view, declared in views.items() if name in declared.feature_names())


def current_key(workspace: str) -> Key:
    """Return the key of the workspace's current project."""
    return Key(f"WS#{workspace}#PROJECT", "CURRENT")


def load_current(tables: Tables, workspace: str) -> Project:
    """Return the workspace's project.

    Raises:
        NotFound: none was applied yet.
    """
    item = tables.get("governance", current_key(workspace))
    if item is None:
        raise NotFound(f"workspace {workspace} has no project yet: run `modelwright apply`")
    return Project.model_validate_json(item["project"])


def applied(tables: Tables, workspace: str, digest: str) -> Project | None:
    """Return the workspace's project of a digest, whose code is kept too; None if none was ever applied."""
    item = tables.get("governance", Key(current_key(workspace).pk, digest)) if digest else None
    return None if item is None else Project.model_validate_json(item["project"])
