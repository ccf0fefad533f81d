"""Terms and signals of all services at the end of a frame, in kernels that run once a frame.

What each holds is laid out beforehand (`pipeline.signals.plan`), so that a frame costs no call for each signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numba
import numpy as np

from pipeline.signals.advance import GAUGE

if TYPE_CHECKING:
    import numpy.typing as npt

TAKES: Final = ("rate", "increase", "mean", "last", "max")
_RATE, _INCREASE, _MEAN, _LAST, _ = range(len(TAKES))
OVERS: Final = ("sum", "mean", "max")
_SUM, _AVERAGE, _LARGEST = range(len(OVERS))

TERM: Final = np.dtype(
    [
        ("start", "i4"),  # its members are `start` to `stop`
        ("stop", "i4"),
        ("take", "i1"),
        ("over", "i1"),
        ("is_ranked", "?"),  # some series have several spellings
        ("scale", "f8"),
    ]
)
"""How the series of a term become a number for each service."""

FORMULA: Final = np.dtype(
    [
        ("column", "i4"),
        ("above", "i4"),  # number of the term; of the ratio's numerator
        ("below", "i4"),  # of its denominator; -1: the signal is the first term itself
        ("above_default", "f8"),  # NaN: none
        ("below_default", "f8"),
        ("is_complement", "?"),
    ]
)
"""A signal that is a term, or the ratio of two."""

QUANTILE: Final = np.dtype([("column", "i4"), ("term", "i4"), ("q", "f8")])
"""A signal that is a quantile of a term's buckets, whose members are sorted by service and bound."""


@numba.njit(cache=True, nogil=True)
def reduce_terms(
    rows: npt.NDArray[np.void],
    members: npt.NDArray[np.void],
    terms: npt.NDArray[np.void],
    values: npt.NDArray[np.float64],
    reported: npt.NDArray[np.bool_],
) -> None:
    """Fill values float64[terms, services] (NaN without data) and reported bool[terms, services] (any sample)."""
    for t in range(len(terms)):
        part = members[terms[t]["start"] : terms[t]["stop"]]
        for member in part:
            if rows[member["slot"]]["seen"]:
                reported[t, member["service"]] = True
        chosen = _best_known(rows, part) if terms[t]["is_ranked"] else np.ones(len(part), dtype=np.bool_)
        _reduce(rows, part, chosen, terms[t]["take"], terms[t]["over"], values[t])
        values[t] *= terms[t]["scale"]


@numba.njit(cache=True, nogil=True)
def combine(formulas: npt.NDArray[np.void], values: npt.NDArray[np.float64], signals: npt.NDArray[np.float64]) -> None:
    """Fill the columns of signals float64[services, signals] from the terms' values float64[terms, services]."""
    for f in range(len(formulas)):
        formula = formulas[f]
        for s in range(len(signals)):
            above = values[formula["above"], s]
            if formula["below"] < 0:
                signals[s, formula["column"]] = formula["above_default"] if np.isnan(above) else above
                continue
            below = values[formula["below"], s]
            # A default stands in for one half of a ratio, never for both: a service that has neither has no signal.
            if np.isnan(above) and np.isnan(below):
                continue
            above = formula["above_default"] if np.isnan(above) else above
            below = formula["below_default"] if np.isnan(below) else below
            if below > 0:
                ratio = above / below
                signals[s, formula["column"]] = 1.0 - ratio if formula["is_complement"] else ratio


@numba.njit(cache=True, nogil=True)
def quantiles(
    rows: npt.NDArray[np.void],
    members: npt.NDArray[np.void],
    terms: npt.NDArray[np.void],
    wanted: npt.NDArray[np.void],
    signals: npt.NDArray[np.float64],
) -> None:
    """Fill the columns of signals float64[services, signals] that are quantiles of histograms over this frame.

    Linear within a bucket, the lowest bucket starts at 0, the highest bound stands for +Inf
    (Prometheus' `histogram_quantile`).
    """
    for w in range(len(wanted)):
        term = terms[wanted[w]["term"]]
        part = members[term["start"] : term["stop"]]
        increase = np.empty(len(part))
        bound = np.empty(len(part))
        chosen = _best_known(rows, part) if term["is_ranked"] else np.ones(len(part), dtype=np.bool_)
        for i in range(len(part)):
            bound[i] = part[i]["bound"]
            increase[i] = _take(rows[part[i]["slot"]], _INCREASE) if chosen[i] else np.nan
        start = 0
        while start < len(part):
            end = start
            while end < len(part) and part[end]["service"] == part[start]["service"]:
                end += 1
            found = _quantile(bound[start:end], increase[start:end], wanted[w]["q"])
            signals[part[start]["service"], wanted[w]["column"]] = found
            start = end


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
    rows: npt.NDArray[np.void],
    members: npt.NDArray[np.void],
    chosen: npt.NDArray[np.bool_],
    take: int,
    over: int,
    result: npt.NDArray[np.float64],
) -> None:
    """Sum, mean or maximum over each service's chosen series; what has none stays as it is."""
    found = np.zeros(len(result), dtype=np.int64)
    for i in range(len(members)):
        if not chosen[i]:
            continue
        member = members[i]
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
        for s in range(len(result)):
            if found[s] > 0:
                result[s] /= found[s]


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
