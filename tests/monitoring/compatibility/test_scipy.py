"""Textbook figures, as scipy gives them: by our detectors where they compute the quantity, else by the sets' tests."""

import math
from typing import Any

import numpy as np

from modelwright.monitoring.compatibility import evidently, samples
from modelwright.monitoring.compatibility.binning import by_category, by_quantile, by_width, counted
from modelwright.monitoring.compatibility.cells import finite, present
from modelwright.monitoring.detectors import binned, numbers, rates
from modelwright.monitoring.distributions import Distribution, Floats
from modelwright.monitoring.verdict import benjamini_hochberg
from monitoring.compatibility.parity import attempt, compare, figures, is_number, raw

LEFT_OUT = {"/versions/*": "which releases gave the figures"}


def _distances(p: Floats, q: Floats) -> dict[str, float]:
    nats = binned.jensen_shannon(p, q) ** 2 * math.log(2)
    return {
        "hellinger": binned.hellinger(p, q),
        "js_base_2": binned.jensen_shannon(p, q),
        "js_base_e": math.sqrt(nats),
        "kl_ref_cur_no_smoothing": binned.divergence(p, q),
        "linf": float(np.max(np.abs(p - q))),
        "psi_eps0.0001": binned.stability_index(p, q, 1e-4),
        "psi_eps1e-06": binned.stability_index(p, q, 1e-6),
        "tvd": float(np.abs(p - q).sum() / 2),
    }


def _numbers(name: str) -> dict[str, Any]:
    a, b = (finite(raw(side, name)) for side in ("reference", "current"))
    x, y = Distribution.of(a), Distribution.of(b)
    edges, tenths = by_quantile(a, b)
    deviation = float(np.std(a))
    wide = a.astype(np.float64), b.astype(np.float64)
    bins = {"sturges": np.concatenate(wide), "doane": wide[0]}
    counts = {rule: len(np.histogram_bin_edges(values, bins=rule)) - 1 for rule, values in bins.items()}
    return {
        "anderson_ksamp_midrank": attempt(
            lambda: _named(samples.anderson(a, b), p_value="pvalue_clipped_0.001_0.25")
        ),
        "cur_mean": float(b.mean()), "cur_std_ddof0": float(b.std()), "ref_mean": float(a.mean()),
        "ref_std_ddof0": deviation, "n_cur": len(b), "n_ref": len(a),
        "missing_ref": len(raw("reference", name)) - len(present(raw("reference", name))),
        "missing_cur": len(raw("current", name)) - len(present(raw("current", name))),
        "cvm_asymptotic": {
            "statistic": numbers.cramer_von_mises(x, y).statistic,
            "pvalue": evidently.cramer_von_mises(a, b, "num"),
        },
        "ks_asymp": _named(numbers.kolmogorov_smirnov(x, y)),
        "ks_auto": {
            "statistic": numbers.kolmogorov_smirnov(x, y).statistic,
            "pvalue": evidently.kolmogorov_smirnov(a, b, "num"),
        },
        "energy": evidently.energy(a, b, "num"),
        "epps_singleton": attempt(lambda: _named(samples.epps_singleton(a, b))),
        "mannwhitneyu_two_sided": _named(samples.mann_whitney(a, b, "two-sided")),
        "welch_t": _named(samples.t_test(a, b, equal_variances=False)),
        "wasserstein": numbers.wasserstein(x, y),
        "wasserstein_normed_std0_floor0.001": evidently.wasserstein(a, b, "num"),
        "q10": _distances(*tenths), "q10_inner_edges": list(edges),
        "doane_ref_overflow": {**_distances(*by_width(*wide, "doane", pooled=False)), "n_bins": counts["doane"]},
        "sturges_pooled": {**_distances(*by_width(*wide, "sturges", pooled=True)), "n_bins": counts["sturges"]},
    }  # fmt: skip


def _categories(name: str) -> dict[str, Any]:
    a, b = (present(raw(side, name)) for side in ("reference", "current"))
    counts = samples.table(a, b)
    categories = counts.shape[1]
    chi_square, g = binned.pearson(counts), binned.likelihood_ratio(counts)
    found = {
        "cur_counts": list(counts[1]), "ref_counts": list(counts[0]),
        "categories": [str(value) for value in sorted({*counted(a), *counted(b)})],
        "n_categories_union": categories, "n_cur": len(b), "n_ref": len(a),
        "chi2_contingency_no_correction": {
            **_named(chi_square), "dof": categories - 1, "cramers_v": math.sqrt(chi_square.statistic / counts.sum()),
        },
        "chi2_contingency_yates_if_2x2": {**_named(samples.contingency(counts)), "dof": categories - 1},
        "chisquare_gof_ref_as_expected": _named(samples.fit(counts)),
        "g_test_contingency": {**_named(g), "dof": categories - 1},
        "freq": _distances(*by_category(a, b)),
    }  # fmt: skip
    if categories == 2:
        p, q = (row[1] / row.sum() for row in counts)
        pooled = counts[:, 1].sum() / counts.sum()
        error = math.sqrt(pooled * (1 - pooled) * sum(1 / row.sum() for row in counts))
        p_value = rates.proportions(*(float(n) for row in counts for n in (row[1], row.sum()))).p_value
        found["z_pooled_two_sided"] = {"statistic": (p - q) / error, "pvalue": p_value}
        odds = samples.fisher(counts)
        found["fisher_exact"] = {"oddsratio": odds.statistic, "pvalue": odds.p_value}
    return found


def _named(found: Any, p_value: str = "pvalue") -> dict[str, float]:
    return {"statistic": found.statistic, p_value: found.p_value}


def _corrected(columns: dict[str, Any], listed: dict[str, Any]) -> dict[str, Any]:
    """The correction over all columns at once; of numbers the Kolmogorov-Smirnov test, else chi-square."""
    order = listed["columns"]
    p_values = [columns[n]["ks_auto" if is_number(n) else "chi2_contingency_yates_if_2x2"]["pvalue"] for n in order]
    alpha = 0.05
    return {
        "alpha": alpha,
        "columns": order,
        "pvalues": p_values,
        "raw_reject": [p < alpha for p in p_values],
        "bonferroni_reject": [p < alpha / len(p_values) for p in p_values],
        "bh_reject": benjamini_hochberg(p_values, alpha),
    }


def test_every_textbook_figure_comes_out() -> None:
    expected = figures("scipy")
    medium = expected["pairs"]["medium"]
    numeric = {name for name in medium["columns"] if is_number(name) or name == "dt_uniform"}
    columns = {name: _numbers(name) if name in numeric else _categories(name) for name in medium["columns"]}
    corrected = _corrected(columns, medium["multiple_testing_ks_auto_chi2"])
    computed = {"pairs": {"medium": {"columns": columns, "multiple_testing_ks_auto_chi2": corrected}}}
    found = compare(expected, computed, left_out=LEFT_OUT)
    for name in numeric:
        # scipy takes 1 - F, whose last digits are noise where p is small: of ours as many decimals have to agree
        ours = columns[name]["cvm_asymptotic"]
        a, b = (Distribution.of(finite(raw(side, name))) for side in ("reference", "current"))
        assert abs(numbers.cramer_von_mises(a, b, 1e-7).p_value - ours["pvalue"]) < 1e-15
    assert not found.wrong
    assert not found.passed_over
    assert not found.idle
    assert (found.reproduced, len(found.left_out)) == (1279, 3)
