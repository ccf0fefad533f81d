"""Exponential buckets into cumulative ones, in compiled code: see `pipeline.ingest.formats.buckets` for the rule.

Bounds are powers of 2^(1/4), the grid; those of coarser scales are among them. A bound is told by its place there, so
that none is worked out, or written as text, for each histogram anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel

if TYPE_CHECKING:
    import numpy.typing as npt

GRID_SCALE: Final = 2
_ONE = 1080 << GRID_SCALE
"""Place of the bound 1: floats end at 2^-1075 and 2^1024, where the grid has 0 and infinity."""
_LAST = _ONE + (1024 << GRID_SCALE)
GRID: Final = np.array([*(2.0 ** ((place - _ONE) / 2**GRID_SCALE) for place in range(_LAST)), math.inf])
OFF_GRID: Final = -_LAST - 1
"""What stands for the place of a bound that is not on the grid."""


class Buckets(NamedTuple):
    """n buckets by ascending index: indexes int64[n], counts float64[n]. Those of no count are as if they were not."""

    indexes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float64]


NOTHING: Final = Buckets(np.empty(0, dtype=np.int64), np.empty(0))


class Zero(NamedTuple):
    """The bucket around 0."""

    threshold: float
    held: float


class Cumulated(NamedTuple):
    """Room for n bounds: place int64[n] on the grid (a negative bound's is minus that), bound and below float64[n]."""

    place: npt.NDArray[np.int64]
    bound: npt.NDArray[np.float64]
    below: npt.NDArray[np.float64]


def room_for(most: int) -> Cumulated:
    """Room for so many bounds."""
    return Cumulated(np.empty(most, dtype=np.int64), np.empty(most), np.empty(most))


@kernel
def _place(index: int, scale: int) -> int:
    """Place on the grid of the bound with this index at this scale."""
    return int(min(max((index << (GRID_SCALE - scale)) + _ONE, 0), _LAST))


@kernel
def _add(into: Cumulated, n: int, place: int, bound: float, below: float, is_end: bool) -> int:
    """How many are at or below a finite bound, none of which descends; where one stands, only a bucket's end says more.

    How many bounds there are then.
    """
    if math.isinf(bound):  # a bound of no bucket: what is below the last one the total tells
        return n
    if n > 0 and into.bound[n - 1] == bound:
        if is_end:
            into.below[n - 1] = below
        return n
    into.place[n], into.bound[n], into.below[n] = place, bound, below
    return n + 1


@kernel
def _add_at(into: Cumulated, n: int, place: int, least: float, below: float, is_end: bool) -> int:
    """The same for the bound at a place, or `least` if that is more."""
    bound = GRID[place]
    if bound < least:
        return int(_add(into, n, OFF_GRID, least, below, is_end))
    return int(_add(into, n, place, bound, below, is_end))


@kernel
def _add_below(into: Cumulated, n: int, place: int, most: float, below: float, is_end: bool) -> int:
    """The same for the negative of the bound at a place, or `most` if that is less."""
    bound = 0.0 - GRID[place]  # of 0 it is 0, not -0
    if bound > most:
        return int(_add(into, n, OFF_GRID, most, below, is_end))
    return int(_add(into, n, -place, bound, below, is_end))


@kernel
def cumulate(positive: Buckets, negative: Buckets, zero: Zero, scales: tuple[int, int], into: Cumulated) -> int:
    """Cumulative buckets at the second of the scales of histograms at the first; how many bounds they have.

    There is room for two bounds a bucket, and two more.
    """
    shift, scale = scales[0] - scales[1], scales[1]
    n, below = 0, 0.0
    at = len(negative.indexes) - 1
    while at >= 0:
        index, count = negative.indexes[at] >> shift, 0.0
        while at >= 0 and negative.indexes[at] >> shift == index:
            count += negative.counts[at]
            at -= 1
        if count != 0.0:
            n = _add_below(into, n, _place(index + 1, scale), -zero.threshold, below, False)
            below += count
            n = _add_below(into, n, _place(index, scale), -zero.threshold, below, True)
    if zero.held != 0.0:
        # What is below it has its own bounds.
        place = 0 if zero.threshold == 0.0 else OFF_GRID
        n = _add(into, n, place, zero.threshold, below, False)
        below += zero.held
        n = _add(into, n, place, zero.threshold, below, True)
    at = 0
    while at < len(positive.indexes):
        index, count = positive.indexes[at] >> shift, 0.0
        while at < len(positive.indexes) and positive.indexes[at] >> shift == index:
            count += positive.counts[at]
            at += 1
        if count != 0.0:
            n = _add_at(into, n, _place(index, scale), zero.threshold, below, False)
            below += count
            n = _add_at(into, n, _place(index + 1, scale), zero.threshold, below, True)
    return n


@kernel
def fill(found: Cumulated, n: int, indexes: tuple[int, int], scale: int, into: Cumulated) -> int:
    """The n bounds found, and each that is not among them from the first to the last of these indexes; how many.

    What is added says what the bound before it says.
    """
    at, filled, reached = 0, 0, 0.0
    for index in range(indexes[0], indexes[1] + 1):
        place = _place(index, scale)
        while at < n and found.bound[at] <= GRID[place]:
            reached = found.below[at]
            filled = _add(into, filled, found.place[at], found.bound[at], reached, True)
            at += 1
        filled = _add(into, filled, place, GRID[place], reached, False)
    while at < n:
        filled = _add(into, filled, found.place[at], found.bound[at], found.below[at], True)
        at += 1
    return filled
