"""Profiles of made-up windows, and their verdicts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from modelwright.events import Window
from modelwright.monitoring.detectors import Detector
from modelwright.monitoring.profiles import Profile, Reference, column_profile
from modelwright.monitoring.verdict import Seen, Verdict, judge
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import Column, DriftPolicy, Source
from monitoring.desk import DETECTORS

START = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = ("ks", "chi_square", "missing", "infinite", "unseen", "range", "type")
USED: tuple[Detector, ...] = tuple(DETECTORS[name] for name in NAMES)
Values = Mapping[str, Sequence[object]]


def source_of(policy: DriftPolicy | None = None) -> Source:
    kinds = {"x": "number", "y": "number", "z": "integer", "word": "string", "yes": "boolean"}
    columns = {name: Column.model_validate({"type": kind, "nullable": True}) for name, kind in kinds.items()}
    return Source(
        prefix="rows/",
        columns={"id": Column(type="string"), "at": Column(type="timestamp"), **columns},
        key=("id",),
        event_time="at",
        drift=policy or DriftPolicy(),
    )


def drawn(seed: int, rows: int = 500, shift: float = 0.0) -> dict[str, list[object]]:
    rng = np.random.default_rng(seed + 1_000)
    return {
        "x": list(rng.normal(shift, 1, rows)),
        "y": list(rng.lognormal(size=rows)),
        "z": [int(one) for one in rng.poisson(4, rows)],
        "word": [str(one) for one in rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])],
        "yes": [bool(one) for one in rng.random(rows) < 0.5],
    }


def profile(values: Values, day: int = 0, types: Mapping[str, str] | None = None) -> Profile:
    source, start = source_of(), START + timedelta(days=day)
    arrow = {"number": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}
    columns = {
        name: column_profile(
            pa.chunked_array([pa.array(column, arrow[source.columns[name].type])]),
            source.columns[name].type,
            (types or {}).get(name, ""),
        )
        for name, column in values.items()
    }
    rows = len(next(iter(values.values())))
    return Profile(
        source="rows", digest=f"d{day}", rows=rows, start=start, end=start + timedelta(hours=23), columns=columns
    )


def reference(uploads: int = 8, rows: int = 500) -> Reference:
    return Reference(tuple(profile(drawn(100 + n, rows), -uploads + n) for n in range(uploads)), f"{uploads} uploads")


def verdict(
    window: Profile,
    usual: Reference,
    policy: DriftPolicy | None = None,
    votes: DriftVotes | None = None,
    detectors: Sequence[Detector] = USED,
) -> Verdict:
    span = Window(start=window.start, end=window.end + timedelta(microseconds=1))
    return judge(Seen(window, usual), span, source_of(policy), detectors, votes or DriftVotes())


def moved(found: Verdict) -> set[tuple[str, str]]:
    return {(one.column, one.detector) for one, now in zip(found.columns, found.moved, strict=True) if now}
