"""Which series belong to a term, and the term's value per service at the end of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from pipeline.signals.advance import GAUGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.signals.definitions import Term


class Members:
    """The series of one term: slot, service row, and for histograms the bucket's upper bound.

    Kept in the order of slots, so that sums come out the same however the series arrived.
    """

    def __init__(self, term: Term) -> None:
        self.term = term
        self._bounds: dict[int, tuple[int, float]] = {}
        self._arrays: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]] | None = None

    def __len__(self) -> int:
        return len(self._bounds)

    def add(self, slot: int, service: int, bound: float) -> None:
        """One more series; `bound` is the bucket's upper bound (NaN where it is none)."""
        self._bounds[slot] = (service, bound)
        self._arrays = None

    def remove(self, slots: set[int]) -> None:
        """These series are gone."""
        gone = slots & self._bounds.keys()
        for slot in gone:
            del self._bounds[slot]
        if gone:
            self._arrays = None

    def renumber(self, slots: Mapping[int, int]) -> None:
        """Series have other slots now: the new one by the old."""
        self._bounds = {slots[slot]: entry for slot, entry in self._bounds.items()}
        self._arrays = None

    def arrays(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """int32[m] slots in ascending order, int32[m] service rows, float64[m] bounds."""
        if self._arrays is None:
            entries = sorted(self._bounds.items())
            self._arrays = (
                np.array([slot for slot, _ in entries], dtype=np.int32),
                np.array([service for _, (service, _) in entries], dtype=np.int32),
                np.array([bound for _, (_, bound) in entries], dtype=np.float64),
            )
        return self._arrays

    def reported(self, rows: npt.NDArray[Any], services: int) -> npt.NDArray[np.bool_]:
        """Whether any of a service's series had a sample in this frame; bool[services]."""
        slots, service, _ = self.arrays()
        return _reported(rows, slots, service, services)

    def per_service(self, rows: npt.NDArray[Any], services: int) -> npt.NDArray[np.float64]:
        """Value of the term for each service row, NaN where it has no data in this frame; float64[services]."""
        slots, service, _ = self.arrays()
        term = self.term
        return _reduce(rows, slots, service, _TAKES.index(term.take), _OVERS.index(term.over), services) * term.scale

    def quantiles(self, rows: npt.NDArray[Any], services: int, q: float) -> npt.NDArray[np.float64]:
        """The q-quantile of each service's histogram over this frame; float64[services], NaN without observations.

        Linear within a bucket, the lowest bucket starts at 0, the highest bound stands for +Inf
        (Prometheus' `histogram_quantile`).
        """
        slots, service, bound = self.arrays()
        order = np.lexsort((bound, service))
        increase = _increases(rows, slots)[order]
        return _quantiles(service[order], bound[order], increase, services, q)


_TAKES = ("rate", "increase", "mean", "last", "max")
_RATE, _INCREASE, _MEAN, _LAST, _ = range(len(_TAKES))
_OVERS = ("sum", "mean", "max")
_SUM, _AVERAGE, _LARGEST = range(len(_OVERS))


@numba.njit(cache=True, nogil=True)
def _take(row: np.void, take: int) -> float:
    """A series' value for the frame, NaN where it has none."""
    if row["count"] == 0:
        return np.nan
    if take == _LAST:
        return float(row["last_value"])
    if take == _MEAN:
        return float(row["total"] / row["count"])
    if take in (_RATE, _INCREASE):
        if row["elapsed"] == 0 or row["kind"] == GAUGE:
            return np.nan
        return float(row["increase"] / row["elapsed"] * 1000.0 if take == _RATE else row["increase"])
    return float(row["peak"])


@numba.njit(cache=True, nogil=True)
def _reduce(
    rows: npt.NDArray[np.void],
    slots: npt.NDArray[np.int32],
    service: npt.NDArray[np.int32],
    take: int,
    over: int,
    services: int,
) -> npt.NDArray[np.float64]:
    """Sum, mean or maximum over each service's series; NaN for a service without any value."""
    result = np.full(services, np.nan)
    found = np.zeros(services, dtype=np.int64)
    for i in range(len(slots)):
        value = _take(rows[slots[i]], take)
        if np.isnan(value):
            continue
        s = service[i]
        if found[s] == 0:
            result[s] = value
        elif over == _LARGEST:
            result[s] = max(result[s], value)
        else:
            result[s] += value
        found[s] += 1
    if over == _AVERAGE:
        for s in range(services):
            if found[s] > 0:
                result[s] /= found[s]
    return result


@numba.njit(cache=True, nogil=True)
def _reported(
    rows: npt.NDArray[np.void], slots: npt.NDArray[np.int32], service: npt.NDArray[np.int32], services: int
) -> npt.NDArray[np.bool_]:
    result = np.zeros(services, dtype=np.bool_)
    for i in range(len(slots)):
        if rows[slots[i]]["seen"]:
            result[service[i]] = True
    return result


@numba.njit(cache=True, nogil=True)
def _increases(rows: npt.NDArray[np.void], slots: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    result = np.empty(len(slots))
    for i in range(len(slots)):
        result[i] = _take(rows[slots[i]], _INCREASE)
    return result


@numba.njit(cache=True, nogil=True)
def _quantiles(
    service: npt.NDArray[np.int32],
    bound: npt.NDArray[np.float64],
    increase: npt.NDArray[np.float64],
    services: int,
    q: float,
) -> npt.NDArray[np.float64]:
    """Quantile per service of buckets sorted by service and bound; buckets of one bound are instances."""
    result = np.full(services, np.nan)
    n = len(service)
    start = 0
    while start < n:
        end = start
        while end < n and service[end] == service[start]:
            end += 1
        result[service[start]] = _quantile(bound[start:end], increase[start:end], q)
        start = end
    return result


@numba.njit(cache=True, nogil=True)
def _quantile(bound: npt.NDArray[np.float64], increase: npt.NDArray[np.float64], q: float) -> float:
    bounds = np.empty(len(bound))
    cumulative = np.empty(len(bound))
    m = 0
    for i in range(len(bound)):
        if np.isnan(increase[i]) or np.isnan(bound[i]):
            continue
        if m > 0 and bounds[m - 1] == bound[i]:
            cumulative[m - 1] += increase[i]
        else:
            bounds[m] = bound[i]
            cumulative[m] = increase[i]
            m += 1
    for i in range(1, m):
        # Instances may miss a bucket in this frame; counts below a bound never fall.
        cumulative[i] = max(cumulative[i], cumulative[i - 1])
    if m < 2 or not np.isinf(bounds[m - 1]) or cumulative[m - 1] <= 0.0:
        return np.nan
    rank = q * cumulative[m - 1]
    at = 0
    while cumulative[at] < rank:
        at += 1
    if at == m - 1:
        return float(bounds[m - 2])
    below = cumulative[at - 1] if at > 0 else 0.0
    lower = bounds[at - 1] if at > 0 else min(0.0, bounds[0])
    inside = cumulative[at] - below
    if inside <= 0.0:
        return float(bounds[at])
    return float(lower + (bounds[at] - lower) * (rank - below) / inside)
