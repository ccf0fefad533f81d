"""How abnormal a trained estimator finds rows of features: the one formula of training, evaluation and live scoring."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    import numpy.typing as npt


def abnormality(estimator: Any, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How abnormal each row is, float64[n]; NaN where a feature is NaN (warming up)."""
    score = np.full(len(features), np.nan)
    ready = np.isfinite(features).all(axis=1)
    if ready.any():
        # Matrices of a frame are small: threads would wait for each other sixty times as long as they work.
        with _threads().limit(limits=1):
            score[ready] = -estimator.score_samples(features[ready])
    return score


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()
