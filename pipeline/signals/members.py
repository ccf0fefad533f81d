"""Which series belong to a term, and the term's value per service at the end of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from pipeline.signals.advance import GAUGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.signals.aliases import Reading
    from pipeline.signals.definitions import Term


_MEMBER = np.dtype(
    [
        ("slot", "i4"),
        ("service", "i4"),  # row
        ("bound", "f8"),  # a bucket's upper bound, NaN where it is none
        ("scale", "f8"),  # of values; of a bucket, its bound has it already
        ("choice", "i4"),  # one number a service and name, of whose spellings one is chosen
        ("rank", "i2"),  # of the spelling; the lowest that reports is chosen
        ("is_rate", "?"),  # a gauge whose values are the counter's rate
    ]
)

_Entry = tuple[int, float, "Reading"]
"""Service row, the bucket's upper bound, and how the series is read."""


class Members:
    """The series of one term: slot, service row, and for histograms the bucket's upper bound.

    Kept in the order of slots, so that sums come out the same however the series arrived. Where a service sends one
    thing in several spellings, the best known one that has a sample in the frame counts.
    """

    def __init__(self, term: Term) -> None:
        self.term = term
        self._entries: dict[int, tuple[_Entry, ...]] = {}
        self._array: npt.NDArray[np.void] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, slot: int, service: int, bound: float, reading: Reading) -> None:
        """One more series, read so; `bound` is the bucket's upper bound (NaN where it is none).

        One that is read as several of the term's names counts as each.
        """
        others = (entry for entry in self._entries.get(slot, ()) if entry[2].series.name != reading.series.name)
        self._entries[slot] = (*others, (service, bound, reading))
        self._array = None

    def remove(self, slots: set[int]) -> None:
        """These series are gone."""
        gone = slots & self._entries.keys()
        for slot in gone:
            del self._entries[slot]
        if gone:
            self._array = None

    def renumber(self, slots: Mapping[int, int]) -> None:
        """Series have other slots now: the new one by the old."""
        self._entries = {slots[slot]: entries for slot, entries in self._entries.items()}
        self._array = None

    def array(self) -> npt.NDArray[np.void]:
        """The m series as rows of the member type, in ascending order of slots."""
        if self._array is None:
            choices: dict[tuple[int, str], int] = {}
            self._array = np.array(
                [
                    (
                        slot,
                        service,
                        bound * (reading.scale if bound == bound else 1.0),  # noqa: PLR0124  NaN is no bound
                        1.0 if reading.series.kind.is_bucket else reading.scale,
                        choices.setdefault((service, reading.series.name), len(choices)),
                        reading.rank,
                        reading.is_rate,
                    )
                    for slot, entries in sorted(self._entries.items())
                    for service, bound, reading in entries
                ],
                dtype=_MEMBER,
            )
        return self._array

    def reported(self, rows: npt.NDArray[Any], services: int) -> npt.NDArray[np.bool_]:
        """Whether any of a service's series had a sample in this frame; bool[services]."""
        return _reported(rows, self.array(), services)

    def per_service(self, rows: npt.NDArray[Any], services: int) -> npt.NDArray[np.float64]:
        """Value of the term for each service row, NaN where it has no data in this frame; float64[services]."""
        members = self._chosen(rows)
        term = self.term
        return _reduce(rows, members, _TAKES.index(term.take), _OVERS.index(term.over), services) * term.scale

    def quantiles(self, rows: npt.NDArray[Any], services: int, q: float) -> npt.NDArray[np.float64]:
        """The q-quantile of each service's histogram over this frame; float64[services], NaN without observations.

        Linear within a bucket, the lowest bucket starts at 0, the highest bound stands for +Inf
        (Prometheus' `histogram_quantile`).
        """
        members = self._chosen(rows)
        members = members[np.lexsort((members["bound"], members["service"]))]
        increase = _increases(rows, members)
        return _quantiles(members["service"], members["bound"], increase, services, q)

    def _chosen(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.void]:
        members = self.array()
        return members[_best_known(rows, members)] if members["rank"].any() else members


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
def _best_known(rows: npt.NDArray[np.void], members: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """bool[m]: whether no better known spelling of the same thing of the same service has a sample in this frame."""
    best = np.full(len(members), 32767, dtype=np.int16)
    for member in members:
        if rows[member["slot"]]["seen"]:
            best[member["choice"]] = min(best[member["choice"]], member["rank"])
    result = np.zeros(len(members), dtype=np.bool_)
    for i in range(len(members)):
        result[i] = members[i]["rank"] == best[members[i]["choice"]]
    return result


@numba.njit(cache=True, nogil=True)
def _reduce(
    rows: npt.NDArray[np.void], members: npt.NDArray[np.void], take: int, over: int, services: int
) -> npt.NDArray[np.float64]:
    """Sum, mean or maximum over each service's series; NaN for a service without any value."""
    result = np.full(services, np.nan)
    found = np.zeros(services, dtype=np.int64)
    for member in members:
        value = _take(rows[member["slot"]], _MEAN if member["is_rate"] and take == _RATE else take) * member["scale"]
        if np.isnan(value):
            continue
        s = member["service"]
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
def _reported(rows: npt.NDArray[np.void], members: npt.NDArray[np.void], services: int) -> npt.NDArray[np.bool_]:
    result = np.zeros(services, dtype=np.bool_)
    for member in members:
        if rows[member["slot"]]["seen"]:
            result[member["service"]] = True
    return result


@numba.njit(cache=True, nogil=True)
def _increases(rows: npt.NDArray[np.void], members: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    result = np.empty(len(members))
    for i in range(len(members)):
        result[i] = _take(rows[members[i]["slot"]], _INCREASE)
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
