"""What tracking costs, in DynamoDB's request units and in calls: figures that were reached, and must not rise."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.adapters.metering import Meter, MeteredTables
from modelwright.context import Call
from modelwright.log import Log
from modelwright.tracking import experiments, history, logging, runs
from modelwright.tracking import messages as m

CALL = Call("default", "ann", datetime(2026, 3, 2, tzinfo=UTC), "0b6f8a52-6cf4-4f7c-9e55-0a34a5d0a4a1", request="r")
START = 1_772_409_600_000


class Cost(NamedTuple):
    calls: int
    writes: int
    reads: int

    def within(self, figures: "Cost") -> bool:
        return all(cost <= figure for cost, figure in zip(self, figures, strict=True))


@dataclass
class Desk:
    """An experiment, with every call metered."""

    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        self.tables = MeteredTables(MemoryTables(), self.meter)
        self.log = Log(self.tables)
        made, _ = self.costs(experiments.create, m.CreateExperiment(name="churn"))
        self.experiment_id: str = made["experiment_id"]
        self.requests = 0

    def costs(self, use_case: Callable[..., Any], message: Any) -> tuple[Any, Cost]:
        self.requests = getattr(self, "requests", 0) + 1
        call = Call(CALL.workspace, CALL.actor, CALL.now, CALL.correlation_id, request=f"request {self.requests}")
        self.meter.take()
        answer = use_case(call, message, tables=self.tables, blobs=MemoryBlobs(), log=self.log)
        counts = self.meter.take()
        return answer, Cost(counts["table_calls"], counts["write_units"], counts["read_units"])

    def run(self) -> tuple[str, Cost]:
        """Begin a run as the stock client does."""
        words = {
            "mlflow.user": "ann", "mlflow.source.name": "/home/ann/churn/train.py", "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": "6dcb09b5b57875f334f61aebed695e2e4193db5e", "mlflow.runName": "calm-crane-512",
        }  # fmt: skip
        tags = tuple(m.Pair(key=key, value=value) for key, value in words.items())
        message = m.CreateRun(experiment_id=self.experiment_id, user_id="ann", start_time=START, tags=tags)
        made, cost = self.costs(runs.create, message)
        return made["run"]["info"]["run_id"], cost

    def logs(self, run_id: str, metrics: tuple[m.Measured, ...]) -> Cost:
        return self.costs(logging.log_batch, m.LogBatch(run_id=run_id, metrics=metrics))[1]

    def ends(self, run_id: str) -> Cost:
        return self.costs(runs.update, m.UpdateRun(run_id=run_id, status="FINISHED", end_time=START + 60_000))[1]


@pytest.fixture
def desk() -> Desk:
    return Desk()


NOISE = random.Random(7)


def curve(batch: int) -> tuple[m.Measured, ...]:
    """A thousand points of one metric, as a loop logs them."""
    at, found = START + 40_000 * batch, []
    for step in range(1000 * batch, 1000 * batch + 1000):
        at += 30 + NOISE.randrange(4)
        found.append(m.Measured(key="loss", value=NOISE.random(), timestamp=at, step=step))
    return tuple(found)


def metrics(count: int, step: int = 0) -> tuple[m.Measured, ...]:
    return tuple(
        m.Measured(key=f"metric_{n}", value=NOISE.random(), timestamp=START + step, step=step) for n in range(count)
    )


def test_a_run_is_begun_in_one_transaction(desk: Desk) -> None:
    _, cost = desk.run()
    assert cost.within(Cost(calls=2, writes=7, reads=1))  # the experiment is read


def test_a_metric_is_two_calls_and_two_units(desk: Desk) -> None:
    run_id, _ = desk.run()
    for step in range(3):
        message = m.LogMetric(run_id=run_id, key="loss", value=NOISE.random(), timestamp=START, step=step)
        assert desk.costs(logging.log_metric, message)[1].within(Cost(calls=2, writes=2, reads=0))


def test_a_metric_costs_as_much_in_a_run_that_has_a_thousand(desk: Desk) -> None:
    run_id, _ = desk.run()
    desk.logs(run_id, metrics(1000))
    for step in range(3):
        message = m.LogMetric(run_id=run_id, key="metric_7", value=NOISE.random(), timestamp=START, step=step)
        assert desk.costs(logging.log_metric, message)[1].within(Cost(calls=2, writes=2, reads=0))


def test_metrics_in_turn_cost_little_more_for_being_folded_now_and_then(desk: Desk) -> None:
    run_id, _ = desk.run()
    spent = Cost(0, 0, 0)
    for step in range(400):
        message = m.LogMetric(run_id=run_id, key=f"metric_{step % 40}", value=1, timestamp=START, step=step)
        cost = desk.costs(logging.log_metric, message)[1]
        spent = Cost(*map(sum, zip(spent, cost, strict=True)))
    assert spent.calls <= 850
    assert spent.writes <= 870


def test_a_batch_of_a_thousand_metrics_is_three_calls(desk: Desk) -> None:
    run_id, _ = desk.run()
    first = desk.logs(run_id, metrics(1000))
    again = desk.logs(run_id, metrics(1000, step=1))
    assert first.within(Cost(calls=3, writes=18, reads=1))
    assert again.within(Cost(calls=3, writes=18, reads=3))


def test_a_batch_of_ten_metrics_is_two_calls(desk: Desk) -> None:
    run_id, _ = desk.run()
    assert desk.logs(run_id, metrics(10)).within(Cost(calls=2, writes=2, reads=0))
    assert desk.logs(run_id, metrics(10, step=1)).within(Cost(calls=2, writes=2, reads=0))


def test_a_run_of_five_thousand_points_costs_at_most_sixty_units(desk: Desk) -> None:
    run_id, begun = desk.run()
    costs = [begun, *(desk.logs(run_id, curve(batch)) for batch in range(5)), desk.ends(run_id)]
    assert sum(cost.writes for cost in costs) <= 57


def test_a_run_is_read_in_one_call(desk: Desk) -> None:
    run_id, _ = desk.run()
    desk.logs(run_id, metrics(1000))
    assert desk.costs(runs.get, m.OfRun(run_id=run_id))[1].within(Cost(calls=1, writes=0, reads=6))


def test_a_history_is_read_in_one_call(desk: Desk) -> None:
    run_id, _ = desk.run()
    for batch in range(9):
        desk.logs(run_id, curve(batch))
    message = m.GetHistory(run_id=run_id, metric_key="loss")
    assert desk.costs(history.history, message)[1].within(Cost(calls=1, writes=0, reads=17))


def test_a_tag_is_a_read_and_a_write(desk: Desk) -> None:
    run_id, _ = desk.run()
    assert desk.costs(runs.set_tag, m.SetRunTag(run_id=run_id, key="k", value="v"))[1] == Cost(
        calls=2, writes=1, reads=3
    )
