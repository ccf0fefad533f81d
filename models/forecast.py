"""When a straight line reaches a limit, and between when and when it may.

The line is least squares over a window. Neighbouring residuals are alike, so the slope's error is widened by the
effective number of observations n · (1 - r) / (1 + r), r their lag-1 autocorrelation (Bartlett 1946); the interval
takes two such errors each way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64s = npt.NDArray[np.float64]

_ERRORS: Final = 2.0
_LEAST: Final = 10
"""Values that a forecast needs."""


class Forecast(NamedTuple):
    """Seconds from the last value until the limit."""

    expected_s: float
    earliest_s: float
    latest_s: float


@numba.njit(cache=True, nogil=True, error_model="numpy")
def straight(values: npt.NDArray[np.floating[Any]], seconds: Float64s) -> tuple[Float64s, Float64s, Float64s]:
    """Fit each column at once; floats [n, series] with NaN where unknown, float64[n] ascending.

    Gives level at the last moment, slope per second, and R², float64[series] each; NaN with fewer than ten values.
    """
    level, slope, explained = (
        np.full(values.shape[1], np.nan),
        np.full(values.shape[1], np.nan),
        np.full(values.shape[1], np.nan),
    )
    for column in range(values.shape[1]):
        count, at_sum, sum_ = 0, 0.0, 0.0
        for row in range(len(seconds)):
            value = values[row, column]
            if not np.isnan(value):
                count += 1
                at_sum += seconds[row] - seconds[-1]
                sum_ += value
        if count < _LEAST:
            continue
        mean_at, mean = at_sum / count, sum_ / count
        spread, total, both = 0.0, 0.0, 0.0
        for row in range(len(seconds)):
            value = values[row, column]
            if not np.isnan(value):
                away, moved = seconds[row] - seconds[-1] - mean_at, value - mean
                spread += away * away
                total += moved * moved
                both += away * moved
        slope[column] = both / spread
        explained[column] = slope[column] ** 2 * spread / total if total > 0 else 0.0
        level[column] = mean - slope[column] * mean_at
    return level, slope, explained


def time_to(values: Float64s, seconds: Float64s, limit: float) -> Forecast | None:
    """When the line through these values reaches the limit from below; float64[n] each.

    None where they are too few, or where it is not sure (two errors) that they rise at all, or they are there already.
    """
    known = ~np.isnan(values)
    values, seconds = values[known], seconds[known]
    if len(values) < _LEAST:
        return None
    away = seconds - seconds.mean()
    slope = float(away @ values) / float(away @ away)
    residuals = values - values.mean() - slope * away
    size = len(values)
    total = float(residuals @ residuals)
    alike = 0.0 if total <= 0 else min(0.95, max(0.0, float(residuals[1:] @ residuals[:-1]) / total))
    effective = max(3.0, size * (1.0 - alike) / (1.0 + alike))
    error = _ERRORS * float(np.sqrt(total / (effective - 2.0) / float(away @ away) * size / effective))
    level = float(values.mean()) + slope * float(away[-1])
    room = limit - level
    if slope - error <= 0.0 or room <= 0.0:
        return None
    return Forecast(room / slope, room / (slope + error), room / (slope - error))


def budget_left(spent: float, failed: float, requests: float, budget: float, period_s: float) -> Forecast | None:
    """When an error budget is used up at the rate of a window with so many failures of so many requests.

    `spent`: share of the budget that is gone; `budget`: share of requests that may fail; `period_s`: what it is for.
    The interval is that of the count (two standard deviations of Poisson). None where the window uses less than the
    budget allows, or nothing is left.
    """
    left = 1.0 - spent
    if requests <= 0.0 or left <= 0.0:
        return None

    def seconds(count: float) -> float:
        burn = count / requests / budget
        return left * period_s / burn if burn > 0 else float("inf")

    scatter = _ERRORS * float(np.sqrt(failed))
    if (failed - scatter) / requests <= budget:
        return None
    return Forecast(seconds(failed), seconds(failed + scatter), seconds(failed - scatter))
