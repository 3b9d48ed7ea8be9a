"""Creations that happen once, however often their request comes.

A request has a name (``Call.request``): the caller's ``Idempotency-Key``, or else the gateway's own. What it makes can
take its id from that name, and a mark, written in the same transaction, remembers what came of it.

======  ============================  =========================================  ==============================
entity  pk                            sk                                         access pattern
======  ============================  =========================================  ==============================
mark    ``WS#<workspace>#REQUESTS``   SHA-256 of caller, kind, request's name    what came of it, of which body
======  ============================  =========================================  ==============================

A mark may be forgotten after 30 days (``expires``, seconds since 1970 of wall time, by which DynamoDB deletes). Until
it is deleted it counts, however old it is.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.storage import Absent, Key, Put, TableName, Tables, Write

REMEMBERED_FOR = timedelta(days=30)
"""How long a request's name makes nothing twice."""
_KEYED = "key "


@dataclass(frozen=True, slots=True)
class Once:
    """One creation.

    Attributes:
        table: where its mark lies.
        key: the mark's key.
        request: the request's name; empty when it has none, so that nothing tells it from the next one.
        body: a digest of what is asked for.
    """

    table: TableName
    key: Key
    request: str
    body: str

    @classmethod
    def of(cls, call: Call, kind: str, message: BaseModel, table: TableName) -> "Once":
        """Return the creation that a call asks for; ``kind`` tells apart what one name may be used for."""
        named = "\n".join((call.workspace, call.actor, kind, call.request))
        key = Key(f"WS#{call.workspace}#REQUESTS", hashlib.sha256(named.encode()).hexdigest())
        body = hashlib.sha256(message.model_dump_json().encode()).hexdigest() if call.request else ""
        return cls(table, key, call.request, body)

    @property
    def seed(self) -> str:
        """Hexadecimal digits for an id, the same for the same request; empty when it has no name."""
        return self.key.sk if self.request else ""

    @property
    def keyed(self) -> bool:
        """Whether the caller named the request: only then may another one come under the same name."""
        return self.request.startswith(_KEYED)

    def mark(self, made: str, *, wall: datetime | None = None) -> list[Write]:
        """Return the write that remembers the id of what is made; fails when there is one.

        Args:
            made: the id.
            wall: instead of the wall clock, in tests; a call's own time may be a virtual one.
        """
        expires = int(((wall or datetime.now(UTC)) + REMEMBERED_FOR).timestamp())
        item = {**self.key._asdict(), "body": self.body, "made": made, "expires": expires}
        return [Put(self.table, item, Absent())] if self.request else []

    def made(self, tables: Tables) -> str | None:
        """Return the id of what this request made before.

        Raises:
            InvalidInput: it asked for something else then.
        """
        mark = tables.get(self.table, self.key) if self.request else None
        if mark is not None and mark["body"] != self.body:
            raise InvalidInput("this Idempotency-Key was used before, with another request body")
        return str(mark["made"]) if mark else None
