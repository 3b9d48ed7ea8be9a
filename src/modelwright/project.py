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

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from modelwright.declarations import ColumnType, Declared, Described, Name, columns_of
from modelwright.definitions import Aggregate, Entity, Expected, OnDemand, Service, View, derived, on_demand
from modelwright.errors import NotFound
from modelwright.policies import Environment, Fairness, GatePolicy, MonitoringPolicy, RetrainingPolicy, RolloutPolicy
from modelwright.sources import Baseline, Column, Derived, DriftPolicy, Healing, Source
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
    "Environment",
    "Expected",
    "Fairness",
    "GatePolicy",
    "Healing",
    "MonitoringPolicy",
    "Name",
    "OnDemand",
    "RetrainingPolicy",
    "RolloutPolicy",
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
        if watched.streams and self.task == "ranking":
            raise ValueError("streams are told errors one by one, and a model of task ranking has none of single rows")
        if self.rank_by and self.rank_by not in self.request:
            raise ValueError(f"rank_by names {self.rank_by}, which is no request column: {', '.join(self.request)}")
        known = {*self.request, *(f"feature_{name}" for name in self.inputs)}
        for expression in (*watched.segments, *(fairness.group for fairness in watched.fairness)):
            if unknown := sorted(columns_of(expression) - known):
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
    def _references_are_of_models(self) -> "Project":
        for name, source in self.sources.items():
            wanted = source.drift.reference
            if wanted.kind == "training" and wanted.model not in self.models:
                told = f"source {name} is compared with the training of {wanted.model}, which is not declared"
                raise ValueError(f"{told}: there are {', '.join(self.models) or 'no models'}")
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
