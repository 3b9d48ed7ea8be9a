"""What is seen while a replay runs, and the table at its end.

On a terminal one picture is kept up to date (progress, champion, the newest weeks and events);
anywhere else each thing is a plain line, written at once.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from modelwright.demo.report import Range, Report, WeekRow

_WEEKS_SHOWN = 12
_EVENTS_SHOWN = 6
_INDENT = " " * 8


class View:
    """Shows a replay as it goes; also a context manager that finishes it however it ends.

    Args:
        stream: standard output, if none is given.
        terminal: whether to keep one picture up to date; as the stream is, if not said.
    """

    def __init__(self, stream: TextIO | None = None, *, terminal: bool | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console = Console(file=self._stream, force_terminal=terminal, highlight=False)
        self._is_terminal = self._console.is_terminal if terminal is None else terminal
        self._weeks: deque[WeekRow] = deque(maxlen=_WEEKS_SHOWN)
        self._events: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._now = ""
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console,
        )  # fmt: skip
        self._task = self._progress.add_task("weeks", total=0, start=False)
        self._live: Live | None = None

    def start(self, total_weeks: int) -> None:
        """Begin; learning weeks are not among ``total_weeks``."""
        self._progress.update(self._task, total=total_weeks)
        self._progress.start_task(self._task)
        if self._is_terminal and self._live is None:
            self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=4)
            self._live.start()

    def week(self, row: WeekRow) -> None:
        """Show a week that is over."""
        if row["number"] >= 1:
            self._weeks.append(row)
            self._progress.advance(self._task)
        if self._live is None:
            self._write(week_line(row))
        elif row["number"] < 1:
            self._events.append(week_line(row))

    def event(self, text: str) -> None:
        """Show something that happened."""
        self._events.append(text)
        if self._live is None:
            self._write(f"{_INDENT}{text}")

    def note(self, text: str) -> None:
        """Show what is being done."""
        self._now = text
        if self._live is None:
            self._write(text)

    def finish(self) -> None:
        """Leave the last picture on the screen; may be called twice."""
        self._now = ""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        """Return the view."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish."""
        self.finish()

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _picture(self) -> Group:
        current = self._weeks[-1] if self._weeks else None
        head = f"{_day(current['end'])}  {_versions(current)}" if current else "learning from January"
        parts: list[RenderableType] = [Text(head, style="bold"), self._progress]
        if self._weeks:
            parts.append(self._newest())
        parts += [Text(f"  {text}", style="dim", overflow="ellipsis", no_wrap=True) for text in self._events]
        if self._now:
            parts.append(Text(self._now))
        return Group(*parts)

    def _newest(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("week", justify="right")
        table.add_column("until")
        table.add_column("flights", justify="right")
        table.add_column("who answered")
        for name in ("AUC loop", "January", "Brier loop", "January"):
            table.add_column(name, justify="right")
        for row in self._weeks:
            figures = (_short(row["loop_auc"]), _short(row["static_auc"]), _short(row["loop_brier"]))
            counts = (str(row["number"]), _day(row["end"]), f"{row['flights']:,}", _versions(row))
            table.add_row(*counts, *figures, _short(row["static_brier"]))
        return table


def week_line(row: WeekRow) -> str:
    """Return the line of a week; those below 1 are January's, from which the first model learns."""
    if row["number"] < 1:
        return f"January  {_day(row['start'])} ...  {row['flights']:,} flights landed, learning"
    parts = [f"week {row['number']:>2}", _day(row["start"]), f"{row['flights']:>6,} flights", _versions(row)]
    if row["loop_auc"] is not None:
        parts.append(f"AUC {_short(row['loop_auc'])} (static {_short(row['static_auc'])})")
        parts.append(f"Brier {_short(row['loop_brier'])} ({_short(row['static_brier'])})")
    else:
        parts.append("too few outcomes known for an AUC")
    return "  ".join(parts)


def summary(report: Report) -> str:
    """Return what a terminal says at the end: the weeks, all of them together, and what happened."""
    sections = (_table(report), _story(report), _checks(report))
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


# --- private -----------------------------------------------------------------------------


def _table(report: Report) -> Iterator[str]:
    form = "{:>4}  {:<10}  {:>7}  {:>5}  {:<18}  {:>8} {:>8} {:>8}   {:>10} {:>8}"
    yield form.format(
        "week", "from", "flights", "late", "who answered", "AUC loop", "static", "+/-", "Brier loop", "static"
    )
    for row in report["weeks"]:
        loop, static = row["loop_auc"], row["static_auc"]
        late = "" if row["late_share"] is None else f"{row['late_share']:.0%}"
        gain = f"{loop['value'] - static['value']:+.3f}" if loop and static else ""
        yield form.format(
            row["number"], _day(row["start"]), f"{row['flights']:,}", late, _versions(row).removeprefix("champion "),
            _short(loop), _short(static), gain, _short(row["loop_brier"], 4), _short(row["static_brier"], 4),
        )  # fmt: skip
    loop_all, static_all, found = report["loop"], report["static"], report["auc_difference"]
    yield form.format(
        "all", "", f"{report['flights']['predicted']:,}", "", "", _short(loop_all["auc"]), _short(static_all["auc"]),
        f"{found['value']:+.3f}", _short(loop_all["brier"], 4), _short(static_all["brier"], 4),
    )  # fmt: skip
    yield (
        f"AUC difference {found['value']:+.4f}, 95 % interval {found['low']:+.4f} to {found['high']:+.4f} "
        f"(whole {found['resampled']} resampled); knowing only the share of late flights: Brier "
        f"{_short(report['no_information']['brier'], 4)}"
    )


def _story(report: Report) -> Iterator[str]:
    for training in report["retrainings"]:
        gave = f"v{training['version']}" if training["version"] else "no version"
        outcome = training["outcome"].replace("_", " ")
        yield f"retraining   {_day(training['at'])}  {training['trigger']}: {training['reason']} -> {gave}, {outcome}"
    for rollout in report["rollouts"]:
        steps = " -> ".join(f"{step['percent']} % {_day(step['at'])}" for step in rollout["steps"])
        forced = " (forced past the gates)" if rollout["forced"] else ""
        outcome = rollout["outcome"].replace("_", " ")
        yield f"rollout      v{rollout['challenger']} against v{rollout['champion']}{forced}: {steps}: {outcome}"
    for rollback in report["rollbacks"]:
        yield f"rollback     {_day(rollback['at'])}  v{rollback['challenger']}: {rollback['reason']}"
    for held in report["quarantines"]:
        what = "" if held["scope"] == "file" else f"{held['rows']} rows of "
        yield f"quarantine   {_day(held['at'])}  {what}{held['upload']}: {'; '.join(held['reasons'])}"
    if not any((report["retrainings"], report["rollouts"], report["rollbacks"], report["quarantines"])):
        yield "nothing was retrained, rolled out, rolled back or quarantined"


def _checks(report: Report) -> Iterator[str]:
    flights, parity, chain, cost = report["flights"], report["parity"], report["chain"], report["cost"]
    once = "each exactly once" if flights["predicted"] == flights["expected"] else "NOT all exactly once"
    yield f"flights      {flights['predicted']:,} of {flights['expected']:,} predicted, {once}"
    yield from _named(flights["faults"])
    yield f"parity       {parity['equal']:,} of {parity['compared']:,} flights equal online and offline"
    yield from _named([parity["first_difference"]] if parity["first_difference"] else [])
    verdict = "verified" if chain["verified"] else "BROKEN"
    yield f"chain        {verdict}: {chain['items']:,} events in {chain['streams']:,} streams"
    yield from _named(chain["breaks"])
    due = report["deliveries"]
    yield f"deliveries   {due['handled']:,} of {due['expected']:,} handled, {report['dead_letters']:,} dead letters"
    per_thousand, units = 1000 / max(flights["predicted"], 1), cost["units"]
    yield (
        f"cost         ${cost['per_1000_predictions']:.4f} per 1,000 predictions "
        f"({units['dynamodb_read_units'] * per_thousand:,.0f} read and "
        f"{units['dynamodb_write_units'] * per_thousand:,.0f} write units), ${cost['total']:.2f} in all, estimated"
    )
    yield f"time         {report['seconds'] / 60:.1f} minutes"
    yield f"predictions  {report['predictions']}"


def _named(faults: Sequence[str]) -> Iterator[str]:
    return (f"             {fault}" for fault in faults)


def _versions(row: WeekRow) -> str:
    champion = f"champion v{row['champion']}" if row["champion"] is not None else "no champion"
    return champion if row["canary"] is None else f"{champion}, canary v{row['canary']} {row['canary_percent']} %"


def _short(figure: Range | float | None, digits: int = 3) -> str:
    """Return a probability as statisticians write it: .741."""
    if figure is None:
        return "-"
    value = figure["value"] if isinstance(figure, dict) else figure
    return f"{value:.{digits}f}".replace("0.", ".", 1)


def _day(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d}"
