"""Checks the log's hash chains with nothing but the standard library.

An auditor can take this one file, an export of the log (JSON Lines, one stored item per line)
and the roots from the Object-Lock bucket, and needs to trust none of our other code:

    python -m modelwright.governance.verifier log.jsonl [--roots root.json ...]

The exit status is 1, and the first bad sequence number of every broken stream is printed, after
a flipped byte, a dropped, swapped or doubled item, or a tail cut off before the last root. The
roots themselves are checked too: each against its own hash, and that each names the one before it,
which takes all from the first to the last of them. A single root without a hash of its own is the
part of one that the read API gives; its heads count, and that is all it proves.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

GENESIS = "0" * 64
CHAIN_VERSION = 1


class Break(NamedTuple):
    """The first place of a stream that is not as it was written."""

    stream: str
    sequence: int
    reason: str

    def __str__(self) -> str:
        return f"{self.stream} is broken at sequence {self.sequence}: {self.reason}"


def digest(item: Mapping[str, Any]) -> str:
    """Return the hash that an item must carry: SHA-256 over its version, the hash before, its place and its text."""
    lines = (str(item["chain_version"]), item["previous"], item["sk"], item["pk"], item["envelope"])
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Stream:
    """One stream, checked item by item, so that an export may be larger than memory.

    Args:
        name: the stream.
        anchored: hashes in the roots by sequence number, against which a cut tail and a forged chain show.
    """

    __slots__ = ("anchored", "broken", "expected", "name", "previous")

    def __init__(self, name: str, anchored: Mapping[int, str]) -> None:
        self.name, self.anchored = name, anchored
        self.previous, self.expected = GENESIS, 1
        self.broken: Break | None = None

    def take(self, item: Mapping[str, Any]) -> None:
        """Check the next item in stored order; after a break nothing more is looked at."""
        if self.broken is not None:
            return
        fault = _fault(item, self.previous, self.expected)
        if not fault and self.anchored.get(self.expected, item["hash"]) != item["hash"]:
            fault = "its hash is not the anchored one"
        if fault:
            self.broken = Break(self.name, self.expected, fault)
        else:
            self.previous, self.expected = item["hash"], self.expected + 1

    def end(self) -> Break | None:
        """Return the first break, a cut tail included, or None."""
        last = max(self.anchored, default=0)
        if self.broken is None and last >= self.expected:
            return Break(self.name, self.expected, f"the tail is cut: sequence {last} was anchored")
        return self.broken


def verify(items: Iterable[Mapping[str, Any]], roots: Iterable[Mapping[str, Any]] = ()) -> tuple[list[Break], int, int]:
    """Check whole streams, whose items come in stored order and, between streams, in any.

    An item that tells no stream counts as one of the stream before it.

    Returns:
        The breaks, the number of streams and the number of items.
    """
    anchored = _anchored(roots)
    streams: dict[str, Stream] = {}
    name, count = "?", 0
    for item in items:
        name, count = str(item.get("pk", name)), count + 1
        stream = streams.get(name)
        if stream is None:
            stream = streams[name] = Stream(name, anchored.get(name, {}))
        stream.take(item)
    unseen = [Stream(each, heads) for each, heads in anchored.items() if each not in streams]
    checked = sorted([*streams.values(), *unseen], key=lambda each: each.name)
    return [found for each in checked if (found := each.end()) is not None], len(streams), count


def root_faults(roots: Iterable[Mapping[str, Any]]) -> list[str]:
    """Check roots by themselves, in whatever order they come: ``root 3 is not what was hashed``."""
    given = list(roots)
    if len(given) == 1 and "part_of" in given[0]:
        return []
    faults = [f"root {root.get('number', '?')} is not what was hashed" for root in given if not _is_as_hashed(root)]
    numbered = sorted((root for root in given if isinstance(root.get("number"), int)), key=lambda root: root["number"])
    for before, root in pairwise(numbered):
        number, last = root["number"], before["number"]
        if number > last + 1:
            faults.append(f"root {number} does not follow root {last}: there were others between them")
        elif number == last and root.get("root") != before.get("root"):
            faults.append(f"root {number} is there twice, and they differ")
        elif number == last + 1 and root.get("previous") != before.get("root"):
            faults.append(f"root {number} does not follow root {last}: it names another")
    return faults


def _is_as_hashed(root: Mapping[str, Any]) -> bool:
    body = {name: root.get(name) for name in ("number", "previous", "at", "heads")}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() == root.get("root")


def _fault(item: Mapping[str, Any], previous: str, expected: int) -> str:
    try:
        sequence, right = int(item["sk"]), digest(item)
        if sequence != expected:
            return f"the item is missing or out of place: {sequence} stands there"
        if int(item["chain_version"]) != CHAIN_VERSION:
            return f"chain version {item['chain_version']} is unknown"
        if item["previous"] != previous:
            return "it does not follow the item before it"
        return "" if right == item["hash"] else "its content is not what was hashed"
    except (KeyError, TypeError, ValueError):
        return "it cannot be read"


def _anchored(roots: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, str]]:
    anchored: dict[str, dict[int, str]] = {}
    for root in roots:
        for stream, (sequence, value) in root.get("heads", {}).items():
            anchored.setdefault(stream, {})[int(sequence)] = str(value)
    return anchored


def _lines(path: str) -> Iterator[Mapping[str, Any]]:
    with sys.stdin if path == "-" else Path(path).open(encoding="utf-8", errors="surrogateescape") as file:
        yield from (_item(line) for line in file if line.strip())


def _item(line: str) -> Mapping[str, Any]:
    """Return the text's item or root; one of which nothing can be read is empty, which is reported in its place."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return item if isinstance(item, dict) else {}


def main(arguments: list[str] | None = None) -> int:
    """Check an export; returns the exit status."""
    parser = argparse.ArgumentParser(description="Verify an export of the log.")
    parser.add_argument("export", help="JSON Lines of stored log items, or - for standard input")
    parser.add_argument("--roots", nargs="*", default=[], help="root files from the audit bucket")
    chosen = parser.parse_args(arguments)
    roots = [_item(Path(path).read_text(encoding="utf-8", errors="surrogateescape")) for path in chosen.roots]
    breaks, streams, items = verify(_lines(chosen.export), roots)
    faults = [*root_faults(roots), *map(str, breaks)]
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    sys.stdout.write(f"{items} items in {streams} streams: {'BROKEN' if faults else 'verified'}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
