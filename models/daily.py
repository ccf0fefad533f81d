"""What hour of the day it is makes a difference: a profile of 24 hourly means by row and column.

Takes the season out of windows that lie at different hours. Only healthy values are learned, so that a long fault
never becomes the season.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Float32s = npt.NDArray[np.float32]
    Float64s = npt.NDArray[np.float64]

_HOUR_MS: Final = 3_600_000
_HOURS: Final = 24
_LEAST: Final = 20
"""Values of an hour below which its mean says nothing."""
_MOST: Final = 4.0
"""A factor beyond this, or below its inverse, is no season."""


class DailyProfile:
    """Hourly means, float32[24, rows, columns], of the last days: each value counts 1/`memory` at least."""

    def __init__(self, columns: int, memory: int) -> None:
        self._memory = memory
        self._means = np.full((_HOURS, 0, columns), np.nan, dtype=np.float32)
        self._counts = np.zeros((_HOURS, 0), dtype=np.int32)

    def grow(self, rows: int) -> None:
        """Have at least so many rows."""
        more = rows - self._means.shape[1]
        if more > 0:
            blank = np.full((_HOURS, more, self._means.shape[2]), np.nan, dtype=np.float32)
            self._means = np.concatenate([self._means, blank], axis=1)
            self._counts = np.concatenate([self._counts, np.zeros((_HOURS, more), dtype=np.int32)], axis=1)

    def evict(self, row: int) -> None:
        """The row is another's from now on."""
        self._means[:, row] = np.nan
        self._counts[:, row] = 0

    def learn(self, at_ms: int, rows: npt.NDArray[np.int64], values: Float32s) -> None:
        """Take the values float32[n, columns] of these rows int64[n] at this moment; NaN is no value."""
        hour = at_ms // _HOUR_MS % _HOURS
        counts = np.minimum(self._counts[hour, rows] + 1, self._memory)
        self._counts[hour, rows] = counts
        means = self._means[hour, rows]
        learned = np.where(np.isnan(means), values, means + (values - means) / counts[:, None])
        self._means[hour, rows] = np.where(np.isnan(values), means, learned)

    def factors(self, row: int, column: int, at_ms: npt.NDArray[np.int64], reference_ms: int) -> Float64s:
        """How much higher the column usually is at each moment than at the reference; float64[n], 1 where unknown."""
        known = np.where(self._counts[:, row] >= _LEAST, self._means[:, row, column].astype(np.float64), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):  # of nothing, nothing is a multiple: unknown
            factors = _between_hours(known, at_ms) / _between_hours(known, np.array([reference_ms]))
        plausible = (factors > 1.0 / _MOST) & (factors < _MOST)
        result: Float64s = np.where(plausible, factors, 1.0)
        return result

    def snapshot(self, rows: int) -> dict[str, npt.NDArray[np.generic]]:
        """Copies of the arrays of the first `rows` rows."""
        return {"daily_means": self._means[:, :rows].copy(), "daily_counts": self._counts[:, :rows].copy()}

    def restore(self, state: Mapping[str, Any], columns: Mapping[int, int]) -> None:
        """Go on from a snapshot; `columns`: its columns by ours."""
        means, counts = np.asarray(state["daily_means"]), np.asarray(state["daily_counts"])
        rows = counts.shape[1]
        self._means = np.full((_HOURS, rows, self._means.shape[2]), np.nan, dtype=np.float32)
        for ours, theirs in columns.items():
            self._means[:, :, ours] = means[:, :, theirs]
        self._counts = counts.astype(np.int32)


def _between_hours(hourly: Float64s, at_ms: npt.NDArray[np.int64]) -> Float64s:
    """Linear between the middles of the hours."""
    place = (at_ms / _HOUR_MS - 0.5) % _HOURS
    low = np.floor(place).astype(np.int64) % _HOURS
    share = place - np.floor(place)
    result: Float64s = hourly[low] * (1.0 - share) + hourly[(low + 1) % _HOURS] * share
    return result
