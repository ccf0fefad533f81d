"""Deviations of many signals on one scale: how many robust standard deviations each is off, learned online."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np

from models.columns import Columnar, Columns

if TYPE_CHECKING:
    from models.contracts import Float64s, Int32s

LIMIT: Final = 8.0
"""No signal counts as further off than this many standard deviations."""
_RATE: Final = 0.002  # a unit: a memory of some eight hours
_YOUNG: Final = 30  # samples that are learned as they are; later ones at most four deviations off
_KNOWN: Final = 60  # samples after which a signal takes part
_CLIP: Final = 4.0
_FLOOR_DEVIATIONS: Final = 4.0  # a deviation that just matters counts as so many
_SIGMA: Final = 1.2533  # standard deviation of a normal distribution by its mean absolute one
_LARGEST: Final = 1e200  # beyond it squares and sums overflow
_TINY: Final = 1e-300


class Normaliser(Columnar):
    """Running centre and mean absolute deviation of every signal of every row, as numbers of `LIMIT` at most.

    Columns, by row: `centre`, `spread` float64[k], `count` int32[k].
    """

    version = 1

    def __init__(self, signals: int, unit: float) -> None:
        """`unit` is the part of a unit of time that passes between two vectors, up to 1."""
        self._rate = _RATE * unit
        shape = (signals,)
        self._columns = Columns(
            self.version, {"centre": ("f8", shape), "spread": ("f8", shape), "count": ("i4", shape)}
        )

    def score_learn(self, slots: Int32s, values: Float64s, least: Float64s) -> Float64s:
        """Scale each vector by what was known before it, then learn it.

        slots int32[n], values float64[n, k] (what is not finite counts as missing), least float64[n, k]: deviations
        below it do not matter. Gives float64[n, k], NaN where a signal is missing or not known yet.
        """
        columns = self._columns
        columns.check(slots)
        result = np.full(values.shape, np.nan)
        state = (columns["centre"], columns["spread"], columns["count"])
        _normalise(state, slots, values, least, self._rate, result)
        return result


@numba.njit(cache=True, nogil=True)
def _normalise(state: Any, slots: Int32s, values: Float64s, least: Float64s, usual: float, result: Float64s) -> None:
    centre, spread, count = state
    for i, slot in enumerate(slots):
        for j in range(values.shape[1]):
            value = values[i, j]
            if not np.isfinite(value):
                continue
            value = min(max(value, -_LARGEST), _LARGEST)
            seen = count[slot, j]
            error = value - centre[slot, j]
            scale = max(_SIGMA * spread[slot, j], least[i, j] / _FLOOR_DEVIATIONS, _TINY)
            if seen >= _KNOWN:
                result[i, j] = min(max(error / scale, -LIMIT), LIMIT)
            if seen > _YOUNG:
                error = min(max(error, -_CLIP * scale), _CLIP * scale)
            rate = max(usual, 1.0 / (seen + 1.0))
            centre[slot, j] += rate * error
            spread[slot, j] += rate * (abs(error) - spread[slot, j])
            count[slot, j] = min(seen + 1, 1 << 30)
