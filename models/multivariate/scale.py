"""Standard deviations as numbers from 0 to 1, which many of River's detectors need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.multivariate.normaliser import LIMIT

if TYPE_CHECKING:
    from models.contracts import Float64s

_BEND: Final = 2.0  # deviations from which on the scale is closer to a logarithm than to a line
USUAL: Final = 0.5
"""Where a signal that is as usual, or missing, lies."""


def unit_interval(vectors: Float64s) -> Float64s:
    """Standard deviations, `LIMIT` at most, on 0 to 1: half of it holds the usual, the rest is room for the odd."""
    scaled = 0.5 + 0.5 * np.arcsinh(vectors / _BEND) / np.arcsinh(LIMIT / _BEND)
    result: Float64s = np.where(np.isnan(scaled), USUAL, np.clip(scaled, 0.0, 1.0))
    return result
