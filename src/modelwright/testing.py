"""Contract checks for authors of plugins: a tuple of checks per kind, each of which takes what it checks.

    import pytest
    from modelwright.testing import GATE_CHECKS

    @pytest.mark.parametrize("check", GATE_CHECKS, ids=lambda check: check.__name__)
    def test_our_gate(check):
        check(OurGate)

A check raises ``AssertionError`` with what is wrong. What we ship passes the same checks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelwright.errors import InvalidInput, NotFound, PluginError, Unavailable
from modelwright.events import Estimate, Evaluation, GateResult, Window
from modelwright.flavors import Flavor, Folder
from modelwright.plugins import Candidate, Gate
from modelwright.project import GatePolicy, RetrainingPolicy, RolloutPolicy
from modelwright.retraining.store import Standing
from modelwright.retraining.trainers import Job, TrainerClass
from modelwright.retraining.triggers import Cause, Trigger
from modelwright.rollout.judging import Judge, Sums

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from modelwright.features.engines import Engine
    from modelwright.monitoring.checks import Check, File
    from modelwright.monitoring.detectors import Detector
    from modelwright.monitoring.healing.repairs import Damaged, Repair
    from modelwright.monitoring.performance.estimators import Answers, Estimator
    from modelwright.monitoring.profiles import ColumnProfile
    from modelwright.project import Project, Source

# --- gates -------------------------------------------------------------------------------

_WINDOW = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 15, tzinfo=UTC))
_BARE = Candidate(model="churn", version=2, alias="challenger")
_JUDGED = Candidate(
    model="churn",
    version=2,
    alias="challenger",
    metrics={"auc": 0.8},
    evaluation=Evaluation(
        rows=1000,
        window=_WINDOW,
        challenger_auc=Estimate(value=0.8, low=0.77, high=0.83),
        challenger_brier=0.12,
        champion_auc=Estimate(value=0.78, low=0.75, high=0.81),
        champion_brier=0.13,
        auc_difference=Estimate(value=0.02, low=0.01, high=0.03),
        brier_difference=Estimate(value=-0.01, low=-0.02, high=-0.001),
    ),
    dataset_digest="0" * 64,
    champion=1,
    features=("age",),
    known_features=frozenset({"age"}),
    signature='{"inputs":[{"name":"age","type":"double"}],"outputs":[{"type":"double"}]}',
    champion_signature='{"inputs":[{"name":"age","type":"double"}],"outputs":[{"type":"double"}]}',
    parity="1" * 64,
    parity_rows=16,
    size=1000,
    card=frozenset({"intended_use", "limitations", "owner"}),
)
_NONSENSE = replace(
    _JUDGED,
    signature="[1]",
    champion_signature='{"inputs":"{"}',
    size=-1,
    scored=lambda: b"no Parquet",
    read=lambda _: b"neither a model nor rows",
    code=lambda: b"no wheel",
)
"""Clients write these files, and what they say need not make sense."""


def gate_is_made_without_arguments(make: Callable[[], Gate]) -> None:
    """Gates are made by name alone; what they need comes with the policy."""
    assert hasattr(make(), "check"), "a gate has a method `check`"


def gate_says_why(make: Callable[[], Gate]) -> None:
    """A verdict names the gate and its reasons, whichever way it goes."""
    for candidate in (_BARE, _JUDGED, _NONSENSE):
        result = make().check(candidate, GatePolicy())
        assert isinstance(result, GateResult), f"a gate returns a GateResult, not {type(result).__name__}"
        assert result.gate, "a verdict names its gate"
        assert result.text.strip(), "a verdict says why"


def gate_copes_with_what_is_not_known(make: Callable[[], Gate]) -> None:
    """A version of which nothing is known, and one whose files are nonsense, are judged, not crashed on."""
    for policy in (GatePolicy(), GatePolicy(metric="brier"), GatePolicy(metric="none", comparison="none", card=())):
        for candidate in (_BARE, _JUDGED, _NONSENSE):
            assert isinstance(make().check(candidate, policy).passed, bool), "a verdict is yes or no"


def gate_keeps_no_state(make: Callable[[], Gate]) -> None:
    """The same question has the same answer, whatever was asked in between."""
    gate = make()
    first = gate.check(_JUDGED, GatePolicy())
    gate.check(_BARE, GatePolicy())
    assert gate.check(_JUDGED, GatePolicy()) == first, "a gate's answer depends on what it is asked alone"


def gate_says_no_to_nonsense_or_does_not_look(make: Callable[[], Gate]) -> None:
    """A version whose files are nonsense passes only a gate that would pass it without these files."""
    unread = replace(_NONSENSE, scored=_JUDGED.scored, read=_JUDGED.read, code=_JUDGED.code)
    if make().check(_NONSENSE, GatePolicy()).passed:
        assert make().check(unread, GatePolicy()).passed, "files that are nonsense made a no into a yes"


GATE_CHECKS: tuple[Callable[[Callable[[], Gate]], None], ...] = (
    gate_is_made_without_arguments,
    gate_says_why,
    gate_copes_with_what_is_not_known,
    gate_keeps_no_state,
    gate_says_no_to_nonsense_or_does_not_look,
)
"""For both groups: gates that run anywhere (``modelwright.gates``), and full ones (``modelwright.gates.full``)."""


# --- drift detectors ---------------------------------------------------------------------


def detector_finds_no_drift_between_equal_columns(make: "Callable[[], Detector]") -> None:
    """A column has effect 0 and a large p-value against itself."""
    detector = make()
    for column in _columns(detector.kinds, seed=1):
        effect, p_value = detector.compare(column, column)
        assert abs(effect) < 1e-9, f"the effect of equal columns is 0, not {effect}"
        assert p_value > 0.9, f"the p-value of equal columns is near 1, not {p_value}"


def detector_keeps_its_ranges(make: "Callable[[], Detector]") -> None:
    """Effects are finite and not negative, p-values are in [0, 1], also for few, equal and missing values."""
    import math

    detector = make()
    for reference in _columns(detector.kinds, seed=2):
        for window in _columns(detector.kinds, seed=3):
            if reference.kind != window.kind:
                continue
            effect, p_value = detector.compare(reference, window)
            assert effect >= 0, f"an effect is a distance, not {effect}"
            assert math.isfinite(effect), "an effect is finite"
            assert 0 <= p_value <= 1, f"a p-value lies in [0, 1]: {p_value}"


def detector_says_what_it_is(make: "Callable[[], Detector]") -> None:
    """A detector has a name, a floor above zero, and kinds of columns that it understands."""
    detector = make()
    assert detector.name, "a detector has a name"
    assert detector.floor > 0, "below the floor nobody cares: it is above zero"
    assert set(detector.kinds) <= {"numbers", "categories"}, f"there are no such kinds of columns: {detector.kinds}"
    assert detector.kinds, "a detector understands some kind of column"


DETECTOR_CHECKS: "tuple[Callable[[Callable[[], Detector]], None], ...]" = (
    detector_finds_no_drift_between_equal_columns,
    detector_keeps_its_ranges,
    detector_says_what_it_is,
)


# --- data quality checks -----------------------------------------------------------------


def check_says_nothing_of_a_file_like_the_reference(make: "Callable[..., Check]") -> None:
    """A file that is one of the reference's own uploads has no faults."""
    faults = make().check(_checked())
    assert not faults, f"nothing is wrong with a file like those before: {faults}"


def check_names_itself_and_its_reasons(make: "Callable[..., Check]") -> None:
    """Findings carry the check's name and a text, and columns that the source declares; masks have a place per row."""
    check = make()
    assert check.name, "a check has a name"
    odd = _checked(factor=1000.0, missing=60, times=40)
    for finding, rows in check.check(odd):
        assert finding.check == check.name, "a finding names its check"
        assert finding.text.strip(), "a finding says why"
        named = set(filter(None, finding.column.split(", ")))
        assert named <= set(odd.source.columns), "a finding names declared columns"
        assert rows is None or (len(rows) == odd.count and rows.any()), "a fault of rows says which of the file's"


def check_does_not_mind_the_order_of_rows(make: "Callable[..., Check]") -> None:
    """The same rows in another order have the same faults, and the same rows are wrong."""
    from dataclasses import replace

    import numpy as np
    import pyarrow as pa

    file = _checked(factor=1000.0, missing=60, times=40)
    order = np.random.default_rng(3).permutation(file.count)
    raw, typed = (table.take(pa.array(order)) for table in (file.rows.raw, file.rows.typed))
    shuffled = replace(file, rows=replace(file.rows, raw=raw, typed=typed))
    before, after = ({(f.column, f.severity): rows for f, rows in make().check(one)} for one in (file, shuffled))
    assert set(before) == set(after), "what is wrong does not depend on the order of rows"
    for what, rows in before.items():
        other = after[what]
        assert (rows is None) == (other is None), "what is wrong does not depend on the order of rows"
        assert rows is None or other is None or (rows[order] == other).all(), "the same rows are wrong in any order"


def check_keeps_its_options(make: "Callable[..., Check]") -> None:
    """A check is a dataclass, its options are its fields, and no other one is taken."""
    from dataclasses import fields, is_dataclass

    from modelwright.monitoring.checks import with_options

    check = make()
    assert isinstance(check.learned, bool), "a check says whether it compares with what was accepted before"
    assert is_dataclass(check), "a check is a dataclass, whose fields are its options"
    options = {field.name: getattr(check, field.name) for field in fields(check) if field.name != "name"}
    assert with_options(check.name, make(**options), options) == check, "the defaults are options like any others"
    try:
        with_options(check.name, check, {"no such option": 1})
    except InvalidInput as error:
        said = str(error)
    else:
        raise AssertionError("an option that does not exist was taken")
    assert all(name in said for name in options), "the error names the options there are"


CHECK_CHECKS: "tuple[Callable[[Callable[..., Check]], None], ...]" = (
    check_says_nothing_of_a_file_like_the_reference,
    check_names_itself_and_its_reasons,
    check_does_not_mind_the_order_of_rows,
    check_keeps_its_options,
)


def _checked(*, factor: float = 1.0, missing: int = 0, times: int = 1) -> "File":
    """Return a file of which three like the plain one were accepted before."""
    from modelwright.monitoring.checks import File
    from modelwright.monitoring.documents import Reference
    from modelwright.monitoring.profiles import profile_of
    from modelwright.monitoring.reading import Rows

    plain, source = _table()
    before = profile_of(plain, "rows", source, "before")
    table, _ = _table(factor=factor, missing=missing, times=times)
    rows = Rows(raw=table, typed=table, untyped={}, malformed=(), digest=f"{factor}-{missing}-{times}")
    return File("rows", source, rows, _WINDOW.end, Reference((before,) * 3), before.end)


def _columns(kinds: Sequence[str], seed: int) -> "list[ColumnProfile]":
    import numpy as np
    import pyarrow as pa

    from modelwright.monitoring.profiles import column_profile

    random = np.random.default_rng(seed)
    numbers = [random.normal(seed, 1, 300), random.standard_cauchy(50), np.ones(40), np.array([7.0])]
    words = [random.choice(list("abc"), 300), random.choice([f"w{n}" for n in range(90)], 400), np.array(["x"])]
    found = []
    if "numbers" in kinds:
        found += [column_profile(pa.chunked_array([pa.array([*values, None])]), "number") for values in numbers]
    if "categories" in kinds:
        found += [column_profile(pa.chunked_array([pa.array([*values, None])]), "string") for values in words]
    return found


def _table(*, factor: float = 1.0, missing: int = 0, times: int = 1) -> "tuple[pa.Table, Source]":
    import numpy as np
    import pyarrow as pa

    from modelwright.project import Column, Source

    source = Source(
        prefix="rows/",
        columns={
            "at": Column(type="timestamp"),
            "amount": Column(type="number", nullable=True),
            "kind": Column(type="string"),
        },
        key=("at",),
        event_time="at",
    )
    random = np.random.default_rng(5)
    rows = 100 * times
    amounts = [None if n < missing * times else float(v) * factor for n, v in enumerate(random.normal(50, 9, rows))]
    instants = pa.array([n * 3_600_000_000 // times for n in range(rows)], pa.int64())
    kinds = pa.array(random.choice(["a", "b"] if factor == 1 else ["y", "z"], rows))
    table = pa.table({"at": instants.cast(pa.timestamp("us", tz="UTC")), "amount": pa.array(amounts), "kind": kinds})
    return table, source


# --- repairs -----------------------------------------------------------------------------


def repair_says_what_it_is(make: "Callable[[], Repair]") -> None:
    """A repair has a name and a version of at least 1: logs name both."""
    repair = make()
    assert repair.name, "a repair has a name"
    assert repair.version >= 1, "a repair's version is raised from 1 on"


def repair_leaves_a_file_alone_of_which_nothing_is_wrong(make: "Callable[[], Repair]") -> None:
    """Of a file without findings that looks like those before, nothing is proposed."""
    proposed = make().propose(_held(_lines()))
    assert not proposed, f"nothing is wrong, and it proposes: {[one.text for one in proposed]}"


def repair_copes_with_any_bytes(make: "Callable[[], Repair]") -> None:
    """Whatever is held back, it proposes something or nothing, and does not fail."""
    strange = (b"\xff\xfe\x00", b"PAR1 cut off", b"at,amount\n", b"a;b\n1;2\n", b'at,amount,kind\n"', b"\n\n,,\n")
    for body in strange:
        for proposal in make().propose(_held(body, "readable", "schema")):
            assert proposal.text.strip(), "a proposal says what it does"


def repair_keeps_no_state(make: "Callable[[], Repair]") -> None:
    """The same file has the same proposals, whatever was asked in between."""
    repair = make()
    damaged = _held(_lines(factor=1000.0), "unit_change", "range", "missing_rate")
    first = [proposal.sheet.body() for proposal in repair.propose(damaged)]
    repair.propose(_held(b"\xe9,\n"))
    assert [proposal.sheet.body() for proposal in repair.propose(damaged)] == first, "the answer changed"


def repair_is_reversible(make: "Callable[[], Repair]") -> None:
    """What it does to a text file can be taken back to the byte by its record alone."""
    from modelwright.monitoring.healing.logs import compared, undone

    twice = _lines() + _lines().split(b"\n", 1)[1]
    bodies = (_lines(factor=1000.0), twice, _lines().replace(b",", b";"), _lines().replace(b"amount", b"the_amount"))
    for body in bodies:
        damaged = _held(body, "unit_change", "range", "duplicate_key", "schema")
        for one in make().propose(damaged):
            before = one.before or damaged.sheet
            assert before is not None, "a file that cannot be read is proposed with how it was read"
            step = compared(before, one.sheet, "it@1", one.text, taken=one.taken, forward=dict(one.forward))
            assert undone([step], one.sheet.body()) == body, f"it cannot be taken back: {one.text}"


REPAIR_CHECKS: "tuple[Callable[[Callable[[], Repair]], None], ...]" = (
    repair_says_what_it_is,
    repair_leaves_a_file_alone_of_which_nothing_is_wrong,
    repair_copes_with_any_bytes,
    repair_keeps_no_state,
    repair_is_reversible,
)


def _lines(*, factor: float = 1.0) -> bytes:
    amounts = ((n * 37 % 101) / 4 * factor for n in range(96))
    times = (f"2026-01-{1 + n // 24:02d}T{n % 24:02d}:00:00Z" for n in range(96))
    rows = (f"{time},{amount},{'ab'[int(amount) % 2]}" for time, amount in zip(times, amounts, strict=True))
    return "\n".join(["at,amount,kind", *rows, ""]).encode()


def _held(body: bytes, *checks: str) -> "Damaged":
    from modelwright.events import Finding
    from modelwright.monitoring.healing.past import Past
    from modelwright.monitoring.healing.repairs import Damaged
    from modelwright.monitoring.reading import read_rows

    _, source = _table()
    findings = (Finding(check=name, column="amount", severity="block", text="odd") for name in checks)
    past = Past(source, (read_rows(_lines(), source).typed,) * 3)
    return Damaged(body, source, tuple(findings), past, _WINDOW.end)


# --- judges ------------------------------------------------------------------------------


def judge_waits_without_evidence(make: Callable[[], Judge]) -> None:
    """Nothing seen is no reason to go on, nor to stop."""
    verdict = make().judge(Sums(0, 0.0, 0.0), step_rows=0, looks=2, policy=RolloutPolicy())
    assert verdict.decision == "wait", f"no evidence is no reason to {verdict.decision}"
    assert verdict.text.strip(), "a verdict says why"


def judge_sees_clear_harm_and_passes_clear_gain(make: Callable[[], Judge]) -> None:
    """Ten thousand rows that all say the same leave no doubt."""
    for mean, expected in ((0.05, "harm"), (-0.05, "pass")):
        evidence = Sums(10_000, mean * 10_000, 0.02 * 10_000)
        verdict = make().judge(evidence, step_rows=10_000, looks=2, policy=RolloutPolicy())
        assert verdict.decision == expected, f"a mean difference of {mean} is {expected}, not {verdict.decision}"
        assert verdict.judgement.low <= mean <= verdict.judgement.high, "the interval holds the mean"
        assert verdict.judgement.rows == 10_000, "the judgement counts its rows"


def judge_keeps_no_state(make: Callable[[], Judge]) -> None:
    """The same evidence has the same verdict, whatever was judged in between."""
    judge, policy = make(), RolloutPolicy()
    first = judge.judge(Sums(500, 1.0, 5.0), step_rows=500, looks=2, policy=policy)
    judge.judge(Sums(500, 400.0, 450.0), step_rows=500, looks=2, policy=policy)
    assert judge.judge(Sums(500, 1.0, 5.0), step_rows=500, looks=2, policy=policy) == first


JUDGE_CHECKS: tuple[Callable[[Callable[[], Judge]], None], ...] = (
    judge_waits_without_evidence,
    judge_sees_clear_harm_and_passes_clear_gain,
    judge_keeps_no_state,
)


# --- triggers ----------------------------------------------------------------------------


def trigger_gives_a_reason_or_nothing(make: Callable[[], Trigger]) -> None:
    """Whatever comes, about whatever is known of a model, the answer is text."""
    known = Standing(model="churn", champion=1, champion_since=_WINDOW.start, labels_since=10**9)
    for standing in (Standing(model="churn"), known):
        for kind in ("performance", "estimated", "drift", "labels", "schedule", "manual"):
            reason = make().fires(Cause(kind, "id", "text", 1), standing, RetrainingPolicy(), _WINDOW.end)
            assert isinstance(reason, str), f"a reason is text, not {type(reason).__name__}"


def trigger_never_fires_on_drift(make: Callable[[], Trigger]) -> None:
    """Drift of inputs is evidence, never alone a reason to train."""
    cause = Cause("drift", "id", "everything moved")
    assert not make().fires(cause, Standing(model="churn"), RetrainingPolicy(), _WINDOW.end)


TRIGGER_CHECKS: tuple[Callable[[Callable[[], Trigger]], None], ...] = (
    trigger_gives_a_reason_or_nothing,
    trigger_never_fires_on_drift,
)


# --- trainers ----------------------------------------------------------------------------


def trainer_is_made_of_the_environment(make: TrainerClass) -> None:
    """A trainer is made of variables, does nothing then, and has a method `start`."""
    assert callable(getattr(make({}), "start", None)), "a trainer has a method `start`"


def trainer_says_what_it_lacks(make: TrainerClass) -> None:
    """Without what it needs, a trainer raises ``Unavailable``, so that it is tried again, or ``InvalidInput``.

    The latter where it never will: a policy's options are wrong, and the training fails at once.
    """
    try:
        make({}).start(Job("default", "01TRAINING", "churn"))
    except (Unavailable, InvalidInput) as error:
        said = str(error)
    else:
        said = "it needs nothing"
    assert said.strip(), "the error says what is missing"


def trainer_names_an_option_that_it_does_not_know(make: TrainerClass) -> None:
    """A policy's option that the trainer has no use for is ``InvalidInput`` with its name, not passed over."""
    environment = dict.fromkeys(("MODELWRIGHT_TRAIN_FUNCTION", "MODELWRIGHT_TRAIN_ENVIRONMENT"), "{}")
    job = Job("default", "01TRAINING", "churn", {"no_such_option": 1}, reserved=1.0)
    try:
        make(environment).start(job)
    except InvalidInput as error:
        said = str(error)
    else:
        said = ""
    assert "trainer_options." in said, "the error names the option"


TRAINER_CHECKS: tuple[Callable[[TrainerClass], None], ...] = (
    trainer_is_made_of_the_environment,
    trainer_says_what_it_lacks,
    trainer_names_an_option_that_it_does_not_know,
)


# --- estimators of performance -----------------------------------------------------------

EstimatorCheck = Callable[[Callable[[], "Estimator"]], None]


def estimator_says_what_it_is(make: "Callable[[], Estimator]") -> None:
    """An estimator has a name, tasks that it knows, and says what it assumes."""
    estimator = make()
    assert estimator.name, "an estimator has a name"
    assert set(estimator.tasks) <= {"classification", "regression", "forecasting"}, "of a ranking no row has a loss"
    assert estimator.tasks, "an estimator knows some task"
    assert "assumes" in estimator.assumes, "an estimate is true under assumptions: say which"


def estimator_gives_intervals_and_always_the_same(make: "Callable[[], Estimator]") -> None:
    """Estimates are finite and within their intervals, and the same for the same rows and seed."""
    import math

    for task in make().tasks[:2]:
        known, unknown = _answered(task, seed=1), _answered(task, seed=2)
        found = make().estimate(known, unknown, 7)
        assert found, f"an estimator says something of {task}"
        for name, one in found.items():
            assert all(math.isfinite(value) for value in (one.low, one.value, one.high)), f"{name} is finite"
            assert one.low <= one.value <= one.high, f"{name} lies within its interval"
        assert make().estimate(known, unknown, 7) == found, "the same rows and seed give the same"


def estimator_is_surer_of_more_rows(make: "Callable[[], Estimator]") -> None:
    """Of sixteen times as many rows the intervals are narrower."""
    for task in make().tasks[:2]:
        known = _answered(task, seed=1)
        few, many = (make().estimate(known, _answered(task, seed=3, rows=rows), 7) for rows in (100, 1600))
        for name, one in few.items():
            assert many[name].high - many[name].low < one.high - one.low, f"{name} is surer of more rows"


def _answered(task: str, seed: int, rows: int = 800) -> "Answers":
    import numpy as np
    import pandas as pd

    from modelwright.monitoring.performance.estimators import Answers

    rng = np.random.default_rng(seed)
    x, kind = rng.normal(size=rows), rng.choice(["a", "b"], rows)
    score = 1 / (1 + np.exp(-x)) if task == "classification" else 2 * x
    odd = (rng.uniform(size=rows) < score).astype(np.float64)
    label = odd if task == "classification" else score + rng.normal(size=rows)
    return Answers(score, rng.integers(0, 10, rows), pd.DataFrame({"x": x, "kind": kind.astype(object)}), label)


ESTIMATOR_CHECKS: tuple[EstimatorCheck, ...] = (
    estimator_says_what_it_is,
    estimator_gives_intervals_and_always_the_same,
    estimator_is_surer_of_more_rows,
)


# --- flavors -----------------------------------------------------------------------------


def flavor_refuses_a_folder_that_is_not_its_own(make: Callable[[], Flavor]) -> None:
    """Files of another kind raise ``PluginError``, and a missing one ``NotFound``."""

    def missing(name: str) -> bytes:
        raise NotFound(name)

    for read in (lambda _: b"not a model", missing):
        try:
            make().load(read, {})
        except (PluginError, NotFound):
            continue
        raise AssertionError("a folder that holds no model was loaded")


def flavor_scores_each_row_alone(make: Callable[[], Flavor], read: Folder, frame: "pd.DataFrame") -> None:
    """A row's score is the same to the bit alone, in any batch, and in any order.

    Args:
        make: the flavor.
        read: a folder that holds a model of it.
        frame: a hundred rows or more that the model can score.
    """
    score = make().load(read, {})
    whole = score(frame)
    assert len(whole) == len(frame), "one score per row"
    for size in (1, 7, 64):
        for start in range(0, min(4 * size, len(frame)), size):
            part = score(frame.iloc[start : start + size])
            assert part == whole[start : start + size], f"scores of {size} rows differ from those of all"
    assert score(frame.iloc[::-1]) == whole[::-1], "scores depend on the order of rows"


FLAVOR_CHECKS: tuple[Callable[[Callable[[], Flavor]], None], ...] = (flavor_refuses_a_folder_that_is_not_its_own,)


# --- engines -----------------------------------------------------------------------------


def _engine_project() -> "Project":
    from modelwright.project import Project

    columns = {
        "row": {"type": "integer"},
        "who": {"type": "string"},
        "at": {"type": "timestamp"},
        "known": {"type": "timestamp"},
        "amount": {"type": "number", "nullable": True, "decimals": 2},
    }
    kinds = ("count", "sum", "mean", "std", "min", "max", "last", "distinct", "quantile")
    aggregates = {kind: {"function": kind, "column": "amount"} for kind in kinds}
    newest = {"entity": ["who"], "source": "sales", "features": ["amount"], "ttl": "6h"}
    rolled = {"entity": ["who"], "source": "sales", "aggregates": aggregates, "windows": ["1h", "4h"]}
    source = {"columns": columns, "key": ["row"], "event_time": "at", "available_at": "known"}
    views = {"newest": newest, "rolled": rolled, "by_event": {**rolled, "by": "event_time"}}
    return Project.model_validate({"name": "shop", "sources": {"sales": source}, "views": views})


def _joined(make: Callable[[], "Engine"], rows: "pa.Table", **options: Any) -> "pa.Table":
    """Join rows by an engine with a small history, in which rows are late, corrected, and moved."""
    import pyarrow as pa

    from modelwright.adapters.memory import MemoryBlobs, MemoryTables
    from modelwright.features.history import ARROW, History, canonical, fold
    from modelwright.features.plan import service_of

    project, tables = _engine_project(), MemoryTables()
    declared = project.sources["sales"]
    history = History(blobs=MemoryBlobs(), tables=tables, workspace="w", cache={})
    for part in range(3):
        said: dict[str, list[Any]] = {name: [] for name in declared.columns}
        for n in range(40):
            at = _WINDOW.start + timedelta(minutes=(n * 37 + part * 11) % 480)
            late = timedelta(minutes=(n * 13 + part * 7) % 90 + part * 60)
            amount = None if n % 11 == 3 else (n * 17 % 23 - 11) / 4
            row = (n % (40 - part * 15), f"c{n % 3}", at, at + late, amount)
            for name, value in zip(declared.columns, row, strict=True):
                said[name].append(value)
        table = pa.table({name: pa.array(said[name], ARROW[c.type]) for name, c in declared.columns.items()})
        manifest = history.manifest("sales")
        came = canonical(declared, table, now_us=0, arrival=f"{part}")
        folded = fold(history, "sales", declared, manifest, came)
        tables.write([history.replacement("sales", manifest, folded.partitions)])
    features = [f"{name}:{feature}" for name, view in project.views.items() for feature in view.feature_names()]
    service = service_of(project, features)
    engine = make()
    return engine.historical(project, service, rows, history=history, workspace="w", load=_no_code, **options)


def _no_code(reference: str) -> Any:
    raise NotFound(f"there is no {reference}")


def _asked() -> "pa.Table":
    import pyarrow as pa

    who = [f"c{n % 4}" if n % 9 else None for n in range(60)]
    times = [_WINDOW.start + timedelta(minutes=n * 29 % 700) if n % 13 else None for n in range(60)]
    clock = pa.array(times, pa.timestamp("us", tz="UTC"))
    return pa.table({"label": list(range(60)), "who": who, "event_timestamp": clock})


def engine_keeps_the_rows(make: Callable[[], "Engine"]) -> None:
    """Rows come back in their order and as often as they were given, with all their columns."""
    import pyarrow as pa

    asked = pa.concat_tables([_asked(), _asked().slice(10, 20)])
    assert _joined(make, asked).select(asked.column_names).equals(asked), "rows were lost, changed or put in order"
    assert _joined(make, asked.slice(0, 0)).num_rows == 0, "no rows give no rows"


def engine_answers_as_the_arrow_engine_does(make: Callable[[], "Engine"]) -> None:
    """Every feature is equal to the bit to what the engine ``arrow`` says, by availability and by event time alone."""
    from modelwright.features.arrow import ArrowEngine

    for available in (True, False):
        mine, theirs = (_joined(one, _asked(), available=available) for one in (make, ArrowEngine))
        for name in theirs.column_names:
            assert mine[name].to_pylist() == theirs[name].to_pylist(), f"{name} differs (available={available})"


def engine_gives_nulls_for_what_has_no_key_or_time(make: Callable[[], "Engine"]) -> None:
    """A row whose join key or time is null gets nulls, a row of an unknown entity sums of nothing."""
    for row in _joined(make, _asked()).to_pylist():
        if row["who"] is None or row["event_timestamp"] is None:
            assert all(row[name] is None for name in row if ":" in name), "a null key or time gets nulls"
        elif row["who"] == "c3":
            assert row["rolled:count_1h"] == 0, "nothing was counted of an unknown entity"
            assert row["rolled:mean_1h"] is None, "there is no mean of nothing"


def engine_names_what_is_missing(make: Callable[[], "Engine"]) -> None:
    """Rows without a request column raise ``InvalidInput`` that names it."""
    try:
        _joined(make, _asked().drop_columns(["who"]))
    except InvalidInput as error:
        said = str(error)
    else:
        raise AssertionError("rows without a join key were joined")
    assert "who" in said, "the error names the column"


ENGINE_CHECKS: tuple[Callable[[Callable[[], "Engine"]], None], ...] = (
    engine_keeps_the_rows,
    engine_answers_as_the_arrow_engine_does,
    engine_gives_nulls_for_what_has_no_key_or_time,
    engine_names_what_is_missing,
)
