"""Collecting: what was deleted goes for good, and nothing else, wherever it is interrupted."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from support.mlflow_desk import API

from modelwright.adapters.registrations import RegisteredVersions
from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.log import Log
from modelwright.storage import Absent, Key, Put, Update
from modelwright.tracking.collection import Collect, collect
from modelwright.tracking.compaction import compact_points
from tracking.estate import LATER, Estate, estate, files_of, gc, register, removed
from tracking.upkeep import NOON, Interrupted, Yard, doing_at, stopping_at


def traces_of(yard: Yard, identity: str) -> list[str]:
    """Return the items of tracking and the objects that still tell of something."""
    items = [
        f"{key.pk} {key.sk}" for key, item in yard.desk.tables._items["tracking"].items() if identity in repr(item)
    ]
    return items + [key for (_, key) in yard.desk.blobs._objects if identity in key and _there(yard, key)]


def _there(yard: Yard, key: str) -> bool:
    return any(listed.key == key for bucket in ("lake", "artifacts") for listed in yard.desk.blobs.list(bucket, key))


def status(yard: Yard, run_id: str) -> int:
    return yard.desk.tracking("GET", f"{API}/runs/get?run_id={run_id}")[0]


def logged(yard: Yard, run_id: str) -> int:
    body = {"run_id": run_id, "key": "late", "value": 1.0, "timestamp": 1, "step": 1}
    return yard.desk.tracking("POST", f"{API}/runs/log-metric", body)[0]


def only_what_was_deleted_went(e: Estate) -> None:
    """Check what is true when all is done."""
    yard = e.yard
    yard.is_whole([*e.kept, e.needed])
    yard.compact()
    yard.sweep_later()
    yard.is_whole([*e.kept, e.needed])
    for identity in set(e.gone) - {e.other}:
        assert traces_of(yard, identity) == [], identity
        assert files_of(yard, identity) == 0
    for identity in (*e.kept, e.needed):
        assert files_of(yard, identity) == 2
        assert yard.history(identity) != []
    assert files_of(yard, e.needed_model) == 1
    assert traces_of(yard, f"EXPERIMENT#{e.other}") == []
    assert (files_of(yard, "tr-1"), files_of(yard, "tr-3"), traces_of(yard, "tr-1")) == (0, 1, [])
    assert not list(yard.desk.blobs.list("artifacts", f"default/{e.other}/"))
    assert yard.desk.tracking("GET", f"{API}/experiments/get?experiment_id={e.other}")[0] == 404
    assert yard.desk.experiment("abandoned") != e.other


# --- what goes ---------------------------------------------------------------------------


def test_what_was_deleted_goes_and_what_a_version_needs_stays() -> None:
    e = estate()
    outcomes = gc(e.yard)
    assert removed(outcomes) == e.gone
    kept = {outcome["id"]: outcome["kept"] for outcome in outcomes if outcome["kept"]}
    assert kept == {e.needed: "flights v1 needs it", e.needed_model: "delays v1 needs it"}
    files = {outcome["id"]: outcome["files"] for outcome in outcomes}
    assert (files[e.deleted[0]], files[e.model]) == (2, 1)
    only_what_was_deleted_went(e)
    assert [outcome["id"] for outcome in gc(e.yard) if not outcome["kept"]] == []


def test_a_dry_run_tells_the_same_and_removes_nothing() -> None:
    e = estate()
    before = repr(e.yard.desk.tables._items), repr(e.yard.desk.blobs._objects), repr(e.yard.desk.blobs._deleted)
    outcomes = gc(e.yard, dry_run=True)
    after = repr(e.yard.desk.tables._items), repr(e.yard.desk.blobs._objects), repr(e.yard.desk.blobs._deleted)
    assert before == after
    own = {"files": 0}  # files that are of no run and no logged model are not counted before
    done = [outcome | own if outcome["kind"] == "experiment" else outcome for outcome in gc(e.yard)]
    assert sorted(map(repr, outcomes)) == sorted(map(repr, done))


def test_a_version_that_is_deleted_needs_nothing_any_more() -> None:
    e = estate()
    e.yard.desk.registry.ok("DELETE", f"{API}/model-versions/delete", {"name": "flights", "version": "1"})
    e.yard.desk.registry.ok("DELETE", f"{API}/registered-models/delete", {"name": "delays"})
    assert {e.needed, e.needed_model} <= set(removed(gc(e.yard)))


def test_an_experiment_of_which_a_version_needs_something_stays_with_that() -> None:
    e = estate()
    register(e.yard, "old", f"models:/{e.other_model}")
    outcomes = gc(e.yard)
    kept = {outcome["id"]: outcome["kept"] for outcome in outcomes if outcome["kept"]}
    assert kept[e.other] == "old v1 needs something of it"
    assert kept[e.other_model] == "old v1 needs it"
    assert e.other_run in removed(outcomes)
    assert files_of(e.yard, e.other_model) == 1


def test_the_log_tells_what_was_collected() -> None:
    e = estate()
    gc(e.yard)
    items = [*e.yard.desk.stream("EXPERIMENT", e.yard.experiment), *e.yard.desk.stream("EXPERIMENT", e.other)]
    told = [item.envelope.data for item in items if item.envelope.type == "RunsCollected"]
    assert sorted([*(i for data in told for i in (*data["run_ids"], *data["model_ids"])), e.other, e.trace]) == e.gone
    assert [data["experiment_id"] for data in told if data["whole"]] == [e.other]


def test_nothing_is_collected_that_was_deleted_too_lately() -> None:
    e = estate()
    now = datetime.now(NOON.tzinfo)
    assert removed(gc(e.yard, now=now + timedelta(days=29), older_than="30d")) == [
        e.trace
    ]  # gone already, but its file
    assert removed(gc(e.yard, now=now + timedelta(days=31), older_than="30d")) == sorted(set(e.gone) - {e.trace})


def test_only_what_is_named_is_collected() -> None:
    e = estate()
    assert removed(gc(e.yard, run_ids=[e.deleted[1]])) == [e.deleted[1]]
    assert removed(gc(e.yard, logged_model_ids=[e.model])) == [e.model]
    assert removed(gc(e.yard, experiment_ids=[e.other])) == sorted([e.other, e.other_run, e.other_model])
    assert removed(gc(e.yard)) == sorted([e.deleted[0], e.deleted[2], e.trace])


def test_a_run_that_was_restored_with_its_experiment_stays() -> None:
    e = estate()
    for step in ("delete", "restore"):
        e.yard.desk.tracking.ok("POST", f"{API}/experiments/{step}", {"experiment_id": e.yard.experiment})
    assert removed(gc(e.yard)) == sorted(set(e.gone) - set(e.deleted))
    assert status(e.yard, e.deleted[0]) == 200


def test_the_default_experiment_stays_itself() -> None:
    yard = Yard()
    yard.desk.tracking.ok("GET", f"{API}/experiments/get?experiment_id=0")
    run = yard.desk.run("0")
    yard.desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": "0"})
    outcomes = gc(yard)
    assert removed(outcomes) == [run]
    assert [(o["id"], o["kept"]) for o in outcomes if o["kept"]] == [("0", "it is the default one")]
    assert yard.desk.tracking("GET", f"{API}/experiments/get?experiment_id=0")[0] == 200


def test_files_in_a_bucket_of_somebody_elses_are_left_and_told() -> None:
    yard = Yard()
    body = {"name": "elsewhere", "artifact_location": "s3://theirs/mlflow"}
    yard.experiment = yard.desk.tracking.ok("POST", f"{API}/experiments/create", body)["experiment_id"]
    run = yard.ended(1)
    yard.delete(run)
    (outcome,) = gc(yard)
    assert outcome["left"] == f"its files in s3://theirs/mlflow/{run}/artifacts are not this platform's"


def test_files_that_another_experiment_keeps_in_the_folder_are_left() -> None:
    e = estate()
    body = {"name": "guest", "artifact_location": f"mlflow-artifacts:/{e.other}"}
    e.yard.desk.tracking.ok("POST", f"{API}/experiments/create", body)
    gc(e.yard)
    assert [row.key for row in e.yard.desk.blobs.list("artifacts", f"default/{e.other}/")] == [
        f"default/{e.other}/stray.txt"
    ]


# --- what is refused ---------------------------------------------------------------------


def test_what_is_not_deleted_is_refused_and_nothing_removed() -> None:
    e = estate()
    with pytest.raises(InvalidInput, match=f"{e.kept[0]} is not deleted"):
        gc(e.yard, run_ids=[e.deleted[0], e.kept[0]])
    with pytest.raises(InvalidInput, match=f"experiment {e.yard.experiment} is not deleted"):
        gc(e.yard, experiment_ids=[e.other, e.yard.experiment])
    with pytest.raises(NotFound, match="id=999"):
        gc(e.yard, experiment_ids=["999"])
    assert status(e.yard, e.deleted[0]) == 200


@pytest.mark.parametrize("age", ["30", "soon", "-1d", "1.2.3d", "9" * 400 + "d"])
def test_an_age_that_is_none_is_refused(age: str) -> None:
    with pytest.raises(InvalidInput, match="is no time"):
        gc(Yard(), older_than=age)


@pytest.mark.parametrize("token", ["x", "e30=", "WzFd", "///"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    yard = Yard()
    upkeep = yard.upkeep()
    with pytest.raises(InvalidInput, match="page token"):
        collect(
            yard.call, Collect(page_token=token), upkeep=upkeep, log=Log(upkeep.tables),
            registrations=RegisteredVersions(upkeep.tables),
        )  # fmt: skip


def test_who_may_not_collect_in_an_experiment_collects_nothing_of_it() -> None:
    e = estate()

    def only_others(action: str, resource: str) -> None:
        if resource == f"experiment/{e.yard.experiment}":
            raise Forbidden(resource)

    e.yard.call = Call("default", "ann", NOON, "c-1", only_others)
    assert removed(gc(e.yard)) == sorted([e.other, e.other_run, e.other_model])
    with pytest.raises(Forbidden):
        gc(e.yard, run_ids=[e.deleted[0]])


# --- interruptions -----------------------------------------------------------------------


def test_it_can_be_interrupted_at_any_call_and_goes_on() -> None:
    whole = {i: (e.yard.history(i), files_of(e.yard, i)) for e in [estate()] for i in e.deleted}
    finished = False
    for number in count():
        e = estate()
        key = Key(f"WS#default#RUN#{e.deleted[1]}", "METRICS")  # as a deletion leaves it that was cut short
        e.yard.desk.tables.write([Update("tracking", key, {"stage": "open"})])
        try:
            gc(e.yard, stopping_at(number))
            finished = True
        except Interrupted:
            for run in e.deleted:  # what can be reached is complete, and nothing is added to what can not
                if status(e.yard, run) == 404:
                    assert logged(e.yard, run) == 404, number
                assert status(e.yard, run) == 404 or (e.yard.history(run), files_of(e.yard, run)) == whole[run], number
            shown = e.yard.shown()
            assert all(shown[run] == e.yard.desk.get_run(run) for run in e.kept)
        gc(e.yard)
        only_what_was_deleted_went(e)
        if finished:
            break
    assert number > 60


def test_what_is_registered_while_it_is_collected_keeps_its_files() -> None:
    for number in count():
        e = estate()
        happened: list[bool] = []

        def register_it(e: Estate = e, happened: list[bool] = happened) -> None:
            happened.append(status(e.yard, e.deleted[0]) == 200)
            register(e.yard, "late", f"runs:/{e.deleted[0]}/model", run_id=e.deleted[0])

        gc(e.yard, doing_at(number, register_it))
        if not happened:
            break
        if happened[0]:  # it could be reached, so somebody may well have had a reason
            assert files_of(e.yard, e.deleted[0]) == 2, number
    assert number > 60


def test_a_run_is_not_settled_by_somebody_who_read_it_before_it_was_collected() -> None:
    for number in count():
        e = estate()
        happened: list[bool] = []

        def collect_all(e: Estate = e, happened: list[bool] = happened) -> None:
            happened.append(True)
            gc(e.yard)

        e.yard.compact(doing_at(number, collect_all))
        if not happened:
            break
        only_what_was_deleted_went(e)
    assert number > 20


def test_a_run_that_was_read_by_a_settler_before_it_was_collected_has_no_row_after() -> None:
    for number in count():
        yard = Yard()
        run = yard.ended(1)
        yard.delete(run)
        happened: list[bool] = []

        def collect_it(yard: Yard = yard, happened: list[bool] = happened) -> None:
            gc(yard)
            happened.append(True)

        yard.compact(doing_at(number, collect_it))
        if not happened:
            break
        assert yard.shown() == {}, number
    assert number > 10


def test_nothing_is_left_of_an_experiment_that_is_collected_while_its_runs_are_settled() -> None:
    for number in count():
        yard = Yard()
        for each in range(2):
            yard.ended(each)
        yard.desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": yard.experiment})
        happened: list[bool] = []

        def collect_it(yard: Yard = yard, happened: list[bool] = happened) -> None:
            gc(yard)
            happened.append(True)

        yard.compact(doing_at(number, collect_it))
        if not happened:
            break
        yard.sweep_later()
        assert traces_of(yard, f"EXPERIMENT#{yard.experiment}") == [], number
        assert yard.objects() == [], number
    assert number > 10


def test_the_points_of_a_run_that_is_collected_while_they_are_compacted_are_gone_too() -> None:
    made = estate()
    run = made.deleted[2]
    made.yard.restore(run)
    for step in range(70):
        made.yard.log(run, 1.0, 200 + step)
    made.yard.delete(run)
    for number in count():
        e = replace(made, yard=made.yard.copied())
        happened: list[bool] = []

        def collect_all(e: Estate = e, happened: list[bool] = happened) -> None:
            gc(e.yard)
            happened.append(True)

        compact_points(e.yard.call, run, e.yard.upkeep(doing_at(number, collect_all)))
        if not happened:
            break
        e.yard.sweep_later()
        assert traces_of(e.yard, run) == [], number
    assert number > 5


def test_points_that_were_on_their_way_when_their_run_was_collected_are_gone_too() -> None:
    e = estate()
    late = {"pk": f"WS#default#RUN#{e.deleted[1]}", "sk": "POINTS#late", "points": b""}
    seen: list[int] = []

    def arrive(call: int, name: str) -> None:
        seen.extend([call] * (name == "delete_many"))
        if seen[1:] == [call]:  # its files are gone, and the points that were found are about to be
            e.yard.desk.tables.write([Put("tracking", late, Absent())])

    gc(e.yard, arrive, run_ids=[e.deleted[1]])
    assert len(seen) > 2
    assert traces_of(e.yard, e.deleted[1]) == []


def test_what_could_be_restored_while_it_was_collected_is_whole() -> None:
    for number in count():
        e = estate()
        run, restored = e.deleted[0], dict[str, int]()
        whole = e.yard.history(run)

        def restore(e: Estate = e, restored: dict[str, int] = restored) -> None:
            calls = {"runs": {"run_id": e.deleted[0]}, "experiments": {"experiment_id": e.other}}
            restored |= {kind: e.yard.desk.tracking("POST", f"{API}/{kind}/restore", b)[0] for kind, b in calls.items()}

        gc(e.yard, doing_at(number, restore))
        if not restored:
            break
        if restored["runs"] == 200:
            assert e.yard.desk.get_run(run)["info"]["lifecycle_stage"] == "active", number
            assert (e.yard.history(run), files_of(e.yard, run)) == (whole, 2), number
        if restored["experiments"] == 200:
            assert status(e.yard, e.other_run) == 200, number
            assert files_of(e.yard, e.other_run) == 1, number
    assert number > 60


def test_a_run_stays_whose_experiment_is_restored_while_it_is_collected() -> None:
    for number in count():
        e = estate()
        e.yard.restore(e.deleted[0])
        e.yard.desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": e.yard.experiment})
        restored: list[int] = []

        def restore(e: Estate = e, restored: list[int] = restored) -> None:
            body = {"experiment_id": e.yard.experiment}
            restored.append(e.yard.desk.tracking("POST", f"{API}/experiments/restore", body)[0])
            restored.append(status(e.yard, e.deleted[0]))

        gc(e.yard, doing_at(number, restore))
        if not restored:
            break
        if restored == [200, 200]:
            assert e.yard.desk.get_run(e.deleted[0])["info"]["lifecycle_stage"] == "active", number
    assert number > 60


def test_each_page_ends_in_time_and_the_next_goes_on() -> None:
    e = estate()
    pages, token = 0, ""
    outcomes: list[dict[str, Any]] = []
    while True:
        left = iter(range(3))
        upkeep = e.yard.upkeep(spare=lambda left=left: next(left, None) is not None)  # type: ignore[misc]
        page = collect(
            Call("default", "ann", LATER, "c-1"), Collect(page_token=token), upkeep=upkeep, log=Log(upkeep.tables),
            registrations=RegisteredVersions(upkeep.tables),
        )  # fmt: skip
        outcomes, pages = outcomes + page["outcomes"], pages + 1
        if not (token := page["next_page_token"]):
            break
    assert pages > 3
    assert removed(outcomes) == e.gone
    only_what_was_deleted_went(e)
