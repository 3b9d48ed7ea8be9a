"""Replays the year on a virtual clock, only through doors that users have.

Files land in S3, predictions are asked over HTTP, rows are pushed over HTTP, and the schedules'
events are sent with virtual times. What the platform makes of it is its own affair; the replay
waits until it is quiet before time goes on.

A replay can be stopped at any time: every request is the same when it is sent again, and what was
finished is kept in ``progress.json``, so that the next one goes on with the week that was broken off.
"""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.client import TOKEN, Api
from modelwright.demo import scientist
from modelwright.demo.data import HOUR, LEARNED, YEAR, Flights, Week, batches, broken, weeks
from modelwright.demo.observer import Observer
from modelwright.demo.outcomes import Outcomes
from modelwright.local import stacks
from modelwright.local.stack import Running
from modelwright.log import LogItem
from modelwright.team import Team

MODEL = "flights"
BATCH = 2_000
LIVED_EVERY = 4
BROKEN_WEEK = 6
PLANTED_FROM = 8
_DAY = pd.Timedelta(days=1)
_INSTANT = pd.Timedelta(microseconds=1)


@dataclass
class Progress:
    """What was finished, so that a broken replay goes on.

    Attributes:
        began: wall time of the beginning.
        done: numbers of finished weeks.
        planted: the version that was planted, once it was.
        parity: predictions compared and found equal.
        difference: the first that was not.
        seconds: of earlier sessions.
    """

    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    done: list[int] = field(default_factory=list)
    planted: int = 0
    compared: int = 0
    equal: int = 0
    difference: str = ""
    seconds: float = 0.0
    finished: bool = False

    @classmethod
    def read(cls, path: Path) -> "Progress":
        """Return what a file tells, or a new beginning."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def write(self, path: Path) -> None:
        """Keep it, all or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.replace(path)


class Replay:
    """One replay of the year on one running local stack.

    Args:
        running: the stack; it must allow a virtual time.
        team: the project.
        observer: sees what happens.
        outcomes: sees what functions printed.
        progress: what was finished before.
        flights: the year's data.
        home: where what was lived hour by hour is kept until its week is done.
        keep: called after each finished step of ``progress``.
        tell: called with each thing worth a line.
    """

    def __init__(
        self,
        running: Running,
        team: Team,
        observer: Observer,
        outcomes: Outcomes,
        progress: Progress,
        flights: Flights,
        home: Path,
        *,
        keep: Callable[[Progress], None],
        tell: Callable[[str], None],
    ) -> None:
        self._running = running
        self._team = team
        self._observer = observer
        self._outcomes = outcomes
        self._progress = progress
        self._keep = keep
        self._tell = tell
        self._flights = flights
        self._home = home
        self._s3 = running.client("s3")
        self._events = running.client("events")
        self._token = running.extra[TOKEN]

    def learn(self, week: Week) -> None:
        """Land a block of the learning month; after its last, train, register and crown the first model."""
        if week.start == YEAR:
            stacks.apply(self._team, self._api(week.start))
        self._land_features(week, self._flights.weather_known(week.start, week.end))
        self._land("arrivals", self._flights.arrivals_known(week.start, week.end), week.close)
        self._observer.settle()
        if week.end == LEARNED:
            self._first_model()
        self._finish(week)

    def live(self, week: Week, last: int) -> None:
        """Live one week: data lands, flights are predicted, outcomes arrive.

        Args:
            week: which.
            last: number of the last week: its file of outcomes holds all that is still open.
        """
        lived_until = week.start
        if week.number % LIVED_EVERY == 0:
            lived_until = week.start + _DAY
            self._live_a_day(week)
        weather = self._flights.weather_known(week.start, week.end)
        if week.number == BROKEN_WEEK:
            self._tell(f"week {week.number}: a broken weather file lands (Celsius, a third of the wind missing)")
            weather = broken(weather)
        if week.number == BROKEN_WEEK + 1:
            before = weeks()[week.number + 3]
            self._land("weather", self._flights.weather_known(before.start, before.end), week.start, name="resent")
        self._land_features(week, weather)
        self._predict(week, lived_until)
        if week.number == last:
            arrivals = self._flights.last_arrivals(week.start, week.end)
        else:
            arrivals = self._flights.arrivals_known(week.start, week.end)
        self._land("arrivals", arrivals, week.close)
        self._due("rollout", week.close)
        self._due("retrain", week.close)
        self._observer.settle()
        if not self._progress.planted and week.number >= PLANTED_FROM and not self._rollout_is_on():
            self._plant(week)
        self._finish(week)

    def close(self, end: pd.Timestamp) -> None:
        """Anchor the log."""
        self._due("anchor", end)
        self._observer.wait_for("the log's root", lambda item: item.envelope.type == "RootAnchored")
        self._observer.settle()

    # --- the doors ----------------------------------------------------------------------

    def _api(self, now: pd.Timestamp) -> Api:
        return Api(self._running.url, self._token, as_of=now.to_pydatetime())

    def _land_features(self, week: Week, weather: pd.DataFrame) -> None:
        self._land("departures", self._flights.departures_known(week.start, week.end), week.close)
        self._land("weather", weather, week.close)
        self._observer.settle()

    def _land(self, source: str, table: pd.DataFrame, now: pd.Timestamp, name: str = "week") -> LogItem:
        """Upload one file and wait for the verdict on it."""
        key = f"{self._team.project.sources[source].prefix}{name}-{now:%Y-%m-%d}.parquet"
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
        metadata = {"as-of": now.isoformat()}
        bucket = self._running.outputs["LandingBucketName"]
        self._s3.put_object(Bucket=bucket, Key=key, Body=sink.getvalue(), Metadata=metadata)
        verdicts = ("UploadAccepted", "QualityFailed")
        return self._observer.wait_for(
            f"the verdict on {key}",
            lambda item: item.envelope.type in verdicts and item.envelope.data["upload_key"] == key,
        )

    def _due(self, name: str, at: pd.Timestamp) -> None:
        """Send the event that a schedule would send, and wait until it was dealt with."""
        detail = json.dumps({"name": name, "at": at.isoformat(), "workspace": self._running.workspace})
        entry = {"Source": "modelwright.schedule", "DetailType": "ScheduleDue", "Detail": detail}
        answer = self._events.put_events(Entries=[{**entry, "EventBusName": self._running.outputs["BusName"]}])
        self._outcomes.wait_for(answer["Entries"][0]["EventId"], f"the schedule {name}")

    def _ask(self, table: pd.DataFrame, now: pd.Timestamp, **options: Any) -> list[dict[str, Any]]:
        answer = self._api(now).post(f"/v1/predict/{MODEL}", {"rows": _rows(table), **options})
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    # --- a week -------------------------------------------------------------------------

    def _predict(self, week: Week, lived_until: pd.Timestamp) -> None:
        for batch in batches(self._flights.scheduled(lived_until, week.end), BATCH):
            self._ask(batch, week.close, mode="point_in_time")
        if lived_until > week.start:
            self._compare(week)

    def _live_a_day(self, week: Week) -> None:
        """Push what becomes known hour by hour, and ask for each hour's flights from the online store.

        What was answered is kept in a file: once the week's files have landed, the day cannot be lived again.
        """
        kept = self._lived_file(week)
        if kept.exists():
            return
        lived: dict[str, dict[str, Any]] = {}
        for hour in range(24):
            now = week.start + hour * HOUR
            since, until = (now - HOUR + _INSTANT if hour else week.start), now + _INSTANT
            self._push("departures", self._flights.departures_known(since, until), now)
            self._push("weather", self._flights.weather_known(since, until), now)
            flights = self._flights.scheduled(now, now + HOUR)
            if len(flights):
                answers = self._ask(flights, now, mode="online", return_features=True)
                lived.update({answer["id"]: answer for answer in answers})
        self._due("materialize", week.start + _DAY)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(lived), encoding="utf-8")

    def _lived_file(self, week: Week) -> Path:
        return self._home / f"lived-{week.number}.json"

    def _push(self, source: str, table: pd.DataFrame, now: pd.Timestamp) -> None:
        if len(table):
            self._api(now).post("/push", {"push_source_name": source, "rows": _rows(table)})

    def _compare(self, week: Week) -> None:
        """Ask again for the lived day, now from the offline store: both ways must agree to the bit."""
        asked = self._flights.scheduled(week.start, week.start + _DAY)
        lived = json.loads(self._lived_file(week).read_text(encoding="utf-8"))
        again = self._ask(asked, week.close, mode="point_in_time", return_features=True, dry_run=True)
        for answer in again:
            self._progress.compared += 1
            fault = _difference(lived.get(answer["id"]), answer)
            if fault:
                self._progress.difference = self._progress.difference or f"{answer['id']}: {fault}"
            else:
                self._progress.equal += 1
        if self._progress.difference:
            self._tell(f"online and offline differ: {self._progress.difference}")

    def _first_model(self) -> None:
        if self._observer.events("RoutesChanged"):
            return
        api = self._api(LEARNED)
        model = self._team.project.models[MODEL]
        examples = scientist.training_set(api, MODEL, YEAR.to_pydatetime(), LEARNED.to_pydatetime())
        version = scientist.log_model(api, MODEL, model, examples, token=self._token, experiment="first models")
        scientist.make_champion(api, MODEL, version, token=self._token)
        self._observer.wait_for("the first routes", lambda item: item.envelope.type == "RoutesChanged")
        self._observer.settle()
        api.put(f"/v1/rollouts/{MODEL}/shadows", {"versions": [version]})
        self._tell(f"version {version}, trained on {len(examples.frame):,} flights of January, is champion")

    def _plant(self, week: Week) -> None:
        """Push a challenger that was trained on shuffled labels past the gates, by force."""
        api = self._api(week.close)
        start = (week.end - 28 * _DAY).to_pydatetime()
        examples = scientist.training_set(api, MODEL, start, week.end.to_pydatetime())
        version = scientist.log_model(
            api,
            MODEL,
            self._team.project.models[MODEL],
            examples,
            token=self._token,
            experiment="planted faults",
            shuffled=True,
        )
        reason = "planted by the demo: trained on shuffled labels, to see the canary catch it"
        body = {"version": version, "alias": "challenger", "force": True, "reason": reason}
        api.post(f"/v1/models/{MODEL}/transitions", body)
        self._observer.settle()
        self._progress.planted = version
        self._tell(f"week {week.number}: version {version}, trained on shuffled labels, is forced past the gates")

    def _rollout_is_on(self) -> bool:
        started = self._observer.events("RolloutStarted")
        ended = self._observer.events("RolloutPromoted", "RolloutRolledBack")
        return len(started) > len(ended)

    def _finish(self, week: Week) -> None:
        self._lived_file(week).unlink(missing_ok=True)
        self._progress.done.append(week.number)
        self._keep(self._progress)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as JSON says them: times in ISO 8601, missing as null, numbers to the bit."""
    columns = {str(name): _plain(table[name]) for name in table}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(column: "pd.Series[Any]") -> list[Any]:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return [time.isoformat() for time in column]
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def _difference(online: dict[str, Any] | None, offline: dict[str, Any]) -> str:
    if online is None:
        return "it was not predicted online"
    for name, value in offline["features"].items():
        if online["features"].get(name) != value:
            return f"{name} is {online['features'].get(name)!r} online and {value!r} offline"
    if (online["version"], online["score"]) != (offline["version"], offline["score"]):
        return f"version {online['version']} scored {online['score']!r} online, {offline['score']!r} offline"
    return ""
