"""Artifacts: their bytes go between client and bucket by signed URLs; here is only who may, and where.

Paths are below the workspace's prefix of the bucket and are checked before anything is signed. What trainings
made (``trainings/``) is written by the platform alone: it is served and unpickled in the platform's name.
"""

import posixpath
from typing import Any, Final

from modelwright.artifacts import checked_path, key_of_path, path_of, resource_of_path
from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.protocol import Message
from modelwright.storage import Blobs, Tables
from modelwright.tracking.messages import ListArtifacts, ModelFiles
from modelwright.tracking.store import TrackingStore

BUCKET: Final = "artifacts"
EMPTY = "empty"
TRAININGS = "trainings"
PARTS_LIMIT = 10_000


class Part(Message):
    """An uploaded part."""

    part_number: int
    etag: str


class Upload(Message):
    """``mpu/create``, ``complete`` and ``abort``: ``path`` is below the path of the URL."""

    path: str
    num_parts: int = 1
    upload_id: str = ""
    parts: tuple[Part, ...] = ()


def list_of_run(call: Call, message: ListArtifacts, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return one level of a run's files."""
    run = TrackingStore(tables, call).run(message.run)
    call.authorise("runs:read", run.resource)
    return {"root_uri": run.artifact_uri, "files": _level_of(call, run.artifact_uri, message.path, blobs)}


def list_of_model(call: Call, message: ModelFiles, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return one level of a logged model's files."""
    model = TrackingStore(tables, call).logged_model(message.model_id)
    call.authorise("runs:read", model.resource)
    files = _level_of(call, model.artifact_uri, message.artifact_directory_path, blobs)
    return {"root_uri": model.artifact_uri, "files": files}


def list_path(call: Call, path: str, *, blobs: Blobs) -> dict[str, Any]:
    """Return one level of files below a path, named relative to it."""
    key = _key(call, "artifacts:read", path)
    return {"files": _level(key, "", blobs)}


def download_url(call: Call, path: str, *, blobs: Blobs) -> str:
    """Return a URL of a file; raises ``NotFound``."""
    key = _key(call, "artifacts:read", path)
    blobs.size(BUCKET, key)
    return blobs.presigned_get(BUCKET, key)


def presigned(call: Call, path: str, *, blobs: Blobs) -> dict[str, Any]:
    """Return a file's URL and size, for ranged reads; raises ``NotFound``."""
    key = _key(call, "artifacts:read", path)
    size = blobs.size(BUCKET, key)
    return {"url": blobs.presigned_get(BUCKET, key), "headers": {}, "file_size": size}


def put(call: Call, path: str, body: bytes, *, blobs: Blobs) -> dict[str, Any]:
    """Take a small file through the function (clients before 3.18)."""
    blobs.put(BUCKET, _key(call, "artifacts:write", path), body)
    return {}


def delete(call: Call, path: str, *, blobs: Blobs) -> dict[str, Any]:
    """Remove a file, or all below a path."""
    key = _key(call, "artifacts:write", path)
    for listed in list(blobs.list(BUCKET, f"{key}/")):
        blobs.delete(BUCKET, listed.key)
    blobs.delete(BUCKET, key)
    return {}


def start_upload(call: Call, path: str, upload: Upload, *, blobs: Blobs) -> dict[str, Any]:
    """Begin an upload in parts and return one URL per part.

    Clients before 3.18 announce an empty file as one of no parts, which S3 does not know.
    """
    if not 0 <= upload.num_parts <= PARTS_LIMIT:
        raise InvalidInput(f"an upload has at most {PARTS_LIMIT} parts, not {upload.num_parts}")
    key = _key(call, "artifacts:write", _joined(path, upload))
    if upload.num_parts == 0:
        return {"upload_id": EMPTY, "credentials": []}
    identity, urls = blobs.start_upload(BUCKET, key, upload.num_parts)
    credentials = [{"url": url, "part_number": n, "headers": {}} for n, url in enumerate(urls, 1)]
    return {"upload_id": identity, "credentials": credentials}


def finish_upload(call: Call, path: str, upload: Upload, *, blobs: Blobs) -> dict[str, Any]:
    """Complete an upload."""
    key = _key(call, "artifacts:write", _joined(path, upload))
    if upload.upload_id == EMPTY:
        blobs.put(BUCKET, key, b"")
        return {}
    blobs.finish_upload(BUCKET, key, upload.upload_id, [(p.part_number, p.etag.strip('"')) for p in upload.parts])
    return {}


def abort_upload(call: Call, path: str, upload: Upload, *, blobs: Blobs) -> dict[str, Any]:
    """Give an upload up."""
    blobs.abort_upload(BUCKET, _key(call, "artifacts:write", _joined(path, upload)), upload.upload_id)
    return {}


def _key(call: Call, action: str, path: str) -> str:
    checked = checked_path(path)
    if not checked:
        raise InvalidInput("an artifact path is needed")
    call.authorise(action, resource_of_path(checked))
    if action == "artifacts:write" and checked.partition("/")[0] == TRAININGS:
        raise Forbidden(f"{checked} is the platform's: what a training made is neither written nor deleted by callers")
    return key_of_path(call.workspace, checked)


def _joined(path: str, upload: Upload) -> str:
    """Join the URL's path and the file's name (clients before 3.18 send its local path: the last part counts)."""
    return f"{path}/{posixpath.basename(upload.path)}".strip("/")


def _level_of(call: Call, uri: str, path: str, blobs: Blobs) -> list[dict[str, Any]]:
    root = path_of(uri)
    if root is None:
        raise NotFound(f"the files of {uri} do not lie in this platform's bucket")
    call.authorise("artifacts:read", resource_of_path(root))
    return _level(key_of_path(call.workspace, root), checked_path(path), blobs)


def _level(root: str, path: str, blobs: Blobs) -> list[dict[str, Any]]:
    """List one level: a file ``path`` itself has no level below and gives nothing."""
    prefix = f"{root}/{path}/" if path else f"{root}/"
    files: dict[str, dict[str, Any]] = {}
    for listed in blobs.list(BUCKET, prefix):
        head, slash, _ = listed.key.removeprefix(prefix).partition("/")
        if not head:
            continue
        name = f"{path}/{head}" if path else head
        files[name] = (
            {"path": name, "is_dir": True} if slash else {"path": name, "is_dir": False, "file_size": listed.size}
        )
    return [files[name] for name in sorted(files)]
