"""What the inputs of a model (or feature service) are made of: request columns, stored and on-demand features.

An input is named by its bare name where that is unique among its views, else as
``view__feature`` or ``view:feature``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

from modelwright.errors import InvalidInput, ModelwrightError, NotFound
from modelwright.project import ColumnType, OnDemand, Project, Service, View, features_named

RowFunction = Callable[[dict[str, Any]], Mapping[str, Any]]
Load = Callable[[str], RowFunction]
"""Returns the function that a reference ``module:function`` names in the team's code."""


class Stored(NamedTuple):
    """A feature of a view."""

    view: str
    feature: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How the inputs of a feature service, such as a model, are come by.

    Attributes:
        stored: stored features needed, by the name that reads them.
        on_demand: on-demand groups needed, in order of computation.
    """

    service: Service
    views: Mapping[str, View]
    stored: Mapping[str, Stored]
    on_demand: Mapping[str, OnDemand]

    def features(self, view: str) -> tuple[str, ...]:
        """Return the features needed of a view."""
        return tuple(dict.fromkeys(s.feature for s in self.stored.values() if s.view == view))


def plan_of(project: Project, service: Service | str) -> Plan:
    """Resolve every input of a feature service.

    Raises:
        NotFound: a service, view or input that is not declared.
        InvalidInput: a name that is ambiguous, or a join key that is no request column.
    """
    service = project.service(service) if isinstance(service, str) else service
    views = {name: project.views[name] for name in service.views}
    groups = {name: _group(project, name) for name in service.on_demand}
    outputs = {output: name for name, group in groups.items() for output in group.outputs}
    stored: dict[str, Stored] = {}
    needed: set[str] = set()
    waiting = list(service.inputs)
    while waiting:
        name = waiting.pop()
        if name in outputs:
            if outputs[name] not in needed:
                needed.add(outputs[name])
                waiting.extend(groups[outputs[name]].inputs)
        elif name not in service.request and name not in stored:
            stored[name] = _stored(views, name)
    used = {s.view for s in stored.values()}
    for name in used:
        _joinable(service, name, views[name])
    return Plan(
        service,
        {name: view for name, view in views.items() if name in used},
        stored,
        {name: group for name, group in groups.items() if name in needed},
    )


def service_of(project: Project, features: Sequence[str], *, time_column: str = "event_timestamp") -> Service:
    """Return the feature service that asks for these features, ``view:feature`` or ``group:output`` each.

    Raises:
        NotFound: a view, group or feature that is not declared; the text says what is.
        InvalidInput: a reference names no feature, or two views join by columns of one name and different types.
    """
    views: dict[str, None] = {}
    groups: dict[str, None] = {}
    request: dict[str, ColumnType] = {time_column: "timestamp"}
    for reference in features:
        name, found, feature = reference.partition(":")
        if not found:
            raise InvalidInput(f"{reference!r} names no feature: write view:feature")
        if name in project.on_demand:
            groups[name] = None
            if feature not in project.on_demand[name].outputs:
                there = ", ".join(project.on_demand[name].outputs)
                raise NotFound(f"on-demand features {name} give no {feature}: they give {there}")
            request.update(project.on_demand[name].request)
        else:
            views[find(project, name, feature).view] = None
    for name in _views_read(project, groups):
        views[name] = None
    for name in views:
        source = project.sources[project.views[name].source]
        for key in project.views[name].entity:
            kind = source.columns[key].type
            if request.setdefault(key, kind) != kind:
                raise InvalidInput(f"{key} is a {kind} in view {name} and a {request[key]} elsewhere: ask apart")
    outputs = {f"{group}:{output}": output for group in groups for output in project.on_demand[group].outputs}
    inputs = tuple(outputs.get(reference, reference) for reference in features)
    return Service(request=request, time_column=time_column, views=tuple(views), on_demand=tuple(groups), inputs=inputs)


def find(project: Project, view: str, feature: str) -> Stored:
    """Return a feature of the project; raises ``NotFound`` that says what exists."""
    if view not in project.views:
        raise NotFound(f"there is no feature view {view}: there are {', '.join(project.views) or 'none'}")
    names = project.views[view].feature_names()
    if feature not in names:
        raise NotFound(f"feature view {view} has no feature {feature}: it has {', '.join(names)}")
    return Stored(view, feature)


def compute(plan: Plan, functions: Mapping[str, RowFunction], row: dict[str, Any], number: int) -> None:
    """Add a row's on-demand features to it, in place.

    Numbers become floats and NaN None, so that a batch and a single row have the same types.

    Args:
        plan: whose features.
        functions: its row functions.
        row: what they read.
        number: which row it is of those that were asked about, for who has to learn of a failure.

    Raises:
        InvalidInput: a function fails, or does not give what it is declared to give.
    """
    for name, group in plan.on_demand.items():
        try:
            given = functions[name]({column: row[column] for column in group.inputs})
            row.update({output: _output(given, name, output) for output in group.outputs})
        except ModelwrightError:
            raise
        except Exception as error:  # a team's function may raise anything, and its text may quote what nobody may see
            kind = type(error).__name__
            raise InvalidInput(f"on-demand features {name} failed for row {number}: {kind}") from error


def functions_of(plan: Plan, load: Load) -> dict[str, RowFunction]:
    """Load the row functions that a plan needs."""
    return {name: load(group.function) for name, group in plan.on_demand.items()}


def _output(given: Mapping[str, Any], name: str, output: str) -> float | str | None:
    if output not in given:
        raise InvalidInput(f"on-demand features {name} gave no {output}: {', '.join(given)}")
    value = given[output]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        try:
            return None if isnan(value) else float(value)
        except OverflowError as error:
            raise InvalidInput(f"on-demand features {name} gave an integer as {output} that fits no number") from error
    kind = type(value).__name__
    raise InvalidInput(f"on-demand features {name} gave a {kind} as {output}: give a number or a string")


def _views_read(project: Project, groups: Iterable[str]) -> Iterator[str]:
    for group in groups:
        for name in project.on_demand[group].inputs:
            yield from (view for view, _ in features_named(project.views, name))


def _group(project: Project, name: str) -> OnDemand:
    if name not in project.on_demand:
        raise NotFound(f"there are no on-demand features {name}: there are {', '.join(project.on_demand) or 'none'}")
    return project.on_demand[name]


def _stored(views: Mapping[str, View], name: str) -> Stored:
    having = features_named(views, name)
    if not having:
        known = ", ".join(f for v in views.values() for f in v.feature_names())
        raise NotFound(f"the input {name} is no request column, stored or on-demand feature; stored are {known}")
    if len(having) > 1:
        in_views = ", ".join(view for view, _ in having)
        raise InvalidInput(f"the input {name} is in the views {in_views}: write {having[0][0]}__{name}")
    return Stored(*having[0])


def _joinable(service: Service, name: str, view: View) -> None:
    if missing := [key for key in view.entity if key not in service.request]:
        raise InvalidInput(f"view {name} joins by {', '.join(missing)}, which is no request column")
