"""Saved datasets, as people look at them; what makes them is ``datasets``."""

import json
import re
from typing import Any

from modelwright.context import Call
from modelwright.errors import Gone, NotFound
from modelwright.features.layout import about_path, dataset_path
from modelwright.storage import Blobs

_DIGEST = re.compile("[0-9a-f]{64}")


def show(call: Call, digest: str, *, blobs: Blobs) -> dict[str, Any]:
    """Return what is said of a dataset (``datasets.About``, and its profile), and a URL that downloads it.

    Raises:
        Gone: a subject was erased from it; the text names the dataset without.
        NotFound: there is no such dataset, or nothing was said of it.
        Forbidden: the caller may not read a view that it is made of.
    """
    if not _DIGEST.fullmatch(digest):
        raise NotFound(f"there is no dataset {digest}: a digest is 64 hexadecimal digits")
    try:
        about: dict[str, Any] = json.loads(blobs.get("lake", about_path(call.workspace, digest)).body)
    except NotFound as error:
        raise NotFound(f"there is no dataset {digest}") from error
    if "erasure" in about:
        instead = f"ask for {about['replaced_by']}" if about["replaced_by"] else "nothing was left of it"
        raise Gone(f"the dataset {digest} held a subject that was erased ({about['erasure']}): {instead}")
    for view in about["views"]:
        call.authorise("features:read", f"view/{view}")
    key = dataset_path(call.workspace, digest)
    return {**about, "key": key, "url": blobs.presigned_get("lake", key, filename=f"{digest}.parquet")}
