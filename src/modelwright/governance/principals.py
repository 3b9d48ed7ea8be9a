"""IAM users and roles that sign their requests (SigV4), admitted per workspace.

=========  ===========================  ===========  =====================================
entity     pk                           sk           access pattern
=========  ===========================  ===========  =====================================
principal  ``WS#<ws>#PRINCIPAL``        ``<ARN>``    get by the ARN that IAM vouches for; list
=========  ===========================  ===========  =====================================

The log names a pseudonym, never the ARN, which may hold a person's name.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.governance.access import Grant, Identity, authorised_to_grant, changed, checked_workspace
from modelwright.log import Log
from modelwright.storage import Anything, Delete, Item, Key, Put, Tables, every

_SESSION = re.compile(r"arn:([\w-]+):sts::(\d{12}):assumed-role/([^/]+)/.*")
_ROLE = re.compile(r"arn:([\w-]+):iam::(\d{12}):role/(?:.*/)?([^/]+)")
_PRINCIPAL = re.compile(r"arn:[\w-]+:iam::\d{12}:(?:user|role)/[\w+=,.@/-]{1,512}", re.ASCII)


def admit_principal(call: Call, arn: str, grants: Sequence[Grant], *, tables: Tables, log: Log) -> None:
    """Say what an IAM user or role, which signs its requests, may do in this workspace; repeated, it is replaced.

    Raises:
        InvalidInput: it is no ARN of a user or role.
        Forbidden: the caller may not, or gives more than they hold, or would replace what holds more than they do.
    """
    principal = principal_of(arn)
    if not _PRINCIPAL.fullmatch(principal):
        raise InvalidInput(f"{arn[:600]!r} is no ARN of an IAM user or role")
    key = Key(f"WS#{checked_workspace(call.workspace)}#PRINCIPAL", principal)
    before = tables.get("governance", key)
    wanted = [*grants, *(_grants(before) if before else ())]
    authorised_to_grant(call, f"principal/{principal_id(principal)}", wanted)
    given = authorised_to_grant(call, f"principal/{principal_id(principal)}", grants)
    item = {**key._asdict(), "grants": [g.model_dump() for g in given], "admitted": call.now.isoformat()}
    pseudonym = principal_id(principal)
    happened = changed(call, pseudonym, "issued", given, actor=pseudonym)
    log.commit(call, [happened], [Put("governance", item, Anything())])


def list_principals(call: Call, *, tables: Tables) -> list[dict[str, Any]]:
    """Return the workspace's principals, by ARN; ``id`` is what the log calls them.

    It is no reading, which everybody may who may read anything: it tells whose the pseudonyms of the log are.
    """
    call.authorise("access:identify", "principal/*")
    return [shown(item) for item in every(tables, "governance", f"WS#{call.workspace}#PRINCIPAL")]


def shown(item: Item) -> dict[str, Any]:
    """Return a principal as people see it."""
    return {"id": principal_id(item["sk"]), "arn": item["sk"], "grants": item["grants"], "admitted": item["admitted"]}


def dismiss_principal(call: Call, arn: str, *, tables: Tables, log: Log) -> None:
    """Take a principal's admission away, at once; ``arn`` may be its pseudonym.

    Raises:
        NotFound: it was not admitted.
        Forbidden: the caller could not have admitted it.
    """
    known = every(tables, "governance", f"WS#{call.workspace}#PRINCIPAL")
    wanted = principal_of(arn)
    item = next((each for each in known if wanted in (each["sk"], principal_id(each["sk"]))), None)
    if item is None:
        call.authorise("access:write", f"principal/{arn}")
        raise NotFound(f"{arn} was not admitted to workspace {call.workspace}")
    pseudonym = principal_id(item["sk"])
    authorised_to_grant(call, f"principal/{pseudonym}", _grants(item))
    happened = changed(call, pseudonym, "revoked", actor=pseudonym)
    log.commit(call, [happened], [Delete("governance", Key(item["pk"], item["sk"]))])


def identify(arn: str, workspace: str, *, tables: Tables) -> Identity:
    """Return who signed a request, as IAM vouches for it.

    Raises:
        InvalidInput: no workspace can be called so.
        Forbidden: nobody admitted this principal to the workspace, which may not even be.
    """
    principal = principal_of(arn)
    item = tables.get("governance", Key(f"WS#{checked_workspace(workspace)}#PRINCIPAL", principal))
    if item is None:
        told = f"{principal} was not admitted to workspace {workspace}: an administrator can do so"
        where = f"workspace/{workspace}"
        raise Forbidden(told, action="workspace:enter", resource=where, actor=principal_id(principal))
    return Identity(actor=principal_id(principal), workspace=workspace, grants=_grants(item))


def principal_of(arn: str) -> str:
    """Return the user or role behind an ARN: a session of a role counts as the role, whose path it does not tell."""
    found = _SESSION.fullmatch(arn) or _ROLE.fullmatch(arn)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else arn


def principal_id(principal: str) -> str:
    """Return the pseudonym of a principal, which is what the log names."""
    return f"iam-{hashlib.sha256(principal.encode()).hexdigest()[:16]}"


def _grants(item: Item) -> tuple[Grant, ...]:
    return tuple(Grant.model_validate(grant) for grant in item["grants"])
