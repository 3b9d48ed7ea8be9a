"""Events of trainings, from the request to the model."""

from modelwright.events.envelope import Estimate, Event, Value, Window


class TrainingRequested(Event):
    """A training was decided and its budget reserved.

    Attributes:
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


class TrainingQueued(Event):
    """A trigger came while a training or a rollout was on; it waits for its turn.

    Attributes:
        place: in the queue, from 1.
    """

    model: str
    trigger: str
    reason: str
    queue_id: str
    place: int


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
