"""Exponential buckets into cumulative ones: the compiled way against the rule, spelt out."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.formats.buckets import Cumulative, Exponential, bound_text, exponential
from pipeline.ingest.scan.exponential import Buckets, Zero

COUNTS = st.dictionaries(st.integers(-60, 60) | st.integers(-(2**31), 2**31), st.integers(0, 9).map(float), max_size=9)
THRESHOLDS = st.sampled_from([0.0, 1e-300, 0.3, 1.0, 5.0, 1e9])


def bound(index: int, scale: int) -> float:
    try:
        return float(2.0 ** (index * 2.0**-scale))
    except OverflowError:
        return math.inf if index > 0 else 0.0


def observed(
    scale: int, zero: Zero, positive: dict[int, float], negative: dict[int, float]
) -> list[tuple[float, float, float]]:
    """Lower bound, upper bound and count of each bucket that holds anything; none reaches into the one around 0."""
    found = [
        (min(-bound(index + 1, scale), -zero.threshold), min(-bound(index, scale), -zero.threshold), count)
        for index, count in negative.items()
    ]
    found += [(zero.threshold, zero.threshold, zero.held)]
    found += [
        (max(bound(index, scale), zero.threshold), max(bound(index + 1, scale), zero.threshold), count)
        for index, count in positive.items()
    ]
    return [one for one in found if one[2]]


def merged(counts: dict[int, float], shift: int) -> dict[int, float]:
    found: dict[int, float] = {}
    for index, count in counts.items():
        found[index >> shift] = found.get(index >> shift, 0.0) + count
    return found


def buckets(counts: dict[int, float]) -> Buckets:
    indexes = sorted(counts)
    return Buckets(np.array(indexes, np.int64), np.array([counts[index] for index in indexes], np.float64))


@given(st.integers(-10, 20), THRESHOLDS, st.integers(0, 3).map(float), COUNTS, COUNTS)
@settings(max_examples=300, deadline=None)
def test_bounds_are_those_of_buckets_that_hold_anything(
    scale: int, threshold: float, held: float, positive: dict[int, float], negative: dict[int, float]
) -> None:
    """Each with what is at or below it, whatever the scale, and wherever the bucket around 0 ends."""
    zero, shift = Zero(threshold, held), max(0, scale - 2)
    told = observed(scale - shift, zero, merged(positive, shift), merged(negative, shift))
    bounds = sorted({one + 0.0 for low, high, _ in told for one in (low, high) if math.isfinite(one)})
    below = [sum(count for _, high, count in told if high <= one) for one in bounds]
    whole = Exponential(scale, zero, buckets(positive), buckets(negative), 99.0)
    wanted = Cumulative((*map(bound_text, bounds), "+Inf"), (*below, 99.0))
    assert exponential(whole, delta=False) == wanted


@given(st.integers(-10, 20), THRESHOLDS, st.integers(0, 3).map(float), COUNTS)
@settings(max_examples=300, deadline=None)
def test_increments_have_every_bound_from_the_lowest_on(
    scale: int, threshold: float, held: float, positive: dict[int, float]
) -> None:
    """Up to 2^20 and the highest; what is at or below one never falls."""
    zero = Zero(threshold, held)
    found = exponential(Exponential(scale, zero, buckets(positive), buckets({}), 99.0), delta=True)
    shift = max(0, scale)
    told = observed(scale - shift, zero, merged(positive, shift), {})
    bounds = [float(le) for le in found.le[:-1]]
    assert bounds == sorted(set(bounds))
    assert list(found.below[:-1]) == [sum(count for _, high, count in told if high <= one) for one in bounds]
    filled = [index for index, count in merged(positive, shift).items() if count]
    if scale >= 0 and filled and -64 <= min(filled) <= 20:
        assert {2.0**index for index in range(min(filled), 21)} <= set(bounds)
