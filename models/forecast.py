"""When a straight line reaches a limit, and between when and when it may.

The line is least squares over a window. Neighbouring residuals are alike, so the slope's error is widened by the
effective number of observations n · (1 - r) / (1 + r), r their lag-1 autocorrelation (Bartlett 1946); the interval
takes two such errors each way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

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


def straight(values: Float64s, seconds: Float64s) -> tuple[Float64s, Float64s, Float64s]:
    """Fit each column at once; float64[n, series] with NaN where unknown, float64[n] ascending.

    Gives level at the last moment, slope per second, and R², float64[series] each; NaN with fewer than ten values.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    weight = np.where(count >= _LEAST, count, np.nan)
    filled = np.where(known, values, 0.0)
    at = (seconds - seconds[-1])[:, np.newaxis]
    mean_at = np.where(known, at, 0.0).sum(axis=0) / weight
    mean = filled.sum(axis=0) / weight
    away = np.where(known, at - mean_at, 0.0)
    moved = np.where(known, filled - mean, 0.0)
    spread, total = (away**2).sum(axis=0), (moved**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (away * moved).sum(axis=0) / spread
        explained = np.where(total > 0, slope**2 * spread / total, 0.0)
    level = mean - slope * mean_at
    return level, np.where(np.isnan(weight), np.nan, slope), np.where(np.isnan(weight), np.nan, explained)


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
