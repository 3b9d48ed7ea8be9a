"""One training: from labelled history to a model folder, compared with the champion on the newest part.

The challenger that meets the champion has not seen the newest ``holdout_days``; the model that is
kept has: it is fitted again on all rows, because what is newest is worth most (a replayed year of
flights gains a third more that way). Everything is a function of the training's own record - its window,
its domain time, a fixed seed, one thread - and lies under keys made of its id, so that a second invocation writes the
same, or nothing when the first one ended.
"""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelwright import statistics
from modelwright.artifacts import PARITY, PREDICTIONS, environment_digest
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound, PluginError, Unavailable
from modelwright.events import Estimate, Evaluation, TrainingCompleted, TrainingFailed, Window
from modelwright.flavors import MODEL_FILE, Flavors, OpenModel, Sklearn, mlmodel, open_model, pickled, single_thread
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.project import Model, Project
from modelwright.retraining import beside
from modelwright.retraining.slices import by_category
from modelwright.retraining.store import Training, load_training, put_training
from modelwright.storage import Blobs, Tables

if TYPE_CHECKING:
    import pandas as pd

MLMODEL = "MLmodel"
SEED = 20130101
MIN_ROWS = 100
"""Below this neither a model nor a comparison says anything."""

GB_SECOND = 0.0000133334
INVOCATION = 0.20 / 1_000_000
"""Prices of Lambda on arm64, us-east-1, in US dollars."""

_COMMITS = 5

TrainFunction = Callable[["pd.DataFrame", NDArray[np.int8], dict[str, float]], Any]
"""The team's trainer: (frame, labels, parameters) -> estimator with ``predict_proba``."""


@dataclass(frozen=True)
class Examples:
    """Labelled rows with the model's inputs as they were at each row's time.

    Attributes:
        frame: inputs, in the model's order.
        labels: 0 or 1.
        times: the model's time column, as UTC ``datetime64[us]``.
        digest: of the saved set.
        key: where the saved set lies in the lake.
        ids: what names each row; None where nothing does.
        places: the place of each row in the saved set; None: in order, from 0.
        again: computes the inputs of rows of the saved set, by their places, as they are served; None if it cannot.
    """

    frame: "pd.DataFrame"
    labels: NDArray[np.int8]
    times: NDArray[np.datetime64]
    digest: str
    key: str
    ids: "NDArray[np.object_] | None" = None
    places: "NDArray[np.int64] | None" = None
    again: "Callable[[Sequence[int]], pd.DataFrame] | None" = None


class TrainingSets(Protocol):
    """The feature store, as training needs it."""

    def examples(self, model: str, window: Window, *, as_of: datetime, labels_until: datetime | None) -> Examples:
        """Return and save the examples whose time lies in a window and whose label was known by ``as_of``.

        Args:
            model: its name in the project.
            window: of the model's time column.
            as_of: labels that became known later are not seen.
            labels_until: end of the newest label window that came; the store must have it.

        Raises:
            InvalidInput: there are none, or the data does not fit the declarations.
            Unavailable: the newest labels are not in the store yet; the invocation should be repeated.
        """
        ...


@dataclass(frozen=True)
class Workshop:
    """What a training works with.

    Attributes:
        load: returns a function of the team's code by reference.
        clock: seconds that pass; for the cost.
        memory_mb: what Lambda bills by.
    """

    project: Project
    tables: Tables
    blobs: Blobs
    log: Log
    sets: TrainingSets
    flavors: Flavors
    load: Callable[[str], TrainFunction]
    clock: Callable[[], float]
    memory_mb: int


@dataclass(frozen=True)
class _Trained:
    body: bytes
    examples: Examples
    evaluation: Evaluation
    notes: dict[str, str]
    files: dict[str, bytes]
    signature: str

    def digest(self, name: str) -> str:
        """Return SHA-256 of a file beside the model; empty when it was not written."""
        return hashlib.sha256(self.files[name]).hexdigest() if name in self.files else ""


def artifact_key_of(workspace: str, training_id: str) -> str:
    """Return the prefix of a training's model folder in the artifacts bucket."""
    return f"{workspace}/trainings/{training_id}/model/"


def run_id_of(training_id: str) -> str:
    """Return the id of a training's run, which tracking and registry derive in the same way."""
    return hashlib.sha256(training_id.encode()).hexdigest()[:32]


def train(workspace: str, training_id: str, shop: Workshop) -> str:
    """Do a training and say how it ended: ``completed``, ``failed``, or ``ended before``.

    Raises:
        NotFound: there is no such training.
        Unavailable: a store did not answer; the invocation should be repeated.
    """
    began = shop.clock()
    training = load_training(shop.tables, workspace, training_id)
    if training.over:
        return "ended before"
    try:
        trained = _trained(workspace, training, shop)
    except (InvalidInput, NotFound, PluginError) as error:
        seconds = shop.clock() - began
        failed = TrainingFailed(
            training_id=training_id,
            model=training.model,
            reason=str(error),
            seconds=seconds,
            cost=_cost(seconds, shop.memory_mb),
        )
        return _finish(workspace, training, failed, shop)
    key = artifact_key_of(workspace, training_id)
    files = {MODEL_FILE: trained.body, **trained.files}
    for name, body in files.items():
        shop.blobs.put("artifacts", key + name, body)
    completed = _completed(training, key, trained, shop, shop.clock() - began)
    return _finish(workspace, training, completed, shop)


def evaluate(held: Examples, challenger: ArrayLike, champion: ArrayLike | None) -> Evaluation:
    """Compare scores on held-out rows, with intervals that let the rows of one day depend on each other.

    Raises:
        InvalidInput: there are fewer than two rows of a class.
    """
    days = held.times.astype("datetime64[D]")
    clusters = days if len(np.unique(days)) > 1 else None
    evaluation = Evaluation(
        rows=len(held.labels),
        window=_window(held.times),
        challenger_auc=statistics.auc_interval(held.labels, challenger, clusters).estimate(),
        challenger_brier=statistics.brier_interval(held.labels, challenger).value,
    )
    if champion is None:
        return evaluation
    auc_difference = statistics.auc_difference(held.labels, champion, challenger, clusters)
    brier_difference = statistics.brier_difference(held.labels, champion, challenger, clusters)
    return evaluation.model_copy(
        update={
            "champion_auc": statistics.auc_interval(held.labels, champion, clusters).estimate(),
            "champion_brier": statistics.brier_interval(held.labels, champion).value,
            "auc_difference": auc_difference.estimate(),
            "brier_difference": brier_difference.estimate(),
        }
    )


def _trained(workspace: str, training: Training, shop: Workshop) -> _Trained:
    model = shop.project.model(training.model)
    examples = shop.sets.examples(
        training.model, training.window, as_of=training.requested, labels_until=training.labels_until
    )
    seen, held = _split(examples, model.retraining.holdout_days)
    function = shop.load(model.trainer)
    challenger = _scores(_fitted(function, seen, model), held.frame, f"the challenger of {training.model}")
    notes = {}
    champion: list[float] | None = None
    try:
        champion = _champion_scores(workspace, training, held, shop)
    except Unavailable as error:
        notes["champion_not_compared"] = str(error)
    body = _fitted(function, examples, model)
    _scores(body, examples.frame.iloc[:1], f"the model of training {training.training_id}")
    slices = by_category(held.frame, model.categorical, held.labels, challenger)
    rival = "" if champion is None else training.champion_digest or str(training.champion)
    evaluation = evaluate(held, challenger, champion).model_copy(update={"slices": slices, "champion": rival})
    proof, unproven = beside.parity(held, f"{training.model} {shop.project.digest}")
    notes |= {"parity_not_proven": unproven} if unproven else {}
    signature = beside.signature(examples.frame)
    run_id, said = run_id_of(training.training_id), {part: json.dumps(columns) for part, columns in signature.items()}
    folder = mlmodel(run_id, inputs=model.inputs, training_id=training.training_id, signature=said)
    files = {MLMODEL: folder, **beside.files(held, challenger, champion, rival), **proof}
    return _Trained(body, examples, evaluation, notes, files, canonical(signature).decode())


def _split(examples: Examples, holdout_days: int) -> tuple[Examples, Examples]:
    if len(examples.labels) < MIN_ROWS:
        raise InvalidInput(f"{len(examples.labels)} labelled rows are too few: a training needs {MIN_ROWS}")
    newest = examples.times >= examples.times.max() - np.timedelta64(holdout_days, "D")
    parts = _part(examples, ~newest), _part(examples, newest)
    for part, name in zip(parts, ("before the holdout", "of the holdout"), strict=True):
        positives = int(part.labels.sum())
        if min(positives, len(part.labels) - positives) < 2:
            text = f"{positives} of {len(part.labels)} labelled rows {name} ({holdout_days} days) are positive"
            raise InvalidInput(f"{text}: both classes are needed")
    return parts


def _part(examples: Examples, mask: NDArray[np.bool_]) -> Examples:
    places = np.arange(len(examples.labels)) if examples.places is None else examples.places
    return replace(
        examples,
        frame=examples.frame[mask],
        labels=examples.labels[mask],
        times=examples.times[mask],
        ids=None if examples.ids is None else examples.ids[mask],
        places=places[mask],
    )


def _fitted(function: TrainFunction, examples: Examples, model: Model) -> bytes:
    random.seed(SEED)
    np.random.seed(SEED)
    frame = examples.frame.reset_index(drop=True)
    try:
        with single_thread()():
            return pickled(function(frame, examples.labels, dict(model.parameters)))
    except Exception as error:  # a team's code may raise anything, and the log must say so
        raise PluginError(f"the trainer {model.trainer} failed: {type(error).__name__}: {error}") from error


def _scores(body: bytes, frame: "pd.DataFrame", name: str) -> list[float]:
    model = OpenModel(name, hashlib.sha256(body).hexdigest(), Sklearn().load(lambda _: body, {}))
    try:
        return model.score(frame)
    except Unavailable as error:
        raise PluginError(str(error)) from error


def _champion_scores(workspace: str, training: Training, held: Examples, shop: Workshop) -> list[float] | None:
    if training.champion is None:
        return None
    name = f"{training.model} v{training.champion}"
    if not training.champion_key.startswith(f"{workspace}/"):
        raise Unavailable(f"where {name} lies is not known")
    place, digest = training.champion_key, training.champion_digest
    champion = open_model(name, place, digest=digest, blobs=shop.blobs, flavors=shop.flavors)
    features = training.champion_features or tuple(held.frame.columns)
    if missing := [feature for feature in features if feature not in held.frame.columns]:
        raise Unavailable(f"{name} needs {', '.join(missing)}, which the project no longer computes")
    return champion.score(held.frame[list(features)])


def _completed(training: Training, key: str, trained: _Trained, shop: Workshop, seconds: float) -> TrainingCompleted:
    evaluation, examples, model = trained.evaluation, trained.examples, shop.project.model(training.model)
    metrics = {"auc": evaluation.challenger_auc.value, "brier": evaluation.challenger_brier}
    compared: dict[str, Estimate | None] = {
        "auc_difference": evaluation.auc_difference,
        "brier_difference": evaluation.brier_difference,
    }
    metrics |= {name: estimate.value for name, estimate in compared.items() if estimate is not None}
    return TrainingCompleted(
        training_id=training.training_id,
        model=training.model,
        trigger=training.trigger,
        artifact_key=key,
        artifact_digest=hashlib.sha256(trained.body).hexdigest(),
        features=model.inputs,
        dataset_digest=examples.digest,
        dataset_key=examples.key,
        rows=len(examples.labels),
        window=_window(examples.times),
        parameters={**{name: repr(value) for name, value in sorted(model.parameters.items())}, **trained.notes},
        metrics=metrics,
        evaluation=evaluation,
        project_digest=shop.project.digest,
        seconds=seconds,
        cost=_cost(seconds, shop.memory_mb),
        environment_digest=environment_digest(trained.files),
        signature=trained.signature,
        size=len(trained.body) + sum(map(len, trained.files.values())),
        parity_digest=trained.digest(PARITY),
        predictions_digest=trained.digest(PREDICTIONS),
        requested_by=training.requested_by,
    )


def _cost(seconds: float, memory_mb: int) -> float:
    return seconds * memory_mb / 1024 * GB_SECOND + INVOCATION


def _finish(workspace: str, training: Training, event: TrainingCompleted | TrainingFailed, shop: Workshop) -> str:
    """Commit the end, against the newest record: its trainer may have written meanwhile that it started."""
    call = Call(workspace, "platform", training.requested, training.correlation_id)
    status = "completed" if isinstance(event, TrainingCompleted) else "failed"
    outcome = event.reason if isinstance(event, TrainingFailed) else ""
    stream = stream_of(workspace, "TRAINING", training.model)
    for _ in range(_COMMITS):
        now = load_training(shop.tables, workspace, training.training_id)
        if now.over:
            return "ended before"
        write = put_training(workspace, now.having(status=status, outcome=outcome))
        try:
            shop.log.commit(call, [Happened(stream, event)], [write])
        except ConditionFailed:
            continue
        return status
    raise Unavailable(f"the record of training {training.training_id} is too busy")


def _window(times: NDArray[np.datetime64]) -> Window:
    first, last = (datetime.fromisoformat(str(t.astype("datetime64[us]"))) for t in (times.min(), times.max()))
    return Window(start=first.replace(tzinfo=UTC), end=last.replace(tzinfo=UTC) + timedelta(microseconds=1))
