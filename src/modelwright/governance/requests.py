"""What is asked about access over HTTP, ``/v1/access/...``: each message, and its answer as JSON."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.governance import explaining, federation, people, principals, tokens
from modelwright.governance.access import Grant
from modelwright.log import Log
from modelwright.storage import Tables


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class Nothing(_Query):
    """Nothing need be said."""


class IssueToken(_Message):
    """``POST /v1/access/tokens``.

    Attributes:
        expires: when it stops being valid (naive means UTC).
        days: the same, from now on; at most one of the two.
    """

    actor: str
    grants: tuple[Grant, ...] = Field(max_length=50)
    expires: datetime | None = None
    days: float | None = Field(default=None, gt=0, le=3660)


class RotateToken(_Message):
    """``POST /v1/access/tokens/<token_id>/rotate``.

    Attributes:
        grace_hours: how long the old secret stays good.
    """

    token_id: str
    grace_hours: float = Field(default=0, ge=0, le=24)


class OfToken(_Query):
    """``DELETE /v1/access/tokens/<token_id>``."""

    token_id: str


class AdmitPrincipal(_Message):
    """``POST /v1/access/principals``."""

    arn: str
    grants: tuple[Grant, ...] = Field(max_length=50)


class OfPrincipal(_Query):
    """``DELETE /v1/access/principals/<ARN or pseudonym>``."""

    principal: str


class OfProvider(_Query):
    """``DELETE /v1/access/providers/<provider>``."""

    provider: str


class OfPerson(_Query):
    """``DELETE /v1/access/people/<person>``."""

    person: str


class Explain(_Query):
    """``GET /v1/access/explain``."""

    actor: str
    action: str = Field(pattern=r"^[a-z_]+:[a-z_-]+$", max_length=100)
    resource: str = Field(min_length=1, max_length=1000)


def issue(call: Call, message: IssueToken, *, tables: Tables, log: Log) -> dict[str, str]:
    """Make a token."""
    if message.expires is not None and message.days is not None:
        raise InvalidInput("say either when the token expires or in how many days, not both")
    wall, expires = _wall(), message.expires
    if message.days is not None:
        expires = wall + timedelta(days=message.days)
    if expires is not None:
        expires = _utc(expires)
    token = tokens.issue_token(
        call, message.grants, actor=message.actor, tables=tables, log=log, expires=expires, wall=wall
    )
    return {"token": token, "id": token.split(".")[2], "expires": expires.isoformat() if expires else ""}


def rotate(call: Call, message: RotateToken, *, tables: Tables, log: Log) -> dict[str, str]:
    """Give a token a new secret."""
    grace = timedelta(hours=message.grace_hours)
    return {"token": tokens.rotate_token(call, message.token_id, tables=tables, log=log, grace=grace, wall=_wall())}


def revoke(call: Call, message: OfToken, *, tables: Tables, log: Log) -> dict[str, str]:
    """Make a token invalid."""
    tokens.revoke_token(call, message.token_id, tables=tables, log=log)
    return {}


def list_tokens(call: Call, message: Nothing, *, tables: Tables, log: Log) -> dict[str, Any]:
    """List tokens."""
    return {"tokens": tokens.list_tokens(call, tables=tables)}


def admit(call: Call, message: AdmitPrincipal, *, tables: Tables, log: Log) -> dict[str, str]:
    """Admit an IAM principal."""
    principals.admit_principal(call, message.arn, message.grants, tables=tables, log=log)
    principal = principals.principal_of(message.arn)
    return {"principal": principal, "id": principals.principal_id(principal)}


def list_principals(call: Call, message: Nothing, *, tables: Tables, log: Log) -> dict[str, Any]:
    """List IAM principals."""
    return {"principals": principals.list_principals(call, tables=tables)}


def dismiss(call: Call, message: OfPrincipal, *, tables: Tables, log: Log) -> dict[str, str]:
    """Dismiss an IAM principal."""
    principals.dismiss_principal(call, message.principal, tables=tables, log=log)
    return {}


def trust(call: Call, message: federation.Provider, *, tables: Tables, log: Log) -> dict[str, str]:
    """Trust an identity provider."""
    return {"id": federation.trust(call, message, tables=tables, log=log)}


def list_providers(call: Call, message: Nothing, *, tables: Tables, log: Log) -> dict[str, Any]:
    """List identity providers."""
    return {"providers": federation.list_providers(call, tables=tables)}


def distrust(call: Call, message: OfProvider, *, tables: Tables, log: Log) -> dict[str, str]:
    """Distrust an identity provider."""
    federation.distrust(call, message.provider, tables=tables, log=log)
    return {}


def list_people(call: Call, message: Nothing, *, tables: Tables, log: Log) -> dict[str, Any]:
    """List the people of identity providers."""
    return {"people": people.list_people(call, tables=tables)}


def forget(call: Call, message: OfPerson, *, tables: Tables, log: Log) -> dict[str, str]:
    """Forget whose a pseudonym is."""
    people.forget_person(call, message.person, tables=tables, log=log)
    return {}


def explain(call: Call, message: Explain, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Say why somebody may do something, or may not."""
    return explaining.explain(call, message.actor, message.action, message.resource, tables=tables, wall=_wall())


def roles(call: Call, message: Nothing, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return what each role may do."""
    call.authorise("access:read", "role/*")
    return {"roles": explaining.matrix()}


def _utc(time: datetime) -> datetime:
    """Return a time in UTC, which is what none is said of; raises ``InvalidInput``."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"{time.isoformat()} is no time of the years 1 to 9999 in UTC") from error


def _wall() -> datetime:
    return datetime.now(UTC)
