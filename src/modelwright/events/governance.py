"""Events of what a team declared, who may do what, and how it is proven."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from modelwright.events.envelope import Event


class ProjectApplied(Event):
    """A team's definitions (features, models, policies) took effect.

    Attributes:
        policies: of each model that is new or has others than before: ``retraining`` and ``monitoring``, whole.
    """

    project: str
    digest: str
    models: tuple[str, ...]
    sources: tuple[str, ...]
    views: tuple[str, ...]
    added_views: tuple[str, ...] = ()
    changed_views: tuple[str, ...] = ()
    removed_views: tuple[str, ...] = ()
    policies: dict[str, dict[str, Any]] = Field(default_factory=dict)


class AccessChanged(Event):
    """Who may do what changed.

    Attributes:
        token_id: of a token; the pseudonym of a principal or person; the digest of an identity provider.
        change: ``issued`` also admits a principal or a person; ``trusted`` and ``distrusted`` are about providers.
        grants: as text, ``allow admin on *``.
        expires: when a token stops being valid; empty: never.
    """

    token_id: str
    change: Literal["issued", "revoked", "rotated", "trusted", "distrusted"]
    roles: tuple[str, ...]
    actor: str = ""
    grants: tuple[str, ...] = ()
    expires: str = ""


class AccessRefused(Event):
    """A known caller was refused."""

    action: str
    resource: str


class LogArchived(Event):
    """A day of the log was written to the Object-Lock bucket.

    Attributes:
        key: of the day's manifest, beside which its parts lie.
        digest: SHA-256 of the manifest.
    """

    key: str
    day: str
    items: int
    digest: str


class AuditExported(Event):
    """Somebody took an export of the log.

    Attributes:
        start: of the period, inclusive.
        end: of the period, exclusive.
        items: how many were taken; 0 when it begins.
        digest: SHA-256 of the export's manifest, as its taker tells it; empty when it begins.
    """

    start: datetime
    end: datetime
    format: str
    items: int
    digest: str


class RootAnchored(Event):
    """The heads of all streams were written to the Object-Lock bucket.

    Attributes:
        streams: how many there are of this workspace; the root has those of all.
        items: how many these hold.
    """

    key: str
    streams: int
    items: int
    root: str
