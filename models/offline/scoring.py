"""How abnormal a trained estimator finds rows of features: the one formula of training, evaluation and live scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def abnormality(estimator: Any, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How abnormal each row is, float64[n]; NaN where a feature is NaN (warming up)."""
    score = np.full(len(features), np.nan)
    ready = np.isfinite(features).all(axis=1)
    if ready.any():
        score[ready] = -estimator.score_samples(features[ready])
    return score
