"""Which version holds which alias, and why: asked for, judged by gates, approved, then applied or refused.

The aliases that a model's policy guards (``champion`` and ``challenger`` if it does not say otherwise) go this way,
whichever door the request comes through; every other alias is free. ``workflow`` has the states, ``requests`` what is
written at each step. Whatever is decided is written down before it is told, so that the same request again is told the
same and changes nothing: a request's id follows from the name of the call that asked (``once``).
"""

from typing import Any

from modelwright.context import Call, is_person
from modelwright.errors import Conflict, Forbidden, InvalidInput, NotFound
from modelwright.events import Delivery, TransitionJudged, TransitionRequested
from modelwright.log import Log, new_id
from modelwright.once import Once
from modelwright.plugins import Gates, gate
from modelwright.project import GatePolicy
from modelwright.registry.entities import CHAMPION, ModelVersion, RegisteredModel, checked_alias, checked_name
from modelwright.registry.judging import Judge
from modelwright.registry.messages import (
    ApproveTransition,
    EndTransition,
    ListTransitions,
    OfTransition,
    OpenTransitions,
    RequestTransition,
)
from modelwright.registry.models import milliseconds
from modelwright.registry.policies import policy_of
from modelwright.registry.requests import Change, RequestStore, moved, workspaces
from modelwright.registry.store import TABLE
from modelwright.registry.workflow import TransitionRequest, asked
from modelwright.storage import Blobs, Tables, Write

_OPEN_AT_MOST = 20
"""Open requests of a model, so that all of them can end in one transaction."""
_PAGE = 100


def request(
    call: Call,
    message: RequestTransition,
    *,
    tables: Tables,
    log: Log,
    blobs: Blobs,
    gates: Gates,
    tier: str,
    policy: GatePolicy | None = None,
) -> dict[str, Any]:
    """Ask that a version take an alias.

    Who overrides (``force``) needs one of the roles that the policy names; what the role may do otherwise does not
    matter, so a policy can let approvers override, or nobody. ``policy`` is the model's, if it was read before.

    Returns:
        The request: applied, or open because gates are still to be run or people have to approve.

    Raises:
        Refused: gates said no; the text has every reason, and the refusal is in the log.
        Forbidden: the caller may not transition this model, or not override.
        Conflict: there is an open request for the same already.
    """
    call.authorise("models:transition", f"model/{message.name}")
    store = RequestStore(tables, call)
    made = _ask(call, message, Judge(call, store, tables, blobs, tier), store, log, gates, policy)
    made.must_not_be_refused()
    return _told(made)


def approve(
    call: Call, message: ApproveTransition, *, tables: Tables, log: Log, blobs: Blobs, gates: Gates, tier: str
) -> dict[str, Any]:
    """Approve a request; the last approval that is needed applies it, if the policy of now allows it.

    One person counts once, however often they approve, and who asked does not count at all.

    Raises:
        Forbidden: the caller may not approve for this model, or asked for it.
        Refused: it waited too long, or gates say no by now.
        Conflict: it is decided, or its gates are still to be run.
    """
    store, model, before = _found(call, message, "models:approve", tables)
    if before.overdue(call.now):
        _end(call, store, log, model, before, before.expired())
        before.expired().must_not_be_refused()
    after, version = before.approved(call.actor, call.now, message.comment), None
    if after is not before:
        if not after.missing:
            version = store.version(model, after.version)
            judge = Judge(call, store, tables, blobs, tier)
            after = _by_policy(model.aliases.get(CHAMPION), after, model, version, judge, gates)
        after = after.settled(call.now, call.actor)
        change = moved(call, store, model, before, after)
        _commit(call, store, log, model, change, *([version] if version else []))
    after.must_not_be_refused()
    return _told(after)


def reject(call: Call, message: EndTransition, *, tables: Tables, log: Log) -> dict[str, Any]:
    """End a request with a no; needs a written reason. Raises ``Conflict`` if it is decided otherwise."""
    store, model, before = _found(call, message, "models:approve", tables)
    if not message.reason.strip():
        raise InvalidInput("a rejection needs a written reason")
    return _ended(call, store, log, model, before, "rejected", message.reason)


def withdraw(call: Call, message: EndTransition, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Take a request back; for who asked, and for administrators. Raises ``Conflict`` if it is decided otherwise."""
    store, model, before = _found(call, message, "models:transition", tables)
    if call.actor != before.actor and "admin" not in call.roles(model.resource):
        raise Forbidden(f"{before.what} is withdrawn by {before.actor}, who asked for it, or an administrator")
    return _ended(call, store, log, model, before, "withdrawn", message.reason)


def get(call: Call, message: OfTransition, *, tables: Tables) -> dict[str, Any]:
    """Return a request; raises ``NotFound``."""
    _, _, found = _found(call, message, "models:read", tables)
    return _told(_by_now(call, found))


def of_model(call: Call, message: ListTransitions, *, tables: Tables) -> dict[str, Any]:
    """Return a page of a model's requests, newest first."""
    call.authorise("models:read", f"model/{message.name}")
    store = RequestStore(tables, call)
    page = store.newest_requests(store.model(checked_name(message.name)), message.max_results, message.page_token)
    said = {"transitions": [_by_now(call, each).shown() for each in page.requests]}
    return {**said, **({"next_page_token": page.cursor} if page.cursor else {})}


def inbox(call: Call, message: OpenTransitions, *, tables: Tables) -> dict[str, Any]:
    """Return a page of the workspace's requests that wait for approvals, the caller's among them.

    A page may hold fewer than were asked for, or none, though there are more.
    """
    store = RequestStore(tables, call)
    lines, cursor = store.lines(message.max_results, message.page_token)
    found = [each for model, each in store.of_lines(lines) if _waits_for(call, model, each)]
    said = {"transitions": [each.shown() for each in sorted(found, key=lambda each: each.at)]}
    return {**said, **({"next_page_token": cursor} if cursor else {})}


def expire(call: Call, *, tables: Tables, log: Log) -> int:
    """Refuse all requests of the workspace that waited too long, and return how many those were."""
    store, cursor, count = RequestStore(tables, call), "", 0
    while True:
        lines, cursor = store.lines(_PAGE, cursor)
        for line in lines:
            # one after the other: each commit changes its model, and several may be of the same
            for model, before in store.of_lines([line] if line.expires <= call.now else []):
                if before.overdue(call.now):
                    _end(call, store, log, model, before, before.expired())
                    count += 1
        if not cursor:
            return count


def judge_rest(
    call: Call,
    delivery: Delivery,
    *,
    tables: Tables,
    log: Log,
    blobs: Blobs,
    gates: Gates,
    tier: str,
    light: Gates = gate,
) -> None:
    """Run the gates that a request still waits for, and let it go on: to its approvals, or to its end.

    Args:
        call: the platform's.
        delivery: of ``TransitionRequested`` or ``TransitionJudged``.
        tables: where requests are.
        log: where what follows is written.
        blobs: where versions' files are.
        gates: full gates.
        tier: which of the team's environments this is.
        light: light gates, for when another version became champion and they are run anew.
    """
    event: TransitionRequested | TransitionJudged = delivery.event
    store = RequestStore(tables, call)
    line = store.line(event.request_id) if event.pending else None
    for model, before in store.of_lines([line] if line else []):
        version = store.find_version(model, before.version)  # none: it was deleted just now, its requests with it
        if before.state == "judging" and version is not None:
            policy, champion = policy_of(call, model, tables, tier), model.aliases.get(CHAMPION)
            judge = Judge(call, store, tables, blobs, tier)
            known = before.results
            if champion != before.champion:
                known = judge.at_once(model, version, before.alias, policy, light).results
            results = (*known, *judge.run(before.pending, model, version, before.alias, policy, gates))
            after = before.judged(results, (), champion).settled(call.now, call.actor)
            _commit(call, store, log, model, moved(call, store, model, before, after), version, delivery=delivery)
            return
    log.commit(call, (), delivery=delivery, table=TABLE)


def known_workspaces(call: Call, *, tables: Tables) -> list[str]:
    """Return the workspaces whose requests may expire, the call's own among them."""
    return sorted({call.workspace, *workspaces(tables)})


def _ask(
    call: Call,
    message: RequestTransition,
    judge: Judge,
    store: RequestStore,
    log: Log,
    gates: Gates,
    policy: GatePolicy | None,
) -> TransitionRequest:
    once = Once.of(call, f"transitions of {message.name}", message, TABLE)
    alias, request_id = checked_alias(message.alias), once.seed[:32] or new_id(call.now)
    model, version, before = store.asked(checked_name(message.name), message.version, request_id)
    if before is not None:
        if before.body != once.body:
            raise InvalidInput("this Idempotency-Key was used before, with another request body")
        return before
    if version is None:
        raise NotFound(f"Model Version (name={model.name}, version={message.version}) not found")
    blank = TransitionRequest(
        request_id=request_id,
        model=model.name,
        version=version.version,
        alias=alias,
        at=call.now,
        actor=call.actor,
        reason=message.reason,
        champion=model.aliases.get(CHAMPION),
        expires=call.now,
        body=once.body,
    )
    if model.aliases.get(alias) == version.version:
        return blank.model_copy(update={"request_id": "", "state": "applied"})
    policy = policy or policy_of(call, model, judge.tables, judge.tier)
    if message.force:
        _must_override(call, model, policy, message.reason)
    elif alias in policy.guarded and policy.approvals_for(alias) and policy.approvers == "people":
        _must_be_known(call, blank)
    verdict = judge.at_once(model, version, alias, policy, gates)
    new = asked(blank, *verdict, policy, guarded=alias in policy.guarded, force=message.force)
    change = _room(call, store, model, new).then(lambda left: moved(call, store, left, None, new))
    _commit(call, store, log, model, change, version)
    return new


def _must_override(call: Call, model: RegisteredModel, policy: GatePolicy, reason: str) -> None:
    if not call.roles(model.resource) & frozenset(policy.override):
        who = " or ".join(policy.override) or "nobody"
        raise Forbidden(
            f"{call.actor} may not override the gates and approvals of {model.name}: its policy lets {who}",
            action="models:override",
            resource=model.resource,
        )
    if len(reason.strip()) < policy.override_reason:
        raise InvalidInput(f"an override needs a written reason of at least {policy.override_reason} characters")


def _must_be_known(call: Call, request: TransitionRequest) -> None:
    if not is_person(call.actor):
        raise Forbidden(
            f"{call.actor} may not ask for {request.what}: its policy counts people whom an identity provider vouches "
            "for, and with a token somebody could ask in one name and approve in another",
            action="models:transition",
            resource=f"model/{request.model}",
        )


def _room(call: Call, store: RequestStore, model: RegisteredModel, new: TransitionRequest) -> Change:
    """Return what makes room for a request: one that waits for the same ends if it is overdue or overridden."""
    for other in store.requests(model.model_id, [held] if (held := model.open.get(new.place)) else []):
        if other.overdue(call.now):
            return moved(call, store, model, other, other.expired())
        if new.forced:
            return moved(call, store, model, other, other.ended("superseded", call.now, call.actor, "overridden"))
        raise Conflict(f"{other.what} is open already: follow it, or withdraw it and ask again")
    if new.open and len(model.open) >= _OPEN_AT_MOST:
        raise Conflict(f"{model.name} has {len(model.open)} open requests: decide or withdraw some of them first")
    return Change(model)


def _by_policy(
    champion: int | None,
    request: TransitionRequest,
    model: RegisteredModel,
    version: ModelVersion,
    judge: Judge,
    gates: Gates,
) -> TransitionRequest:
    """Return a request that has all approvals as policy, champion and evidence are now: they may have changed.

    Light gates are run again. What full ones said holds for as long as the champion is the one that they saw.
    """
    policy = policy_of(judge.call, model, judge.tables, judge.tier)
    results, pending = judge.at_once(model, version, request.alias, policy, gates)
    known = request.results if champion == request.champion else ()
    said = {result.gate: result for result in known if result.gate in pending}
    needed = policy.approvals_for(request.alias) if request.alias in policy.guarded else 0
    stricter = request.model_copy(update={"needed": max(request.needed, needed)})
    if needed and policy.approvers == "people":
        stricter = stricter.by_people()
    return stricter.judged((*results, *said.values()), tuple(gate for gate in pending if gate not in said), champion)


def _found(
    call: Call, message: OfTransition, action: str, tables: Tables
) -> tuple[RequestStore, RegisteredModel, TransitionRequest]:
    call.authorise(action, f"model/{message.name}")
    store = RequestStore(tables, call)
    return store, *store.request(checked_name(message.name), message.request_id)


def _ended(
    call: Call, store: RequestStore, log: Log, model: RegisteredModel, before: TransitionRequest, why: Any, reason: str
) -> dict[str, Any]:
    if (before.why, before.decided_by) == (why, call.actor):  # it is asked again
        return _told(before)
    if before.overdue(call.now):
        _end(call, store, log, model, before, before.expired())
        before = before.expired()
    after = before.ended(why, call.now, call.actor, reason)
    _end(call, store, log, model, before, after)
    return _told(after)


def _end(
    call: Call,
    store: RequestStore,
    log: Log,
    model: RegisteredModel,
    before: TransitionRequest,
    after: TransitionRequest,
) -> None:
    _commit(call, store, log, model, moved(call, store, model, before, after))


def _commit(
    call: Call,
    store: RequestStore,
    log: Log,
    model: RegisteredModel,
    change: Change,
    *versions: ModelVersion,
    delivery: Delivery | None = None,
) -> None:
    """Commit a change; ``versions`` are those that aliases may point to now."""
    writes: list[Write] = list(change.writes)
    if change.model.aliases != model.aliases:
        touched = change.model.model_copy(update={"updated": milliseconds(call)})
        writes += store.put_aliases(model, touched, *versions)
    elif change.model != model:
        writes.append(store.put_model(change.model))
    happened = [store.happened(model, event) for event in change.events]
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)


def _by_now(call: Call, request: TransitionRequest) -> TransitionRequest:
    """Return a request as it is at this time, also if its end was not written down yet."""
    return request.expired() if request.overdue(call.now) else request


def _waits_for(call: Call, model: RegisteredModel, request: TransitionRequest) -> bool:
    """Say whether the caller's approval would count."""
    counted = {request.actor, request.on_behalf_of, *(approval.actor for approval in request.approvals)}
    if request.people and not is_person(call.actor):
        return False
    if request.state != "waiting" or request.overdue(call.now) or call.actor in counted or model.deleted:
        return False
    try:
        call.authorise("models:approve", model.resource)
    except Forbidden:
        return False
    return True


def _told(request: TransitionRequest) -> dict[str, Any]:
    return {"transition": request.shown()}
