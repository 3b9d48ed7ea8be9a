"""The use cases of healing: repaired by rules or a person's word, asked about, taken back.

What is repaired goes on as if it had landed so: the repaired file and the log of what was changed are written first,
under names that say their content, then all the rest follows in one transaction: the accepted rows, the end of the
quarantine, and the mark that the delivery was handled. Twice delivered or killed anywhere, it is once.
"""

from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from modelwright.errors import AlreadyHandled, InvalidInput, NotFound, PluginError, Refused
from modelwright.events import (
    Delivery,
    Event,
    QualityFailed,
    QuarantineReleased,
    QuarantineRepaired,
    RepairAsked,
    RepairReverted,
    UploadAccepted,
)
from modelwright.log import Happened, stream_of
from modelwright.monitoring import sizes, store, uploads
from modelwright.monitoring.healing.logs import RepairLog, digest, undo
from modelwright.monitoring.healing.searching import Candidate, Search, search
from modelwright.monitoring.healing.wards import Shop, Ward
from modelwright.project import Source, load_current
from modelwright.storage import Write

AS_IT_IS = "as_it_is"
"""What a person calls a repair that changes nothing: the data is right, the checks are wrong."""
STAYS = (
    "rows that features were made of already stay in the feature store, where a correction replaces them by their key;"
    " while the new quarantine is open, nothing is trained or promoted on this source"
)
"""What taking a repair back does not take back."""
_REASON = 500
_LARGEST = 32 * 2**20
"""Bytes of a file that is still repaired; of a larger one a person is asked."""


class RepairBody(BaseModel):
    """``POST /v1/quarantine/{id}/repair``.

    Attributes:
        rule: a rule's name; of several choices of one name the n-th is ``name/n``; ``as_it_is``: nothing is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rule: str = Field(min_length=1, max_length=200)
    reason: str = Field(default="", max_length=_REASON)


class RevertBody(BaseModel):
    """``POST /v1/quarantine/{id}/revert``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str = Field(default="", max_length=_REASON)


def heal(delivery: Delivery, shop: Shop) -> str:
    """Repair what went to quarantine if exactly one repair is plausible, else ask; returns the outcome in words.

    Raises:
        AlreadyHandled: the delivery came before.
    """
    event: QualityFailed = delivery.event
    call = shop.call
    if shop.log.handled("monitoring", delivery):
        raise AlreadyHandled(f"{delivery.consumer} handled {delivery.envelope.id} before")
    try:
        held = store.open_quarantine(shop.tables, call.workspace, event.quarantine_id)
        source = _source(shop, held)
    except NotFound as error:
        return str(error)
    if held.reverts:
        return f"quarantine {held.id} is what a person made of a repair: nothing is repaired anew"
    ward = Ward(shop, held, source)
    found = _searched(ward, source.healing.rules)
    if found.one is None:
        return _ask(ward, found, delivery)
    return _release(ward, found.one, actor=call.actor, reason="", delivery=delivery)


def repair(identity: str, body: RepairBody, shop: Shop) -> store.Quarantine:
    """Repair an open quarantine in the way that a person says; it must pass quality all the same.

    Raises:
        NotFound: it is not open, or its source or file is gone.
        Refused: no such repair fits, or several do, or what it gives does not pass; the text says what does.
    """
    held = store.open_quarantine(shop.tables, shop.call.workspace, identity)
    shop.call.authorise("quarantine:write", f"source/{held.source}")
    source = _source(shop, held)
    ward = Ward(shop, held, source)
    if body.rule == AS_IT_IS:
        _release_as_it_is(ward, body.reason)
    else:
        _release(ward, _named(ward, body.rule), actor=shop.call.actor, reason=body.reason)
    return store.closed_quarantine(shop.tables, shop.call.workspace, identity)


def revert(identity: str, body: RevertBody, shop: Shop) -> store.Quarantine:
    """Take a repair back: what it released leaves the reference, and the original is in quarantine again.

    What that does not take back, ``STAYS`` says.

    Raises:
        NotFound: there is no such quarantine that is over.
        Refused: it was not repaired, or the repair was taken back before.
    """
    call = shop.call
    held = store.closed_quarantine(shop.tables, call.workspace, identity)
    call.authorise("quarantine:write", f"source/{held.source}")
    done = held.repaired
    if done is None:
        raise Refused(f"quarantine {identity} was not repaired, but {held.closed}: there is nothing to take back")
    if done.reverted:
        raise Refused(f"the repair of quarantine {identity} was taken back before: {done.reverted}")
    reason = f"taken back by {call.actor}{f': {body.reason}' if body.reason else ''}"
    again = held.model_copy(
        update={"id": f"{identity}-r", "closed": "", "repaired": None, "reverts": identity, "at": call.now}
    )
    over = held.model_copy(update={"repaired": done.model_copy(update={"reverted": reason})})
    events: list[Event] = [
        RepairReverted(source=held.source, quarantine_id=identity, repaired_key=done.key, reason=reason),
        _held_again(again),
    ]
    seen = store.seen_content(shop.tables, call.workspace, held.source, done.digest)
    now = store.SeenContent(verdict="quarantined", upload_key=held.upload_key, quarantine_id=again.id)
    writes: list[Write] = [
        store.replace_quarantine(call.workspace, held, over),
        store.put_open(call.workspace, again),
        store.forget_profile(call.workspace, held.source, done.end, done.digest),
        store.put_content(call.workspace, held.source, done.digest, now, seen),
    ]
    _commit(shop, held.source, events, writes)
    return again


def show(identity: str, shop: Shop) -> dict[str, object]:
    """Return what is known of a quarantine, open or over, and of its repair: what each rule did, without any cell.

    Raises:
        NotFound: there is none.
    """
    call = shop.call
    try:
        held = store.open_quarantine(shop.tables, call.workspace, identity)
    except NotFound:
        held = _any(shop, identity)
    call.authorise("quarantine:read", f"source/{held.source}")
    told: dict[str, object] = held.model_dump(mode="json")
    if held.repaired is not None:
        log = log_of(held.repaired.log_key, shop)
        told["steps"] = [
            {
                "rule": step.rule,
                "text": step.text,
                "cells": {name: len(cells.rows) for name, cells in step.cells.items()},
                "formulas": {name: formula.forward for name, formula in step.formulas.items()},
                "rows": len(step.taken.rows),
            }
            for step in (log.steps if log else ())
        ]
        told["inverse"] = log.inverse if log else ""
    return told


def original_of(held: store.Quarantine, shop: Shop) -> bytes:
    """Return a repaired file as it landed, made from its repair's log.

    Raises:
        InvalidInput: the quarantine was not repaired, or what was kept of it was changed since.
        NotFound: what was kept of it is gone.
    """
    if held.repaired is None:
        raise InvalidInput(f"quarantine {held.id} was not repaired")
    log = log_of(held.repaired.log_key, shop)
    if log is None:
        raise NotFound(f"the log of the repair of quarantine {held.id} is gone")
    kept = b"" if log.inverse == "log" else Ward(shop, held, _source(shop, held)).body
    return undo(log, shop.blobs.get("lake", held.repaired.key).body, kept)


def log_of(key: str, shop: Shop) -> RepairLog | None:
    """Return the log of a repair; None where it is gone."""
    try:
        return RepairLog.model_validate_json(shop.blobs.get("lake", key).body)
    except NotFound:
        return None


# --- which repair ------------------------------------------------------------------------


def _searched(ward: Ward, rules: tuple[str, ...]) -> Search:
    if large := _too_large(ward.held):
        return Search(None, (), large)
    try:
        if len(ward.body) > _LARGEST:
            return Search(None, (), f"the file is too large to be repaired by rules ({len(ward.body)} bytes)")
        return search(ward.damaged, ward.repairs(rules), ward.judge)
    except NotFound:
        return Search(None, (), "the file that landed is gone")
    except PluginError as error:
        return Search(None, (), str(error))


def _too_large(held: store.Quarantine) -> str:
    """Return what is said of a file that is too large to be read at all; empty of others."""
    return next((finding.text for finding in held.findings if finding.check == sizes.CHECK), "")


def _named(ward: Ward, rule: str) -> Candidate:
    """Return the repair that a person calls by its rules' names, and a number where there are several."""
    called, _, number = rule.partition("/")
    names = tuple(called.split("+"))
    declared = ward.source.healing.rules
    found = _searched(ward, (*declared, *(name for name in names if name not in declared)))
    fitting = [one for one in found.plausible if _names(one) == names]
    if not fitting:
        found = _searched(ward, names)
        fitting = [one for one in found.plausible if _names(one) == names]
    if number.isdigit() and 0 < int(number) <= len(fitting):
        return fitting[int(number) - 1]
    if len(fitting) == 1 and not number:
        return fitting[0]
    if not fitting:
        raise Refused(f"{rule} makes nothing of quarantine {ward.held.id} that passes: {found.reason}")
    told = "; ".join(f"{called}/{n}: {one.text}" for n, one in enumerate(fitting, 1))
    raise Refused(f"quarantine {ward.held.id} can be repaired by {called} in several ways: {told}")


def _names(one: Candidate) -> tuple[str, ...]:
    return tuple(rule.partition("@")[0] for rule in one.rules)


def _source(shop: Shop, held: store.Quarantine) -> Source:
    project = load_current(shop.tables, shop.call.workspace)
    if held.source not in project.sources:
        raise NotFound(f"project {project.name} has no source {held.source}, of which quarantine {held.id} is")
    return project.sources[held.source]


def _any(shop: Shop, identity: str) -> store.Quarantine:
    try:
        return store.closed_quarantine(shop.tables, shop.call.workspace, identity)
    except NotFound as error:
        raise NotFound(f"there is no quarantine {identity}") from error


# --- what follows ------------------------------------------------------------------------


def _ask(ward: Ward, found: Search, delivery: Delivery) -> str:
    """Ask a person, once."""
    held, choices = ward.held, tuple(one.text for one in found.plausible)
    asked = RepairAsked(source=held.source, quarantine_id=held.id, choices=choices, reason=found.reason)
    now = held.model_copy(update={"choices": choices, "asked": found.reason})
    _commit(ward.shop, held.source, [asked], [store.replace_quarantine(ward.shop.call.workspace, held, now)], delivery)
    return f"asked about quarantine {held.id}: {found.reason}"


def _release(ward: Ward, one: Candidate, *, actor: str, reason: str, delivery: Delivery | None = None) -> str:
    held, shop = ward.held, ward.shop
    follows = ward.outcome(one.body)
    if follows is None:
        why = f"what {', '.join(one.rules)} makes of it was accepted before"
        event = QuarantineReleased(source=held.source, quarantine_id=held.id, reason=why)
        _commit(shop, held.source, [event], list(store.close(shop.call.workspace, held, why)), delivery)
        return why
    landed, outcome = follows
    parquet = ward.body[:4] == b"PAR1"
    folder = f"repaired/{shop.call.workspace}/{held.source}/{held.id}"
    name = digest(one.body)
    log = RepairLog(
        source=held.source,
        quarantine_id=held.id,
        at=shop.call.now,
        actor=actor,
        reason=reason,
        inverse="original" if parquet else "log",
        original=held.key if held.scope == "file" else f"landing/{held.upload_key}",
        before=digest(ward.body),
        after=name,
        steps=one.steps,
    )
    key, log_key = f"{folder}/{name}.{'parquet' if parquet else 'csv'}", f"{folder}/{name}.log.json"
    bodies = {key: one.body, log_key: log.model_dump_json().encode()}
    said = f"repaired by {', '.join(one.rules)}{f' as {actor} said' if delivery is None else ''}"
    return _let_go(ward, landed, _with(outcome, bodies), (key, log_key), one.rules, said, delivery)


def _release_as_it_is(ward: Ward, reason: str) -> None:
    if large := _too_large(ward.held):
        raise Refused(f"quarantine {ward.held.id} cannot go on as it is: {large}")
    try:
        landed, outcome = ward.as_it_is()
    except InvalidInput as error:
        raise Refused(f"quarantine {ward.held.id} cannot go on as it is: {error}") from error
    if not outcome.accepted or (outcome.held and ward.held.scope == "rows"):
        told = "; ".join(finding.text for finding in outcome.findings) or outcome.text
        raise Refused(f"quarantine {ward.held.id} cannot go on as it is: {told}")
    shop, held = ward.shop, ward.held
    folder, name = f"repaired/{shop.call.workspace}/{held.source}/{held.id}", digest(landed.body)
    log = RepairLog(
        source=held.source, quarantine_id=held.id, at=shop.call.now, actor=shop.call.actor, reason=reason,
        inverse="log", original=held.key, before=name, after=name, steps=(),
    )  # fmt: skip
    log_key = f"{folder}/{name}.log.json"
    outcome = _with(outcome, {log_key: log.model_dump_json().encode()})
    said = f"accepted as it is, as {shop.call.actor} said"
    _let_go(ward, landed, outcome, (held.key, log_key), (f"{AS_IT_IS}@1",), said, None)


def _with(outcome: uploads.Outcome, bodies: dict[str, bytes]) -> uploads.Outcome:
    return replace(outcome, bodies={**outcome.bodies, **bodies})


def _let_go(
    ward: Ward,
    landed: uploads.Landed,
    outcome: uploads.Outcome,
    keys: tuple[str, str],
    rules: tuple[str, ...],
    said: str,
    delivery: Delivery | None,
) -> str:
    """Commit that data goes on, and with it that its quarantine is over."""
    held, shop = ward.held, ward.shop
    accepted = next(event for event in outcome.events if isinstance(event, UploadAccepted))
    newest = accepted.window.end - timedelta(microseconds=1)
    done = store.Repaired(
        rules=rules, key=keys[0], log_key=keys[1], digest=accepted.digest, end=newest, at=shop.call.now
    )  # fmt: skip
    events = (
        QuarantineRepaired(
            source=held.source,
            quarantine_id=held.id,
            upload_key=held.upload_key,
            upload_version=held.upload_version,
            rules=rules,
            rows=accepted.rows,
            repaired_key=keys[0],
            log_key=keys[1],
        ),
        QuarantineReleased(source=held.source, quarantine_id=held.id, reason=said),
    )
    writes = store.close(shop.call.workspace, held.model_copy(update={"repaired": done}), said)
    uploads.commit(landed, outcome, events, writes, delivery)
    return f"{said}: {outcome.text}"


def _held_again(again: store.Quarantine) -> QualityFailed:
    """Return what says that a quarantine is open again: of the whole file, for what was released of it is out."""
    return QualityFailed(
        source=again.source,
        upload_key=again.upload_key,
        upload_version=again.upload_version,
        quarantine_id=again.id,
        quarantine_key=again.key,
        rows=again.rows,
        window=again.window,
        findings=again.findings,
        scope="file",
    )


def _commit(
    shop: Shop, source: str, events: list[Event], writes: list[Write], delivery: Delivery | None = None
) -> None:
    happened = [Happened(stream_of(shop.call.workspace, "SOURCE", source), event) for event in events]
    shop.log.commit(shop.call, happened, writes, delivery=delivery, table="monitoring" if delivery else None)
