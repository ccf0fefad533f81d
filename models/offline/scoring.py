"""How abnormal a trained estimator finds rows of features: the one formula of training, evaluation and live scoring."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from threadpoolctl import ThreadpoolController

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
        # Matrices of a frame are small: threads would wait for each other sixty times as long as they work.
        with _ONE_AT_A_TIME, _threads().limit(limits=1):
            score[ready] = -estimator.score_samples(features[ready])
    return score


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()
