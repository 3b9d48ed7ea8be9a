"""Who asks, for which workspace, and at what time: the one argument every use case takes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

PLATFORM = "platform"
"""The actor of events and schedules."""
PERSON = "oidc-"
"""What the pseudonyms of people begin with whom an identity provider vouched for; no token may be made for such."""


def is_person(actor: str) -> bool:
    """Say whether an identity provider vouched for an actor: tokens are given by administrators, in any name."""
    return actor.startswith(PERSON)


Authority = Callable[[str, str], None]
"""Raises ``Forbidden`` unless the caller may do *action* on *resource*."""


Roles = Callable[[str], frozenset[str]]
"""Returns the roles that the caller holds on a resource."""


def _nobody(action: str, resource: str) -> None:
    """The platform's own work: events and schedules act for the platform itself."""


def _none(resource: str) -> frozenset[str]:
    """The platform holds no role."""
    return frozenset()


@dataclass(frozen=True, slots=True)
class Call:
    """One request, delivery or command.

    ``now`` is domain time: wall time for people, the event's time for consumers, and a
    virtual time only on a stack that allows one. ``request`` names what was asked, so that the
    same request again makes nothing twice; it is empty when nothing names it. ``roles`` is for
    policies that name roles; what is allowed is asked of ``authorise``. ``grants`` is what the
    caller holds, as text, for who gives some of it to others; None: all, as the platform itself does.
    """

    workspace: str
    actor: str
    now: datetime
    correlation_id: str
    authority: Authority = field(default=_nobody, repr=False, compare=False)
    request: str = ""
    roles: Roles = field(default=_none, repr=False, compare=False)
    grants: tuple[str, ...] | None = field(default=None, repr=False, compare=False)

    def authorise(self, action: str, resource: str) -> None:
        """Raise ``Forbidden`` unless the actor may do ``action`` (``runs:write``) on ``resource`` (``run/7``)."""
        self.authority(action, resource)
