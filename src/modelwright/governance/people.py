"""People whom an identity provider vouches for, under pseudonyms that can be forgotten.

=========  ===========================  =======================  ==========================================
entity     pk                           sk                       access pattern
=========  ===========================  =======================  ==========================================
person     ``WS#<ws>#PERSON``           SHA-256 of issuer and    get by what a token says; list
                                        subject
=========  ===========================  =======================  ==========================================

The log names a random pseudonym, and this item alone says whose it is: without it nothing leads from the log to the
person. Who was forgotten and comes again is somebody new.
"""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from modelwright.context import PERSON, Call
from modelwright.errors import ConditionFailed, NotFound
from modelwright.governance.access import Grant, changed
from modelwright.log import Log
from modelwright.storage import Absent, Delete, Is, Item, Key, Put, Tables, every


def pseudonym_of(
    workspace: str, issuer: str, subject: str, grants: Sequence[Grant], *, tables: Tables, wall: datetime
) -> str:
    """Return what the log calls a person; who comes for the first time is remembered, and what they may do now."""
    key = Key(f"WS#{workspace}#PERSON", hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest())
    held = [grant.model_dump() for grant in grants]
    item = tables.get("governance", key)
    if item is not None and item["grants"] == held:
        return str(item["actor"])
    actor = item["actor"] if item is not None else f"{PERSON}{secrets.token_hex(8)}"
    first = item["first"] if item is not None else wall.isoformat()
    person = {**key._asdict(), "actor": actor, "issuer": issuer, "subject": subject, "first": first, "grants": held}
    try:
        tables.write([Put("governance", person, Is("actor", actor) if item is not None else Absent())])
    except ConditionFailed:  # the same person's other request came first, or they were just forgotten
        return pseudonym_of(workspace, issuer, subject, grants, tables=tables, wall=wall)
    return str(actor)


def list_people(call: Call, *, tables: Tables) -> list[dict[str, Any]]:
    """Return whom the identity providers vouched for in this workspace, and what they could do when last seen.

    It is no reading, which everybody may who may read anything: it tells whose the pseudonyms of the log are.
    """
    call.authorise("access:identify", "person/*")
    shown = ("issuer", "subject", "first", "grants")
    return [{"id": item["actor"], **{k: item[k] for k in shown}} for item in every_person(call.workspace, tables)]


def forget_person(call: Call, actor: str, *, tables: Tables, log: Log) -> None:
    """Forget whose pseudonym this is, for good; raises ``NotFound``."""
    call.authorise("access:write", f"person/{actor}")
    item = next((each for each in every_person(call.workspace, tables) if each["actor"] == actor), None)
    if item is None:
        raise NotFound(f"there is no person {actor}")
    gone = Delete("governance", Key(item["pk"], item["sk"]))
    log.commit(call, [changed(call, actor, "revoked", actor=actor)], [gone])


def every_person(workspace: str, tables: Tables) -> Iterator[Item]:
    """Yield the items of a workspace's people."""
    return every(tables, "governance", f"WS#{workspace}#PERSON")
