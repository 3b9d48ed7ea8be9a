"""Why somebody may do something, or may not: the grants that decided, and what is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelwright.context import Call
from modelwright.governance import principals
from modelwright.governance.access import ACTIONS, Grant, roles_for
from modelwright.governance.people import every_person
from modelwright.storage import Item, Tables, every


@dataclass(frozen=True)
class Credential:
    """One way in, and what it may do.

    Attributes:
        kind: ``token``, ``principal`` (of IAM) or ``person`` (of an identity provider, as last seen).
        state: ``valid``, ``revoked`` or ``expired``.
        allows: the grants that cover the action on the resource.
        denies: those that take it away again, each of which wins over every allow.
        grants: all.
    """

    kind: str
    id: str
    state: str
    grants: tuple[str, ...]
    allows: tuple[str, ...] = field(default=())
    denies: tuple[str, ...] = field(default=())

    @property
    def allowed(self) -> bool:
        """Whether this way in is open and allows it."""
        return self.state == "valid" and bool(self.allows) and not self.denies


def explain(
    call: Call, actor: str, action: str, resource: str, *, tables: Tables, wall: datetime | None = None
) -> dict[str, Any]:
    """Say whether an actor may do an action on a resource, by which credential and which grants, or why not.

    Everybody may ask about themselves; about others who may read access.

    Args:
        call: who asks.
        actor: as tokens and the log name it; an IAM principal's ARN will do too.
        action: such as ``models:approve``.
        resource: such as ``model/flights``.
        tables: where grants live.
        wall: the time on the wall; None: the call's.
    """
    named = principals.principal_id(principals.principal_of(actor)) if actor.startswith("arn:") else actor
    if named != call.actor:
        call.authorise("access:read", f"token/{named}")
    found = [
        _weighed(kind, identity, state, grants, action, resource)
        for kind, identity, state, grants in _credentials(call.workspace, named, tables, wall or call.now)
    ]
    allowed = any(each.allowed for each in found)
    return {
        "actor": named,
        "action": action,
        "resource": resource,
        "allowed": allowed,
        "why": _why(found, action, resource),
        "roles": list(roles_for(action)),
        "credentials": [{**asdict(each), "allowed": each.allowed} for each in found],
    }


def matrix() -> dict[str, list[str]]:
    """Return what each role may do, as patterns of ``<noun>:<verb>``: the policy's own statement."""
    return {role: list(actions) for role, actions in ACTIONS.items()}


def _credentials(
    workspace: str, actor: str, tables: Tables, wall: datetime
) -> Iterator[tuple[str, str, str, Sequence[Grant]]]:
    for item in every(tables, "governance", f"WS#{workspace}#TOKEN"):
        if item["actor"] == actor:
            yield "token", item["sk"], _state(item, wall), _grants(item)
    for item in every(tables, "governance", f"WS#{workspace}#PRINCIPAL"):
        if principals.principal_id(item["sk"]) == actor:
            yield "principal", actor, "valid", _grants(item)
    for item in every_person(workspace, tables):
        if item["actor"] == actor:
            yield "person", item["actor"], "valid", _grants(item)


def _state(item: Item, wall: datetime) -> str:
    if item["revoked"]:
        return "revoked"
    until = item.get("expires", "")
    return "expired" if until and datetime.fromisoformat(until) <= wall.astimezone(UTC) else "valid"


def _grants(item: Item) -> list[Grant]:
    return [Grant.model_validate(grant) for grant in item["grants"]]


def _weighed(kind: str, identity: str, state: str, grants: Sequence[Grant], action: str, resource: str) -> Credential:
    covering = [grant for grant in grants if grant.covers(action, resource)]
    return Credential(
        kind,
        identity,
        state,
        tuple(grant.text for grant in grants),
        tuple(grant.text for grant in covering if grant.effect == "allow"),
        tuple(grant.text for grant in covering if grant.effect == "deny"),
    )


def _why(found: Sequence[Credential], action: str, resource: str) -> str:
    """Return the one sentence that decides: of the credential that allows it, or of the one that comes nearest."""
    valid = [each for each in found if each.state == "valid"]
    if (allowing := next((each for each in valid if each.allowed), None)) is not None:
        return f"{allowing.kind} {allowing.id}: {allowing.allows[0]}"
    if (denied := next((each for each in valid if each.allows), None)) is not None:
        return f"{denied.kind} {denied.id}: {denied.denies[0]} wins over {denied.allows[0]}"
    takes = " or ".join(roles_for(action))
    if valid:
        return f"no grant covers {action} on {resource}: that takes {takes} on a pattern that matches {resource}"
    had = f"{len(found)} that are revoked or expired" if found else "none"
    return f"there is no valid token, principal or person of that name ({had}); {action} takes {takes}"
