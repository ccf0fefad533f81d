"""Histograms of every form as cumulative `le` buckets, which is what signals read.

Explicit bounds stay as they are. Exponential buckets (OTLP) and native ones (Prometheus) are merged down to scale 2,
that is four buckets to a doubling, so that a quantile is within 10 % and series are few; coarser ones stay. Each
bucket that holds anything gives its lower and its upper bound: as counts only grow, so does the set of series.
Increments (delta temporality) are each other's only when all give the same bounds: they are merged down to scale 0
(one bucket to a doubling) and give every bound from the lowest that holds anything up to 2^20, those beyond 2^-64 and
2^64 only where they hold anything.

Sources: OpenTelemetry metrics data model, "Exponential buckets"; Prometheus, "Native histograms" (schema = scale, an
index of which is higher by one).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.scan.exponential import (
    GRID,
    GRID_SCALE,
    OFF_GRID,
    Buckets,
    Cumulated,
    Zero,
    cumulate,
    fill,
    room_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

SCALE: Final = GRID_SCALE
DELTA_SCALE: Final = 0
_DELTA_TOP: Final = 20
_FILLED_FROM: Final = -64
_FILLED_TO: Final = 64
"""Exponents of 2 between which bounds are added: indexes go on to 2^31, and a point must not cost what it likes."""
_COARSEST: Final = -10
_REMEMBERED: Final = 4096
"""Bounds that are kept once they are worked out: histograms share them."""
_SHARED: Final = 256
"""So many bounds together, too."""
_FINEST: Final = 2**8
_TOLERANCE: Final = 1e-6
"""Of an exponent: bounds come as the shortest text that gives the float."""


class Cumulative(NamedTuple):
    """Upper bounds as texts, ascending up to `+Inf`, and how many observations are at or below each."""

    le: tuple[str, ...]
    below: tuple[float, ...]


class Exponential(NamedTuple):
    """An exponential histogram: buckets by index, where index i is (base^i, base^(i+1)] and base 2^(2^-scale)."""

    scale: int
    zero: Zero
    positive: Buckets
    negative: Buckets
    total: float


@lru_cache(maxsize=_REMEMBERED)
def bound_text(bound: float) -> str:
    """A bound as a label has it: `0.25`, `5`, `+Inf`; both zeros are `0`."""
    return "+Inf" if bound == math.inf else repr(bound + 0.0).removesuffix(".0")


_GRID_TEXTS: Final = tuple(map(bound_text.__wrapped__, GRID.tolist()))


def explicit(bounds: Sequence[float], counts: Sequence[float], total: float) -> Cumulative:
    """Buckets between these bounds, one more than bounds. Raises DecodeError (reason `fields`)."""
    if not counts and not bounds:
        return Cumulative(("+Inf",), (total,))
    if len(counts) != len(bounds) + 1:
        raise DecodeError(f"a histogram of {len(bounds)} bounds with {len(counts)} buckets", reason="fields")
    finite = bounds[:-1] if bounds and bounds[-1] == math.inf else bounds
    if not all(map(math.isfinite, finite)) or any(low >= high for low, high in pairwise(bounds)):
        raise DecodeError("bounds of a histogram are not ascending numbers", reason="fields")
    texts = tuple(bound_text(bound) for bound in finite)
    return Cumulative((*texts, "+Inf"), (*list(accumulate(counts))[: len(finite)], total))


def exponential(histogram: Exponential, *, delta: bool) -> Cumulative:
    """Exponential buckets by the rule above. Raises DecodeError (reason `fields`) for a scale below -10."""
    if histogram.scale < _COARSEST:
        raise DecodeError(f"scale {histogram.scale} of an exponential histogram is below {_COARSEST}", reason="fields")
    if math.isnan(histogram.zero.threshold) or histogram.zero.threshold < 0:
        raise DecodeError("zero threshold of a histogram is not a positive number", reason="fields")
    scale = min(histogram.scale, DELTA_SCALE if delta else SCALE)
    positive, negative = histogram.positive, histogram.negative
    found = room_for(2 * (len(positive.indexes) + len(negative.indexes)) + 2)
    n = cumulate(positive, negative, histogram.zero, (histogram.scale, scale), found)
    if delta and len(filled := positive.indexes[positive.counts != 0]):
        found, n = _filled(found, n, scale, filled >> (histogram.scale - scale))
    place = found.place[:n]
    texts = _grid_texts(place.tobytes()) if n <= _SHARED else _texts(place)
    if "" in texts:
        texts = tuple(text or bound_text(one) for text, one in zip(texts, found.bound[:n].tolist(), strict=True))
    return Cumulative((*texts, "+Inf"), (*found.below[:n].tolist(), histogram.total))


@lru_cache(maxsize=_REMEMBERED)
def _grid_texts(places: bytes) -> tuple[str, ...]:
    """Bounds at these places (int64) as labels have them: most histograms of a metric have the same."""
    return _texts(np.frombuffer(places, dtype=np.int64))


def _texts(place: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Bounds at these places as labels have them; an empty text for one that is not on the grid."""
    return tuple(
        _GRID_TEXTS[one] if one >= 0 else f"-{_GRID_TEXTS[-one]}" if one != OFF_GRID else "" for one in place.tolist()
    )


def _filled(found: Cumulated, n: int, scale: int, filled: npt.NDArray[np.int64]) -> tuple[Cumulated, int]:
    """These n bounds, and those between and above up to the top that other increments may give."""
    lowest = max(int(filled[0]), _FILLED_FROM >> -scale)
    highest = min(max(_DELTA_TOP >> -scale, int(filled[-1])) + 1, _FILLED_TO >> -scale)
    into = room_for(n + max(0, highest - lowest + 1))
    return into, fill(found, n, (lowest, highest), scale, into)


def ranges(buckets: Sequence[tuple[float, float, float]], total: float) -> Cumulative:
    """Buckets (lower bound, upper bound, count) that hold anything, ascending, by the same rule.

    Exponential ones have powers of 2^(1/256) as bounds; any others stay as they are. The one around 0 is from -t to t.
    """
    rounds = all(_is_power(bound) for low, high, _ in buckets if low != -high for bound in (low, high))
    ascending = []
    for low, high, count in buckets:
        if low == -high:
            ascending.append((high, high, count))
        elif rounds:
            ascending.append((_outwards(low, -1), _outwards(high, 1), count))
        else:
            ascending.append((low, high, count))
    return _closed(_cumulated(ascending), total)


def _is_power(bound: float) -> bool:
    if bound == 0 or not math.isfinite(bound):
        return bound != -math.inf  # which is where the first bucket of custom bounds begins
    exponent = math.log2(abs(bound)) * _FINEST
    return abs(exponent - round(exponent)) < _TOLERANCE


def _outwards(bound: float, way: int) -> float:
    """The bound at scale 2 that is nearest in this direction (1: up, -1: down), the bound itself where it is one."""
    if bound == 0 or not math.isfinite(bound):
        return bound
    exponent = math.log2(abs(bound)) * 2**SCALE
    index = round(exponent)
    if abs(exponent - index) > _TOLERANCE:
        index = math.ceil(exponent) if (bound > 0) == (way > 0) else math.floor(exponent)
    return math.copysign(_bound(index), bound)


def _cumulated(ascending: Iterable[tuple[float, float, float]]) -> dict[float, float]:
    """How many are at or below each bound of (lower bound, upper bound, count)."""
    at_or_below: dict[float, float] = {}
    below = 0.0
    for low, high, count in ascending:
        at_or_below.setdefault(low, below)
        below += count
        at_or_below[high] = below
    return at_or_below


def _closed(at_or_below: Mapping[float, float], total: float) -> Cumulative:
    bounds = sorted(bound for bound in at_or_below if math.isfinite(bound))
    return Cumulative((*map(bound_text, bounds), "+Inf"), (*(at_or_below[bound] for bound in bounds), total))


def _bound(index: int) -> float:
    """Bound with this index on the grid; infinite or 0 beyond what a float holds."""
    try:
        return float(2.0 ** (index * 2.0**-SCALE))
    except OverflowError:
        return math.inf if index > 0 else 0.0
