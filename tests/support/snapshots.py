"""A workspace whose runs are settled in any way, to be searched: what it finds, and what it ought to find."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.filters import RUNS, matches, rank
from modelwright.log import Log
from modelwright.tracking import experiments, logging, runs, search
from modelwright.tracking import messages as m
from modelwright.tracking.entities import VIEWS, Run
from modelwright.tracking.parts import encode, row_of
from modelwright.tracking.reading import Place, Reader
from modelwright.tracking.store import TrackingStore


class CountedBlobs(MemoryBlobs):
    """Remembers whose ranges were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get_range(self, bucket: Any, key: str, start: int, length: int) -> bytes:
        self.asked.append(key)
        return super().get_range(bucket, key, start, length)


@dataclass
class World:
    """Two experiments, and what is done to their runs; what is settled is so in the simplest way."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    blobs: CountedBlobs = field(default_factory=CountedBlobs)
    cache: dict[str, Any] = field(default_factory=dict)
    run_ids: list[str] = field(default_factory=list)
    requests: int = 0

    def __post_init__(self) -> None:
        self.given: dict[str, Any] = {"tables": self.tables, "blobs": self.blobs, "log": Log(self.tables)}
        self.store = TrackingStore(self.tables, self.call(), self.blobs)
        self.experiments = [
            experiments.create(self.call(), m.CreateExperiment(name=name), **self.given)["experiment_id"]
            for name in ("one", "two")
        ]

    def call(self) -> Call:
        """Ids come from the requests, so that each example has the same ones each time."""
        self.requests += 1
        return Call("default", "ann", datetime(2026, 3, 2, tzinfo=UTC), "c", request=f"r{self.requests}")

    # --- what is done -------------------------------------------------------------------

    def begin(self, start: int, which: int, name: str = "") -> str:
        message = m.CreateRun(experiment_id=self.experiments[which], start_time=start, run_name=name or f"n{start}")
        run_id: str = runs.create(self.call(), message, **self.given)["run"]["info"]["run_id"]
        self.run_ids.append(run_id)
        return run_id

    def log(self, run_id: str, metrics: dict[str, float], params: dict[str, str], tags: dict[str, str]) -> None:
        measured = tuple(
            m.Measured(key=key, value=value, timestamp=self.requests, step=self.requests)
            for key, value in metrics.items()
        )
        pairs = [tuple(m.Pair(key=key, value=value) for key, value in each.items()) for each in (params, tags)]
        batch = m.LogBatch(run_id=run_id, metrics=measured, params=pairs[0], tags=pairs[1])
        logging.log_batch(self.call(), batch, **self.given)

    def read(self, run_id: str, names: Sequence[str], context: str = "") -> None:
        tags = (m.InputTag(key="mlflow.data.context", value=context),) if context else ()
        datasets = tuple(
            m.DatasetInput(dataset=m.Dataset(name=name, digest=f"d-{name}", source="s"), tags=tags) for name in names
        )
        runs.log_inputs(self.call(), m.LogInputs(run_id=run_id, datasets=datasets), **self.given)

    def end(self, run_id: str, at: int) -> None:
        runs.update(self.call(), m.UpdateRun(run_id=run_id, status="FINISHED", end_time=at), **self.given)

    def move(self, run_id: str, to: str) -> None:
        getattr(runs, to)(self.call(), m.OfRun(run_id=run_id), **self.given)

    def move_experiment(self, which: int, to: str) -> None:
        getattr(experiments, to)(self.call(), m.OfExperiment(experiment_id=self.experiments[which]), **self.given)

    def settle(self, which: int, chosen: Callable[[str], bool], *, interrupted: bool = False) -> None:
        """Let a part tell some open runs; interrupted, the runs stay open too."""
        experiment_id = self.experiments[which]
        overview = self.store.overview(experiment_id)
        held = [one for one in overview.held if chosen(one.run.run_id)]
        if not held:
            return
        settled = [one.run for one in held]
        encoded = encode(row_of(run, self.store.datasets(settled)) for run in settled)
        kept = self._without({run.run_id for run in settled}, experiment_id)
        self._put(experiment_id, encoded, kept, overview.v)
        for one in () if interrupted else held:
            self.tables.write(self.store.settling(one))

    def merge(self, which: int) -> None:
        """Make one part of all."""
        experiment_id = self.experiments[which]
        parts, v = self.store.parts(experiment_id)
        reader = Reader(self.blobs, "default")
        rows = [
            row
            for part in parts
            for number, row in enumerate(reader.rows(Place(experiment_id, part)))
            if number not in part.gone
        ]
        if rows:
            self._put(experiment_id, encode(rows), [], v)

    def _without(self, run_ids: set[str], experiment_id: str) -> list[Any]:
        parts, _ = self.store.parts(experiment_id)
        heads = Reader(self.blobs, "default").heads([Place(experiment_id, part) for part in parts])
        return [
            part.model_copy(
                update={"gone": tuple(n for n in range(part.rows) if n in part.gone or head.runs[n] in run_ids)}
            )
            for part, head in zip(parts, heads, strict=True)
        ]

    def _put(self, experiment_id: str, encoded: Any, others: list[Any], v: int) -> None:
        self.blobs.put("lake", encoded.part.key("default", experiment_id, "columns"), encoded.columns)
        self.blobs.put("lake", encoded.part.key("default", experiment_id, "rows"), encoded.rows)
        others = [part for part in others if part.id != encoded.part.id]
        self.tables.write([self.store.put_parts(experiment_id, [*others, encoded.part], v)])

    # --- what is found ------------------------------------------------------------------

    def search(self, **said: Any) -> tuple[list[dict[str, Any]], str]:
        message = m.SearchRuns.model_validate({"experiment_ids": self.experiments, **said})
        text = search.runs(self.call(), message, tables=self.tables, blobs=self.blobs, cache=self.cache)
        answer = json.loads(text)
        return answer["runs"], answer.get("next_page_token", "")

    def pages(self, sizes: Sequence[int], **said: Any) -> Iterator[list[dict[str, Any]]]:
        token = ""
        for number in range(200):
            found, token = self.search(max_results=sizes[number % len(sizes)], page_token=token, **said)
            yield found
            if not token:
                return
        raise AssertionError("the pages do not end")

    def expected(self, said: dict[str, Any]) -> list[Run]:
        """Go through all runs."""
        clauses, orders = RUNS.parse(said["filter"]), RUNS.orders(said["order_by"])
        shown = VIEWS[said["run_view_type"]]
        found = [self.store.run(run_id) for run_id in self.run_ids]
        found = [run for run in found if run.lifecycle_stage in shown and matches(clauses, run.value)]
        found.sort(key=lambda run: (-run.start_time, run.run_id))
        for order in reversed(orders):
            found.sort(key=lambda run: rank(run.value(order.entity, order.key)[0], ascending=order.ascending))
        return found

    def told(self, run: Run) -> Any:
        return json.loads(json.dumps(run.answer(self.store.datasets([run]))))
