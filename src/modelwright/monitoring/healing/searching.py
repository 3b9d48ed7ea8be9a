"""Looks for the one repair, or sequence of repairs, after which a file passes quality.

Every repair's proposals are tried on the file and judged by the checks that held it back. If some pass, those that hold
fewest rows back count, and exactly one of them must be what its rule calls sure; what comes to the same rows in
two ways is one. If none passes, whatever made more of it readable or removed a finding is tried with further ones, for
damages may be several. When two repairs are plausible, or none, nothing is done: a person is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from modelwright.errors import InvalidInput, PluginError
from modelwright.events import Finding
from modelwright.monitoring.healing.logs import Step, compared, digest, undone
from modelwright.monitoring.healing.repairs import Damaged, Proposal, Repair

LONGEST = 5
"""Repairs in a sequence."""
MOST = 48
"""Files that are tried for one that is held back."""


@dataclass(frozen=True)
class Verdict:
    """What quality says of a file.

    Attributes:
        passes: whether it goes on.
        held: how many of its rows would be held back.
        findings: what is wrong with it.
        content: digest of its rows, whatever file holds them; empty where it cannot be read.
    """

    passes: bool
    held: int
    findings: tuple[Finding, ...]
    content: str = ""

    @property
    def faults(self) -> frozenset[tuple[str, str]]:
        """What blocks it: checks and their columns."""
        return frozenset((one.check, one.column) for one in self.findings if one.severity == "block")


Judge = Callable[[bytes], Verdict]


@dataclass(frozen=True)
class Candidate:
    """A file that one or more repairs made of what is held back.

    Attributes:
        rules: ``name@version`` of each, in order.
        texts: what each did.
        steps: what each changed; its inverse, too, for a CSV file.
        sure: whether all of them are.
        read: how many declared columns can be found in it; one more where its rows can be read, -1: it is no text.
    """

    body: bytes
    rules: tuple[str, ...]
    texts: tuple[str, ...]
    steps: tuple[Step, ...]
    sure: bool
    verdict: Verdict
    read: int

    def better(self, than: "Candidate") -> bool:
        """Say whether more of it can be read, or more of its cells, or less is wrong with it and nothing else.

        What cannot be read nobody can judge, so that when it is read another fault may show.
        """
        if self.read != than.read:
            return self.read > than.read
        mine, theirs = self.verdict.faults, than.verdict.faults
        return mine < theirs or _of_cells(mine) < _of_cells(theirs)

    @property
    def text(self) -> str:
        """The repair in one line."""
        return "; then ".join(f"{rule}: {text}" for rule, text in zip(self.rules, self.texts, strict=True))


def _of_cells(faults: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset(fault for fault in faults if fault[0] in ("type", "rows", "malformed"))


@dataclass(frozen=True)
class Search:
    """What was found.

    Attributes:
        one: the repair that is the only plausible one; None: somebody has to be asked.
        plausible: all that let the file pass, the best first.
        reason: why it is not one.
    """

    one: Candidate | None
    plausible: tuple[Candidate, ...]
    reason: str


def search(damaged: Damaged, repairs: Sequence[Repair], judge: Judge) -> Search:
    """Look for the one repair of a file."""
    if not repairs:
        return Search(None, (), "its source lets nothing be repaired without one (healing.rules is empty)")
    held = judge(damaged.body)
    known = replace(held, findings=tuple(dict.fromkeys((*damaged.findings, *held.findings))))
    nothing = Candidate(damaged.body, (), (), (), True, known, _read(damaged, known))
    open_ones, tried, best = [nothing], {digest(damaged.body)}, nothing
    for _ in range(LONGEST):
        found = [each for one in open_ones for each in _further(one, damaged, repairs, judge, tried)]
        if passing := [one for one in found if one.verdict.passes]:
            return _chosen(_different(passing), damaged.body)
        open_ones = found
        best = min((best, *open_ones), key=lambda one: (-one.read, len(one.verdict.faults)))
        if not open_ones or len(tried) >= MOST:
            break
    return Search(None, (), _short_of(best))


def _short_of(best: Candidate) -> str:
    """Return why nothing passes: what the best repair would leave."""
    if not best.rules:
        return "no rule makes it pass"
    left = "; ".join(finding.text for finding in best.verdict.findings if finding.severity == "block")
    return f"no rule makes it pass: {' and '.join(best.rules)} would leave that {left}"


def _further(
    one: Candidate, damaged: Damaged, repairs: Sequence[Repair], judge: Judge, tried: set[str]
) -> list[Candidate]:
    now = replace(damaged, body=one.body, findings=one.verdict.findings)
    found: list[Candidate] = []
    for repair in repairs:
        for proposal in _proposed(repair, now):
            if len(tried) >= MOST:
                return found
            candidate = _tried(one, now, repair, proposal, judge, tried)
            if candidate is not None and (candidate.verdict.passes or candidate.better(one)):
                found.append(candidate)
    return found


def _proposed(repair: Repair, damaged: Damaged) -> Sequence[Proposal]:
    try:
        return repair.propose(damaged)
    except Exception as error:  # a team's repair may raise anything, and what is held back must not hang for it
        raise PluginError(f"the repair {repair.name} failed: {type(error).__name__}") from error


def _tried(
    one: Candidate, now: Damaged, repair: Repair, proposal: Proposal, judge: Judge, tried: set[str]
) -> Candidate | None:
    body = proposal.sheet.body()
    if (name := digest(body)) in tried:
        return None
    tried.add(name)
    before = proposal.before or now.sheet
    assert before is not None, "a file that cannot be read is proposed with how it was read"
    rule = f"{repair.name}@{repair.version}"
    step = compared(
        before, proposal.sheet, rule, proposal.text, taken=proposal.taken, forward=dict(proposal.forward)
    )  # fmt: skip
    verdict = judge(body)
    return Candidate(
        body=body,
        rules=(*one.rules, rule),
        texts=(*one.texts, proposal.text),
        steps=(*one.steps, step),
        sure=one.sure and proposal.sure,
        verdict=verdict,
        read=_read(replace(now, body=body), verdict),
    )


def _read(damaged: Damaged, verdict: Verdict) -> int:
    if damaged.sheet is None:
        return -1
    return len(damaged.source.columns) - len(damaged.missing) + bool(verdict.content)


def _different(passing: Sequence[Candidate]) -> list[Candidate]:
    """Return one of each content, a sure one if there is one, of those that hold fewest rows back."""
    least = min(one.verdict.held for one in passing)
    found: dict[str, Candidate] = {}
    for one in sorted(passing, key=lambda each: (not each.sure, len(each.rules))):
        if one.verdict.held == least:
            found.setdefault(one.verdict.content, one)
    return list(found.values())


def _chosen(plausible: Sequence[Candidate], original: bytes) -> Search:
    """Choose the one that is sure: a guess beside it does not count, a second one does."""
    sure = [one for one in plausible if one.sure]
    if len(sure) != 1:
        several = f"{len(sure) or len(plausible)} repairs are plausible"
        return Search(None, tuple(plausible), several if len(plausible) > 1 else "the one repair that fits is a guess")
    one = sure[0] if reversible(sure[0], original) else None
    return Search(one, tuple(plausible), "" if one else "the repair cannot be taken back to the byte")


def reversible(one: Candidate, original: bytes) -> bool:
    """Say whether the original follows from a repaired file: it is tried, where the original is no Parquet."""
    if original[:4] == b"PAR1":
        return True
    try:
        return undone(one.steps, one.body) == original
    except (InvalidInput, ValueError, UnicodeError):
        return False
