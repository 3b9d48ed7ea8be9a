"""What tests of incidents share: one event of each kind that opens one, and notify over memory that takes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from support.http import deliver, handler_of, memory_wiring

from modelwright.adapters.memory import MemoryNotifier, MemoryTables
from modelwright.context import Call
from modelwright.events import (
    AlertFailed,
    AnomalyDetected,
    AttributionDrifted,
    ColumnDrift,
    Delivery,
    DriftDetected,
    Estimate,
    Evaluation,
    Event,
    ExpectationBroken,
    FairnessBroken,
    Finding,
    FreshnessBroken,
    GateResult,
    Judgement,
    ParityDifference,
    ParityFailed,
    PerformanceDegraded,
    PerformanceEstimated,
    QualityFailed,
    QuarantineReleased,
    RepairAsked,
    RolloutPromoted,
    RolloutRolledBack,
    RowsHeld,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TransitionRefused,
    WebhookFailed,
    Window,
)
from modelwright.insights.incidents import incidents
from modelwright.log import Log

START = datetime(2013, 1, 1, tzinfo=UTC)
WEEK = Window(start=START, end=START + timedelta(days=7))
JUDGEMENT = Judgement(rows=500, mean=0.02, low=0.01, high=0.03)


def quarantined(
    source: str = "weather", text: str = "a third of wind_speed is missing", identity: str = "q"
) -> QualityFailed:
    return QualityFailed(
        source=source, upload_key=f"{source}/7.csv", upload_version="1", quarantine_id=identity, quarantine_key="k",
        rows=3,
        findings=(Finding(check="missing_rate", column="wind_speed", severity="block", text=text),),
    )  # fmt: skip


def released(source: str = "weather", identity: str = "q") -> QuarantineReleased:
    return QuarantineReleased(source=source, quarantine_id=identity, reason="sent again")


def rolled_back(rollout: str = "r") -> RolloutRolledBack:
    return RolloutRolledBack(
        rollout_id=rollout, model="flights", challenger=4, champion=3, reason="harm is certain", judgement=JUDGEMENT
    )


def promoted(rollout: str = "p") -> RolloutPromoted:
    return RolloutPromoted(rollout_id=rollout, model="flights", challenger=5, champion=3, judgement=JUDGEMENT)


def completed() -> TrainingCompleted:
    return TrainingCompleted(
        training_id="t", model="flights", trigger="age", artifact_key="k", artifact_digest="d", features=("x",),
        dataset_digest="d", dataset_key="k", rows=9, window=WEEK, parameters={}, metrics={}, project_digest="p",
        seconds=1.5, cost=0.1, evaluation=Evaluation(
            rows=1, window=WEEK, challenger_auc=Estimate(value=0.7, low=0.6, high=0.8), challenger_brier=0.3
        ),
    )  # fmt: skip


SAMPLES: tuple[tuple[Event, str, str, str], ...] = (
    (quarantined(), "quarantine/weather/q", "critical", "weather/7.csv is in quarantine: a third of wind_speed"),
    (
        DriftDetected(
            source="weather", window=WEEK, reference="the last 56 days",
            columns=(
                ColumnDrift(column="temp", detector="ks", effect=0.5, floor=0.1, p_value=0, drifted=True),
                ColumnDrift(column="dewp", detector="ks", effect=0.05, floor=0.1, p_value=0, drifted=False),
            ),
        ),
        "drift/weather", "info", "weather drifted from the last 56 days: temp (ks 0.5)",
    ),
    (
        PerformanceDegraded(
            model="flights", version=1, window=WEEK, metric="auc", reference=0.7, reason="auc fell from 0.70 to 0.65",
            value=Estimate(value=0.65, low=0.63, high=0.67),
        ),
        "model/flights/performance", "warning", "auc fell from 0.70 to 0.65",
    ),
    (
        rolled_back(),
        "model/flights/rollback/r", "critical", "version 4 of flights was rolled back: harm is certain",
    ),
    (
        TrainingFailed(training_id="t", model="flights", reason="out of memory"),
        "model/flights/training", "critical", "training t failed: out of memory",
    ),
    (
        TrainingDeclined(model="flights", trigger="performance", reasons=("quarantine", "budget")),
        "model/flights/declined", "info", "performance asked to train flights: declined: quarantine; budget",
    ),
    (
        TransitionRefused(
            request_id="r", model="flights", version=2, alias="champion",
            results=(
                GateResult(gate="floor", passed=False, text="auc .5 is below .6"),
                GateResult(gate="known", passed=True, text="data is known"),
            ),
        ),
        "model/flights/transition", "info", "version 2 may not become champion: auc .5 is below .6",
    ),
    (
        WebhookFailed(webhook_id="w", delivery_id="w-e", event_id="e", attempts=8, reason="answered 503"),
        "webhook/w", "warning", "delivery w-e was given up after 8 attempts: answered 503",
    ),
    (
        ParityFailed(
            service="flights", digest="d" * 64, key="k", rows=9, values=99, window=WEEK,
            differences=(ParityDifference(feature="temp", cause="float width", count=3),),
        ),
        "service/flights/parity", "warning",
        f"flights is served otherwise than it is trained on: temp in 3 rows (float width); proof {'d' * 16}",
    ),
    (
        FreshnessBroken(view="sky", newest=START, limit="2h"),
        "view/sky/freshness", "warning",
        f"no row of view sky became known for more than 2h: the newest did at {START:%Y-%m-%d %H:%M:%S} UTC",
    ),
    (
        ExpectationBroken(view="sky", feature="temp", text="3 of 5 are above 110, up to 120", window=WEEK),
        "view/sky/expectation/temp", "warning",
        "values of temp in view sky are not what is expected: 3 of 5 are above 110, up to 120",
    ),
    (
        RowsHeld(source="levels", upload_key="readings/7.csv", rows=2, key="quarantine/k", reasons=tuple("abcd")),
        "source/levels/held", "warning",
        "2 rows of readings/7.csv are held and in no feature of levels: a; b; c; and more. They lie in the lake at "
        "quarantine/k. Send them again corrected, or repair the function that derives from them and run `modelwright "
        "features backfill levels`: the next new rows of it, if none is held, close this",
    ),
    (
        RepairAsked(source="weather", quarantine_id="q", choices=("a@1: x", "b@1: y"), reason="two units fit"),
        "quarantine/weather/q", "critical", "a repair of weather waits for a person: two units fit: a@1: x; b@1: y",
    ),
    (
        AnomalyDetected(series="function/predict/errors", at=START, value=90, low=0, high=5, text="90 errors"),
        "series/function/predict/errors", "warning", "90 errors",
    ),
    (
        PerformanceEstimated(
            model="flights", version=1, window=WEEK, estimator="cbpe", metric="auc", rows=900, reference=0.7,
            value=Estimate(value=0.6, low=0.58, high=0.62), degraded=True, assumes="that it is calibrated",
        ),
        "model/flights/estimate/cbpe/auc", "warning",
        "auc of flights version 1 is estimated at 0.600 (0.580 to 0.620) by cbpe",
    ),
    (
        FairnessBroken(
            model="flights", version=1, window=WEEK, group="carrier", metric="accuracy", worst="A", best="B",
            difference=Estimate(value=0.2, low=0.15, high=0.25), tolerance=0.1, reason="A is worse off than B",
        ),
        "model/flights/fairness/carrier/accuracy", "warning", "A is worse off than B",
    ),
    (
        AttributionDrifted(model="flights", version=1, window=WEEK, ndcg=0.7, floor=0.9, features=("hour: .1 -> .4",)),
        "model/flights/attribution", "info", "version 1 of flights rests on other features",
    ),
    (
        AlertFailed(notifier="slack", incident_id="i", reason="answered 410"),
        "channel/slack/alert", "warning", "the channel slack took no alert of incident i: answered 410",
    ),
)  # fmt: skip

DEGRADED = SAMPLES[2][0]


def delivery(event: Event, number: int, workspace: str = "default") -> Delivery:
    detail = {
        "id": f"event-{number:04}", "type": event.detail_type(), "schema_version": 1, "workspace": workspace,
        "stream": f"WS#{workspace}#X#x", "sequence": number + 1, "at": START + timedelta(hours=number),
        "actor": "platform", "correlation_id": "c", "data": event.model_dump(mode="json"),
    }  # fmt: skip
    return Delivery.read("notify", detail)


def call(workspace: str = "default") -> Call:
    return Call(workspace, "platform", START, "c")


class Platform:
    """The notify function over memory, that takes deliveries one by one."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self.topic = MemoryNotifier()
        wiring = memory_wiring(tables=self.tables, environment={"MODELWRIGHT_ALERT_TOPIC": "arn"})
        wiring.cache["notifiers"] = {"sns": self.topic}
        self.function = handler_of("notify", wiring)

    def take(self, *events: Event, start: int = 0) -> list[str]:
        return [self.deliver(delivery(event, number)) for number, event in enumerate(events, start)]

    def deliver(self, given: Delivery) -> str:
        outcome: str = deliver(self.function, given.envelope)["outcome"]
        return outcome

    def known(self, workspace: str = "default") -> dict[str, dict[str, Any]]:
        return {one["subject"]: one for one in incidents(call(workspace), tables=self.tables)}

    def open(self) -> list[str]:
        return [subject for subject, one in self.known().items() if one["open"]]

    def happened(self) -> list[str]:
        hours = Log(self.tables).hour(datetime.now(UTC))
        return sorted(item.envelope.type for item in hours)
