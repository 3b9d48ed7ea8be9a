"""What a search tries: kinds of scikit-learn models, each behind the preparation of inputs that it needs.

===========================  ============================================  ==========================================
kind                         of yes or no                                  of a number
===========================  ============================================  ==========================================
``linear``                   logistic regression, L2                       ridge regression
``random_forest``            bagged trees (Breiman 2001)                   the same
``extra_trees``              extremely randomised trees (Geurts 2006)      the same
``hist_gradient_boosting``   boosted trees on binned inputs (Ke 2017)      the same
``neighbours``               k nearest neighbours                          the same
``naive_bayes``              Gaussian naive Bayes                          Bayesian ridge
===========================  ============================================  ==========================================

Numbers that are missing get the median, and a mark that they were; boosted trees take them as they are. Categories
become marks of their own (those that are rare together), for trees ordered codes; one that was never seen is like a
rare one.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import InvalidInput, PluginError

if TYPE_CHECKING:
    import pandas as pd

Space = Mapping[str, Any]
"""By parameter: a list of values to choose from, or ``{"low": .., "high": .., "log": true, "whole": true}``."""

RARE = 0.005
"""Categories of a smaller share of the rows are one."""
MOST_CATEGORIES = 50

_TREES: dict[str, Space] = {
    "n_estimators": {"values": [100, 200, 400]},
    "max_depth": {"values": [6, 10, 16, None]},
    "min_samples_leaf": {"low": 2, "high": 64, "log": True, "whole": True},
    "max_features": {"values": ["sqrt", 0.5, 1.0]},
}
SPACES: dict[str, dict[str, Space]] = {
    "linear": {"strength": {"low": 1e-3, "high": 1e2, "log": True}},
    "random_forest": _TREES,
    "extra_trees": _TREES,
    "hist_gradient_boosting": {
        "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
        "max_iter": {"values": [50, 100, 200, 400]},
        "max_leaf_nodes": {"values": [7, 15, 31, 63]},
        "min_samples_leaf": {"low": 5, "high": 200, "log": True, "whole": True},
        "l2_regularization": {"low": 1e-3, "high": 10.0, "log": True},
    },
    "neighbours": {
        "n_neighbors": {"low": 5, "high": 200, "log": True, "whole": True},
        "weights": {"values": ["uniform", "distance"]},
    },
    "naive_bayes": {"smoothing": {"low": 1e-9, "high": 1e-1, "log": True}},
}  # fmt: skip
KINDS = tuple(SPACES)


def proposals(
    kinds: Sequence[str], spaces: Mapping[str, Mapping[str, Any]], count: int, seed: int
) -> list[dict[str, Any]]:
    """Return what to try, as ``{"kind": .., "parameters": {..}}``: each kind in turn, parameters drawn from its space.

    The same arguments give the same proposals; a kind whose space has fewer points than its share gives these.
    """
    drawn = {kind: _drawn(kind, {**SPACES[kind], **spaces.get(kind, {})}, count, seed) for kind in kinds}
    found: list[dict[str, Any]] = []
    while len(found) < count and any(drawn.values()):
        for kind in kinds:
            if drawn[kind] and len(found) < count:
                found.append({"kind": kind, "parameters": drawn[kind].pop(0)})
    return found


def _drawn(kind: str, space: Mapping[str, Any], count: int, seed: int) -> list[dict[str, Any]]:
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    choices = {name: _choice(kind, name, said) for name, said in sorted(space.items())}
    listed = all(isinstance(choice, list) for choice in choices.values())
    most = min(count, len(ParameterGrid(choices))) if listed else count
    sampler = ParameterSampler(choices, most, random_state=seed)
    return [{name: _plain(value) for name, value in parameters.items()} for parameters in sampler]


def _choice(kind: str, name: str, said: Any) -> Any:
    from scipy.stats import loguniform, randint, uniform

    if isinstance(said, Mapping) and "values" in said:
        said = said["values"]
    if isinstance(said, list | tuple) and said:
        return list(said)
    if not isinstance(said, Mapping) or not {"low", "high"} <= set(said) <= {"low", "high", "log", "whole"}:
        raise InvalidInput(
            f"the search space of {kind}.{name} must be a list of values or a table of low, high, log and whole"
        )
    low, high = said["low"], said["high"]
    if not low < high or (said.get("log") and low <= 0):
        raise InvalidInput(f"the search space of {kind}.{name} must have low < high, and above 0 where log is true")
    if said.get("log"):
        return _Whole(loguniform(low, high)) if said.get("whole") else loguniform(low, high)
    return randint(low, high + 1) if said.get("whole") else uniform(low, high - low)


class _Whole:
    """A distribution, rounded to whole numbers."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def rvs(self, random_state: Any = None) -> int:
        """Draw one."""
        return round(float(self._inner.rvs(random_state=random_state)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- pipelines ---------------------------------------------------------------------------


def pipeline(kind: str, parameters: Mapping[str, Any], frame: "pd.DataFrame", *, classify: bool, seed: int) -> Any:
    """Return an unfitted pipeline for the columns of a frame.

    Raises:
        InvalidInput: there is no such kind, or it has no such parameter.
    """
    from sklearn.pipeline import Pipeline

    if kind not in SPACES:
        raise InvalidInput(f"no kind of model {kind}: there are {', '.join(KINDS)}")
    try:
        model = _MODELS[kind](dict(parameters), classify, seed)
    except (TypeError, KeyError) as error:
        raise InvalidInput(f"{kind} takes no such parameters: {error}") from error
    return Pipeline([("inputs", _inputs(kind, frame)), ("model", model)])


def fitted(unfitted: Any, frame: "pd.DataFrame", labels: NDArray[Any]) -> Any:
    """Fit a pipeline.

    Raises:
        PluginError: it cannot be fitted to these rows, and why.
    """
    try:
        with _quiet():
            return unfitted.fit(frame, labels)
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise PluginError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what says nothing about the result: that a solver used all its steps, that a part had no value."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Skipping features without any observed values")
        yield


def _inputs(kind: str, frame: "pd.DataFrame") -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers = [name for name in frame.columns if frame[name].dtype.kind in "fiub"]
    texts = [name for name in frame.columns if name not in numbers]
    median = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    rare = {"min_frequency": RARE, "max_categories": MOST_CATEGORIES}
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, **rare)
    marks = OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False, **rare)
    if kind == "hist_gradient_boosting":
        steps = [("numbers", "passthrough", numbers), ("texts", codes, texts)]
    elif kind in ("random_forest", "extra_trees"):
        steps = [("numbers", median, numbers), ("texts", codes, texts)]
    else:
        steps = [("numbers", make_pipeline(median, StandardScaler()), numbers), ("texts", marks, texts)]
    return ColumnTransformer([step for step in steps if step[2]])


def _linear(parameters: dict[str, Any], classify: bool, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    strength = parameters.pop("strength")
    if classify:
        return LogisticRegression(C=1 / strength, max_iter=500, **parameters)
    return Ridge(alpha=strength, **parameters)


def _forest(parameters: dict[str, Any], classify: bool, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    return (RandomForestClassifier if classify else RandomForestRegressor)(random_state=seed, n_jobs=1, **parameters)


def _extra(parameters: dict[str, Any], classify: bool, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    return (ExtraTreesClassifier if classify else ExtraTreesRegressor)(random_state=seed, n_jobs=1, **parameters)


def _boosting(parameters: dict[str, Any], classify: bool, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    return made(random_state=seed, early_stopping=False, **parameters)


def _neighbours(parameters: dict[str, Any], classify: bool, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    return (KNeighborsClassifier if classify else KNeighborsRegressor)(n_jobs=1, **parameters)


def _bayes(parameters: dict[str, Any], classify: bool, seed: int) -> Any:
    from sklearn.linear_model import BayesianRidge
    from sklearn.naive_bayes import GaussianNB

    smoothing = parameters.pop("smoothing")
    if classify:
        return GaussianNB(var_smoothing=smoothing, **parameters)
    return BayesianRidge(lambda_1=smoothing, lambda_2=smoothing, **parameters)


_MODELS = {
    "linear": _linear,
    "random_forest": _forest,
    "extra_trees": _extra,
    "hist_gradient_boosting": _boosting,
    "neighbours": _neighbours,
    "naive_bayes": _bayes,
}
