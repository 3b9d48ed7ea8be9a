"""Where artifacts lie: MLflow's URIs, ids and paths as keys of the artifacts bucket, and back.

All of a workspace lies below ``<workspace>/``. ``mlflow-artifacts:/<path>`` is the object (or
prefix) ``<workspace>/<path>``. Ids of runs and logged models that we make end in their
experiment's id (12 hexadecimal digits), so that ``models:/m-...`` and ``runs:/...`` name a place
without a look-up: tracking, which makes them, and registry, which reads them, need not share
a table, nor wait for each other's events.
"""

import hashlib
import posixpath
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from modelwright.errors import InvalidInput, NotFound
from modelwright.storage import Blobs

SCHEME = "mlflow-artifacts"
BUCKET: Final = "artifacts"
EXPIRY_S, LONGEST_EXPIRY_S = 900, 3600
"""How long a signed URL is good."""
_SLOWEST = 1024 * 1024
"""Bytes per second of a slow line: a URL of a large file is good for as long as that takes, up to an hour."""
LOCKS = ("conda.yaml", "python_env.yaml", "requirements.txt")
"""Files of a model's folder that lock its libraries."""
PREDICTIONS = "predictions.parquet"
"""What a version and the champion said of held-out rows: ``label``, ``challenger``, ``champion``, ``cluster``. Who was
champion is in the schema's metadata under ``CHAMPION_KEY``: SHA-256 of its ``model.pkl``, or its number."""
CHAMPION_KEY = "modelwright.champion"
SAMPLE = "sample.parquet"
"""Some rows as the model is fed them."""
PARITY = "parity.json"
"""The proof of a training that its features are the same in serving; a client's file of this name proves nothing."""
RESERVED = ("projects",)
"""Prefixes of the bucket that are no workspaces."""
_DRIVE = re.compile(r"[A-Za-z]:")
_RANDOM_BYTES = 10
_EXPERIMENT_DIGITS = 12
_PATH_LIMIT_BYTES = 900
"""With the workspace before it, a path is a key of S3, which has 1,024 bytes."""


def new_run_id(experiment_id: str, seed: str = "") -> str:
    """Return a run id: 32 hexadecimal digits, the last 12 of which name the experiment.

    It is a fresh one, or begins as ``seed`` does (20 or more hexadecimal digits).
    """
    digits = seed[: 2 * _RANDOM_BYTES] or secrets.token_hex(_RANDOM_BYTES)
    return digits + f"{int(experiment_id):0{_EXPERIMENT_DIGITS}x}"


def new_model_id(experiment_id: str, seed: str = "") -> str:
    """Return an id of a logged model: ``m-`` and an id like a run's."""
    return "m-" + new_run_id(experiment_id, seed)


def experiment_of(identity: str) -> str:
    """Return the experiment that an id of ``new_run_id`` or ``new_model_id`` names; raises ``InvalidInput``."""
    digits = identity.removeprefix("m-")
    try:
        if len(digits) == 2 * _RANDOM_BYTES + _EXPERIMENT_DIGITS:
            return str(int(digits[-_EXPERIMENT_DIGITS:], 16))
    except ValueError as error:
        raise InvalidInput(f"{identity} is no id of a run or logged model") from error
    raise InvalidInput(f"{identity} is no id of a run or logged model")


def checked_path(path: str) -> str:
    """Return a path below a workspace without leading and trailing slashes.

    Raises:
        InvalidInput: it climbs (``..``, encoded or not), is absolute, has empty parts, is too long or no text; the
            message is MLflow's, which clients and tests look for.
    """
    text = path.strip("/")
    if path.startswith("//") or _DRIVE.match(text) or any(map(_climbs, (text, unquote(text)))) or not _fits(text):
        raise InvalidInput("Invalid path")
    return text


def _climbs(path: str) -> bool:
    parts = path.split("/") if path else []
    return any(part in ("", ".", "..") for part in parts) or "\\" in path or "\x00" in path


def _fits(path: str) -> bool:
    try:
        return len(path.encode()) <= _PATH_LIMIT_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say
        return False


def key_of_path(workspace: str, path: str) -> str:
    """Return the key of a path; the empty path is the workspace's own prefix (ending in ``/``).

    Raises:
        InvalidInput: the path is not valid, or the workspace is called as what is no workspace's.
    """
    if workspace in RESERVED or "/" in workspace:
        raise InvalidInput(f"the workspace {workspace} cannot have artifacts: its name is reserved")
    return f"{workspace}/{checked_path(path)}"


def model_uri(experiment_id: str, model_id: str) -> str:
    """Return where a logged model's files lie."""
    return f"{SCHEME}:/{experiment_id}/models/{model_id}/artifacts"


def path_of(uri: str) -> str | None:
    """Return the path that a URI names in our bucket, or None when it lies elsewhere.

    ``mlflow-artifacts:/<path>``, ``models:/m-<id>`` and ``runs:/<run id>/<path>`` are ours, if they name no host and
    the id is one that we make.

    Raises:
        InvalidInput: it is one of ours and not well formed.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise InvalidInput(f"{uri[:100]!r} is no URI: {error}") from error
    if parts.netloc:
        return None
    if parts.scheme == SCHEME:
        if parts.query or parts.fragment:
            raise InvalidInput(f"the source {uri} may have neither query nor fragment")
        return checked_path(parts.path)
    head, _, rest = parts.path.lstrip("/").partition("/")
    if parts.scheme == "models" and head.startswith("m-") and not rest and _is_id(head):
        return checked_path(f"{experiment_of(head)}/models/{head}/artifacts")
    if parts.scheme == "runs" and head:
        path = checked_path(f"{head}/artifacts/{rest}".rstrip("/"))
        return checked_path(f"{experiment_of(head)}/{path}") if _is_id(head) else None
    return None


def _is_id(text: str) -> bool:
    try:
        return bool(experiment_of(text))
    except InvalidInput:
        return False


def is_of_run(path: str, run_id: str) -> bool:
    """Say whether a path lies among the artifacts of a run."""
    return _lies_in(path, f"{run_id}/artifacts")


def is_of_logged_model(path: str, model_id: str) -> bool:
    """Say whether a path lies among the artifacts of a logged model."""
    return _lies_in(path, f"models/{model_id}/artifacts")


def _lies_in(path: str, folder: str) -> bool:
    """Say whether a path lies in a folder of an experiment; one whose files lie elsewhere may have any prefix."""
    head = path.partition("/")[0]
    if head.isdigit():
        return f"{path}/".startswith(f"{head}/{folder}/")
    return f"/{folder}/" in f"/{path}/"


def environment_digest(locks: Mapping[str, bytes]) -> str:
    """Return the digest of the files (by name) that lock a model's libraries; empty when there are none.

    It is SHA-256 over a line per file, in order of ``LOCKS``: its name, a space, and its own SHA-256 in hexadecimal.
    """
    lines = [f"{name} {hashlib.sha256(locks[name]).hexdigest()}" for name in LOCKS if name in locks]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def resource_of_path(path: str) -> str:
    """Return the resource that a path belongs to, for authorisation: its experiment, or the path itself."""
    head = path.partition("/")[0]
    return f"experiment/{head}" if head.isdigit() else f"artifact/{path}"


class Signed(NamedTuple):
    """A URL from which a file can be fetched without credentials, and how large the file is."""

    url: str
    size: int

    def answer(self) -> dict[str, Any]:
        """Return MLflow's form, for ranged reads."""
        return {"url": self.url, "headers": {}, "file_size": self.size}


def signed(key: str, blobs: Blobs, *, expires_s: int | None = None) -> Signed:
    """Return a URL of an object, good for a short time; browsers save the file instead of showing it.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a folder.
    """
    shown = key.partition("/")[2]
    try:
        size = blobs.size(BUCKET, key)
    except NotFound as error:
        if next(blobs.level(BUCKET, f"{key}/"), None) is not None:
            raise InvalidInput(f"Artifact path refers to a directory, not a file: '{shown}'") from error
        raise NotFound(f"No such artifact: '{shown}'") from error
    lasting = min(expires_s or EXPIRY_S + size // _SLOWEST, LONGEST_EXPIRY_S)
    return Signed(blobs.presigned_get(BUCKET, key, expires_s=lasting, filename=posixpath.basename(key)), size)
