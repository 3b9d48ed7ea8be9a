"""The function ``maintain``: on the end of a run, on its schedule, and when it is asked."""

import zlib
from itertools import count
from typing import Any

import pytest
from support.http import Caller, deliver, handler_of, serve
from support.mlflow_desk import API, envelope_of
from typer.testing import CliRunner

from modelwright.adapters.memory import MemoryTables
from modelwright.cli.commands import app
from modelwright.cli.gc import collect, line, total
from modelwright.client import Api
from modelwright.errors import Unavailable
from modelwright.events import RunEnded
from modelwright.governance.access import Grant
from modelwright.runtime import Function
from modelwright.tracking.compaction import CHUNKS
from modelwright.tracking.maintenance import go_on_at, remember_workspace, workspaces
from modelwright.tracking.rounds import ONE_IN, go_round
from tracking.estate import estate
from tracking.upkeep import Yard


def maintain(yard: Yard) -> Function:
    return handler_of("maintain", yard.desk.wiring)


def tell(yard: Yard, run_id: str) -> None:
    event = RunEnded(run_id=run_id, experiment_id=yard.experiment, status="FINISHED")
    assert deliver(maintain(yard), envelope_of(event)) == {"outcome": "handled"}


def due(yard: Yard, workspace: str = "") -> None:
    detail = {"name": "maintain", "at": "2026-03-02T12:00:00Z", "workspace": workspace}
    payload = {"detail-type": "ScheduleDue", "source": "modelwright.schedule", "detail": detail}
    assert maintain(yard)(payload) == {"outcome": "done"}


def chosen(run_id: str) -> bool:
    return zlib.crc32(run_id.encode()) % ONE_IN == 0


# --- events ------------------------------------------------------------------------------


def test_the_end_of_a_long_run_compacts_its_points() -> None:
    yard = Yard()
    run = yard.ended(1)
    for step in range(CHUNKS + 1):
        yard.log(run, 1.0, 10 + step)
    before = yard.history(run)
    tell(yard, run)
    assert [key for key in yard.objects() if f"/points/{yard.experiment}/{run}/" in key] != []
    assert yard.history(run) == before


def test_now_and_then_the_end_of_a_run_settles_what_ended() -> None:
    yard = Yard()
    run = next(run for number in count() if not chosen(run := yard.ended(number)))
    tell(yard, run)
    assert yard.heads("SETTLED#") == []
    run = next(run for number in count() if chosen(run := yard.desk.run(yard.experiment)))
    yard.end(run)
    tell(yard, run)
    assert run in yard.heads("SETTLED#")


def test_the_end_of_a_run_that_is_gone_by_now_is_no_error() -> None:
    tell(Yard(), "0" * 20 + "000000000001")


# --- the round ---------------------------------------------------------------------------


def test_the_round_visits_every_experiment_of_every_workspace_that_it_knows() -> None:
    yard = Yard()
    other = Caller(yard.desk.functions["tracking"], workspace="other")
    experiment = other.ok("POST", f"{API}/experiments/create", {"name": "theirs"})["experiment_id"]
    runs = [yard.ended(1)]
    body = {"experiment_id": experiment, "start_time": 1}
    theirs = other.ok("POST", f"{API}/runs/create", body)["run"]["info"]["run_id"]
    due(yard)
    assert yard.heads("SETTLED#") == []  # no run had ended as far as it had heard
    tell(yard, runs[0])
    event = RunEnded(run_id=theirs, experiment_id=experiment, status="FINISHED")
    deliver(maintain(yard), envelope_of(event).model_copy(update={"workspace": "other"}))
    due(yard)
    assert yard.heads("SETTLED#") == runs
    assert yard.desk.tables.get("tracking", _settled("other", experiment, theirs)) is not None


def _settled(workspace: str, experiment: str, run_id: str) -> Any:
    from modelwright.storage import Key

    return Key(f"WS#{workspace}#EXPERIMENT#{experiment}", f"SETTLED#{run_id}")


def test_a_round_goes_on_where_the_last_one_ended() -> None:
    yard = Yard()
    remember_workspace("default", yard.desk.tables)
    experiments = [yard.experiment, *(yard.desk.experiment(name) for name in ("b", "c"))]
    for yard.experiment in experiments:
        yard.ended(1)
    reached = set()
    for _ in range(6):
        left = iter(range(5))  # enough for one experiment, were there nothing to do in it
        go_round(yard.call, yard.upkeep(spare=lambda left=left: next(left, None) is not None))  # type: ignore[misc]
        reached.add(workspaces(yard.desk.tables)["default"])
    assert reached == set(experiments)
    for yard.experiment in experiments:
        assert yard.heads("OPEN#") == []
    go_round(yard.call, yard.upkeep())
    assert workspaces(yard.desk.tables) == {"default": "0"}


def test_an_experiment_that_is_damaged_is_told_and_keeps_no_other_from_its_turn() -> None:
    yard = Yard()
    remember_workspace("default", yard.desk.tables)
    damaged, healthy = yard.experiment, yard.desk.experiment("b")
    yard.ended(1)
    yard.compact()
    (lost,) = yard.objects(f"tracking/default/runs/{damaged}/")[:1]
    yard.desk.blobs.delete("lake", lost)
    for yard.experiment in (damaged, healthy):
        yard.ended(2)
    with pytest.raises(Unavailable, match=f"experiment {damaged} can be neither read nor changed"):
        go_round(yard.call, yard.upkeep())
    assert yard.heads("OPEN#") == []
    yard.experiment = damaged
    assert len(yard.heads("OPEN#")) == 1


def test_where_a_round_goes_on_is_not_forgotten_when_a_run_ends() -> None:
    tables = MemoryTables()
    remember_workspace("default", tables)
    go_on_at("default", "7", tables)
    remember_workspace("default", tables)
    assert workspaces(tables) == {"default": "7"}


# --- when it is asked --------------------------------------------------------------------


def test_an_administrator_has_an_experiment_compacted_now() -> None:
    yard = Yard()
    yard.ended(1)
    path = f"/v1/experiments/{yard.experiment}/compact"
    assert Caller(maintain(yard)).ok("POST", path) == {"settled": 1, "parts": 1, "done": True}
    assert Caller(maintain(yard))("POST", "/v1/experiments/99/compact")[0] == 404


@pytest.mark.parametrize("role", ["reader", "contributor", "service", "approver"])
@pytest.mark.parametrize("path", ["/v1/gc", "/v1/experiments/1/compact"])
def test_nobody_else_compacts_or_collects(role: Any, path: str) -> None:
    e = estate()
    caller = Caller(maintain(e.yard), grants=(Grant(role=role),))
    assert caller("POST", path, {})[0] == 403
    assert e.yard.desk.get_run(e.deleted[0])["info"]["run_id"] == e.deleted[0]


def test_an_unknown_word_or_age_is_refused() -> None:
    caller = Caller(maintain(Yard()))
    assert caller("POST", "/v1/gc", {"older": "30d"})[0] == 400
    assert caller("POST", "/v1/gc", {"older_than": "a month"})[0] == 400


def test_the_command_tells_what_was_removed() -> None:
    e = estate()
    with serve([maintain(e.yard)], e.yard.desk.blobs) as url:
        outcomes = list(collect(Api(url, "mw.default.0123456789abcdef.secret"), {"dry_run": False}))
    lines = [line(outcome) for outcome in outcomes]
    assert f"removed run {e.deleted[0]} of experiment {e.yard.experiment}: 2 files" in lines
    assert f"kept run {e.needed} of experiment {e.yard.experiment}: flights v1 needs it" in lines
    assert f"removed experiment {e.other}: 2 files" in lines
    done: dict[str, int] = {"run": 4, "logged_model": 2, "experiment": 1, "file": 1}
    assert total(done) == "removed 4 runs, 2 logged models, 0 traces, 1 experiment, 1 file"
    assert total({}, dry_run=True) == "would remove 0 runs, 0 logged models, 0 traces, 0 experiments, 0 files"


def test_the_command_says_a_line_for_each_and_the_sum() -> None:
    e = estate()
    environment = {"MLFLOW_TRACKING_TOKEN": "mw.default.0123456789abcdef.secret"}
    with serve([maintain(e.yard)], e.yard.desk.blobs) as url:
        command = ["gc", "--endpoint", url, "--run-ids", f"{e.deleted[0]}, {e.needed}"]
        dry = CliRunner().invoke(app, [*command, "--dry-run"], env=environment)
        said = CliRunner().invoke(app, command, env=environment)
    kept = f"kept run {e.needed} of experiment 1: flights v1 needs it"
    assert sorted(dry.output.splitlines()[:2]) == [kept, f"would remove run {e.deleted[0]} of experiment 1: 2 files"]
    assert sorted(said.output.splitlines()[:2]) == [kept, f"removed run {e.deleted[0]} of experiment 1: 2 files"]
    assert said.output.splitlines()[2] == "removed 1 run, 0 logged models, 0 traces, 0 experiments, 2 files"


def test_the_command_tells_what_it_would_remove_and_what_is_left() -> None:
    outcome = {"kind": "run", "id": "r", "experiment_id": "1", "files": 0, "left": "its files stay", "kept": ""}
    assert line(outcome, dry_run=True) == "would remove run r of experiment 1: 0 files; its files stay"
