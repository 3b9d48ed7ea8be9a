"""Opens what the stock MLflow client opens, and says in our words what it says when it cannot."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests

from modelwright import errors
from modelwright.transfer.records import Entry

_PROBE_S = 20
_CODES: Mapping[str, type[errors.ModelwrightError]] = {
    "RESOURCE_DOES_NOT_EXIST": errors.NotFound,
    "NOT_FOUND": errors.NotFound,
    "ENDPOINT_NOT_FOUND": errors.EndpointNotFound,
    "RESOURCE_ALREADY_EXISTS": errors.AlreadyExists,
    "INVALID_PARAMETER_VALUE": errors.InvalidInput,
    "BAD_REQUEST": errors.InvalidInput,
    "INVALID_STATE": errors.Conflict,
    "RESOURCE_CONFLICT": errors.Conflict,
    "PERMISSION_DENIED": errors.Forbidden,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "CUSTOMER_UNAUTHORIZED": errors.Unauthenticated,
    "TEMPORARILY_UNAVAILABLE": errors.Unavailable,
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise what MLflow raises as errors of ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError
    from yaml import YAMLError

    try:
        yield
    except MlflowException as error:
        if isinstance(error.__context__, requests.RequestException):
            raise errors.Unavailable(str(error)) from error
        raise _CODES.get(error.error_code, errors.ModelwrightError)(str(error)) from error
    except NotImplementedError as error:
        raise errors.NotImplementedHere(str(error)) from error
    except requests.HTTPError as error:
        gone = error.response is not None and error.response.status_code == 404
        raise (errors.NotFound if gone else errors.ModelwrightError)(str(error)) from error
    except requests.RequestException as error:
        raise errors.Unavailable(str(error)) from error
    except SQLAlchemyError as error:
        raise errors.Unavailable(" ".join(str(error).split())) from error
    except ModuleNotFoundError as error:  # a database's driver, a cloud's SDK
        raise errors.LocalStackError(f"{error.name} is not installed, which this address takes") from error
    except (OSError, ValueError, KeyError, TypeError, YAMLError) as error:  # what a damaged folder raises
        raise errors.ModelwrightError(f"{type(error).__name__}: {error}") from error


def local_path(uri: str) -> Path | None:
    """Return the folder that a URI names on this machine, or None if it names something else."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if parts.scheme == "" else None


def local_level(root: Path, path: str) -> list[Entry]:
    """Return what lies in a folder of this machine; a link to nothing is a file of unknown size."""
    folder = root / path
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        Entry(each.relative_to(root).as_posix(), each.is_dir(), each.stat().st_size if each.exists() else None)
        for each in found
    ]


def without_secrets(uri: str) -> str:
    """Return an address without user, password and query."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) if parts.netloc else uri.partition("?")[0]


def checked(uri: str, *, must_exist: bool) -> str:
    """Return an address with an absolute path.

    Raises:
        InvalidInput: a folder or database that must exist does not.
        Unavailable: the server does not answer.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        _probe(uri.rstrip("/"))
        return uri.rstrip("/")
    if scheme.partition("+")[0] == "sqlite":
        head, _, path = uri.partition(":///")
        file = Path(path.partition("?")[0])
        if must_exist and not file.is_file():
            raise errors.InvalidInput(f"there is no database {file}")
        return f"{head}:///{file.absolute()}"
    folder = local_path(uri)
    if folder is None:
        return uri
    if must_exist and not folder.is_dir():
        raise errors.InvalidInput(f"there is no folder {folder}")
    return folder.absolute().as_uri()


def _probe(uri: str) -> None:
    """Find out at once that nobody is there, which the client takes minutes for."""
    try:
        requests.get(f"{uri}/health", timeout=_PROBE_S)
    except requests.RequestException as error:
        raise errors.Unavailable(f"{without_secrets(uri)} does not answer: {error}") from error


def prepare(uri: str) -> None:
    """Set up MLflow in this process: quiet, folders allowed, and sure of which server is meant."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    warnings.filterwarnings("ignore", module="mlflow")
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise errors.LocalStackError(f'{error.name} is not installed: pip install "modelwright[import]"') from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)  # its databases ask the global one for the models that versions come from
    mlflow.set_registry_uri(uri)


def stores(uri: str, registry: str) -> tuple[Any, Any]:
    """Return MLflow's stores of runs and of registered models."""
    from mlflow.tracking._model_registry.client import ModelRegistryClient
    from mlflow.tracking._tracking_service.client import TrackingServiceClient

    tracking: Any = TrackingServiceClient
    registered: Any = ModelRegistryClient
    return tracking(uri).store, registered(registry, uri).store
