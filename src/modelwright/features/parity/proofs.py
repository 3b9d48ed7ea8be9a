"""Proofs of parity as callers see them: asked for, listed, read. ``proof`` makes them.

A proof is asked for by an event and made by ``materialize``; until then its item says that it waits.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import ParityRequested
from modelwright.features import serving_log
from modelwright.features.parity.report import Report, path
from modelwright.features.rights import known, read_views
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Project
from modelwright.storage import Absent, Blobs, Item, Key, Put, Tables

PAIRS = 10_000
MOST_PAIRS = 100_000
SCHEDULED_PAIRS = 1_000
"""A schedule proves every day, so that fewer pairs do."""
LOOK_BACK = timedelta(days=7)
_LISTED = 100

State = Literal["waiting", "proven", "failed", "impossible"]


class ProofQuery(BaseModel):
    """What is to be compared.

    Attributes:
        pairs: how many random (entity, time) pairs are served again.
        since: logged answers and pairs from here on; by default answers of a week, and pairs of the last four weeks
            of the history.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    pairs: int = Field(default=PAIRS, ge=0, le=MOST_PAIRS)
    since: AwareDatetime | None = None


class Proof(BaseModel):
    """A proof that was asked for.

    Attributes:
        state: ``impossible``: there is nothing to compare, or no such service any more; ``text`` says.
        digest: of the report; empty while there is none.
        rows: entity rows that were compared.
        values: values of theirs.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    proof_id: str
    service: str
    state: State = "waiting"
    asked_at: datetime
    pairs: int
    since: datetime | None = None
    digest: str = ""
    rows: int = 0
    values: int = 0
    text: str = ""


def ask(
    call: Call, service: str, query: ProofQuery, *, project: Project, tables: Tables, log: Log, identity: str
) -> Proof:
    """Ask for a proof; it is made some time later.

    Args:
        call: who asks.
        service: feature service or model.
        query: what is to be compared.
        project: declares the service.
        tables: where the proof's item is.
        log: told that it was asked for.
        identity: a ULID, the proof's.

    Raises:
        NotFound: there is no such service; the text says which there are.
        InvalidInput: ``since`` lies ahead.
    """
    call.authorise("features:prove", f"service/{service}")
    _read_views(call, service, project)
    if query.since is not None and query.since >= call.now:
        raise InvalidInput(f"since lies ahead: {query.since.isoformat()} is not before {call.now.isoformat()}")
    proof = Proof(proof_id=identity, service=service, asked_at=call.now, pairs=query.pairs, since=query.since)
    event = ParityRequested(proof_id=identity, service=service, pairs=query.pairs, since=query.since)
    stream = stream_of(call.workspace, "PARITY", service)
    log.commit(call, [Happened(stream, event)], [Put("features", item_of(call.workspace, proof), Absent())])
    return proof


def ask_all(
    call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, identity: Callable[[], str]
) -> list[Proof]:
    """Ask for a proof of every service that answered since a day ago and a sample of whose answers was logged.

    Args:
        call: of the schedule.
        project: services that it does not declare any more are left out.
        tables: where proofs' items are.
        log: told.
        blobs: the serving log.
        identity: gives ULIDs.
    """
    known = {*project.services, *project.models}
    sampled = serving_log.services(blobs, call.workspace, call.now - timedelta(days=1))
    query = ProofQuery(pairs=SCHEDULED_PAIRS)
    stores: dict[str, Any] = {"project": project, "tables": tables, "log": log}
    return [ask(call, name, query, identity=identity(), **stores) for name in sampled if name in known]


def proofs(call: Call, service: str, *, project: Project, tables: Tables) -> dict[str, Any]:
    """Return the newest proofs of a service, newest first.

    Raises:
        NotFound: there is no such service.
        Forbidden: the caller may not read it, or a view of its.
    """
    call.authorise("features:read", f"service/{service}")
    page = tables.query("features", _pk(call.workspace, service), reverse=True, limit=_LISTED)
    _read_views(call, service, project, proven=bool(page.items))
    return {"proofs": [Proof.model_validate_json(item["proof"]).model_dump(mode="json") for item in page.items]}


def show(call: Call, service: str, proof_id: str, *, project: Project, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return a proof with its report (None while it waits) and where its page lies.

    Raises:
        NotFound: there is no such service, or it has no such proof.
        Forbidden: the caller may not read the service, a view of its, or one that the report is about.
    """
    call.authorise("features:read", f"service/{service}")
    proof = load(tables, call.workspace, service, proof_id)
    _read_views(call, service, project, proven=proof is not None)
    if proof is None:
        raise NotFound(f"there is no proof {proof_id} of {service}: list them with GET /v1/features/parity/{service}")
    found: dict[str, Any] = {"proof": proof.model_dump(mode="json"), "report": None}
    if proof.digest:
        body = blobs.get("lake", path(call.workspace, proof.digest)).body
        report = Report.model_validate_json(body)
        read_views(call, report.views)
        found["report"] = report.model_dump(mode="json")
        found["url"] = blobs.presigned_get("lake", path(call.workspace, proof.digest, "html"))
    return found


def _read_views(call: Call, service: str, project: Project, *, proven: bool = False) -> None:
    """Raise ``NotFound`` or ``Forbidden`` unless there is such a service and the caller may read its views.

    One that was proven and is declared no more has no views; what its reports are about is asked for with each.
    """
    if not proven or service in {**project.services, **project.models}:
        read_views(call, known(call, project, lambda seen: seen.service(service)).views)


def load(tables: Tables, workspace: str, service: str, proof_id: str) -> Proof | None:
    """Return a proof, or None."""
    item = tables.get("features", Key(_pk(workspace, service), proof_id))
    return None if item is None else Proof.model_validate_json(item["proof"])


def item_of(workspace: str, proof: Proof) -> Item:
    """Return a proof's item."""
    key = Key(_pk(workspace, proof.service), proof.proof_id)
    return {**key._asdict(), "state": proof.state, "proof": proof.model_dump_json()}


def _pk(workspace: str, service: str) -> str:
    return f"WS#{workspace}#PARITY#{service}"
