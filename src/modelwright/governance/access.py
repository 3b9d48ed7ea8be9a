"""Who may do what: roles, grants, and the rules that decide on them.

``authorize`` only finds out who calls (``tokens``, ``federation``; IAM for ``principals``); what they may do is
decided here, per use case, on the resource it loaded. Default deny, and a deny wins over every allow. Nobody grants
more than they hold: a grant may be given by who is ``admin`` on all that it is about, and their own denies go with it.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modelwright import events
from modelwright.artifacts import RESERVED
from modelwright.context import PERSON, Call
from modelwright.errors import Forbidden, InvalidInput
from modelwright.log import Happened, stream_of

Role = Literal["reader", "contributor", "approver", "admin", "service"]
Change = Literal["issued", "revoked", "rotated", "trusted", "distrusted"]

ACTIONS: dict[Role, tuple[str, ...]] = {
    "reader": ("*:read",),
    "contributor": (
        "*:read",
        "experiments:write",
        "runs:write",
        "artifacts:write",
        "models:write",
        "features:push",
        "features:prove",
        "predict:call",
        "retraining:request",
        "models:transition",
    ),
    "approver": (
        "*:read",
        "models:transition",
        "models:approve",
        "models:receive",
        "rollouts:control",
        "quarantine:write",
    ),
    "service": ("*:read", "runs:write", "artifacts:write", "features:push", "predict:call"),
    "admin": ("*",),
}
"""What each role may do, as patterns of ``<noun>:<verb>``."""

LOG = "log:read"
_ACTOR = re.compile(r"[A-Za-z0-9][\w.@:+=,-]{0,127}", re.ASCII)
_PLATFORMS = frozenset({"platform", "anonymous"})
_PSEUDONYMS = ("iam-", PERSON)
_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


class Grant(BaseModel):
    """A role on resources whose name matches a pattern (``model/flights``, ``experiment/*``, ``*``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    role: Role
    resources: str = Field(default="*", min_length=1, max_length=512)
    effect: Literal["allow", "deny"] = "allow"

    def covers(self, action: str, resource: str) -> bool:
        """Say whether this grant is about the action on the resource.

        The log tells of everything, so who is denied anything reads none of it, whatever the deny is about.
        """
        named = any(fnmatchcase(action, pattern) for pattern in ACTIONS[self.role])
        told = self.effect == "deny" and action == LOG
        return named and (told or fnmatchcase(resource, self.resources))

    @property
    def text(self) -> str:
        """The grant as the log and people say it: ``allow admin on *``."""
        return f"{self.effect} {self.role} on {self.resources}"

    @classmethod
    def read(cls, text: str) -> "Grant":
        """Return the grant that ``text`` says."""
        effect, role, _, resources = text.split(" ", 3)
        return cls.model_validate({"effect": effect, "role": role, "resources": resources})


class Identity(BaseModel):
    """A caller that was authenticated."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    actor: str
    workspace: str
    grants: tuple[Grant, ...] = Field(default=())


def decide(grants: Sequence[Grant], action: str, resource: str) -> bool:
    """Say whether grants allow an action: some allow covers it and no deny does."""
    covering = [grant for grant in grants if grant.covers(action, resource)]
    return bool(covering) and all(grant.effect == "allow" for grant in covering)


def roles_for(action: str) -> tuple[str, ...]:
    """Return the roles that may do an action, where they are granted."""
    return tuple(role for role in ACTIONS if Grant(role=role).covers(action, "x"))


def roles_on(identity: Identity, resource: str) -> frozenset[str]:
    """Return the roles that are allowed, and not denied, on a resource."""
    about = [grant for grant in identity.grants if fnmatchcase(resource, grant.resources)]
    denied = {grant.role for grant in about if grant.effect == "deny"}
    return frozenset(grant.role for grant in about if grant.effect == "allow") - denied


def require(identity: Identity, action: str, resource: str) -> None:
    """Raise ``Forbidden`` unless the identity may do ``action`` on ``resource``."""
    if not decide(identity.grants, action, resource):
        roles = ", ".join(sorted({g.role for g in identity.grants})) or "no role"
        told = f"{identity.actor} ({roles}) may not {action} on {resource}"
        who = {"actor": identity.actor, "workspace": identity.workspace}
        raise Forbidden(told, action=action, resource=resource, **who)


def passed_on(call: Call, wanted: Sequence[Grant]) -> tuple[Grant, ...]:
    """Return what a caller gives away when asked for ``wanted``: that, and the caller's own denies.

    The platform itself, and the deployer's own credentials, may give everything.

    Raises:
        Forbidden: the caller is not admin on all that an allow is about.
    """
    if call.grants is None:
        return tuple(wanted)
    held = [Grant.read(text) for text in call.grants]
    beyond = next((g for g in wanted if g.effect == "allow" and not governs(held, g.resources)), None)
    if beyond is not None:
        told = f"{call.actor} may not give `{beyond.text}`: that takes admin on all of {beyond.resources}"
        raise Forbidden(told, action="access:grant", resource=beyond.resources)
    denies = (grant for grant in held if grant.effect == "deny")
    return tuple(dict.fromkeys([*wanted, *denies]))


def governs(held: Sequence[Grant], resources: str) -> bool:
    """Say whether one is admin on all that a pattern of resources matches."""
    about = [grant for grant in held if grant.role == "admin" and _contains(grant.resources, resources)]
    return bool(about) and all(grant.effect == "allow" for grant in about)


def _contains(outer: str, inner: str) -> bool:
    """Say whether a pattern matches whatever another does.

    With no wildcard but ``*`` on the outside, matching the inner pattern's own text proves it: each ``*`` of the
    inner one then lies within a ``*`` of the outer one, whatever it stands for. Other wildcards prove nothing, nor
    does an inner one with a set: ``*[ab]*`` has the text ``ab`` without all that it matches having that.
    """
    return outer == inner or (not set("?[") & set(outer) and "[" not in inner and fnmatchcase(inner, outer))


def authorised_to_grant(call: Call, resource: str, wanted: Sequence[Grant]) -> tuple[Grant, ...]:
    """Return what a caller gives away (``passed_on``), if the caller may change who may do what.

    That is who may write access on ``resource``, or who is admin on all that each grant is about: an
    admin of ``model/a*`` alone may let others at models that begin with an a.

    Raises:
        Forbidden: neither holds.
    """
    held = [Grant.read(text) for text in call.grants or ()]
    denied = any(grant.effect == "deny" and grant.covers("access:write", resource) for grant in held)
    scoped = any(grant.effect == "allow" for grant in wanted) and all(governs(held, g.resources) for g in wanted)
    if denied or not scoped:
        call.authorise("access:write", resource)
    return passed_on(call, wanted)


def changed(
    call: Call, token_id: str, change: Change, grants: Sequence[Grant] = (), *, actor: str = "", expires: str = ""
) -> Happened:
    """Return what the log says of a change of access, in the one stream that all of a workspace's are in."""
    event = events.AccessChanged(
        token_id=token_id,
        change=change,
        roles=tuple(grant.role for grant in grants),
        actor=actor,
        grants=tuple(grant.text for grant in grants),
        expires=expires,
    )
    return Happened(stream_of(call.workspace, "ACCESS", "tokens"), event)


def checked_actor(actor: str) -> str:
    """Return an actor's id; raises ``InvalidInput`` unless it can be one: it names people in the log for good.

    It cannot be one that IAM or an identity provider vouches for: a token must not pass for their bearer.
    """
    if actor.startswith(_PSEUDONYMS):
        raise InvalidInput(f"the actor {actor[:130]!r} is as principals and people are called: call it otherwise")
    if not _ACTOR.fullmatch(actor) or actor in _PLATFORMS:
        raise InvalidInput(
            f"the actor {actor[:130]!r} must be 1 to 128 letters, digits and . _ @ : + = , - that begin with a letter"
            " or digit, and neither platform nor anonymous; better a pseudonym than a name, for the log keeps it"
        )
    return actor


def checked_workspace(workspace: str) -> str:
    """Return a workspace's name; raises ``InvalidInput`` unless keys can begin with it and mean nothing else."""
    if not _WORKSPACE.fullmatch(workspace):
        raise InvalidInput(f"the workspace {workspace[:70]!r} must be 1 to 63 letters, digits and dashes")
    if workspace.lower() in RESERVED:
        raise InvalidInput(f"no workspace can be called {workspace}: the artifacts bucket has a prefix of that name")
    return workspace
