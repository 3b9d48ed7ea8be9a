"""What a version's folder says of itself at the moment the version is made.

Clients write these files, so nothing in them is trusted: what is too large, not well formed or gone meanwhile is not
known, and keeps no version from being made. ``MLmodel`` is YAML, of which only plain documents are read: merge keys,
with which a small file can describe an enormous one, are refused.
"""

import hashlib
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwright.artifacts import BUCKET, LOCKS, PREDICTIONS, environment_digest
from modelwright.errors import NotFound
from modelwright.registry import signatures
from modelwright.storage import Blobs

if TYPE_CHECKING:
    import yaml

MODEL_FILE, MLMODEL = "model.pkl", "MLmodel"
PINNED_BYTES = 200_000_000
"""A larger model is not read, and so not known."""
MOST_FILES = 5_000
"""How large a folder of more files is, is not known."""
_READ_BYTES = {MLMODEL: 200_000, PREDICTIONS: 50_000_000, **dict.fromkeys(LOCKS, 1_000_000)}


class Files(NamedTuple):
    """Where a version's files lie, what they must be, and what they say.

    Attributes:
        key: a prefix (ending in ``/``) of the artifacts bucket; empty when they lie elsewhere.
        digest: SHA-256 of ``model.pkl``, or else of what ``MLmodel`` names instead; empty when it is not known.
        unpinned: why it is not known, if that is a fault of the file.
        size: bytes of all of them; None when nobody knows.
        signature: as in ``signatures.told``.
        environment_digest: of the files that lock its libraries.
        predictions: SHA-256 of ``predictions.parquet``; empty when there is none.
    """

    key: str = ""
    digest: str = ""
    unpinned: str = ""
    size: int | None = None
    signature: str = ""
    environment_digest: str = ""
    predictions: str = ""


def read(key: str, blobs: Blobs) -> Files:
    """Return what lies below a prefix now; its ``size`` is None also when nothing does."""
    listed = list(islice(blobs.list(BUCKET, key), MOST_FILES + 1))
    sizes = {line.key.removeprefix(key): line.size for line in listed}
    texts = {name: body for name in _READ_BYTES if (body := _body(key, name, sizes, blobs)) is not None}
    document = _document(texts[MLMODEL]) if MLMODEL in texts else {}
    digest, unpinned = _pinned(key, MODEL_FILE if MODEL_FILE in sizes else _pickle(document), sizes, blobs)
    predictions = texts.get(PREDICTIONS)
    return Files(
        key,
        digest,
        unpinned,
        size=sum(sizes.values()) if 0 < len(listed) <= MOST_FILES else None,
        signature=signatures.told(document),
        environment_digest=environment_digest({name: texts[name] for name in LOCKS if name in texts}),
        predictions=hashlib.sha256(predictions).hexdigest() if predictions else "",
    )


def _pickle(document: Mapping[str, Any]) -> str:
    """Return the file that the flavor ``sklearn`` unpickles, whatever it is called; empty when there is none."""
    flavors = document.get("flavors")
    options = flavors.get("sklearn") if isinstance(flavors, dict) else None
    named = options.get("pickled_model") if isinstance(options, dict) else None
    return named if isinstance(named, str) else ""


def _pinned(key: str, name: str, sizes: Mapping[str, int], blobs: Blobs) -> tuple[str, str]:
    size = sizes.get(name)
    if size is None:
        return "", ""
    if size > PINNED_BYTES:
        return "", f"{name} has {size} bytes; up to {PINNED_BYTES} are read to know its digest"
    try:
        return hashlib.sha256(blobs.get(BUCKET, key + name).body).hexdigest(), ""
    except NotFound:
        return "", ""


def _body(key: str, name: str, sizes: Mapping[str, int], blobs: Blobs) -> bytes | None:
    if name not in sizes or sizes[name] > _READ_BYTES[name]:
        return None
    try:
        body = blobs.get(BUCKET, key + name).body
    except NotFound:
        return None
    return body if len(body) <= _READ_BYTES[name] else None


def _document(body: bytes) -> dict[str, Any]:
    """Return a plain YAML mapping; an empty one where the file is none."""
    import yaml

    try:
        said = yaml.load(body, Loader=_loader())  # noqa: S506 - a SafeLoader with less, not more
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}
    return said if isinstance(said, dict) else {}


def _loader() -> "type[yaml.SafeLoader]":
    import yaml

    class Plain(yaml.SafeLoader):
        """Knows no merge keys; written in Python, so that what is nested too deeply is an error and no crash."""

        def flatten_mapping(self, node: "yaml.MappingNode") -> None:
            """Leave a mapping as it is, so that a merge key is a key that cannot be read."""

    return Plain
