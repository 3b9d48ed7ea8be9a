"""A small project, a stack in memory, and an oracle that answers by looking at every row."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modelwright import teamcode
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.events import Delivery, Envelope, UploadAccepted, Window
from modelwright.features import materialization, offline, online
from modelwright.features import push as pushes
from modelwright.features.history import ARROW
from modelwright.log import Log, new_id
from modelwright.project import Project

START = datetime(2013, 2, 1, tzinfo=UTC)
NEVER = datetime(2999, 1, 1, tzinfo=UTC)
WORKSPACE = "default"

PROJECT = Project.model_validate(
    {
        "name": "flights",
        "sources": {
            "departures": {
                "prefix": "departures/",
                "columns": {
                    "flight_id": {"type": "string"},
                    "carrier": {"type": "string"},
                    "origin": {"type": "string", "nullable": True},
                    "left_at": {"type": "timestamp"},
                    "delay": {"type": "integer", "nullable": True, "low": -100, "high": 3000},
                    "late": {"type": "boolean", "nullable": True},
                    "cancelled": {"type": "boolean"},
                    "known_at": {"type": "timestamp"},
                },
                "key": ["flight_id"],
                "event_time": "left_at",
                "available_at": "known_at",
            },
            "weather": {
                "prefix": "weather/",
                "columns": {
                    "origin": {"type": "string"},
                    "observed_at": {"type": "timestamp"},
                    "known_at": {"type": "timestamp"},
                    "temp": {"type": "number", "nullable": True, "low": -60, "high": 130},
                    "sky": {"type": "string", "nullable": True, "values": ["clear", "rain"]},
                },
                "key": ["origin", "observed_at"],
                "event_time": "observed_at",
                "available_at": "known_at",
            },
            "arrivals": {
                "prefix": "arrivals/",
                "columns": {
                    "flight_id": {"type": "string"},
                    "carrier": {"type": "string"},
                    "origin": {"type": "string", "nullable": True},
                    "scheduled": {"type": "timestamp"},
                    "arr_delay": {"type": "number", "nullable": True},
                    "known_at": {"type": "timestamp"},
                },
                "key": ["flight_id"],
                "event_time": "scheduled",
                "available_at": "known_at",
                "labels": True,
            },
        },
        "views": {
            "weather": {"entity": ["origin"], "source": "weather", "features": ["temp", "sky"], "ttl": "6h"},
            "by_origin": {
                "entity": ["origin"],
                "source": "departures",
                "aggregates": {
                    "n": {"function": "count"},
                    "delay": {"function": "mean", "column": "delay"},
                    "late": {"function": "mean", "column": "late", "where": "cancelled"},
                    "gone": {"function": "sum", "column": "cancelled"},
                },
                "windows": ["2h", "24h"],
            },
            "by_route": {
                "entity": ["carrier", "origin"],
                "source": "departures",
                "features": ["delay", "left_at"],
                "aggregates": {"route_delay": {"function": "sum", "column": "delay"}},
                "windows": ["12h"],
            },
        },
        "on_demand": {
            "calendar": {
                "function": "features.feature_cases:calendar",
                "inputs": ["scheduled", "temp", "by_origin__n_2h"],
                "outputs": ["hour", "warm", "part"],
            }
        },
        "models": {
            "flights": {
                "id_column": "flight_id",
                "time_column": "scheduled",
                "request": {"flight_id": "string", "carrier": "string", "origin": "string", "scheduled": "timestamp"},
                "views": ["weather", "by_origin", "by_route"],
                "on_demand": ["calendar"],
                "inputs": [
                    "carrier", "hour", "warm", "part", "temp", "sky", "n_2h", "delay_2h", "late_2h", "gone_2h", "n_1d",
                    "delay_1d", "late_1d", "gone_1d", "route_delay_12h", "by_route__delay", "left_at",
                ],
                "categorical": ["carrier", "sky"],
                "label": {"source": "arrivals", "column": "arr_delay", "above": 15},
                "trainer": "trainer:train",
            }
        },
    }
)  # fmt: skip


def calendar(row: dict[str, Any]) -> dict[str, Any]:
    """Features of the request row and of stored features."""
    temp, when = row["temp"], row["scheduled"]
    warm = None if temp is None else temp / 3
    return {
        "hour": when and when.hour + when.minute / 60,
        "warm": warm,
        "part": "busy" if row["by_origin__n_2h"] else "calm",
    }


class Stack:
    """The feature store in memory, as its two functions use it."""

    def __init__(self, project: Project = PROJECT, workspace: str = WORKSPACE) -> None:
        self.project = project
        self.workspace = workspace
        self.tables, self.blobs, self.cache = MemoryTables(), MemoryBlobs(), dict[str, Any]()
        self.log = Log(self.tables)
        self.load = teamcode.loader(project, blobs=self.blobs)

    def call(self, now: datetime) -> Call:
        return Call(self.workspace, "tester", now, "c-1")

    def everything(self) -> dict[str, Any]:
        return {
            "project": self.project, "tables": self.tables, "log": self.log, "blobs": self.blobs, "cache": self.cache
        }  # fmt: skip

    def delivery(self, source: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> Delivery:
        """Store an accepted file, as ``monitor`` does, and return the event that says so."""
        declared = self.project.sources[source]
        table = pa.table({n: pa.array([r[n] for r in rows], ARROW[c.type]) for n, c in declared.columns.items()})
        sink = io.BytesIO()
        pq.write_table(table, sink)
        digest = hashlib.sha256(json.dumps(rows, default=str).encode()).hexdigest()
        key = f"accepted/{self.workspace}/{source}/{digest}.parquet"
        self.blobs.put("lake", key, sink.getvalue())
        event = UploadAccepted(
            source=source, upload_key=f"{source}/x.parquet", upload_version="1", digest=digest, key=key,
            rows=len(rows), bad_rows=0, window=Window(start=now, end=now), profile_key="",
        )  # fmt: skip
        envelope = Envelope(
            id=new_id(), type="UploadAccepted", schema_version=1, workspace=self.workspace, stream="s", sequence=1,
            at=now, actor="a", correlation_id="c", data=event.model_dump(mode="json"),
        )  # fmt: skip
        return Delivery(consumer="materialize", envelope=envelope, event=event)

    def deliver(self, delivery: Delivery) -> None:
        materialization.follow_upload(delivery, self.call(delivery.envelope.at), **self.everything())

    def upload(self, source: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        self.deliver(self.delivery(source, rows, now))

    def push(self, source: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> pushes.Pushed:
        stores: dict[str, Any] = {"project": self.project, "tables": self.tables, "blobs": self.blobs}
        given = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
        return pushes.push(self.call(now), pushes.Push(source=source, rows=given), identity=new_id(), **stores)

    def fold(self, now: datetime) -> dict[str, int]:
        return materialization.fold_pushed(self.call(now), **self.everything())

    def offline(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        table = self.offline_table(rows)
        names = self.project.models["flights"].inputs
        return [{n: row[n] for n in names} for row in table.to_pylist()]

    def offline_table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        model = self.project.models["flights"]
        table = offline.request_table(model, rows)
        stores: dict[str, Any] = {"blobs": self.blobs, "tables": self.tables, "workspace": self.workspace}
        return offline.historical(self.project, model, table, cache=self.cache, **stores)

    def online(self, rows: Sequence[Mapping[str, Any]], as_of: datetime) -> list[dict[str, Any]]:
        stores: dict[str, Any] = {"tables": self.tables, "workspace": self.workspace, "load": self.load}
        return online.read(self.project, "flights", rows, as_of=as_of, **stores)


def oracle(history: Mapping[str, Sequence[Mapping[str, Any]]], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a request row from all rows there ever were, in order of arrival."""
    time = row["scheduled"]
    kept = {name: _versions(name, rows) for name, rows in history.items()}
    values: dict[str, Any] = dict(row)
    for view in ("weather", "by_route"):
        values |= _latest(view, kept, row, time)
    for view in ("by_origin", "by_route"):
        values |= _windows(view, kept["departures"], row, time)
    computed = calendar({"scheduled": time, "temp": values["temp"], "by_origin__n_2h": values["n_2h"]})
    values |= {n: float(v) if isinstance(v, int) else v for n, v in computed.items()}
    values["by_route__delay"] = values["delay"]
    return {name: values[name] for name in PROJECT.models["flights"].inputs}


def _versions(source: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return every version of every row that was ever seen, each with the time until which it was."""
    of_key: dict[Any, dict[datetime, Mapping[str, Any]]] = {}
    for row in rows:  # of two that became known at one time, the one that came later takes the place of the other
        of_key.setdefault(tuple(row[name] for name in PROJECT.sources[source].key), {})[row["known_at"]] = row
    found: list[Mapping[str, Any]] = []
    for versions in of_key.values():
        times = sorted(versions)
        for known, until in zip(times, [*times[1:], NEVER], strict=True):
            found.append({**versions[known], "until": until})
    return found


def _mine(view: str, rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    keys = PROJECT.views[view].entity
    return [r for r in rows if all(r[k] is not None and r[k] == row[k] for k in keys)]


def _latest(view: str, kept: Mapping[str, Any], row: Mapping[str, Any], time: datetime) -> dict[str, Any]:
    declared = PROJECT.views[view]
    when = PROJECT.sources[declared.source].event_time
    mine = _mine(view, kept[declared.source], row)
    rows = [r for r in mine if r[when] <= time and r["known_at"] <= time < r["until"]]
    if declared.ttl_us:
        rows = [r for r in rows if r[when] >= time - timedelta(microseconds=declared.ttl_us)]
    best = max(rows, key=lambda r: (r[when], r["known_at"]), default=None)
    return {name: best[name] if best else None for name in declared.features}


def _windows(view: str, rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any], time: datetime) -> dict[str, Any]:
    declared = PROJECT.views[view]
    end = _hour(time)
    names = iter(declared.feature_names()[len(declared.features) :])
    found: dict[str, Any] = {}
    for hours in (window // 3_600_000_000 for window in declared.windows_us):
        inside = [
            r
            for r in _mine(view, rows, row)
            if end - timedelta(hours=hours) <= r["known_at"] < end <= _hour(r["until"])
        ]
        for aggregate in declared.aggregates.values():
            counted = [r for r in inside if not aggregate.where or r[aggregate.where]]
            values = [1 if not aggregate.column else r[aggregate.column] for r in counted]
            values = [int(v) for v in values if v is not None]
            mean = sum(values) / len(values) if values else None
            found[next(names)] = {"count": len(values), "sum": sum(values), "mean": mean}[aggregate.function]
            if any(row[key] is None for key in declared.entity):
                found[list(found)[-1]] = None
    return found


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
