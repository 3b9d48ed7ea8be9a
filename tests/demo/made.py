"""A made-up year: predictions and a log as a replay would leave them, from a seed."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from modelwright.demo import report
from modelwright.demo.data import Week, weeks
from modelwright.demo.report import Metered, Parity, Report
from modelwright.events import (
    AliasChanged,
    Envelope,
    Estimate,
    Evaluation,
    Event,
    Finding,
    GateResult,
    IncidentClosed,
    IncidentOpened,
    Judgement,
    ModelVersionCreated,
    PerformanceDegraded,
    QualityFailed,
    QuarantineReleased,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
    TrainingCompleted,
    TrainingDeclined,
    TrainingRequested,
    TransitionRefused,
    Window,
)
from modelwright.log import GENESIS, LogItem, new_id, stream_of

WEEKS = tuple(week for week in weeks() if week.number >= 1)
_WINDOW = Window(start=WEEKS[0].start, end=WEEKS[1].start)
_JUDGED = Judgement(rows=6_000, mean=-0.001, low=-0.002, high=0.0005)


@dataclass
class Log:
    """Collects log items; every stream is chained."""

    items: list[LogItem] = field(default_factory=list)
    ids: Any = field(default_factory=lambda: count(1))

    def add(self, at: pd.Timestamp, kind: str, identity: str, event: Event) -> None:
        stream = stream_of("default", kind, identity)
        before = [item for item in self.items if item.envelope.stream == stream]
        wall = WEEKS[0].start + timedelta(milliseconds=next(self.ids))
        envelope = Envelope(
            id=new_id(wall),
            type=event.detail_type(),
            schema_version=1,
            workspace="default",
            stream=stream,
            sequence=len(before) + 1,
            at=at,
            actor="platform",
            correlation_id="c",
            data=event.model_dump(mode="json"),
        )
        self.items.append(LogItem.chain(envelope, before[-1].hash if before else GENESIS))

    def model(self, at: pd.Timestamp, *events: Event) -> None:
        for event in events:
            self.add(at, "MODEL", "flights", event)


def training(log: Log, at: pd.Timestamp, version: int, trigger: str, reason: str) -> str:
    identity = f"training-{version}"
    requested = TrainingRequested(
        training_id=identity, model="flights", trigger=trigger, reason=reason, trainer="lambda", window=_WINDOW,
        champion=version - 1, reserved=0.05,
    )  # fmt: skip
    auc = Estimate(value=0.74, low=0.73, high=0.75)
    completed = TrainingCompleted(
        training_id=identity, model="flights", trigger=trigger, artifact_key="default/x/", artifact_digest="d",
        features=("hour",), dataset_digest="d", dataset_key="k", rows=20_000 + 6_000 * version, window=_WINDOW,
        parameters={}, metrics={}, project_digest="p", seconds=4.5, cost=0.001,
        evaluation=Evaluation(rows=6_000, window=_WINDOW, challenger_auc=auc, challenger_brier=0.15),
    )  # fmt: skip
    created = ModelVersionCreated(
        model="flights", version=version, source="s", artifact_key="default/x/", training_id=identity
    )
    log.model(at, requested, completed, created)
    return identity


def rollout(log: Log, week: int, challenger: int, champion: int, *, promoted: bool = True, forced: str = "") -> None:
    identity, starts = f"rollout-{challenger}", [w.start for w in WEEKS]
    alias = AliasChanged(model="flights", alias="challenger", version=challenger, previous=None, forced=forced)
    started = RolloutStarted(rollout_id=identity, model="flights", challenger=challenger, champion=champion, percent=10)
    log.model(starts[week - 1], alias, started)
    if not promoted:
        reason = "mean Brier difference +0.0310 on 6,201 flights is above the margin 0.005"
        back = RolloutRolledBack(
            rollout_id=identity, model="flights", challenger=challenger, champion=champion, reason=reason,
            judgement=_JUDGED,
        )  # fmt: skip
        log.model(starts[week], back)
        return
    log.model(starts[week], RolloutStepped(rollout_id=identity, model="flights", percent=50, judgement=_JUDGED))
    done = RolloutPromoted(
        rollout_id=identity, model="flights", challenger=challenger, champion=champion, judgement=_JUDGED
    )
    changed = AliasChanged(model="flights", alias="champion", version=challenger, previous=champion)
    log.model(starts[week + 1], done, changed)


PROMOTED = ((5, 2, 1), (10, 3, 2), (16, 4, 3), (25, 6, 4), (33, 7, 6), (41, 8, 7))
"""Week of the rollout's begin, challenger, champion."""
BAD_WEEK, BAD_VERSION, BAD_CHAMPION = 20, 5, 4
FAULT_WEEK = 8


def log() -> Log:
    """Return the log of the year."""
    made = Log()
    starts = [week.start for week in WEEKS]
    first = AliasChanged(model="flights", alias="champion", version=1, previous=None)
    made.model(starts[0], ModelVersionCreated(model="flights", version=1, source="s", artifact_key="default/x/"), first)
    for week, challenger, champion in PROMOTED:
        at = starts[week - 1]
        aged = challenger in (4, 7)
        reason = (
            "nothing was trained for 56 days (at most 56)"
            if aged
            else "the mean score is 0.041 [0.022, 0.060] above the observed rate (floor 0.02)"
        )
        if not aged:
            made.add(at, "PERFORMANCE", "flights", _degraded(champion, reason))
        training(made, at, challenger, "age" if aged else "performance", reason)
        rollout(made, week, challenger, champion)
    rollout(made, BAD_WEEK, BAD_VERSION, BAD_CHAMPION, promoted=False, forced="a drill: labels were shuffled")
    training(made, starts[36], 9, "performance", "AUC fell from 0.761 to 0.733")
    worse = GateResult(gate="beats_champion", passed=False, text="Brier on the newest week is worse by 0.0021")
    made.model(
        starts[36], TransitionRefused(request_id="r", model="flights", version=9, alias="challenger", results=(worse,))
    )
    _fault(made, starts[FAULT_WEEK - 1])
    for week in (6, 11, 26):
        reasons = ("the cooldown of 21 days ends in 14.0 days", "rollout rollout-2 is active")
        made.add(
            starts[week],
            "TRAINING",
            "flights",
            TrainingDeclined(model="flights", trigger="performance", reasons=reasons),
        )
    return made


def _degraded(version: int, reason: str) -> PerformanceDegraded:
    value = Estimate(value=0.041, low=0.022, high=0.06)
    return PerformanceDegraded(
        model="flights",
        version=version,
        window=_WINDOW,
        metric="calibration",
        value=value,
        reference=0.0,
        reason=reason,
    )


def _fault(made: Log, at: pd.Timestamp) -> None:
    findings = (
        Finding(check="range_shift", column="temp", severity="block", text="temp: median 8.3, 46.9 before: Celsius?"),
        Finding(
            check="missing", column="wind_speed", severity="block", text="wind_speed: 33.4 % missing, 0.2 % before"
        ),
        Finding(check="drift", column="humid", severity="warn", text="humid moved a little"),
    )
    held = QualityFailed(
        source="weather", upload_key="weather/2013-03-22.parquet", upload_version="1", quarantine_id="q1",
        quarantine_key="quarantine/x", rows=504, window=_WINDOW, findings=findings,
    )  # fmt: skip
    made.add(at, "SOURCE", "weather", held)
    opened = IncidentOpened(
        incident_id="i1", severity="critical", subject="quarantine/weather", text="in quarantine", cause_id="q1"
    )
    made.add(at, "INCIDENT", "i1", opened)
    released = QuarantineReleased(source="weather", quarantine_id="q1", reason="sent again correctly")
    made.add(at + pd.Timedelta(days=2), "SOURCE", "weather", released)
    made.add(at + pd.Timedelta(days=2), "INCIDENT", "i1", IncidentClosed(incident_id="i1", reason="released"))


def predictions(per_week: int = 300, replayed: tuple[Week, ...] = WEEKS, seed: int = 7) -> pd.DataFrame:
    """Return the predictions of the year that ``log`` tells: the January model drifts off, later ones do not."""
    rng = np.random.default_rng(seed)
    frames = []
    for week in replayed:
        n = week.number
        rows = per_week if n < 48 else per_week // 3
        rate = 0.24 + 0.09 * np.sin(n / 6.5) + rng.normal(0, 0.035)
        truth = np.log(rate / (1 - rate)) + rng.normal(0, 1.15, rows)
        label = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
        label[rng.random(rows) < 0.02] = np.nan
        ids = [f"2013-W{n:02}-{k:05}" for k in range(rows)]
        as_of = week.start + pd.to_timedelta(
            np.sort(rng.uniform(0, (week.end - week.start).total_seconds(), rows)), "s"
        )
        champion, canary, share = _routes(n)
        on_canary = rng.random(rows) < share
        base = pd.DataFrame({"flight_id": ids, "label": label, "week": n, "as_of": as_of})
        for version in dict.fromkeys([1, champion, *([canary] if canary else [])]):
            route = np.where(on_canary == (version == canary), "canary" if version == canary else "champion", "shadow")
            route = route if version in (champion, canary) else np.full(rows, "shadow")
            frames.append(base.assign(version=version, route=route, score=_score(version, n, truth, rng)))
    return pd.concat(frames, ignore_index=True)


def _routes(week: int) -> tuple[int, int | None, float]:
    champion, canary, share = 1, None, 0.0
    for start, challenger, _ in PROMOTED:
        if week >= start + 2:
            champion = challenger
        elif week >= start:
            canary, share = challenger, 0.1 if week == start else 0.5
    if week == BAD_WEEK:
        canary, share = BAD_VERSION, 0.1
    return champion, canary, share


def _score(version: int, week: int, truth: Any, rng: np.random.Generator) -> Any:
    born = {1: 0, **{challenger: start for start, challenger, _ in PROMOTED}}.get(version, week)
    noise = 1.15 + 0.012 * min(week - born, 40)
    logit = (
        rng.normal(-1.1, 0.8, len(truth))
        if version == BAD_VERSION
        else 0.6 * (truth + rng.normal(0, noise, len(truth)))
    )
    return 1 / (1 + np.exp(-(logit - 0.35 + 0.25 * (version == 1))))


def outcomes() -> list[dict[str, Any]]:
    """Return outcome lines as functions print them."""
    predict = {
        "service": "predict",
        "message": "POST /v1/predict/flights",
        "ms": 310.0,
        "read_units": 900,
        "s3_writes": 1,
    }
    return [
        *[{**predict, "status": 200} for _ in range(300)],
        *[
            {"service": "monitor", "message": "upload x", "ms": 400.0, "write_units": 30, "s3_reads": 1}
            for _ in range(150)
        ],
        *[{"service": "materialize", "message": "UploadAccepted", "ms": 420.0, "write_units": 800} for _ in range(150)],
        {"service": "anchor", "message": "ScheduleDue anchor", "ms": 20.0, "correlation_id": "a"},
    ]


def made_report(per_week: int = 300, replayed: tuple[Week, ...] = WEEKS) -> Report:
    """Return the report of the year, or of some weeks of it."""
    table = predictions(per_week, replayed)
    items = [item for item in log().items if item.envelope.at < replayed[-1].end]
    return report.build(
        items=items,
        predictions=table,
        weeks=replayed,
        expected=set(table["flight_id"]),
        parity=Parity(compared=11_204, equal=11_204, first_difference=None),
        chain=report.chain_of([], 14, len(items)),
        dead_letters=0,
        deliveries={"expected": 2_310, "handled": 2_310},
        metered=Metered(outcomes(), {"predict": 2048, "monitor": 2048, "materialize": 2048, "train": 4096}),
        seconds=634.2,
        path=".modelwright/demo/predictions.parquet",
        options={"weeks": len(replayed), "fast": False},
    )
