"""What a copy promises, whatever there is to copy and wherever it breaks off."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.errors import Unavailable
from modelwright.transfer.copying import Copy
from modelwright.transfer.counting import count
from modelwright.transfer.plan import Options, survey
from modelwright.transfer.records import (
    MODEL_ID,
    RUN_ID,
    SOURCE,
    DatasetInput,
    Experiment,
    History,
    LoggedModel,
    ModelPoint,
    Point,
    RegisteredModel,
    Run,
    Version,
)
from modelwright.transfer.sides import Target
from modelwright.transfer.tally import Tally
from transfer.made import sources
from transfer.memory import MemorySide


class Silent:
    """A view of nothing."""

    def begin(self, what: str, total: int) -> None:
        """Be silent."""

    def step(self) -> None:
        """Be silent."""


ALL = Options(deleted=True, threads=2)


def copied(source: Target, target: Target, options: Options = ALL) -> Tally:
    tally = Tally()
    Copy(source, target, options, tally, Silent()).run(survey(source, options, tally))
    return tally


def told(side: MemorySide) -> dict[str, object]:
    """Return all that a side holds, with names for ids and without what a copy marks."""
    names = {run.run_id: f"<{run.name}>" for run in side.executions.values()}
    names |= {model.model_id: f"<{model.name}>" for model in side.models.values()}

    def plain(text: str) -> str:
        for identity, name in names.items():
            text = text.replace(f"{side.name}://files/{identity}", name).replace(identity, name)
        return text

    def tags(given: object) -> dict[str, str]:
        assert isinstance(given, dict)
        return {k: plain(v) for k, v in given.items() if not k.startswith("modelwright.import.")}

    def files(uri: str) -> dict[str, bytes]:
        return {name.removeprefix(uri): body for name, body in side.files.items() if name.startswith(f"{uri}/")}

    return {
        "experiments": {e.name: (tags(e.tags), e.deleted) for e in side.found.values()},
        "runs": sorted(
            (
                run.name, side.found[run.experiment_id].name, run.user, run.status, run.start, run.end or 0,
                side.run(run.run_id).deleted, sorted(run.params.items()), sorted(tags(run.tags).items()),
                {key: History.of(points) for (run_id, key), points in side.histories.items() if run_id == run.run_id},
                sorted(run.datasets, key=str), sorted(map(plain, run.model_inputs)),
                sorted((plain(model), step) for model, step in run.model_outputs), files(run.artifact_uri),
            )
            for run in side.executions.values()
        ),
        "models": sorted(
            (
                model.name, side.found[model.experiment_id].name, plain(model.run_id), model.status,
                sorted(model.params.items()), sorted(tags(model.tags).items()), files(model.artifact_uri),
                {p.place[1:] for p in model.newest},
            )
            for model in side.models.values()
        ),
        "registered": {m.name: (m.description, tags(m.tags), dict(m.aliases)) for m in side.registered.values()},
        "versions": {
            key: (plain(v.source), plain(v.run_id), v.run_link, v.description, v.stage, tags(v.tags))
            for key, v in side.numbered.items()
        },
    }  # fmt: skip


def target(*, chooses_numbers: bool = True) -> MemorySide:
    side = MemorySide("b", chooses_numbers)
    side.found["0"] = Experiment("0", "Default")
    return side


numberings = st.booleans()


@given(sources(), numberings)
@settings(max_examples=40, deadline=None)
def test_a_copy_holds_what_its_source_holds(source: MemorySide, chooses: bool) -> None:
    into = target(chooses_numbers=chooses)
    tally = copied(source, into)
    assert tally.complete, tally.differences
    assert told(into) == told(source)


@given(sources(), numberings)
@settings(max_examples=30, deadline=None)
def test_a_second_copy_writes_nothing(source: MemorySide, chooses: bool) -> None:
    into = target(chooses_numbers=chooses)
    copied(source, into)
    into.writes = 0
    assert copied(source, into).complete
    assert into.writes == 0


@given(sources(), st.integers(1, 150), st.booleans(), numberings)
@settings(max_examples=100, deadline=None)
def test_a_copy_that_broke_off_anywhere_goes_on_without_doubles(
    source: MemorySide, at: int, effective: bool, chooses: bool
) -> None:
    into = replace(target(chooses_numbers=chooses), break_at=at, effective=effective)
    try:
        copied(source, into)
    except Unavailable:
        into.break_at = 0
        assert copied(source, into).complete
    assert told(into) == told(source)


@given(sources(), st.integers(1, 150))
@settings(max_examples=30, deadline=None)
def test_it_also_does_where_no_keys_are_known(source: MemorySide, at: int) -> None:
    into = replace(target(chooses_numbers=False), knows_keys=False, break_at=at, effective=True)
    try:
        copied(source, into)
    except Unavailable:
        into.break_at = 0
        assert copied(source, into).complete
    assert told(into) == told(source)


@given(sources())
@settings(max_examples=20, deadline=None)
def test_what_goes_on_at_the_source_is_brought_up_to_date(source: MemorySide) -> None:
    into = target()
    copied(source, into)
    for run in list(source.executions.values()):
        if not source.run(run.run_id).deleted:
            point = ModelPoint("", "later", Point(5, 5, 5.0))
            source.log(run.run_id, params={"later": "1"}, tags={"k": "changed"}, points=[("", point)])
            source.close_run(run.run_id, "FINISHED", 99)
    assert copied(source, into).complete
    assert told(into) == told(source)


@given(sources())
@settings(max_examples=20, deadline=None)
def test_a_count_alone_says_what_a_copy_finds(source: MemorySide) -> None:
    counted, options = Tally(), Options(deleted=True)
    count(source, survey(source, options, counted), counted, Silent(), 2)
    tally = copied(source, target())
    assert [row[:2] for row in counted.rows()] == [row[:2] for row in tally.rows()]


@given(sources())
@settings(max_examples=20, deadline=None)
def test_deleted_things_stay_behind_unless_something_active_was_made_from_them(source: MemorySide) -> None:
    into = target()
    assert copied(source, into, Options()).complete
    needed = {version.run_id for version in source.numbered.values()}
    needed |= {model.run_id for model in source.models.values()}
    for run in into.executions.values():
        assert not into.run(run.run_id).deleted or run.tags[RUN_ID] in needed


# --- single cases ---------------------------------------------------------------------------


def one_run(broken: Sequence[str] = ()) -> tuple[MemorySide, str]:
    side = MemorySide("a", broken=broken)
    experiment = side.add_experiment("churn", {})
    run = side.add_run(Run("", experiment, "first", "ann", start=5), key="1")
    return side, run


def test_every_run_says_where_it_is_from() -> None:
    source, run = one_run()
    into = target()
    copied(source, into)
    (copy,) = into.executions.values()
    assert (copy.tags[SOURCE], copy.tags[RUN_ID]) == ("a", run)


def test_marks_of_an_earlier_copy_are_not_copied() -> None:
    source, run = one_run()
    source.log(run, tags={SOURCE: "elsewhere", RUN_ID: "0" * 32, "own": "1"})
    into = target()
    assert copied(source, into).complete
    (copy,) = into.executions.values()
    assert (copy.tags[SOURCE], copy.tags[RUN_ID], copy.tags["own"]) == ("a", run, "1")


def test_a_file_that_cannot_be_read_is_named_and_the_rest_goes_on() -> None:
    source, run = one_run(broken=("lost.bin",))
    uri = source.executions[run].artifact_uri
    source.files |= {f"{uri}/lost.bin": b"x", f"{uri}/kept.bin": b"yy"}
    into = target()
    tally = copied(source, into)
    assert not tally.complete
    assert (tally.source["files"], tally.found["files"], tally.source["bytes"], tally.found["bytes"]) == (2, 1, 3, 2)
    assert any(
        f"run {run} of churn: the file lost.bin cannot be copied: No such artifact" in d for d in tally.differences
    )
    assert [name.rpartition("/")[2] for name in into.files] == ["kept.bin"]


def test_a_param_that_is_refused_is_named_and_the_others_are_there() -> None:
    source, run = one_run()
    source.log(run, params={f"p{n}": str(n) for n in range(250)})
    into = replace(target(), refuses="p77")
    tally = copied(source, into)
    (copy,) = into.executions.values()
    assert set(source.executions[run].params) - set(copy.params) == {"p77"}
    assert (tally.source["params"], tally.found["params"]) == (250, 249)
    assert any("the param p77 is refused: this param is refused" in d for d in tally.differences)
    assert into.writes < 25


def test_points_that_are_lost_are_named() -> None:
    source, run = one_run()
    source.histories |= {(run, "loss"): [Point(n, n, 0.5) for n in range(9)], (run, "auc"): [Point(1, 1, 0.5)]}
    into = replace(target(), loses="loss")
    tally = copied(source, into)
    assert (tally.source["metric points"], tally.found["metric points"]) == (10, 1)
    assert f"run {run} of churn: 9 of 9 points of loss are missing" in tally.differences


def test_infinities_and_what_databases_make_of_them_are_the_same() -> None:
    source, run = one_run()
    source.histories[run, "loss"] = [Point(1, 1, float("inf")), Point(1, 1, float("-inf")), Point(1, 1, float("nan"))]
    into = replace(target(), clamps=True)
    assert copied(source, into).complete
    assert {p.value for p in into.points(*next(iter(into.histories)))} > {sys.float_info.max, -sys.float_info.max}
    into.writes = 0
    assert copied(source, into).complete
    assert into.writes == 0


def test_a_file_that_is_there_in_part_is_copied_again() -> None:
    source, run = one_run()
    source.files[f"{source.executions[run].artifact_uri}/a"] = b"whole"
    into = target()
    copied(source, into)
    (name,) = into.files
    into.files[name] = b"who"
    assert copied(source, into).complete
    assert into.files[name] == b"whole"


def test_thousands_of_points_go_in_requests_of_a_thousand() -> None:
    source, run = one_run()
    source.histories[run, "loss"] = [Point(n, n, float(n)) for n in range(2500)]
    source.histories[run, "acc"] = [Point(n, n, float(n)) for n in range(700)]
    into = target()
    assert copied(source, into).complete
    logs = 4  # 3,200 points
    shell, tag_or_status = 2, 0  # the experiment and the run
    assert into.writes == shell + logs + tag_or_status


def test_what_was_set_at_the_target_stays() -> None:
    source, run = one_run()
    source.log(run, tags={"team": "growth"})
    source.add_registered_model(RegisteredModel("m"))
    for _ in range(2):
        source.add_version(Version("m", 0, "s3://x/y"))
    source.set_alias("m", "live", 1)
    into = target()
    assert copied(source, into).complete
    (copy,) = into.executions
    into.log(copy, tags={"seen by": "eve"})
    into.set_alias("m", "live", 2)
    tally = copied(source, into)
    assert into.executions[copy].tags["seen by"] == "eve"
    assert into.registered["m"].aliases == {"live": 2}
    assert tally.differences == ["m: the alias live is on v2 at the target and stays, not v1"]


def test_experiments_of_one_name_are_merged() -> None:
    source, _ = one_run()
    into = target()
    experiment = into.add_experiment("churn", {"ours": "1"})
    into.add_run(Run("", experiment, "mine", "eve", start=1), key="x")
    assert copied(source, into).complete
    assert sorted(run.name for run in into.runs(experiment)) == ["first", "mine"]
    assert into.found[experiment].tags == {"ours": "1"}


def test_or_get_a_prefix() -> None:
    source, _ = one_run()
    source.add_registered_model(RegisteredModel("m"))
    into = target()
    into.add_experiment("churn", {})
    assert copied(source, into, Options(prefix="old-")).complete
    assert {e.name for e in into.found.values()} == {"Default", "churn", "old-churn"}
    assert list(into.registered) == ["old-m"]
    assert copied(source, into, Options(prefix="older-")).complete
    assert len(into.executions) == 2


def test_an_experiment_that_was_renamed_since_is_still_the_same() -> None:
    source, _ = one_run()
    into = target()
    assert copied(source, into).complete
    into.found = {key: replace(e, name=f"our {e.name}") for key, e in into.found.items()}
    assert copied(source, into).complete
    assert len(into.executions) == 1


def test_an_experiment_that_is_deleted_at_the_target_is_not_taken_for_the_one_of_that_name() -> None:
    source, _ = one_run()
    into = target()
    into.move_experiment(into.add_experiment("churn", {}), deleted=True)
    tally = copied(source, into)
    assert not tally.complete
    assert any("its name is deleted at the target" in d for d in tally.differences)
    assert not into.executions


def test_a_version_of_somebody_else_is_not_overwritten() -> None:
    source, _ = one_run()
    source.add_registered_model(RegisteredModel("m"))
    source.add_version(Version("m", 0, "s3://x/y"))
    into = target()
    into.add_registered_model(RegisteredModel("m"))
    into.add_version(Version("m", 0, "s3://mine"))
    tally = copied(source, into)
    assert "m v1: there is another version of this number at the target: copy with a prefix" in tally.differences
    assert (tally.source["versions"], tally.found["versions"]) == (1, 0)
    assert into.numbered["m", 1].source == "s3://mine"


def test_a_version_whose_files_are_gone_is_named() -> None:
    source, run = one_run()
    source.add_registered_model(RegisteredModel("m"))
    source.add_version(Version("m", 0, f"{source.executions[run].artifact_uri}/model", run))
    source.add_version(Version("m", 0, "runs:/" + "f" * 32 + "/model", "f" * 32))
    tally = copied(source, target())
    assert any(d.startswith("m v1: nothing lies at") for d in tally.differences)
    assert any(d.startswith("m v2: its files at runs:/ffff") for d in tally.differences)


def test_only_what_is_asked_for_is_copied_and_what_that_was_made_from() -> None:
    source, run = one_run()
    other = source.add_run(Run("", source.executions[run].experiment_id, "second", "bob", start=50), key="2")
    uri = source.executions[run].artifact_uri
    source.files[f"{uri}/model/x"] = b"1"
    for name in ("m", "n"):
        source.add_registered_model(RegisteredModel(name))
    source.add_version(Version("m", 0, f"{uri}/model", run))
    source.add_version(Version("n", 0, "models:/m/1", run))

    def names(options: Options) -> tuple[list[str], list[str]]:
        into = target()
        assert copied(source, into, options).complete
        return sorted(r.name for r in into.executions.values()), sorted(into.registered)

    assert names(Options(models=("n",))) == (["first"], ["m", "n"])
    assert names(Options(experiments=("churn",))) == (["first", "second"], [])
    assert names(Options(experiments=("churn",), since=20)) == (["second"], [])
    assert names(Options(since=20)) == (["first", "second"], ["m", "n"])
    assert other


def test_a_run_that_is_there_twice_is_named() -> None:
    source, run = one_run()
    into = target()
    copied(source, into)
    (copy,) = into.executions.values()
    into.add_run(replace(copy, tags=dict(copy.tags)), key="by hand")
    tally = copied(source, into)
    assert tally.differences == [f"run {run} of churn: it is there 2 times"]


def test_numbers_that_cannot_be_chosen_are_reached_over_placeholders_that_go() -> None:
    source, _ = one_run()
    source.add_registered_model(RegisteredModel("m"))
    for _ in range(5):
        source.add_version(Version("m", 0, "s3://x/y"))
    for number in (1, 2, 4):
        source.drop_version("m", number)
    into = target(chooses_numbers=False)
    assert copied(source, into).complete
    assert sorted(into.numbered) == [("m", 3), ("m", 5)]


def test_a_model_that_got_nan_is_the_same_where_databases_say_zero() -> None:
    source, run = one_run()
    nan = Point(1, 1, float("nan"))
    model = source.add_logged_model(LoggedModel("", "0", "m", run_id=run), key="m")
    source.histories[run, "auc"] = [nan]
    source.models[model] = replace(source.models[model], points=(ModelPoint(run, "auc", nan._replace(value=0.0)),))
    into = target()
    assert copied(source, into).complete
    (copy,) = into.executions
    assert [p.place for p in into.points(copy, "auc")] == [nan.place]
    (found,) = into.models.values()
    assert found.tags[MODEL_ID] == model


def test_two_threads_that_meet_in_one_deleted_experiment_bring_it_back_once() -> None:
    source, run = one_run()
    experiment = source.executions[run].experiment_id
    for n in range(20):
        source.add_run(Run("", experiment, f"r{n}", "ann", start=1), key=f"r{n}")
    source.move_experiment(experiment, deleted=True)
    into = target()
    assert copied(source, into).complete
    source.move_experiment(experiment, deleted=False)
    for each in list(source.executions):
        source.log(each, tags={"more": "1"})
    source.move_experiment(experiment, deleted=True)
    assert copied(source, into, replace(ALL, threads=8)).complete
    assert told(into)["runs"] == told(source)["runs"]


def test_a_dataset_that_is_another_one_at_the_target_is_named() -> None:
    source, run = one_run()
    source.link(run, datasets=[DatasetInput("d", "1", source="here")])
    into = target()
    assert copied(source, into).complete
    source.executions[run] = replace(source.executions[run], datasets=(DatasetInput("d", "1", source="there"),))
    tally = copied(source, into)
    assert (tally.source["datasets"], tally.found["datasets"]) == (1, 0)
    assert any("1 of 1 datasets differ" in d for d in tally.differences)
