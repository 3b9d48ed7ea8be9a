"""Parts: immutable snapshots of settled runs, as two objects of the lake.

``<id>.columns`` holds what filters and orders look at. It begins with its head: the length of the index
(u32), the index (deflated JSON: where each column lies, counted from the index's end), and what every
search needs: ``start`` times, ``run`` ids, the ``sizes`` of all records, the ``dictionary`` they were
deflated with, and the ``stage`` of each run if one was deleted by itself. The other columns follow.

``<id>.rows`` holds what answers are made of: one record per run, then one per dataset that the runs read.
A record is deflated by itself, with the dictionary, so that any of them can be read alone. That of a run
has these lines of JSON, none with its brackets; the stage and the datasets are put in when it is answered:
``info`` but for the stage, everything beside info and inputs, ``inputs`` but for the datasets, and per
dataset its number and what is said of it.

Rows are in the order of (start time descending, run id ascending), which is the order of searches that
ask for none: the number of a row is its tie-break.
"""

import hashlib
import struct
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from modelwright.filters import RUNS
from modelwright.tracking.answers import dumped
from modelwright.tracking.columns import Name, Packed, Part, grouped
from modelwright.tracking.entities import ACTIVE, Run
from modelwright.tracking.messages import Dataset

HEAD: Final = "head"
START, RUN_ID, STAGE, SIZES, DICTIONARY = (
    (HEAD, "start"), (HEAD, "run"), (HEAD, "stage"), (HEAD, "sizes"), (HEAD, "dictionary"),
)  # fmt: skip
DATASETS = ("datasets", "")
VERSION: Final = 1
_DICTIONARY = 8192
_FIXED = 3
"""Lines that each record of a run has."""
_WINDOW = -15
"""Raw deflate: records are short, so neither header nor checksum."""
_CONTEXT = "mlflow.data.context"
_ATTRIBUTES = tuple(key for key in (*RUNS.texts, *RUNS.numbers) if key not in ("run_id", "start_time"))
"""Those that are not in the head."""


@dataclass(frozen=True, slots=True)
class Row:
    """A settled run as a part holds it.

    Attributes:
        run_id: its id.
        start: its start time.
        stage: "active", or "deleted" and the epoch of its experiment in which it was.
        numbers: its metrics, and the attributes with numbers that it has.
        texts: its params, tags and attributes, and the names, digests and contexts of its datasets as JSON.
        lines: its record.
        datasets: the records of its datasets, in the order of the record's lines.
    """

    run_id: str
    start: int
    stage: str
    numbers: Mapping[Name, float]
    texts: Mapping[Name, str]
    lines: tuple[str, ...]
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A part and its two objects."""

    part: Part
    columns: bytes
    rows: bytes


def row_of(run: Run, datasets: dict[tuple[str, str], Dataset]) -> Row:
    """Return a run as a row; ``datasets`` are those that it read, by name and digest."""
    given = {("attributes", key): run.value("attributes", key)[0] for key in _ATTRIBUTES}
    given |= {("metrics", key): metric.value for key, metric in run.metrics.items()}
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    texts |= {("params", key): value for key, value in run.params.items()}
    texts |= {("tags", key): value for key, value in run.tags.items()}
    if run.datasets:
        texts[DATASETS] = dumped([[d.name, d.digest, d.tags.get(_CONTEXT)] for d in run.datasets])
    lines, own = _lines(run.answer(datasets))
    return Row(
        run_id=run.run_id,
        start=run.start_time,
        stage=stage_word(run),
        numbers={name: value for name, value in given.items() if isinstance(value, int | float)},
        texts=texts,
        lines=lines,
        datasets=own,
    )


def stage_word(run: Run) -> str:
    """Return how a part says a run's own stage."""
    return ACTIVE if run.lifecycle_stage == ACTIVE else f"{run.lifecycle_stage} {run.epoch}"


def answer_of(stage: str, lines: Sequence[str], datasets: Sequence[str]) -> str:
    """Return a run in the protocol's form; ``datasets`` are the records that its lines name."""
    info, rest, inputs, *said = lines
    if said:
        read = ",".join(_joined(f'"dataset":{one}', more) for one, more in zip(datasets, said, strict=True))
        inputs = f'{inputs},"dataset_inputs":[{read}]' if inputs else f'"dataset_inputs":[{read}]'
    return _joined(f'"info":{{{info},"lifecycle_stage":"{stage}"}}', rest, f'"inputs":{{{inputs}}}')


def encode(rows: Iterable[Row]) -> Encoded:
    """Return rows as a part, the same one for the same rows: its id is made of them.

    There must be a row, and no run twice.
    """
    ordered = sorted(sorted(rows, key=attrgetter("run_id")), key=attrgetter("start"), reverse=True)
    if not ordered:
        raise ValueError("a part has rows")
    records, sizes, dictionary = _records(ordered)
    packed, size = Packed(), len(ordered)
    everyone = range(size)
    active = all(row.stage == ACTIVE for row in ordered)
    packed.add_numbers(START, everyone, [row.start for row in ordered], size)
    packed.add_names(RUN_ID, [row.run_id for row in ordered])
    packed.add(SIZES, "I", len(sizes), zlib.compress(grouped(sizes)))
    packed.add(DICTIONARY, "b", len(dictionary), zlib.compress(dictionary))
    if not active:
        packed.add_texts(STAGE, everyone, [row.stage for row in ordered], size)
    head = packed.length
    _add_columns(packed, ordered)
    entries = [[*name, *entry] for name, entry in packed.entries.items()]
    index = zlib.compress(dumped({"version": VERSION, "rows": size, "columns": entries}).encode())
    columns = b"".join([struct.pack("<I", len(index)), index, *packed.streams])
    part = Part(
        id=hashlib.sha256(hashlib.sha256(columns).digest() + hashlib.sha256(records).digest()).hexdigest()[:32],
        rows=size,
        bytes_columns=len(columns),
        bytes_rows=len(records),
        directory=struct.calcsize("<I") + len(index) + head,
        active=active,
        newest=ordered[0].start,
        oldest=ordered[-1].start,
    )
    return Encoded(part, columns, records)


def inflated(record: bytes, dictionary: bytes) -> str:
    """Return the text of a record."""
    return zlib.decompressobj(_WINDOW, dictionary).decompress(record).decode()


def lines_of(record: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return a run's record as lines, and the numbers of its datasets."""
    lines = record.split("\n")
    if len(lines) == _FIXED:
        return tuple(lines), ()
    used = [line.partition(" ") for line in lines[_FIXED:]]
    return (*lines[:_FIXED], *(said for _, _, said in used)), tuple(int(number) for number, _, _ in used)


def _lines(answer: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    info = {key: value for key, value in answer["info"].items() if key != "lifecycle_stage"}
    rest = {key: value for key, value in answer.items() if key not in ("info", "inputs")}
    inputs = dict(answer.get("inputs", {}))
    read = inputs.pop("dataset_inputs") if inputs.get("dataset_inputs") else []
    said = [_inner({key: value for key, value in one.items() if key != "dataset"}) for one in read]
    return (_inner(info), _inner(rest), _inner(inputs), *said), tuple(dumped(one["dataset"]) for one in read)


def _joined(*members: str) -> str:
    return "{" + ",".join(filter(None, members)) + "}"


def _inner(value: Mapping[str, Any]) -> str:
    return dumped(value)[1:-1]


def _records(rows: Sequence[Row]) -> tuple[bytes, "array[int]", bytes]:
    """Return all records, their sizes and their dictionary."""
    numbers: dict[str, int] = {}
    for row in rows:
        for dataset in row.datasets:
            numbers.setdefault(dataset, len(numbers))
    texts = []
    for row in rows:
        used = [f"{numbers[one]} {said}" for one, said in zip(row.datasets, row.lines[_FIXED:], strict=True)]
        texts.append("\n".join([*row.lines[:_FIXED], *used]))
    dictionary = "\n".join(texts[:: max(1, len(texts) // 16)]).encode()[-_DICTIONARY:]
    records = [_deflated(text.encode(), dictionary) for text in (*texts, *numbers)]
    return b"".join(records), array("I", map(len, records)), dictionary


def _deflated(data: bytes, dictionary: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _WINDOW, 8, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return packer.compress(data) + packer.flush()


def _add_columns(packed: Packed, rows: Sequence[Row]) -> None:
    numbers: dict[Name, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    texts: dict[Name, tuple[list[int], list[str]]] = defaultdict(lambda: ([], []))
    for place, row in enumerate(rows):
        for name, value in row.numbers.items():
            numbers[name][0].append(place)
            numbers[name][1].append(value)
        for name, text in row.texts.items():
            texts[name][0].append(place)
            texts[name][1].append(text)
    for name in sorted(numbers):
        packed.add_numbers(name, *numbers[name], len(rows))
    for name in sorted(texts):
        packed.add_texts(name, *texts[name], len(rows))
