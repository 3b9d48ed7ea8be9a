"""A pull request's model, tried on a sample: what passes, what is refused, and what people read of it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.mlflow_desk import Desk
from transfer.carried import made as version
from transfer.carried import source, stack
from typer.testing import CliRunner

from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.events import GateResult
from modelwright.promotion import bundle
from modelwright.team import read_team
from modelwright.trial.rehearsal import Rehearsal, Rival, rehearse
from modelwright.trial.report import MARKER, markdown
from modelwright.trial.stage import Stage, StageSource

ALL_GATES = (
    "metric_floor", "beats_champion", "data_known", "features_known", "signature_compatible", "size_budget",
    "no_quarantine", "parity_proven", "card_complete", "not_inferior", "latency_budget",
)  # fmt: skip
RANDOM = """
def train(frame, labels, parameters):
    from sklearn.dummy import DummyClassifier
    return DummyClassifier(strategy="uniform", random_state=0).fit(frame, labels)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `modelwright init` makes it, with every gate that we ship in its policy."""
    folder = tmp_path_factory.mktemp("projects") / "churn"
    said = CliRunner().invoke(app, ["init", str(folder)])
    assert said.exit_code == 0, said.output
    quicker = (folder / "modelwright.toml").read_text().replace("max_iter = 120", "max_iter = 30")
    (folder / "modelwright.toml").write_text(quicker)
    with (folder / "modelwright.toml").open("a") as toml:
        toml.write(f"\n[models.flights.gates]\ngates = {list(ALL_GATES)}\nmax_latency_ms = 500.0\ntolerance = 0.02\n")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "churn"))


def trained(project: Path, data: Path, file: Path) -> Path:
    """Train a project's model on a sample, and write it into a file as a stack would."""
    stage = Stage(read_team(project))
    stage.land(data)
    window = stage.window("flights")
    assert window is not None
    stage.train("flights", window)
    bundle.write(StageSource(stage, "flights"), file)
    return file


@pytest.fixture(scope="module")
def champion(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion whose rows all are older than those that a check holds out."""
    folder = tmp_path_factory.mktemp("champion")
    for file in (made / "sample").rglob("*.csv"):
        header, *rows = file.read_text().splitlines()
        place = folder / "older" / file.relative_to(made / "sample")
        place.parent.mkdir(parents=True)
        time = header.split(",").index("observed_at" if "observed_at" in header else "scheduled_departure")
        older = [row for row in rows if row.split(",")[time] < "2026-01-24"]
        assert 0 < len(older) < len(rows)
        place.write_text("\n".join([header, *older]) + "\n")
    return trained(made, folder / "older", folder / "champion.zip")


@pytest.fixture(scope="module")
def informed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion that was trained on the very rows of the sample."""
    return trained(made, made / "sample", tmp_path_factory.mktemp("informed") / "champion.zip")


def tried(project: Path, *rivals: Path, environment: str = "dev") -> Rehearsal:
    def of(place: Path) -> Rival:
        return Rival("before", read_team(place)) if place.is_dir() else Rival("v1", bundle.BundleSource(place))

    team = read_team(project)
    return rehearse(team, "flights", project / "sample", environment=environment, rivals=[of(r) for r in rivals])


@pytest.fixture(scope="module")
def plain(made: Path) -> Rehearsal:
    return tried(made)


@pytest.fixture(scope="module")
def versus(made: Path, champion: Path) -> Rehearsal:
    return tried(made, champion, made)


def verdicts(found: Rehearsal) -> dict[str, bool]:
    return {result.gate: result.passed for result in found.results}


def test_a_new_project_passes_every_gate_but_the_card_that_people_write_later(plain: Rehearsal) -> None:
    found = plain
    assert verdicts(found) == {gate: gate != "card_complete" for gate in ALL_GATES}
    assert found.passed
    assert found.completed is not None
    assert found.completed.evaluation.challenger_auc is not None
    assert found.completed.evaluation.challenger_auc.value > 0.7


def test_the_same_again_is_the_same(plain: Rehearsal, project: Path) -> None:
    first, second = plain, tried(project)
    assert first.completed is not None
    assert second.completed is not None
    assert first.completed.artifact_digest == second.completed.artifact_digest
    assert first.completed.evaluation == second.completed.evaluation


def test_a_change_that_changes_nothing_is_exactly_as_good_as_before(made: Path, project: Path) -> None:
    found = tried(project, made)
    assert found.passed, markdown([found])
    assert found.rival == "before"
    assert found.completed is not None
    difference = found.completed.evaluation.auc_difference
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_a_better_or_worse_model_is_told_from_the_one_before(made: Path, project: Path) -> None:
    (project / "trainer.py").write_text(RANDOM)
    worse = tried(project, made)
    assert {"metric_floor", "beats_champion", "not_inferior"} <= {r.gate for r in worse.refusals}
    assert not worse.passed
    better = tried(made, project)
    assert better.passed
    assert better.completed is not None
    assert better.completed.evaluation.auc_difference is not None
    assert better.completed.evaluation.auc_difference.low > 0


def test_a_champion_that_has_not_seen_the_rows_is_the_rival(versus: Rehearsal) -> None:
    found = versus
    assert (found.rival, found.notes) == ("v1", ())
    assert found.completed is not None
    assert found.completed.evaluation.champion_auc is not None
    assert found.completed.evaluation.champion_auc.value < 0.9
    assert "v2 against champion v1" in next(r.text for r in found.results if r.gate == "not_inferior")
    assert found.passed, markdown([found])


def test_a_champion_that_has_seen_the_rows_is_none(project: Path, informed: Path) -> None:
    found = tried(project, informed)
    assert (found.rival, found.passed) == ("", True)
    assert found.completed is not None
    assert found.completed.evaluation.champion_auc is None
    assert "it was trained on rows up to 2026-02-01, and those held out here begin 2026-01-25" in found.notes[0]
    assert "Not compared with:\n- v1" in markdown([found])


def test_a_champion_of_which_nobody_knows_what_it_has_seen_is_none(project: Path) -> None:
    desk, file = Desk(), project.parent / "champion.zip"
    version(desk, "flights")
    with stack(desk) as ours:
        bundle.write(source(ours, "flights/1"), file)
    found = tried(project, file)
    assert (found.rival, found.passed) == ("", True)
    assert "nobody knows up to when the rows go that it was trained on" in found.notes[0]


def test_a_project_that_gave_no_model_before_is_named(made: Path, project: Path) -> None:
    before = Path(shutil.copytree(made, project.parent / "before"))
    (before / "trainer.py").write_text("def train(frame, labels, parameters):\n    return None\n")
    found = tried(project, before)
    assert found.passed
    assert found.notes == ("before: a NoneType has no predict_proba",)
    toml = before / "modelwright.toml"
    toml.write_text(toml.read_text().replace("models.flights", "models.boats"))
    assert tried(project, before).notes == ("before: model flights is not in project churn: it has boats",)


def test_the_policy_of_the_environment_counts(project: Path) -> None:
    with (project / "modelwright.toml").open("a") as toml:
        toml.write('\n[models.flights.environments.prod]\nfloor = 0.99\ngates = ["metric_floor"]\n')
    assert tried(project, environment="staging").passed
    found = tried(project, environment="prod")
    assert [(r.gate, r.passed) for r in found.results] == [("metric_floor", False)]


def test_a_trainer_that_fails_is_told_with_its_reason(project: Path) -> None:
    (project / "trainer.py").write_text("def train(frame, labels, parameters):\n    raise ValueError('no | luck')\n")
    found = tried(project)
    assert (found.passed, found.completed) == (False, None)
    assert found.reason == "the trainer team_churn.trainer:train failed: ValueError: no | luck"
    assert "### ❌ flights gave no model\n\nthe trainer" in markdown([found])


def test_what_quality_checks_hold_back_is_named_and_fails(project: Path) -> None:
    (project / "sample" / "weather" / "more.csv").write_text("origin,observed_at\nEWR,never\n")
    found = tried(project)
    assert len(found.held) == 1
    assert found.held[0].startswith("weather/more.csv: ")
    assert not found.passed
    assert "weather/more.csv" in markdown([found])


def test_a_sample_without_labels_gives_no_model(project: Path) -> None:
    shutil.rmtree(project / "sample" / "arrivals")
    assert tried(project).reason == "no label of arrivals was accepted"


def test_a_folder_that_no_source_takes_is_refused(project: Path, tmp_path: Path) -> None:
    team = read_team(project)
    with pytest.raises(InvalidInput, match="holds no file below departures/, weather/, arrivals/"):
        rehearse(team, "flights", tmp_path / "churn" / ".github", environment="dev")
    with pytest.raises(NotFound, match="model boats is not in project churn"):
        rehearse(team, "boats", project / "sample", environment="dev")


def test_a_champion_that_was_tampered_with_is_refused(project: Path, champion: Path, tmp_path: Path) -> None:
    class Forged(bundle.BundleSource):
        def fetch(self, path: str, folder: Path) -> Path:
            file = super().fetch(path, folder)
            file.write_bytes(file.read_bytes()[:-1] + b"!")
            return file

    team, rivals = read_team(project), [Rival("v1", Forged(champion))]
    with pytest.raises(Refused, match="came with the digest"):
        rehearse(team, "flights", project / "sample", environment="dev", rivals=rivals)


# --- what people read --------------------------------------------------------------------


def test_the_report_compares_figure_by_figure(versus: Rehearsal) -> None:
    text = markdown([versus])
    lines = text.splitlines()
    assert lines[0] == MARKER
    assert lines[1] == "### ✅ flights passes the gates of dev"
    assert lines[3] == "| metric | v1 | candidate | difference (95 % interval) |"
    assert any(line.startswith("On ") and "which neither had seen" in line for line in lines)
    for name in ("AUC, higher is better", "Brier score, lower is better"):
        row = next(line for line in lines if line.startswith(f"| {name} |"))
        assert row.count("|") == 5
        assert "none" not in row
    assert "| card_complete | later |" in text


def test_what_strangers_code_printed_stays_text(plain: Rehearsal) -> None:
    bad = Rehearsal("flights", "prod", reason="x | y <img src=a> @team `code`\n## heading")
    text = markdown([bad]).split("\n\n", 1)[1]
    assert text.strip() == r"x \| y &lt;img src=a> &#64;team \`code\` \#\# heading"
    results: Sequence[GateResult] = (GateResult(gate="size_budget", passed=False, text="a|b"),)
    assert "a\\|b" in markdown([Rehearsal("m", "prod", completed=plain.completed, results=tuple(results))])


def run(*arguments: Any) -> tuple[int, str]:
    said = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return said.exit_code, said.output + (str(said.exception) if said.exception else "")


def test_the_command_prints_the_report_writes_it_and_exits_with_the_verdict(
    project: Path, champion: Path, tmp_path: Path
) -> None:
    report = tmp_path / "comparison.md"
    code, out = run(project, "--data", project / "sample", "--against", champion, "--report", report)
    assert code == 0, out
    assert report.read_text().startswith(MARKER)
    assert report.read_text() in out
    (project / "trainer.py").write_text(RANDOM)
    code, out = run(project, "--data", project / "sample", "--against", champion, "--report", report)
    assert code == 1, out
    assert "**refused**" in report.read_text()


def test_the_command_refuses_what_makes_no_sense(project: Path, champion: Path) -> None:
    assert "is no folder" in run(project, "--data", project / "modelwright.toml")[1]
    toml = project / "modelwright.toml"
    toml.write_text(toml.read_text().replace("models.flights", "models.boats"))
    assert (
        "--against names flights, and the models are boats"
        in run(project, "--data", project / "sample", "--against", champion)[1]
    )
