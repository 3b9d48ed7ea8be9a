"""A yard with things that were deleted, and what collects them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from support.mlflow_desk import API

from modelwright.adapters.registrations import RegisteredVersions
from modelwright.context import Call
from modelwright.log import Log
from modelwright.tracking.collection import Collect, collect
from modelwright.tracking.compaction import compact_points
from tracking.upkeep import NOON, Before, Yard

LATER = NOON + timedelta(days=400)
"""Everything was deleted long before: the desk's functions take their time from the wall."""


@dataclass
class Estate:
    """A yard with things that were deleted, some of which are needed.

    Attributes:
        kept: runs that stay.
        deleted: runs that go: one that is open, one settled, one whose points were compacted.
        needed: a deleted run that has a registered version.
        model: a deleted logged model that goes.
        needed_model: a deleted logged model that has a registered version.
        other: a deleted experiment, with a run, a logged model and a trace of its own.
        trace: a trace that was deleted, whose file is left.
    """

    yard: Yard
    kept: list[str]
    deleted: list[str]
    needed: str
    model: str
    needed_model: str
    other: str
    other_run: str
    other_model: str
    trace: str

    @property
    def gone(self) -> list[str]:
        """All that goes."""
        return sorted([*self.deleted, self.model, self.other, self.other_run, self.other_model, self.trace])


@cache
def _estate() -> Estate:
    yard = Yard()
    desk = yard.desk
    kept, settled = yard.ended(1), yard.ended(2)
    yard.delete(settled)
    yard.compact()
    needed, opened, long, other_kept = yard.ended(3), yard.ended(4), yard.ended(5), yard.ended(6)
    for step in range(70):
        yard.log(long, step / 2, step)
    compact_points(yard.call, long, yard.upkeep())
    yard.log(long, 99.0, 99)
    for run in (needed, opened, long):
        yard.delete(run)
    model, needed_model = (_model(yard, yard.experiment) for _ in range(2))
    register(yard, "flights", f"runs:/{needed}/model", run_id=needed)
    register(yard, "delays", f"models:/{needed_model}")
    for each in (model, needed_model):
        desk.tracking.ok("DELETE", f"{API}/logged-models/{each}")
    for run in (kept, settled, needed, opened, long, other_kept):
        for name in ("a.txt", "model/b.bin"):
            desk.blobs.put("artifacts", f"default/{yard.experiment}/{run}/artifacts/{name}", b"x")
    other = desk.experiment("abandoned")
    other_run, other_model = desk.run(other), _model(yard, other)
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}
    desk.tracking.ok("POST", f"{API}/runs/log-inputs", {"run_id": other_run, "datasets": [{"dataset": dataset}]})
    desk.blobs.put("artifacts", f"default/{other}/{other_run}/artifacts/c.txt", b"x")
    desk.blobs.put("artifacts", f"default/{other}/stray.txt", b"x")
    _trace(yard, other, "tr-1")
    for trace in ("tr-2", "tr-3"):
        _trace(yard, yard.experiment, trace)
    path = f"{API.replace('2.0', '3.0')}/traces/delete-traces"
    desk.tracking.ok("POST", path, {"experiment_id": yard.experiment, "request_ids": ["tr-2"]})
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": other})
    return Estate(
        yard,
        [kept, other_kept],
        [settled, opened, long],
        needed,
        model,
        needed_model,
        other,
        other_run,
        other_model,
        "tr-2",
    )


def estate() -> Estate:
    """Return an estate to be collected."""
    made = _estate()
    return Estate(**{**vars(made), "yard": made.yard.copied()})


def _trace(yard: Yard, experiment: str, trace_id: str) -> None:
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace_id, "trace_location": location, "request_time": "2026-03-02T10:00:00Z", "state": "OK"}
    yard.desk.tracking.ok("POST", f"{API.replace('2.0', '3.0')}/traces", {"trace": {"trace_info": info}})
    yard.desk.blobs.put("artifacts", f"default/{experiment}/traces/{trace_id}/artifacts/traces.json", b"{}")


def _model(yard: Yard, experiment: str) -> str:
    body = {"experiment_id": experiment, "name": "clf"}
    model_id: str = yard.desk.tracking.ok("POST", f"{API}/logged-models", body)["model"]["info"]["model_id"]
    yard.desk.blobs.put("artifacts", f"default/{experiment}/models/{model_id}/artifacts/MLmodel", b"x")
    return model_id


def register(yard: Yard, name: str, source: str, run_id: str = "") -> None:
    yard.desk.registry.ok("POST", f"{API}/registered-models/create", {"name": name})
    body = {"name": name, "source": source, "run_id": run_id}
    yard.desk.registry.ok("POST", f"{API}/model-versions/create", body)


def gc(yard: Yard, before: Before = lambda call, name: None, now: datetime = LATER, **wanted: Any) -> Any:
    """Collect, page by page, and return what became of what."""
    upkeep = yard.upkeep(before)
    found, token = [], ""
    while True:
        call = Call("default", "ann", now, "c-1", yard.call.authority)
        page = collect(
            call,
            Collect(page_token=token, **wanted),
            upkeep=upkeep,
            log=Log(upkeep.tables),
            registrations=RegisteredVersions(upkeep.tables),
        )
        found += page["outcomes"]
        if not (token := page["next_page_token"]):
            return found


def removed(outcomes: list[dict[str, Any]]) -> list[str]:
    return sorted(outcome["id"] for outcome in outcomes if not outcome["kept"])


def files_of(yard: Yard, identity: str) -> int:
    return sum(identity in listed.key for listed in yard.desk.blobs.list("artifacts", "default/"))
