"""Tokens: made, listed, rotated and revoked by who may; kept as hashes alone.

=========  ===========================  ===========  =====================================
entity     pk                           sk           access pattern
=========  ===========================  ===========  =====================================
token      ``WS#<workspace>#TOKEN``     ``<id>``     get by the id that the token carries; list
=========  ===========================  ===========  =====================================

A token reads ``mw.<workspace>.<id>.<secret>``; only the SHA-256 of the secret is kept, which is enough for 256 random
bits. Rotating gives it a new secret under the same id; the old one works on until a period of grace is over, so that
programs can be told the new one without a pause. Who makes or rotates a token is shown its secret, and could come by
its actor's name: ``shown_to`` says who that is, and the log has each time. Whether a token has expired is asked of the
wall's clock, whatever time a call says it is.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright.context import Call
from modelwright.errors import (
    AlreadyExists,
    ConditionFailed,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from modelwright.governance.access import (
    Grant,
    Identity,
    authorised_to_grant,
    changed,
    checked_actor,
    checked_workspace,
    passed_on,
)
from modelwright.log import Log
from modelwright.storage import Absent, Is, Item, Key, Put, Tables, every

COOKIE = "modelwright_session"
PREFIX = "mw."
LONGEST_GRACE = timedelta(hours=24)
_LONGEST_TOKEN = 512
_MOST_FORMER = 4
_INVALID = "the token is not valid"


def issue_token(
    call: Call,
    grants: Sequence[Grant],
    *,
    actor: str,
    tables: Tables,
    log: Log,
    expires: datetime | None = None,
    wall: datetime | None = None,
) -> str:
    """Make a token for an actor and return it; it is shown this once.

    Args:
        call: who makes it; with it go no grants that they do not hold themselves, and their denies.
        grants: what it may do.
        actor: the pseudonymous id that the log will name.
        tables: where tokens live.
        log: where the making is recorded.
        expires: when it stops being valid; None: never.
        wall: the time on the wall; None: the call's.

    Raises:
        Forbidden: the caller may not make tokens, or gives more than they hold.
        InvalidInput: the actor's id can be none, or the token would have expired already.
        AlreadyExists: this very request made a token before, whose secret was shown then.
    """
    given = authorised_to_grant(call, f"token/{checked_actor(actor)}", grants)
    wall = wall or call.now
    if expires is not None and expires <= wall:
        raise InvalidInput(f"a token that expires at {expires:%Y-%m-%d %H:%M} UTC would have expired already")
    identity = _identity(call)
    secret = secrets.token_urlsafe(32)
    made = item_of(call.workspace, identity, actor, secret, given, wall, expires)
    item = {**made, "shown_to": [call.actor]}
    happened = changed(call, identity, "issued", given, actor=actor, expires=item["expires"])
    try:
        log.commit(call, [happened], [Put("governance", item, Absent())])
    except ConditionFailed as failure:
        told = f"this request made token {identity} before; its secret was shown then: rotate it for another one"
        raise AlreadyExists(told) from failure
    return f"{PREFIX}{call.workspace}.{identity}.{secret}"


def list_tokens(call: Call, *, tables: Tables) -> list[dict[str, Any]]:
    """Return the workspace's tokens without anything that would let one in, by id."""
    call.authorise("access:read", "token/*")
    return [shown(item) for item in every(tables, "governance", f"WS#{call.workspace}#TOKEN")]


def shown(item: Item) -> dict[str, Any]:
    """Return what may be seen of a token."""
    kept = {name: item[name] for name in ("actor", "grants", "issued")}
    more = {name: item.get(name, "") for name in ("expires", "rotated")}
    return {"id": item["sk"], **kept, **more, "revoked": bool(item["revoked"]), "shown_to": item.get("shown_to", [])}


def rotate_token(
    call: Call,
    token_id: str,
    *,
    tables: Tables,
    log: Log,
    grace: timedelta = timedelta(),
    wall: datetime | None = None,
) -> str:
    """Give a token a new secret, and return it with that; it is shown this once.

    The secrets that it had stay good until the grace is over, or until their own grace is.

    Raises:
        NotFound: there is no such token.
        Forbidden: the caller could not have made this token.
        InvalidInput: the grace is negative, or longer than a day.
        Conflict: the token was revoked or has expired, or is being changed.
    """
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise InvalidInput(f"the old secret can stay good for 0 to 24 hours, not for {grace / timedelta(hours=1):g}")
    wall = wall or call.now
    item = _held(call, token_id, tables)
    _require_own_denies(call, token_id, _grants(item))
    if item["revoked"] or _over(item.get("expires", ""), wall):
        raise Conflict(f"token {token_id} was revoked or has expired: make a new one")
    secret = secrets.token_urlsafe(32)
    former = [{"hash": item["hash"], "until": (wall + grace).isoformat()}, *item.get("former", [])]
    good = [each for each in former if not _over(each["until"], wall)][:_MOST_FORMER]
    shown_to = list(dict.fromkeys([*item.get("shown_to", []), call.actor]))
    turned = {**item, "hash": digest(secret), "former": good, "rotated": wall.isoformat(), "shown_to": shown_to}
    happened = changed(call, token_id, "rotated", _grants(item), actor=item["actor"], expires=item.get("expires", ""))
    log.commit(call, [happened], [Put("governance", turned, Is("hash", item["hash"]))])
    return f"{PREFIX}{call.workspace}.{token_id}.{secret}"


def revoke_token(call: Call, token_id: str, *, tables: Tables, log: Log) -> None:
    """Make a token invalid at once, whichever of its secrets is shown; one that is, already, is no error.

    Raises:
        NotFound: there is no such token.
        Forbidden: the caller could not have made this token.
    """
    item = _held(call, token_id, tables)
    if item["revoked"]:
        return
    gone = {**item, "revoked": 1, "hash": "", "former": []}  # so that a rotation that comes at the same time fails
    happened = changed(call, token_id, "revoked", actor=item["actor"])
    log.commit(call, [happened], [Put("governance", gone, Is("hash", item["hash"]))])


def authenticate(token: str, *, tables: Tables, wall: datetime) -> Identity:
    """Return who holds a token.

    Raises:
        Unauthenticated: it is malformed, unknown, expired, revoked, or its secret is wrong (which is not told apart).
    """
    parts = token.split(".", 3)
    if len(parts) != 4 or not token.startswith(PREFIX) or not all(parts) or len(token) > _LONGEST_TOKEN:
        raise Unauthenticated(_INVALID)
    _, workspace, identity, secret = parts
    item = tables.get("governance", Key(f"WS#{workspace}#TOKEN", identity)) or {"hash": "", "revoked": 1}
    if not _opens(item, digest(secret), wall) or item["revoked"] or _over(item.get("expires", ""), wall):
        raise Unauthenticated(_INVALID)
    return Identity(actor=item["actor"], workspace=workspace, grants=_grants(item))


def token_of(headers: Mapping[str, str]) -> str:
    """Return the token among a request's headers (lower-case names): a bearer's, else the session cookie's, else ""."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    pairs = headers.get("cookie", "").split(";")
    return dict(pair.strip().partition("=")[::2] for pair in pairs).get(COOKIE, "")


def bootstrap_token(workspace: str, *, tables: Tables, now: datetime, log: Log | None = None) -> str:
    """Put a new administrator's token into a stack's table and return it.

    For the one who deploys: it needs the deployer's own credentials on the table, and is the only
    token that does not come out of ``issue_token``.

    Args:
        workspace: whose administrator's.
        tables: where tokens live.
        now: the time on the wall.
        log: where the making is recorded, since it can be done at any time; None: of a laptop's own fresh stack.
    """
    identity, secret = "bootstrap-" + secrets.token_hex(4), secrets.token_urlsafe(32)
    grants = (Grant(role="admin"),)
    item = item_of(workspace, identity, "administrator", secret, grants, now)
    write = Put("governance", item, Absent())
    if log is None:
        tables.write([write])
    else:
        call = Call(workspace, "platform", now, identity)
        log.commit(call, [changed(call, identity, "issued", grants, actor="administrator")], [write])
    return f"{PREFIX}{workspace}.{identity}.{secret}"


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _identity(call: Call) -> str:
    """Return a token's id: the same for the same request, so that it makes no second one."""
    if not call.request:
        return secrets.token_hex(8)
    return digest("\n".join((call.workspace, call.actor, "token", call.request)))[:16]


def item_of(
    workspace: str,
    identity: str,
    actor: str,
    secret: str,
    grants: Sequence[Grant],
    wall: datetime,
    expires: datetime | None = None,
) -> dict[str, Any]:
    """Return a token as it is kept; raises ``InvalidInput`` if the workspace's name can be none."""
    return {
        "pk": f"WS#{checked_workspace(workspace)}#TOKEN",
        "sk": identity,
        "actor": actor,
        "hash": digest(secret),
        "former": [],
        "grants": [grant.model_dump() for grant in grants],
        "issued": wall.isoformat(),
        "expires": expires.astimezone(UTC).isoformat() if expires else "",
        "revoked": 0,
    }


def _held(call: Call, token_id: str, tables: Tables) -> Item:
    """Return a token that the caller could have made.

    Who has no word in anybody's access is told so before it is looked up, or the answer would tell which exist.
    """
    item = tables.get("governance", Key(f"WS#{call.workspace}#TOKEN", token_id))
    if item is None:
        call.authorise("access:write", f"token/{token_id}")
        raise NotFound(f"there is no token {token_id}")
    authorised_to_grant(call, f"token/{token_id}", _grants(item))
    return item


def _require_own_denies(call: Call, token_id: str, grants: Sequence[Grant]) -> None:
    """Raise ``Forbidden`` for a token without a deny of the caller's, who would be shown its secret."""
    free = [grant for grant in passed_on(call, grants) if grant not in grants]
    if free:
        told = f"{call.actor} may not rotate token {token_id}: it is not bound by `{free[0].text}`, as they are"
        raise Forbidden(told, action="access:grant", resource=free[0].resources)


def _grants(item: Item) -> tuple[Grant, ...]:
    return tuple(Grant.model_validate(grant) for grant in item["grants"])


def _opens(item: Item, said: str, wall: datetime) -> bool:
    """Say whether a secret's hash is a token's; every hash is compared, so that the time tells nothing."""
    former = [each["hash"] for each in item.get("former", []) if not _over(each["until"], wall)]
    found = [hmac.compare_digest(said, known) for known in (item["hash"], *former)]
    return any(found)


def _over(until: str, wall: datetime) -> bool:
    return bool(until) and datetime.fromisoformat(until) <= wall
