"""Files of runs and logged models: where they lie, and URLs of them for who may have them.

Bytes go between client and bucket; nothing here looks into a file, but for what a browser uploads by itself (notes).
A path is told relative to the root of a run or model, is checked before it is joined to that root, and what is
signed lies below it. A root that is not in the platform's bucket (``s3://...``) is its owner's: clients use their own
credentials there, and we have none for it.
"""

import json
from base64 import b64decode, urlsafe_b64encode
from typing import Any

from pydantic import Field

from modelwright.artifacts import (
    BUCKET,
    EXPIRY_S,
    LONGEST_EXPIRY_S,
    Signed,
    checked_path,
    key_of_path,
    path_of,
    resource_of_path,
    signed,
)
from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.protocol import Message
from modelwright.storage import Blobs, Tables
from modelwright.tracking.entities import ACTIVE, LoggedModel, Run
from modelwright.tracking.messages import ListArtifacts, ModelFiles, OfLoggedModel, OfRun
from modelwright.tracking.store import TrackingStore

TRAININGS = "trainings"
READ, WRITE = "artifacts:read", "artifacts:write"
_ANSWER_LIMIT = 4_000_000
_LINE_BYTES = 64
_LONGEST_ASKED_S = 604_800


class GetArtifact(OfRun):
    """``get-artifact``."""

    path: str


class UploadArtifact(OfRun):
    """``upload-artifact``."""

    path: str = ""


class GetModelArtifact(OfLoggedModel):
    """``logged-models/<id>/artifacts/files``."""

    artifact_file_path: str
    presigned: str = ""


class PresignUpload(Message):
    """``artifacts/presigned-upload-url``: of a run or of a logged model."""

    run_id: str = ""
    model_id: str = ""
    path: str
    expiration: int = Field(default=EXPIRY_S, ge=1, le=_LONGEST_ASKED_S)


class PresignDownload(Message):
    """``artifacts/presigned-download-url``."""

    run_id: str
    path: str
    expiration: int | None = Field(default=None, ge=1, le=_LONGEST_ASKED_S)


# --- use cases ---------------------------------------------------------------------------


def list_of_run(call: Call, message: ListArtifacts, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return one level of a run's files; those that one answer does not hold follow by ``page_token``."""
    run = _run(call, message.run, tables, blobs)
    return {"root_uri": run.artifact_uri, **_level_of(call, run.artifact_uri, message.path, message.page_token, blobs)}


def list_of_model(call: Call, message: ModelFiles, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return one level of a logged model's files; those that one answer does not hold follow by ``page_token``."""
    uri, path = _model(call, message.model_id, tables, blobs).artifact_uri, message.artifact_directory_path
    return {"root_uri": uri, **_level_of(call, uri, path, message.page_token, blobs)}


def get(call: Call, message: GetArtifact, *, tables: Tables, blobs: Blobs) -> Signed:
    """Return a URL of a run's file; raises ``NotFound``."""
    run = _run(call, message.run, tables, blobs)
    return signed(_key_in(call, READ, run.artifact_uri, message.path), blobs)


def get_of_model(call: Call, message: GetModelArtifact, *, tables: Tables, blobs: Blobs) -> Signed:
    """Return a URL of a logged model's file; raises ``NotFound``."""
    model = _model(call, message.model_id, tables, blobs)
    return signed(_key_in(call, READ, model.artifact_uri, message.artifact_file_path), blobs)


def upload(call: Call, message: UploadArtifact, body: bytes, *, tables: Tables, blobs: Blobs) -> None:
    """Take a small file that a browser sends (a run's notes)."""
    said = {"run_uuid": message.run_id or message.run_uuid, "path": checked_path(message.path), "data": body}
    for name, value in said.items():
        if not value:
            raise InvalidInput(f"Request must specify {name}.")
    run = _run(call, message.run, tables, blobs, "runs:write").writable()
    blobs.put(BUCKET, _key_in(call, WRITE, run.artifact_uri, message.path), body)


def presign_upload(call: Call, message: PresignUpload, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return a URL that takes a file of a run or of a logged model."""
    if bool(message.run_id) == bool(message.model_id):
        raise InvalidInput("Exactly one of run_id and model_id must be provided.")
    if message.run_id:
        uri = _run(call, message.run_id, tables, blobs, "runs:write").writable().artifact_uri
    else:
        uri = _model(call, message.model_id, tables, blobs, "runs:write").artifact_uri
    key = _key_in(call, WRITE, uri, message.path)
    url = blobs.presigned_put(BUCKET, key, expires_s=min(message.expiration, LONGEST_EXPIRY_S))
    return {"presigned_url": url, "headers": {}}


def presign_download(call: Call, message: PresignDownload, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return a URL of a run's file; raises ``NotFound``."""
    run = _run(call, message.run_id, tables, blobs)
    found = signed(_key_in(call, READ, run.artifact_uri, message.path), blobs, expires_s=message.expiration)
    return {"presigned_url": found.url, "headers": {}, "file_size": found.size}


# --- what the artifact proxy shares --------------------------------------------------------


def writable(path: str) -> str:
    """Return a checked path unless it is the platform's: what a training made is served and unpickled in its name."""
    if path.partition("/")[0] == TRAININGS:
        raise Forbidden(f"{path} is the platform's: what a training made is neither written nor deleted by callers")
    return path


def level(root: str, path: str, token: str, blobs: Blobs, *, room: int = _ANSWER_LIMIT) -> dict[str, Any]:
    """Return one level of files below the key ``root`` as ``files``, and where there are more ``next_page_token``.

    Names are relative to ``root``. A file has no level below it and gives nothing. An answer has up to ``room`` bytes.
    """
    within = f"{path}/" if path else ""
    prefix = f"{root}{within}" if root.endswith("/") else f"{root}/{within}"
    files: list[dict[str, Any]] = []
    last = ""
    for line in blobs.level(BUCKET, prefix, after=f"{prefix}{_from_token(token)}" if token else ""):
        name = line.key.removeprefix(prefix)
        room -= len(json.dumps(within + name)) + _LINE_BYTES
        if room < 0:
            return {"files": files, "next_page_token": urlsafe_b64encode(last.encode()).decode()}
        files.append(_line(within + name, line.size))
        last = name
    return {"files": files}


def folder(path: str) -> str:
    """Return the checked path of a folder, which may be told as ``.``."""
    return checked_path("" if path == "." else path.removesuffix("/."))


def _line(name: str, size: int) -> dict[str, Any]:
    if name.endswith("/"):
        return {"path": name[:-1], "is_dir": True}
    return {"path": name, "is_dir": False, "file_size": size}


def _from_token(token: str) -> str:
    try:
        return b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise InvalidInput(f"Invalid page token {token[:100]!r}: it is not one of ours") from error


# --- of runs and models --------------------------------------------------------------------


def _run(call: Call, run_id: str, tables: Tables, blobs: Blobs, action: str = "runs:read") -> Run:
    run = TrackingStore(tables, call, blobs).placed(run_id, metrics=False).seen
    call.authorise(action, run.resource)
    return run


def _model(call: Call, model_id: str, tables: Tables, blobs: Blobs, action: str = "runs:read") -> LoggedModel:
    model = TrackingStore(tables, call, blobs).logged_model(model_id)
    call.authorise(action, model.resource)
    if model.lifecycle_stage != ACTIVE:
        raise NotFound(f"Logged model with ID '{model_id}' not found.")
    return model


def _root(call: Call, action: str, uri: str) -> str:
    root = path_of(uri)
    if root is None:
        raise InvalidInput(
            f"The files of {uri} do not lie in this platform's bucket, which has no credentials for that place: "
            "list, fetch and store them with your own, as the mlflow client does."
        )
    call.authorise(action, resource_of_path(root))
    return root


def _key_in(call: Call, action: str, uri: str, path: str) -> str:
    root, checked = _root(call, action, uri), checked_path(path)
    if not checked:
        raise InvalidInput("Missing value for required parameter 'path'.")
    whole = f"{root}/{checked}"
    return key_of_path(call.workspace, writable(whole) if action == WRITE else whole)


def _level_of(call: Call, uri: str, path: str, token: str, blobs: Blobs) -> dict[str, Any]:
    root = _root(call, READ, uri)
    return level(key_of_path(call.workspace, root), folder(path), token, blobs)
