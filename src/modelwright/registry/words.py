"""What happened to a model, in words: one line for each event of its stream, for people.

The console, the command line and the API say the same, because they all ask here. Times and actors are the
envelope's, and stand beside the line, not in it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelwright.events import (
    AliasChanged,
    CardChanged,
    Event,
    GateResult,
    ModelVersionChanged,
    ModelVersionCreated,
    ModelVersionDeleted,
    ModelVersionExported,
    ModelVersionTraced,
    RegisteredModelChanged,
    RegisteredModelCreated,
    TransitionApproved,
    TransitionJudged,
    TransitionRefused,
    TransitionRequested,
)

_SHORT = 12


def words(kind: str, data: Mapping[str, Any]) -> str:
    """Return what happened; an event that belongs to no model, or is of newer code, is told by its name."""
    known = _KINDS.get(kind)
    return _SAY[known](known.model_validate(data)) if known else kind


def _created(event: RegisteredModelCreated) -> str:
    return f"{event.model} was born" + _with("tags", sorted(event.tags))


def _changed(event: RegisteredModelChanged) -> str:
    return {
        "renamed": f"{event.model} was renamed to {event.new_name}",
        "deleted": f"{event.model} was deleted with all its versions",
        "description": f"the description of {event.model} was {'written' if event.proof else 'emptied'}",
        "tag_set": f"the tag {event.key} of {event.model} was set",
        "tag_deleted": f"the tag {event.key} of {event.model} was removed",
    }[event.change]


def _version_created(event: ModelVersionCreated) -> str:
    origin = f"training {event.training_id}" if event.training_id else f"run {event.run_id}" if event.run_id else ""
    origin = f"{event.origin} of another environment" if event.origin else origin
    told = [
        f"from {origin or event.source}",
        f"a copy of {event.copied_from}" if event.copied_from else "",
        f"file {event.artifact_digest[:_SHORT]}" if event.artifact_digest else "",
        f"data {event.dataset_digest[:_SHORT]}" if event.dataset_digest else "",
        f"code {event.code[:_SHORT]}" if event.code else "",
        f"{len(event.features)} features" if event.features else "",
    ]
    return f"v{event.version} was made " + ", ".join(part for part in told if part)


def _traced(event: ModelVersionTraced) -> str:
    told = [
        f"code {event.code[:_SHORT]}" if event.code else "",
        f"data {', '.join(digest[:_SHORT] for digest in event.datasets)}" if event.datasets else "",
        f"{len(event.metrics)} metrics" if event.metrics else "",
    ]
    return f"v{event.version} was traced to run {event.run_id}" + _with("", [part for part in told if part])


def _version_changed(event: ModelVersionChanged) -> str:
    value = f" to {event.value}" if event.value else ""
    return {
        "description": f"the description of v{event.version} was {'written' if event.proof else 'emptied'}",
        "tag_set": f"the tag {event.key} of v{event.version} was set{value}",
        "tag_deleted": f"the tag {event.key} of v{event.version} was removed",
        "stage": f"v{event.version} was moved to the stage {event.key}",
    }[event.change]


def _version_deleted(event: ModelVersionDeleted) -> str:
    return f"v{event.version} was deleted"


def _exported(event: ModelVersionExported) -> str:
    to = f" for {event.target}" if event.target else ""
    return f"v{event.version} was packed{to}: bundle {event.digest[:_SHORT]}"


def _card(event: CardChanged) -> str:
    return f"the card of v{event.version} was written, revision {event.revision}: {', '.join(event.sections)}"


def _requested(event: TransitionRequested) -> str:
    needs = [
        f"gates still to be run: {', '.join(event.pending)}" if event.pending else "",
        f"approvals needed: {event.approvals}" if event.approvals else "",
        _reason(event.reason),
    ]
    return f"v{event.version} was asked to become {event.alias}" + _with("", [part for part in needs if part])


def _judged(event: TransitionJudged) -> str:
    return f"gates judged v{event.version} as {event.alias}: {_verdicts(event.results)}"


def _approved(event: TransitionApproved) -> str:
    return f"v{event.version} was approved as {event.alias}, {event.approvals} of {event.needed}"


def _refused(event: TransitionRefused) -> str:
    why = {
        "gates": "by its gates",
        "rejected": "by a person",
        "withdrawn": "as it was withdrawn",
        "expired": "as nobody decided in time",
        "superseded": "as it was overtaken",
    }[event.why]
    failed = [f"{result.gate}: {result.text}" for result in event.results if not result.passed]
    reasons = [*failed, _reason(event.reason)] if event.why == "gates" else [_reason(event.reason)]
    return f"v{event.version} was refused as {event.alias} {why}" + _with("", [part for part in reasons if part])


def _alias(event: AliasChanged) -> str:
    before = f" in place of v{event.previous}" if event.previous is not None else ""
    if event.version is None:
        return f"{event.alias} was taken from v{event.previous}" + _with("", [r for r in [_reason(event.reason)] if r])
    told = [
        f"asked for by {event.requested_by}" if event.requested_by else "",
        f"approved by {', '.join(event.approved_by)}" if event.approved_by else "",
        f"gates overridden: {event.forced}" if event.forced else "",
        "" if event.forced else _reason(event.reason),
    ]
    return f"v{event.version} became {event.alias}{before}" + _with("", [part for part in told if part])


def _verdicts(results: Iterable[GateResult]) -> str:
    return "; ".join(f"{result.gate} {'passed' if result.passed else f'failed: {result.text}'}" for result in results)


def _reason(text: str) -> str:
    return f"reason: {text}" if text else ""


def _with(label: str, parts: Iterable[str]) -> str:
    told = "; ".join(parts)
    return f" ({label} {told})" if told and label else f" ({told})" if told else ""


_SAY: Mapping[type[Event], Callable[[Any], str]] = {
    RegisteredModelCreated: _created,
    RegisteredModelChanged: _changed,
    ModelVersionCreated: _version_created,
    ModelVersionTraced: _traced,
    ModelVersionChanged: _version_changed,
    ModelVersionDeleted: _version_deleted,
    ModelVersionExported: _exported,
    CardChanged: _card,
    TransitionRequested: _requested,
    TransitionJudged: _judged,
    TransitionApproved: _approved,
    TransitionRefused: _refused,
    AliasChanged: _alias,
}
_KINDS = {kind.detail_type(): kind for kind in _SAY}
