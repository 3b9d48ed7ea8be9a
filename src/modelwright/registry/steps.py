"""What leads where in the lineage of models: the steps of the graph, up and down.

Sources, views and features are those that the project declares now; features that it does not declare (any more),
and columns of requests, have no view. Versions are the registry's own; routes are the last that the log tells for the
model's name. Where nobody said what data a version was made of, or by which run, a step goes to what comes next.
Who may not read a model does not see it, nor what only it leads to.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from modelwright.context import Call
from modelwright.errors import Forbidden, NotFound
from modelwright.events import Route
from modelwright.log import Log, stream_of
from modelwright.project import Project, features_named, load_current
from modelwright.registry.entities import ModelVersion, RegisteredModel, checked_name
from modelwright.registry.fold import traffic
from modelwright.registry.models import readable
from modelwright.registry.store import RegistryStore, Using
from modelwright.storage import Tables

NEWEST = 20
"""Versions that are shown of each model, besides those that hold an alias."""
_ROUTES_WITHIN = 50
"""Of a stream of rollouts, in so many items at its end the traffic was split anew."""


class Node(NamedTuple):
    """What a graph is made of.

    Attributes:
        name: of a feature ``<view>:<feature>``, where it has a view; of a version ``<model>/<number>``.
    """

    kind: str
    name: str

    @property
    def id(self) -> str:
        """What edges name it by."""
        return f"{self.kind}:{self.name}"


class Edge(NamedTuple):
    """A step from what was there before to what was made of it.

    Attributes:
        kind: a source *feeds* views and *labels* models; a view *serves* features; a feature *computes* others, *fills*
            datasets, and *feeds* what has no known data; a dataset *trains*, a run *gives* versions, and a version
            *answers* for its model.
    """

    start: Node
    end: Node
    kind: str


class World:
    """What can be asked, with what was answered before."""

    def __init__(self, call: Call, tables: Tables, log: Log) -> None:
        self.call = call
        self.store = RegistryStore(tables, call)
        self.whole = True
        self.models: dict[str, RegisteredModel] = {}
        self.versions: dict[Node, tuple[RegisteredModel, ModelVersion]] = {}
        self._log = log
        self._routes: dict[str, tuple[Route, ...]] = {}
        self.project = self._project(tables)

    def _project(self, tables: Tables) -> Project | None:
        try:
            project = load_current(tables, self.call.workspace)
            self.call.authorise("projects:read", f"project/{project.name}")
        except (NotFound, Forbidden):
            return None
        return project

    def declared(self) -> Project:
        """Return the project; raises ``Forbidden`` or ``NotFound``."""
        if self.project is None:
            self.call.authorise("projects:read", "project/current")
            raise NotFound(f"workspace {self.call.workspace} has no project yet: run `modelwright apply`")
        return self.project

    def model(self, name: str) -> RegisteredModel:
        """Return a model that the caller may read; raises ``NotFound`` or ``Forbidden``."""
        self.call.authorise("models:read", f"model/{name}")
        model = self.store.model(checked_name(name))
        self.models[model.name] = model
        return model

    def known(self, pairs: list[tuple[RegisteredModel, ModelVersion]]) -> list[Node]:
        """Return versions as nodes, as far as the caller may read them."""
        nodes = []
        for model, version in pairs:
            if not model.deleted and readable(self.call, model):
                node = Node("version", f"{model.name}/{version.version}")
                self.models[model.name], self.versions[node] = model, (model, version)
                nodes.append(node)
        return nodes

    def using(self, using: Using) -> list[Node]:
        """Return versions as nodes, and remember whether they are all."""
        self.whole &= using.whole
        return self.known(using.found)

    def routes(self, model: RegisteredModel) -> tuple[Route, ...]:
        """Return how the traffic of a model's name is split now."""
        if model.name not in self._routes:
            took = [naming.at for naming in self.store.named(model.name) if naming.taken]
            stream = stream_of(self.call.workspace, "ROLLOUT", model.name)
            newest = self._log.newest(stream, _ROUTES_WITHIN)
            split = traffic(reversed(newest), took[-1] if took else self.call.now)
            self._routes[model.name] = split.routes
        return self._routes[model.name]

    def deployed(self, model: RegisteredModel, number: int) -> dict[str, Any]:
        """Return which aliases a version holds and what share of the traffic it answers; nothing if neither."""
        held = model.aliases_of(number)
        routes = [route for route in self.routes(model) if route.version == number]
        if not held and not routes:
            return {}
        return {"aliases": sorted(held), "percent": sum(r.percent for r in routes), "roles": [r.role for r in routes]}

    def feature(self, model: str, name: str) -> Node:
        """Return the feature that a model means by a name."""
        if self.project is None:
            return Node("feature", name)
        declared = self.project.models.get(model)
        views = self.project.views if declared is None else {v: self.project.views[v] for v in declared.views}
        groups = self.project.on_demand if declared is None else declared.on_demand
        meant = features_named(views, name)
        if len(meant) == 1:
            return Node("feature", f"{meant[0][0]}:{meant[0][1]}")
        computed = [group for group in groups if name in self.project.on_demand[group].outputs]
        return Node("feature", f"{computed[0]}:{name}" if computed else name)

    def about(self, node: Node) -> dict[str, Any]:
        """Return what else is said of a node."""
        if node.kind == "version":
            model, version = self.versions[node]
            told = {"stage": version.stage, "code": version.code, "training_id": version.training_id}
            return {**told, "created": version.created, **self.deployed(model, version.version)}
        if node.kind == "model" and node.name in self.models:
            model = self.models[node.name]
            return {
                "aliases": dict(sorted(model.aliases.items())),
                "traffic": [r.model_dump() for r in self.routes(model)],
            }
        return {}


Step = Callable[[World, Node], Iterator[tuple[Edge, Mapping[str, Any]]]]
_NOTHING: Mapping[str, Any] = {}


# --- steps -------------------------------------------------------------------------------


def users(world: World, node: Node) -> Iterator[Node]:
    """Yield the versions that use a feature, whatever they call it."""
    view, _, bare = node.name.rpartition(":")
    names = dict.fromkeys((node.name, bare, f"{view}__{bare}") if view else (node.name,))
    for name in names:
        for version in world.using(world.store.versions_with("FEATURE", name, NEWEST)):
            model, found = world.versions[version]
            if name in found.features and world.feature(model.name, name) == node:
                yield version


def made_of(world: World, node: Node) -> list[Node]:
    """Return the versions that were made of a dataset."""
    found = world.using(world.store.versions_with("DATASET", node.name, NEWEST))
    return [version for version in found if node.name in world.versions[version][1].data]


def of_run(world: World, node: Node) -> list[Node]:
    """Return the versions that came out of a run."""
    return world.known(world.store.versions_of_runs([node.name]))


def _features(world: World, version: Node, end: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    model, found = world.versions[version]
    for name in found.features:
        yield Edge(world.feature(model.name, name), end, _fed(end)), _NOTHING


def _fed(end: Node) -> str:
    return "fills" if end.kind == "dataset" else "feeds"


def _inputs(world: World, version: Node, end: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    """Yield what a version was made of, as steps to itself or to its run."""
    data = world.versions[version][1].data
    for digest in data:
        yield Edge(Node("dataset", digest), end, "trains"), _NOTHING
    if not data:
        yield from _features(world, version, end)


def _up_model(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    model = world.models[node.name]
    used = {*model.aliases.values(), *(route.version for route in world.routes(model))} or {model.newest}
    there = [each for number in sorted(used) if (each := world.store.find_version(model, number)) is not None]
    for version in world.known([(model, each) for each in there]):
        yield Edge(version, node, "answers"), world.deployed(model, world.versions[version][1].version)
    declared = world.project.models.get(model.name) if world.project else None
    if declared is not None:
        yield Edge(Node("source", declared.label.source), node, "labels"), _NOTHING


def _up_version(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    run_id = world.versions[node][1].run_id
    if run_id:
        yield Edge(Node("run", run_id), node, "gives"), _NOTHING
    else:
        yield from _inputs(world, node, node)


def _up_run(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    for version in of_run(world, node):
        yield from _inputs(world, version, node)


def _up_dataset(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    for version in made_of(world, node):
        yield from _features(world, version, node)


def _up_feature(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    project, (place, _, _) = world.project, node.name.rpartition(":")
    if project is None:
        return
    if place in project.views:
        yield Edge(Node("view", place), node, "serves"), _NOTHING
    elif place in project.on_demand:
        for name in project.on_demand[place].inputs:
            yield Edge(world.feature("", name), node, "computes"), _NOTHING


def _up_view(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    if world.project is not None and node.name in world.project.views:
        yield Edge(Node("source", world.project.views[node.name].source), node, "feeds"), _NOTHING


def _down_source(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    project = world.declared()
    for name, view in project.views.items():
        if view.source == node.name:
            yield Edge(node, Node("view", name), "feeds"), _NOTHING
    for name, model in project.models.items():
        there = world.store.find(name) if model.label.source == node.name else None
        if there is not None and readable(world.call, there):
            world.models[name] = there
            yield Edge(node, Node("model", name), "labels"), _NOTHING


def _down_view(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    for feature in world.declared().views[node.name].feature_names():
        yield Edge(node, Node("feature", f"{node.name}:{feature}"), "serves"), _NOTHING


def _down_feature(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    for name, group in world.project.on_demand.items() if world.project else ():
        if node in {world.feature("", read) for read in group.inputs}:
            for output in group.outputs:
                yield Edge(node, Node("feature", f"{name}:{output}"), "computes"), _NOTHING
    for version in users(world, node):
        data, run_id = world.versions[version][1].data, world.versions[version][1].run_id
        after = [Node("dataset", digest) for digest in data] or [Node("run", run_id) if run_id else version]
        for end in after:
            yield Edge(node, end, _fed(end)), _NOTHING


def _down_dataset(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    for version in made_of(world, node):
        run_id = world.versions[version][1].run_id
        yield Edge(node, Node("run", run_id) if run_id else version, "trains"), _NOTHING


def _down_run(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    for version in of_run(world, node):
        yield Edge(node, version, "gives"), _NOTHING


def _down_version(world: World, node: Node) -> Iterator[tuple[Edge, Mapping[str, Any]]]:
    model, version = world.versions[node]
    if used := world.deployed(model, version.version):
        yield Edge(node, Node("model", model.name), "answers"), used


STEPS: Mapping[str, Mapping[str, Step]] = {
    "up": {
        "model": _up_model,
        "version": _up_version,
        "run": _up_run,
        "dataset": _up_dataset,
        "feature": _up_feature,
        "view": _up_view,
    },
    "down": {
        "source": _down_source,
        "view": _down_view,
        "feature": _down_feature,
        "dataset": _down_dataset,
        "run": _down_run,
        "version": _down_version,
    },
}
