"""alibi-detect's figures, in its 32 bits, by our detectors."""

from typing import Any, Literal

import numpy as np
import scipy.stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from modelwright.monitoring.compatibility import evidently, samples
from modelwright.monitoring.compatibility.cells import finite, present
from modelwright.monitoring.detectors import Statistic, multivariate, numbers
from modelwright.monitoring.distributions import Distribution, Floats
from modelwright.monitoring.verdict import benjamini_hochberg
from monitoring.compatibility.parity import FLOAT32, compare, figures, is_number, raw

SEED = "drawn by TensorFlow's generator from a seed that nobody wrote down"
LEFT_OUT = {
    "/versions/*": "which releases gave the figures",
    "*/note": "a remark",
    "*/rows": "a remark",
    "*/columns/*": "names of the columns",
    "*/__LSDD_*/lsdd": f"its kernel centres are {SEED}",
    "*/__LSDD_*/p_val_100perm": f"its permutations are {SEED}",
}
ALPHA = 0.05
MIXED = 2e-5
"""Of sums of 160,000 kernel values in 32 bits."""
LAST = 1e-5
"""Of 1 - F where p is 2e-11: one unit in the last place of F, which differs between releases of numpy."""


def _single(value: float) -> float:
    return float(np.float32(value))


def _said(distance: float, p_value: float, *, single: bool = True) -> dict[str, Any]:
    rounded = _single if single else float
    drift = int(_single(p_value) < ALPHA)
    return {"distance_float32": rounded(distance), "is_drift": drift, "pvalue_float32": rounded(p_value)}


def _ks(name: str) -> Statistic:
    a, b = (Distribution.of(finite(raw(side, name))) for side in ("reference", "current"))
    return numbers.kolmogorov_smirnov(a, b)


def _chi_square(name: str) -> samples.Result:
    return samples.contingency(samples.table(*(present(raw(side, name)) for side in ("reference", "current"))))


def _fisher(name: str, alternative: Literal["two-sided", "greater"]) -> dict[str, Any]:
    counts = samples.table(*(present(raw(side, name)) for side in ("reference", "current")))
    return _said(*samples.fisher(counts, alternative), single=False)


def _column(name: str, listed: dict[str, Any]) -> dict[str, Any]:
    if not is_number(name):
        found = {"ChiSquareDrift": _said(*_chi_square(name))}
        if "FETDrift_greater" in listed:
            found["FETDrift_greater"] = _fisher(name, "greater")
            found["FETDrift_two_sided"] = _fisher(name, "two-sided")
        return found
    a, b = (finite(raw(side, name)) for side in ("reference", "current"))
    t = numbers.cramer_von_mises(Distribution.of(a), Distribution.of(b)).statistic
    found = {"KSDrift": _said(*_ks(name)), "CVMDrift": _said(t, evidently.cramer_von_mises(a, b, "num"))}
    if "KSDrift_with_nan_left_in" in listed:
        left_in = scipy.stats.ks_2samp(raw("reference", name), raw("current", name), method="asymp")
        found["KSDrift_with_nan_left_in"] = _said(left_in.statistic, left_in.pvalue)
    return found


def _together(listed: dict[str, Any], correction: str) -> dict[str, Any]:
    tests = [_ks(name) if is_number(name) else _chi_square(name) for name in listed["columns"]]
    p_values = [_single(test.p_value) for test in tests]
    if "fdr" in correction:
        drift, threshold = _discovered(p_values, ALPHA)
    else:
        threshold = ALPHA / len(p_values)
        drift = int(min(p_values) < threshold)
    return {
        "distance": [_single(test.statistic) for test in tests],
        "p_val": p_values,
        "is_drift": drift,
        "threshold": threshold,
    }


def _discovered(p_values: list[float], rate: float) -> tuple[int, float]:
    rejected = sum(benjamini_hochberg(p_values, rate))
    return int(rejected > 0), rejected / len(p_values) * rate


def _rows(side: str, names: list[str], start: int, stop: int) -> Floats:
    return np.column_stack([raw(side, name)[start:stop] for name in names]).astype(np.float64)


def _mmd(listed: dict[str, Any], *, drift: bool) -> dict[str, Any]:
    reference = _rows("reference", listed["columns"], 0, 400)
    window = _rows("current", listed["columns"], 0, 400) if drift else _rows("reference", listed["columns"], 400, 800)
    squares = ((reference[:, None, :] - reference[None, :, :]) ** 2).sum(axis=2)[np.triu_indices(400, 1)]
    sigma = float(np.sqrt(np.sort(squares)[(len(squares) - 1) // 2] / 2))
    return {
        "sigma": sigma,
        "mmd2": multivariate.mmd2(reference, window, sigma),
        "p_val_100perm": _permuted(np.concatenate([reference, window]), sigma),
    }


def _permuted(rows: Floats, sigma: float) -> float:
    kernel = multivariate.gaussian_kernel(rows, rows, sigma)
    np.fill_diagonal(kernel, 0)
    random = np.random.RandomState(0)

    def mmd2(order: Any) -> float:
        k = kernel[np.ix_(order, order)]
        return float((k[:400, :400].sum() + k[400:, 400:].sum()) / (400 * 399) - 2 * k[400:, :400].mean())

    found = mmd2(np.arange(800))
    return float(np.mean([found <= mmd2(random.permutation(800)) for _ in range(100)]))


def _classifier() -> dict[str, Any]:
    """Logistic regression on seven columns, out of fold; its solver stops early, ours at the optimum: one ranking."""
    names = ["num_same", "num_shift", "num_scale", "num_heavy", "num_lognormal", "int_ties", "int_rounded"]
    rows = np.concatenate([_rows(side, names, 0, 5000) for side in ("reference", "current")])
    labels = np.repeat([0, 1], [5000, 4000])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LogisticRegression(solver="newton-cholesky", max_iter=1000)
    scores = cross_val_predict(model, rows, labels, cv=folds, method="predict_proba")[:, 1]
    found = scipy.stats.ks_2samp(scores[labels == 0], scores[labels == 1], alternative="greater", method="asymp")
    return {"distance_ks": found.statistic, "is_drift": int(found.pvalue < ALPHA), "p_val": found.pvalue}


def test_every_figure_of_alibi_detect_comes_out_in_its_precision() -> None:
    expected = figures("alibi")
    listed = expected["pairs"]["medium"]
    example = expected["fdr_example"]
    special = {
        "__ClassifierDrift_logreg_numeric7__": _classifier(),
        "__MMD_drift__": _mmd(listed["__MMD_drift__"], drift=True),
        "__MMD_null__": _mmd(listed["__MMD_null__"], drift=False),
        **{name: _together(listed[name], name) for name in ("__TabularDrift_fdr__", "__TabularDrift_bonferroni__")},
    }
    columns = {name: _column(name, found) for name, found in listed.items() if not name.startswith("__")}
    computed = {
        "pairs": {"medium": {**columns, **special}},
        "fdr_example": {**example, "result": list(_discovered(example["p"], example["q"]))},
    }
    found = compare(
        expected, computed, left_out=LEFT_OUT, precision=FLOAT32, looser={"*/mmd2": MIXED, "*/CVMDrift/pvalue*": LAST}
    )
    assert not found.wrong
    assert not found.passed_over
    assert not found.idle
    assert (found.reproduced, len(found.left_out)) == (204, 50)
