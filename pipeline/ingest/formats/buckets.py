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

from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SCALE: Final = 2
DELTA_SCALE: Final = 0
_DELTA_TOP: Final = 20
_FILLED_FROM: Final = -64
_FILLED_TO: Final = 64
"""Exponents of 2 between which bounds are added: indexes go on to 2^31, and a point must not cost what it likes."""
_COARSEST: Final = -10
_REMEMBERED: Final = 4096
"""Bounds that are kept once they are worked out: histograms share them."""
_FINEST: Final = 2**8
_TOLERANCE: Final = 1e-6
"""Of an exponent: bounds come as the shortest text that gives the float."""


class Cumulative(NamedTuple):
    """Upper bounds as texts, ascending up to `+Inf`, and how many observations are at or below each."""

    le: tuple[str, ...]
    below: tuple[float, ...]


class Exponential(NamedTuple):
    """An exponential histogram: counts by index, where index i is (base^i, base^(i+1)] and base 2^(2^-scale)."""

    scale: int
    zero_threshold: float
    zero: float
    positive: Mapping[int, float]
    negative: Mapping[int, float]
    total: float


@lru_cache(maxsize=_REMEMBERED)
def bound_text(bound: float) -> str:
    """A bound as a label has it: `0.25`, `5`, `+Inf`; both zeros are `0`."""
    return "+Inf" if bound == math.inf else repr(bound + 0.0).removesuffix(".0")


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
    if math.isnan(histogram.zero_threshold) or histogram.zero_threshold < 0:
        raise DecodeError("zero threshold of a histogram is not a positive number", reason="fields")
    scale = min(histogram.scale, DELTA_SCALE if delta else SCALE)
    positive = _merged(histogram.positive, histogram.scale - scale)
    negative = _merged(histogram.negative, histogram.scale - scale)
    at_or_below = _cumulated(_ascending(histogram, scale, positive, negative))
    if delta and positive:
        _fill(at_or_below, scale, positive)
    return _closed(at_or_below, histogram.total)


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
    return math.copysign(_bound(index, SCALE), bound)


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


def _merged(counts: Mapping[int, float], shift: int) -> dict[int, float]:
    """Buckets that hold anything, 2^shift of them in one."""
    merged: dict[int, float] = {}
    for index, count in counts.items():
        if count:
            merged[index >> shift] = merged.get(index >> shift, 0.0) + count
    return merged


def _ascending(
    histogram: Exponential, scale: int, positive: Mapping[int, float], negative: Mapping[int, float]
) -> Iterator[tuple[float, float, float]]:
    """Lower bound, upper bound and count of what is not empty."""
    zero = histogram.zero_threshold
    for index in sorted(negative, reverse=True):
        # Not -bound: of one that is 0 that would be -0, another label.
        yield 0.0 - _bound(index + 1, scale), min(0.0 - _bound(index, scale), -zero), negative[index]
    if histogram.zero:
        yield zero, zero, histogram.zero  # what is below it gives its own bounds
    for index in sorted(positive):
        yield max(_bound(index, scale), zero), max(_bound(index + 1, scale), zero), positive[index]


@lru_cache(maxsize=_REMEMBERED)
def _bound(index: int, scale: int) -> float:
    """base^index; infinite or 0 beyond what a float holds."""
    try:
        return float(2.0 ** (index * 2.0**-scale))
    except OverflowError:
        return math.inf if index > 0 else 0.0


def _fill(at_or_below: dict[float, float], scale: int, positive: Iterable[int]) -> None:
    """Add the bounds between, and above up to the top, that other increments may give."""
    lowest = max(min(positive), _FILLED_FROM >> -scale)
    highest = min(max(_DELTA_TOP >> -scale, *positive) + 1, _FILLED_TO >> -scale)
    start = _bound(lowest, scale)
    reached = max((below for bound, below in at_or_below.items() if bound <= start), default=0.0)
    for index in range(lowest, highest + 1):
        bound = _bound(index, scale)
        reached = at_or_below.setdefault(bound, reached)
