"""Events of trainings, from the request to the model."""

from pydantic import Field

from modelwright.events.envelope import Estimate, Event, Value, Window


class TrainingCause(Value):
    """What a trigger was asked about, so that another policy can be asked about the same.

    Attributes:
        id: of the event; of the schedule, its name and time; of a person's wish, that of the request.
        text: for a person.
        version: the model version it is about, if it is about one.
        metric: in which that version got worse.
        fall: by how much it did, whichever way the metric runs.
    """

    kind: str
    id: str
    text: str = ""
    version: int | None = None
    metric: str = ""
    fall: float | None = None


class TrainingRequested(Event):
    """A training was decided and its budget reserved.

    Attributes:
        cause: what came; None in events from before that was said, as below.
        queue_id: of the trigger that waited for its turn; empty if it did not.
        standing: how often what is known of the model had changed when this was decided.
        heard: ids of the newest events by which it had, in the order in which they were heard.
        expected_gain: of the model's metric, by which the new model is expected to be better; None: nobody can say.
        gain_text: where that figure comes from.
    """

    training_id: str
    model: str
    trigger: str
    reason: str
    trainer: str
    window: Window
    champion: int | None
    reserved: float
    expected_gain: float | None = None
    gain_text: str = ""
    cause: TrainingCause | None = None
    queue_id: str = ""
    standing: int = 0
    heard: tuple[str, ...] = ()


class TrainingQueued(Event):
    """A trigger came while a training or a rollout was on; it waits for its turn.

    Attributes:
        place: in the queue, from 1.
        cause: see ``TrainingRequested``, as ``standing`` and ``heard``.
    """

    model: str
    trigger: str
    reason: str
    queue_id: str
    place: int
    cause: TrainingCause | None = None
    standing: int = 0
    heard: tuple[str, ...] = ()


class TrainingDeclined(Event):
    """A trigger came and no training was started; every reason at once.

    Attributes:
        cause: see ``TrainingRequested``, as ``queue_id``, ``standing`` and ``heard``.
    """

    model: str
    trigger: str
    reasons: tuple[str, ...]
    cause: TrainingCause | None = None
    queue_id: str = ""
    standing: int = 0
    heard: tuple[str, ...] = ()


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
        challenger_auc: of a classification, as are the other figures of that kind.
        metrics: the challenger's figures where numbers are predicted, by name.
        champion_metrics: the champion's.
        differences: challenger minus champion, paired, of ``mae`` and ``rmse`` (below zero: better).
        auc_difference: challenger minus champion, paired.
        brier_difference: challenger minus champion, paired (below zero: better).
        slices: of the challenger.
        champion: what it was compared with: SHA-256 of the champion's ``model.pkl``, or where nobody knows that its
            number; empty where there was none, or nobody said.
    """

    rows: int
    window: Window
    challenger_auc: Estimate | None = None
    challenger_brier: float | None = None
    champion_auc: Estimate | None = None
    champion_brier: float | None = None
    auc_difference: Estimate | None = None
    brier_difference: Estimate | None = None
    slices: tuple[Slice, ...] = ()
    champion: str = ""
    metrics: dict[str, Estimate] = Field(default_factory=dict)
    champion_metrics: dict[str, Estimate] = Field(default_factory=dict)
    differences: dict[str, Estimate] = Field(default_factory=dict)


class SearchCandidate(Value):
    """What a search tried, and how far it came.

    Attributes:
        name: its kind of model and its number.
        parameters: of the kind of model.
        rung: the last in which it was fitted, from 0.
        rows: it was fitted to there.
        metric: on rows that are newer than these; None where it could not be fitted.
        text: why it could not.
        seconds: in all of its rungs.
    """

    name: str
    parameters: dict[str, str]
    rung: int
    rows: int
    metric: float | None = None
    text: str = ""
    seconds: float = 0.0


class TrainingPaused(Event):
    """A training handed over to its own next invocation, which goes on where it was.

    Attributes:
        done: fits that are behind it.
        seconds: that it has taken so far.
    """

    training_id: str
    model: str
    done: int
    seconds: float


class TrainingBilled(Event):
    """The service where a training ran says how long it did: what it cost is booked by that.

    Attributes:
        cost: in all, instead of what the training said of itself.
    """

    training_id: str
    model: str
    seconds: float
    cost: float


class TrainingCompleted(Event):
    """A trained model lies in the artifacts bucket; run and version follow from this event.

    Attributes:
        environment_digest: SHA-256 of the files that lock its libraries.
        signature: columns and types that the model takes and gives, as its ``MLmodel`` file says.
        size: bytes of all files of its folder; None in events from before that was said.
        parity_digest: SHA-256 of the proof that its features are the same in serving; empty when there is none.
        predictions_digest: SHA-256 of what it and the champion said of the held-out rows.
        requested_by: who asked for the training, or the platform.
        candidates: what a search tried, best first; empty where nothing was searched.
        searched_by: the metric of the candidates.
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
    candidates: tuple[SearchCandidate, ...] = ()
    searched_by: str = ""


class TrainingFailed(Event):
    """A training ended without a model; its reservation is released, and what it cost is booked."""

    training_id: str
    model: str
    reason: str
    seconds: float = 0.0
    cost: float = 0.0
