"""Sources for tests: what Hypothesis draws, put into a side through its own methods."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from modelwright.transfer.records import (
    DatasetInput,
    Experiment,
    LoggedModel,
    ModelPoint,
    Point,
    RegisteredModel,
    Run,
    Version,
)
from transfer.memory import MemorySide

NAN, INF = float("nan"), float("inf")
VALUES = (0.0, -0.0, 1.5, NAN, INF, -INF, 5e-324)


def sources() -> st.SearchStrategy[MemorySide]:
    """Draw sources: the seed is drawn, so that what fails is shown as one number."""
    return st.builds(made, st.integers(0, 10**6), st.integers(1, 4))


def made(seed: int, size: int = 3, name: str = "a") -> MemorySide:
    """Return a source with some of everything."""
    return _Maker(random.Random(seed), MemorySide(name)).make(size)


class _Maker:
    def __init__(self, some: random.Random, side: MemorySide) -> None:
        self.some, self.side = some, side
        self.runs: list[str] = []
        self.models: list[str] = []

    def make(self, size: int) -> MemorySide:
        side, some = self.side, self.some
        side.found["0"] = Experiment("0", "Default")
        for number in range(size):
            experiment = side.add_experiment(f"e{number}", self.pairs())
            self.runs += [self.run(experiment) for _ in range(some.randint(0, 3))]
            if self.runs and side.executions[self.runs[-1]].experiment_id == experiment:
                self.models += [self.model(experiment) for _ in range(some.randint(0, 2))]
        for run in self.runs:
            self.relate(run)
        for name in ("first", "second")[: some.randint(0, 2)]:
            self.register(name)
        for run in self.runs:
            if some.random() < 0.2:
                side.move_run(run, deleted=True)
        if some.random() < 0.5:
            side.move_experiment("1", deleted=True)
        side.writes = 0
        return side

    def run(self, experiment: str) -> str:
        some = self.some
        number = len(self.side.executions)
        begun = Run("", experiment, f"run {number}", some.choice(("ann", "bob")), start=some.randint(0, 10))
        run = self.side.add_run(begun, key=f"run {number}")
        tags = {"mlflow.runName": f"run {number}", **self.pairs()}
        self.side.log(run, params=self.pairs(), tags=tags)
        for key in some.sample(("loss", "auc", "x"), some.randint(0, 3)):
            self.side.histories[run, key] = [
                Point(some.choice((0, 1, 2)), some.choice((-1, 0, 2**40)), some.choice(VALUES))
                for _ in range(some.randint(1, 9))
            ]
        self.side.link(
            run, datasets=[DatasetInput(f"d{n}", "1", tags=(("a", "b"),)) for n in range(some.randint(0, 2))]
        )
        self.files(self.side.executions[run].artifact_uri)
        self.side.close_run(run, *some.choice((("FINISHED", 20), ("FAILED", None), ("RUNNING", None))))
        return run

    def model(self, experiment: str) -> str:
        some, run, side = self.some, self.runs[-1], self.side
        shell = LoggedModel("", experiment, f"model {len(side.models)}", run_id=run, tags=self.pairs())
        model = side.add_logged_model(shell, key=f"model {len(side.models)}")
        side.describe_logged_model(model, params=self.pairs())
        self.files(side.models[model].artifact_uri)
        for step in range(some.randint(0, 2)):
            side.log(run, points=[(model, ModelPoint("", "score", Point(step, step, some.choice((0.5, NAN)))))])
        side.link(run, outputs=[(model, some.randint(0, 3))])
        if status := some.choice(("READY", "UPLOAD_FAILED", "")):
            side.finish_logged_model(model, status)
        return model

    def relate(self, run: str) -> None:
        some = self.some
        tags = {"mlflow.parentRunId": some.choice(self.runs)} if some.random() < 0.5 else {}
        self.side.log(run, tags=tags)
        if self.models and some.random() < 0.5:
            self.side.link(run, inputs=[some.choice(self.models)])

    def register(self, name: str) -> None:
        some, side = self.some, self.side
        side.add_registered_model(RegisteredModel(name, some.choice(("", "words")), self.pairs()))
        for _ in range(some.randint(0, 4)):
            run = some.choice([*self.runs, ""])
            sources = [f"models:/{some.choice(self.models)}"] if self.models else []
            sources += [f"{side.executions[run].artifact_uri}/sub", f"runs:/{run}/sub"] if run else []
            sources += ["s3://elsewhere/x"]
            sources += [f"models:/first/{n}" for model, n in side.numbered if model == "first" and name != model]
            version = Version(
                name, 0, some.choice(sources), run, "link", "", some.choice(("", "new")), tags=self.pairs()
            )
            number = side.add_version(version)
            if some.random() < 0.3:
                side.stage_version(name, number, "Production")
            if some.random() < 0.3:
                side.set_alias(name, some.choice(("live", "old")), number)
        held = set(side.registered[name].aliases.values())
        for version in side.versions(side.registered[name]):
            copied = any(f"models:/{name}/{version.number}" == other.source for other in side.numbered.values())
            if version.number not in held and not copied and some.random() < 0.4:
                side.drop_version(name, version.number)

    def pairs(self) -> dict[str, str]:
        some = self.some
        return {key: some.choice(("", "x", "ü")) for key in some.sample(("k", "l", "m"), some.randint(0, 3))}

    def files(self, uri: str) -> None:
        with TemporaryDirectory() as folder:
            for path in ("sub/a", *self.some.sample(("b", "sub/deep/c", "empty"), self.some.randint(0, 3))):
                file = Path(folder) / Path(path).name
                file.write_bytes(b"" if path == "empty" else path.encode())
                self.side.put(uri, path, file)
