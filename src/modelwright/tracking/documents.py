"""Documents of any size: in the item as they are, compressed, or as an object of the lake that the item names.

A document is JSON text. Objects are named by their content below ``tracking/<ws>/docs/<owner>/``, the owner being the
run, logged model or experiment whose document it is, and are never changed: an item names either
what it was written with or what came later. What is not named any more goes with its owner.
"""

import hashlib
import zlib
from typing import Any, Final

from modelwright.storage import Blobs, BucketName, Item

BUCKET: Final[BucketName] = "lake"
PLAIN_LIMIT, ITEM_LIMIT = 4_000, 300_000
"""Bytes of a document that stays as it is, and of a compressed one that stays in the item."""


def folder(workspace: str, owner: str) -> str:
    """Return the prefix of an owner's objects."""
    return f"tracking/{workspace}/docs/{owner}/"


def written(document: str, prefix: str, blobs: Blobs) -> dict[str, Any]:
    """Return the attributes of an item that hold a document; what is too long for it is put below ``prefix`` first."""
    raw = document.encode()
    if len(raw) <= PLAIN_LIMIT:
        return {"doc": document}
    packed = zlib.compress(raw, 6)
    if len(packed) <= ITEM_LIMIT:
        return {"zipped": packed, "size": len(raw)}
    key = f"{prefix}{hashlib.sha256(raw).hexdigest()[:32]}"
    blobs.put(BUCKET, key, packed)
    return {"object": key, "size": len(raw)}


def size(item: Item) -> int:
    """Return about how long a document is, without reading it."""
    return int(item["size"]) if "size" in item else PLAIN_LIMIT


def read(item: Item, blobs: Blobs) -> str | bytes:
    """Return the document that an item holds or names."""
    if "doc" in item:
        return str(item["doc"])
    packed = bytes(item["zipped"]) if "zipped" in item else blobs.get(BUCKET, str(item["object"])).body
    return zlib.decompress(packed)
