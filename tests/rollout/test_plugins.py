"""Judges and flavors that we ship pass the checks that we ask of others'."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from modelwright import plugins
from modelwright.flavors import Flavor, Sklearn, pickled, single_thread
from modelwright.rollout.judging import Judge
from modelwright.testing import FLAVOR_CHECKS, JUDGE_CHECKS, flavor_scores_each_row_alone

FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(700, 4)), columns=list("abcd"))


@pytest.mark.parametrize("check", JUDGE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["paired_confidence_sequence", "fixed_sample"])
def test_our_judges(name: str, check: Callable[[Callable[[], Judge]], None]) -> None:
    check(plugins.load("judges", name))


@pytest.mark.parametrize("check", FLAVOR_CHECKS, ids=lambda check: check.__name__)
def test_our_flavors(check: Callable[[Callable[[], Flavor]], None]) -> None:
    check(plugins.load("flavors", "sklearn"))


@pytest.mark.parametrize("estimator", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=20)])
def test_sklearn_scores_each_row_alone(estimator: LogisticRegression) -> None:
    with single_thread()():
        fitted = estimator.fit(FRAME, FRAME["a"] > 0)
    flavor_scores_each_row_alone(Sklearn, lambda _: pickled(fitted), FRAME)
