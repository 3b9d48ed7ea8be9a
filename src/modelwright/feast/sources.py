"""The sources of a repository of Feast's, as ours: rows that land as files, or are pushed.

In Feast a source is where rows are; a feature view adds what its columns are, and what they are about. In
Modelwright a source says all that. So one of ours is made of a batch source, the stream source before it,
and every view that reads them; a row's key is its join keys and event time, as Feast takes the newest row of both.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from modelwright.declarations import ColumnType
from modelwright.feast.kinds import wider
from modelwright.feast.messages import Message
from modelwright.feast.notes import Notes
from modelwright.sources import Column, Source

DUMMY = "__dummy"
"""Feast's entity of features that are about everything."""
FILE, KAFKA, KINESIS, PUSH = 1, 3, 4, 9
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TABLES: Mapping[int, str] = {
    2: "bigquery_options",
    5: "redshift_options",
    8: "snowflake_options",
    10: "trino_options",
    11: "spark_options",
    12: "athena_options",
}


@dataclass(frozen=True)
class Files:
    """Where the rows of a file source are.

    Attributes:
        renamed: Feast's ``field_mapping``: our name of a column by the file's.
    """

    uri: str
    renamed: Mapping[str, str]
    endpoint: str


@dataclass
class Gathered:
    """A source of ours in the making.

    Attributes:
        batch: Feast's batch source, if there is one.
        stream: what rows are pushed to, if there is such.
        keys: join keys of its views.
        columns: types by name: join keys and features.
    """

    batch: Message | None
    stream: Message | None
    keys: dict[str, None] = field(default_factory=dict)
    columns: dict[str, ColumnType] = field(default_factory=dict)

    @property
    def told(self) -> Message:
        """The source of Feast's that says the times and the owner."""
        return self.stream if self.batch is None else self.batch

    @property
    def event_time(self) -> str:
        """Feast's ``timestamp_field``, which a push source leaves to its batch source."""
        return self.told.timestamp_field or "event_timestamp"

    def add(self, view: str, names: Iterable[tuple[str, ColumnType]], notes: Notes) -> None:
        """Add columns that a view reads."""
        for name, kind in names:
            known = self.columns.get(name, kind)
            if (wide := wider(known, kind)) is None:
                notes.change(f"column {name}: is a {known} in one view, a {kind} in {view}; it is declared a {known}")
            self.columns[name] = wide or known

    def declared(self, prefix: str) -> Source:
        """Return the source as ours."""
        times = {self.event_time: Column(type="timestamp")}
        if created := self.told.created_timestamp_column:
            times[created] = Column(type="timestamp", nullable=True)
        keys = {name: Column(type=self.columns[name]) for name in self.keys}
        others = {n: Column(type=kind, nullable=True) for n, kind in self.columns.items() if n not in {*keys, *times}}
        named = (source for source in (self.stream, self.batch) if source is not None)
        told = [(source.description, source.owner, dict(source.tags)) for source in named]
        return Source(
            prefix=prefix,
            columns={**keys, **times, **others},
            key=(*keys, self.event_time),
            event_time=self.event_time,
            available_at=created,
            description=next((text for text, _, _ in told if text), ""),
            owner=next((owner for _, owner, _ in told if owner), ""),
            tags={name: value for _, _, tags in reversed(told) for name, value in tags.items()},
        )

    def files(self) -> Files | None:
        """Return where its rows are, if they are in files."""
        if self.batch is None or self.batch.type != FILE:
            return None
        options = self.batch.file_options
        return Files(options.uri, dict(self.batch.field_mapping), options.s3_endpoint_override)


def fitting(name: str, taken: Callable[[str], bool]) -> str:
    """Return a name of ours for one of Feast's: itself where it fits; of a path, what its file is called."""
    shorter = PurePosixPath(name).stem if "/" in name or name.endswith(".parquet") else name
    letters = re.sub(r"[^a-z0-9_]+", "_", shorter.lower()).strip("_" if not _NAME.fullmatch(shorter) else "")
    start = (letters if letters[:1].isalpha() else f"x_{letters}")[:60]
    found, number = start, 1
    while taken(found):
        number += 1
        found = f"{start}_{number}"
    return found


def tell(name: str, gathered: Gathered, notes: Notes) -> None:
    """Note what is not the same about a source."""
    batch, stream = gathered.batch, gathered.stream
    told = gathered.told
    if told.created_timestamp_column:
        created = told.created_timestamp_column
        notes.change(f"source {name}: {created} is when a row became known; joins see it from then on, not before")
    if stream is not None and stream.type in (KAFKA, KINESIS):
        queue = stream.kafka_options.topic or stream.kinesis_options.stream_name
        notes.change(f"source {name}: nothing reads the stream {queue}; push its rows to /push")
    if batch is None or batch.type == FILE:
        return
    if batch.type in _TABLES:
        options = getattr(batch, _TABLES[batch.type])
        place = options.table or options.query or getattr(options, "path", "")
        notes.change(f"source {name}: was {place}; unload its rows as Parquet below {name}/")
    elif batch.type != PUSH:
        kind = batch.data_source_class_type or f"type {batch.type}"
        notes.change(f"source {name}: was a {kind}; land its rows as Parquet below {name}/")
