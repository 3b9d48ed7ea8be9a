"""What applying a project would change: what is added, changed and removed, whom that touches, and what is refused.

What changes the values that readers of a view get is *breaking*: a feature that goes or becomes another, another
entity, source, kind of window or tile, a shorter time to live. It takes a new version of the view, beside which
nothing of the old one is served. More features, longer lives and descriptions are not breaking.

The rows of a source are kept under its key and times for good, so that these never change: that takes a new source.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from modelwright.errors import InvalidInput, NotFound
from modelwright.project import Aggregate, Column, Declared, Derived, Model, Project, Service, Source, View

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
        features: of those that were asked for, ``view:feature``.
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
    """

    require_sound: Callable[[Project], None]
    reads: Callable[[Project, Service], Features]
    uses: Callable[[Sequence[str]], Sequence[Use]]


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
        refused=(*_refused_views(before, after, changes, uses), *_refused_sources(before, after)),
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
    breaking: tuple[str, ...] = ()
    details = tuple(_differences(was, now))
    if isinstance(was, View) and isinstance(now, View):
        breaking = tuple(_breaking(before, after, was, now))
        details = (*_new_features(was, now), *details)
    if not details and not breaking:
        return None
    return Change(kind=kind, name=name, change="changed", details=details, breaking=breaking)


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


# --- what breaks readers ----------------------------------------------------------------------


def _breaking(before: Project, after: Project, was: View, now: View) -> Iterator[str]:
    old, new = before.sources[was.source], after.sources[now.source]
    if was.source != now.source:
        yield f"reads source {now.source}, it read {was.source}"
    if _key_types(was, old) != _key_types(now, new):
        yield f"joins by {_spelled(_key_types(now, new))}, it joined by {_spelled(_key_types(was, old))}"
    if gone := [name for name in was.feature_names() if name not in now.feature_names()]:
        yield f"no longer serves {', '.join(gone)}"
    if was.aggregates and now.aggregates and (said := _windows(now)) != (past := _windows(was)):
        yield f"has {said}, it had {past}"
    if now.ttl_us and not 0 < was.ttl_us <= now.ttl_us:
        yield f"rows are served for {now.ttl}, it was {was.ttl or 'for ever'}"
    meant, means = _meanings(was, old), _meanings(now, new)
    for name in was.feature_names():
        if name in means and meant[name] != means[name]:
            yield f"{name} is {means[name]}, it was {meant[name]}"


def _key_types(view: View, source: Source) -> dict[str, str]:
    return {key: source.columns[key].type if key in source.columns else "" for key in view.entity}


def _spelled(types: Mapping[str, str]) -> str:
    return ", ".join(f"{key} ({kind})" for key, kind in types.items()) or "nothing"


def _windows(view: View) -> str:
    minutes = view.tile_us // 60_000_000
    return f"{'tumbling' if view.tumbling else 'sliding'} windows by {view.by} in tiles of {minutes} minutes"


def _meanings(view: View, source: Source) -> dict[str, str]:
    """Return what each feature is, in words that differ where its values may."""
    found = {name: f"a {_typed(source.columns.get(name))}" for name in view.features}
    for name, aggregate, _ in view.aggregated():
        found[name] = _aggregated(aggregate, source.columns.get(aggregate.column))
    return found


def _aggregated(aggregate: Aggregate, column: Column | None) -> str:
    function = f"{aggregate.q} quantile" if aggregate.function == "quantile" else aggregate.function
    of = f" of {aggregate.column} ({_typed(column)})" if aggregate.column else ""
    exactly = f" in {column.decimals} decimals" if column and column.type == "number" else ""
    summed = exactly if aggregate.function in ("sum", "mean", "std") else ""
    where = f" where {aggregate.where}" if aggregate.where else ""
    return f"the {function}{of}{summed}{where}"


def _typed(column: Column | None) -> str:
    return column.type if column else "column that is not declared"


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
    breaking = list(_breaking(before, after, was, now))
    alone = {each for each in was.feature_names() if any(text.startswith(f"{each} is ") for text in breaking)}
    gone = set(was.feature_names()) - set(now.feature_names())
    whole = len(breaking) > len(alone) + bool(gone)
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
            yield from _refused_removal(change.name, uses)
        elif now.version < was.version:
            yield f"view {change.name} has version {was.version}: {now.version} is older, and readers know newer values"
        elif change.breaking and now.version == was.version:
            said = "; ".join(change.breaking)
            yield f"view {change.name}: {said}: that breaks its readers, so give it version={was.version + 1}"


def _refused_removal(name: str, uses: Sequence[Use]) -> Iterator[str]:
    fed = [u for u in uses if u.deployed and any(feature.startswith(f"{name}:") for feature in u.features)]
    if fed:
        said = ", ".join(f"{u.model}/{u.version} ({u.deployed})" for u in fed)
        yield f"view {name} feeds {said}: keep it until no deployed version needs it"


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
