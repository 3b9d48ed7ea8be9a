"""Votes: of each column and detector, whether it moved in the newest windows.

A source of hundreds of columns, detectors and segments has tens of thousands of them, and one item of a table holds
all: so only those that moved are kept, by what they have in common. A *head* is a name up to its first bar (the
column), a *tail* the rest (detector and segment); per run of votes and tail a bit for each head says who voted so.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from modelwright.events import Window

LARGEST = 160 * 1024
"""Bytes of packed votes; of more, those of segments are forgotten, whose runs begin anew."""


class DriftVotes(BaseModel):
    """Of each column and detector, whether it moved in the newest windows, oldest first.

    Attributes:
        newest: end of the latest window that voted; spans that end by then have no vote any more.
        began: start of the latest window that voted, as far as it is past; files that end before have no vote any more.
        votes: of those that moved in any of the newest windows; in a document that is not packed, of all.
        since: of these, the start of the first window of this run.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    version: int = 0
    newest: datetime = datetime.min.replace(tzinfo=UTC)
    began: datetime = datetime.min.replace(tzinfo=UTC)
    votes: dict[str, tuple[bool, ...]] = {}
    since: dict[str, datetime] = {}

    def after(self, before: "DriftVotes", window: Window, now: datetime) -> "DriftVotes":
        """Return the votes when a window has voted besides those before; what lies in the future is as now."""
        began = max(before.began, min(window.start, now))
        return self.model_copy(update={"newest": max(before.newest, window.end), "began": began})

    def packed(self) -> bytes:
        """Return the document as an item keeps it."""
        moved = {name: ballot for name, ballot in self.votes.items() if any(ballot)}
        body = self._document(moved)
        if len(body) > LARGEST:
            body = self._document({name: ballot for name, ballot in moved.items() if name.count("|") < 2})
        return body

    @classmethod
    def unpacked(cls, body: bytes) -> "DriftVotes":
        """Return what ``packed`` gave."""
        document = json.loads(zlib.decompress(bytes(body)))
        votes, since = {}, {}
        for run in document.pop("runs"):
            for name in _names(document["heads"], run["of"]):
                votes[name] = tuple(letter == "1" for letter in run["votes"])
                if run["since"]:
                    since[name] = run["since"]
        return cls.model_validate({**document, "votes": votes, "since": since})

    def _document(self, votes: Mapping[str, tuple[bool, ...]]) -> bytes:
        heads = sorted({name.partition("|")[0] for name in votes})
        places = {head: number for number, head in enumerate(heads)}
        runs: dict[tuple[str, str], dict[str, int]] = {}
        for name, ballot in votes.items():
            since = self.since[name].isoformat() if name in self.since else ""
            head, _, tail = name.partition("|")
            of = runs.setdefault(("".join("01"[now] for now in ballot), since), {})
            of[tail] = of.get(tail, 0) | 1 << places[head]
        kept = self.model_dump(mode="json", include={"version", "newest", "began"})
        listed = [
            {"votes": ballot, "since": since, "of": {tail: f"{bits:x}" for tail, bits in sorted(of.items())}}
            for (ballot, since), of in sorted(runs.items())
        ]
        return zlib.compress(json.dumps({**kept, "heads": heads, "runs": listed}).encode(), 9)


def _names(heads: list[str], of: Mapping[str, str]) -> Iterator[str]:
    for tail, bits in of.items():
        places = bin(int(bits, 16))[:1:-1]
        yield from (f"{heads[n]}|{tail}" for n, bit in enumerate(places) if bit == "1")
