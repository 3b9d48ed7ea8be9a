"""What planning a project needs of features and of the registry, for ``governance.planning``."""

from collections.abc import Iterator, Sequence

from modelwright.context import PLATFORM, Call
from modelwright.features import soundness
from modelwright.governance.planning import Knowledge, Use
from modelwright.log import Log
from modelwright.registry.steps import STEPS, Node, World, users
from modelwright.storage import Tables


def knowledge_of(call: Call, *, tables: Tables, log: Log) -> Knowledge:
    """Return what planning asks, of the caller's workspace; what feeds deployed versions counts whoever asks."""
    platform = Call(call.workspace, PLATFORM, call.now, call.correlation_id)

    def uses(features: Sequence[str]) -> list[Use]:
        world = World(platform, tables, log)
        fed: dict[Node, list[str]] = {}
        for feature in features:
            for version in dict.fromkeys(_fed(world, Node("feature", feature))):
                fed.setdefault(version, []).append(feature)
        found = [_use(world, version, names) for version, names in fed.items()]
        return sorted(found, key=lambda use: (not use.deployed, use.model, -use.version))

    def deployed(model: str) -> list[Use]:
        world = World(platform, tables, log)
        node = Node("model", model)
        if (there := world.store.find(model)) is None or there.deleted:
            return []
        world.models[model] = there
        answering = [edge.start for edge, held in STEPS["up"]["model"](world, node) if edge.kind == "answers" and held]
        return [_use(world, version, world.versions[version][1].features) for version in answering]

    return Knowledge(require_sound=soundness.require_sound, reads=soundness.reads, uses=uses, deployed=deployed)


def _fed(world: World, feature: Node) -> Iterator[Node]:
    """Yield the versions that are fed a feature, or what is computed of it on demand."""
    waiting, seen = [feature], {feature}
    while waiting:
        node = waiting.pop()
        yield from users(world, node)
        after = {edge.end for edge, _ in STEPS["down"]["feature"](world, node) if edge.kind == "computes"} - seen
        waiting.extend(after)
        seen |= after


def _use(world: World, version: Node, features: Sequence[str]) -> Use:
    model, known = world.versions[version]
    held = world.deployed(model, known.version)
    share = [f"{held['percent']} % of the traffic"] if held.get("percent") else []
    return Use(model.name, known.version, ", ".join([*held.get("aliases", ()), *share]), tuple(features))
