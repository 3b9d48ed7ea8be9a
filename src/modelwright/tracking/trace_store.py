"""How traces are kept.

================  ============================  ==================================  ==================================
entity            pk                            sk                                  access pattern
================  ============================  ==================================  ==================================
trace             ``WS#<ws>#TRACE#<id>``        ``INFO``                            get; search, after its line
spans             ``WS#<ws>#TRACE#<id>``        ``SPANS#<content id>``              of one trace
line              ``WS#<ws>#EXPERIMENT#<id>``   ``TRACE#<last - time:015>#<id>``    of an experiment, newest first
================  ============================  ==================================  ==================================

A trace is a JSON document (``documents``) under an optimistic version (``v``); its line only names it, in the order in
which it is searched, and moves when the trace's time does. A batch of spans is compressed, named by its content (again
is the same), and an object ``tracking/<ws>/traces/<experiment>/<id>/<content id>`` of the lake when it is
too long for an item. A trace is forgotten spans first and line last, so that who was interrupted finds it again.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

from modelwright.context import Call
from modelwright.errors import NotFound, TooLarge
from modelwright.storage import Absent, Anything, Blobs, Delete, Is, Item, Key, Put, Tables, Write, every
from modelwright.tracking import documents
from modelwright.tracking import spans as s
from modelwright.tracking.store import TABLE
from modelwright.tracking.trace_entities import Trace
from modelwright.tracking.trace_messages import LAST_TIME

_INFO, _SPANS, _LINE = "INFO", "SPANS#", "TRACE#"
_ITEM_LIMIT: Final = 300_000
_AT_ONCE: Final = 100
_TOGETHER: Final = 50
_THREADS: Final = 8


class Line(NamedTuple):
    """A trace's place in its experiment."""

    time: int
    trace_id: str


class TraceStore:
    """Reads of one workspace's traces, and the writes that a use case commits."""

    def __init__(self, tables: Tables, call: Call, blobs: Blobs) -> None:
        self._tables = tables
        self._blobs = blobs
        self._workspace = call.workspace

    def find(self, trace_id: str) -> Trace | None:
        """Return the trace, if there is one."""
        item = self._tables.get(TABLE, self._key(trace_id))
        return self._load(item) if item else None

    def trace(self, trace_id: str) -> Trace:
        """Return the trace; raises ``NotFound``."""
        found = self.find(trace_id)
        if found is None:
            raise NotFound(f"Trace with ID '{trace_id}' not found.")
        return found

    def traces(self, trace_ids: Sequence[str]) -> list[Trace]:
        """Return those traces that exist, in this order."""
        keys = [self._key(trace_id) for trace_id in dict.fromkeys(trace_ids)]
        items = self._tables.batch_get(TABLE, keys) if keys else {}
        return [self._load(items[key]) for key in keys if key in items]

    def newest(self, experiment_id: str, start: Line | None = None) -> Iterator[Trace]:
        """Yield an experiment's traces, newest first; who stops early reads no more than a hundred too many.

        Args:
            experiment_id: the experiment.
            start: begin here.
        """
        lines = self.lines(experiment_id, start)
        while some := list(islice(lines, _AT_ONCE)):
            yield from self.traces([line.trace_id for line in some])

    def lines(self, experiment_id: str, start: Line | None = None) -> Iterator[Line]:
        """Yield the lines of an experiment's traces, newest first."""
        where = {"start": _sort_key(start), "end": f"{_LINE}~"} if start else {"prefix": _LINE}
        for item in every(self._tables, TABLE, self._experiment(experiment_id), **where):
            _, rest, trace_id = str(item["sk"]).split("#", 2)
            yield Line(LAST_TIME - int(rest), trace_id)

    def put(self, trace: Trace, known: Trace | None) -> list[Write]:
        """Return the writes of a trace that is new (``known`` is None) or changed.

        Raises:
            TooLarge: more is told of it than fits into an item.
        """
        v, document = known.v if known else 0, trace.model_dump_json()
        if len(document.encode()) > _ITEM_LIMIT:
            raise TooLarge(
                f"{len(document)} characters are told of {trace.trace_id}, more than {_ITEM_LIMIT}: use spans"
            )
        kept = documents.written(document, self._folder(trace), self._blobs)
        item = {**self._key(trace.trace_id)._asdict(), **kept, "v": v + 1}
        writes: list[Write] = [Put(TABLE, item, Is("v", v) if known else Absent())]
        line = self._line_key(trace)
        if known is None or self._line_key(known) != line:
            writes.append(Put(TABLE, {**line._asdict(), "trace_id": trace.trace_id}, Anything()))
        if known is not None and self._line_key(known) != line:
            writes.append(Delete(TABLE, self._line_key(known), Anything()))
        return writes

    def add_spans(self, trace: Trace, spans: Sequence[s.Span]) -> Put:
        """Return the write of a batch of spans; a long one is put into the lake first."""
        body = s.packed(spans)
        digest = hashlib.sha256(body).hexdigest()[:32]
        key = Key(self._partition(trace.trace_id), f"{_SPANS}{digest}")
        if len(body) <= _ITEM_LIMIT:
            return Put(TABLE, {**key._asdict(), "body": body}, Anything())
        place = f"{self._folder(trace)}{digest}"
        self._blobs.put(documents.BUCKET, place, body)
        return Put(TABLE, {**key._asdict(), "object": place}, Anything())

    def spans(self, traces: Sequence[Trace]) -> list[list[s.Span]]:
        """Return the spans of each trace, complete and in order."""
        if len(traces) <= 1:
            return [self._spans(trace) for trace in traces]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._spans, traces))

    def forget(self, traces: Sequence[Trace]) -> None:
        """Remove traces with their spans; not atomic, and the same however often it is done."""
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(self._forget, traces))

    def forget_all(self, experiment_id: str) -> None:
        """Remove an experiment's traces."""
        lines = self.lines(experiment_id)
        while some := list(islice(lines, _AT_ONCE)):
            self.forget(self.traces([line.trace_id for line in some]))

    def forget_line(self, experiment_id: str, line: Line) -> None:
        """Remove a line whose trace is gone."""
        self._tables.write([Delete(TABLE, Key(self._experiment(experiment_id), _sort_key(line)), Anything())])

    def _spans(self, trace: Trace) -> list[s.Span]:
        items = every(self._tables, TABLE, self._partition(trace.trace_id), prefix=_SPANS)
        return s.complete(span for item in items for span in s.unpacked(self._body(item)))

    def _body(self, item: Item) -> bytes:
        if "body" in item:
            return bytes(item["body"])
        return self._blobs.get(documents.BUCKET, str(item["object"])).body

    def _forget(self, trace: Trace) -> None:
        items = list(every(self._tables, TABLE, self._partition(trace.trace_id)))
        if objects := [str(item["object"]) for item in items if "object" in item]:
            self._blobs.delete_many(documents.BUCKET, objects)
        keys = [*(Key(item["pk"], item["sk"]) for item in items), self._line_key(trace)]
        for first in range(0, len(keys), _TOGETHER):
            self._tables.write([Delete(TABLE, key, Anything()) for key in keys[first : first + _TOGETHER]])

    def _load(self, item: Item) -> Trace:
        document = documents.read(item, self._blobs)
        return Trace.model_validate_json(document).model_copy(update={"v": int(item["v"])})

    def _folder(self, trace: Trace) -> str:
        return f"tracking/{self._workspace}/traces/{trace.experiment_id}/{trace.trace_id}/"

    def _partition(self, trace_id: str) -> str:
        return f"WS#{self._workspace}#TRACE#{trace_id}"

    def _experiment(self, experiment_id: str) -> str:
        return f"WS#{self._workspace}#EXPERIMENT#{experiment_id}"

    def _key(self, trace_id: str) -> Key:
        return Key(self._partition(trace_id), _INFO)

    def _line_key(self, trace: Trace) -> Key:
        return Key(self._experiment(trace.experiment_id), _sort_key(Line(trace.request_time, trace.trace_id)))


def _sort_key(line: Line) -> str:
    return f"{_LINE}{LAST_TIME - line.time:015d}#{line.trace_id}"
