"""A challenger's way into production: started by an alias, judged on realised labels, ended by evidence.

Everything that arrives first changes what is *known* (aliases, versions, evidence); ``start_what_waits``
and ``commit`` of ``_Change`` then bring rollout and routes in line with it, whatever order deliveries came
in. Of each challenger alias one rollout is made, at the first step, once there is a champion to compare
with. While one is active a newer challenger **waits** for its end: a canary that every newer one could cut
short would never finish, and two at once would split the labels that both need.

A step is passed when enough labelled rows came at it and the judge saw no harm. After the last step
below 100 % the challenger is promoted at once: at 100 % nobody else answers, so labels would say
nothing about the difference that the 50 % step did not, and monitoring watches every champion anyway.
Harm ends a rollout at any time. Labels of a window in which a feeding source is in quarantine are
evidence of harm but let no step pass.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright import plugins
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import (
    AliasChanged,
    Comparison,
    Delivery,
    Event,
    ModelVersionCreated,
    PerformanceMeasured,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
    Route,
    RoutesChanged,
)
from modelwright.log import Happened, Log, new_id, stream_of
from modelwright.project import RolloutPolicy, load_current
from modelwright.rollout.judging import Judge, Sums, Verdict
from modelwright.rollout.store import (
    Alias,
    Batch,
    Rollout,
    Traffic,
    Version,
    all_traffic,
    history,
    load_traffic,
    load_versions,
    put_ended,
    put_traffic,
    put_version,
)
from modelwright.storage import Tables

Judges = Callable[[str], Judge]
"""Returns a judge by name; raises ``PluginError``."""

_WHOLE = 100


class Abort(BaseModel):
    """A person's order to end a rollout."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    reason: str


class Shadows(BaseModel):
    """Versions that score everything and answer nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    versions: tuple[int, ...]


def judge(name: str) -> Judge:
    """Return the installed judge of that name; raises ``PluginError``."""
    made: Judge = plugins.load("judges", name)()
    return made


def policy_of(call: Call, model: str, *, tables: Tables) -> RolloutPolicy:
    """Return the model's policy, or the default for a model that no project declares."""
    try:
        return load_current(tables, call.workspace).model(model).rollout
    except NotFound:
        return RolloutPolicy()


def follow_version(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember where a new version's artifacts lie."""
    event: ModelVersionCreated = delivery.event
    version = Version(
        model=event.model,
        version=event.version,
        artifact_key=event.artifact_key,
        features=event.features,
        artifact_digest=event.artifact_digest,
    )
    log.commit(call, (), [put_version(call.workspace, version)], delivery=delivery, table="rollout")


def follow_alias(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Take over what an alias says, unless a later word of the registry arrived before."""
    event: AliasChanged = delivery.event
    before = load_traffic(tables, call.workspace, event.model)
    known = {"champion": before.champion, "challenger": before.challenger}.get(event.alias)
    word = f"{delivery.envelope.stream}#{delivery.envelope.sequence:012}"
    if known is None or known.word >= word:
        return
    alias = Alias(version=event.version, word=word)
    change = _Change(call, before.having(**{event.alias: alias}), policy_of(call, event.model, tables=tables))
    if event.alias == "champion":
        change.champion_moved()
    elif event.version is None and before.rollout and before.rollout.challenger == event.previous:
        change.roll_back(event.reason or f"the alias challenger was taken from version {event.previous}")
    change.start_what_waits()
    change.commit(before, log, f"alias {event.alias}: version {event.version}", delivery)


def follow_performance(call: Call, delivery: Delivery, *, tables: Tables, log: Log, judges: Judges) -> None:
    """Judge the active rollout on labels that came; each label file counts once."""
    event: PerformanceMeasured = delivery.event
    before = load_traffic(tables, call.workspace, event.model)
    rollout = before.rollout
    policy = policy_of(call, event.model, tables=tables)
    evidence = _evidence(event, rollout, policy) if rollout else None
    if rollout is None or evidence is None:
        return
    batch = Batch(
        labels_key=event.labels_key,
        step=rollout.step,
        rows=evidence.rows,
        total=evidence.total,
        squares=evidence.squares,
    )
    judged = rollout.having(batches=(*rollout.batches, batch))
    verdict = _verdict(judged, policy, judges)
    change = _Change(call, before.having(rollout=judged.having(judgement=verdict.judgement)), policy)
    if verdict.decision == "harm":
        change.roll_back(verdict.text)
    elif verdict.decision == "pass" and not event.quarantined:
        change.advance()
    change.start_what_waits()
    change.commit(before, log, verdict.text, delivery)


def abort(call: Call, model: str, order: Abort, *, tables: Tables, log: Log) -> dict[str, Any]:
    """End the active rollout by hand; raises ``NotFound`` when there is none."""
    call.authorise("rollouts:control", f"rollout/{model}")
    before = load_traffic(tables, call.workspace, model)
    if before.rollout is None:
        raise NotFound(f"model {model} has no active rollout")
    if not order.reason.strip():
        raise InvalidInput("reason: say why the rollout is aborted")
    change = _Change(call, before, policy_of(call, model, tables=tables))
    change.roll_back(f"aborted by {call.actor}: {order.reason}")
    change.start_what_waits()
    change.commit(before, log, f"aborted: {order.reason}")
    return _shown(change.traffic)


def set_shadows(call: Call, model: str, order: Shadows, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Say which versions score everything beside those that answer; raises ``NotFound`` for an unknown one."""
    call.authorise("rollouts:control", f"rollout/{model}")
    before = load_traffic(tables, call.workspace, model)
    wanted = tuple(sorted(set(order.versions)))
    known = load_versions(tables, call.workspace, model, wanted)
    if missing := [str(number) for number in wanted if number not in known]:
        raise NotFound(f"model {model} has no version {', '.join(missing)}")
    change = _Change(call, before.having(shadows=wanted), policy_of(call, model, tables=tables))
    change.commit(before, log, f"shadows set by {call.actor}")
    return _shown(change.traffic)


def show(call: Call, model: str, *, tables: Tables) -> dict[str, Any]:
    """Return routes, the active rollout with its evidence, and the history; raises ``NotFound``."""
    call.authorise("rollouts:read", f"rollout/{model}")
    traffic = load_traffic(tables, call.workspace, model)
    if not traffic.v:
        raise NotFound(f"model {model} has no routes: no version of it is champion or challenger yet")
    ended = history(tables, call.workspace, model)
    return {**_shown(traffic), "history": [rollout.model_dump(mode="json") for rollout in ended]}


def expire(call: Call, *, tables: Tables, log: Log) -> None:
    """Abort rollouts that found no end within their policy's ``max_days``."""
    for before in all_traffic(tables, call.workspace):
        policy = policy_of(call, before.model, tables=tables)
        rollout = before.rollout
        if rollout is not None and call.now - rollout.started > timedelta(days=policy.max_days):
            change = _Change(call, before, policy)
            change.roll_back(f"no end after {policy.max_days} days, {rollout.judgement.rows} labelled rows")
            change.start_what_waits()
            change.commit(before, log, "the rollout took too long")


class _Change:
    """Traffic on its way to a new state, with the events and writes that belong to it."""

    def __init__(self, call: Call, traffic: Traffic, policy: RolloutPolicy) -> None:
        self.call = call
        self.traffic = traffic
        self.policy = policy
        self.events: list[Event] = []
        self.ended: list[Rollout] = []

    def champion_moved(self) -> None:
        """End the active rollout if its challenger is champion now, or what it is compared with no longer is."""
        rollout, champion = self.traffic.rollout, self.traffic.champion.version
        if rollout is None or champion == rollout.champion:
            return
        if champion == rollout.challenger:
            self.promote("made champion by the registry")
        else:
            self.roll_back(f"its champion, version {rollout.champion}, gave way to {champion or 'no version'}")

    def start_what_waits(self) -> None:
        """Begin the rollout of a challenger that has had none, if there is a champion and no other is active."""
        traffic = self.traffic
        champion, challenger = traffic.champion.version, traffic.challenger
        if traffic.rollout or champion is None or challenger.version is None or challenger.word <= traffic.taken:
            return
        self.traffic = traffic.having(taken=challenger.word)
        if challenger.version == champion:
            return
        rollout = Rollout(
            rollout_id=new_id(self.call.now),
            model=traffic.model,
            challenger=challenger.version,
            champion=champion,
            step=0,
            started=self.call.now,
        )
        salt = f"{rollout.model} v{rollout.challenger}"  # the same replay routes the same rows
        self.traffic = self.traffic.having(rollout=rollout, salt=salt)
        event = RolloutStarted(
            rollout_id=rollout.rollout_id,
            model=rollout.model,
            challenger=rollout.challenger,
            champion=rollout.champion,
            percent=self.policy.steps[0],
        )
        self.events.append(event)
        if self.policy.steps[0] >= _WHOLE:
            self.promote("the policy has no canary")

    def advance(self) -> None:
        """Go to the next step; the one of 100 % is the promotion."""
        rollout = self._active()
        step = rollout.step + 1
        if step >= len(self.policy.steps) or self.policy.steps[step] >= _WHOLE:
            self.promote("passed its last step")
            return
        self.traffic = self.traffic.having(rollout=rollout.having(step=step))
        event = RolloutStepped(
            rollout_id=rollout.rollout_id,
            model=rollout.model,
            percent=self.policy.steps[step],
            judgement=rollout.judgement,
        )
        self.events.append(event)

    def promote(self, reason: str) -> None:
        """End the rollout; the challenger answers everything from now on, and the registry will follow."""
        rollout = self._active()
        event = RolloutPromoted(
            rollout_id=rollout.rollout_id,
            model=rollout.model,
            challenger=rollout.challenger,
            champion=rollout.champion,
            judgement=rollout.judgement,
        )
        champion = self.traffic.champion.having(version=rollout.challenger)
        self._end(rollout.having(status="promoted", reason=reason), event, champion)

    def roll_back(self, reason: str) -> None:
        """End the rollout; the champion answers everything again."""
        rollout = self._active()
        event = RolloutRolledBack(
            rollout_id=rollout.rollout_id,
            model=rollout.model,
            challenger=rollout.challenger,
            champion=rollout.champion,
            reason=reason,
            judgement=rollout.judgement,
        )
        self._end(rollout.having(status="rolled_back", reason=reason), event, self.traffic.champion)

    def commit(self, before: Traffic, log: Log, reason: str, delivery: Delivery | None = None) -> None:
        """Write the new state with its events, and ``RoutesChanged`` if they did."""
        routes = routes_of(self.traffic, self.policy)
        if routes != before.routes:
            self.events.append(RoutesChanged(model=before.model, routes=routes, reason=reason))
        self.traffic = self.traffic.having(routes=routes)
        stream = stream_of(self.call.workspace, "ROLLOUT", before.model)
        writes = [put_traffic(self.call.workspace, self.traffic)]
        writes += [put_ended(self.call.workspace, rollout) for rollout in self.ended]
        log.commit(self.call, [Happened(stream, e) for e in self.events], writes, delivery=delivery, table="rollout")

    def _active(self) -> Rollout:
        assert self.traffic.rollout is not None
        return self.traffic.rollout

    def _end(self, rollout: Rollout, event: Event, champion: Alias) -> None:
        self.events.append(event)
        self.ended.append(rollout.having(ended=self.call.now))
        self.traffic = self.traffic.having(rollout=None, champion=champion)


def routes_of(traffic: Traffic, policy: RolloutPolicy) -> tuple[Route, ...]:
    """Return the routes that follow from champion, rollout and shadows; none without a champion."""
    champion, rollout = traffic.champion.version, traffic.rollout
    if champion is None:
        return ()
    share = policy.steps[min(rollout.step, len(policy.steps) - 1)] if rollout else 0
    routes = [Route(version=champion, role="champion", percent=_WHOLE - share)]
    shadows = set(traffic.shadows)
    if rollout:
        routes.append(Route(version=rollout.challenger, role="canary", percent=share))
        shadows |= {rollout.challenger} if policy.shadow else set()
    routes += [Route(version=n, role="shadow", percent=0) for n in sorted(shadows - {champion})]
    return tuple(routes)


def _evidence(event: PerformanceMeasured, rollout: Rollout, policy: RolloutPolicy) -> Comparison | None:
    """Return what a label file says about the rollout's pair, unless it counted before or is older than the rollout."""
    counted = any(batch.labels_key == event.labels_key for batch in rollout.batches)
    if counted or event.window.end <= rollout.started:
        return None
    pairs = event.comparisons if policy.shadow else event.canary_comparisons
    ours = (rollout.challenger, rollout.champion)
    return next((pair for pair in pairs if (pair.challenger, pair.champion) == ours and pair.rows), None)


def _verdict(rollout: Rollout, policy: RolloutPolicy, judges: Judges) -> Verdict:
    rows, total, squares = (
        sum(batch.rows for batch in rollout.batches),
        sum(batch.total for batch in rollout.batches),
        sum(batch.squares for batch in rollout.batches),
    )
    step_rows = sum(batch.rows for batch in rollout.batches if batch.step == rollout.step)
    looks = sum(1 for percent in policy.steps if percent < _WHOLE)
    return judges(policy.judge).judge(Sums(rows, total, squares), step_rows=step_rows, looks=looks, policy=policy)


def _shown(traffic: Traffic) -> dict[str, Any]:
    active = traffic.rollout.model_dump(mode="json") if traffic.rollout else None
    waiting = traffic.challenger.version if traffic.challenger.word > traffic.taken else None
    return {
        "model": traffic.model,
        "routes": [route.model_dump() for route in traffic.routes],
        "champion": traffic.champion.version,
        "waiting": waiting,
        "rollout": active,
    }
