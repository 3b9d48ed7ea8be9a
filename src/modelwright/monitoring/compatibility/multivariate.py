"""NannyML's two looks at all columns at once, on rows: PCA reconstruction and the domain classifier.

Columns come by name, numbers as floats with NaN, categories as objects with None, which is a category of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from modelwright.monitoring.compatibility.binning import Values
from modelwright.monitoring.compatibility.nannyml import Judged, chunks, constant, standard_deviation
from modelwright.monitoring.distributions import Floats

COMPONENTS = 0.65
"""Share of the variance that the kept components explain."""
LOWER, UPPER = 0.45, 0.65
"""Between these an AUC says nothing."""
FOLDS = 5
Columns = Mapping[str, Values]


class Classifier(Protocol):
    """What tells rows of the window from rows of the reference."""

    def fit(self, rows: Floats, labels: npt.NDArray[np.int64]) -> Any:
        """Learn."""
        ...

    def predict_proba(self, rows: Floats) -> Floats:
        """Return the chance of either label for each row."""
        ...


def reconstruction(reference: Columns, window: Columns) -> Judged:
    """Return how badly rows of the window are rebuilt from the reference's principal components.

    The mean Euclidean distance of standardized rows from what is left of them; missing numbers are means, categories
    their frequency in the reference. Thresholds are three standard deviations of the reference's chunks.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    first, second = (_frequencies(reference, side) for side in (reference, window))
    scaler = StandardScaler().fit(first)
    components = PCA(COMPONENTS, svd_solver="full").fit(scaler.transform(first))

    def error(rows: Floats) -> float:
        scaled = scaler.transform(rows)
        rebuilt = components.inverse_transform(components.transform(scaled))
        return float(np.linalg.norm(scaled - rebuilt, axis=1).mean())

    thresholds = standard_deviation([error(part) for part in chunks(first)], least=0.0)
    value = error(second)
    return Judged(value, thresholds, thresholds.alert(value))


def domain_classifier(reference: Columns, window: Columns, make: Callable[[list[int]], Classifier]) -> Judged:
    """Return the AUC, out of fold, with which a classifier tells rows of the window from rows of the reference.

    Args:
        reference: rows.
        window: rows.
        make: returns a new classifier, given the positions of the columns that are categories.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    rows, categories = _ordinals(reference, window)
    n, m = (len(next(iter(side.values()))) for side in (reference, window))
    labels = np.repeat(np.array([0, 1]), [n, m])
    scores = np.empty(len(rows))
    for learned, held in StratifiedKFold(FOLDS).split(rows, labels):
        model = make(categories)
        model.fit(rows[learned], labels[learned])
        scores[held] = model.predict_proba(rows[held])[:, 1]
    value = float(roc_auc_score(labels, scores))
    thresholds = constant(LOWER, UPPER)
    return Judged(value, thresholds, thresholds.alert(value))


def boosted_trees(categories: list[int]) -> Classifier:
    """Return NannyML's classifier where LightGBM is installed, else scikit-learn's of the same kind.

    The latter's AUC differs in the second decimal; ``boosted_by`` says which it is.
    """
    if boosted_by() == "LightGBM":
        return _LightGbm(categories)
    from sklearn.ensemble import HistGradientBoostingClassifier

    few: Classifier = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=13)
    return few


def boosted_by() -> str:
    """Return whose boosted trees the domain classifier is made of."""
    try:
        import lightgbm  # noqa: F401
    except ImportError:
        return "scikit-learn"
    return "LightGBM"


# --- private -----------------------------------------------------------------------------


class _LightGbm:
    def __init__(self, categories: list[int]) -> None:
        self._categories = categories
        self._trees: Any = None

    def fit(self, rows: Floats, labels: npt.NDArray[np.int64]) -> Any:
        import lightgbm

        self._trees = lightgbm.LGBMClassifier(n_estimators=100, random_state=13, n_jobs=1, verbose=-1)
        self._trees.fit(rows, labels, categorical_feature=self._categories)
        return self

    def predict_proba(self, rows: Floats) -> Floats:
        # by the trees themselves: the wrapper warns of rows whose columns have no names
        chance: Floats = self._trees.booster_.predict(rows)
        return np.column_stack([1 - chance, chance])


def _frequencies(reference: Columns, side: Columns) -> Floats:
    return np.column_stack([_frequency(reference[name], side[name]) for name in reference])


def _frequency(reference: Values, values: Values) -> Floats:
    if reference.dtype != object:
        numbers = values.astype(np.float64)
        return np.where(np.isnan(numbers), float(np.nanmean(reference)), numbers)
    names, counts = np.unique([str(value) for value in reference], return_counts=True)
    often = dict(zip(names.tolist(), (counts / len(reference)).tolist(), strict=True))
    return np.array([often.get(str(value), 0.0) for value in values])


def _ordinals(reference: Columns, window: Columns) -> tuple[Floats, list[int]]:
    """Return rows of both, categories first and as their rank by name, and which columns are categories."""
    categories = sorted(name for name, values in reference.items() if values.dtype == object)
    numbers = sorted(set(reference) - set(categories))
    both = {name: np.concatenate([reference[name], window[name]]) for name in (*categories, *numbers)}
    ranks = [np.unique([str(value) for value in both[name]], return_inverse=True)[1] for name in categories]
    columns = [*ranks, *(both[name] for name in numbers)]
    return np.column_stack(columns).astype(np.float64), list(range(len(categories)))
