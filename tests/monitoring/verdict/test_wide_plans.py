"""Plans of wide sources: quick, because columns that are alike are planned once, and still true."""

from collections.abc import Iterator, Sequence

import numpy as np

from modelwright.monitoring.documents import Reference
from modelwright.monitoring.profiles import pool
from modelwright.monitoring.verdict import sensitivity
from modelwright.monitoring.verdict.comparing import BEYOND_NATURAL, BY_CHANCE, compared, natural_floor
from modelwright.monitoring.verdict.likeness import leaders
from modelwright.project import Column, DriftPolicy, Source
from monitoring.verdict.windows import USED, drawn, profile, reference, source_of


def widened(usual: Reference, times: int) -> tuple[Reference, Source]:
    """Return a reference, and its source, in which every column comes so many times."""
    source = source_of(DriftPolicy())

    def names(name: str) -> Iterator[str]:
        return (f"{name}{number}" for number in range(times))

    columns = {n: source.columns[name] for name in usual.profiles[0].columns for n in names(name)}
    fixed = {"id": Column(type="string"), "at": Column(type="timestamp")}
    profiles = tuple(
        one.model_copy(update={"columns": {n: c for name, c in one.columns.items() for n in names(name)}})
        for one in usual.profiles
    )
    return Reference(profiles, usual.text), source.model_copy(update={"columns": {**fixed, **columns}})


def test_columns_that_are_alike_are_planned_once_and_the_plan_says_so() -> None:
    usual, source = widened(reference(4, 300), 9)
    used = [one for one in USED if one.name in ("ks", "missing")]
    plan = sensitivity.plan("rows", source, usual, used, 150, comparisons=45 * 30)
    assert len(plan.columns) == 45
    assert plan.notes == (
        "5 of 45 columns were planned, each for those that are like it"
        " (distributions that differ by 2% of rows at most)",
    )
    narrow = {one.column.rstrip("0123456789"): one for one in plan.columns}
    for one in plan.columns:
        named = one.model_copy(update={"column": one.column.rstrip("0123456789") + "0"})
        assert named == narrow[named.column[:-1]].model_copy(update={"column": named.column})
    assert narrow["x"].mean in (0.4, 0.5)  # as every column by itself has it
    assert plan.windows == 30
    assert plan.false_alarms.low <= 0.05


def test_columns_of_many_shapes_are_led_by_a_few_that_are_as_near_as_can_be() -> None:
    rng = np.random.default_rng(1)
    values = {f"x{n:02d}": list(rng.gamma(0.2 + n / 10, size=400)) for n in range(30)}
    usual = Reference((profile({"x": values["x00"]}),))
    column = usual.profiles[0].columns["x"]
    shaped = {name: profile({"x": list(numbers)}).columns["x"] for name, numbers in values.items()}
    usual = Reference((usual.profiles[0].model_copy(update={"columns": {**shaped, "y": column}}),))
    led, apart = leaders((*shaped, "y"), usual, 8)
    assert set(led) == {*shaped, "y"}
    assert 1 < len(set(led.values())) <= 8
    assert 0 < apart < 0.5
    assert led["y"] == led["x00"]
    assert leaders(("y",), usual, 8) == ({"y": "y"}, 0.0)


def test_what_other_uploads_have_too_needs_no_comparison() -> None:
    uploads: list[dict[str, Sequence[object]]] = [
        {**drawn(n, 120), "word": ["a", "b"] * 60 if n else ["new"] * 60 + ["a", "b"] * 30} for n in range(6)
    ]
    usual = Reference(tuple(profile(one, number) for number, one in enumerate(uploads)))
    source = source_of()
    for one in compared(profile(drawn(9, 120)), usual, source, USED):
        if one.detector.name not in ("range", "unseen"):
            continue
        parts = [upload.columns[one.name] for upload in usual.profiles]
        pairs = [(pool([*parts[:n], *parts[n + 1 :]]), part) for n, part in enumerate(parts)]
        effects = [one.detector.compare(*pair) for pair in pairs]
        real = [effect.effect for effect in effects if effect.p_value < BY_CHANCE / 6]
        assert natural_floor(one, usual, source.drift, None) == max(one.floor, BEYOND_NATURAL * max(real, default=0.0))
        assert one.name != "word" or real
