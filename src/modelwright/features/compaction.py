"""Objects of the offline store that nobody needs any more, removed after a grace time.

A partition is one object per week, so that a source has as many objects as weeks, however many files came: what is
left to do is to remove the objects that were replaced. A reader that read the manifest before they were may still
read them, so each is first noted, and removed when it was noted long ago and the manifest still does not name it. An
object that is written at this moment, and that the manifest will name, has time enough for that: it is noted with when
it was put, and an attempt that is made again puts it again. Only between a listing and the removal that follows it, in
seconds, could an object be put that goes; its versions stay in the bucket for the time of its lifecycle.

==============  =====================================  ============  ==========================================
entity          pk (table ``features``)                sk            access pattern
==============  =====================================  ============  ==========================================
replaced ones   ``WS#<ws>#SOURCE#<source>``            ``REPLACED``  get: since when each is named by nothing
==============  =====================================  ============  ==========================================
"""

import hashlib
import json
from datetime import timedelta
from functools import partial
from itertools import islice

from modelwright.context import Call
from modelwright.features.history import History
from modelwright.features.layout import MICROSECOND, micros, source_key
from modelwright.features.rounds import go_round
from modelwright.project import Project
from modelwright.storage import Absent, Blobs, Is, Key, Listed, Put, Tables

GRACE = timedelta(days=1)
"""How long an object stays after it was found replaced: longer than any job reads, and any function writes."""
_GRACE_US = GRACE // MICROSECOND
_NOTED = 7_000
"""So many fit into an item; the others are noted when these are gone."""


def remove_replaced(call: Call, *, project: Project, tables: Tables, blobs: Blobs) -> dict[str, int]:
    """Remove what was replaced long enough ago, note what is since, and return how many objects went by source."""
    found: dict[str, int] = {}

    def of_source(source: str) -> None:
        found[source] = _of_source(call, source, tables=tables, blobs=blobs)

    go_round(partial(of_source, source) for source in project.sources)
    return found


def _of_source(call: Call, source: str, *, tables: Tables, blobs: Blobs) -> int:
    key = source_key(call.workspace, source, "REPLACED")
    item = tables.get("features", key)
    if item is not None and micros(call.now) < item["at"] + _GRACE_US:
        return 0  # a listing costs as much as a write: once a day is enough
    noted: dict[str, int] = json.loads(item["objects"]) if item else {}
    history = History(blobs=blobs, tables=tables, workspace=call.workspace, cache={})
    needed = {partition.digest for partition in history.manifest(source).partitions}
    there = blobs.list("lake", f"offline/{call.workspace}/{source}/")  # after the manifest: what came since is new here
    replaced = {_name(one): one.key for one in there if _digest(one.key) not in needed}
    now_us = micros(call.now)
    gone = [name for name in replaced if name in noted and now_us >= noted[name] + _GRACE_US]
    blobs.delete_many("lake", [replaced[name] for name in gone])
    left = {name: noted.get(name, now_us) for name in replaced if name not in set(gone)}
    tables.write([_stored(key, dict(islice(left.items(), _NOTED)), now_us, item["v"] if item else 0)])
    return len(gone)


def _name(one: Listed) -> str:
    """Return a short name of an object as it was put: whoever puts it again, even the same, makes it another."""
    return hashlib.blake2b(f"{one.key}@{one.modified}".encode(), digest_size=8).hexdigest()


def _digest(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _stored(key: Key, noted: dict[str, int], now_us: int, version: int) -> Put:
    item = {**key._asdict(), "objects": json.dumps(noted), "at": now_us, "v": version + 1}
    return Put("features", item, Is("v", version) if version else Absent())
