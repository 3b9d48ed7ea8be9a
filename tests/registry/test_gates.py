"""What each light gate says, of which figures, and what it asks people to do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright import plugins
from modelwright.errors import NotFound, PluginError, Unavailable
from modelwright.events import Estimate, Evaluation, GateResult
from modelwright.plugins import Candidate, Gate
from modelwright.project import GatePolicy
from modelwright.registry import fullgates, gates
from modelwright.registry.signatures import Signature, incompatibilities, told
from modelwright.testing import GATE_CHECKS

LIGHT: dict[str, type[Gate]] = {
    "beats_champion": gates.BeatsChampion,
    "card_complete": gates.CardComplete,
    "data_known": gates.DataKnown,
    "features_known": gates.FeaturesKnown,
    "metric_floor": gates.MetricFloor,
    "no_quarantine": gates.NoQuarantine,
    "parity_proven": gates.ParityProven,
    "signature_compatible": gates.SignatureCompatible,
    "size_budget": gates.SizeBudget,
}
FULL: dict[str, type[Gate]] = {"latency_budget": fullgates.LatencyBudget, "not_inferior": fullgates.NotInferior}
BARE = Candidate("churn", 3, "champion", champion=2)
AGE, NAME = {"name": "age", "type": "double"}, {"name": "name", "type": "string"}


def verdict(gate: type[Gate], candidate: Candidate = BARE, **policy: Any) -> tuple[bool, str]:
    result = gate().check(candidate, GatePolicy.model_validate(policy))
    return result.passed, result.text


@pytest.mark.parametrize("check", GATE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", [*LIGHT.values(), *FULL.values()], ids=[*LIGHT, *FULL])
def test_our_gates_keep_the_contract(make: Callable[[], Gate], check: Callable[[Callable[[], Gate]], None]) -> None:
    check(make)


class Careless:
    """A gate that believes what clients write."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        rows = candidate.scored() or b"1"
        return GateResult(gate="careless", passed=True, text=f"{int(rows)} rows")


class Fooled(Careless):
    """A gate that takes any file for evidence."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        return GateResult(gate="fooled", passed=candidate.scored() is not None, text="there are predictions")


@pytest.mark.parametrize(("make", "error"), [(Careless, ValueError), (Fooled, AssertionError)])
def test_the_contract_finds_gates_that_break_it(make: Callable[[], Gate], error: type[Exception]) -> None:
    def every_check() -> None:
        for check in GATE_CHECKS:
            check(make)

    with pytest.raises(error):
        every_check()


def test_each_gate_is_installed_under_the_name_that_its_verdicts_have() -> None:
    assert {name: type(plugins.gate(name)) for name in plugins.installed("gates")} == LIGHT
    assert {name: type(plugins.full_gate(name)) for name in plugins.full_gates()} == FULL
    for name, make in {**LIGHT, **FULL}.items():
        assert make().check(BARE, GatePolicy()).gate == name


class Odd:
    """A gate of somebody else's."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def check(self, candidate: Candidate, policy: GatePolicy) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (KeyError("auc"), "the gate odd failed: KeyError: 'auc'"),
        (NotFound("no file x"), "the gate odd failed: NotFound: no file x"),
        (PluginError("not today"), "not today"),
        (True, "the gate odd gave a bool, not a GateResult"),
    ],
)
def test_a_gate_that_fails_says_no_and_why(answer: Any, said: str) -> None:
    found = plugins.verdict("odd", lambda _: Odd(answer), BARE, GatePolicy())
    assert found == GateResult(gate="odd", passed=False, text=said)


@pytest.mark.parametrize("answer", [GateResult(gate="odd", passed=False, text="x" * 10**6), KeyError("x" * 10**6)])
def test_of_what_a_gate_says_so_much_is_kept(answer: Any) -> None:
    assert len(plugins.verdict("odd", lambda _: Odd(answer), BARE, GatePolicy()).text) == 4_000


def test_a_gate_that_nobody_installed_says_no_and_names_those_that_are() -> None:
    found = plugins.verdict("beauty", plugins.gate, BARE, GatePolicy())
    assert not found.passed
    assert "no plugin beauty of gates: installed are beats_champion" in found.text


def test_what_does_not_answer_now_is_asked_again() -> None:
    with pytest.raises(Unavailable):
        plugins.verdict("odd", lambda _: Odd(Unavailable("S3 is away")), BARE, GatePolicy())


# --- against the champion ----------------------------------------------------------------


def evaluation(**changes: Any) -> Evaluation:
    said: dict[str, Any] = {
        "rows": 100,
        "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-15T00:00:00Z"},
        "challenger_auc": Estimate(value=0.7, low=0.6, high=0.8),
        "challenger_brier": 0.2,
        "brier_difference": Estimate(value=-0.01, low=-0.02, high=-0.001),
    }
    return Evaluation.model_validate(said | changes)


def test_a_comparison_with_a_version_that_is_champion_no_more_proves_nothing() -> None:
    judged = replace(BARE, evaluation=evaluation(champion="d1" * 32), champion_digest="d2" * 32)
    passed, text = verdict(gates.BeatsChampion, judged)
    assert not passed
    assert text == "its evaluation is against d1d1d1d1d1d1d1d1, which champion v2 is not: train again"
    for said in ("d2" * 32, "2", ""):
        assert verdict(gates.BeatsChampion, replace(judged, evaluation=evaluation(champion=said)))[0], said
    assert not verdict(gates.BeatsChampion, replace(judged, evaluation=evaluation(champion="1")))[0]


def test_the_verdict_has_the_interval_the_limit_and_both_versions() -> None:
    passed, text = verdict(gates.BeatsChampion, replace(BARE, evaluation=evaluation()), tolerance=0.002)
    assert passed
    assert text == (
        "brier of v3 against champion v2 differs by -0.0100 [-0.0200, -0.0010]; the upper end must be at most +0.0020"
    )


@pytest.mark.parametrize("metric", ["rmse", "mae", "log_loss"])
def test_a_floor_of_any_loss_is_a_ceiling(metric: str) -> None:
    assert verdict(gates.MetricFloor, replace(BARE, metrics={metric: 0.3}), metric=metric, floor=0.5)[0]
    assert not verdict(gates.MetricFloor, replace(BARE, metrics={metric: 0.7}), metric=metric, floor=0.5)[0]


# --- signatures --------------------------------------------------------------------------


def signed(*inputs: dict[str, Any], outputs: Any = ({"type": "double"},), params: Any = ()) -> str:
    document = {"signature": {"inputs": list(inputs), "outputs": list(outputs), "params": list(params)}}
    return told(document)


@pytest.mark.parametrize(
    ("ours", "theirs", "fault"),
    [
        (signed(AGE, NAME), signed(AGE), "input name is new and required"),
        (signed({**AGE, "type": "long"}), signed(AGE), "input age is long, it was double"),
        (signed(AGE), signed({**AGE, "required": False}), "input age is required, it was optional"),
        (signed(AGE, outputs=[{"type": "string"}]), signed(AGE), "output #1 is string, it was double"),
        (signed(AGE, outputs=[{"type": "double"}] * 2), signed(AGE), "output #2 is new"),
        (signed(AGE), signed(AGE, outputs=[{"type": "double"}] * 2), "output #2 is gone"),
        (signed(AGE), signed(AGE, params=[{"name": "t", "type": "double"}]), "parameter t is gone"),
    ],
)
def test_what_breaks_the_champions_callers_is_named(ours: str, theirs: str, fault: str) -> None:
    passed, text = verdict(gates.SignatureCompatible, replace(BARE, signature=ours, champion_signature=theirs))
    assert (passed, text) == (False, f"callers of champion v2 cannot call churn v3: {fault}")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (signed(AGE), signed(AGE)),
        (signed(AGE), signed(AGE, NAME)),
        (signed(AGE, {**NAME, "required": False}), signed(AGE)),
        (signed({**AGE, "optional": True}), signed(AGE)),
        (signed(AGE, params=[{"name": "t", "type": "double"}]), signed(AGE)),
        ("", ""),
        (signed(AGE), ""),
    ],
)
def test_what_callers_do_not_notice_is_compatible(ours: str, theirs: str) -> None:
    assert verdict(gates.SignatureCompatible, replace(BARE, signature=ours, champion_signature=theirs))[0]


def test_a_version_without_a_signature_cannot_follow_a_champion_that_has_one() -> None:
    passed, text = verdict(gates.SignatureCompatible, replace(BARE, champion_signature=signed(AGE)))
    assert not passed
    assert "infer_signature" in text


def test_a_new_feature_that_the_platform_serves_is_no_matter_of_callers() -> None:
    grown = replace(BARE, signature=signed(AGE, NAME), champion_signature=signed(AGE))
    assert verdict(gates.SignatureCompatible, replace(grown, known_features=frozenset({"name"})))[0]


columns = st.builds(
    lambda name, kind, required: {"name": name, "type": kind, "required": required},
    st.sampled_from("abcd"),
    st.sampled_from(["double", "string"]),
    st.booleans(),
)
signatures = st.lists(columns, min_size=1, max_size=4, unique_by=lambda c: c["name"]).map(lambda c: signed(*c))


@given(signatures)
def test_a_signature_is_compatible_with_itself(text: str) -> None:
    same = Signature.read(text)
    assert same
    assert incompatibilities(same, same) == []


@given(signatures, st.data())
def test_a_call_that_the_champion_takes_a_compatible_version_takes(theirs: str, data: st.DataObject) -> None:
    ours = data.draw(signatures)
    champion, version = Signature.read(theirs), Signature.read(ours)
    assert champion
    assert version
    call = {c.name: c.kind for c in champion.inputs if c.required or data.draw(st.booleans())}
    if not incompatibilities(version, champion):
        assert all(c.name in call for c in version.inputs if c.required)
        assert all(call[c.name] == c.kind for c in version.inputs if c.name in call)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"inputs":[1]}', '{"inputs":"nonsense"}', "[" * 5000])
def test_what_is_no_signature_is_none(text: str) -> None:
    assert Signature.read(text) is None


# --- the rest ----------------------------------------------------------------------------


def test_features_that_the_project_does_not_serve_are_named() -> None:
    fed = replace(BARE, features=("age", "mood", "aura"), known_features=frozenset({"age"}))
    passed, text = verdict(gates.FeaturesKnown, fed)
    assert not passed
    assert "no mood, aura, which churn v3 is fed" in text
    assert verdict(gates.FeaturesKnown, replace(fed, features=("age",))) == (
        True,
        "all 1 features of churn v3 come from the project",
    )
    assert "log it with a signature" in verdict(gates.FeaturesKnown)[1]


def test_a_long_list_is_cut() -> None:
    fed = replace(BARE, features=tuple(f"f{n}" for n in range(25)))
    assert "f9 and 15 more" in verdict(gates.FeaturesKnown, fed)[1]


def test_parity_is_proven_or_not() -> None:
    assert not verdict(gates.ParityProven)[0]
    passed, text = verdict(gates.ParityProven, replace(BARE, parity="a" * 64, parity_rows=16))
    assert passed
    assert text == f"16 rows were computed again as they are served, and are equal to the bit (proof {'a' * 16})"


@pytest.mark.parametrize(("size", "passes"), [(1000, True), (1001, False), (None, False)])
def test_a_size_has_a_limit(size: int | None, passes: bool) -> None:
    passed, text = verdict(gates.SizeBudget, replace(BARE, size=size), max_bytes=1000)
    assert passed is passes
    assert "1,000" in text if size else "not known" in text


def test_sections_that_a_card_lacks_are_named_with_where_to_write_them() -> None:
    passed, text = verdict(gates.CardComplete, replace(BARE, card=frozenset({"owner"})))
    assert not passed
    assert text == (
        "the card of churn v3 lacks intended_use, limitations: write or confirm them: "
        "PUT /v1/models/churn/versions/3/card"
    )
    assert verdict(gates.CardComplete, replace(BARE, card=frozenset({"owner"})), card=["owner"])[0]


def test_data_in_quarantine_is_named() -> None:
    passed, text = verdict(gates.NoQuarantine, replace(BARE, quarantined=("weather/a.parquet of weather",)))
    assert not passed
    assert "weather/a.parquet of weather" in text
    assert verdict(gates.NoQuarantine)[0]
