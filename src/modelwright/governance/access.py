"""Who may do what: tokens, roles and grants.

``authorize`` only finds out who calls; what they may do is decided here, per use case, on the
resource it loaded. Default deny, and a deny wins over every allow.

=========  ===========================  ===========  =====================================
entity     pk                           sk           access pattern
=========  ===========================  ===========  =====================================
token      ``WS#<workspace>#TOKEN``     ``<id>``     get by the id that the token carries; list
=========  ===========================  ===========  =====================================

A token reads ``mw.<workspace>.<id>.<secret>``; only the SHA-256 of the secret is kept, which is
enough for 256 random bits.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from modelwright.events import AccessChanged
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Absent, Anything, Is, Item, Key, Put, Tables, every

Role = Literal["reader", "contributor", "approver", "admin", "service"]

COOKIE = "modelwright_session"
_LONGEST_TOKEN = 512

ACTIONS: dict[Role, tuple[str, ...]] = {
    "reader": ("*:read",),
    "contributor": (
        "*:read",
        "experiments:write",
        "runs:write",
        "artifacts:write",
        "models:write",
        "features:push",
        "predict:call",
        "retraining:request",
        "models:transition",
    ),
    "approver": ("*:read", "models:transition", "models:approve", "rollouts:control", "quarantine:write"),
    "service": ("*:read", "runs:write", "artifacts:write", "features:push", "predict:call"),
    "admin": ("*",),
}
"""What each role may do, as patterns of ``<noun>:<verb>``."""


class Grant(BaseModel):
    """A role on resources whose name matches a pattern (``model/flights``, ``experiment/*``, ``*``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Role
    resources: str = "*"
    effect: Literal["allow", "deny"] = "allow"

    def covers(self, action: str, resource: str) -> bool:
        """Say whether this grant is about the action on the resource."""
        named = any(fnmatchcase(action, pattern) for pattern in ACTIONS[self.role])
        return named and fnmatchcase(resource, self.resources)


class Identity(BaseModel):
    """A caller that was authenticated."""

    model_config = ConfigDict(frozen=True)
    actor: str
    workspace: str
    grants: tuple[Grant, ...] = Field(default=())


def decide(grants: Sequence[Grant], action: str, resource: str) -> bool:
    """Say whether grants allow an action: some allow covers it and no deny does."""
    covering = [grant for grant in grants if grant.covers(action, resource)]
    return bool(covering) and all(grant.effect == "allow" for grant in covering)


def roles_on(identity: Identity, resource: str) -> frozenset[str]:
    """Return the roles that are allowed, and not denied, on a resource."""
    about = [grant for grant in identity.grants if fnmatchcase(resource, grant.resources)]
    denied = {grant.role for grant in about if grant.effect == "deny"}
    return frozenset(grant.role for grant in about if grant.effect == "allow") - denied


def require(identity: Identity, action: str, resource: str) -> None:
    """Raise ``Forbidden`` unless the identity may do ``action`` on ``resource``."""
    if not decide(identity.grants, action, resource):
        roles = ", ".join(sorted({g.role for g in identity.grants})) or "no role"
        raise Forbidden(f"{identity.actor} ({roles}) may not {action} on {resource}")


def issue_token(call: Call, grants: Sequence[Grant], *, actor: str, tables: Tables, log: Log, secret: str = "") -> str:
    """Make a token for an actor and return it; it is shown this once.

    Args:
        call: who makes it.
        grants: what it may do.
        actor: the pseudonymous id that the log will name.
        tables: where tokens live.
        log: where the making is recorded.
        secret: for a stack's first token, which is made before anyone can ask for one.
    """
    call.authorise("access:write", f"token/{actor}")
    identity = secrets.token_hex(8)
    secret = secret or secrets.token_urlsafe(32)
    item = _item(call.workspace, identity, actor, secret, grants, call.now)
    event = AccessChanged(token_id=identity, change="issued", roles=tuple(g.role for g in grants))
    happened = Happened(stream_of(call.workspace, "ACCESS", "tokens"), event)
    log.commit(call, [happened], [Put("governance", item, Absent())])
    return f"mw.{call.workspace}.{identity}.{secret}"


def list_tokens(call: Call, *, tables: Tables) -> list[dict[str, Any]]:
    """Return the workspace's tokens without anything that would let one in, by id."""
    call.authorise("access:read", "token/*")
    shown = ("actor", "grants", "issued")
    items = every(tables, "governance", f"WS#{call.workspace}#TOKEN")
    return [{"id": i["sk"], **{k: i[k] for k in shown}, "revoked": bool(i["revoked"])} for i in items]


def revoke_token(call: Call, token_id: str, *, tables: Tables, log: Log) -> None:
    """Make a token invalid at once; raises ``NotFound``."""
    call.authorise("access:write", f"token/{token_id}")
    item = tables.get("governance", Key(f"WS#{call.workspace}#TOKEN", token_id))
    if item is None:
        raise NotFound(f"there is no token {token_id}")
    event = AccessChanged(token_id=token_id, change="revoked", roles=())
    happened = Happened(stream_of(call.workspace, "ACCESS", "tokens"), event)
    log.commit(call, [happened], [Put("governance", {**item, "revoked": 1}, Is("revoked", 0))])


def authenticate(token: str, *, tables: Tables) -> Identity:
    """Return who holds a token.

    Raises:
        Unauthenticated: it is malformed, unknown, revoked, or its secret is wrong (which is not told apart).
    """
    parts = token.split(".", 3)
    if len(parts) != 4 or parts[0] != "mw" or not all(parts) or len(token) > _LONGEST_TOKEN:
        raise Unauthenticated("the token is not valid")
    _, workspace, identity, secret = parts
    item = tables.get("governance", Key(f"WS#{workspace}#TOKEN", identity)) or {"hash": "", "revoked": 1}
    if not hmac.compare_digest(_digest(secret), item["hash"]) or item["revoked"]:
        raise Unauthenticated("the token is not valid")
    grants = tuple(Grant.model_validate(grant) for grant in item["grants"])
    return Identity(actor=item["actor"], workspace=workspace, grants=grants)


def token_of(headers: Mapping[str, str]) -> str:
    """Return the token among a request's headers (lower-case names): a bearer's, else the session cookie's, else ""."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    pairs = headers.get("cookie", "").split(";")
    return dict(pair.strip().partition("=")[::2] for pair in pairs).get(COOKIE, "")


def admit_principal(call: Call, arn: str, grants: Sequence[Grant], *, tables: Tables, log: Log) -> None:
    """Say what an IAM user or role, which signs its requests, may do in this workspace; repeated, it is replaced.

    Without grants it may do nothing any more.

    Raises:
        InvalidInput: it is no ARN of a user or role.
    """
    call.authorise("access:write", "principal/*")
    principal = principal_of(arn)
    if not principal.startswith("arn:") or ":iam::" not in principal:
        raise InvalidInput(f"{arn!r} is no ARN of an IAM user or role")
    item = {
        "pk": f"WS#{call.workspace}#PRINCIPAL",
        "sk": principal,
        "grants": [grant.model_dump() for grant in grants],
        "admitted": call.now.isoformat(),
    }
    event = AccessChanged(token_id=principal_id(principal), change="issued", roles=tuple(g.role for g in grants))
    happened = Happened(stream_of(call.workspace, "ACCESS", "tokens"), event)
    log.commit(call, [happened], [Put("governance", item, Anything())])


def identify(arn: str, workspace: str, *, tables: Tables) -> Identity:
    """Return who signed a request, as IAM vouches for it.

    Raises:
        Unauthenticated: nobody admitted this principal to the workspace.
    """
    principal = principal_of(arn)
    item = tables.get("governance", Key(f"WS#{workspace}#PRINCIPAL", principal))
    if item is None:
        raise Unauthenticated(f"{principal} was not admitted to workspace {workspace}")
    grants = tuple(Grant.model_validate(grant) for grant in item["grants"])
    return Identity(actor=principal_id(principal), workspace=workspace, grants=grants)


def principal_of(arn: str) -> str:
    """Return the user or role behind an ARN: a session of a role counts as the role, whose path it does not tell."""
    found = re.fullmatch(r"arn:([\w-]+):sts::(\d{12}):assumed-role/([^/]+)/.*", arn)
    found = found or re.fullmatch(r"arn:([\w-]+):iam::(\d{12}):role/(?:.*/)?([^/]+)", arn)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else arn


def principal_id(principal: str) -> str:
    """Return the pseudonym of a principal, which is what the log names."""
    return f"iam-{_digest(principal)[:16]}"


def bootstrap_token(workspace: str, *, tables: Tables, now: datetime) -> str:
    """Put a new administrator's token into a fresh stack's table and return it.

    For the one who deploys: it needs the deployer's own credentials on the table, and is the only
    token that does not come out of ``issue_token``.
    """
    identity, secret = "bootstrap-" + secrets.token_hex(4), secrets.token_urlsafe(32)
    item = _item(workspace, identity, "administrator", secret, (Grant(role="admin"),), now)
    tables.write([Put("governance", item, Anything())])
    return f"mw.{workspace}.{identity}.{secret}"


def _item(workspace: str, identity: str, actor: str, secret: str, grants: Sequence[Grant], now: datetime) -> Item:
    if not workspace or not workspace.replace("-", "").isalnum():
        raise InvalidInput(f"the workspace {workspace!r} must be letters, digits and dashes")
    return {
        "pk": f"WS#{workspace}#TOKEN",
        "sk": identity,
        "actor": actor,
        "hash": _digest(secret),
        "grants": [grant.model_dump() for grant in grants],
        "issued": now.isoformat(),
        "revoked": 0,
    }


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
