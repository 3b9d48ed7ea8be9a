"""What readers of a feature view or service get, and what they would get otherwise of another declaration of it."""

from collections.abc import Iterator, Mapping

from modelwright.project import Aggregate, Column, Project, Service, Source, View, features_named


def breaking(before: Project, after: Project, was: View, now: View) -> Iterator[str]:
    """Yield what readers of a view would get otherwise than before."""
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


def types_of(view: View, source: Source) -> dict[str, str]:
    """Return the types of what a view serves, also where it was applied before its columns were looked at."""
    found = {name: _typed(source.columns.get(name)) for name in view.features}
    rolled = {name: aggregate.type_of(source.columns.get(aggregate.column)) for name, aggregate, _ in view.aggregated()}
    return {**found, **rolled}


def inputs_of(project: Project, service: Service) -> dict[str, str]:
    """Return the types of a service's inputs; empty of what is computed on demand, which may be any."""
    views = {name: project.views[name] for name in service.views}
    groups = (project.on_demand[name] for name in service.on_demand if name in project.on_demand)
    computed = {output for group in groups for output in group.outputs}
    found = {}
    for name in service.inputs:
        stored = features_named(views, name)
        if name in computed or not (stored or name in service.request):
            found[name] = ""
        elif name in service.request:
            found[name] = service.request[name]
        else:
            view, feature = stored[0]
            found[name] = types_of(views[view], project.sources[views[view].source])[feature]
    return found
