"""Answers prediction requests: features, routed versions, scores, and the log of it all.

A version other than the champion never costs anybody an answer: if a canary or a shadow does not
load or cannot score, the champion answers and the reply carries a warning.

A request with an ``Idempotency-Key`` is answered once: repeated, it gets what was logged, and with
another body it is refused. Without a key a body that comes again is another request, and the log has both;
with the same (virtual) time too it is the same request, and what was logged stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from modelwright.context import Call
from modelwright.errors import Conflict, Unavailable
from modelwright.flavors import Flavors, OpenModel, open_model
from modelwright.project import Project
from modelwright.rollout import predictions, requests
from modelwright.rollout.predictions import Scored
from modelwright.rollout.requests import Asked, Mode
from modelwright.rollout.routing import Split, split
from modelwright.rollout.store import Answered, Version, load_answered, load_traffic, load_versions, put_answered
from modelwright.storage import Blobs, Tables

if TYPE_CHECKING:
    import pandas as pd

_MODELS_KEPT = 8


class Features(Protocol):
    """The feature store, as serving needs it."""

    def frame(self, model: str, rows: Sequence[Mapping[str, Any]], *, mode: Mode, now: datetime) -> "pd.DataFrame":
        """Return the model's inputs, one row per request row and in its order.

        Args:
            model: its name in the project.
            rows: request rows, timestamps as UTC datetimes.
            mode: ``online``: from what is known ``now``, each row as of its time column but of no time
                before ``now``; ``point_in_time``: each row as of its own time column.
            now: domain time.
        """
        ...


class Models:
    """Versions in memory, by number, artifact key and digest; the least recently asked for goes first."""

    def __init__(self, *, blobs: Blobs, flavors: Flavors) -> None:
        self._blobs = blobs
        self._flavors = flavors
        self._open: dict[tuple[int, str, str], OpenModel] = {}

    def get(self, version: Version) -> OpenModel:
        """Return an open model; raises ``Unavailable`` with its name and the reason."""
        key = (version.version, version.artifact_key, version.artifact_digest)
        model = self._open.pop(key, None)
        if model is None:
            name = f"{version.model} v{version.version}"
            place, digest = version.artifact_key, version.artifact_digest
            model = open_model(name, place, digest=digest, blobs=self._blobs, flavors=self._flavors)
        self._open[key] = model
        if len(self._open) > _MODELS_KEPT:
            del self._open[next(iter(self._open))]
        return model


def predict(
    call: Call,
    model: str,
    raw: bytes,
    *,
    idempotency_key: str,
    project: Project,
    tables: Tables,
    blobs: Blobs,
    models: Models,
    features: Features,
) -> dict[str, Any]:
    """Answer a prediction request.

    Args:
        call: who asks, and when in domain time.
        model: the model's name.
        raw: the body, as in ``requests.Body``.
        idempotency_key: of the caller; empty if there is none.
        project: the team's declarations.
        tables: routes and versions; remembers requests that carry a key.
        blobs: artifacts, and the lake for the log.
        models: versions in memory.
        features: the feature store.

    Raises:
        NotFound: there is no such model.
        InvalidInput: rows are wrong.
        TooLarge: there are too many.
        Conflict: the model has no champion, or the key named another request.
        Unavailable: the champion does not load or cannot score.
    """
    call.authorise("predict:call", f"model/{model}")
    declared = project.model(model)
    asked = requests.read(raw, idempotency_key, model, declared, call.now)
    earlier = load_answered(tables, call.workspace, model, asked.request_id) if asked.keyed else None
    if earlier is not None:
        return _repeated(asked, earlier, blobs)
    traffic = load_traffic(tables, call.workspace, model)
    if traffic.answering() is None:
        raise Conflict(f"model {model} has no champion yet: set its alias champion to a version")
    plan = split(traffic.routes, traffic.salt, asked.ids)
    versions = load_versions(tables, call.workspace, model, plan.versions)
    frame = features.frame(model, asked.rows, mode=asked.body.mode, now=call.now)
    plan, scores, warnings = _scored(plan, model, versions, frame, models, declared.task)
    lines = list(_lines(asked, plan, scores, call.now))
    if not asked.body.dry_run:
        request = predictions.Request(call.workspace, model, asked.request_id, asked.body.mode, call.now)
        inputs = predictions.Inputs.of(asked.ids, asked.rows, declared.request, frame)
        times = dict(zip(asked.ids, asked.times, strict=True))
        keys, lines = predictions.write(lines, times, request, inputs, blobs=blobs)
        if asked.keyed:
            known = Answered(request_id=asked.request_id, body_digest=asked.body_digest, keys=keys)
            tables.write([put_answered(call.workspace, model, known)])
    answer = _answer(asked, lines, warnings)
    if asked.body.return_features:
        for prediction, fed in zip(answer["predictions"], _records(frame), strict=True):
            prediction["features"] = fed
    return answer


def _scored(
    plan: Split,
    model: str,
    versions: Mapping[int, Version],
    frame: "pd.DataFrame",
    models: Models,
    task: str,
) -> tuple[Split, dict[int, dict[int, float]], list[str]]:
    scores: dict[int, dict[int, float]] = {}
    warnings = []
    for number in plan.versions:
        rows = plan.rows_of(number)
        try:
            said = _score(number, model, versions, frame, rows, models, task)
            scores[number] = dict(zip(rows, said, strict=True))
        except Unavailable as error:
            if number == plan.champion:
                raise
            plan = plan.without(number)
            warnings.append(str(error))
    return plan, scores, warnings


def _score(
    number: int,
    model: str,
    versions: Mapping[int, Version],
    frame: "pd.DataFrame",
    rows: list[int],
    models: Models,
    task: str,
) -> list[float]:
    if number not in versions:
        raise Unavailable(f"{model} v{number} has routes, but its artifacts are not known here yet")
    version = versions[number]
    fed = frame if len(rows) == len(frame) else frame.iloc[rows]
    if version.features:
        if missing := [name for name in version.features if name not in fed.columns]:
            raise Unavailable(f"{model} v{number} needs {', '.join(missing)}, which the project no longer computes")
        fed = fed[list(version.features)]
    opened = models.get(version)
    if task == "classification" and not opened.probabilities:
        raise Unavailable(f"{model} v{number} says numbers, and {model} is declared to say probabilities")
    return opened.score(fed)


def _lines(asked: Asked, plan: Split, scores: Mapping[int, Mapping[int, float]], now: datetime) -> list[Scored]:
    online = asked.body.mode == "online"
    as_of = [max(now, time) if online else time for time in asked.times]
    return [
        Scored(identity, as_of[row], number, plan.role_of(number, row), scores[number][row])
        for row, identity in enumerate(asked.ids)
        for number in plan.versions
        if row in scores[number]
    ]


def _repeated(asked: Asked, earlier: Answered, blobs: Blobs) -> dict[str, Any]:
    if earlier.body_digest != asked.body_digest:
        raise Conflict(f"the Idempotency-Key {asked.request_id} named a request with another body")
    return _answer(asked, predictions.read(earlier.keys, blobs=blobs), ["answered before, from the log"])


def _answer(asked: Asked, lines: Iterable[Scored], warnings: list[str]) -> dict[str, Any]:
    said = {line.prediction_id: line for line in lines if line.role != "shadow"}
    ordered = [said[identity] for identity in asked.ids]
    listed = [{"id": s.prediction_id, "version": s.version, "role": s.role, "score": s.score} for s in ordered]
    return {"request_id": asked.request_id, "predictions": listed, **({"warnings": warnings} if warnings else {})}


def _records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return rows as JSON can say them: missing values and infinities as null, floats to the bit."""
    columns = [[_plain(value) for value in frame[name].tolist()] for name in frame.columns]
    return [dict(zip(frame.columns, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, str | int | bool) else None
