"""How abnormal a trained estimator finds rows of features: the one formula of training, evaluation and live scoring."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.offline.threads import one_thread

if TYPE_CHECKING:
    import numpy.typing as npt

_ONE_AT_A_TIME: Final = Lock()
"""Scikit-learn and the limit of threads set the whole process's state and put back what they found, warning filters
for instance: two partitions in threads of one worker would leave each other's.
"""


def abnormality(estimator: Any, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How abnormal each row is, float64[n]; NaN where a feature is NaN (warming up)."""
    score = np.full(len(features), np.nan)
    ready = np.isfinite(features).all(axis=1)
    if ready.any():
        with _ONE_AT_A_TIME, one_thread():
            score[ready] = _scored(estimator, features[ready])
    return score


def likelihood(classifier: Any, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How likely each row is of the second class, float64[n]: that an anomaly matters, for a ranker."""
    with _ONE_AT_A_TIME, one_thread():
        return np.asarray(classifier.predict_proba(rows)[:, 1], dtype=np.float64)


def predicted(quantiles: Any, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What each of several regressors in one (a `MultiOutputRegressor`) says of each row, float64[n, regressors]."""
    # One by one: its own `predict` makes a task of each, which takes longer than what they have to do.
    with _ONE_AT_A_TIME, one_thread():
        return np.stack([np.asarray(one.predict(rows), dtype=np.float64) for one in quantiles.estimators_], axis=1)


def _scored(estimator: Any, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # By name: to ask for the class would import scikit-learn, which takes a worker a second.
    if type(estimator).__name__ == "IsolationForest" and estimator.max_features == 1.0:
        return _forest_scored(estimator, rows)
    return np.asarray(-estimator.score_samples(rows))


def _forest_scored(forest: Any, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What the forest's own `score_samples` says, to the bit, in a fraction of its time.

    It makes a task of every tree, which for the rows of a frame is nearly all that it does.
    """
    from sklearn.ensemble._iforest import _average_path_length  # noqa: PLC0415  slow to import

    if rows.shape[1] != forest.n_features_in_:  # a tree would read beyond the row
        raise ValueError(f"{rows.shape[1]} features, the forest was fitted on {forest.n_features_in_}")
    # The manifest pins scikit-learn's minor version, and a test compares.
    lengths = zip(forest._decision_path_lengths, forest._average_path_length_per_tree, strict=True)  # noqa: SLF001
    narrow = np.ascontiguousarray(rows, dtype=np.float32)
    depths = np.zeros(len(rows))
    for tree, (decided, left) in zip(forest.estimators_, lengths, strict=True):
        leaves = tree.tree_.apply(narrow)
        depths += decided[leaves] + left[leaves] - 1.0
    usual = len(forest.estimators_) * _average_path_length([forest.max_samples_])
    return np.asarray(2 ** (-depths / usual))
