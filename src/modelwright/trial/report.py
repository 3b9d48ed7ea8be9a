"""What came of a rehearsal, as Markdown that a pull request shows."""

from collections.abc import Iterator, Sequence

from modelwright.events import Estimate, Evaluation
from modelwright.trial.rehearsal import AFTERWARDS, Rehearsal

MARKER = "<!-- modelwright check -->"
"""The first line of a report, which nobody sees and by which its comment is found again."""


def markdown(rehearsals: Sequence[Rehearsal]) -> str:
    """Return the report: of each model a heading that says how it went, the comparison, and what each gate said."""
    parts = [(*_heading(found), *_comparison(found), *_gates(found), *_rest(found)) for found in rehearsals]
    return "\n".join([MARKER, *(line for part in parts for line in part)]) + "\n"


def _heading(found: Rehearsal) -> Iterator[str]:
    if found.passed:
        verdict = f"passes the gates of {found.environment}"
    elif found.completed is None:
        verdict = "gave no model"
    elif found.refusals:
        verdict = f"is refused by {len(found.refusals)} of {len(found.results)} gates of {found.environment}"
    else:
        verdict = "was tried on a sample that quality checks held back in part"
    yield f"### {'✅' if found.passed else '❌'} {found.model} {verdict}"
    yield ""
    if found.reason:
        yield f"{_cell(found.reason)}\n"


def _comparison(found: Rehearsal) -> Iterator[str]:
    if found.completed is None:
        return
    evaluation = found.completed.evaluation
    yield f"| metric | {_cell(found.rival) or 'champion'} | candidate | difference (95 % interval) |"
    yield "|---|---|---|---|"
    if evaluation.challenger_auc is not None:
        yield _row("AUC, higher is better", _interval(evaluation.champion_auc), _interval(evaluation.challenger_auc),
                   evaluation.auc_difference)  # fmt: skip
        yield _row("Brier score, lower is better", _figure(evaluation.champion_brier),
                   _figure(evaluation.challenger_brier), evaluation.brier_difference)  # fmt: skip
    for name in sorted(set(evaluation.metrics) & {"mae", "rmse"}):
        yield _row(f"{name.upper()}, lower is better", _interval(evaluation.champion_metrics.get(name)),
                   _interval(evaluation.metrics[name]), evaluation.differences.get(name))  # fmt: skip
    yield ""
    yield _footing(found, evaluation)
    yield ""


def _footing(found: Rehearsal, evaluation: Evaluation) -> str:
    completed = found.completed
    assert completed is not None
    days = f"{evaluation.window.start:%Y-%m-%d} to {evaluation.window.end:%Y-%m-%d}"
    unseen = "which neither had seen" if evaluation.champion_auc else "which it had not seen"
    sample = f"{completed.rows:,} labelled rows in all, data `{completed.dataset_digest[:12]}`"
    return f"On {evaluation.rows:,} rows of the sample, {days} UTC, {unseen}; {sample}, {completed.seconds:.1f} s."


def _gates(found: Rehearsal) -> Iterator[str]:
    if not found.results:
        return
    yield "| gate | verdict | why |"
    yield "|---|---|---|"
    for result in found.results:
        word = "passed" if result.passed else "later" if result.gate in AFTERWARDS else "**refused**"
        yield f"| {result.gate} | {word} | {_cell(result.text)} |"
    yield ""


def _rest(found: Rehearsal) -> Iterator[str]:
    if found.held:
        yield "Held back by quality checks:"
        yield from (f"- {_cell(line)}" for line in found.held)
        yield ""
    if found.notes:
        yield "Not compared with:"
        yield from (f"- {_cell(line)}" for line in found.notes)
        yield ""


def _row(name: str, champion: str, candidate: str, difference: Estimate | None) -> str:
    said = _interval(difference, sign="+") if difference else "not compared"
    return f"| {name} | {champion} | {candidate} | {said} |"


def _interval(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "none"
    return f"{estimate.value:{sign}.4f} [{estimate.low:{sign}.4f}, {estimate.high:{sign}.4f}]"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _cell(text: str) -> str:
    """Return text that stays in its cell, and is text: it may hold what a stranger's code printed."""
    plain = " ".join(text.split())
    for mark in "\\`|*_[]~#":
        plain = plain.replace(mark, "\\" + mark)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
