"""What the platform knows of a version, for its card: folded from the registry and from the log's streams.

Nothing of it is kept: a card is read seldom, and is true as of the moment it is read. What monitoring and rollouts
found is read from the end of their streams, at most ``NEWEST`` events of each, as the registry does not read
their tables; a verdict that is older than that is not told.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.events import Estimate, Evaluation
from modelwright.log import Log, LogItem, stream_of
from modelwright.project import Model, Project, load_current
from modelwright.registry.entities import METRIC_TAG, ModelVersion, RegisteredModel
from modelwright.registry.requests import RequestStore
from modelwright.registry.signatures import Signature
from modelwright.storage import Tables

NEWEST = 200
REQUESTS = 100
"""Of the model's newest requests, those for the version are told."""

Facts = dict[str, Any]


def gather(
    call: Call, model: RegisteredModel, version: ModelVersion, project: Project | None, *, tables: Tables, log: Log
) -> Facts:
    """Return the generated sections of a card by name, as JSON."""
    declared = project.models.get(model.name) if project else None
    evaluation = evaluation_of(model, version)
    return {
        "overview": _overview(model, version, declared),
        "training_data": _training_data(version),
        "features": _features(version),
        "metrics": _metrics(version, evaluation),
        "slices": [one.model_dump(mode="json") for one in evaluation.slices] if evaluation else [],
        "comparison": _comparison(evaluation),
        "drift": _drift(call, model, version, project, log),
        "lineage": _lineage(version),
        "approvals": _requests(call, model, version, tables),
        "serving": _serving(call, model, version, log),
    }


def project_of(call: Call, tables: Tables) -> Project | None:
    """Return the workspace's project, if one was applied."""
    try:
        return load_current(tables, call.workspace)
    except NotFound:
        return None


# --- the version itself ------------------------------------------------------------------


def _overview(model: RegisteredModel, version: ModelVersion, declared: Model | None) -> Facts:
    label = declared.label.model_dump() if declared else None
    return {
        "model": model.name,
        "version": version.version,
        "aliases": sorted(alias for alias, number in model.aliases.items() if number == version.version),
        "stage": version.stage,
        "about": model.description,
        "description": version.description,
        "created": datetime.fromtimestamp(version.created / 1000, tz=UTC).isoformat(),
        "created_by": version.user_id,
        "trained_by_platform": bool(version.training_id),
        "trigger": version.trigger,
        "predicts": label,
    }


def _training_data(version: ModelVersion) -> Facts:
    window = version.window.model_dump(mode="json") if version.window else None
    return {"digests": list(version.data), "rows": version.rows, "window": window}


def _features(version: ModelVersion) -> list[str]:
    """Return what the version is fed, as its training or else its signature says; nameless columns say nothing."""
    signature = Signature.read(version.signature)
    named = [name for name in signature.names if not name.startswith("#")] if signature else []
    return list(version.features) or named


def _lineage(version: ModelVersion) -> Facts:
    return {
        "run_id": version.run_id,
        "training_id": version.training_id,
        "logged_model": version.model_id,
        "source": version.source,
        "code": version.code,
        "environment_digest": version.environment_digest,
        "artifact_digest": version.artifact_digest,
        "origin": version.origin,
        "copied_from": version.copied_from,
    }


def evaluation_of(model: RegisteredModel, version: ModelVersion) -> Evaluation | None:
    """Return challenger against champion on held-out rows, if it is known and can be read."""
    try:
        return version.candidate("", model).evaluation
    except InvalidInput:
        return version.evaluation


def _metrics(version: ModelVersion, evaluation: Evaluation | None) -> list[Facts]:
    """Return figures by name; those of the held-out rows with their intervals and their number of rows."""
    found = []
    if evaluation is not None:
        held: dict[str, Estimate | float | None] = {
            "auc": evaluation.challenger_auc, "brier": evaluation.challenger_brier, **evaluation.metrics
        }  # fmt: skip
        found = [_metric(name, value, evaluation.rows) for name, value in held.items() if value is not None]
    said = {"auc", "brier", "auc_difference", "brier_difference", *evaluation.metrics} if evaluation else set()
    told = {k.removeprefix(METRIC_TAG): v for k, v in version.tags.items() if k.startswith(METRIC_TAG)}
    return found + [
        {"name": name, "value": value, "source": "run" if name in version.metrics else "tag"}
        for name, value in sorted({**told, **version.metrics}.items())
        if name not in said
    ]


def _metric(name: str, value: Estimate | float, rows: int) -> Facts:
    interval = value.model_dump() if isinstance(value, Estimate) else {"value": value}
    return {"name": name, **interval, "source": "held-out rows", "rows": rows}


def _comparison(evaluation: Evaluation | None) -> Facts | None:
    if evaluation is None or evaluation.brier_difference is None:
        return None
    told = evaluation.model_dump(mode="json", exclude={"slices"})
    figures = {name: [told[f"{side}_{name}"] for side in ("challenger", "champion")] for name in ("auc", "brier")}
    return {
        "rows": evaluation.rows,
        "window": told["window"],
        "figures": [
            {"name": name, "version": ours, "champion": theirs, "difference": told[f"{name}_difference"]}
            for name, (ours, theirs) in figures.items()
        ],
    }


# --- what others found -------------------------------------------------------------------


def _drift(call: Call, model: RegisteredModel, version: ModelVersion, project: Project | None, log: Log) -> Facts:
    sources = _sources(project, model.name) if project else []
    return {
        "performance": _performance(_events(call, "PERFORMANCE", model.name, log), version.version),
        "sources": [_source(name, _events(call, "SOURCE", name, log)) for name in sources if _may_read(call, name)],
    }


def _sources(project: Project, name: str) -> list[str]:
    declared = project.models.get(name)
    views = [project.views[view].source for view in declared.views] if declared else []
    return list(dict.fromkeys(views))


def _may_read(call: Call, source: str) -> bool:
    try:
        call.authorise("monitoring:read", f"source/{source}")
    except Forbidden:
        return False
    return True


def _performance(items: Sequence[LogItem], version: int) -> Facts:
    """Return how the version did on labels that came later: the newest window, and whether it was found to be worse."""
    measured: Facts | None = None
    for data in _of(items, "PerformanceMeasured"):
        ours = [one for one in data["performances"] if one["version"] == version]
        if ours:
            measured = {"window": data["window"], **ours[0]}
            break
    fallen = next((data for data in _of(items, "PerformanceDegraded") if data["version"] == version), None)
    return {"measured": measured, "degraded": fallen}


def _source(name: str, items: Sequence[LogItem]) -> Facts:
    """Return the newest verdicts on a source's data.

    A drift is ``current`` if it was found in the newest accepted upload.
    """
    accepted = next(_of(items, "UploadAccepted"), None)
    drift = next(_of(items, "DriftDetected"), None)
    released = {data["quarantine_id"] for data in _of(items, "QuarantineReleased")}
    held = [data for data in _of(items, "QualityFailed") if data["quarantine_id"] not in released]
    return {
        "source": name,
        "accepted": accepted and {key: accepted[key] for key in ("window", "rows", "bad_rows")},
        "drift": drift
        and {
            "window": drift["window"],
            "columns": [column for column in drift["columns"] if column["drifted"]],
            "current": accepted is not None and drift["window"] == accepted["window"],
        },
        "quarantined": [
            {"id": data["quarantine_id"], "rows": data["rows"], "reasons": [f["text"] for f in data["findings"]]}
            for data in held
        ],
    }


def _requests(call: Call, model: RegisteredModel, version: ModelVersion, tables: Tables) -> list[Facts]:
    """Return who asked for which alias for a version, what gates and people said, and how it ended, newest first."""
    newest = RequestStore(tables, call).newest_requests(model, REQUESTS).requests
    ours = (request for request in newest if request.version == version.version)
    return [request.shown() for request in ours]


def _serving(call: Call, model: RegisteredModel, version: ModelVersion, log: Log) -> Facts:
    routes: Facts = next(_of(_events(call, "ROLLOUT", model.name, log), "RoutesChanged"), {"routes": []})
    mine = [{k: r[k] for k in ("role", "percent")} for r in routes["routes"] if r["version"] == version.version]
    return {"aliases": _overview(model, version, None)["aliases"], "routes": mine}


# --- streams -----------------------------------------------------------------------------


def _events(call: Call, kind: str, identity: str, log: Log) -> list[LogItem]:
    return log.newest(stream_of(call.workspace, kind, identity), NEWEST)


def _of(items: Iterable[LogItem], kind: str) -> Iterator[Facts]:
    return (item.envelope.data for item in items if item.envelope.type == kind)
