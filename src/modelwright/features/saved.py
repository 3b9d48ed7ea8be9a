"""Saved datasets, as people look at them; what makes them is ``datasets``."""

import json
import re
from typing import Any

from modelwright.context import Call
from modelwright.errors import Gone, NotFound
from modelwright.features.layout import about_path, dataset_path
from modelwright.features.rights import read_views
from modelwright.storage import Blobs

_DIGEST = re.compile("[0-9a-f]{64}")
_FILE = ".parquet"


def about_of(workspace: str, digest: str, *, blobs: Blobs) -> dict[str, Any]:
    """Return what is said of a dataset.

    Raises:
        Gone: a subject was erased from it; the text names the dataset without.
        NotFound: there is no such dataset, or nothing was said of it.
    """
    if not _DIGEST.fullmatch(digest):
        raise NotFound(f"there is no dataset {digest}: a digest is 64 hexadecimal digits")
    try:
        about: dict[str, Any] = json.loads(blobs.get("lake", about_path(workspace, digest)).body)
    except NotFound as error:
        raise NotFound(f"there is no dataset {digest}") from error
    if "erasure" in about:
        instead = f"ask for {about['replaced_by']}" if about["replaced_by"] else "nothing was left of it"
        raise Gone(f"the dataset {digest} held a subject that was erased ({about['erasure']}): {instead}")
    return about


def views_of(workspace: str, key: str, *, blobs: Blobs) -> dict[str, int]:
    """Return the versions of the views that a file of entities is made of: those of a dataset; none of an upload.

    Raises as ``about_of``: what nothing is said of may be made of anything.
    """
    folder = dataset_path(workspace, "").removesuffix(_FILE)
    if not key.startswith(folder):
        return {}
    views: dict[str, int] = about_of(workspace, key.removeprefix(folder).removesuffix(_FILE), blobs=blobs)["views"]
    return views


def show(call: Call, digest: str, *, blobs: Blobs) -> dict[str, Any]:
    """Return what is said of a dataset (``datasets.About``, and its profile), and a URL that downloads it.

    Raises:
        Gone: a subject was erased from it; the text names the dataset without.
        NotFound: there is no such dataset, or nothing was said of it.
        Forbidden: the caller may not read a view that it is made of.
    """
    about = about_of(call.workspace, digest, blobs=blobs)
    read_views(call, about["views"])
    key = dataset_path(call.workspace, digest)
    return {**about, "key": key, "url": blobs.presigned_get("lake", key, filename=f"{digest}.parquet")}
