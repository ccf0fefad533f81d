"""Whether two samples of a signal differ, and whether a count is more than chance: tests for before and after.

Own code where scipy.stats has it, because importing that costs a worker 65 MB; the tests hold both to the same values.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy.special import bdtrc, ndtr

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64s = npt.NDArray[np.float64]


SIGNIFICANT: Final = 0.01
LARGE_DELTA: Final = 0.8
NOTABLE_RATIO: Final = 1.3
_LEAST_GROWTH: Final = 3
_LIKELY_GROWTH: Final = 1.0 / 6.0
"""Growth is more often there than not, so less proves it than a difference: as much as three values in order do."""
_NORMAL_GROWTH: Final = 6
"""Values from which on the normal approximation of Kendall's statistic is good enough."""


class Shift(NamedTuple):
    """How a second sample lies against a first one."""

    p: float
    """Mann-Whitney, two-sided: how likely such ranks are where nothing changed."""
    delta: float
    """Cliff's delta, -1 to 1: share of pairs in which the second is larger, less the share in which it is smaller."""
    ratio: float
    """Median of the second over that of the first; NaN where the first is 0."""


def compare(first: Float64s, second: Float64s) -> Shift:
    """The second sample against the first; float64[n] and float64[m], without NaN, neither empty.

    Mann and Whitney 1947 with the normal approximation, continuity and tie correction; Cliff 1993.
    """
    n, m = len(first), len(second)
    values, inverse, counts = np.unique(np.concatenate([first, second]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    larger = float(ranks[n:].sum()) - m * (m + 1) / 2.0
    size = n + m
    ties = float((counts**3 - counts).sum()) / (size * (size - 1)) if size > 1 else 0.0
    spread = float(np.sqrt(n * m / 12.0 * (size + 1 - ties)))
    away = max(0.0, abs(larger - n * m / 2.0) - 0.5)
    p = 1.0 if spread == 0.0 or len(values) == 1 else min(1.0, 2.0 * float(ndtr(-away / spread)))
    before = float(np.median(first))
    ratio = float(np.median(second)) / before if before else float("nan")
    return Shift(p, 2.0 * larger / (n * m) - 1.0, ratio)


def growth(values: Float64s) -> float:
    """By how much a sample in order of time, float64[n], grows from one value to the next; 0 where that may be chance.

    Slope of Theil 1950 and Sen 1968 where Kendall's rank correlation with time is positive beyond chance (1 in 6, which
    is what three values in order are), by the normal approximation; fewer than six values by growing each time only.
    """
    n = len(values)
    if n < _LEAST_GROWTH:
        return 0.0
    first, second = np.triu_indices(n, 1)
    rises = values[second] - values[first]
    concordance = float(np.sign(rises).sum())
    if n < _NORMAL_GROWTH:
        grows = concordance == len(rises)
    else:
        spread = float(np.sqrt(n * (n - 1) * (2 * n + 5) / 18.0))
        grows = float(ndtr(-(concordance - 1.0) / spread)) < _LIKELY_GROWTH
    return float(np.median(rises / (second - first))) if grows else 0.0


def binomial_tail(successes: float, trials: float, share: float) -> float:
    """Probability of at least so many successes in so many trials of this share; counts are rounded."""
    count, of = round(successes), round(trials)
    if count <= 0 or of <= 0:
        return 1.0
    return float(bdtrc(min(count, of) - 1, of, min(max(share, 0.0), 1.0)))


class Verdict(enum.StrEnum):
    """How a signal of which more is worse moved."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"


def judge(first: Float64s, second: Float64s, floor: float = 0.0) -> Verdict:
    """Whether the second sample of a signal is better or worse than the first; larger values are worse.

    Three things must agree, because p-values of autocorrelated signals alone are wrong in 21 to 56 % of healthy pairs
    (LAB-NOTES): p < .01, Cliff's delta beyond 0.8, medians apart by a factor of 1.3 and by more than `floor`.
    """
    if not len(first) or not len(second):
        return Verdict.SAME
    shift = compare(first, second)
    apart = abs(float(np.median(second)) - float(np.median(first))) > floor
    if shift.p >= SIGNIFICANT or abs(shift.delta) <= LARGE_DELTA or not apart:
        return Verdict.SAME
    if shift.delta > 0:
        return Verdict.WORSE if np.isnan(shift.ratio) or shift.ratio > NOTABLE_RATIO else Verdict.SAME
    return Verdict.BETTER if shift.ratio < 1.0 / NOTABLE_RATIO else Verdict.SAME
