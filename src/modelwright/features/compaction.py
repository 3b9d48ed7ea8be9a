"""Objects of the offline store that nobody needs any more, removed after a grace time.

A partition is one object per week, so that a source has as many objects as weeks, however many files came: what is
left to do is to remove the objects that were replaced. A reader that read the manifest before they were may still
read them, so each is first noted, and removed when it was noted long ago and the manifest still does not name it. An
object that is written at this moment, and that the manifest will name, has time enough for that.

==============  =====================================  ============  ==========================================
entity          pk (table ``features``)                sk            access pattern
==============  =====================================  ============  ==========================================
replaced ones   ``WS#<ws>#SOURCE#<source>``            ``REPLACED``  get: since when each is named by nothing
==============  =====================================  ============  ==========================================
"""

import json
from datetime import timedelta

from modelwright.context import Call
from modelwright.features.history import History
from modelwright.features.layout import MICROSECOND, micros, source_key
from modelwright.project import Project
from modelwright.storage import Absent, Blobs, Is, Key, Put, Tables

GRACE = timedelta(days=1)
"""How long an object stays after it was found replaced: longer than any job reads, and any function writes."""
_GRACE_US = GRACE // MICROSECOND


def remove_replaced(call: Call, *, project: Project, tables: Tables, blobs: Blobs) -> dict[str, int]:
    """Remove what was replaced long enough ago, note what is since, and return how many objects went by source."""
    return {source: _of_source(call, source, tables=tables, blobs=blobs) for source in project.sources}


def _of_source(call: Call, source: str, *, tables: Tables, blobs: Blobs) -> int:
    key = source_key(call.workspace, source, "REPLACED")
    item = tables.get("features", key)
    if item is not None and micros(call.now) < item["at"] + _GRACE_US:
        return 0  # a listing costs as much as a write: once a day is enough
    noted: dict[str, int] = json.loads(item["objects"]) if item else {}
    there = [listed.key for listed in blobs.list("lake", f"offline/{call.workspace}/{source}/")]
    history = History(blobs=blobs, tables=tables, workspace=call.workspace, cache={})
    needed = {partition.digest for partition in history.manifest(source).partitions}
    replaced = [path for path in there if _digest(path) not in needed]
    now_us = micros(call.now)
    gone = [path for path in replaced if path in noted and now_us >= noted[path] + _GRACE_US]
    blobs.delete_many("lake", gone)
    left = {path: noted.get(path, now_us) for path in replaced if path not in set(gone)}
    tables.write([_stored(key, left, now_us, item["v"] if item else 0)])
    return len(gone)


def _digest(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _stored(key: Key, noted: dict[str, int], now_us: int, version: int) -> Put:
    item = {**key._asdict(), "objects": json.dumps(noted), "at": now_us, "v": version + 1}
    return Put("features", item, Is("v", version) if version else Absent())
