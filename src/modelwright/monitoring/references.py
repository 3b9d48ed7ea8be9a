"""References: which accepted uploads a file or window is compared with, and their profiles out of the lake.

A ``Baseline`` says which. *sliding* is what was accepted in the days before. *window* is what lies between two times.
*seasonal* is of the days before only what lies in the same hours of the week (UTC): an upload belongs to the hours of
the week of which it covers at least half, or to that of its middle, and counts when at least half of its hours are
hours of what is compared. So an hour's file is compared with that hour of the same weekday, a day's file with this
weekday (also where that came as hourly files), and a week's file with everything, since it covers all hours; what a
day's file says of one of its hours nobody can tell, and it is in no hour's reference. *training* is what lies in the
window on which the champion of a model was trained, which ``follow_training`` and ``follow_version`` remember.

Of more than ``MOST`` uploads the newest count, or where the time is fixed as many evenly spread over it. Of sources of
very many columns it is fewer, because a reference lies in memory as a whole: 60 profiles of 500 columns take 350 MB.
"""

import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import Delivery, ModelVersionCreated, TrainingCompleted
from modelwright.log import Log
from modelwright.monitoring import store
from modelwright.monitoring.documents import Profile, Reference
from modelwright.project import Baseline, Source
from modelwright.storage import Blobs, Tables

__all__ = ["MOST", "Reference", "follow_training", "follow_version", "reference_of"]

MOST = 60
MOST_COLUMNS = 40_000
"""Columns of all profiles of a reference together."""
FEWEST = 8
"""So many uploads count, however wide they are."""
_CACHED_BYTES = 400 * 2**20
FRESH_S = 3600
"""A profile is the same for ever, but for an erasure, of which a process hears nothing: it looks again."""
_THREADS = 16
_HOUR = timedelta(hours=1)
_HOURS = 168

Cache = MutableMapping[str, Any]


def reference_of(
    call: Call,
    name: str,
    source: Source,
    start: datetime,
    until: datetime,
    *,
    tables: Tables,
    blobs: Blobs,
    cache: Cache,
    baseline: Baseline | None = None,
    most: int = MOST,
) -> Reference:
    """Return what rows of a source are compared with.

    Args:
        call: whose workspace it is.
        name: of the source.
        source: its declaration.
        start: first event time of what is compared; the days before are counted from it.
        until: last event time; where the reference has no times of its own, nothing after it belongs to it.
        tables: monitoring's own table.
        blobs: the lake is read.
        cache: profiles that were read before, kept while the process lives.
        baseline: which reference; None: that of the source's drift.
        most: of more uploads only so many count.
    """
    most = min(most, max(FEWEST, MOST_COLUMNS // max(1, len(source.columns))))
    asked = _Asked(call.workspace, name, start, until, tables, most)
    wanted = source.drift.reference if baseline is None else baseline
    kept, text = _CHOSEN[wanted.kind](asked, wanted, wanted.days or source.reference_days)
    profiles = _read(kept, blobs, cache)
    return Reference(profiles, text)


def follow_training(delivery: Delivery, call: Call, *, log: Log) -> None:
    """Remember the window of a training."""
    event: TrainingCompleted = delivery.event
    write = store.put_training(call.workspace, event.model, event.training_id, event.window)
    log.commit(call, [], [write], delivery=delivery, table="monitoring")


def follow_version(delivery: Delivery, call: Call, *, log: Log) -> None:
    """Remember which training a version came out of, if the platform trained it."""
    event: ModelVersionCreated = delivery.event
    if event.training_id:
        write = store.put_version(call.workspace, event.model, event.version, event.training_id)
        log.commit(call, [], [write], delivery=delivery, table="monitoring")


# --- the kinds ---------------------------------------------------------------------------

Kept = Sequence[store.KeptProfile]


@dataclass(frozen=True)
class _Asked:
    workspace: str
    source: str
    start: datetime
    until: datetime
    tables: Tables
    most: int

    def between(self, since: datetime, until: datetime) -> Kept:
        return store.kept_profiles(self.tables, self.workspace, self.source, since, until)


def _sliding(asked: _Asked, baseline: Baseline, days: int) -> tuple[Kept, str]:
    kept = asked.between(_before(asked.start, days), asked.until)
    return kept[-asked.most :], f"{_counted(kept, asked.most)} of {days} days before"


def _seasonal(asked: _Asked, baseline: Baseline, days: int) -> tuple[Kept, str]:
    hours = _hours_of_week(asked.start, asked.until)
    before = asked.between(_before(asked.start, days), asked.until)
    kept = [one for one in before if _mostly_in(_hours_of_week(one.start, one.end), hours)]
    return kept[-asked.most :], f"{_counted(kept, asked.most)} in the same hours of the week, of {days} days before"


def _window(asked: _Asked, baseline: Baseline, days: int) -> tuple[Kept, str]:
    if baseline.start is None or baseline.end is None:
        raise ValueError("a reference of kind window has a start and an end")
    kept = asked.between(baseline.start, baseline.end)
    counted = _counted(kept, asked.most)
    return _spread(kept, asked.most), f"{counted} from {_day(baseline.start)} to {_day(baseline.end)}"


def _training(asked: _Asked, baseline: Baseline, days: int) -> tuple[Kept, str]:
    model = baseline.model
    champion = store.champion_of(asked.tables, asked.workspace, model)
    if champion is None or champion.version is None:
        return (), f"none: {model} has no champion"
    window = store.training_window(asked.tables, asked.workspace, model, champion.version)
    if window is None:
        return (), f"none: nobody said on which rows champion v{champion.version} of {model} was trained"
    kept = asked.between(window.start, window.end)
    trained = f"champion v{champion.version} of {model} was trained on, {_day(window.start)} to {_day(window.end)}"
    return _spread(kept, asked.most), f"{_counted(kept, asked.most)} of what {trained}"


_CHOSEN: dict[str, Callable[[_Asked, Baseline, int], tuple[Kept, str]]] = {
    "sliding": _sliding,
    "seasonal": _seasonal,
    "window": _window,
    "training": _training,
}


def _counted(kept: Kept, most: int) -> str:
    if len(kept) > most:
        return f"{most} of {len(kept)} uploads"
    return f"{len(kept)} upload{'s' * (len(kept) != 1)}"


def _spread(kept: Kept, most: int) -> Kept:
    """Return at most so many uploads at equal steps, the first and the last among them."""
    if len(kept) <= most:
        return kept
    return [kept[round(n * (len(kept) - 1) / (most - 1))] for n in range(most)]


def _before(time: datetime, days: int) -> datetime:
    """Return the time so many days earlier, or the first there is."""
    reachable = time - datetime.min.replace(tzinfo=UTC)
    return time - min(timedelta(days=days), reachable)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _day(time: datetime) -> str:
    return _utc(time).strftime("%Y-%m-%d")


# --- hours of the week -------------------------------------------------------------------


def _hours_of_week(start: datetime, end: datetime) -> frozenset[int]:
    """Return the hours of the week, from Monday's first on, of which a span covers at least half."""
    start, end = _utc(start), _utc(end)
    if end - start >= _HOURS * _HOUR:
        return frozenset(range(_HOURS))
    hour = start.replace(minute=0, second=0, microsecond=0)
    found = set()
    while hour <= end:
        if min(end, hour + _HOUR) - max(start, hour) >= _HOUR / 2:
            found.add(_hour_of_week(hour))
        hour += _HOUR
    return frozenset(found or {_hour_of_week(start + (end - start) / 2)})


def _hour_of_week(time: datetime) -> int:
    return time.weekday() * 24 + time.hour


def _mostly_in(hours: frozenset[int], others: frozenset[int]) -> bool:
    return 2 * len(hours & others) >= len(hours)


# --- reading -----------------------------------------------------------------------------


def _read(kept: Kept, blobs: Blobs, cache: Cache) -> tuple[Profile, ...]:
    """Return profiles, those that were not read of late in parallel; one that is gone from the lake is left out.

    They are unpacked one after the other: a wide one of an older version takes a hundred times what it has packed.
    """
    unpacking = threading.Lock()
    known: dict[str, tuple[Profile, float]] = cache.setdefault("profiles", {})
    now = time.monotonic()
    new = [one for one in kept if one.key not in known or known[one.key][1] < now - FRESH_S]

    def profile(one: store.KeptProfile) -> Profile | None:
        try:
            body = one.packed or blobs.get("lake", one.key).body
        except NotFound:
            return None
        with unpacking:
            return Profile.unpacked(body).thinned()

    if new:
        with ThreadPoolExecutor(_THREADS) as pool:
            read = zip(new, pool.map(profile, new), strict=True)
            found = {one.key: (profile, now) for one, profile in read if profile is not None}
        for one in new:
            known.pop(one.key, None)
        known.update(found)
    profiles = tuple(known[one.key][0] for one in kept if one.key in known)
    _forget(known)
    return profiles


def _forget(known: dict[str, tuple[Profile, float]]) -> None:
    """Forget the profiles that were read longest ago, as many as lie in memory beyond what may."""
    left = sum(profile.memory_b for profile, _ in known.values()) - _CACHED_BYTES
    for key in list(known):
        if left <= 0:
            return
        left -= known.pop(key)[0].memory_b
