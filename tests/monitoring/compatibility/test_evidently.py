"""Evidently's figures, its choices and its faults."""

from functools import partial
from typing import Any

from modelwright.monitoring.compatibility import evidently
from modelwright.monitoring.compatibility.cells import finite
from monitoring.compatibility.parity import attempt, compare, figures, is_number, raw

LEFT_OUT = {
    "/versions/*": "which releases gave the figures",
    "/registered/*text_content_drift/*": "no column here is prose: strings are categories",
    "/registered/TVD/*": "1,000 permutations of rows; nobody's default, and no figure to compare with",
    "/registered/empirical_mmd/*": "nobody's default, and no figure to compare with",
}
OWN_WORDS = ("*/fisher_exact/error", "*/es/error")


def _column(name: str, listed: dict[str, Any]) -> dict[str, Any]:
    reference, window = finite(raw("reference", name)), finite(raw("current", name))
    kind: evidently.Kind = "num" if is_number(name) else "cat"
    default = evidently.default_method(reference, window, kind)

    def one(method: str) -> Any:
        found = evidently.METHODS[method]
        score = found.score(reference, window, kind)
        return {"drifted": found.drifted(score), "score": score, "threshold": found.threshold}

    computed = {method: attempt(partial(one, method)) for method in evidently.METHODS if method in listed}
    return {
        **computed,
        "default_method": default,
        "default": {**one(default), "method": evidently.METHODS[default].title},
    }


def _preset(columns: dict[str, Any], without: set[str]) -> list[dict[str, Any]]:
    order = [name for name in ORDER if name not in without]
    drifted = sum(columns[name]["default"]["drifted"] for name in order)
    count = {
        "config": {"drift_share": evidently.DRIFT_SHARE},
        "name": f"DriftedColumnsCount(drift_share={evidently.DRIFT_SHARE})",
        "value": {"count": float(drifted), "share": drifted / len(order)},
    }
    metrics = []
    for name in order:
        default = columns[name]["default"]
        config = {"column": name, "method": default["method"], "threshold": default["threshold"]}
        said = ",".join(f"{key}={value}" for key, value in config.items())
        metrics.append({"config": config, "name": f"ValueDrift({said})", "value": default["score"]})
    return [count, *metrics]


ORDER = [
    "num_same", "num_shift", "num_scale", "num_heavy", "num_lognormal", "num_constant", "num_constant_changed",
    "num_nan", "num_inf", "num_outlier", "num_outside", "int_ties", "int_rounded", "int_few", "cat_same", "cat_shift",
    "cat_new", "cat_missing", "cat_new_and_missing", "cat_nan", "cat_high_card", "cat_binary", "bool_shift",
]  # fmt: skip


def test_every_figure_of_evidently_comes_out_and_its_errors_stay_errors() -> None:
    expected = figures("evidently")
    listed = expected["pairs"]["medium"]
    columns = {name: _column(name, found) for name, found in listed["columns"].items()}
    constants = {"num_constant", "num_constant_changed"}
    computed = {
        "pairs": {
            "medium": {
                "columns": columns,
                "DataDriftPreset_report": {
                    "without:": _preset(columns, set()),
                    "without:num_constant,num_constant_changed": _preset(columns, constants),
                },
            }
        },
        "registered": {
            name: {"default_threshold": one.threshold, "types": sorted(one.kinds)}
            for name, one in evidently.METHODS.items()
        },
    }
    found = compare(expected, computed, left_out=LEFT_OUT, own_words=OWN_WORDS)
    assert not found.wrong
    assert not found.passed_over
    assert not found.idle
    assert (found.reproduced, len(found.left_out)) == (1059, 12)
