"""MLflow's limits and rules for names; what breaks one is refused, but long values, which are cut."""

import posixpath
import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote, urlparse

from modelwright.artifacts import path_of
from modelwright.errors import InvalidInput
from modelwright.tracking.messages import Measured, Pair

METRICS_PER_BATCH, PARAMS_PER_BATCH, TAGS_PER_BATCH, ENTITIES_PER_BATCH = 1000, 100, 100, 1000
KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH, EXPERIMENT_TAG_LENGTH, NAME_LENGTH = 250, 6000, 8000, 20_000, 500
LOCATION_LENGTH = 2048
_NOT_IN_MODEL_NAMES = "/:.%\"'"
_KEY = re.compile(r"[/\w.\- :]*")
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


def checked_key(key: str, parameter: str) -> str:
    """Return a key of a metric, param or tag; raises ``InvalidInput``."""
    if _good(key):
        return key
    if not key:
        raise InvalidInput(f"Missing value for required parameter '{parameter}'.")
    if len(key) > KEY_LENGTH:
        raise InvalidInput(f"'{parameter}' exceeds the maximum length of {KEY_LENGTH} characters: it has {len(key)}")
    if not _KEY.fullmatch(key):
        allowed = "alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colons(:) and slashes (/)"
        raise InvalidInput(
            f"Invalid value \"{key}\" for parameter '{parameter}' supplied: names may only contain {allowed}"
        )
    raise InvalidInput(
        f"Invalid value \"{key}\" for parameter '{parameter}' supplied: it must be a plain relative path"
    )


@lru_cache(8192)
def _good(key: str) -> bool:
    """Say whether a key is one; the same come again and again."""
    if not 0 < len(key) <= KEY_LENGTH or not _KEY.fullmatch(key):
        return False
    return posixpath.normpath(key) == key and key != "." and not key.startswith(("..", "/"))


def checked_experiment_id(identity: str) -> str:
    """Return an experiment's id; raises ``InvalidInput`` unless it reads as an integer."""
    if not _INTEGER.fullmatch(identity):
        raise InvalidInput(f"Invalid experiment ID '{identity}': it must be an integer")
    return identity


def checked_experiment_name(name: str) -> str:
    """Return an experiment's name; raises ``InvalidInput``."""
    if not name.strip():
        raise InvalidInput("Invalid value for parameter 'name' supplied: an experiment's name may not be empty")
    if len(name) > NAME_LENGTH:
        raise InvalidInput(f"'name' exceeds the maximum length of {NAME_LENGTH} characters: it has {len(name)}")
    return name


def params(given: Sequence[Pair], parameter: str = "params") -> dict[str, str]:
    """Return params by key, values cut; raises ``InvalidInput``, for a key that comes twice too."""
    found = {checked_key(p.key, f"{parameter}[{n}].key"): p.value[:PARAM_LENGTH] for n, p in enumerate(given)}
    if len(found) < len(given):
        twice = sorted({p.key for p in given if sum(q.key == p.key for q in given) > 1})
        raise InvalidInput(f"Duplicate parameter keys have been submitted: {', '.join(twice)}")
    return found


def tags(given: Sequence[Pair]) -> dict[str, str]:
    """Return tags by key, values cut; raises ``InvalidInput``."""
    return {checked_key(t.key, f"tags[{n}].key"): t.value[:TAG_LENGTH] for n, t in enumerate(given)}


def first_tags(given: Sequence[Pair]) -> dict[str, str]:
    """Return the tags that a run is made with: keys may have any letters, as in MLflow; raises ``InvalidInput``."""
    for number, tag in enumerate(given):
        if not 0 < len(tag.key) <= KEY_LENGTH:
            checked_key(tag.key, f"tags[{number}].key")
    return {tag.key: tag.value[:TAG_LENGTH] for tag in given}


def experiment_tags(given: Sequence[Pair]) -> dict[str, str]:
    """Return tags of an experiment by key; raises ``InvalidInput``, for values that are too long too."""
    for tag in given:
        if len(tag.value) > EXPERIMENT_TAG_LENGTH:
            raise InvalidInput(
                f"'value' exceeds the maximum length of {EXPERIMENT_TAG_LENGTH} characters: it has {len(tag.value)}"
            )
    return {checked_key(tag.key, "key"): tag.value for tag in given}


def checked_location(uri: str) -> str:
    """Return where an experiment's files are to lie; raises ``InvalidInput``."""
    parts = urlparse(uri)
    if parts.fragment or parts.params:
        raise InvalidInput("'artifact_location' URL can't include fragments or params.")
    if ".." in unquote(parts.query):
        raise InvalidInput("Invalid query string")
    if len(uri) > LOCATION_LENGTH:
        raise InvalidInput(f"'artifact_location' exceeds the maximum length of {LOCATION_LENGTH} characters")
    path_of(uri)
    return uri


def checked_model_name(name: str) -> str:
    """Return a logged model's name; raises ``InvalidInput``."""
    if set(name) & set(_NOT_IN_MODEL_NAMES):
        raise InvalidInput(
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the "
            f"following characters: {tuple(_NOT_IN_MODEL_NAMES)}"
        )
    return name


def check_batch(metrics: Sequence[Measured], given_params: Sequence[Pair], given_tags: Sequence[Pair]) -> None:
    """Raise ``InvalidInput`` when a batch is over a limit."""
    limits = (
        ("metrics", len(metrics), METRICS_PER_BATCH),
        ("params", len(given_params), PARAMS_PER_BATCH),
        ("tags", len(given_tags), TAGS_PER_BATCH),
        ("metrics, params and tags", len(metrics) + len(given_params) + len(given_tags), ENTITIES_PER_BATCH),
    )
    for what, count, limit in limits:
        if count > limit:
            raise InvalidInput(f"A batch logging request can contain at most {limit} {what}. Got {count} {what}.")
