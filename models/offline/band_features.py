"""What a signal's expected band is predicted from: the calendar and its own past, frame by frame.

All in the signal's own running scale (mean and mean absolute deviation of the frames before, exponentially weighted
over about half a week), so one model serves signals of any size: the value to predict is z = (x - m) / (1.5 d + tiny).
Calendar: sine and cosine of the time of day and of the week, in UTC. Past, each in the scale of the frame that is
predicted, and NaN where it is not known: the value ten minutes, an hour, a day and a week ago, and the mean of the hour
up to ten minutes ago. What is nearer would follow trouble as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

VERSION: Final = 1
"""Of the formulas above; a model trained on another version is not used."""
NAMES: Final = (
    *("day_sine", "day_cosine", "week_sine", "week_cosine"),
    *("ten_minutes_ago", "an_hour_ago", "a_day_ago", "a_week_ago", "mean_of_the_hour", "signal"),
)
_MINUTE_MS: Final = 60_000
_LAGS: Final = (10, 60, 1440, 7 * 1440)
"""Minutes."""
_DAY_MS: Final = 1440 * _MINUTE_MS
_MEMORY_MS: Final = 3.5 * _DAY_MS
_TINY: Final = 1e-9


def of_service(
    values: npt.NDArray[np.float64], start: npt.NDArray[np.int64], step_ms: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What is predicted, float64[t, signals], and from what, float64[t, signals, len(NAMES)], of one service.

    values float64[t, signals], NaN where there is none; start int64[t] ms, evenly spaced by step_ms. `signal` is the
    column's number: whoever trains and whoever predicts has the signals in the same order.
    """
    mean, scale = _running(values, step_ms)
    frames, signals = values.shape
    features = np.full((frames, signals, len(NAMES)), np.nan)
    day, week = 2 * np.pi * (start % _DAY_MS) / _DAY_MS, 2 * np.pi * (start % (7 * _DAY_MS)) / (7 * _DAY_MS)
    for column, wave in enumerate((np.sin(day), np.cos(day), np.sin(week), np.cos(week))):
        features[:, :, column] = wave[:, None]
    lags = [max(minutes * _MINUTE_MS // step_ms, 1) for minutes in _LAGS]
    for column, lag in enumerate(lags, start=4):
        if lag < frames:
            features[lag:, :, column] = (values[:-lag] - mean[lag:]) / scale[lag:]
    features[:, :, 8] = (_mean_between(values, lags[0], lags[1]) - mean) / scale
    features[:, :, 9] = np.arange(signals)
    return (values - mean) / scale, features


def _running(values: npt.NDArray[np.float64], step_ms: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and scale of each frame by what came before it; NaN before the first value."""
    rate = step_ms / _MEMORY_MS
    mean, deviation, count = (np.zeros(values.shape[1]) for _ in range(3))
    means, scales = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    for at, value in enumerate(values):
        known = count > 0
        means[at, known] = mean[known]
        scales[at, known] = 1.5 * deviation[known] + _TINY + 1e-3 * np.abs(mean[known])
        there = np.isfinite(value)
        count += there
        step = np.where(there, np.maximum(1 / np.maximum(count, 1), rate), 0.0)
        away = np.where(there, value - mean, 0.0)
        deviation += step * (np.where(known, np.abs(away), 0.0) - deviation)
        mean += step * away
    return means, scales


def _mean_between(values: npt.NDArray[np.float64], near: int, far: int) -> npt.NDArray[np.float64]:
    """Mean of the frames from `far` to `near` before each, of those that have a value; NaN where none has."""
    there = np.isfinite(values)
    nothing = np.zeros((1, values.shape[1]))
    total = np.concatenate([nothing, np.where(there, values, 0.0).cumsum(axis=0)])
    count = np.concatenate([nothing, there.cumsum(axis=0)])
    at = np.arange(len(values))
    first, after = np.maximum(at - far, 0), np.maximum(at - near + 1, 0)
    counted = count[after] - count[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: npt.NDArray[np.float64] = np.where(counted > 0, (total[after] - total[first]) / counted, np.nan)
    return found
