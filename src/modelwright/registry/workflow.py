"""How a request that a version take an alias goes its way, as a pure state machine.

    asked ──> judging ──> waiting ──> applied
       │         │           │
       └─────────┴───────────┴──────> refused (gates, rejected, withdrawn, expired, superseded)

It is *judging* while gates are still to be run where their libraries are, and *waiting* while people have to approve.
What is not needed is skipped, so that a request without gates and approvals is applied as it is asked. At its last
approval the policy of then counts, light gates are run anew, and full ones if another version became champion or the
policy names new ones: so it may be judging, or waiting, again.
``happened`` tells the events of each step from the request before and after it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from modelwright.context import is_person
from modelwright.errors import Conflict, Forbidden, Refused
from modelwright.events import (
    Event,
    GateResult,
    TransitionApproved,
    TransitionJudged,
    TransitionRefused,
    TransitionRequested,
)
from modelwright.project import GatePolicy
from modelwright.registry.entities import Document

Why = Literal["gates", "rejected", "withdrawn", "expired", "superseded"]
NOT_RUN = "was not run: overridden"


class Approval(BaseModel):
    """That somebody approved a request."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    actor: str
    at: datetime
    comment: str = ""


class TransitionRequest(Document):
    """A request that a version take an alias, with all that came of it.

    Attributes:
        model: the name of the model when this changed last.
        why: what ended it, if it was refused.
        on_behalf_of: who asked for the training that asks for it.
        reason: what who asked for it wrote.
        forced: whether a no of gates, or missing approvals, were overridden.
        results: what the gates said.
        pending: gates that are still to be run.
        champion: the version that was champion when the gates were run.
        needed: how many people have to approve.
        people: whether an identity provider has to vouch for them, and for who asks.
        expires: when it is refused if it was not decided by then.
        decided_by: who applied or refused it.
        decision: what they wrote.
        body: digest of what was asked, to know the same request again.
    """

    request_id: str
    model: str
    version: int
    alias: str
    state: Literal["judging", "waiting", "applied", "refused"] = "judging"
    why: Literal["", Why] = ""
    at: datetime
    actor: str
    on_behalf_of: str = ""
    reason: str = ""
    forced: bool = False
    results: tuple[GateResult, ...] = ()
    pending: tuple[str, ...] = ()
    champion: int | None = None
    needed: int = 0
    people: bool = False
    approvals: tuple[Approval, ...] = ()
    expires: datetime
    decided: datetime | None = None
    decided_by: str = ""
    decision: str = ""
    body: str = ""

    @property
    def open(self) -> bool:
        """Whether it is not decided yet."""
        return self.state in ("judging", "waiting")

    @property
    def missing(self) -> int:
        """How many more people have to approve."""
        return max(0, self.needed - len(self.approvals))

    @property
    def place(self) -> str:
        """What it is about, as ``RegisteredModel.open`` has it."""
        return f"{self.alias} {self.version}"

    @property
    def what(self) -> str:
        """The request in words."""
        return f"request {self.request_id} (alias {self.alias} for {self.model} v{self.version})"

    @property
    def reasons(self) -> str:
        """Why it was refused, everything at once."""
        if self.why == "gates":
            return "; ".join(f"{result.gate}: {result.text}" for result in self.results if not result.passed)
        return f"{self.why} by {self.decided_by}" + (f": {self.decision}" if self.decision else "")

    def shown(self) -> dict[str, Any]:
        """Return what callers see of it."""
        return {**self.model_dump(mode="json", exclude={"body"}), "missing": self.missing}

    def overdue(self, now: datetime) -> bool:
        """Say whether it has waited too long."""
        return self.open and now >= self.expires

    def settled(self, at: datetime, actor: str) -> Self:
        """Return it in the state that follows from its gates' results and its approvals."""
        if self.forced:
            return self._decided("applied", at, actor)
        if self.pending:
            return self.model_copy(update={"state": "judging"})
        if not all(result.passed for result in self.results):
            return self._decided("refused", at, actor, why="gates")
        return self.model_copy(update={"state": "waiting"}) if self.missing else self._decided("applied", at, actor)

    def judged(self, results: Sequence[GateResult], pending: Sequence[str], champion: int | None) -> Self:
        """Return it with what gates said; ``pending`` are those that are still to be run."""
        return self.model_copy(update={"results": tuple(results), "pending": tuple(pending), "champion": champion})

    def approved(self, actor: str, at: datetime, comment: str) -> Self:
        """Return it with an approval; somebody's second one changes nothing.

        Raises:
            Forbidden: who asked cannot approve.
            Conflict: it is decided, or its gates are still to be run.
        """
        if any(approval.actor == actor for approval in self.approvals):
            return self
        self._must_be_open()
        if actor in (self.actor, self.on_behalf_of):
            raise Forbidden(f"{actor} asked for {self.what}, so somebody else has to approve it")
        if self.people and not is_person(actor):
            raise Forbidden(f"{self.what} is approved by people whom an identity provider vouches for, not by {actor}")
        if self.state == "judging":
            raise Conflict(f"{self.what} cannot be approved yet: {', '.join(self.pending)} are still to be run")
        return self.model_copy(update={"approvals": (*self.approvals, Approval(actor=actor, at=at, comment=comment))})

    def by_people(self) -> Self:
        """Return it with the approvals of those alone whom an identity provider vouches for."""
        known = tuple(approval for approval in self.approvals if is_person(approval.actor))
        return self.model_copy(update={"people": True, "approvals": known})

    def ended(self, why: Why, at: datetime, actor: str, reason: str = "") -> Self:
        """Return it refused, for another reason than gates; raises ``Conflict`` if it is decided."""
        self._must_be_open()
        return self._decided("refused", at, actor, why=why, reason=reason)

    def expired(self) -> Self:
        """Return it refused because nobody decided it in time."""
        return self.ended(
            "expired", self.expires, "platform", f"nobody decided it by {self.expires:%Y-%m-%d %H:%M} UTC"
        )

    def must_not_be_refused(self) -> None:
        """Raise ``Refused``, with every reason, if it was refused."""
        if self.state == "refused":
            asked = f"{self.model} v{self.version} was refused the alias {self.alias}"
            raise Refused(f"{asked} (request {self.request_id}): {self.reasons}")

    def _must_be_open(self) -> None:
        if not self.open:
            outcome = "was applied" if self.state == "applied" else f"was refused ({self.reasons})"
            raise Conflict(f"{self.what} is decided: it {outcome}")

    def _decided(
        self, state: Literal["applied", "refused"], at: datetime, actor: str, *, why: str = "", reason: str = ""
    ) -> Self:
        end = {"state": state, "why": why, "decided": at, "decided_by": actor, "decision": reason}
        return self.model_copy(update=end)


def asked(
    request: TransitionRequest,
    results: Sequence[GateResult],
    pending: Sequence[str],
    policy: GatePolicy,
    *,
    guarded: bool,
    force: bool,
) -> TransitionRequest:
    """Return a request as it is once it was asked.

    Args:
        request: who asks for what, and why.
        results: what gates said at once.
        pending: gates that are still to be run; an override does not wait for them.
        policy: how many have to approve, and how long it waits.
        guarded: whether the policy is about its alias.
        force: whether the caller overrides what is against it.
    """
    needed = policy.approvals_for(request.alias) if guarded else 0
    forced = force and (needed > 0 or bool(pending) or not all(result.passed for result in results))
    skipped = tuple(GateResult(gate=gate, passed=False, text=f"{gate} {NOT_RUN}") for gate in pending) if forced else ()
    return request.model_copy(
        update={
            "results": (*results, *skipped),
            "pending": () if forced else tuple(pending),
            "needed": needed,
            "people": needed > 0 and policy.approvers == "people",
            "forced": forced,
            "expires": request.at + timedelta(days=policy.waits_days),
        }
    ).settled(request.at, request.actor)


def happened(before: TransitionRequest | None, after: TransitionRequest) -> tuple[Event, ...]:
    """Return the events of a step, but for the change of the alias itself (``before`` None: it was just asked)."""
    it: dict[str, Any] = {
        "request_id": after.request_id, "model": after.model, "version": after.version, "alias": after.alias,
    }  # fmt: skip
    refused = after.state == "refused" and (before is None or before.open)
    events: list[Event] = []
    if before is None:
        told = after.results if after.open else ()
        events.append(
            TransitionRequested(**it, reason=after.reason, pending=after.pending, approvals=after.needed, results=told)
        )
    else:
        if len(after.approvals) > len(before.approvals):
            events.append(TransitionApproved(**it, approvals=len(after.approvals), needed=after.needed))
        if not refused and _verdict(after) != _verdict(before):
            events.append(TransitionJudged(**it, results=after.results, champion=after.champion, pending=after.pending))
    if refused:
        why: Any = after.why
        events.append(TransitionRefused(**it, results=after.results, why=why, reason=after.decision))
    return tuple(events)


def _verdict(request: TransitionRequest) -> tuple[Any, ...]:
    return request.results, request.pending, request.champion
