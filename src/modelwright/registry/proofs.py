"""What the log keeps of texts that people write: that they did, and a proof of which, but not the text.

The log cannot forget, and a description or a tag may say anything. So an event carries HMAC-SHA256 of the text under
the model's salt, in hexadecimal: who has text and salt can prove that this was it, and once the salt is gone
nobody can guess. Figures and digests that gates read are told besides, because an auditor asks what the gates saw.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from typing import TypedDict

from modelwright.registry.entities import RegisteredModel

OURS = "modelwright."
"""Tags whose keys begin so are what gates read."""
_DIGEST = re.compile(r"^(?:[\w.-]{1,40}:)?[0-9A-Za-z+/=_-]{1,128}$")


class Proven(TypedDict):
    """What an event says of the texts that something was born with."""

    description: str
    tags: dict[str, str]


def proof(model: RegisteredModel, text: str) -> str:
    """Return the proof of a text."""
    return hmac.new(model.salt.encode(), text.encode(), hashlib.sha256).hexdigest()


def proven(model: RegisteredModel, description: str, tags: Mapping[str, str]) -> Proven:
    """Return the proofs of the texts that a model or a version is born with."""
    return {
        "description": proof(model, description) if description else "",
        "tags": {key: proof(model, value) for key, value in sorted(tags.items())},
    }


def told(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are told as they are: figures and digests under keys of ours."""
    return {key: value for key, value in sorted(tags.items()) if key.startswith(OURS) and _bare(value)}


def _bare(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return _DIGEST.match(value) is not None
