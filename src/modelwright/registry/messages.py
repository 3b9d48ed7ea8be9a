"""What callers of MLflow's registry protocol, and of ours, say."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from modelwright.protocol import Message, Texts
from modelwright.protocol import Search as _Search
from modelwright.registry.sections import LAST_REVISION, SectionName


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
        force: apply although gates say no or approvals are missing; for whom the model's policy lets override.
    """

    reason: str = Field(default="", max_length=1000)
    force: bool = False


class OfTransition(Named):
    """Names a request that a version take an alias."""

    request_id: str = Field(max_length=100)


class ApproveTransition(OfTransition):
    """``POST /v1/models/<name>/transitions/<request id>/approve``."""

    comment: str = Field(default="", max_length=1000)


class EndTransition(OfTransition):
    """``POST /v1/models/<name>/transitions/<request id>/reject`` and ``.../withdraw``."""

    reason: str = Field(default="", max_length=1000)


class OpenTransitions(Message):
    """``GET /v1/approvals``."""

    max_results: int = Field(default=100, ge=1, le=100)
    page_token: str = ""


class ListTransitions(Named, OpenTransitions):
    """``GET /v1/models/<name>/transitions``."""


class OfCard(Named):
    """Names a version's card.

    Attributes:
        version: a version's number, or ``@`` and an alias.
    """

    version: str = Field(max_length=256)


class ReadCard(OfCard):
    """``GET /v1/models/<name>/versions/<version>/card``.

    Attributes:
        format: empty: as the request's ``Accept`` says.
        revision: of what people wrote; 0: the newest.
    """

    format: Literal["", "json", "markdown", "html"] = ""
    revision: int = Field(default=0, ge=0, le=LAST_REVISION)


class WriteCard(OfCard):
    """``PUT /v1/models/<name>/versions/<version>/card``.

    Attributes:
        sections: Markdown by section's name; an empty text removes the section, one that is not named stays.
        confirm: sections that are right as they were carried over; ``*``: all.
        revision: the newest revision that the writer knows (0: none); whoever says it never overwrites anybody.
    """

    sections: dict[SectionName, str] = Field(default_factory=dict)
    confirm: Texts = ()
    revision: int | None = Field(default=None, ge=0, le=LAST_REVISION)


class ReadHistory(Named):
    """``GET /v1/models/<name>/history``.

    Attributes:
        type: names of events; none: all.
        since: only what happened at this time or later.
        until: only what happened before this time.
    """

    type: Texts = ()
    since: str = ""
    until: str = ""
    max_results: int = Field(default=1000, ge=1, le=5000)
    page_token: str = ""


class ReadAsOf(Named):
    """``GET /v1/models/<name>/as-of``.

    Attributes:
        time: when; empty: now.
        version: a version that is told of besides those that mattered then; 0: none.
    """

    time: str = ""
    version: int = Field(default=0, ge=0, lt=10**9)


class ReadLineage(Message):
    """``GET /v1/lineage/<kind>/<name>``.

    Attributes:
        name: of a version ``<model>/<number>`` or ``<model>@<alias>``; of a feature ``<view>:<feature>``, or its
            bare name.
        direction: ``up`` to what it was made of, ``down`` to what was made of it; empty: both.
        depth: how many steps away from it.
    """

    kind: Literal["source", "view", "feature", "dataset", "run", "version", "model"]
    name: str = Field(min_length=1, max_length=1000)
    direction: Literal["", "up", "down"] = ""
    depth: int = Field(default=10, ge=1, le=10)
