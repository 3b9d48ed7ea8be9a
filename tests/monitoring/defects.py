"""The twelve planted defects, made of any base: a source, its clean weeks before, and the week that goes wrong.

``DEFECTS[name](base)`` gives the bytes that land, which of their rows are bad, and what would have been right.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelwright.project import Column, Project, Source
from monitoring import year

Mask = npt.NDArray[np.bool_]
OBSERVERS = {"EWR": "Núria Peña", "JFK": "Jörg Weiß", "LGA": "Anna Smith"}
CUSTOMERS = ("Zoë Müller", "François Côté", "Søren Ågård", "Ann Lee", "Bob Roy", "Cy Young", "Di Fox", "Ed Ash")
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Base:
    """A source and its files.

    Attributes:
        before: clean weeks, oldest first; all but the one at ``left_out`` land before the defect.
        left_out: index of the week that comes late.
        clean: the week after these.
        measure: a number that is nearly never missing.
        other: another number, of another distribution.
        along: further columns that have the measure's unit.
        unit: what the measure becomes in another unit.
        words: a text with accents.
    """

    name: str
    source: Source
    before: tuple[pd.DataFrame, ...]
    clean: pd.DataFrame
    measure: str
    other: str
    unit: Callable[["pd.Series[float]"], "pd.Series[float]"]
    words: str
    along: tuple[str, ...] = ()
    left_out: int = 4

    @property
    def project(self) -> Project:
        return Project(name="planted", sources={self.name: self.source})

    @property
    def landed(self) -> datetime:
        """When the clean week, or what became of it, lands."""
        end: datetime = self.clean[self.source.event_time].max().to_pydatetime()
        return end + timedelta(hours=1)

    def files(self) -> tuple[bytes, ...]:
        """The clean weeks that land before."""
        return tuple(body_of(week) for number, week in enumerate(self.before) if number != self.left_out)


@dataclass(frozen=True)
class Defect:
    """A file that went wrong.

    Attributes:
        body: what lands.
        check: the check that names it.
        bad: which of its rows are bad; None: all, or nobody can say.
        healable: whether a rule can bring back the true bytes without a person's word.
        truth: the true bytes.
        named: words that the finding's text has.
    """

    body: bytes
    check: str
    truth: bytes
    bad: Mask | None = None
    healable: bool = False
    named: tuple[str, ...] = field(default=())


def body_of(frame: pd.DataFrame) -> bytes:
    """Write a week as its sender does: CSV, times in ISO 8601 with their zone."""
    text = frame.copy()
    for name in text.columns:
        if isinstance(text[name].dtype, pd.DatetimeTZDtype):
            text[name] = text[name].map(lambda time: time.isoformat(), na_action="ignore")
    sink = io.StringIO()
    text.to_csv(sink, index=False, lineterminator="\n")
    return sink.getvalue().encode()


def some(frame: pd.DataFrame, share: float, seed: int = 3) -> Mask:
    """Mark so many rows, never the first or the last."""
    random = np.random.default_rng(seed)
    marked = np.zeros(len(frame), dtype=bool)
    marked[1 + random.choice(len(frame) - 2, size=max(1, int(share * len(frame))), replace=False)] = True
    return marked


# --- the two bases -----------------------------------------------------------------------


@cache
def weather() -> Base:
    """Nine weeks of New York's weather in 2013."""
    rows = pd.DataFrame(year.weather())
    rows["observer"] = rows["origin"].map(OBSERVERS)
    for name in ("observed_at", "known_at"):
        rows[name] = pd.to_datetime(rows[name], utc=True).astype("datetime64[us, UTC]")
    week = (rows["observed_at"] - pd.Timestamp(year.START)) // pd.Timedelta(WEEK)
    weeks = tuple(rows[week == number].reset_index(drop=True) for number in range(9))
    declared = year.SOURCES["weather"]
    columns = {**declared.columns, "observer": Column(type="string")}
    source = declared.model_copy(update={"columns": columns, "severity": {"late_file": "block"}})
    return Base("weather", source, weeks[:8], weeks[8], "temp", "humid", _celsius, "observer", along=("dewp",))


@cache
def orders() -> Base:
    """Nine weeks of a shop's orders, made up."""
    source = Source(
        prefix="orders/",
        columns={
            "order_id": Column(type="string", regex=r"o-\d{6}", unique=True),
            "ordered_at": Column(type="timestamp"),
            "known_at": Column(type="timestamp"),
            "customer": Column(type="string"),
            "country": Column(type="string"),
            "items": Column(type="integer", low=1),
            "price": Column(type="number", nullable=True),
            "weight_kg": Column(type="number", nullable=True),
            "coupon": Column(type="string", nullable=True),
        },
        key=("order_id",),
        event_time="ordered_at",
        available_at="known_at",
        severity={"late_file": "block"},
    )
    weeks = tuple(_orders_of(number) for number in range(9))
    return Base("orders", source, weeks[:8], weeks[8], "weight_kg", "price", lambda kilos: kilos * 1000, "customer")


BASES: dict[str, Callable[[], Base]] = {"weather": weather, "orders": orders}


def _orders_of(week: int) -> pd.DataFrame:
    random = np.random.default_rng(week)
    count = int(random.integers(560, 640))
    seconds = np.sort(random.choice(7 * 86_400, count, replace=False))
    start = pd.Timestamp(datetime(2013, 6, 3, tzinfo=UTC) + week * WEEK)
    ordered = pd.Series(start + pd.to_timedelta(seconds, unit="s")).astype("datetime64[us, UTC]")
    coupon = pd.Series(random.choice(["SPRING", "VIP"], count)).where(random.random(count) < 0.3)
    return pd.DataFrame(
        {
            "order_id": [f"o-{week * 1000 + number:06d}" for number in range(count)],
            "ordered_at": ordered,
            "known_at": ordered + pd.Timedelta(minutes=2),
            "customer": random.choice(CUSTOMERS, count),
            "country": random.choice(["DE", "FR", "DK", "US"], count, p=[0.4, 0.3, 0.1, 0.2]),
            "items": random.integers(1, 9, count),
            "price": np.round(random.lognormal(4, 0.6, count), 2),
            "weight_kg": np.round(random.lognormal(0.8, 0.4, count), 3),
            "coupon": coupon,
        }
    )


def _celsius(fahrenheit: "pd.Series[float]") -> "pd.Series[float]":
    return (fahrenheit - 32) * 5 / 9


# --- the twelve defects ------------------------------------------------------------------


def nulls(base: Base) -> Defect:
    """A sensor fell silent now and then."""
    bad = some(base.clean, 0.15) | base.clean[base.measure].isna().to_numpy()
    frame = base.clean.assign(**{base.measure: base.clean[base.measure].mask(bad)})
    return Defect(body_of(frame), "missing_rate", body_of(base.clean), bad, named=(base.measure, "missing"))


def type_flip(base: Base) -> Defect:
    """Some numbers were written with a decimal comma."""
    bad = some(base.clean, 0.12) & base.clean[base.measure].notna().to_numpy()
    numbers = base.clean[base.measure].map(repr, na_action="ignore")
    frame = base.clean.assign(**{base.measure: numbers.mask(bad, numbers.str.replace(".", ","))})
    named = (base.measure, "not of type number")
    return Defect(body_of(frame), "type", body_of(base.clean), bad, healable=True, named=named)


def unit_change(base: Base) -> Defect:
    """Numbers came in another unit."""
    frame = base.clean.assign(**{name: base.unit(base.clean[name]) for name in (base.measure, *base.along)})
    named = (base.measure, "values look like")
    return Defect(body_of(frame), "unit_change", body_of(base.clean), healable=True, named=named)


def duplicate_keys(base: Base) -> Defect:
    """Provisional rows stand before the final ones, which became known later."""
    first = some(base.clean, 0.05)
    provisional = base.clean[first].copy()
    provisional[base.source.available_at] -= pd.Timedelta(minutes=1)
    provisional[base.measure] = provisional[base.measure].fillna(0.0) + 0.5
    frame = pd.concat([provisional, base.clean], ignore_index=True)
    bad = np.concatenate([np.ones(len(provisional), dtype=bool), first])
    named = (*base.source.key, "the same key")
    return Defect(body_of(frame), "duplicate_key", body_of(base.clean), bad, healable=True, named=named)


def late(base: Base) -> Defect:
    """A week was forgotten, comes after the following ones, and says that it was known at the time."""
    week = base.before[base.left_out]
    truth = week.assign(**{base.source.available_at: pd.Timestamp(base.landed)})
    return Defect(body_of(week), "late_file", body_of(truth), healable=True, named=("late",))


def truncated_file(base: Base) -> Defect:
    """The sender stopped within a line."""
    whole = body_of(base.clean)
    end = whole.index(b"\n", int(0.6 * len(whole))) + 12
    bad = np.zeros(whole[:end].count(b"\n"), dtype=bool)
    bad[-1] = True
    return Defect(whole[:end], "truncated_file", whole, bad, named=("cut",))


def swapped_columns(base: Base) -> Defect:
    """Two columns stand under each other's name."""
    frame = base.clean.assign(
        **{base.measure: base.clean[base.other].to_numpy(), base.other: base.clean[base.measure].to_numpy()}
    )
    named = (base.measure, base.other)
    return Defect(body_of(frame), "swapped_columns", body_of(base.clean), named=named)


def encoding(base: Base) -> Defect:
    """Some texts are UTF-8 that was read as Latin-1."""
    words = base.clean[base.words]
    broken = words.map(lambda text: text.encode().decode("latin-1"))
    bad = some(base.clean, 0.2) & (broken != words).to_numpy()
    frame = base.clean.assign(**{base.words: words.mask(bad, broken)})
    return Defect(body_of(frame), "encoding", body_of(base.clean), bad, named=(base.words, "encod"))


def future_dates(base: Base) -> Defect:
    """Some years have a typing error."""
    bad = some(base.clean, 0.06)
    time = base.source.event_time
    frame = base.clean.assign(**{time: base.clean[time].mask(bad, base.clean[time] + pd.DateOffset(years=10))})
    return Defect(body_of(frame), "future_dates", body_of(base.clean), bad, named=(time, "future"))


def constant_column(base: Base) -> Defect:
    """A sensor is stuck."""
    frame = base.clean.assign(**{base.measure: float(base.clean[base.measure].median())})
    return Defect(body_of(frame), "constant_column", body_of(base.clean), named=(base.measure, "one value"))


def renamed_column(base: Base) -> Defect:
    """A column has another name."""
    name = f"{base.measure.split('_')[0]}_new"
    frame = base.clean.rename(columns={base.measure: name})
    return Defect(body_of(frame), "renamed_column", body_of(base.clean), healable=True, named=(base.measure, name))


def mixed_time_zones(base: Base) -> Defect:
    """Some times were written in local time, without a zone."""
    bad = some(base.clean, 0.25)
    time = base.source.event_time
    zoned = base.clean[time].map(lambda moment: moment.isoformat())
    local = base.clean[time].dt.tz_convert("America/New_York").dt.tz_localize(None)
    frame = base.clean.assign(**{time: zoned.mask(bad, local.map(lambda moment: moment.isoformat()))})
    return Defect(body_of(frame), "time_zones", body_of(base.clean), bad, named=(time, "zone"))


DEFECTS: dict[str, Callable[[Base], Defect]] = {
    "nulls": nulls,
    "type_flip": type_flip,
    "unit_change": unit_change,
    "duplicate_keys": duplicate_keys,
    "late": late,
    "truncated_file": truncated_file,
    "swapped_columns": swapped_columns,
    "encoding": encoding,
    "future_dates": future_dates,
    "constant_column": constant_column,
    "renamed_column": renamed_column,
    "mixed_time_zones": mixed_time_zones,
}
