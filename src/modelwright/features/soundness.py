"""Whether what a team declares of its features fits together; asked when a project is read and when it is applied.

``modelwright.project`` checks each declaration by itself, and that what it names is declared. Here is what takes two
to see: columns and their types, join keys, who computes what from what. Every fault names the thing and what to do.
"""

from collections.abc import Iterator, Mapping, Sequence

from modelwright.errors import InvalidInput, NotFound
from modelwright.features.aggregates import sound
from modelwright.features.plan import plan_of
from modelwright.project import Model, OnDemand, Project, Service, View, features_named

_SAID = 10
"""Faults that an error tells of."""


def require_sound(project: Project) -> None:
    """Raise ``InvalidInput`` with the first faults of a project's declarations, if there are any."""
    for faults in (_faults_of_sources, _faults_of_views, _faults_of_functions, _faults_of_services):
        if found := list(faults(project)):  # what follows of these faults would only hide them
            more = f"; and {len(found) - _SAID} more" if len(found) > _SAID else ""
            raise InvalidInput("; ".join(found[:_SAID]) + more)


def reads(project: Project, service: Service) -> dict[str, tuple[str, ...]]:
    """Return the features that a feature service needs, by view or on-demand group; raises as ``plan_of`` does."""
    plan = plan_of(project, service)
    found = {name: plan.features(name) for name in plan.views}
    for name, group in plan.on_demand.items():
        found[name] = (*found.get(name, ()), *group.outputs)
    return found


# --- sources -----------------------------------------------------------------------------


def _faults_of_sources(project: Project) -> Iterator[str]:
    for name, source in project.sources.items():
        if not source.key:
            yield f"source {name} has no key: name the columns that tell its rows apart"
        for column in filter(None, (source.event_time, source.available_at)):
            kind = source.columns[column].type
            if kind != "timestamp":
                yield f"source {name} takes a time from {column}, a {kind}: declare it as a timestamp"
    yield from _cycles(project)
    yield from _hidden(project)


def _cycles(project: Project) -> Iterator[str]:
    told: set[str] = set()
    for name in project.sources:
        chain = project.origins(name)
        last = project.sources[chain[-1]].derived
        if last and last.source == name and name not in told:
            told.update(chain)
            yield f"source {name} is derived from itself: {' from '.join([*chain, name])}: begin with one that is not"


def _hidden(project: Project) -> Iterator[str]:
    prefixes = [(name, source.prefix) for name, source in project.sources.items() if source.prefix]
    for place, (name, prefix) in enumerate(prefixes):
        for other, earlier in prefixes[:place]:
            if prefix.startswith(earlier):
                yield f"no file ever reaches source {name}: {other} takes all below {earlier}: declare {name} before it"
                break


# --- views -------------------------------------------------------------------------------


def _faults_of_views(project: Project) -> Iterator[str]:
    for name, view in project.views.items():
        yield from _faults_of_view(project, name, view)
    for name, entity in project.entities.items():
        yield from _faults_of_keys(project, name, entity.join_keys)


def _faults_of_view(project: Project, name: str, view: View) -> Iterator[str]:
    source = project.sources[view.source]
    there = f"which source {view.source} does not declare: it has {', '.join(source.columns)}"
    if missing := [key for key in view.entity if key not in source.columns]:
        yield f"view {name} joins by {', '.join(missing)}, {there}"
    if missing := [feature for feature in view.features if feature not in source.columns]:
        yield f"view {name} serves {', '.join(missing)}, {there}"
    if not view.feature_names():
        yield f"view {name} serves nothing: give it features, or aggregates and windows"
    if twice := _repeated(view.feature_names()):
        yield f"view {name} serves two features called {twice[0]}: name them apart"
    try:
        sound(name, view, source)
    except InvalidInput as error:
        yield f"view {error}"
    else:
        if not missing:
            yield from _faults_of_expectations(project, name, view)


def _faults_of_expectations(project: Project, name: str, view: View) -> Iterator[str]:
    types = view.types(project.sources[view.source])
    for feature, expected in view.expected.items():
        bounded = expected.low is not None or expected.high is not None
        if bounded and types[feature] not in ("integer", "number", "boolean"):
            yield f"view {name} expects {feature}, a {types[feature]}, within numbers: only `missing` can be said of it"


def _faults_of_keys(project: Project, name: str, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        types: dict[str, str] = {}
        for called, view in project.views.items():
            if key in view.entity and key in project.sources[view.source].columns:
                types.setdefault(project.sources[view.source].columns[key].type, called)
        if len(types) > 1:
            said = " and ".join(f"a {kind} in view {view}" for kind, view in types.items())
            yield f"entity {name} joins by {key}, {said}: give it one type in their sources"


# --- on-demand features ------------------------------------------------------------------


def _faults_of_functions(project: Project) -> Iterator[str]:
    known = {output for group in project.on_demand.values() for output in group.outputs}
    asked = {column for service in _services(project).values() for column in service.request}
    for name, group in project.on_demand.items():
        if not group.outputs:
            yield f"on-demand features {name} give nothing: name their outputs"
        nowhere = [i for i in group.inputs if i not in known | asked | set(group.request) and not _stored(project, i)]
        for one in nowhere:
            yield (
                f"on-demand features {name} read {one}, which is no feature, and which nothing is asked with: "
                f"write request={{'{one}': '<type>'}} if callers bring it"
            )


def _stored(project: Project, name: str) -> bool:
    return bool(features_named(project.views, name))


# --- services ----------------------------------------------------------------------------


def _services(project: Project) -> Mapping[str, Service]:
    return {**{f"model {name}": m for name, m in project.models.items()},
            **{f"feature service {name}": s for name, s in project.services.items()}}  # fmt: skip


def _faults_of_services(project: Project) -> Iterator[str]:
    for called, service in _services(project).items():
        try:
            plan = plan_of(project, service)
        except (NotFound, InvalidInput) as error:
            yield f"{called}: {error}"
            continue
        yield from (f"{called}: {fault}" for fault in _faults_of_request(project, service, plan.views))
        yield from (f"{called}: {fault}" for fault in _faults_of_order(service, plan.on_demand))
        yield from (f"{called}: {fault}" for fault in _faults_of_names(service))
        if isinstance(service, Model):
            yield from (f"{called}: {fault}" for fault in _faults_of_label(project, service))


def _faults_of_request(project: Project, service: Service, views: Mapping[str, View]) -> Iterator[str]:
    time = service.time_column
    if service.request.get(time, "timestamp") != "timestamp":
        yield f"its time column {time} is a {service.request[time]} in request: make it a timestamp"
    for name, view in views.items():
        for key in view.entity:
            kind, asked = project.sources[view.source].columns[key].type, service.request[key]
            if kind != asked:
                yield f"{key} is a {asked} in request, and view {name} joins by a {kind}: make them one type"


def _faults_of_order(service: Service, needed: Mapping[str, OnDemand]) -> Iterator[str]:
    computed: set[str] = set()
    of = {output: name for name, group in needed.items() for output in group.outputs}
    for name, group in needed.items():
        for one in group.inputs:
            if one in of and one not in computed:
                yield f"on-demand features {name} read {one} of {of[one]}: name {of[one]} before {name} in on_demand"
        if clash := sorted(computed & set(group.outputs)):
            yield f"on-demand features {name} give {clash[0]}, which others before them do: name them apart"
        if clash := [output for output in group.outputs if output in service.request]:
            yield f"on-demand features {name} give {clash[0]}, which is in request too: name them apart"
        computed |= set(group.outputs)


def _faults_of_names(service: Service) -> Iterator[str]:
    if twice := _repeated(service.inputs):
        yield f"{twice[0]} is twice among its inputs: name it once"
    if strange := [name for name in service.categorical if name not in service.inputs]:
        yield f"{', '.join(strange)} are said to be categories and are no inputs: they are {', '.join(service.inputs)}"


def _faults_of_label(project: Project, model: Model) -> Iterator[str]:
    columns, label = project.sources[model.label.source].columns, model.label
    if label.column not in columns:
        yield f"its label is of {label.column}, which source {label.source} has not: it has {', '.join(columns)}"
    elif (kind := columns[label.column].type) in ("string", "timestamp"):
        yield f"its label {label.column} of source {label.source} is a {kind}: make it a number or a boolean"
    elif model.id_column not in columns:
        told = f"labels join by {model.id_column}, which source {label.source} has not"
        yield f"{told}: it has {', '.join(columns)}"


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for place, name in enumerate(names) if name in names[:place]]
