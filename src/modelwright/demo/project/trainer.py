"""Trains the flights model: gradient boosting, which takes missing values as they are."""

from collections.abc import Mapping
from typing import Any

CATEGORIES = ["carrier", "origin"]


def train(frame: Any, labels: Any, parameters: Mapping[str, float]) -> Any:
    """Fit a classifier.

    Args:
        frame: one row per flight, the model's inputs as columns (pandas).
        labels: 1 for a flight that arrived more than 15 minutes late.
        parameters: of scikit-learn's ``HistGradientBoostingClassifier``.

    Returns:
        An estimator with ``predict_proba`` on such a frame.
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    numbers = [name for name in frame.columns if name not in CATEGORIES]
    columns = ColumnTransformer([("category", codes, CATEGORIES), ("number", "passthrough", numbers)])
    whole = {"max_iter", "max_leaf_nodes", "min_samples_leaf", "max_bins"}
    chosen = {name: int(value) if name in whole else value for name, value in parameters.items()}
    boosting = HistGradientBoostingClassifier(
        categorical_features=list(range(len(CATEGORIES))), early_stopping=False, random_state=0, **chosen
    )
    return Pipeline([("columns", columns), ("boosting", boosting)]).fit(frame, labels)
