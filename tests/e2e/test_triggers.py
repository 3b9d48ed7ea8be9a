"""A hundred people ask for a training at once, on the real template: a budget for three trains three."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.desk import Desk, token_of_workspace, wait
from modelwright.adapters.memory import MemoryTables
from modelwright.client import Api, whole_log
from modelwright.errors import Refused
from modelwright.local import stacks
from modelwright.retraining.ordering import history_of
from modelwright.retraining.whatif import Past
from modelwright.team import read_team

pytestmark = pytest.mark.e2e

WORKSPACE = "hundred"
PATH = "/v1/retraining/tiny"
FIT_S = 1.2
"""Of wall time, of each of a training's two fits."""
STREAM = f"WS#{WORKSPACE}#TRAINING#tiny"
PROJECT = """
[project]
name = "tiny"

[sources.outcomes]
key = ["id"]
event_time = "at"
labels = true

[sources.outcomes.columns]
id = {{ type = "string" }}
at = {{ type = "timestamp" }}
x = {{ type = "number" }}
y = {{ type = "integer" }}

[models.tiny]
id_column = "id"
time_column = "at"
request = {{ id = "string", at = "timestamp", x = "number" }}
views = []
inputs = ["x"]
label = {{ source = "outcomes", column = "y", above = 0.5 }}
trainer = "trainer:train"
gates = {{ gates = ["metric_floor"], floor = 1.1 }}

[models.tiny.retraining]
triggers = ["manual"]
cooldown_days = 0
queue = true
reserve = {reserve}
budget = {budget}
"""
TRAINER = '''
import time


def train(frame, labels, parameters):
    """Fit for a second or more, so that each training costs at least so much."""
    from sklearn.linear_model import LogisticRegression

    began = time.monotonic()
    model = LogisticRegression().fit(frame, labels)
    time.sleep(max(0.0, {fit_s} - (time.monotonic() - began)))
    return model
'''
"""No model of it gets live (no AUC is above 1), so that no rollout makes the next training wait."""


@dataclass
class Tiny:
    """A workspace of its own with one small model."""

    api: Api
    folder: Path

    def apply(self, reserve: float, budget: float) -> None:
        text = PROJECT.format(reserve=f"{reserve:.8f}", budget=f"{budget:.8f}")
        (self.folder / "modelwright.toml").write_text(text)
        (self.folder / "trainer.py").write_text(TRAINER.format(fit_s=FIT_S))
        stacks.apply(read_team(self.folder), self.api)

    def ask(self, number: int) -> str:
        """Ask for a training, and return what became of the wish: ``training_id``, ``queue_id`` or ``refused``."""
        try:
            said = self.api.post(PATH, {"reason": f"wish {number}"})
        except Refused:
            return "refused"
        return "queue_id" if "queue_id" in said else "training_id"

    def shown(self) -> dict[str, Any]:
        return dict(self.api.get(PATH))

    def quiet(self) -> bool:
        now = self.shown()
        return not now["queue"] and not now["standing"]["training"]

    def settled(self, limit_s: float) -> dict[str, Any]:
        wait(self.quiet, "the trainings", limit_s, look=lambda: time.sleep(0.2))
        return self.shown()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(item["envelope"]) for item in self.api.stream(STREAM)]


@pytest.fixture(scope="module")
def tiny(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    token = token_of_workspace(desk.running, WORKSPACE)
    made = Tiny(Api(desk.running.url, token), tmp_path_factory.mktemp("tiny"))
    made.apply(reserve=0.01, budget=1.0)
    first = datetime.now(UTC) - timedelta(days=30)
    rows = [
        {
            "id": f"r{n}",
            "at": (first + timedelta(hours=2 * n)).isoformat(),
            "x": float(n % 7),
            "y": int(n % 7 + n % 3 > 4),
        }
        for n in range(350)
    ]
    made.api.post("/push", {"source": "outcomes", "rows": rows})
    folded(desk)
    return made


def folded(desk: Desk) -> None:
    """Let what was pushed be kept for training."""
    detail = {"name": "materialize", "at": datetime.now(UTC).isoformat(), "workspace": WORKSPACE}
    entry = {"Source": "modelwright.schedule", "DetailType": "ScheduleDue", "Detail": json.dumps(detail)}
    bus = {"EventBusName": desk.running.outputs["BusName"]}
    answer = desk.running.client("events").put_events(Entries=[{**entry, **bus}])
    desk.outcomes.wait_for(answer["Entries"][0]["EventId"], "the fold")


def millionths(dollars: float) -> int:
    return round(dollars * 1_000_000)


def test_of_100_wishes_at_once_three_are_trained_one_after_the_other_and_97_refused(tiny: Tiny) -> None:
    tiny.ask(1)  # warms the function up
    spent = tiny.settled(limit_s=60)["ledger"]["spent"]
    (first,) = (event["data"] for event in tiny.events() if event["type"] == "TrainingCompleted")
    # Three trainings cost more than this in any case; two do, only if each took half as long again as it slept.
    three = 3 * 2 * FIT_S * first["cost"] / first["seconds"] * 0.99
    tiny.apply(reserve=three, budget=spent + three + three)
    before = len(tiny.events())

    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(tiny.ask, range(2, 102)))
    told = Counter(answers)
    assert set(told) <= {"training_id", "queue_id", "refused"}, "none is told of a race"
    assert (told["training_id"], told.total()) == (1, 100)
    shown = tiny.settled(limit_s=60)

    events = tiny.events()[before:]
    why = [event["data"]["reason"] for event in events if event["type"] == "TrainingFailed"]
    assert why == []
    kinds = Counter(event["type"] for event in events)
    assert kinds == {
        "TrainingRequested": 3,
        "TrainingStarted": 3,
        "TrainingCompleted": 3,
        "TrainingQueued": told["queue_id"],
        "TrainingDeclined": 97,
    }
    turns = [event["type"] for event in events if event["type"] in ("TrainingRequested", "TrainingCompleted")]
    assert turns == ["TrainingRequested", "TrainingCompleted"] * 3, "one after the other"
    refusals = [event["data"] for event in events if event["type"] == "TrainingDeclined"]
    assert all("the budget of $" in data["reasons"][-1] for data in refusals)
    asked = [
        event["data"]["cause"]["id"] for event in events if event["type"] in ("TrainingRequested", "TrainingDeclined")
    ]
    assert len(set(asked)) == 100, "each wish has one outcome"
    costs = [millionths(event["data"]["cost"]) for event in events if event["type"] == "TrainingCompleted"]
    assert millionths(shown["ledger"]["spent"]) - millionths(spent) == sum(costs), "to the millionth of a dollar"
    assert shown["ledger"]["reserved"] == 0
    assert shown["against"][-1].startswith("the budget of $")

    ran = read_team(tiny.folder).project
    envelopes = [json.loads(item["envelope"]) for item in whole_log(tiny.api)[0]]
    history = history_of(Past.read(envelopes, ran, "tiny"), ran, MemoryTables())
    assert history.first_difference == "", "the policy that ran decides the same once more"
