"""Anomalies: figures that leave the band which their own past makes likely, of models and of the platform itself.

A *series* is figures over time under one name (``model/flights/auc``, ``function/predict/errors``). Its band at a
time is the median of the past figures of the same season, plus and minus ``WIDTH`` scaled median absolute
deviations of all past figures from the medians of their seasons (Hampel, JASA 69, 1974; Leys et al., J. Exp. Soc.
Psychol. 49, 2013), and ``FEWEST / n`` wider still while few are known: outliers of the past hardly move it. The
season is the hour of the week where at least ``SEASONS`` figures of it are known, else the hour of the day; a series
that comes more seldom than twice a day has none. A band is never narrower than a share ``LEAST`` of its median or
than the series' own floor, so that a series that stood still does not alarm at the first breath, and nothing is said
before ``FEWEST`` figures, and of its season ``SEASONS``, are known.

A figure outside opens an anomaly, the next one inside ends it. Figures outside enter the past too: what stays
becomes usual.

=========  ==========================  =====================  ==============================
entity     pk                          sk                     access pattern
=========  ==========================  =====================  ==============================
series     ``WS#<ws>#SERIES``          ``<name>``             get; list all
last look  ``WS#<ws>#LOOKED``          ``platform``           get
=========  ==========================  =====================  ==============================
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import (
    AnomalyDetected,
    AnomalyEnded,
    Event,
)
from modelwright.insights.incidents import TABLE
from modelwright.log import Happened, Log, stream_of
from modelwright.protocol import Message
from modelwright.storage import Absent, Is, Key, Put, Tables, Write, every

WIDTH = 5.0
FEWEST = 8
SEASONS = 4
LEAST = 0.02
KEPT = 1500
"""Figures of a series that are remembered: two months of hours, decades of weeks."""
SETTLED = timedelta(minutes=20)
"""After an hour its figures are all there: a call of a function lasts 15 minutes at most, and counts when it began."""
FIRST_LOOK, LONGEST_LOOK = timedelta(days=1), timedelta(days=14)
_SCALE = 1.4826
"""Turns a median absolute deviation into a standard deviation of normal figures."""
_HOUR_S, _DAY_S, _WEEK_S = 3600, 86_400, 604_800


class Figure(BaseModel):
    """One value of a series.

    Attributes:
        floor: half the width that the band has at least, in the figure's own unit.
    """

    model_config = ConfigDict(frozen=True)
    series: str
    at: datetime
    value: float
    floor: float = 0.0


class PlatformMetrics(Protocol):
    """What the platform knows of itself."""

    def figures(self, since: datetime, until: datetime) -> Sequence[Figure]:
        """Return latency, errors and invocations per function and hour of a span, oldest first."""
        ...


class Series(BaseModel):
    """A series as it is kept.

    Attributes:
        points: seconds since 1970 and value, oldest first.
        outside: whether the newest figure is outside its band.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    name: str
    points: tuple[tuple[int, float], ...] = ()
    outside: bool = False
    low: float | None = None
    high: float | None = None
    v: int = 0

    def until(self, seconds: int) -> "Series":
        """Return it without points of times that have not come."""
        return self.model_copy(update={"points": tuple(point for point in self.points if point[0] <= seconds)})


class OfSeries(Message):
    """``GET /v1/alerts/series?name=...``."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """Where the next figure is expected.

    Attributes:
        season: what it was compared with, in words.
        known: how many figures that were.
    """

    low: float
    high: float
    season: str
    known: int


def band(points: Sequence[tuple[int, float]], at: datetime, floor: float = 0.0) -> Band | None:
    """Return the band at a time by what came before; None while too little is known."""
    seconds = int(at.timestamp())
    before = [(when, value) for when, value in points if when < seconds]
    if len(before) < FEWEST:
        return None
    if median(after - when for (when, _), (after, _) in pairwise(before)) > _DAY_S / 2:
        return _band([value for _, value in before], [value for _, value in before], "all that is known", floor)
    for period, words in ((_WEEK_S, "this hour of the week"), (_DAY_S, "this hour of the day")):
        slots: dict[int, list[float]] = defaultdict(list)
        for when, value in before:
            slots[(when % period) // _HOUR_S].append(value)
        same = slots[(seconds % period) // _HOUR_S]
        if len(same) >= SEASONS:
            centres = {slot: median(values) for slot, values in slots.items() if len(values) >= SEASONS}
            rest = [value - centres[slot] for slot, values in slots.items() if slot in centres for value in values]
            return _band(same, rest, words, floor)
    return None


def take(call: Call, figures: Iterable[Figure], *, tables: Tables) -> tuple[list[Happened], list[Write]]:
    """Add figures to their series and say which left or came back into their bands; writes nothing.

    A figure of a time that its series knows already, or that is older than its newest, changes nothing; nor does one
    of a time that has not come, which would make all that follow older.
    """
    now = int(call.now.timestamp())
    happened: list[Happened] = []
    known: dict[str, Series] = {}
    versions: dict[str, int] = {}
    for figure in sorted(figures, key=lambda one: one.at):
        if (seconds := int(figure.at.timestamp())) > now:
            continue
        series = known.get(figure.series) or load(tables, call.workspace, figure.series).until(now)
        versions.setdefault(figure.series, series.v)
        if series.points and seconds <= series.points[-1][0]:
            continue
        found = band(series.points, figure.at, figure.floor)
        outside = found is not None and not found.low <= figure.value <= found.high
        event = _event(figure, series, found, outside=outside)
        if event is not None:
            happened.append(Happened(stream_of(call.workspace, "SERIES", figure.series), event))
        known[figure.series] = series.model_copy(
            update={
                "points": (*series.points, (seconds, figure.value))[-KEPT:],
                "outside": outside,
                "low": found.low if found else None,
                "high": found.high if found else None,
                "v": versions[figure.series] + 1,
            }
        )
    return happened, [_put(call.workspace, series, versions[name]) for name, series in known.items()]


def watch(call: Call, metrics: PlatformMetrics, *, tables: Tables, log: Log) -> int:
    """Take what the platform knows of itself since it last looked; returns how many figures that were.

    An hour counts when it is over and its figures have settled, and the next look begins where this one ended: of the
    hour that runs, and of calls that do, nobody knows yet how many errors it will have.
    """
    until = (call.now - SETTLED).replace(minute=0, second=0, microsecond=0)
    key = Key(f"WS#{call.workspace}#LOOKED", "platform")
    item = tables.get(TABLE, key)
    since = datetime.fromisoformat(item["until"]) if item else until - FIRST_LOOK
    if since >= until:
        return 0
    figures = metrics.figures(max(since, until - LONGEST_LOOK), until)
    happened, writes = take(call, figures, tables=tables)
    # one write per series: more than a transaction takes
    for start in range(0, len(writes), _AT_ONCE):
        part = writes[start : start + _AT_ONCE]
        names = {json.loads(write.item["document"])["name"] for write in part if isinstance(write, Put)}
        mine = [one for one in happened if getattr(one.event, "series", "") in names]
        log.commit(call, mine, part)
    # last of all: a look that dies half-way is made again, and what is known of it changes nothing
    condition = Is("until", item["until"]) if item else Absent()
    tables.write([Put(TABLE, {**key._asdict(), "until": until.isoformat()}, condition)])
    return len(figures)


def load(tables: Tables, workspace: str, name: str) -> Series:
    """Return a series; an empty one where nothing is known."""
    item = tables.get(TABLE, Key(f"WS#{workspace}#SERIES", name))
    return Series.model_validate_json(item["document"]) if item else Series(name=name)


def show(call: Call, message: OfSeries, *, tables: Tables) -> dict[str, Any]:
    """Return all series with their newest figure and band, or one with all its points; raises ``NotFound``."""
    call.authorise("alerts:read", "alert/*")
    if message.name:
        series = load(tables, call.workspace, message.name)
        if not series.v:
            raise NotFound(f"there is no series {message.name}: ask without a name for all there are")
        points = [{"at": _time(when).isoformat(), "value": value} for when, value in series.points]
        return {**_newest(series), "points": points}
    items = every(tables, TABLE, f"WS#{call.workspace}#SERIES")
    return {"series": [_newest(Series.model_validate_json(item["document"])) for item in items]}


# --- private -----------------------------------------------------------------------------

_AT_ONCE = 20


def _band(same: Sequence[float], all_of_them: Sequence[float], season: str, floor: float) -> Band:
    """Return the band about the median of one season, as wide as all figures are off theirs."""
    middle, usual = median(same), median(all_of_them)
    spread = _SCALE * median(abs(value - usual) for value in all_of_them)
    half = max(WIDTH * spread * (1 + FEWEST / len(all_of_them)), LEAST * abs(middle), floor)
    return Band(middle - half, middle + half, season, len(same))


def _event(figure: Figure, series: Series, found: Band | None, *, outside: bool) -> Event | None:
    if outside and not series.outside and found is not None:
        text = (
            f"{figure.series} is {figure.value:.4g} at {figure.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, expected "
            f"{found.low:.4g} to {found.high:.4g} by {found.known} figures of {found.season}"
        )
        return AnomalyDetected(
            series=figure.series, at=figure.at, value=figure.value, low=found.low, high=found.high, text=text
        )
    if series.outside and not outside:
        return AnomalyEnded(series=figure.series, at=figure.at, value=figure.value)
    return None


def _put(workspace: str, series: Series, before: int) -> Write:
    condition = Is("v", before) if before else Absent()
    key = {"pk": f"WS#{workspace}#SERIES", "sk": series.name}
    return Put(TABLE, {**key, "document": series.model_dump_json(), "v": series.v}, condition)


def _newest(series: Series) -> dict[str, Any]:
    when, value = series.points[-1] if series.points else (0, None)
    return {
        "name": series.name, "at": _time(when).isoformat(), "value": value, "outside": series.outside,
        "low": series.low, "high": series.high, "known": len(series.points),
    }  # fmt: skip


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
