"""MLflow's artifact proxy: signed URLs by path, uploads in parts, and the small files of old clients.

Paths are below the workspace's prefix of the bucket and are checked before anything is signed. What trainings
made (``trainings/``) is written by the platform alone.
"""

import ntpath
from collections.abc import Sequence
from typing import Any

from modelwright.artifacts import BUCKET, Signed, checked_path, key_of_path, resource_of_path, signed
from modelwright.context import Call
from modelwright.errors import InvalidInput, TooLarge
from modelwright.protocol import Message
from modelwright.storage import Blobs
from modelwright.tracking.files import READ, WRITE, folder, level, writable

EMPTY = "empty"
PARTS_LIMIT = 10_000
TALK_LIMIT = 4_500_000
"""Bytes of the largest request that surely fits; a client repeats all URLs when it completes an upload."""
WHOLE_LIMIT = 16_000_000
"""Bytes of the longest list that is answered in one piece, compressed: more than 100,000 files."""
UPGRADE = (
    "large files go to the bucket by signed URLs: use mlflow 3.18 or later, "
    "or set MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true for older clients (3.5 or later)"
)
_OF_A_PART = 300
"""Bytes that a part's URL has more than a plain upload's, and that JSON, number and etag add."""


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


class ListPath(Message):
    """``mlflow-artifacts/artifacts``.

    Attributes:
        max_results: said by who follows ``next_page_token``, which stock clients do not. How much a page holds is ours.
    """

    path: str = ""
    page_token: str = ""
    max_results: int = 0


def list_path(call: Call, message: ListPath, *, blobs: Blobs, whole: int = WHOLE_LIMIT) -> dict[str, Any]:
    """Return one level of files below a path, named relative to it.

    Args:
        call: who asks.
        message: where.
        blobs: the bucket.
        whole: bytes of the longest list for who does not ask for pages.

    Raises:
        TooLarge: there are more than one answer holds, and the caller would not notice that some are left out.
    """
    checked = folder(message.path)
    call.authorise(READ, resource_of_path(checked))
    root, pages = key_of_path(call.workspace, checked), bool(message.page_token or message.max_results)
    if pages:
        return level(root, "", message.page_token, blobs)
    found = level(root, "", "", blobs, room=whole)
    if "next_page_token" in found:
        raise TooLarge(
            f"{checked} holds more than {len(found['files'])} files: ask for pages (max_results, page_token)"
        )
    return found


def download(call: Call, path: str, *, blobs: Blobs) -> Signed:
    """Return a URL of a file, and its size; raises ``NotFound``."""
    return signed(_key(call, READ, path), blobs)


def put(call: Call, path: str, body: bytes, length: str, *, blobs: Blobs) -> None:
    """Take a small file through the function (clients before 3.18).

    Raises:
        InvalidInput: it did not arrive as it was sent: the gateway takes what says that it is text for UTF-8.
    """
    if length.isdigit() and int(length) != len(body):
        raise InvalidInput(f"{path} has bytes that its Content-Type does not allow for; {UPGRADE}")
    blobs.put(BUCKET, _key(call, WRITE, path), body)


def delete(call: Call, path: str, *, blobs: Blobs) -> dict[str, Any]:
    """Remove a file, or all below a path."""
    key = _key(call, WRITE, path)
    blobs.delete_many(BUCKET, [*(listed.key for listed in blobs.list(BUCKET, f"{key}/")), key])
    return {}


def start_upload(call: Call, path: str, upload: Upload, *, blobs: Blobs) -> dict[str, Any]:
    """Begin an upload in parts and return one URL per part.

    Clients before 3.18 announce an empty file as one of no parts, which S3 does not know.
    """
    key = _key(call, WRITE, _joined(path, upload))
    most = min(PARTS_LIMIT, TALK_LIMIT // (len(blobs.presigned_put(BUCKET, key)) + _OF_A_PART))
    if not 0 <= upload.num_parts <= most:
        raise InvalidInput(
            f"An upload has at most {most} parts here, not {upload.num_parts}: "
            "make them larger by MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE (bytes)."
        )
    if upload.num_parts == 0:
        return {"upload_id": EMPTY, "credentials": []}
    identity, urls = blobs.start_upload(BUCKET, key, upload.num_parts)
    credentials = [{"url": url, "part_number": n, "headers": {}} for n, url in enumerate(urls, 1)]
    return {"upload_id": identity, "credentials": credentials}


def finish_upload(call: Call, path: str, upload: Upload, *, blobs: Blobs) -> dict[str, Any]:
    """Complete an upload; again is the same."""
    key = _key(call, WRITE, _joined(path, upload))
    if upload.upload_id == EMPTY:
        blobs.put(BUCKET, key, b"")
        return {}
    blobs.finish_upload(BUCKET, key, _identity(upload), _etags(upload.parts))
    return {}


def abort_upload(call: Call, path: str, upload: Upload, *, blobs: Blobs) -> dict[str, Any]:
    """Give an upload up."""
    key = _key(call, WRITE, _joined(path, upload))
    if upload.upload_id != EMPTY:
        blobs.abort_upload(BUCKET, key, _identity(upload))
    return {}


def _etags(parts: Sequence[Part]) -> list[tuple[int, str]]:
    numbers = {part.part_number for part in parts}
    if not parts or len(numbers) < len(parts) or not numbers <= set(range(1, PARTS_LIMIT + 1)):
        raise InvalidInput(
            f"Invalid value for parameter 'parts': at least one, numbered 1 to {PARTS_LIMIT}, each once."
        )
    return [(part.part_number, part.etag.strip('"')) for part in parts]


def _identity(upload: Upload) -> str:
    if not upload.upload_id:
        raise InvalidInput("Missing value for required parameter 'upload_id'.")
    return upload.upload_id


def _key(call: Call, action: str, path: str) -> str:
    checked = checked_path(path)
    if not checked:
        raise InvalidInput("Missing value for required parameter 'path'.")
    call.authorise(action, resource_of_path(checked))
    return key_of_path(call.workspace, writable(checked) if action == WRITE else checked)


def _joined(path: str, upload: Upload) -> str:
    """Join the URL's path and the file's name (clients before 3.18 send its local path: the last part counts)."""
    name = ntpath.basename(upload.path)
    if not name:
        raise InvalidInput(f"Invalid path {upload.path!r}: it names no file")
    return f"{path}/{name}"
