"""A stack in memory in which a passenger has left traces everywhere, and a walker that decodes all of it."""

import gzip
import io
import json
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from boto3.dynamodb.types import Binary

from modelwright import teamcode
from modelwright.adapters import erasing
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.events import Delivery, ErasureRequested, Event, SubjectErased, UploadAccepted, kinds
from modelwright.features import datasets, materialization, offline, online, packing, serving_log
from modelwright.features import push as pushes
from modelwright.features.erasing import erasure
from modelwright.features.layout import row_key
from modelwright.log import Log, LogItem, new_id, stream_of
from modelwright.monitoring import checks, detectors, uploads
from modelwright.monitoring.reading import parquet_bytes
from modelwright.project import Project, current_key
from modelwright.rollout import predictions
from modelwright.storage import Anything, BucketName, Put, TableName

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
NOW = START + timedelta(hours=27)
ANN, BOB, EVE = "passenger-ann-1912", "passenger-bob-1915", "passenger-eve-1920"
PEOPLE = (ANN, BOB, EVE)
TABLES: tuple[TableName, ...] = (
    "log",
    "features",
    "monitoring",
    "registry",
    "governance",
    "tracking",
    "rollout",
    "insights",
)
SALT = "5a" * 32

PROJECT = Project.model_validate(
    {
        "name": "journeys",
        "sources": {
            "trips": {
                "prefix": "trips/",
                "columns": {
                    "trip_id": {"type": "string"},
                    "passenger": {"type": "string"},
                    "origin": {"type": "string"},
                    "left_at": {"type": "timestamp"},
                    "price": {"type": "number", "nullable": True, "low": 0, "high": 5000},
                    "known_at": {"type": "timestamp"},
                },
                "key": ["trip_id"],
                "event_time": "left_at",
                "available_at": "known_at",
                "checks": ["range"],
                "detectors": [],
            },
            "moods": {
                "columns": {
                    "passenger": {"type": "string"},
                    "felt_at": {"type": "timestamp"},
                    "mood": {"type": "integer"},
                },
                "key": ["passenger"],
                "event_time": "felt_at",
            },
            "reviews": {
                "prefix": "reviews/",
                "columns": {
                    "trip_id": {"type": "string"},
                    "passenger": {"type": "string"},
                    "origin": {"type": "string"},
                    "asked_at": {"type": "timestamp"},
                    "stars": {"type": "integer", "nullable": True},
                    "known_at": {"type": "timestamp"},
                },
                "key": ["trip_id"],
                "event_time": "asked_at",
                "available_at": "known_at",
                "labels": True,
                "checks": [],
                "detectors": [],
            },
        },
        "entities": {"passenger": {"join_keys": ["passenger"]}, "origin": {"join_keys": ["origin"]}},
        "views": {
            "mood": {"entity": ["passenger"], "source": "moods", "features": ["mood"]},
            "by_passenger": {
                "entity": ["passenger"],
                "source": "trips",
                "features": ["price"],
                "aggregates": {"spent": {"function": "sum", "column": "price"}},
                "windows": ["2h", "24h"],
            },
            "by_origin": {
                "entity": ["origin"],
                "source": "trips",
                "features": ["left_at"],
                "aggregates": {
                    "n": {"function": "count"},
                    "paid": {"function": "mean", "column": "price"},
                    "dearest": {"function": "max", "column": "price"},
                },
                "windows": ["24h"],
            },
            "by_pair": {
                "entity": ["origin", "passenger"],
                "source": "trips",
                "features": ["price"],
                "aggregates": {"times": {"function": "count"}},
                "windows": ["24h"],
            },
        },
        "models": {
            "happy": {
                "id_column": "trip_id",
                "time_column": "asked_at",
                "request": {
                    "trip_id": "string", "passenger": "string", "origin": "string", "asked_at": "timestamp"
                },
                "views": ["mood", "by_passenger", "by_origin", "by_pair"],
                "inputs": [
                    "mood", "by_passenger__price", "spent_2h", "spent_1d", "left_at", "n_1d", "paid_1d", "dearest_1d",
                    "by_pair__price", "times_1d",
                ],
                "label": {"source": "reviews", "column": "stars", "above": 3},
                "trainer": "trainer:train",
                "sampled": 1.0,
            }
        },
    }
)  # fmt: skip
CHECKS = {one.name: one for one in (checks.LearnedRange(), checks.UnknownCategories())}
Row = dict[str, Any]


def trips(count: int = 24, people: Sequence[str] = PEOPLE) -> list[Row]:
    """Return trips of people, a few an hour."""
    chance = random.Random(7)
    return [
        {
            "trip_id": f"trip-{n:04d}",
            "passenger": people[n % len(people)],
            "origin": ("EWR", "JFK")[n % 2],
            "left_at": START + timedelta(hours=n),
            "price": None if n % 11 == 5 else round(chance.uniform(1, 900), 2),
            "known_at": START + timedelta(hours=n, minutes=20),
        }
        for n in range(count)
    ]


def reviews(rows: Sequence[Row]) -> list[Row]:
    """Return what people said of trips."""
    return [
        {
            "trip_id": row["trip_id"],
            "passenger": row["passenger"],
            "origin": row["origin"],
            "asked_at": row["known_at"] + timedelta(minutes=50),
            "stars": n % 5 + 1,
            "known_at": row["known_at"] + timedelta(hours=3),
        }
        for n, row in enumerate(rows)
    ]


def csv_of(rows: Sequence[Row]) -> bytes:
    """Return rows as a CSV file whose every byte counts."""
    lines = [",".join(rows[0])]
    lines += [",".join('"' + str(v) + '"' if n % 2 else _cell(v) for n, v in enumerate(row.values())) for row in rows]
    return ("\r\n".join(lines) + "\r\n").encode()


def parquet_of(rows: Sequence[Row]) -> bytes:
    """Return rows as a Parquet file, one column of it a dictionary."""
    table = pa.Table.from_pylist([dict(row) for row in rows])
    place = table.column_names.index("passenger")
    return parquet_bytes(table.set_column(place, "passenger", table["passenger"].dictionary_encode()))


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


class World:
    """The platform's functions over one memory, and what happened to it."""

    def __init__(self, project: Project = PROJECT, tables: MemoryTables | None = None) -> None:
        self.project, self.workspace = project, "default"
        self.tables, self.blobs = tables or MemoryTables(), MemoryBlobs()
        self.log, self.cache = Log(self.tables), dict[str, Any]()
        self.apply(project)

    def apply(self, project: Project) -> None:
        """Make a project the current one, and remember it."""
        self.project, key = project, current_key(self.workspace)
        digest = project.model_dump_json()
        for sk in ("CURRENT", f"{len(digest)}-{project.views and max(v.version for v in project.views.values())}"):
            item = {"pk": key.pk, "sk": sk, "project": digest, "applied": NOW.isoformat()}
            self.tables.write([Put("governance", item, Anything())])

    def call(self, now: datetime = NOW) -> Call:
        return Call(self.workspace, "tester", now, "c-1")

    def stores(self) -> dict[str, Any]:
        return {"project": self.project, "tables": self.tables, "log": self.log, "blobs": self.blobs}

    # --- what leaves traces ---------------------------------------------------------------

    def land(self, key: str, body: bytes) -> str:
        """Upload a file, and let everybody hear of what comes of it."""
        heard = len(self.deliveries(UploadAccepted))
        outcome = self.receive(key, self.blobs.put("landing", key, body))
        for delivery in self.deliveries(UploadAccepted)[heard:]:
            self.materialize(delivery)
        return outcome

    def receive(self, key: str, version: str) -> str:
        stores: dict[str, Any] = {"tables": self.tables, "log": self.log, "blobs": self.blobs}
        detector = {"ks": detectors.KolmogorovSmirnov()}.__getitem__
        return uploads.receive(self.call(), key, version, check=CHECKS.__getitem__, detector=detector, **stores)

    def materialize(self, delivery: Delivery) -> None:
        materialization.follow_upload(delivery, self.call(), cache=self.cache, **self.stores())

    def push(self, source: str, rows: Sequence[Row], now: datetime = NOW) -> pushes.Pushed:
        given = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
        stores: dict[str, Any] = {"project": self.project, "tables": self.tables, "blobs": self.blobs}
        return pushes.push(self.call(now), pushes.Push(source=source, rows=given), identity=new_id(), **stores)

    def fold(self) -> None:
        materialization.fold_pushed(self.call(), cache=self.cache, **self.stores())

    def answer(self, rows: Sequence[Row], request: str) -> None:
        """Log an answer of the model's features."""
        service = self.project.service("happy")
        asked = [dict(row) for row in rows]
        values = self.online(asked)
        full = [row | value for row, value in zip(asked, values, strict=True)]
        answer = serving_log.noted(
            "happy", service, full, project=self.project, request=request, as_of=NOW, now=NOW, statuses={}
        )
        self.blobs.put("lake", answer.key(self.workspace), answer.body())

    def predict(self, rows: Sequence[Row], request: str) -> None:
        lines = [predictions.Scored(row["trip_id"], row["asked_at"], 1, "champion", 0.5) for row in rows]
        asked = predictions.Request(self.workspace, "happy", request, "live", NOW)
        predictions.write(lines, {row["trip_id"]: row["asked_at"] for row in rows}, asked, blobs=self.blobs)

    def training_set(self) -> datasets.TrainingSet:
        query = datasets.TrainingSetQuery(model="happy", start=START, end=NOW, as_of=NOW)
        return datasets.build(self.call(), query, cache=self.cache, **self.stores())

    # --- erasure --------------------------------------------------------------------------

    def shop(self, **changes: Any) -> erasure.Shop:
        shop = erasing.shop_of(self.call(), cache=self.cache, landing=True, seconds=600, **self.stores())
        return erasure.Shop(**{**vars(shop), "threads": 1, **changes})

    def ask(self, entity: str, key: Any) -> Delivery:
        body = erasure.EraseSubject(entity=entity, key=key)
        said = erasure.ask(
            self.call(), body, project=self.project, tables=self.tables, log=self.log, identity=new_id(), salt=SALT
        )
        return self.deliveries(ErasureRequested, "ERASURE", said["erasure_id"])[0]

    def erase(self, entity: str, key: Any) -> dict[str, Any]:
        """Erase a subject and return the receipt."""
        delivery = self.ask(entity, key)
        erasure.follow(delivery, self.call(), shop=self.shop())
        return self.receipt(delivery)

    def receipt(self, delivery: Delivery) -> dict[str, Any]:
        said = erasure.show(self.call(), delivery.event.erasure_id, tables=self.tables, blobs=self.blobs)
        assert said["status"] == "erased", said
        receipt: dict[str, Any] = said["receipt"]
        return receipt

    def erased(self, erasure_id: str) -> SubjectErased:
        (delivery,) = self.deliveries(SubjectErased, "ERASURE", erasure_id)
        event: SubjectErased = delivery.event
        return event

    def deliveries_of(self, delivery: Delivery) -> int:
        """Return how often it was said that an erasure is over."""
        return len(self.deliveries(SubjectErased, "ERASURE", delivery.event.erasure_id))

    # --- what is there --------------------------------------------------------------------

    def deliveries(self, kind: type[Event], stream: str = "SOURCE", identity: str = "") -> list[Delivery]:
        names = [identity] if identity else [*self.project.sources]
        items: list[LogItem] = [i for n in names for i in self.log.read(stream_of(self.workspace, stream, n))]
        return [
            Delivery(consumer="test", envelope=i.envelope, event=kind.model_validate(i.envelope.data))
            for i in sorted(items, key=lambda item: item.envelope.id)
            if kinds()[i.envelope.type] is kind
        ]

    def online(self, rows: Sequence[Row], as_of: datetime = NOW) -> list[Row]:
        stores: dict[str, Any] = {"tables": self.tables, "workspace": self.workspace}
        load = teamcode.loader(self.project, blobs=self.blobs)
        return online.read(self.project, "happy", rows, as_of=as_of, load=load, **stores)

    def offline(self, rows: Sequence[Row]) -> list[Row]:
        model = self.project.models["happy"]
        stores: dict[str, Any] = {"blobs": self.blobs, "tables": self.tables, "workspace": self.workspace}
        table = offline.historical(
            self.project, model, offline.request_table(model, rows), cache=dict[str, Any](), **stores
        )
        return [{name: row[name] for name in model.inputs} for row in table.to_pylist()]


def populated(world: World, without: str = "") -> World:
    """Leave traces of everybody, or of all but one, in every place."""

    def here(given: Sequence[Row]) -> list[Row]:
        return [row for row in given if row["passenger"] != without]

    rows = trips()
    assert world.land("trips/1.csv", csv_of(here(rows[:12]))).startswith("accepted")
    assert world.land("trips/2.parquet", parquet_of(here(rows[12:20]))).startswith("accepted")
    bad = [{**row, "trip_id": f"bad-{n}", "price": -5.0} for n, row in enumerate(rows[:2])]
    fresh = [{**r, "trip_id": f"more-{n}", "left_at": r["left_at"] + timedelta(days=1)} for n, r in enumerate(rows[:6])]
    assert "held" in world.land("trips/3.csv", csv_of(here([*fresh, *bad])))
    broken = b"trip_id,passenger\nx," + (without or ANN).encode() + b"\n"
    if not without:
        assert world.land("trips/broken.csv", broken).startswith("quarantined")
        assert world.land("elsewhere/x.bin", b"\x00\xff " + ANN.encode()).startswith("quarantined")
    assert world.land("reviews/1.csv", csv_of(here(reviews(rows)))).startswith("accepted")
    world.push("trips", here(rows[20:22]))
    moods = [{"passenger": name, "felt_at": START, "mood": n} for n, name in enumerate(PEOPLE)]
    world.push("moods", here(moods))
    world.fold()
    world.push("trips", here(rows[22:]))
    asked = [{k: row[k] for k in ("trip_id", "passenger", "origin", "asked_at")} for row in reviews(rows)[-6:]]
    world.answer(here([{**row, "asked_at": NOW} for row in asked]), "request-1")
    world.answer([{**asked[1], "passenger": BOB, "asked_at": NOW}], "request-2")
    world.predict(here(asked), "asking-1")
    world.training_set()
    return world


def small(world: World) -> World:
    """Leave few traces, in places of every kind."""
    rows = trips(4)
    world.land("trips/1.csv", csv_of(rows[:3]))
    world.push("trips", rows[3:])
    world.answer([{"trip_id": "t", "passenger": name, "origin": "EWR", "asked_at": NOW} for name in (ANN, BOB)], "r")
    world.land("reviews/1.csv", csv_of(reviews(rows)))
    world.training_set()
    return world


# --- the walker --------------------------------------------------------------------------


def places_with(world: World, words: Sequence[str], keys: Sequence[int] = ()) -> list[str]:
    """Return every place, decoded, in which one of the words stands, or a row key."""
    return sorted(place for place, content in contents(world) if stands(content, words, keys))


def contents(world: World) -> Iterator[tuple[str, Any]]:
    """Yield everything that is stored: items by table and key, versions of objects by bucket and key."""
    for name in TABLES:
        for (pk, sk), item in world.tables._items.get(name, {}).items():
            yield f"{name} {pk} {sk}", [pk, sk, decoded(dict(item))]
    buckets: tuple[BucketName, ...] = ("landing", "lake", "artifacts")
    for bucket in buckets:
        for version in world.blobs.versions(bucket, ""):
            where = f"{bucket}/{version.key} {version.version}"
            body = b"" if version.marker else world.blobs.get(bucket, version.key, version.version).body
            yield where, [version.key, decoded_object(version.key, body)]


def decoded(value: Any) -> Any:
    """Return a value with everything in it that can be decoded."""
    if isinstance(value, Mapping):
        return {key: decoded(one) for key, one in value.items()}
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    if isinstance(value, bytes):
        for read in (packing.unpack, lambda body: json.loads(zlib.decompress(body))):
            try:
                return [list(column) for column in read(value)] if read is packing.unpack else read(value)
            except (zlib.error, ValueError, TypeError, KeyError):
                continue
    return value


def decoded_object(key: str, body: bytes) -> Any:
    if key.endswith(".keys"):
        return [int.from_bytes(body[n : n + 8], "little") for n in range(0, len(body), 8)]
    if body.startswith(b"\x1f\x8b"):
        return decoded_object(key.removesuffix(".gz"), gzip.decompress(body))
    if body.startswith(b"PAR1"):
        with suppress(pa.ArrowInvalid):  # a broken file that somebody uploaded is looked through as it is
            return pq.read_table(io.BytesIO(body)).to_pydict()
    return body.decode("latin-1")


def stands(content: Any, words: Sequence[str], keys: Sequence[int]) -> bool:
    """Say whether a word stands in something decoded, or a row key, however it is written."""
    if isinstance(content, Mapping):
        return any(stands(part, words, keys) for pair in content.items() for part in pair)
    if isinstance(content, list | tuple):
        return any(stands(part, words, keys) for part in content)
    if isinstance(content, Binary):
        return stands(bytes(content), words, keys)  # type: ignore[call-overload]  # the stubs do not know __bytes__
    if isinstance(content, bytes):
        spelled = [key.to_bytes(8, order) for key in keys for order in ("little", "big")]
        return any(part in content for part in (*spelled, *(word.encode() for word in words)))
    if isinstance(content, int) and not isinstance(content, bool):
        return content in keys or content & (2**64 - 1) in keys
    text = str(content)
    return any(word in text for word in words) or any(f"{key:016x}" in text for key in keys)


def ids_of(passenger: str) -> list[str]:
    """Return the ids of a passenger's trips."""
    return [row["trip_id"] for row in trips() if row["passenger"] == passenger]


def keys_of(passenger: str) -> list[int]:
    """Return the row keys of a passenger's rows."""
    return [row_key([passenger]), *(row_key([one]) for one in ids_of(passenger))]
