"""What functions promise each other: every event of the platform, versioned.

An event is a fact in the past tense. Its class name is EventBridge's ``detail-type``; its
fields only ever get added to, and a change of meaning is a new class. Events carry ids,
digests, figures and reasons, never rows of data or personal values, because the log keeps
them for ever. ``events/schemas`` holds the JSON schemas generated from this module.

Times are ISO 8601 in UTC. A *window* is half open: ``[start, end)``.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from modelwright.errors import InvalidInput

SOURCE = "modelwright"
SCHEDULE_DUE = "ScheduleDue"


class Value(BaseModel):
    """A frozen part of an event; its figures are finite, because JSON has no other.

    Validators are built when first used: a function starts without those of events that it never sees.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class Event(Value):
    """Base of all events.

    Attributes:
        schema_version: raised when fields are added; readers of newer code lift older events.
    """

    schema_version: ClassVar[int] = 1

    @classmethod
    def detail_type(cls) -> str:
        """EventBridge's name of this event."""
        return cls.__name__


class Envelope(Value):
    """How an event travels on the bus (``detail``) and lies in the log.

    Attributes:
        id: unique; the idempotency key of every consumer.
        stream: the log stream of the aggregate that it happened to.
        sequence: its place in that stream, from 1.
        at: domain time.
        actor: a pseudonymous id of who caused it.
        correlation_id: joins all that one cause set off.
    """

    id: str
    type: str
    schema_version: int
    workspace: str
    stream: str
    sequence: int
    at: datetime
    actor: str
    correlation_id: str
    data: dict[str, Any]


class Window(Value):
    """A half-open interval of event time."""

    start: datetime
    end: datetime


class Estimate(Value):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


# --- the project -------------------------------------------------------------------------


class ProjectApplied(Event):
    """A team's definitions (features, models, policies) took effect."""

    project: str
    digest: str
    models: tuple[str, ...]
    sources: tuple[str, ...]
    views: tuple[str, ...]


# --- data --------------------------------------------------------------------------------


class Finding(Value):
    """One reason of a quality verdict."""

    check: str
    column: str = ""
    severity: Literal["warn", "block"]
    text: str


class UploadAccepted(Event):
    """An upload passed quality; ``key`` is the object with its good rows, for others to read.

    Attributes:
        findings: warnings that blocked nothing.
    """

    source: str
    upload_key: str
    upload_version: str
    digest: str
    key: str
    rows: int
    bad_rows: int
    window: Window
    profile_key: str
    findings: tuple[Finding, ...] = ()


class QualityFailed(Event):
    """An upload, or some of its rows, went to quarantine and is served to nobody.

    Attributes:
        scope: whether the whole file is held back or some rows of one whose others went on.
    """

    source: str
    upload_key: str
    upload_version: str
    quarantine_id: str
    quarantine_key: str
    rows: int
    window: Window | None = None
    findings: tuple[Finding, ...]
    scope: Literal["file", "rows"] = "file"


class QuarantineReleased(Event):
    """A quarantine closed: the data was repaired, sent again correctly, or discarded."""

    source: str
    quarantine_id: str
    reason: str


class ColumnDrift(Value):
    """One column's verdict."""

    column: str
    detector: str
    effect: float
    floor: float
    p_value: float
    drifted: bool


class DriftDetected(Event):
    """The distribution of a source moved against its reference; evidence, never alone a reason to retrain."""

    source: str
    window: Window
    reference: str
    columns: tuple[ColumnDrift, ...]


class FeaturesMaterialized(Event):
    """Rows of an accepted upload are in the offline store and, where newest, online."""

    source: str
    upload_key: str
    views: tuple[str, ...]
    rows: int
    online_items: int
    window: Window


class TrainingSetSaved(Event):
    """An immutable set of examples: a point-in-time join, stored under its content's digest.

    Attributes:
        as_of: labels that became known later are not in it; None in events from before that was said.
    """

    request_id: str
    model: str
    digest: str
    key: str
    rows: int
    window: Window
    features: tuple[str, ...]
    as_of: datetime | None = None


class HistoricalFeaturesRequested(Event):
    """Somebody wants features of many entities as of their times, and does not wait for the answer.

    Attributes:
        query_key: object in the lake with what is asked.
        rows: how many entity rows there are; 0 where nobody counted.
        engine: name of the plugin that joins.
    """

    job_id: str
    query_key: str
    rows: int
    engine: str


class HistoricalFeaturesSaved(Event):
    """The answer lies in the lake under its content's digest.

    Attributes:
        features: names of its columns that are features.
        as_of: what became known later is not in it.
    """

    job_id: str
    digest: str
    key: str
    rows: int
    features: tuple[str, ...]
    as_of: datetime


class HistoricalFeaturesFailed(Event):
    """There is no answer, for this reason."""

    job_id: str
    reason: str


class BackfillRequested(Event):
    """Views of a source are to be computed again from the offline store, and put online.

    Attributes:
        views: which; empty for all of the source.
        window: of event times; None for everything.
    """

    backfill_id: str
    source: str
    views: tuple[str, ...]
    window: Window | None


class BackfillCompleted(Event):
    """A backfill is over; ``reason`` says why if it failed."""

    backfill_id: str
    source: str
    rows: int
    online_items: int
    reason: str = ""


class RowsHeld(Event):
    """Rows of an accepted upload whose features could not be computed: they are kept, and served to nobody.

    Attributes:
        key: object in the lake with the rows and what was wrong with each.
    """

    source: str
    upload_key: str
    rows: int
    key: str
    reasons: tuple[str, ...]


class ParityDifference(Value):
    """Values that differ between serving and training.

    Attributes:
        cause: what explains them, or ``unexplained``.
    """

    feature: str
    cause: str
    count: int


class ParityProven(Event):
    """What was served and what is trained on are equal to the bit, in every value that was compared.

    Attributes:
        service: feature service or model.
        digest: of the report, which lies under it.
        rows: how many were compared.
        values: how many values that was.
    """

    service: str
    digest: str
    key: str
    rows: int
    values: int
    window: Window


class ParityFailed(Event):
    """What was served and what is trained on differ."""

    service: str
    digest: str
    key: str
    rows: int
    values: int
    window: Window
    differences: tuple[ParityDifference, ...]


class FreshnessBroken(Event):
    """No row of a view became known for longer than it declares.

    Attributes:
        newest: when the last one did; None if there never was one.
        limit: what is declared, such as ``2h``.
    """

    view: str
    newest: datetime | None
    limit: str


class FreshnessRestored(Event):
    """A view that was not fresh is so again."""

    view: str
    newest: datetime


class ExpectationBroken(Event):
    """A feature's values are not what its view expects."""

    view: str
    feature: str
    text: str
    window: Window


class DatasetRewritten(Value):
    """A saved dataset that held a subject, and the one without it; empty where nothing was left."""

    digest: str
    replaced_by: str


class ErasureRequested(Event):
    """A subject's data is to be removed.

    Attributes:
        entity: name of the join keys, joined by ``,``.
        subject: HMAC-SHA256 of the key's spelling under the salt of this erasure, which goes with the receipt.
    """

    erasure_id: str
    entity: str
    subject: str


class SubjectErased(Event):
    """A subject's data is removed from everything that lives; backups expire at ``backups_until``.

    Attributes:
        receipt_key: the receipt in the lake.
        rows: how many were removed, by place.
        datasets: which were rewritten.
        models: versions that were trained with the subject, as ``model/version``.
    """

    erasure_id: str
    entity: str
    subject: str
    receipt_key: str
    rows: dict[str, int]
    datasets: tuple[DatasetRewritten, ...]
    models: tuple[str, ...]
    backups_until: datetime


# --- performance -------------------------------------------------------------------------


class Performance(Value):
    """How one version did on flights of truth: figures with 95 % intervals.

    Attributes:
        version: the model version.
        rows: labelled predictions.
        positives: of these, with a positive label.
        mean_score: mean predicted probability.
    """

    version: int
    rows: int
    positives: int
    mean_score: float
    auc: Estimate | None = None
    brier: Estimate


class Comparison(Value):
    """Two versions on the very same rows: sums of ``loss(challenger) - loss(champion)`` per row (Brier, in [-1, 1]).

    Attributes:
        rows: labelled rows that both scored.
        total: sum of differences.
        squares: sum of squared differences.
    """

    challenger: int
    champion: int
    rows: int
    total: float
    squares: float


class PerformanceMeasured(Event):
    """Labels of an upload were joined with the predictions they belong to.

    Attributes:
        labels: rows of the upload that have a label.
        joined: of these, with a prediction that was not counted before.
        labelled_key: the object with the joined rows; empty when there are none.
        quarantined: sources that feed the model and are in quarantine over this window; its scores may be
            wrong for that reason alone, so they let no rollout advance.
    """

    model: str
    window: Window
    labels_key: str
    labels: int
    joined: int
    performances: tuple[Performance, ...]
    comparisons: tuple[Comparison, ...]
    canary_comparisons: tuple[Comparison, ...]
    labelled_key: str = ""
    quarantined: tuple[str, ...] = ()


class PerformanceDegraded(Event):
    """The champion does worse than it did when it was new, by more than chance."""

    model: str
    version: int
    window: Window
    metric: str
    value: Estimate
    reference: float
    reason: str


# --- retraining --------------------------------------------------------------------------


class TrainingRequested(Event):
    """A training was decided and its budget reserved."""

    training_id: str
    model: str
    trigger: str
    reason: str
    trainer: str
    window: Window
    champion: int | None
    reserved: float


class TrainingDeclined(Event):
    """A trigger came and no training was started; every reason at once."""

    model: str
    trigger: str
    reasons: tuple[str, ...]


class TrainingStarted(Event):
    """The trainer accepted the job."""

    training_id: str
    model: str
    trainer: str
    job: str


class Slice(Value):
    """Figures of the rows in which a category has a value.

    Attributes:
        auc: None where all of its labels are the same.
    """

    column: str
    value: str
    rows: int
    positives: int
    auc: float | None = None
    brier: float


class Evaluation(Value):
    """Challenger against champion on held-out labelled rows.

    Attributes:
        auc_difference: challenger minus champion, paired.
        brier_difference: challenger minus champion, paired (below zero: better).
        slices: of the challenger.
        champion: what it was compared with: SHA-256 of the champion's ``model.pkl``, or where nobody knows that its
            number; empty where there was none, or nobody said.
    """

    rows: int
    window: Window
    challenger_auc: Estimate
    challenger_brier: float
    champion_auc: Estimate | None = None
    champion_brier: float | None = None
    auc_difference: Estimate | None = None
    brier_difference: Estimate | None = None
    slices: tuple[Slice, ...] = ()
    champion: str = ""


class TrainingCompleted(Event):
    """A trained model lies in the artifacts bucket; run and version follow from this event.

    Attributes:
        environment_digest: SHA-256 of the files that lock its libraries.
        signature: columns and types that the model takes and gives, as its ``MLmodel`` file says.
        size: bytes of all files of its folder; None in events from before that was said.
        parity_digest: SHA-256 of the proof that its features are the same in serving; empty when there is none.
        predictions_digest: SHA-256 of what it and the champion said of the held-out rows.
        requested_by: who asked for the training, or the platform.
    """

    training_id: str
    model: str
    trigger: str
    artifact_key: str
    artifact_digest: str
    features: tuple[str, ...]
    dataset_digest: str
    dataset_key: str
    rows: int
    window: Window
    parameters: dict[str, str]
    metrics: dict[str, float]
    evaluation: Evaluation
    project_digest: str
    seconds: float
    cost: float
    environment_digest: str = ""
    signature: str = ""
    size: int | None = None
    parity_digest: str = ""
    predictions_digest: str = ""
    requested_by: str = ""


class TrainingFailed(Event):
    """A training ended without a model; its reservation is released, and what it cost is booked."""

    training_id: str
    model: str
    reason: str
    seconds: float = 0.0
    cost: float = 0.0


# --- tracking ----------------------------------------------------------------------------


class ExperimentCreated(Event):
    """An experiment exists."""

    experiment_id: str
    name: str


class ExperimentChanged(Event):
    """An experiment was renamed, deleted or restored."""

    experiment_id: str
    change: Literal["renamed", "deleted", "restored"]


class RunCreated(Event):
    """A run began."""

    run_id: str
    experiment_id: str
    training_id: str = ""


class TrainingRecorded(Event):
    """A training is a run by now, under an id that only its experiment's number makes whole."""

    training_id: str
    run_id: str
    experiment_id: str


class RunEnded(Event):
    """A run reached a final status."""

    run_id: str
    experiment_id: str
    status: str


class RunChanged(Event):
    """A run was deleted or restored."""

    run_id: str
    experiment_id: str
    change: Literal["deleted", "restored"]


class LoggedModelCreated(Event):
    """A logged model exists."""

    model_id: str
    experiment_id: str
    run_id: str = ""


class LoggedModelChanged(Event):
    """A logged model was finalized or deleted."""

    model_id: str
    experiment_id: str
    change: Literal["ready", "failed", "deleted"]


class RunRegistered(Event):
    """A version came out of a run: what the run was then. It answers ``ModelVersionCreated``.

    Attributes:
        model_id: the registered model's id, which a rename leaves as it is.
        code: the commit (or the entry point) that the run was started from; empty when it said none.
        datasets: digests of the datasets that it was given.
        metrics: its newest figures, those that are finite.
    """

    run_id: str
    experiment_id: str
    model: str
    model_id: str
    version: int
    code: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)


class RunsCollected(Event):
    """What had been deleted was removed for good, with all that belonged to it.

    Attributes:
        run_ids: the runs.
        model_ids: the logged models.
        whole: whether the experiment itself was removed too.
    """

    experiment_id: str
    run_ids: tuple[str, ...] = ()
    model_ids: tuple[str, ...] = ()
    whole: bool = False


# --- registry ----------------------------------------------------------------------------


class RegisteredModelCreated(Event):
    """A registered model exists.

    Attributes:
        description: salted hash of the description it was born with; empty without one.
        tags: salted hashes of the values of the tags it was born with, by key.
    """

    model: str
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


class RegisteredModelChanged(Event):
    """A registered model was renamed or deleted, or what is said of it changed.

    Attributes:
        key: of a tag.
        proof: salted hash of the value that was set, which itself is kept where it can be erased.
    """

    model: str
    change: Literal["renamed", "deleted", "description", "tag_set", "tag_deleted"]
    new_name: str = ""
    key: str = ""
    proof: str = ""


class ModelVersionCreated(Event):
    """A version of a registered model exists.

    Attributes:
        artifact_digest: SHA-256 of its ``model.pkl``; empty when it has none, or one too large to be read.
        dataset_digest: of the data it was trained on, where the platform trained it.
        code: the digest of the project, or the commit, that it was made with; empty when nobody said.
        environment_digest: SHA-256 of the file that locks its libraries; empty when it has none.
        origin: the version of another environment that this one copies, ``<stack>/<workspace>/<model>/<version>``.
        copied_from: the version here that this one is a copy of, ``<model>/<version>``.
        manifest: SHA-256 of the manifest that it came with, where it has an origin.
        datasets: of the data that its run was given, where that is known by now.
        metrics: figures of the platform's own training.
        description: salted hash of the description it was born with; empty without one.
        tags: salted hashes of the values of the tags it was born with, by key.
        told: values of those that gates read, when they are figures or digests, by key.
    """

    model: str
    version: int
    source: str
    artifact_key: str
    run_id: str = ""
    training_id: str = ""
    features: tuple[str, ...] = ()
    artifact_digest: str = ""
    dataset_digest: str = ""
    code: str = ""
    environment_digest: str = ""
    origin: str = ""
    copied_from: str = ""
    manifest: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    told: dict[str, str] = Field(default_factory=dict)


class ModelVersionTraced(Event):
    """Tracking said what run a version came out of: what the run was then.

    Attributes:
        code: the commit (or the entry point) that the run was started from.
        datasets: digests of the datasets that it was given.
        metrics: its newest figures.
    """

    model: str
    version: int
    run_id: str
    code: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)


class ModelVersionChanged(Event):
    """What is said of a version changed.

    Attributes:
        key: of a tag; the stage's name, of a stage.
        value: of a tag that gates read, when it is a figure or a digest.
        proof: salted hash of the value that was set, which itself is kept where it can be erased.
    """

    model: str
    version: int
    change: Literal["description", "tag_set", "tag_deleted", "stage"]
    key: str = ""
    value: str = ""
    proof: str = ""


class ModelVersionDeleted(Event):
    """A version was deleted."""

    model: str
    version: int


class ModelVersionExported(Event):
    """A version was packed to be carried to another environment.

    Attributes:
        digest: SHA-256 of the bundle's manifest.
        target: where it is carried, if that was said.
    """

    model: str
    version: int
    digest: str
    target: str = ""


class CardChanged(Event):
    """People wrote sections of a version's model card.

    Attributes:
        revision: the card's revision after it.
        sections: those that changed.
        digest: SHA-256 of all sections with a random salt, which is kept with their texts.
    """

    model: str
    version: int
    revision: int
    sections: tuple[str, ...]
    digest: str


class GateResult(Value):
    """What one gate said."""

    gate: str
    passed: bool
    text: str


class TransitionRequested(Event):
    """Somebody asked that a version take an alias.

    Attributes:
        pending: gates that are still to be run, where their libraries are.
        approvals: how many people have to approve.
        results: what the other gates said.
    """

    request_id: str
    model: str
    version: int
    alias: str
    reason: str = ""
    pending: tuple[str, ...] = ()
    approvals: int = 0
    results: tuple[GateResult, ...] = ()


class TransitionJudged(Event):
    """The gates that were still to be run (again) said what they say.

    Attributes:
        champion: the version that was champion then.
        pending: gates that are still to be run, where their libraries are.
    """

    request_id: str
    model: str
    version: int
    alias: str
    results: tuple[GateResult, ...]
    champion: int | None = None
    pending: tuple[str, ...] = ()


class TransitionApproved(Event):
    """Somebody approved a request; the envelope's actor is who.

    Attributes:
        approvals: how many there are by now.
        needed: how many there must be.
    """

    request_id: str
    model: str
    version: int
    alias: str
    approvals: int
    needed: int


class TransitionRefused(Event):
    """A request ended without its alias: gates said no (all reasons at once), or people did, or it waited too long.

    Attributes:
        why: what ended it.
        reason: what a person wrote.
    """

    request_id: str
    model: str
    version: int
    alias: str
    results: tuple[GateResult, ...]
    why: Literal["gates", "rejected", "withdrawn", "expired", "superseded"] = "gates"
    reason: str = ""


class AliasChanged(Event):
    """An alias points to another version (or, with ``version`` None, to none any more).

    Attributes:
        forced: why the gates' no was overridden, if it was.
        requested_by: who asked, where that is not the envelope's actor.
        approved_by: who approved, in order.
    """

    model: str
    alias: str
    version: int | None
    previous: int | None
    request_id: str = ""
    results: tuple[GateResult, ...] = ()
    forced: str = ""
    reason: str = ""
    requested_by: str = ""
    approved_by: tuple[str, ...] = ()


# --- rollout -----------------------------------------------------------------------------


class Route(Value):
    """A share of traffic, in percent; shadows score everything and answer nobody."""

    version: int
    role: Literal["champion", "canary", "shadow"]
    percent: int


class RoutesChanged(Event):
    """Traffic of a model is split anew."""

    model: str
    routes: tuple[Route, ...]
    reason: str


class RolloutStarted(Event):
    """A canary began."""

    rollout_id: str
    model: str
    challenger: int
    champion: int
    percent: int


class Judgement(Value):
    """Evidence of a canary so far: paired loss differences (challenger minus champion) on rows that both scored.

    Attributes:
        mean: mean difference.
        low: lower end of the one-sided anytime-valid 95 % confidence sequence.
        high: upper end of the same for the other side.
    """

    rows: int
    mean: float
    low: float
    high: float


class RolloutStepped(Event):
    """The canary got a larger share."""

    rollout_id: str
    model: str
    percent: int
    judgement: Judgement


class RolloutPromoted(Event):
    """The canary passed its last step; the registry makes it champion."""

    rollout_id: str
    model: str
    challenger: int
    champion: int
    judgement: Judgement


class RolloutRolledBack(Event):
    """The canary did harm, or was aborted; all traffic is the champion's again."""

    rollout_id: str
    model: str
    challenger: int
    champion: int
    reason: str
    judgement: Judgement


# --- governance, insights ----------------------------------------------------------------


class AccessChanged(Event):
    """Who may do what changed.

    Attributes:
        token_id: of a token; the pseudonym of a principal or person; the digest of an identity provider.
        change: ``issued`` also admits a principal or a person; ``trusted`` and ``distrusted`` are about providers.
        grants: as text, ``allow admin on *``.
        expires: when a token stops being valid; empty: never.
    """

    token_id: str
    change: Literal["issued", "revoked", "rotated", "trusted", "distrusted"]
    roles: tuple[str, ...]
    actor: str = ""
    grants: tuple[str, ...] = ()
    expires: str = ""


class AccessRefused(Event):
    """A known caller was refused."""

    action: str
    resource: str


class LogArchived(Event):
    """A day of the log was written to the Object-Lock bucket.

    Attributes:
        key: of the day's manifest, beside which its parts lie.
        digest: SHA-256 of the manifest.
    """

    key: str
    day: str
    items: int
    digest: str


class AuditExported(Event):
    """Somebody took an export of the log.

    Attributes:
        start: of the period, inclusive.
        end: of the period, exclusive.
        items: how many were taken; 0 when it begins.
        digest: SHA-256 of the export's manifest, as its taker tells it; empty when it begins.
    """

    start: datetime
    end: datetime
    format: str
    items: int
    digest: str


class RootAnchored(Event):
    """The heads of all streams were written to the Object-Lock bucket.

    Attributes:
        streams: how many there are of this workspace; the root has those of all.
        items: how many these hold.
    """

    key: str
    streams: int
    items: int
    root: str


class WebhookChanged(Event):
    """A webhook was made, changed or removed; its address may hold a secret and is not told.

    Attributes:
        listens_to: names of the events that it is told of, ``model_version.created``.
        delivery_id: what somebody had sent again.
    """

    webhook_id: str
    change: Literal["created", "updated", "deleted", "redelivered"]
    listens_to: tuple[str, ...] = ()
    delivery_id: str = ""


class WebhookFailed(Event):
    """A delivery was given up after its last attempt and lies among the dead letters."""

    webhook_id: str
    delivery_id: str
    event_id: str
    attempts: int
    reason: str


class IncidentOpened(Event):
    """Something needs a person's eye."""

    incident_id: str
    severity: Literal["info", "warning", "critical"]
    subject: str
    text: str
    cause_id: str


class IncidentClosed(Event):
    """The cause of an incident is gone."""

    incident_id: str
    reason: str


class ScheduleDue(BaseModel):
    """The command that every schedule sends, and a virtual clock in its stead; no fact, so not in the log.

    Attributes:
        name: which schedule.
        at: when it was due; domain time of all that follows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    name: str
    at: datetime
    workspace: str = Field(default="", description="empty: the stack's own")


def _all_events(cls: type[Event] = Event) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for child in cls.__subclasses__():
        found[child.detail_type()] = child
        found.update(_all_events(child))
    return found


def kinds() -> dict[str, type[Event]]:
    """Return every event class by its detail type."""
    return dict(sorted(_all_events().items()))


class Delivery(Value):
    """An event as a consumer receives it.

    Attributes:
        consumer: the function that handles it.
    """

    consumer: str
    envelope: Envelope
    event: Any

    @classmethod
    def read(cls, consumer: str, detail: dict[str, Any]) -> Self:
        """Parse a bus event's ``detail``.

        Raises:
            InvalidInput: the detail is no envelope, or its type is unknown to this code.
        """
        envelope = Envelope.model_validate(detail)
        known = kinds().get(envelope.type)
        if known is None:
            raise InvalidInput(f"{consumer} got the unknown event type {envelope.type}")
        return cls(consumer=consumer, envelope=envelope, event=known.model_validate(envelope.data))
