"""Lineage as a graph, both ways: source -> view -> feature -> dataset -> run -> version -> model.

A model stands for where its versions are used: the edge of a version to its model says which aliases the version
holds and what share of the traffic it answers. ``steps`` knows what leads where; here the steps are followed breadth
first. Of what a feature, dataset or run leads to, each model shows its newest versions and those that hold an alias;
a graph that leaves something out says so (``whole``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwright.artifacts import experiment_of
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.log import Log
from modelwright.project import Project, features_named
from modelwright.registry.entities import is_number
from modelwright.registry.messages import ReadLineage
from modelwright.registry.steps import STEPS, Edge, Node, Step, World, made_of, of_run, users
from modelwright.storage import Tables

MOST = 1000
"""Nodes of a graph."""


@dataclass
class Graph:
    """What was found so far."""

    nodes: dict[Node, Mapping[str, Any]] = field(default_factory=dict)
    edges: dict[Edge, Mapping[str, Any]] = field(default_factory=dict)
    whole: bool = True

    def answer(self, start: Node) -> dict[str, Any]:
        """Return what people ask for."""
        return {
            "start": start.id,
            "nodes": [
                {"id": node.id, "kind": node.kind, "name": node.name, **more} for node, more in self.nodes.items()
            ],
            "edges": [
                {"from": edge.start.id, "to": edge.end.id, "kind": edge.kind, **more}
                for edge, more in self.edges.items()
            ],
            "whole": self.whole,
        }


def graph(call: Call, message: ReadLineage, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return what something was made of, or what was made of it.

    Raises:
        NotFound: there is no such thing.
        InvalidInput: the name means several features.
    """
    world = World(call, tables, log)
    start = _START[message.kind](world, message.name)
    made = Graph({start: world.about(start)})
    for direction in ("up", "down"):
        if message.direction in ("", direction):
            _follow(world, start, STEPS[direction], message.depth, made)
    return made.answer(start)


def _follow(world: World, start: Node, steps: Mapping[str, Step], depth: int, made: Graph) -> None:
    frontier, seen = [start], {start}
    for _ in range(depth):
        found: list[Node] = []
        for node in frontier:
            for edge, more in steps[node.kind](world, node) if node.kind in steps else ():
                other = edge.end if edge.start == node else edge.start
                if other not in made.nodes and len(made.nodes) >= MOST:
                    world.whole = False
                    continue
                made.edges[edge] = more
                made.nodes.setdefault(other, world.about(other))
                if other not in seen:
                    seen.add(other)
                    found.append(other)
        frontier = found
    made.whole &= world.whole


# --- where a graph starts ------------------------------------------------------------------


def _start_model(world: World, name: str) -> Node:
    return Node("model", world.model(name).name)


def _start_version(world: World, name: str) -> Node:
    named, at, alias = name.partition("@")
    if not at:
        named, _, number = name.rpartition("/")
        if not is_number(number):
            raise InvalidInput(f"{name!r} is no version: say <model>/<number> or <model>@<alias>")
    model = world.model(named)
    version = world.store.version(model, model.version_of(alias) if at else int(number))
    return world.known([(model, version)])[0]


def _start_source(world: World, name: str) -> Node:
    return _declared("source", name, world.declared().sources)


def _start_view(world: World, name: str) -> Node:
    return _declared("view", name, world.declared().views)


def _declared(kind: str, name: str, there: Mapping[str, Any]) -> Node:
    if name not in there:
        raise NotFound(f"there is no {kind} {name}: there are {', '.join(there) or 'none'}")
    return Node(kind, name)


def _start_feature(world: World, name: str) -> Node:
    """Return a feature that the project declares, or one that versions use without it."""
    if world.project is not None and (node := _declared_feature(world.project, name)) is not None:
        return node
    node = Node("feature", name)
    if not list(users(world, node)):
        raise NotFound(f"no view has a feature {name}, and no version that you may read uses one of that name")
    return node


def _declared_feature(project: Project, name: str) -> Node | None:
    meant = features_named(project.views, name)
    if len(meant) > 1:
        raise InvalidInput(f"several views have a feature {name}: say {' or '.join(f'{v}:{f}' for v, f in meant)}")
    if meant:
        return Node("feature", ":".join(meant[0]))
    group, _, output = name.rpartition(":")
    computed = [g for g, on in project.on_demand.items() if output in on.outputs and group in ("", g)]
    return Node("feature", f"{computed[0]}:{output}") if computed else None


def _start_dataset(world: World, name: str) -> Node:
    node = Node("dataset", name)
    if not made_of(world, node):
        raise NotFound(f"no version that you may read was made of a dataset with the digest {name}")
    return node


def _start_run(world: World, name: str) -> Node:
    node = Node("run", name)
    try:
        world.call.authorise("runs:read", f"experiment/{experiment_of(name)}")
    except InvalidInput as error:
        raise NotFound(f"Run with id={name} not found") from error
    if not of_run(world, node):
        raise NotFound(f"no version that you may read came out of run {name}")
    return node


_START: Mapping[str, Callable[[World, str], Node]] = {
    "model": _start_model,
    "version": _start_version,
    "source": _start_source,
    "view": _start_view,
    "feature": _start_feature,
    "dataset": _start_dataset,
    "run": _start_run,
}
