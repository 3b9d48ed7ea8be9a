"""Checks the log's hash chains with nothing but the standard library.

An auditor can take this one file, and needs to trust none of our other code:

    python verifier.py log.jsonl [--roots root.json ...]
    python verifier.py --manifest manifest.json [--roots root.json ...] [--digest HEX]

The first form takes whole streams: JSON Lines, one stored item per line. The second takes an excerpt, a period's
export or an archived day, whose streams begin and end where its manifest says; the files lie beside the manifest. The
exit status is 1, and the first bad sequence number of every broken stream is printed, after a flipped byte, a dropped,
swapped or doubled item, or a tail cut off before the last root. What proves what:

- The chain proves that nothing was changed, dropped, swapped or doubled between two items that are known to be right.
- A manifest tells where the streams of an excerpt begin and end, with the hash before and the last one, and the
  SHA-256 of every file. Alone it proves that the files are those it was made with.
- ``--digest`` is the manifest's own SHA-256, as the event ``AuditExported`` or ``LogArchived`` in the log tells it:
  it proves that the manifest is the one that was recorded then.
- Roots come from the Object-Lock bucket, where nobody can change them. An excerpt reaches from one root to another:
  with both, nothing of the manifest need be believed, because the roots tell where every stream begins and ends.

The roots themselves are checked too: each against its own hash, and that each names the one before it, which takes
all from the first to the last of them (an excerpt's two may have others between them). A root without a hash of its
own is the part of one that the read API gives to a workspace; its heads count, and that is all it proves.
"""

import argparse
import gzip
import hashlib
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

GENESIS = "0" * 64
CHAIN_VERSION = 1
_UNREADABLE = "the manifest cannot be read"
_ODD = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What comes of reading something that was made to be odd (``OverflowError`` of JSON's ``Infinity``)."""


class Break(NamedTuple):
    """The first place of a stream that is not as it was written."""

    stream: str
    sequence: int
    reason: str

    def __str__(self) -> str:
        return f"{self.stream} is broken at sequence {self.sequence}: {self.reason}"


class Span(NamedTuple):
    """From where to where an excerpt has a stream: its first and last sequence numbers, both inclusive.

    Attributes:
        before: the hash of the item before the first one.
        hash: the hash of the last one.
    """

    first: int
    before: str
    last: int
    hash: str


def digest(item: Mapping[str, Any]) -> str:
    """Return the hash that an item must carry: SHA-256 over its version, the hash before, its place and its text."""
    lines = (str(item["chain_version"]), item["previous"], item["sk"], item["pk"], item["envelope"])
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Stream:
    """One stream, checked item by item, so that an export may be larger than memory.

    Args:
        name: the stream.
        anchored: hashes in the roots by sequence number, against which a cut tail and a forged chain show.
        span: from where to where it goes; without one it is a whole stream.
    """

    __slots__ = ("anchored", "broken", "expected", "last", "name", "previous")

    def __init__(self, name: str, anchored: Mapping[int, str], span: Span | None = None) -> None:
        self.name = name
        self.anchored = anchored if span is None else {**_within(span, anchored), span.last: span.hash}
        self.previous, self.expected = (span.before, span.first) if span else (GENESIS, 1)
        self.last = span.last if span else max(anchored, default=0)
        self.broken = None if span is None else _odd_ends(name, span, anchored)

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

    def end(self, *, cut: bool = False) -> Break | None:
        """Return the first break, a cut tail included, or None.

        Args:
            cut: the stream is known to go no further than ``last``.
        """
        if self.broken is None and self.last >= self.expected:
            return Break(self.name, self.expected, f"the tail is cut: sequence {self.last} was anchored")
        if self.broken is None and cut and self.expected > self.last + 1:
            return Break(self.name, self.last + 1, "the manifest does not tell of it")
        return self.broken


def verify(
    items: Iterable[Mapping[str, Any]],
    roots: Iterable[Mapping[str, Any]] = (),
    spans: Mapping[str, Span] | None = None,
) -> tuple[list[Break], int, int]:
    """Check streams, whose items come in stored order and, between streams, in any.

    An item that tells no stream counts as one of the stream before it.

    Args:
        items: what is stored.
        roots: what was anchored.
        spans: from where to where each stream of an excerpt goes; None: these are whole streams.

    Returns:
        The breaks, the number of streams and the number of items.
    """
    anchored = _anchored(roots)
    expected: Mapping[str, Any] = anchored if spans is None else spans
    streams: dict[str, Stream] = {}
    name, count = "?", 0

    def begun(name: str) -> Stream:
        if spans is None:
            return Stream(name, anchored.get(name, {}))
        return Stream(name, anchored.get(name, {}), spans.get(name, Span(1, GENESIS, 0, GENESIS)))

    for item in items:
        name, count = str(item.get("pk", name)), count + 1
        stream = streams.get(name)
        if stream is None:
            stream = streams[name] = begun(name)
        stream.take(item)
    checked = sorted(
        [*streams.values(), *(begun(each) for each in expected if each not in streams)], key=lambda each: each.name
    )
    found = (each.end(cut=spans is not None) for each in checked)
    return [broken for broken in found if broken is not None], len(streams), count


def spans_of(manifest: Mapping[str, Any]) -> dict[str, Span]:
    """Return from where to where a manifest says that each stream goes; raises ``ValueError`` if it cannot be read."""
    try:
        told = ((str(stream), span) for stream, span in manifest["streams"].items())
        return {
            stream: Span(int(first), str(before), int(last), str(value))
            for stream, (first, before, last, value) in told
        }
    except _ODD as error:
        raise ValueError(_UNREADABLE) from error


def spans_between(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], workspace: str = ""
) -> Iterator[tuple[str, Span]]:
    """Yield each stream that was written to between two roots, by name, and from where to where.

    Args:
        before: the earlier root; None: the log's beginning.
        after: the later root.
        workspace: only this one's streams; empty: all.
    """
    known = before["heads"] if before else {}
    mine = f"WS#{workspace}#" if workspace else ""
    for stream, (last, value) in sorted(after["heads"].items()):
        sequence, previous = known.get(stream, (0, GENESIS))
        if stream.startswith(mine) and int(last) > int(sequence):
            yield stream, Span(int(sequence) + 1, str(previous), int(last), str(value))


def manifest_faults(manifest: Mapping[str, Any], roots: Sequence[Mapping[str, Any]]) -> list[str]:
    """Check a manifest by the two roots from and to which it says that its excerpt reaches.

    Without any root there is nothing to check it by, and that is no fault.
    """
    try:
        told, named = spans_of(manifest), (manifest["from"], manifest["to"])
        known = {str(root.get("part_of") or root.get("root")): root for root in roots}
        if missing := [root["number"] for root in named if known and root and root["root"] not in known]:
            return [f"root {number}, which the manifest names, is not among those given" for number in missing]
        if not known:
            return []
        if not named[1]:
            return ["the manifest names no root that its excerpt ends with"]
        before, after = (known[root["root"]] if root else None for root in named)
        return [*_period_faults(manifest, before, after), *_span_faults(told, before, after, manifest["workspace"])]
    except _ODD:
        return [_UNREADABLE]


def root_faults(roots: Iterable[Mapping[str, Any]], *, gaps: bool = False) -> list[str]:
    """Check roots by themselves, in whatever order they come: ``root 3 is not what was hashed``.

    Two anchors that met, or one that broke off, may leave a second root of a number, of which the log does not tell.
    Both told the truth; the next root names the one that counts.

    Args:
        roots: the roots.
        gaps: whether others may be missing between them.
    """
    given = list(roots)
    whole = [root for root in given if "part_of" not in root]
    faults = [f"root {root.get('number', '?')} is not what was hashed" for root in whole if not _is_as_hashed(root)]
    faults += [f"root {root.get('number', '?')} cannot be read" for root in given if _heads(root) is None]
    faults += _contradictions(given)
    numbered = sorted((root for root in whole if isinstance(root.get("number"), int)), key=lambda root: root["number"])
    numbers = [(number, list(same)) for number, same in groupby(numbered, key=lambda root: root["number"])]
    for (last, before), (number, after) in pairwise(numbers):
        named = {str(root.get("previous")) for root in after}
        if number > last + 1 and not gaps:
            faults.append(f"root {number} does not follow root {last}: there were others between them")
        elif number == last + 1 and (len(named) > 1 or not named <= {str(root.get("root")) for root in before}):
            faults.append(f"root {number} does not follow root {last}: it names another")
    return faults


# --- one by one --------------------------------------------------------------------------


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
    except _ODD:
        return "it cannot be read"


def _anchored(roots: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, str]]:
    anchored: dict[str, dict[int, str]] = {}
    for root in roots:
        for stream, (sequence, value) in (_heads(root) or {}).items():
            anchored.setdefault(stream, {})[sequence] = value
    return anchored


def _contradictions(roots: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield where two roots tell different hashes of one item: whoever wrote the later one rewrote the stream."""
    told: dict[tuple[str, int], tuple[str, Any]] = {}
    for root in roots:
        for stream, (sequence, value) in (_heads(root) or {}).items():
            first, number = told.setdefault((stream, sequence), (value, root.get("number", "?")))
            if first != value:
                yield f"roots {number} and {root.get('number', '?')} tell different hashes of {stream} at {sequence}"


def _heads(root: Mapping[str, Any]) -> dict[str, tuple[int, str]] | None:
    """Return what a root tells; None if it cannot be read."""
    try:
        told = root.get("heads", {}).items()
        return {str(stream): (int(sequence), str(value)) for stream, (sequence, value) in told}
    except _ODD:
        return None


def _within(span: Span, anchored: Mapping[int, str]) -> dict[int, str]:
    return {sequence: value for sequence, value in anchored.items() if span.first <= sequence <= span.last}


def _odd_ends(name: str, span: Span, anchored: Mapping[int, str]) -> Break | None:
    """Return a break where an excerpt does not follow, or not end with, what was anchored there."""
    if anchored.get(span.first - 1, span.before) != span.before:
        return Break(name, span.first, "the hash before it is not the anchored one")
    if span.first == 1 and span.before != GENESIS:
        return Break(name, 1, "there is nothing before it that it could follow")
    if anchored.get(span.last, span.hash) != span.hash:
        return Break(name, span.last, "its hash in the manifest is not the anchored one")
    return None


def _period_faults(
    manifest: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[str]:
    start, end = (datetime.fromisoformat(manifest[name]) for name in ("start", "end"))
    if before is not None and datetime.fromisoformat(before["at"]) > start:
        yield f"the excerpt begins with root {before['number']}, which is later than the start of its period"
    if after is not None and datetime.fromisoformat(after["at"]) < end:
        yield f"the excerpt ends with root {after['number']}, which is earlier than the end of its period"


def _span_faults(
    told: Mapping[str, Span], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, workspace: str
) -> Iterator[str]:
    right = dict(spans_between(before, after, workspace)) if after else {}
    for stream in sorted({*told, *right}):
        if stream not in told:
            yield str(Break(stream, right[stream].first, f"the manifest leaves out what the roots tell of: {stream}"))
        elif stream not in right:
            yield str(Break(stream, told[stream].first, "the roots do not tell of it"))
        elif told[stream] != right[stream]:
            first = min(told[stream].first, right[stream].first)
            if told[stream].first == right[stream].first:
                first = min(told[stream].last, right[stream].last) + 1
            yield str(Break(stream, first, "the manifest does not begin and end where the roots do"))


# --- files -------------------------------------------------------------------------------


def _lines(path: str) -> Iterator[Mapping[str, Any]]:
    if path.endswith(".gz"):
        yield from _compressed_lines(path)
        return
    with sys.stdin if path == "-" else Path(path).open(encoding="utf-8", errors="surrogateescape") as file:
        yield from (_item(line) for line in file if line.strip())


def _compressed_lines(path: str) -> Iterator[Mapping[str, Any]]:
    """Yield what can be read; after that the streams are cut, which is reported."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape") as file:
            yield from (_item(line) for line in file if line.strip())
    except (OSError, EOFError, zlib.error):
        return


def _item(line: str) -> Mapping[str, Any]:
    """Return the text's item or root; one of which nothing can be read is empty, which is reported in its place."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return item if isinstance(item, dict) else {}


def read(path: Path) -> Mapping[str, Any]:
    """Return a root or manifest; empty if nothing can be read of it."""
    return _item(path.read_text(encoding="utf-8", errors="surrogateescape"))


def _file_faults(manifest: Mapping[str, Any], folder: Path) -> Iterator[str]:
    for name, told in manifest["files"].items():
        path = folder / Path(name).name
        if not path.is_file():
            yield f"{path.name} is missing"
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != told["sha256"]:
            yield f"{path.name} is not the file that the manifest was made with"


def check_excerpt(
    path: Path, roots: Sequence[Mapping[str, Any]] = (), recorded: str = ""
) -> tuple[list[str], int, int]:
    """Check an excerpt: its manifest, the files beside it, and the streams in them.

    Args:
        path: the manifest.
        roots: the two that the excerpt reaches from and to, or more.
        recorded: the manifest's SHA-256, as the log tells it; empty: not asked for.

    Returns:
        The faults, the number of streams and the number of items.
    """
    manifest = read(path)
    faults = root_faults(roots, gaps=True)
    if recorded and hashlib.sha256(path.read_bytes()).hexdigest() != recorded.lower():
        faults.append(f"{path.name} is not the manifest that was recorded in the log")
    faults += manifest_faults(manifest, roots)
    try:
        spans = spans_of(manifest)
        faults += _file_faults(manifest, path.parent)
        logs = [path.parent / Path(name).name for name in manifest["log"]]
        items = (item for log in logs if log.is_file() for item in _lines(str(log)))
        breaks, streams, count = verify(items, roots, spans)
    except _ODD:
        return [*faults, *([] if _UNREADABLE in faults else [_UNREADABLE])], 0, 0
    if count != manifest.get("items"):
        faults.append(f"there are {count} items, the manifest tells of {manifest.get('items')}")
    return [*faults, *map(str, breaks)], streams, count


def main(arguments: list[str] | None = None) -> int:
    """Check an export; returns the exit status."""
    parser = argparse.ArgumentParser(description="Verify an export of the log.")
    parser.add_argument("export", nargs="?", help="JSON Lines of whole streams, or - for standard input")
    parser.add_argument("--manifest", help="that of an excerpt, whose files lie beside it")
    parser.add_argument("--roots", nargs="*", default=[], help="root files from the audit bucket")
    parser.add_argument("--digest", default="", help="the manifest's SHA-256, as the log tells it")
    chosen = parser.parse_args(arguments)
    if bool(chosen.export) == bool(chosen.manifest):
        parser.error("give either an export of whole streams or --manifest")
    roots = [read(Path(path)) for path in chosen.roots]
    if chosen.manifest:
        faults, streams, items = check_excerpt(Path(chosen.manifest), roots, chosen.digest)
    else:
        breaks, streams, items = verify(_lines(chosen.export), roots)
        faults = [*root_faults(roots), *map(str, breaks)]
    if chosen.manifest:
        sys.stdout.write(f"{covered(Path(chosen.manifest))}\n")
    return tell(faults, streams, items, believed(roots) if chosen.manifest else "")


def covered(path: Path) -> str:
    """Say what a manifest is about: an excerpt of another workspace or of less time may verify, too."""
    manifest = read(path)
    whose = f"workspace {manifest['workspace']}" if manifest.get("workspace") else "all workspaces"
    return _plain(f"{whose}, {manifest.get('start', '?')} to {manifest.get('end', '?')}")


def tell(faults: Sequence[str], streams: int, items: int, how: str = "") -> int:
    """Print the faults and the verdict; returns the exit status."""
    for fault in faults:
        sys.stdout.write(f"{_plain(fault)}\n")
    sys.stdout.write(f"{items} items in {streams} streams: {'BROKEN' if faults else 'verified'}{how}\n")
    return 1 if faults else 0


def _plain(text: str) -> str:
    """Return text that does nothing to a terminal, whatever a file has as the name of a stream."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def believed(roots: Sequence[Mapping[str, Any]]) -> str:
    """Say what of an excerpt had to be believed, because no root of the audit bucket proves it."""
    if not roots:
        return " against its manifest alone, without a root"
    if parts := sum("part_of" in root for root in roots):
        return f", but {parts} of {len(roots)} roots are a workspace's part, which proves nothing by itself"
    return ""


if __name__ == "__main__":
    sys.exit(main())
