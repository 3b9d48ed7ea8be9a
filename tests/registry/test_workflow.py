"""Requests by the doors, in any order, against a simple model of what should become of them; and laws of a step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from support.mlflow_desk import API

from modelwright import plugins
from modelwright.errors import ModelwrightError
from modelwright.events import GateResult
from modelwright.project import GatePolicy
from modelwright.registry.workflow import TransitionRequest, asked, happened
from registry import panel
from registry.panel import ROLES, START, Panel

APPROVERS = {who for who, role in ROLES.items() if role in ("approver", "admin")}
GUARDED = ("champion", "challenger")


@pytest.fixture(autouse=True, scope="module")
def installed_gates() -> Iterator[None]:
    """The package under test may run from its source tree, which has no entry points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "entry_points", panel.entry_points)
        yield


@dataclass(eq=False)
class Simple:
    """A request as a person would keep it in mind."""

    version: int
    alias: str
    actor: str
    at: datetime
    champion: int | None
    needed: int
    state: str = "judging"
    approvals: set[str] = field(default_factory=set)
    request_id: str = ""


class Requests(RuleBasedStateMachine):
    """What people do, told to the platform and to the simple model."""

    made: Bundle[Simple] = Bundle("made")

    @initialize(
        gates=st.sampled_from([[], ["light"], ["compares"], ["compares", "slow"], ["light", "slow"]]),
        approvals=st.sampled_from([0, 1, 1, 2]),
        approve=st.sampled_from([[], ["champion"], ["challenger"]]),
    )
    def policy(self, gates: list[str], approvals: int, approve: list[str]) -> None:
        said = {"gates": gates, "approvals": approvals, "approve": approve, "waits_days": 3}
        self.desk = Panel(policy=said, versions=9, times=2)
        self.gates, self.approvals, self.approve = gates, approvals, approve or GUARDED
        self.requests: list[Simple] = []
        self.aliases: dict[str, int] = {}
        self.versions = set(range(1, 10))
        self.judging: list[Simple] = []

    @rule(
        target=made,
        version=st.sampled_from([1, 2, 3, 4, 8]),
        alias=st.sampled_from(["champion", "challenger", "champion", "challenger", "blue"]),
        actor=st.sampled_from(["ann", "ann", "bob", "eve", "ron"]),
        force=st.sampled_from([False, False, True]),
    )
    def ask(self, version: int, alias: str, actor: str, force: bool) -> Any:
        expected, new = self._asked(version, alias, actor, force)
        event = self.desk.asks(version, alias, actor, force=force, reason="because")
        status, said = self.desk.send(event)
        assert (status, said) == self.desk.send(event)
        assert status == expected, said
        if new is None:
            return multiple()
        new.request_id = self.desk.events()[-1].envelope.data.get("request_id") or self._newest(new)
        return new

    @rule(request=made, actor=st.sampled_from(["bob", "cid", "eve", "ann"]))
    def approves(self, request: Simple, actor: str) -> None:
        event = self.desk.does("approve", request.request_id, actor)
        expected = self._approved(request, actor)
        for _ in range(2):
            assert self.desk.send(event)[0] == expected
            expected = 409 if request.state == "refused" and expected == 200 else expected

    @rule(request=made, actor=st.sampled_from(["bob", "eve", "ann"]))
    def rejects(self, request: Simple, actor: str) -> None:
        self._ended(request, "reject", actor, allowed=actor in APPROVERS)

    @rule(request=made, actor=st.sampled_from(["ann", "bob", "eve", "ron"]))
    def withdraws(self, request: Simple, actor: str) -> None:
        self._ended(request, "withdraw", actor, allowed=actor in (request.actor, "eve") and actor != "ron")

    @rule()
    def gates_are_run(self) -> None:
        self.desk.publish()
        for request in self.judging:
            if request.state == "judging":
                self._judged(request, full=True)
        self.judging = []

    @rule(days=st.sampled_from([0.5, 1]))
    def time_goes_by(self, days: float) -> None:
        self.desk.pass_days(days)

    @rule()
    def the_schedule_comes(self) -> None:
        self.desk.registry(self.desk.due())
        for request in self.requests:
            self._expired(request)

    @rule(version=st.sampled_from([1, 2]))
    def a_version_is_deleted(self, version: int) -> None:
        body = {"name": "flights", "version": str(version)}
        self.desk.send(self.desk.said("DELETE", f"{API}/model-versions/delete", body, "eve"))
        self.versions.discard(version)
        self.aliases = {alias: number for alias, number in self.aliases.items() if number != version}
        for request in self.requests:
            if request.version == version and request.state in ("judging", "waiting"):
                request.state = "refused"

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "desk"):
            return
        self.desk.check()
        meta = self.desk.document("META")
        assert meta["aliases"] == self.aliases
        told = {each["request_id"]: each for each in self.desk.documents("REQUEST#")}
        assert len(told) == len(self.requests)
        for request in self.requests:
            found = told[request.request_id]
            assert (found["state"], {a["actor"] for a in found["approvals"]}) == (request.state, request.approvals)

    # --- the simple model ---------------------------------------------------------------

    def _asked(self, version: int, alias: str, actor: str, force: bool) -> tuple[int, Simple | None]:
        if actor == "ron":
            return 403, None
        if version not in self.versions:
            return 404, None
        if self.aliases.get(alias) == version:
            return 200, None
        if force and actor != "eve":
            return 403, None
        guarded = alias in GUARDED
        needed = self.approvals if alias in self.approve else 0
        new = Simple(version, alias, actor, self.desk.now, self.aliases.get("champion"), needed)
        against = guarded and ("slow" in self.gates or not self._says_yes(new, full=False))
        forced = force and (against or needed > 0)
        for other in self.requests:
            if (other.version, other.alias) == (version, alias) and other.state in ("judging", "waiting"):
                self._expired(other)
                if other.state != "refused" and not forced:
                    return 409, None
                other.state = "refused"
        self.requests.append(new)
        if forced or not guarded:
            self._applied(new)
        else:
            self._judged(new, full=False)
        return {"applied": 200, "refused": 409}.get(new.state, 202), new

    def _approved(self, request: Simple, actor: str) -> int:
        if actor not in APPROVERS:
            return 403
        self._expired(request)
        if actor not in request.approvals:
            if actor == request.actor and request.state in ("judging", "waiting"):
                return 403
            if request.state != "waiting":
                return 409
            request.approvals.add(actor)
            if len(request.approvals) >= request.needed:
                if request.champion != self.aliases.get("champion"):
                    self._judged(request, full=False)
                else:
                    self._applied(request)
        return 409 if request.state == "refused" else 200

    def _ended(self, request: Simple, verb: str, actor: str, *, allowed: bool) -> None:
        event = self.desk.does(verb, request.request_id, actor, reason="no")
        answers = [self.desk.send(event)[0] for _ in range(2)]
        if not allowed:
            assert answers == [403, 403]
            return
        before = request.state
        self._expired(request)
        if request.state in ("judging", "waiting"):
            request.state = "refused"
            assert answers == [200, 200]
        elif before == "refused":
            assert answers in ([200, 200], [409, 409])  # it is theirs, or somebody else's
        else:
            assert answers == [409, 409]

    def _says_yes(self, request: Simple, *, full: bool) -> bool:
        champion = self.aliases.get("champion")
        names = {gate for gate in self.gates if gate != "slow" or full}
        odd = "compares" in names and champion is not None and champion % 2 == 1
        return not odd and not names & set(panel.REFUSED.get(request.version, ()))

    def _judged(self, request: Simple, *, full: bool) -> None:
        request.champion = self.aliases.get("champion")
        if not full and "slow" in self.gates:
            request.state = "judging"
            self.judging.append(request)
        elif not self._says_yes(request, full=full):
            request.state = "refused"
        elif len(request.approvals) < request.needed:
            request.state = "waiting"
        else:
            self._applied(request)

    def _applied(self, request: Simple) -> None:
        request.state = "applied"
        self.aliases[request.alias] = request.version
        if request.alias == "champion" and self.aliases.get("challenger") == request.version:
            del self.aliases["challenger"]

    def _expired(self, request: Simple) -> None:
        overdue = self.desk.now >= request.at + timedelta(days=3)
        if overdue and request.state in ("judging", "waiting"):
            request.state = "refused"

    def _newest(self, new: Simple) -> str:
        known = {each.request_id for each in self.requests}
        (found,) = (each["request_id"] for each in self.desk.documents("REQUEST#") if each["request_id"] not in known)
        return str(found)


TestRequests = pytest.mark.filterwarnings("default")(Requests.TestCase)
TestRequests.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, phases=[Phase.generate])


# --- a step alone -------------------------------------------------------------------------

RESULTS = st.lists(
    st.builds(GateResult, gate=st.sampled_from("abc"), passed=st.booleans(), text=st.just("said so")), max_size=3
)
BLANK = TransitionRequest(request_id="r", model="m", version=1, alias="champion", at=START, actor="ann", expires=START)


@given(
    results=RESULTS, pending=st.lists(st.sampled_from("de"), unique=True), needed=st.integers(0, 2), force=st.booleans()
)
def test_nothing_is_applied_but_by_the_gates_and_people_that_it_takes_or_by_force(
    results: list[GateResult], pending: list[str], needed: int, force: bool
) -> None:
    policy = GatePolicy(approvals=needed)
    request = asked(BLANK, results, pending, policy, guarded=True, force=force)
    clear = not pending and needed == 0 and all(result.passed for result in results)
    assert (request.state == "applied") == (clear or force)
    assert request.forced == (force and not clear)
    assert request.open == (request.decided is None)
    assert next(event.detail_type() for event in happened(None, request)) == "TransitionRequested"
    assert not (request.open and not request.pending and not request.missing)


@given(who=st.lists(st.sampled_from(["ann", "bob", "cid", "dot"]), max_size=8))
def test_so_many_different_people_other_than_who_asked_approve(who: list[str]) -> None:
    request = asked(BLANK, (), (), GatePolicy(approvals=2), guarded=True, force=False)
    for actor in who:
        before = request
        try:
            request = request.approved(actor, START, "").settled(START, actor)
        except ModelwrightError:
            assert actor == "ann" or request.state == "applied"
        told = [event.detail_type() for event in happened(before, request)]
        assert told == ["TransitionApproved"] * (len(request.approvals) - len(before.approvals))
    people = list(dict.fromkeys(actor for actor in who if actor != "ann"))
    assert [approval.actor for approval in request.approvals] == people[:2]
    assert (request.state == "applied") == (len(people) >= 2)
