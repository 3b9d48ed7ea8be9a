import math
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.events import ColumnDrift
from modelwright.monitoring.documents import merged
from modelwright.monitoring.profiles import Profile, Reference
from modelwright.monitoring.verdict import Verdict, enough
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import Baseline, DriftPolicy
from monitoring.verdict.windows import START, USED, drawn, moved, profile, reference, source_of, verdict

ONE = DriftPolicy(windows=1, agreeing=1)


@cache
def usual() -> Reference:
    return reference()


def of(found: Verdict, column: str, detector: str) -> ColumnDrift:
    (one,) = (one for one in found.columns if (one.column, one.detector) == (column, detector))
    return one


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 400))
def test_a_window_that_is_the_reference_never_drifts(seed: int, rows: int) -> None:
    same = profile(drawn(seed, rows))
    found = verdict(same, Reference((same,)), DriftPolicy(windows=1, agreeing=1, min_rows=10))
    assert not any(found.moved)
    assert all(one.effect == pytest.approx(0, abs=1e-9) for one in found.columns)
    assert (found.share, found.dataset) == (0, False)


@settings(max_examples=20, deadline=None)
@given(st.permutations(["x", "y", "z", "word", "yes"]), st.permutations(range(len(USED))), st.integers(0, 50))
def test_the_order_of_columns_and_detectors_does_not_matter(columns: list[str], order: list[int], seed: int) -> None:
    values = drawn(seed, shift=0.5)
    there = verdict(profile(values), usual(), ONE)
    mixed = verdict(profile({name: values[name] for name in columns}), usual(), ONE, None, [USED[n] for n in order])
    assert moved(there) == moved(mixed)
    assert there.share == mixed.share
    assert {(c.column, c.detector): c.p_adjusted for c in there.columns} == pytest.approx(
        {(c.column, c.detector): c.p_adjusted for c in mixed.columns}
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0.3, 8), min_size=2, max_size=4, unique=True))
def test_what_is_found_of_a_shift_is_found_of_a_larger_one(seed: int, shifts: list[float]) -> None:
    found = [verdict(profile(drawn(seed, shift=shift)), usual(), ONE) for shift in sorted(shifts)]
    effects = [of(one, "x", "ks").effect for one in found]
    # samples are the same but for the shift; both tails may cross before the shift is all there is
    assert effects == sorted(effects)
    said = [("x", "ks") in moved(one) for one in found]
    assert said == sorted(said)


def test_a_small_effect_is_no_drift_however_small_its_p_value() -> None:
    many = Reference(tuple(profile({"x": drawn(n, 30_000)["x"]}, n) for n in range(-3, 0)))
    found = verdict(profile({"x": drawn(9, 30_000, shift=0.1)["x"]}), many, ONE)
    one = of(found, "x", "ks")
    assert one.p_adjusted is not None
    assert one.p_adjusted < 1e-6
    assert one.effect < one.floor
    assert not any(found.moved)
    assert moved(verdict(profile({"x": drawn(9, 30_000, shift=0.2)["x"]}), many, ONE)) == {("x", "ks")}


def test_windows_have_to_agree_and_it_is_said_since_when() -> None:
    votes, said = DriftVotes(), []
    for day, shift in enumerate([0.0, 1, 0, 1, 1, 0, 0, 0, 1]):
        found = verdict(profile(drawn(day, shift=shift), day), usual(), None, votes)
        votes = found.votes
        said.append([(one.column, (one.since - START).days) for one in found.drifted if one.since])
    assert said == [[], [], [], [("x", 1)], [("x", 1)], [], [], [], []]
    assert votes.newest == START + timedelta(days=8, hours=23, microseconds=1)
    assert votes.since["x|ks"] == START + timedelta(days=8)  # the run before ended with three quiet windows


def test_votes_of_before_since_was_kept_still_count() -> None:
    old = DriftVotes.model_validate_json('{"version": 3, "votes": {"x|ks": [false, true], "gone|ks": [true]}}')
    found = verdict(profile(drawn(1, shift=1), 5), usual(), None, old)
    (one,) = found.drifted
    assert (one.column, one.since) == ("x", None)
    assert found.votes.votes["x|ks"] == (False, True, True)


def test_a_verdict_explains_itself() -> None:
    (one,) = verdict(profile(drawn(1, shift=1)), usual(), ONE).drifted
    assert (one.column, one.detector, one.since, one.segment, one.weight) == ("x", "ks", START, "", 1.0)
    assert one.reference == "8 uploads"
    assert one.text.startswith("mean 0.97 standard deviations higher (ks 0.")
    assert one.text.endswith("of which 0.06 matters)")
    quiet = of(verdict(profile(drawn(1)), usual(), ONE), "x", "ks")
    assert (quiet.drifted, quiet.since, quiet.text) == (False, None, "")


def test_missing_infinite_unseen_range_and_type_have_tests_of_their_own() -> None:
    values = drawn(1)
    values["y"] = [None if n % 5 == 0 else one for n, one in enumerate(values["y"])]
    values["x"] = [math.inf if n % 20 == 0 else one for n, one in enumerate(values["x"])]
    values["word"] = ["secret" if n % 10 == 0 else one for n, one in enumerate(values["word"])]
    values["z"] = [99 if n % 9 == 0 else one for n, one in enumerate(values["z"])]
    typed = Reference(tuple(profile(drawn(n), n, {"yes": "bool"}) for n in range(-3, 0)), "before")
    found = verdict(profile(values, types={"yes": "int64"}), typed, ONE)
    texts = {(one.column, one.detector): one.text for one in found.drifted}
    assert texts.keys() >= {("y", "missing"), ("x", "infinite"), ("word", "unseen"), ("z", "range"), ("yes", "type")}
    assert texts["y", "missing"].startswith("20.0% missing instead of 0.0%")
    assert texts["x", "infinite"].startswith("5.0% infinite instead of 0.0%")
    assert texts["word", "unseen"].startswith("10.0% of values were never seen before, 1 different ones")
    assert texts["yes", "type"].startswith("stored as int64 instead of bool")
    assert not any("secret" in text or "99" in text for text in texts.values()), "values of rows are nobody's business"


def test_what_accepted_uploads_differ_by_nature_raises_the_floor() -> None:
    weekly = Reference(tuple(profile(drawn(n, shift=0.6 * (-1) ** n), n) for n in range(-8, 0)), "restless")
    assert not any(verdict(profile(drawn(1, shift=0.6)), weekly, ONE).moved)
    calm = verdict(profile(drawn(1, shift=0.6)), usual(), ONE)
    assert moved(calm) == {("x", "ks")}
    far = verdict(profile(drawn(1, shift=2)), weekly, ONE)
    assert ("x", "ks") in moved(far)
    assert of(far, "x", "ks").floor > 0.3
    # records follow one another in nature too: a range is judged by how far uploads are outside all others
    assert ("x", "range") not in moved(verdict(profile(drawn(1, shift=1.5)), weekly, ONE))


def test_floors_importance_and_what_is_ignored_are_the_policys() -> None:
    window = profile(drawn(1, shift=1))
    assert not any(verdict(window, usual(), ONE.model_copy(update={"floors": {"ks": 0.9}})).moved)
    assert not any(verdict(window, usual(), ONE.model_copy(update={"ignore": ("x",)})).moved)
    plain = verdict(window, usual(), ONE)
    assert (plain.share, plain.dataset) == (0.2, False)
    weighted = verdict(window, usual(), ONE.model_copy(update={"importance": {"x": 6.0}}))
    assert (weighted.share, weighted.dataset, weighted.drifted[0].weight) == (0.6, True, 6.0)
    weightless = verdict(window, usual(), ONE.model_copy(update={"importance": {"x": 0.0}, "share": 0.1}))
    assert (weightless.share, weightless.dataset) == (0.0, False)


def test_a_window_of_several_files_is_judged_as_their_sum() -> None:
    hours = [profile(drawn(n, 100, shift=0.8), 1) for n in range(6)]
    day = merged(hours)
    together = {name: [value for n in range(6) for value in drawn(n, 100, shift=0.8)[name]] for name in drawn(0)}
    one, other = verdict(day, usual(), ONE), verdict(profile(together, 1), usual(), ONE)
    assert [c.effect for c in one.columns] == pytest.approx([c.effect for c in other.columns])


def test_too_little_is_not_judged() -> None:
    def judged(rows: int, uploads: int, kind: str = "sliding") -> bool:
        baseline = Baseline.model_validate({"kind": kind, "model": "m", "start": START, "end": START + timedelta(1)})
        policy = DriftPolicy(reference=baseline)
        return enough(profile(drawn(1, rows)), reference(uploads), policy)

    assert judged(100, 3)
    assert not judged(99, 3)
    assert not judged(100, 2)
    assert judged(100, 1, "training")
    assert judged(100, 1, "window")
    assert not judged(100, 2, "seasonal")


def test_a_column_that_is_new_gone_or_empty_is_no_error() -> None:
    values = drawn(1)
    empty: Profile = profile({**values, "x": [None] * 500})
    assert moved(verdict(empty, usual(), ONE)) == {("x", "missing")}
    newer = verdict(profile(values), Reference((profile({"y": drawn(3)["y"]}),)), ONE)
    assert {one.column for one in newer.columns} == {"y"}
    assert not verdict(profile({"x": values["x"]}), Reference(()), ONE).columns
    assert source_of().key[0] not in {one.column for one in newer.columns}
