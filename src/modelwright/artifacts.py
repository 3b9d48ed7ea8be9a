"""Where artifacts lie: MLflow's URIs, ids and paths as keys of the artifacts bucket, and back.

All of a workspace lies below ``<workspace>/``. ``mlflow-artifacts:/<path>`` is the object (or
prefix) ``<workspace>/<path>``. Ids of runs and logged models that we make end in their
experiment's id (12 hexadecimal digits), so that ``models:/m-...`` and ``runs:/...`` name a place
without a look-up: tracking, which makes them, and registry, which reads them, need not share
a table, nor wait for each other's events.
"""

import secrets
from urllib.parse import unquote, urlsplit

from modelwright.errors import InvalidInput

SCHEME = "mlflow-artifacts"
RESERVED = ("projects",)
"""Prefixes of the bucket that are no workspaces."""
_RANDOM_BYTES = 10
_EXPERIMENT_DIGITS = 12
_PATH_LIMIT = 900


def new_run_id(experiment_id: str) -> str:
    """Return a fresh run id: 32 hexadecimal digits, the last 12 of which name the experiment."""
    return secrets.token_hex(_RANDOM_BYTES) + f"{int(experiment_id):0{_EXPERIMENT_DIGITS}x}"


def new_model_id(experiment_id: str) -> str:
    """Return a fresh id of a logged model: ``m-`` and an id like a run's."""
    return "m-" + new_run_id(experiment_id)


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
        InvalidInput: it climbs (``..``), is absolute, has empty or hidden-encoded parts, or is too long.
    """
    text = path.strip("/")
    decoded = unquote(text)
    parts = decoded.split("/") if decoded else []
    wrong = any(part in ("", ".", "..") for part in parts) or "\\" in decoded or "\x00" in decoded
    if wrong or len(text) > _PATH_LIMIT or path.startswith("//") or ":" in (parts[0] if parts else ""):
        raise InvalidInput(f"the artifact path {path!r} is not valid: relative paths without '..' are")
    return text


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

    ``mlflow-artifacts:/<path>``, ``models:/m-<id>`` and ``runs:/<run id>/<path>`` are ours.

    Raises:
        InvalidInput: it is one of ours and not well formed.
    """
    parts = urlsplit(uri)
    if parts.scheme == SCHEME:
        if parts.query or parts.fragment:
            raise InvalidInput(f"the source {uri} may have neither query nor fragment")
        return checked_path(parts.path)
    head, _, rest = parts.path.lstrip("/").partition("/")
    if parts.scheme == "models" and head.startswith("m-") and not rest:
        return checked_path(f"{experiment_of(head)}/models/{head}/artifacts")
    if parts.scheme == "runs" and head:
        return checked_path(f"{experiment_of(head)}/{head}/artifacts/{rest}".rstrip("/"))
    return None


def resource_of_path(path: str) -> str:
    """Return the resource that a path belongs to, for authorisation: its experiment, or the path itself."""
    head = path.partition("/")[0]
    return f"experiment/{head}" if head.isdigit() else f"artifact/{path}"
