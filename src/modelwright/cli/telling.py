"""What the registry answers about the past and about lineage, as lines for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_SHORT = 12

Said = Mapping[str, Any]


def shown(text: str) -> str:
    """Return a text without what would move a terminal's cursor or change its colours."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def when(time: str) -> str:
    """Return an ISO 8601 time in UTC, to the second."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def event_line(event: Said) -> str:
    """Return an event of a history: when, who, what."""
    return shown(f"{when(event['at'])}  {event['actor']:<16}  {event['text']}")


def as_of_lines(said: Said) -> Iterator[str]:
    """Yield what was so at a time."""
    yield f"{shown(said['model'])} as of {when(said['as_of'])} UTC (born {when(said['born'])} UTC)"
    known = {version["version"]: version for version in said["versions"]}
    first = [alias for alias in ("champion", "challenger") if alias in said["aliases"]]
    for alias in [*first, *sorted(set(said["aliases"]) - set(first))]:
        held = said["aliases"][alias]
        yield shown(f"{alias}: v{held['version']} since {when(held['since'])} UTC, {_by(held)}")
        yield from (f"  {line}" for line in _gates(held))
    if not said["aliases"]:
        yield "no version had an alias"
    split = ", ".join(f"v{r['version']} {r['percent']} % ({r['role']})" for r in said["traffic"])
    yield f"traffic: {split or 'none'}" + (f", since {when(said['traffic_since'])} UTC" if split else "")
    for number, version in sorted(known.items()):
        yield from (shown(line) for line in _version(number, version))
    yield f"{said['others']} other versions; {len(said['waiting'])} requests waited"


def uses_lines(graph: Said) -> Iterator[str]:
    """Yield the versions that use a feature, those that are deployed first."""
    found = [node for node in graph["nodes"] if node["kind"] == "version"]
    for node in sorted(found, key=lambda n: (not _deployed(n), n["name"].rpartition("/")[0], -_number(n))):
        yield shown(_label(node))
    if not found:
        yield "no version uses it"
    if not graph["whole"]:
        yield "older versions that hold no alias are left out"


def tree(graph: Said, direction: str) -> Iterator[str]:
    """Yield a graph from its start on, in one direction; what was shown above is not unfolded again."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    there, back = ("from", "to") if direction == "up" else ("to", "from")
    after: dict[str, list[str]] = {}
    for edge in graph["edges"]:
        after.setdefault(edge[back], []).append(edge[there])
    seen: set[str] = set()

    def branch(identity: str, depth: int) -> Iterator[str]:
        again = identity in seen and identity in after
        yield "  " * depth + shown(_label(nodes[identity])) + (" ..." if again else "")
        if not again:
            seen.add(identity)
            for other in after.get(identity, ()):
                yield from branch(other, depth + 1)

    yield from branch(graph["start"], 0)
    if not graph["whole"]:
        yield "(older versions that hold no alias are left out)"


def _label(node: Said) -> str:
    if node["kind"] == "version":
        model, _, number = node["name"].rpartition("/")
        return f"{model} v{number}{_deployed(node)}"
    if node["kind"] == "model":
        aliases = ", ".join(f"{alias} v{number}" for alias, number in node.get("aliases", {}).items())
        return f"model {node['name']}" + (f" ({aliases})" if aliases else "")
    return f"{node['kind']} {node['name']}"


def _deployed(node: Said) -> str:
    told = [*node.get("aliases", ()), f"{node['percent']} % of the traffic" if node.get("percent") else ""]
    text = ", ".join(part for part in told if part)
    return f" ({text})" if text else ""


def _number(node: Said) -> int:
    return int(node["name"].rpartition("/")[2])


def _by(held: Said) -> str:
    told = [
        f"asked for by {held['requested_by']}",
        f"approved by {', '.join(held['approved_by'])}" if held["approved_by"] else "",
        f"set by {held['set_by']}" if held["set_by"] != held["requested_by"] else "",
        f"reason: {held['reason']}" if held["reason"] else "",
    ]
    return ", ".join(part for part in told if part)


def _gates(held: Said) -> Iterator[str]:
    if held["forced"]:
        yield shown(f"gates overridden: {held['forced']}")
    for result in held["gates"]:
        yield shown(f"{result['gate']} {'passed' if result['passed'] else 'failed'}: {result['text']}")


def _version(number: int, version: Said) -> Iterator[str]:
    if "created" not in version:
        yield f"v{number}: made later"
        return
    yield f"v{number}: made {when(version['created'])} UTC by {version['created_by']}"
    facts = (
        ("run", version["run_id"]),
        ("training", version["training_id"]),
        ("code", version["code"]),
        ("data", _list(version["data"])),
        ("features", _list(version["features"])),
        ("environment", version["environment_digest"]),
        ("file", version["artifact_digest"]),
        ("metrics", ", ".join(f"{name} {value:.6g}" for name, value in sorted(version["metrics"].items()))),
        ("stage", "" if version["stage"] == "None" else version["stage"]),
        ("card", f"revision {version['card']}" if version["card"] else ""),
        ("tags", ", ".join(f"{k}={v}" if v else k for k, v in sorted(version["tags"].items()))),
        ("source", version["source"]),
        ("origin", version["origin"] or version["copied_from"]),
    )
    yield from (f"  {name:<{_SHORT}} {value}" for name, value in facts if value)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
