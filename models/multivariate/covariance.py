"""Distance of a vector from what its signals usually do together.

The squared Mahalanobis distance by a running covariance, shrunk towards independence (Ledoit and Wolf 2004, with a
fixed share) and turned into a standard normal by the cube root (Wilson and Hilferty 1931), so that vectors with
some signals missing compare. What a signal adds is what the distance would lose if the signal were what the others
let expect: (S⁻¹z)ⱼ² / (S⁻¹)ⱼⱼ.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np

from models.columns import Columnar, Columns

if TYPE_CHECKING:
    from models.contracts import Float64s, Int32s

_RATE: Final = 0.001  # a unit: a memory of some 16 hours
_KNOWN: Final = 120  # vectors before anything is judged
_SHRINK: Final = 0.1
_CLIP: Final = 3.0  # deviations beyond it teach no more than this
_LEAST_PIVOT: Final = 0.02  # signals that were there at different times need not make a proper covariance
_CLOSENESS: Final = 2.0 / 9.0  # Wilson and Hilferty's


class Covariance(Columnar):
    """`VectorScorer` with one covariance matrix a row.

    Columns, by row: `upper` float32[k (k + 1) / 2], row after row of the upper triangle, `count` int32.
    """

    version = 1

    def __init__(self, signals: int, unit: float) -> None:
        """`unit` is the part of a unit of time that passes between two vectors, up to 1."""
        self.identity = f"covariance {self.version} of {signals}"
        self.failures: Counter[str] = Counter()
        self._rate = _RATE * unit
        self._columns = Columns(self.version, {"upper": ("f4", (signals * (signals + 1) // 2,)), "count": ("i4", ())})

    def score_learn(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """Distance of each vector, then learn it; float64[n], NaN while unknown or with less than two signals."""
        self._columns.check(slots)
        scores = np.full(len(slots), np.nan)
        _score_learn(self._columns["upper"], self._columns["count"], slots, vectors, self._rate, scores)
        return scores

    def explain(self, slots: Int32s, vectors: Float64s) -> Float64s:
        """What each signal adds to the squared distance, given the others; float64[n, k]."""
        self._columns.check(slots)
        parts = np.zeros(vectors.shape)
        _explain(self._columns["upper"], slots, vectors, parts)
        return parts


@numba.njit(cache=True, nogil=True)
def _place(a: int, b: int, size: int) -> int:
    """Where the entry (a, b), a <= b, lies in an upper triangle stored row after row."""
    return a * size - a * (a - 1) // 2 + b - a


@numba.njit(cache=True, nogil=True)
def _factor(upper: Any, there: Any, size: int) -> Float64s:
    """Lower Cholesky factor of the shrunk covariance of the signals `there`."""
    m = len(there)
    factor = np.zeros((m, m))
    for a in range(m):
        for b in range(a + 1):
            total = (1.0 - _SHRINK) * upper[_place(there[b], there[a], size)]
            if a == b:
                total += _SHRINK
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            factor[a, b] = np.sqrt(max(total, _LEAST_PIVOT)) if a == b else total / factor[b, b]
    return factor


@numba.njit(cache=True, nogil=True)
def _whitened(factor: Any, vector: Any) -> Float64s:
    """Solve factor · x = vector."""
    result = np.zeros(len(vector))
    for a in range(len(vector)):
        total = vector[a]
        for c in range(a):
            total -= factor[a, c] * result[c]
        result[a] = total / factor[a, a]
    return result


@numba.njit(cache=True, nogil=True)
def _score_learn(upper: Any, count: Any, slots: Int32s, vectors: Float64s, usual: float, scores: Float64s) -> None:
    size = vectors.shape[1]
    for i, slot in enumerate(slots):
        there = np.flatnonzero(~np.isnan(vectors[i]))
        m = len(there)
        if m < 2:
            continue
        seen = count[slot]
        if seen >= _KNOWN:
            distance = (_whitened(_factor(upper[slot], there, size), vectors[i][there]) ** 2).sum()
            width = _CLOSENESS / m
            scores[i] = ((distance / m) ** (1.0 / 3.0) - (1.0 - width)) / np.sqrt(width)
        rate = max(usual, 1.0 / (seen + 1.0))
        for a in range(m):
            one = min(max(vectors[i, there[a]], -_CLIP), _CLIP)
            for b in range(a, m):
                other = min(max(vectors[i, there[b]], -_CLIP), _CLIP)
                place = _place(there[a], there[b], size)
                upper[slot, place] += np.float32(rate * (one * other - upper[slot, place]))
        count[slot] = min(seen + 1, 1 << 30)


@numba.njit(cache=True, nogil=True)
def _explain(upper: Any, slots: Int32s, vectors: Float64s, parts: Float64s) -> None:
    size = vectors.shape[1]
    for i, slot in enumerate(slots):
        there = np.flatnonzero(~np.isnan(vectors[i]))
        factor = _factor(upper[slot], there, size)
        white = _whitened(factor, vectors[i][there])
        for a in range(len(there)):
            unit = np.zeros(len(there))
            unit[a] = 1.0
            column = _whitened(factor, unit)
            parts[i, there[a]] = (column * white).sum() ** 2 / (column * column).sum()
