"""What applying a project would change: what is added, changed and removed, whom that touches, and what is refused.

What changes the values that readers of a view get is *breaking*: a feature that goes or becomes another, another
entity, source, kind of window or tile, a shorter time to live. It takes a new version of the view, beside which
nothing of the old one is served. More features, longer lives and descriptions are not breaking.

What a deployed version of a model is fed stays, by its name and type, whatever the version of its view: else the
model could not be asked. That is also so of its model's inputs, and of the model itself.

The rows of a source are kept under its key and times for good, so that these never change: that takes a new source.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from modelwright.errors import InvalidInput, NotFound
from modelwright.governance.breaking import breaking, inputs_of, types_of
from modelwright.project import Declared, Derived, Model, Project, Service, Source, View

Kind = Literal["source", "entity", "view", "on_demand", "service", "model"]
Features = Mapping[str, Sequence[str]]
"""Names of features by view or on-demand group."""
_PARTS: tuple[tuple[Kind, str], ...] = (
    ("source", "sources"),
    ("entity", "entities"),
    ("view", "views"),
    ("on_demand", "on_demand"),
    ("service", "services"),
    ("model", "models"),
)
_KEPT = ("key", "event_time", "available_at", "derived")
_COMPUTED = {"entity", "source", "features", "aggregates", "windows", "tumbling", "by", "tile", "version"}
_SPOKEN = frozenset({"description", "owner", "tags"})
_WIDER = frozenset({("boolean", "integer"), ("boolean", "number"), ("integer", "number")})


class Use(NamedTuple):
    """A registered version that is fed features.

    Attributes:
        deployed: the aliases it holds, and its share of the traffic; empty if it has neither.
        features: those that were asked for.
    """

    model: str
    version: int
    deployed: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class Knowledge:
    """What planning needs of other capabilities, brought by the function that plans.

    Attributes:
        require_sound: raises ``InvalidInput`` if declarations do not fit together.
        reads: the features that a service needs.
        uses: registered versions that are fed some of these features, ``view:feature``.
        deployed: the deployed versions of a registered model, with all features that they are fed, as they call them.
    """

    require_sound: Callable[[Project], None]
    reads: Callable[[Project, Service], Features]
    uses: Callable[[Sequence[str]], Sequence[Use]]
    deployed: Callable[[str], Sequence[Use]]


class Change(BaseModel):
    """What becomes of one declaration.

    Attributes:
        details: what is different about it.
        breaking: what readers of it would get otherwise than before.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    kind: Kind
    name: str
    change: Literal["added", "changed", "removed"]
    details: tuple[str, ...] = ()
    breaking: tuple[str, ...] = ()


class Affected(BaseModel):
    """A model or feature service, or a version of a model, that is fed features that change.

    Attributes:
        deployed: see ``Use``.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    kind: Literal["service", "model", "version"]
    name: str
    features: tuple[str, ...]
    deployed: str = ""


class Plan(BaseModel):
    """What applying a project would do.

    Attributes:
        first: whether none was applied before.
        code: whether the team's code is other than before.
        backfills: views that are computed from the rows that there are.
        refused: why it may not be applied; empty if it may.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    project: str
    first: bool
    code: bool
    changes: tuple[Change, ...]
    affected: tuple[Affected, ...]
    backfills: tuple[str, ...]
    refused: tuple[str, ...]

    def views(self, change: str) -> tuple[str, ...]:
        """Return the views that are ``added``, ``changed`` or ``removed``."""
        return tuple(c.name for c in self.changes if c.kind == "view" and c.change == change)


def plan(before: Project | None, after: Project, knowledge: Knowledge) -> Plan:
    """Compare what is applied with what would be.

    Raises:
        InvalidInput: what would be applied does not fit together.
    """
    knowledge.require_sound(after)
    first, before = before is None, before or Project(name=after.name, sources={})
    changes = tuple(_changes(before, after))
    moved = list(dict.fromkeys(_moved(before, after, changes)))
    uses = knowledge.uses(moved) if moved else ()
    return Plan(
        project=after.name,
        first=first,
        code=not first and before.digest != after.digest,
        changes=changes,
        affected=(*_affected(before, after, set(moved), knowledge), *_versions(uses)),
        backfills=tuple(n for n, view in after.views.items() if _shape(before.views.get(n)) != _shape(view)),
        refused=(
            *_refused_views(before, after, changes, uses),
            *_refused_groups(before, after, uses),
            *_refused_services(before, after, knowledge),
            *_refused_sources(before, after),
        ),
    )


# --- changes -----------------------------------------------------------------------------


def _changes(before: Project, after: Project) -> Iterator[Change]:
    for kind, part in _PARTS:
        was, now = getattr(before, part), getattr(after, part)
        for name, declared in now.items():
            if name not in was:
                yield Change(kind=kind, name=name, change="added", details=_told(declared))
            elif found := _changed(before, after, kind, name, was[name], declared):
                yield found
        for name in was:
            if name not in now:
                yield Change(kind=kind, name=name, change="removed")


def _changed(before: Project, after: Project, kind: Kind, name: str, was: Declared, now: Declared) -> Change | None:
    broken: tuple[str, ...] = ()
    details = tuple(_differences(was, now))
    if isinstance(was, View) and isinstance(now, View):
        broken = tuple(breaking(before, after, was, now))
        details = (*_new_features(was, now), *details)
    if not details and not broken:
        return None
    return Change(kind=kind, name=name, change="changed", details=details, breaking=broken)


def _told(declared: Declared) -> tuple[str, ...]:
    return (f"features {', '.join(declared.feature_names())}",) if isinstance(declared, View) else ()


def _new_features(was: View, now: View) -> Iterator[str]:
    if new := [name for name in now.feature_names() if name not in was.feature_names()]:
        yield f"serves {', '.join(new)} too"


def _differences(was: Declared, now: Declared) -> Iterator[str]:
    old, new = was.model_dump(mode="json"), now.model_dump(mode="json")
    for field in old:
        if old[field] == new[field]:
            continue
        if field in _SPOKEN:
            yield f"{field} is said otherwise"
        elif field == "code":
            yield "its function does something else"
        elif isinstance(old[field], dict) and isinstance(new[field], dict):
            yield from (f"{field}: {text}" for text in _entries(old[field], new[field]))
        elif isinstance(old[field], list) and isinstance(new[field], list):
            yield f"{field}: {_members(old[field], new[field])}"
        else:
            yield f"{field} {_word(new[field])}, was {_word(old[field])}"


def _entries(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name} added" for name in new if name not in old)
    yield from (f"{name} removed" for name in old if name not in new)
    for name in new:
        if name in old and old[name] != new[name]:
            if name == "code":
                yield "its function does something else; rows that there are stay as they were made"
            elif isinstance(old[name], dict) and isinstance(new[name], dict):
                parts = [f"{k} {_word(v)}, was {_word(old[name].get(k))}"
                         for k, v in new[name].items() if old[name].get(k) != v]  # fmt: skip
                yield f"{name} has {'; '.join(parts)}"
            else:
                yield f"{name} {_word(new[name])}, was {_word(old[name])}"


def _members(old: Sequence[Any], new: Sequence[Any]) -> str:
    added, removed = [str(x) for x in new if x not in old], [str(x) for x in old if x not in new]
    said = [*([f"added {', '.join(added)}"] if added else []), *([f"removed {', '.join(removed)}"] if removed else [])]
    return "; ".join(said) or "another order"


def _word(value: Any) -> str:
    return "none" if value in ("", None, [], {}) else str(value)


# --- what moves ------------------------------------------------------------------------------


def _shape(view: View | None) -> Any:
    """Return what has to be computed anew when it changes."""
    if view is None:
        return None
    return view.model_dump(include=_COMPUTED)


def _moved(before: Project, after: Project, changes: Sequence[Change]) -> Iterator[str]:
    """Yield the features whose values may become other ones, or none: ``view:feature`` or ``group:output``."""
    for change in changes:
        if change.kind == "view" and change.change != "added":
            yield from (f"{change.name}:{feature}" for feature in _touched(before, after, change.name))
        elif change.kind == "on_demand" and change.change != "added":
            yield from _computed_otherwise(before, after, change.name)
        elif change.kind == "source" and change.change == "changed" and _recoded(before, after, change.name):
            for name, view in before.views.items():
                if view.source == change.name:
                    yield from (f"{name}:{feature}" for feature in view.feature_names())


def _computed_otherwise(before: Project, after: Project, name: str) -> Iterator[str]:
    was, now = before.on_demand[name], after.on_demand.get(name)
    kept = now is not None and (was.inputs, was.function, was.code) == (now.inputs, now.function, now.code)
    gone = [output for output in was.outputs if not now or output not in now.outputs]
    yield from (f"{name}:{output}" for output in (gone if kept else was.outputs))


def _recoded(before: Project, after: Project, source: str) -> bool:
    was, now = before.sources[source].derived, after.sources[source].derived
    return bool(was and now and was.code != now.code)


def _touched(before: Project, after: Project, name: str) -> list[str]:
    """Return the features of a view whose values may become other ones, or none."""
    was, now = before.views[name], after.views.get(name)
    if now is None or was.version != now.version:
        return list(was.feature_names())
    broken = list(breaking(before, after, was, now))
    alone = {each for each in was.feature_names() if any(text.startswith(f"{each} is ") for text in broken)}
    gone = set(was.feature_names()) - set(now.feature_names())
    whole = len(broken) > len(alone) + bool(gone)
    return [each for each in was.feature_names() if whole or each in alone | gone]


# --- whom it touches ----------------------------------------------------------------------


def _affected(before: Project, after: Project, moved: set[str], knowledge: Knowledge) -> Iterator[Affected]:
    for name, service in _services(after).items():
        was = _services(before).get(name)
        read = {*_read(after, service, knowledge), *(_read(before, was, knowledge) if was else ())}
        if found := sorted(read & moved):
            kind: Literal["model", "service"] = "model" if isinstance(service, Model) else "service"
            yield Affected(kind=kind, name=name, features=tuple(found))


def _services(project: Project) -> Mapping[str, Service]:
    return {**project.services, **project.models}


def _read(project: Project, service: Service, knowledge: Knowledge) -> Iterator[str]:
    try:
        found = knowledge.reads(project, service)
    except (NotFound, InvalidInput):  # applied before this was checked
        return
    for view, features in found.items():
        yield from (f"{view}:{feature}" for feature in features)


def _versions(uses: Iterable[Use]) -> Iterator[Affected]:
    for use in uses:
        name = f"{use.model}/{use.version}"
        yield Affected(kind="version", name=name, features=use.features, deployed=use.deployed)


# --- what is refused ----------------------------------------------------------------------


def _refused_views(before: Project, after: Project, changes: Sequence[Change], uses: Sequence[Use]) -> Iterator[str]:
    for change in changes:
        if change.kind != "view" or change.change == "added":
            continue
        was, now = before.views[change.name], after.views.get(change.name)
        if now is None:
            if said := _fed(uses, {f"{change.name}:{feature}" for feature in was.feature_names()}):
                yield f"view {change.name} feeds {said}: keep it until no deployed version needs it"
        elif now.version < was.version:
            yield f"view {change.name} has version {was.version}: {now.version} is older, and readers know newer values"
        elif change.breaking and now.version == was.version:
            said = "; ".join(change.breaking)
            yield f"view {change.name}: {said}: that breaks its readers, so give it version={was.version + 1}"
        else:
            yield from _refused_features(before, after, change.name, uses)


def _refused_features(before: Project, after: Project, name: str, uses: Sequence[Use]) -> Iterator[str]:
    """Yield which features of a new version of a view are not there as deployed versions are fed them."""
    was, now = before.views[name], after.views[name]
    served = types_of(now, after.sources[now.source])
    for feature, kind in types_of(was, before.sources[was.source]).items():
        if served.get(feature) != kind and (said := _fed(uses, {f"{name}:{feature}"})):
            becomes = f"serves {feature} as {served[feature]}" if feature in served else f"no longer serves {feature}"
            yield (
                f"version {now.version} of view {name} {becomes}, and {said} is fed it as {kind}: keep it so in the "
                "new version, or declare a new view beside this one, move the model over, and then remove it"
            )


def _refused_groups(before: Project, after: Project, uses: Sequence[Use]) -> Iterator[str]:
    for name, was in before.on_demand.items():
        given = after.on_demand[name].outputs if name in after.on_demand else ()
        for output in was.outputs:
            if output not in given and (said := _fed(uses, {f"{name}:{output}"})):
                yield f"on-demand features {name} no longer give {output}, which feeds {said}: keep it while it does"


def _refused_services(before: Project, after: Project, knowledge: Knowledge) -> Iterator[str]:
    remaining = _services(after)
    for name, was in _services(before).items():
        given = inputs_of(after, remaining[name]) if name in remaining else {}
        gone = {each: kind for each, kind in inputs_of(before, was).items() if given.get(each) != kind}
        if name in remaining and not gone:
            continue
        deployed = knowledge.deployed(name)
        kind = "model" if isinstance(was, Model) else "feature service"
        if name not in remaining and deployed:
            said = _fed(deployed)
            yield f"{kind} {name} is removed while {said} is served: take its aliases and its traffic away first"
        elif said := _fed(deployed, gone):
            names = ", ".join(each for each in gone if _fed(deployed, {each}))
            yield (
                f"{kind} {name} no longer has the inputs {names} as they are fed to {said}: keep them until no "
                "deployed version needs them; to train one without, declare a model of another name beside it"
            )


def _fed(uses: Iterable[Use], features: Container[str] | None = None) -> str:
    """Return the deployed versions that are fed one of some features, or any, in words."""
    fed = [u for u in uses if u.deployed and (features is None or any(each in features for each in u.features))]
    return ", ".join(f"{u.model}/{u.version} ({u.deployed})" for u in fed)


def _fixed(source: Source, field: str) -> Any:
    value = getattr(source, field)
    return value.model_copy(update={"code": ""}) if isinstance(value, Derived) else value


def _refused_sources(before: Project, after: Project) -> Iterator[str]:
    for name, was in before.sources.items():
        now = after.sources.get(name)
        if now is None:
            continue
        if fixed := [f for f in _KEPT if _fixed(was, f) != _fixed(now, f)]:
            yield (
                f"source {name} has another {' and '.join(fixed)}: the rows that it has are kept by what it was, "
                "so declare a source of another name and let new versions of its views read it"
            )
        for column, old in was.columns.items():
            new = now.columns.get(column)
            if new is not None and new.type != old.type and (column in was.key or (old.type, new.type) not in _WIDER):
                yield (
                    f"column {column} of source {name} is a {new.type}, it was a {old.type}: the rows that it has "
                    "cannot become that, so declare a column or source of another name"
                )
