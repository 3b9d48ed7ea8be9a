"""One training: from labelled history to a model folder, compared with the champion on the newest part.

The challenger that meets the champion has not seen the newest ``holdout_days``; the model that is
kept has: it is fitted again on all rows, because what is newest is worth most (a replayed year of
flights gains a third more that way). Everything is a function of the training's own record - its window,
its domain time, a fixed seed, one thread - and lies under keys made of its id, so that a second invocation writes the
same, or nothing when the first one ended.

The estimator comes from the team's trainer, or from the built-in search (``automl``), which may take several
invocations: each says that it paused, and whoever starts trainings starts the next.
"""

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from modelwright.artifacts import PARITY, PREDICTIONS, environment_digest
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound, PluginError, Unavailable
from modelwright.events import (
    Estimate,
    Evaluation,
    TrainingCompleted,
    TrainingFailed,
    TrainingPaused,
)
from modelwright.flavors import MODEL_FILE, OpenModel, Sklearn, mlmodel, open_model, pickled, single_thread
from modelwright.log import Happened, canonical, stream_of
from modelwright.retraining import automl, beside, search
from modelwright.retraining.attempts import Runner, attempted, killed
from modelwright.retraining.automl import Halt, Search, Stopwatch
from modelwright.retraining.comparing import evaluate, window_of
from modelwright.retraining.drafts import Drafts
from modelwright.retraining.ending import over
from modelwright.retraining.slices import by_category
from modelwright.retraining.store import MILLIONTHS, Training, load_training, put_training
from modelwright.retraining.workshop import Examples, Recipe, Workshop, split

if TYPE_CHECKING:
    import pandas as pd

MLMODEL = "MLmodel"
SEED = 20130101
_COMMITS = 5


@dataclass(frozen=True)
class _Trained:
    body: bytes
    examples: Examples
    evaluation: Evaluation
    notes: dict[str, str]
    files: dict[str, bytes]
    signature: str
    recipe: Recipe

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
    """Do a training and say how it ended: ``completed``, ``failed``, ``paused``, ``ended before``, ``runs elsewhere``.

    Raises:
        NotFound: there is no such training.
        Unavailable: a store did not answer; the invocation should be repeated.
    """
    watch = Stopwatch(shop.clock)
    training = load_training(shop.tables, workspace, training_id)
    if training.over:
        return "ended before"
    with attempt(workspace, training_id, shop) as busy:
        return _attempt(workspace, training, busy, watch)


@contextmanager
def attempt(workspace: str, training_id: str, shop: Workshop) -> Iterator[Workshop]:
    """Keep a record that somebody is at a training, and yield what they work with."""
    with attempted(
        shop.tables,
        workspace,
        training_id,
        owner=shop.owner,
        wall=shop.wall,
        left=shop.remaining(),
        rate=shop.rate,
    ) as runner:
        yield replace(shop, runner=runner)


def _attempt(workspace: str, training: Training, shop: Workshop, watch: Stopwatch) -> str:
    try:
        trained = _trained(workspace, training, shop, watch)
    except (InvalidInput, NotFound, PluginError) as error:
        return fail(workspace, training, str(error), shop, watch)
    if trained == "held":
        return "runs elsewhere"
    if isinstance(trained, str):
        return _pause(workspace, training, shop, watch)
    key = artifact_key_of(workspace, training.training_id)
    files = {MODEL_FILE: trained.body, **trained.files}
    for name, body in files.items():
        shop.blobs.put("artifacts", key + name, body)
    seconds = _before(workspace, training, shop, watch) + watch.lap()
    return _finish(workspace, training, _completed(training, key, trained, shop, seconds), shop)


def fail(workspace: str, training: Training, reason: str, shop: Workshop, watch: Stopwatch) -> str:
    """End a training without a model; what it took before counts too."""
    seconds = _before(workspace, training, shop, watch) + watch.lap()
    failed = TrainingFailed(
        training_id=training.training_id,
        model=training.model,
        reason=reason,
        seconds=seconds,
        cost=shop.cost(seconds),
    )
    return _finish(workspace, training, failed, shop)


def _trained(workspace: str, training: Training, shop: Workshop, watch: Stopwatch) -> _Trained | Halt:
    model = shop.project.model(training.model)
    examples, seen, held = gathered(workspace, training, shop)
    recipe = _recipe(workspace, training, (examples, seen), shop, watch)
    if isinstance(recipe, str):
        return recipe
    drafts = drafts_of(workspace, training, shop, watch)
    fresh = drafts.kept("challenger.pkl", lambda: _fitted(recipe, seen))
    challenger, champion, notes = scored(workspace, training, fresh, held, shop, drafts)
    body = drafts.kept("model.pkl", lambda: _fitted(recipe, examples))
    _scores(body, examples.frame.iloc[:1], f"the model of training {training.training_id}")
    classes = model.task == "classification"
    slices = by_category(held.frame, model.categorical, held.labels, challenger) if classes else ()
    rival = "" if champion is None else training.champion_digest or str(training.champion)
    evaluation = evaluate(held, challenger, champion).model_copy(update={"slices": slices, "champion": rival})
    proof, unproven = beside.parity(held, f"{training.model} {shop.project.digest}")
    notes |= {"parity_not_proven": unproven} if unproven else {}
    signature = beside.signature(examples.frame)
    run_id, said = run_id_of(training.training_id), {part: json.dumps(columns) for part, columns in signature.items()}
    folder = mlmodel(run_id, inputs=model.inputs, training_id=training.training_id, signature=said)
    files = {MLMODEL: folder, **beside.files(held, challenger, champion, rival), **proof}
    return _Trained(body, examples, evaluation, notes, files, canonical(signature).decode(), recipe)


def gathered(workspace: str, training: Training, shop: Workshop) -> tuple[Examples, Examples, Examples]:
    """Return a training's examples, those before the holdout, and the holdout."""
    model = shop.project.model(training.model)
    if model.task == "ranking":
        raise InvalidInput(f"{model.task} has no built-in training: train elsewhere and register the version")
    examples = _examples(workspace, training, shop)
    return examples, *split(examples, model.retraining.holdout_days)


def _examples(workspace: str, training: Training, shop: Workshop) -> Examples:
    """Return the set that was saved when the training began; the first time, make it."""
    plan = search.load_plan(shop.tables, workspace, training.training_id) if training.searches else None
    if plan is not None and shop.reopen is not None:
        try:
            return shop.reopen(training.model, plan.dataset_key)
        except NotFound:  # an erasure replaced it
            pass
    return shop.sets.examples(
        training.model, training.window, as_of=training.requested, labels_until=training.labels_until
    )


def fit(workspace: str, training: Training, shop: Workshop, watch: Stopwatch) -> None:
    """Make and keep the two models of a training whose estimator is known."""
    examples, seen, _ = gathered(workspace, training, shop)
    recipe = _recipe(workspace, training, (examples, seen), shop, watch)
    drafts = drafts_of(workspace, training, shop, watch)
    if not isinstance(recipe, str):
        drafts.kept("challenger.pkl", lambda: _fitted(recipe, seen))
        drafts.kept("model.pkl", lambda: _fitted(recipe, examples))


def drafts_of(workspace: str, training: Training, shop: Workshop, watch: Stopwatch) -> Drafts:
    """Return where a training keeps what it makes on the way, if it does."""
    prefix = f"{workspace}/trainings/{training.training_id}/drafts/" if shop.stepwise else ""
    return Drafts(shop.blobs, prefix, watch.lap, runner_of(shop).attempt_id)


def scored(
    workspace: str, training: Training, fresh: bytes, held: Examples, shop: Workshop, drafts: Drafts
) -> tuple[list[float], list[float] | None, dict[str, str]]:
    """Return what challenger and champion say of the holdout, with a note where the champion could not be asked."""

    def ask() -> bytes:
        challenger = _scores(fresh, held.frame, f"the challenger of {training.model}")
        try:
            champion, notes = _champion_scores(workspace, training, held, shop), {}
        except Unavailable as error:
            champion, notes = None, {"champion_not_compared": str(error)}
        return json.dumps([challenger, champion, notes]).encode()

    challenger, champion, notes = json.loads(drafts.kept("scores.json", ask))
    return challenger, champion, notes


def searching(
    workspace: str, training: Training, shop: Workshop, sets: tuple[Examples, Examples] | None = None
) -> Search:
    """Return a training's search; the first time, write down what it does.

    Args:
        workspace: whose.
        training: whose.
        shop: what it works with.
        sets: the examples and those before the holdout, where they were read before.
    """
    model = shop.project.model(training.model)
    plan = search.load_plan(shop.tables, workspace, training.training_id)
    if plan is None:
        examples, seen = sets or gathered(workspace, training, shop)[:2]
        made = automl.planned(model, examples, seen, training.reserved / MILLIONTHS / shop.rate)
        plan = search.keep_plan(shop.tables, workspace, training.training_id, made)
    classify = model.task == "classification"
    return Search(
        shop.tables, workspace, training.training_id, plan, classify, shop.remaining, shop.clock, runner_of(shop)
    )


def runner_of(shop: Workshop) -> Runner:
    """Return who is at a training."""
    return shop.runner or Runner(shop.owner, shop.wall, None)


def _recipe(
    workspace: str, training: Training, sets: tuple[Examples, Examples], shop: Workshop, watch: Stopwatch
) -> Recipe | Halt:
    """Return what makes the estimator, or why the search for it goes on in another invocation."""
    model = shop.project.model(training.model)
    if not training.searches:
        told = {name: repr(value) for name, value in sorted(model.parameters.items())}
        return Recipe(shop.load(model.trainer), model.trainer, dict(model.parameters), told)
    on = searching(workspace, training, shop, sets)
    best = on.advance(sets[1], model.retraining.holdout_days, watch)
    if isinstance(best, str):
        return best
    return Recipe(best.fit, f"automl:{best.name}", {}, best.parameters, best.candidates, best.plan.metric)


def _before(workspace: str, training: Training, shop: Workshop, watch: Stopwatch) -> float:
    """Return the seconds that a training took before: in what is kept, and in attempts that were killed."""
    fits = search.load_fits(shop.tables, workspace, training.training_id) if training.searches else {}
    drafts = drafts_of(workspace, training, shop, watch).seconds()
    kept = Counter(drafts) + Counter(search.kept_by(fits))
    lost = killed(shop.tables, workspace, training.training_id, shop.wall(), by=shop.runner, kept=kept)
    return search.spent(fits) + math.fsum(drafts.values()) + lost.seconds


def _fitted(recipe: Recipe, examples: Examples) -> bytes:
    random.seed(SEED)
    np.random.seed(SEED)
    frame = examples.frame.reset_index(drop=True)
    try:
        with single_thread()():
            return pickled(recipe.function(frame, examples.labels, dict(recipe.parameters)))
    except Exception as error:  # a team's code may raise anything, and the log must say so
        raise PluginError(f"the trainer {recipe.name} failed: {type(error).__name__}: {error}") from error


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
    metrics = {name: one.value for name, one in evaluation.metrics.items()}
    metrics |= {f"{name}_difference": one.value for name, one in evaluation.differences.items()}
    if evaluation.challenger_auc is not None and evaluation.challenger_brier is not None:
        metrics |= {"auc": evaluation.challenger_auc.value, "brier": evaluation.challenger_brier}
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
        window=window_of(examples.times),
        parameters={**trained.recipe.told, **trained.notes},
        metrics=metrics,
        evaluation=evaluation,
        project_digest=shop.project.digest,
        seconds=seconds,
        cost=shop.cost(seconds),
        environment_digest=environment_digest(trained.files),
        signature=trained.signature,
        size=len(trained.body) + sum(map(len, trained.files.values())),
        parity_digest=trained.digest(PARITY),
        predictions_digest=trained.digest(PREDICTIONS),
        requested_by=training.requested_by,
        candidates=trained.recipe.candidates,
        searched_by=trained.recipe.searched_by,
    )


def _pause(workspace: str, training: Training, shop: Workshop, watch: Stopwatch) -> str:
    """Hand over to the next invocation, once per place: of two that came so far one goes on."""
    fits = search.load_fits(shop.tables, workspace, training.training_id)
    seconds = search.spent(fits) + watch.lap()
    said = TrainingPaused(training_id=training.training_id, model=training.model, done=len(fits), seconds=seconds)
    if load_training(shop.tables, workspace, training.training_id).done >= len(fits):
        return "paused before"
    paused = _commit(workspace, training, said, lambda now: now.having(done=len(fits)), shop)
    return "paused" if paused else "ended before"


def _finish(workspace: str, training: Training, event: TrainingCompleted | TrainingFailed, shop: Workshop) -> str:
    status = "completed" if isinstance(event, TrainingCompleted) else "failed"
    ended = _commit(workspace, training, event, lambda now: over(now, event, training.requested), shop)
    return status if ended else "ended before"


def _commit(
    workspace: str,
    training: Training,
    event: TrainingCompleted | TrainingFailed | TrainingPaused,
    changed: Callable[[Training], Training],
    shop: Workshop,
) -> bool:
    """Commit against the newest record: its trainer may have written meanwhile that it started. False: it is over."""
    call = Call(workspace, "platform", training.requested, training.correlation_id)
    stream = stream_of(workspace, "TRAINING", training.model)
    for _ in range(_COMMITS):
        now = load_training(shop.tables, workspace, training.training_id)
        if now.over:
            return False
        try:
            shop.log.commit(call, [Happened(stream, event)], [put_training(workspace, changed(now))])
        except ConditionFailed:
            continue
        return True
    raise Unavailable(f"the record of training {training.training_id} is too busy")
