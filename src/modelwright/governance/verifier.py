"""Checks the log's hash chains with nothing but the standard library.

An auditor can take this one file, an export of the log (JSON Lines, one stored item per line)
and the roots from the Object-Lock bucket, and needs to trust none of our other code:

    python -m modelwright.governance.verifier log.jsonl [--roots root.json ...]

The exit status is 1, and the first bad sequence number of every broken stream is printed, after
a flipped byte, a dropped, swapped or doubled item, or a tail cut off before the last root.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
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
    """Return the hash that an item must carry: SHA-256 of its canonical JSON with the previous hash."""
    record = {**json.loads(item["envelope"]), "previous": item["previous"], "chain_version": int(item["chain_version"])}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def verify_stream(items: Iterable[Mapping[str, Any]], root: tuple[int, str] | None = None) -> Break | None:
    """Return the first break of one stream, or None.

    Args:
        items: the stream's items in stored order.
        root: an anchored (sequence, hash) of this stream, against which a cut tail shows.
    """
    previous, expected, anchored = GENESIS, 1, root is None
    stream = ""
    for item in items:
        stream, sequence = item["pk"], int(item["sk"])
        if sequence != expected:
            return Break(stream, expected, f"the item is missing or out of place: {sequence} stands there")
        if fault := _fault(item, previous):
            return Break(stream, sequence, fault)
        if root is not None and sequence == root[0]:
            if item["hash"] != root[1]:
                return Break(stream, sequence, "its hash is not the anchored one")
            anchored = True
        previous, expected = item["hash"], expected + 1
    if not anchored and root is not None:
        return Break(stream, expected, f"the tail is cut: sequence {root[0]} was anchored")
    return None


def verify(items: Iterable[Mapping[str, Any]], roots: Iterable[Mapping[str, Any]] = ()) -> tuple[list[Break], int, int]:
    """Check whole streams, grouped in any order between streams.

    Returns:
        The breaks, the number of streams and the number of items.
    """
    streams: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        streams.setdefault(item["pk"], []).append(item)
    anchored = _newest_roots(roots)
    breaks = []
    for stream in sorted({*streams, *anchored}):
        found = verify_stream(streams.get(stream, []), anchored.get(stream))
        if found is not None:
            breaks.append(found._replace(stream=stream))
    return breaks, len(streams), sum(map(len, streams.values()))


def _fault(item: Mapping[str, Any], previous: str) -> str:
    if int(item["chain_version"]) != CHAIN_VERSION:
        return f"chain version {item['chain_version']} is unknown"
    if item["previous"] != previous:
        return "it does not follow the item before it"
    try:
        envelope = json.loads(item["envelope"])
        right = digest(item)
    except (ValueError, KeyError, TypeError):
        return "its content cannot be read"
    if right != item["hash"]:
        return "its content is not what was hashed"
    if envelope.get("stream") != item["pk"] or envelope.get("sequence") != int(item["sk"]):
        return "its content belongs elsewhere"
    return ""


def _newest_roots(roots: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, str]]:
    newest: dict[str, tuple[int, str]] = {}
    for root in roots:
        for stream, (sequence, value) in root["heads"].items():
            newest[stream] = max(newest.get(stream, (0, "")), (int(sequence), str(value)))
    return newest


def _lines(path: str) -> Iterator[Mapping[str, Any]]:
    with sys.stdin if path == "-" else Path(path).open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def main(arguments: list[str] | None = None) -> int:
    """Check an export; returns the exit status."""
    parser = argparse.ArgumentParser(description="Verify an export of the log.")
    parser.add_argument("export", help="JSON Lines of stored log items, or - for standard input")
    parser.add_argument("--roots", nargs="*", default=[], help="root files from the audit bucket")
    chosen = parser.parse_args(arguments)
    roots = [json.loads(Path(path).read_text(encoding="utf-8")) for path in chosen.roots]
    breaks, streams, items = verify(_lines(chosen.export), roots)
    for broken in breaks:
        sys.stdout.write(f"{broken}\n")
    sys.stdout.write(f"{items} items in {streams} streams: {'BROKEN' if breaks else 'verified'}\n")
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
