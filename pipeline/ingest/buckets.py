"""Histograms of every form as cumulative `le` buckets, which is what signals read.

Explicit bounds stay as they are. Exponential buckets (OTLP) and native ones (Prometheus) are merged down to scale 2,
that is four buckets to a doubling, so that a quantile is within 10 % and series are few; coarser ones stay. Each
bucket that holds anything gives its lower and its upper bound: as counts only grow, so does the set of series.
Increments (delta temporality) are each other's only when all give the same bounds: they are merged down to scale 0
(one bucket to a doubling) and give every bound from the lowest that holds anything up to 2^20.

Sources: OpenTelemetry metrics data model, "Exponential buckets"; Prometheus, "Native histograms" (schema = scale, an
index of which is higher by one).
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SCALE: Final = 2
DELTA_SCALE: Final = 0
_DELTA_TOP: Final = 20
_COARSEST: Final = -10


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


def bound_text(bound: float) -> str:
    """A bound as a label has it: `0.25`, `5`, `+Inf`."""
    return "+Inf" if bound == math.inf else repr(float(bound)).removesuffix(".0")


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
    at_or_below: dict[float, float] = {}
    below = 0.0
    for low, high, count in _ascending(histogram, scale, positive, negative):
        at_or_below.setdefault(low, below)
        below += count
        at_or_below[high] = below
    if delta and positive:
        _fill(at_or_below, scale, positive)
    at_or_below.pop(math.inf, None)
    at_or_below.pop(-math.inf, None)
    bounds = sorted(at_or_below)
    return Cumulative((*map(bound_text, bounds), "+Inf"), (*(at_or_below[bound] for bound in bounds), histogram.total))


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
        yield -_bound(index + 1, scale), min(-_bound(index, scale), -zero), negative[index]
    if histogram.zero:
        yield zero, zero, histogram.zero  # what is below it gives its own bounds
    for index in sorted(positive):
        yield max(_bound(index, scale), zero), max(_bound(index + 1, scale), zero), positive[index]


def _bound(index: int, scale: int) -> float:
    """base^index; infinite or 0 beyond what a float holds."""
    try:
        return float(2.0 ** (index * 2.0**-scale))
    except OverflowError:
        return math.inf if index > 0 else 0.0


def _fill(at_or_below: dict[float, float], scale: int, positive: Iterable[int]) -> None:
    """Add the bounds between, and above up to the top, that other increments may give."""
    lowest = min(positive)
    reached = 0.0
    for index in range(lowest, max(_DELTA_TOP >> -scale, *positive) + 2):
        bound = _bound(index, scale)
        reached = at_or_below.setdefault(bound, reached)
