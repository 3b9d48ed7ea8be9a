"""What of a project a caller may know of: texts that list what there is list that, and no more.

A view is known to who may read it; a source, entity, feature service, model or on-demand group by the views that it
is about.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from modelwright.context import Call
from modelwright.definitions import View
from modelwright.errors import Forbidden, NotFound
from modelwright.project import Project, Service, features_named

T = TypeVar("T")
S = TypeVar("S", bound=Service)


def may(call: Call, action: str, resource: str) -> bool:
    """Say whether the caller may do something."""
    try:
        call.authorise(action, resource)
    except Forbidden:
        return False
    return True


def read_views(call: Call, views: Iterable[str]) -> None:
    """Raise ``Forbidden`` unless the caller may read all of some views."""
    for name in views:
        call.authorise("features:read", f"view/{name}")


def visible(call: Call, project: Project) -> Project:
    """Return what the caller may know of a project; the project itself if that is all of it."""
    views = {n: view for n, view in project.views.items() if may(call, "features:read", f"view/{n}")}
    if len(views) == len(project.views):
        return project
    own = {view.source for view in views.values()}
    about = {entity for view in project.views.values() for entity in project.entities_of(view)}
    mine = {entity for view in views.values() for entity in project.entities_of(view)}
    hidden = {
        name
        for name, group in project.on_demand.items()
        if any(view not in views for one in group.inputs for view, _ in features_named(project.views, one))
    }
    left = {
        "views": views,
        "sources": {n: source for n, source in project.sources.items() if n in own},
        "entities": {n: entity for n, entity in project.entities.items() if n in mine or n not in about},
        "on_demand": {n: group for n, group in project.on_demand.items() if n not in hidden},
        "services": _whole(project.services, views),
        "models": _whole(project.models, views),
    }
    return project.model_copy(update=left)


def known(call: Call, project: Project, find: Callable[[Project], T]) -> T:
    """Return what is found in a project; where it has no such thing, the error names only what the caller may read.

    Raises:
        NotFound: as ``find`` does.
    """
    try:
        return find(project)
    except NotFound:
        seen = visible(call, project)
        if seen is project:
            raise
    return find(seen)


def _whole(services: dict[str, S], views: dict[str, View]) -> dict[str, S]:
    """Return the services of which all views are there."""
    return {name: service for name, service in services.items() if set(service.views) <= set(views)}
