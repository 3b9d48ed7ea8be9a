"""``modelwright demo``: plays the replay on a local stack, shows it, and reports on it."""

import io
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError
from mlflow.exceptions import MlflowException
from requests import RequestException

import modelwright.demo
from modelwright.client import TOKEN, Api, whole_log
from modelwright.demo import figures, live, page
from modelwright.demo import report as reports
from modelwright.demo.chronicle import Chronicle
from modelwright.demo.cost import memory_sizes
from modelwright.demo.data import LATE_MIN, Flights, Week, weeks
from modelwright.demo.observer import Observer
from modelwright.demo.outcomes import Outcomes
from modelwright.demo.replay import BROKEN_WEEK, LIVED_EVERY, MODEL, PLANTED_FROM, Progress, Replay
from modelwright.errors import InvalidInput, LocalStackError, ModelwrightError
from modelwright.governance import verifier
from modelwright.local import stacks
from modelwright.local.packaging import Sources
from modelwright.local.server import HOST
from modelwright.local.stack import Running, Stack
from modelwright.rollout.predictions import SCHEMA
from modelwright.team import Team, read_team

BROKEN_OFF = "run `modelwright demo` again to go on with it"


def play(workdir: Path, *, chosen: int, report: Path | None, port: int) -> bool:
    """Replay weeks of the year and report on them; return whether everything held that must hold.

    Args:
        workdir: the folder whose local stack is used; started, and stopped afterwards, if it does not run.
        chosen: how many weeks after the learning month.
        report: where else to write the figures as JSON.
        port: the loopback port of a stack that is started; 0: the one it had, else the default.

    Raises:
        LocalStackError: the folder's stack holds something else, or does not allow a virtual time.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before scikit-learn: its threads are not alone here
    home = Stack(workdir).home / "demo"
    progress = Progress.read(home / "progress.json")
    if progress.finished:
        found = reports.read(home / "report.json")
        if found["options"]["weeks"] != chosen:
            held = f"a finished demo of {found['options']['weeks']} weeks"
            raise LocalStackError(f"{home.parent} holds {held}: remove it, or choose another --workdir")
        print(live.summary(found))  # noqa: T201 - this is what the command is for
        print(f"This folder holds a finished demo; for another one, remove {home.parent} first.")  # noqa: T201
        if report is not None:
            reports.write(found, report)
        return not faults(found)
    with live.View() as view, _stack(workdir, port, view.note) as running, _told_if_stopped(running):
        _Session(running, home, progress, chosen, view).play()
    found = reports.read(home / "report.json")
    if report is not None:
        reports.write(found, report)
    print(live.summary(found))  # noqa: T201
    print(f"The year in pictures: {home / 'report.html'}")  # noqa: T201
    for fault in faults(found):
        print(f"FAULT: {fault}")  # noqa: T201
    return not faults(found)


def faults(report: reports.Report) -> list[str]:
    """Return what does not hold and must, as sentences; short replays are not asked for what comes later."""
    deliveries, parity, weeks_ = report["deliveries"], report["parity"], report["options"]["weeks"]
    checks = [
        (not report["flights"]["faults"], f"flights: {'; '.join(report['flights']['faults'][:3])}"),
        (parity["compared"] == parity["equal"], f"online and offline differ: {parity['first_difference']}"),
        (parity["compared"] > 0 or weeks_ < LIVED_EVERY, "no flight was compared online and offline"),
        (report["chain"]["verified"], f"the log is broken: {'; '.join(report['chain']['breaks'][:3])}"),
        (report["dead_letters"] == 0, f"{report['dead_letters']} dead letters"),
        (
            deliveries["expected"] == deliveries["handled"],
            f"{deliveries['handled']} of {deliveries['expected']} deliveries were handled",
        ),
        (
            _quarantined(report) or weeks_ < BROKEN_WEEK,
            "the broken weather file was not held back with both faults named",
        ),
        (not _trained_on_broken(report), "a retraining was decided while the broken file was in quarantine"),
        (bool(report["rollbacks"]) or weeks_ < PLANTED_FROM + 4, "the planted challenger was not rolled back"),
        (
            report["auc_difference"]["low"] > 0 or weeks_ < weeks()[-1].number,
            "over the year the loop is not better than the January model by more than chance",
        ),
    ]
    return [text for held, text in checks if not held]


def _quarantined(report: reports.Report) -> bool:
    reasons = [" ".join(held["reasons"]) for held in report["quarantines"] if held["source"] == "weather"]
    return any("wind_speed" in text and "Celsius" in text for text in reasons)


def _trained_on_broken(report: reports.Report) -> bool:
    spans = [(held["at"], held["released"] or "9999") for held in report["quarantines"]]
    return any(begun <= training["at"] < end for begun, end in spans for training in report["retrainings"])


def _left_to_people(team: Team) -> Team:
    """Return a team whose weather only a person repairs: the year shows what is held until its file comes again."""
    sources = dict(team.project.sources)
    weather = sources["weather"]
    sources["weather"] = weather.model_copy(update={"healing": weather.healing.model_copy(update={"rules": ()})})
    return replace(team, project=team.project.model_copy(update={"sources": sources}))


class _Session:
    """One sitting of the replay, from where the last one stopped."""

    def __init__(self, running: Running, home: Path, progress: Progress, chosen: int, view: live.View) -> None:
        self.running = running
        self.home = home
        self.progress = progress
        self.view = view
        self.weeks = tuple(week for week in weeks() if week.number <= chosen)
        self.last = min(chosen, self.weeks[-1].number)
        self.flights = Flights()
        self.template = Sources.find().template.read_text(encoding="utf-8")
        self.observer = Observer(running, self.template)
        self.observer.follow_from(datetime.fromisoformat(progress.began))
        self.outcomes = Outcomes(home.parent / "invocations.jsonl")
        self.started = time.monotonic()
        self.spent = progress.seconds

    def play(self) -> None:
        """Replay what is left, then report."""
        folder = Path(modelwright.demo.__file__).parent / "project"
        replay = Replay(
            self.running,
            _left_to_people(read_team(folder)),
            self.observer,
            self.outcomes,
            self.progress,
            self.flights,
            self.home,
            keep=self.keep,
            tell=self.view.event,
        )
        self.view.start(len(self.weeks))
        for week in self.weeks:
            if week.number not in self.progress.done:
                replay.learn(week) if week.number <= 0 else replay.live(week, self.last)
            self.show(week)
        replay.close(self.weeks[-1].close)
        self.view.note("counting up")
        self.report()
        self.progress.finished = True
        self.keep(self.progress)

    def keep(self, progress: Progress) -> None:
        """Remember what was finished."""
        progress.seconds = self.spent + time.monotonic() - self.started
        progress.write(self.home / "progress.json")

    def show(self, week: Week) -> None:
        """Show a week's line."""
        if week.number <= 0:
            landed = len(self.flights.departures_known(week.start, week.end))
            self.view.week({**reports.week_row(week, None, [], 0, []), "flights": landed})
            return
        table = self.predictions([week])
        chronicle = Chronicle(self.observer.events(), MODEL)
        self.view.week(reports.week_row(week, figures.measure_week(table, week.number), chronicle.rollouts, 0, []))

    def predictions(self, chosen: list[Week]) -> pd.DataFrame:
        """Return every logged prediction of some weeks, with its label."""
        asked = pd.concat([self._asked(week) for week in chosen], ignore_index=True)
        logged = pd.concat([self._logged(week) for week in chosen], ignore_index=True)
        table: pd.DataFrame = logged.merge(asked, on="flight_id", how="left", validate="many_to_one")
        return table

    def _asked(self, week: Week) -> pd.DataFrame:
        table = self.flights.flights
        chosen = (table["scheduled_departure"] >= week.start) & (table["scheduled_departure"] < week.end)
        delay = table.loc[chosen, "arr_delay"]
        label = (delay > LATE_MIN).astype("Float64").mask(delay.isna()).astype("float64")
        return pd.DataFrame({"flight_id": table.loc[chosen, "flight_id"], "label": label, "week": week.number})

    def _logged(self, week: Week) -> pd.DataFrame:
        bucket, s3 = self.running.outputs["LakeBucketName"], self.running.client("s3")
        tables = []
        for day in pd.date_range(week.start, week.close, freq="D"):
            prefix = f"predictions/{self.running.workspace}/{MODEL}/dt={day:%Y-%m-%d}/"
            for page_ in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for row in page_.get("Contents", []):
                    body = s3.get_object(Bucket=bucket, Key=row["Key"])["Body"].read()
                    tables.append(pq.read_table(io.BytesIO(body), columns=SCHEMA.names).to_pandas())
        logged = pd.concat(tables, ignore_index=True).drop_duplicates()  # while the log is packed, rows lie twice
        renamed: pd.DataFrame = logged.rename(columns={"prediction_id": "flight_id", "role": "route"})
        return renamed

    def report(self) -> None:
        """Count everything up and write report and page."""
        lived = [week for week in self.weeks if week.number > 0]
        table = self.predictions(lived)
        path = self.home / "predictions.parquet"
        table[["flight_id", "version", "route", "score", "label", "week", "as_of"]].to_parquet(path, index=False)
        items, root = whole_log(Api(self.running.url, self.running.extra[TOKEN]))
        breaks, streams, count = verifier.verify(items, [root] if root else [])
        self.observer.settle()
        self.outcomes.look()
        due, handled = self.observer.deliveries
        made = reports.build(
            items=self.observer.events(),
            predictions=table,
            weeks=lived,
            expected=set(self.flights.scheduled(lived[0].start, lived[-1].end)["flight_id"]),
            parity=reports.Parity(
                compared=self.progress.compared,
                equal=self.progress.equal,
                first_difference=self.progress.difference or None,
            ),
            chain=reports.chain_of(breaks, streams, count),
            dead_letters=self._dead_letters(),
            deliveries=reports.Deliveries(expected=due, handled=handled),
            metered=reports.Metered(self.outcomes.lines, memory_sizes(self.template)),
            seconds=self.spent + time.monotonic() - self.started,
            path=str(path),
            options={"weeks": self.last},
        )
        reports.write(made, self.home / "report.json")
        (self.home / "report.html").write_text(page.render(made), encoding="utf-8")

    def _dead_letters(self) -> int:
        sqs = self.running.client("sqs")
        queues = [url for name, url in self.running.outputs.items() if name.endswith("DeadLettersUrl")]
        asked = ["ApproximateNumberOfMessages"]
        answers = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"] for url in queues]
        return sum(int(answer["ApproximateNumberOfMessages"]) for answer in answers)


@contextmanager
def _stack(workdir: Path, port: int, say: Callable[[str], None]) -> Iterator[Running]:
    """Give the folder's stack: the one that runs, else one that is started and stopped afterwards."""
    stack = Stack(workdir)
    running = stack.status()
    if running is not None:
        _check_clock(running)
        yield running
        return
    try:
        started = stacks.up(workdir, port=port, workspace="default", detach=True, virtual_time=True, say=say)
        assert started is not None
        yield started
    finally:
        stack.down()


@contextmanager
def _told_if_stopped(running: Running) -> Iterator[None]:
    """Say in one line that the stack was stopped in the middle; every other error travels on."""
    try:
        yield
    except (ModelwrightError, BotoCoreError, ClientError, MlflowException, RequestException) as error:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, running.port)) == 0:
                raise
        raise LocalStackError(f"the local stack was stopped: {BROKEN_OFF}") from error


def _check_clock(running: Running) -> None:
    api = Api(running.url, running.extra.get(TOKEN, ""), as_of=weeks()[0].start.to_pydatetime())
    try:
        api.get("/v1/status")
    except InvalidInput as error:
        raise LocalStackError(
            "the stack that runs here keeps real time: stop it with `modelwright down`, or choose another --workdir"
        ) from error
