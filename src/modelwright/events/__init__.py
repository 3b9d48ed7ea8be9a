"""What functions promise each other: every event of the platform, versioned.

An event is a fact in the past tense. Its class name is EventBridge's ``detail-type``; its
fields only ever get added to, and a change of meaning is a new class. Events carry ids,
digests, figures and reasons, never rows of data or personal values, because the log keeps
them for ever. ``events/schemas`` holds the JSON schemas generated from them.

Each capability's events lie in a module of their own, which is imported when one of them is first asked for:
a function starts without those that it never sees. All are imported from here.

Times are ISO 8601 in UTC. A *window* is half open: ``[start, end)``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from modelwright.errors import InvalidInput
from modelwright.events.envelope import SCHEDULE_DUE, SOURCE, Envelope, Estimate, Event, ScheduleDue, Value, Window

if TYPE_CHECKING:
    from modelwright.events.data import (
        ColumnDrift,
        DriftDetected,
        FeaturesMaterialized,
        Finding,
        QualityFailed,
        QuarantineReleased,
        QuarantineRepaired,
        RepairAsked,
        RepairReverted,
        TrainingSetSaved,
        UploadAccepted,
    )
    from modelwright.events.features import (
        BackfillCompleted,
        BackfillRequested,
        DatasetRewritten,
        ErasureRequested,
        ExpectationBroken,
        ExpectationMet,
        FreshnessBroken,
        FreshnessRestored,
        HistoricalFeaturesFailed,
        HistoricalFeaturesRequested,
        HistoricalFeaturesSaved,
        ParityDifference,
        ParityFailed,
        ParityProven,
        ParityRequested,
        RowsHeld,
        SubjectErased,
    )
    from modelwright.events.governance import (
        AccessChanged,
        AccessRefused,
        AuditExported,
        LogArchived,
        ProjectApplied,
        RootAnchored,
    )
    from modelwright.events.insights import (
        AlertFailed,
        AnomalyDetected,
        AnomalyEnded,
        IncidentClosed,
        IncidentOpened,
        SilenceChanged,
        WebhookChanged,
        WebhookFailed,
    )
    from modelwright.events.performance import (
        AttributionDrifted,
        CalibrationPoint,
        Comparison,
        FairnessBroken,
        FairnessRestored,
        Performance,
        PerformanceDegraded,
        PerformanceEstimated,
        PerformanceMeasured,
    )
    from modelwright.events.registry import (
        AliasChanged,
        CardChanged,
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
    from modelwright.events.retraining import (
        Evaluation,
        SearchCandidate,
        Slice,
        TrainingBilled,
        TrainingCause,
        TrainingCompleted,
        TrainingDeclined,
        TrainingFailed,
        TrainingPaused,
        TrainingQueued,
        TrainingRequested,
        TrainingStarted,
    )
    from modelwright.events.rollout import (
        Judgement,
        RolloutPromoted,
        RolloutRolledBack,
        RolloutStarted,
        RolloutStepped,
        Route,
        RoutesChanged,
    )
    from modelwright.events.tracking import (
        ExperimentChanged,
        ExperimentCreated,
        LoggedModelChanged,
        LoggedModelCreated,
        RunChanged,
        RunCreated,
        RunEnded,
        RunRegistered,
        RunsCollected,
        TrainingRecorded,
    )

__all__ = [
    "SCHEDULE_DUE",
    "SOURCE",
    "AccessChanged",
    "AccessRefused",
    "AlertFailed",
    "AliasChanged",
    "AnomalyDetected",
    "AnomalyEnded",
    "AttributionDrifted",
    "AuditExported",
    "BackfillCompleted",
    "BackfillRequested",
    "CalibrationPoint",
    "CardChanged",
    "ColumnDrift",
    "Comparison",
    "DatasetRewritten",
    "Delivery",
    "DriftDetected",
    "Envelope",
    "ErasureRequested",
    "Estimate",
    "Evaluation",
    "Event",
    "ExpectationBroken",
    "ExpectationMet",
    "ExperimentChanged",
    "ExperimentCreated",
    "FairnessBroken",
    "FairnessRestored",
    "FeaturesMaterialized",
    "Finding",
    "FreshnessBroken",
    "FreshnessRestored",
    "GateResult",
    "HistoricalFeaturesFailed",
    "HistoricalFeaturesRequested",
    "HistoricalFeaturesSaved",
    "IncidentClosed",
    "IncidentOpened",
    "Judgement",
    "LogArchived",
    "LoggedModelChanged",
    "LoggedModelCreated",
    "ModelVersionChanged",
    "ModelVersionCreated",
    "ModelVersionDeleted",
    "ModelVersionExported",
    "ModelVersionTraced",
    "ParityDifference",
    "ParityFailed",
    "ParityProven",
    "ParityRequested",
    "Performance",
    "PerformanceDegraded",
    "PerformanceEstimated",
    "PerformanceMeasured",
    "ProjectApplied",
    "QualityFailed",
    "QuarantineReleased",
    "QuarantineRepaired",
    "RegisteredModelChanged",
    "RegisteredModelCreated",
    "RepairAsked",
    "RepairReverted",
    "RolloutPromoted",
    "RolloutRolledBack",
    "RolloutStarted",
    "RolloutStepped",
    "RootAnchored",
    "Route",
    "RoutesChanged",
    "RowsHeld",
    "RunChanged",
    "RunCreated",
    "RunEnded",
    "RunRegistered",
    "RunsCollected",
    "ScheduleDue",
    "SearchCandidate",
    "SilenceChanged",
    "Slice",
    "SubjectErased",
    "TrainingBilled",
    "TrainingCause",
    "TrainingCompleted",
    "TrainingDeclined",
    "TrainingFailed",
    "TrainingPaused",
    "TrainingQueued",
    "TrainingRecorded",
    "TrainingRequested",
    "TrainingSetSaved",
    "TrainingStarted",
    "TransitionApproved",
    "TransitionJudged",
    "TransitionRefused",
    "TransitionRequested",
    "UploadAccepted",
    "Value",
    "WebhookChanged",
    "WebhookFailed",
    "Window",
    "kinds",
]

_NAMES = {
    "data": (
        "ColumnDrift",
        "DriftDetected",
        "FeaturesMaterialized",
        "Finding",
        "QualityFailed",
        "QuarantineReleased",
        "QuarantineRepaired",
        "RepairAsked",
        "RepairReverted",
        "TrainingSetSaved",
        "UploadAccepted",
    ),
    "features": (
        "BackfillCompleted",
        "BackfillRequested",
        "DatasetRewritten",
        "ErasureRequested",
        "ExpectationBroken",
        "ExpectationMet",
        "FreshnessBroken",
        "FreshnessRestored",
        "HistoricalFeaturesFailed",
        "HistoricalFeaturesRequested",
        "HistoricalFeaturesSaved",
        "ParityDifference",
        "ParityFailed",
        "ParityProven",
        "ParityRequested",
        "RowsHeld",
        "SubjectErased",
    ),
    "governance": ("AccessChanged", "AccessRefused", "AuditExported", "LogArchived", "ProjectApplied", "RootAnchored"),
    "insights": (
        "AlertFailed",
        "AnomalyDetected",
        "AnomalyEnded",
        "IncidentClosed",
        "IncidentOpened",
        "SilenceChanged",
        "WebhookChanged",
        "WebhookFailed",
    ),
    "performance": (
        "AttributionDrifted",
        "CalibrationPoint",
        "Comparison",
        "FairnessBroken",
        "FairnessRestored",
        "Performance",
        "PerformanceDegraded",
        "PerformanceEstimated",
        "PerformanceMeasured",
    ),
    "registry": (
        "AliasChanged",
        "CardChanged",
        "GateResult",
        "ModelVersionChanged",
        "ModelVersionCreated",
        "ModelVersionDeleted",
        "ModelVersionExported",
        "ModelVersionTraced",
        "RegisteredModelChanged",
        "RegisteredModelCreated",
        "TransitionApproved",
        "TransitionJudged",
        "TransitionRefused",
        "TransitionRequested",
    ),
    "retraining": (
        "Evaluation",
        "SearchCandidate",
        "Slice",
        "TrainingBilled",
        "TrainingCause",
        "TrainingCompleted",
        "TrainingDeclined",
        "TrainingFailed",
        "TrainingPaused",
        "TrainingQueued",
        "TrainingRequested",
        "TrainingStarted",
    ),
    "rollout": (
        "Judgement",
        "RolloutPromoted",
        "RolloutRolledBack",
        "RolloutStarted",
        "RolloutStepped",
        "Route",
        "RoutesChanged",
    ),
    "tracking": (
        "ExperimentChanged",
        "ExperimentCreated",
        "LoggedModelChanged",
        "LoggedModelCreated",
        "RunChanged",
        "RunCreated",
        "RunEnded",
        "RunRegistered",
        "RunsCollected",
        "TrainingRecorded",
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


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
        known = _kind(envelope.type)
        if known is None:
            raise InvalidInput(f"{consumer} got the unknown event type {envelope.type}")
        return cls(consumer=consumer, envelope=envelope, event=known.model_validate(envelope.data))


def kinds() -> dict[str, type[Event]]:
    """Return every event class by its detail type; all modules are imported for it."""
    for module in _NAMES:
        import_module(f"{__name__}.{module}")
    return dict(sorted(_all_events().items()))


def _all_events(cls: type[Event] = Event) -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for child in cls.__subclasses__():
        found[child.detail_type()] = child
        found.update(_all_events(child))
    return found


def _kind(name: str) -> type[Event] | None:
    if name in _MODULES:
        import_module(f"{__name__}.{_MODULES[name]}")
    return _all_events().get(name)


if not TYPE_CHECKING:  # else mypy would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
