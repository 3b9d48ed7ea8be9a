"""What callers of MLflow's registry protocol, and of ours, say."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from modelwright.protocol import Message, Texts
from modelwright.protocol import Search as _Search


def _numbered(value: Any) -> Any:
    text = str(value)
    if not text.isdigit():
        raise ValueError(f"model version must be an integer, got {text!r}")
    return int(text)


Number = Annotated[int, BeforeValidator(_numbered)]


class Tag(Message):
    """A tag."""

    key: str
    value: str = ""


class Named(Message):
    """Names a registered model."""

    name: str = ""


class CreateModel(Named):
    """``registered-models/create``."""

    description: str = ""
    tags: tuple[Tag, ...] = ()


class UpdateModel(Named):
    """``registered-models/update``."""

    description: str = ""


class RenameModel(Named):
    """``registered-models/rename``."""

    new_name: str = ""


class SetModelTag(Named, Tag):
    """``registered-models/set-tag``."""


class DeleteModelTag(Named):
    """``registered-models/delete-tag``."""

    key: str


class LatestVersions(Named):
    """``registered-models/get-latest-versions``."""

    stages: Texts = ()


class OfAlias(Named):
    """Names an alias of a model."""

    alias: str


class OfVersion(Named):
    """Names a version."""

    version: Number


class SetAlias(OfVersion, OfAlias):
    """``POST registered-models/alias``."""


class CreateVersion(Named):
    """``model-versions/create``.

    Attributes:
        number: the number that a copy keeps, above all before it; MLflow's clients say none and get the next one.
    """

    source: str
    number: int = Field(default=0, ge=0, lt=10**9)
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    description: str = ""
    tags: tuple[Tag, ...] = ()


class UpdateVersion(OfVersion):
    """``model-versions/update``."""

    description: str = ""


class SetVersionTag(OfVersion, Tag):
    """``model-versions/set-tag``."""


class DeleteVersionTag(OfVersion):
    """``model-versions/delete-tag``."""

    key: str


class TransitionStage(OfVersion):
    """``model-versions/transition-stage``."""

    stage: str
    archive_existing_versions: bool = False


class Search(_Search):
    """A search of models or versions."""

    order_by: Texts = ()


class RequestTransition(OfVersion, OfAlias):
    """``POST /v1/models/<name>/transitions``.

    Attributes:
        reason: why; needed with ``force``.
        force: apply although gates say no; for administrators.
    """

    reason: str = Field(default="", max_length=1000)
    force: bool = False
