"""Whether a count of alarms is more than chance makes of another: exact tails, without a library that takes a second.

Alarms that come independently are Poisson. Of two counts over the same time the one is, if both come at one rate,
binomial with a half of their sum (Przyborowski & Wilenski, Biometrika 31, 1940).
"""

from __future__ import annotations

import math
from typing import Final

SURE: Final = 0.95
"""How sure must be whatever is said of a count."""


def surely_more(count: int, mean: float) -> bool:
    """Whether a rate that gives `mean` alarms in a time as long would hardly ever give so many."""
    return _poisson_tail(count, mean) <= 1 - SURE


def surely_more_than(count: int, other: int) -> bool:
    """Whether two that raise equally many would hardly ever differ so much; both counted over the same time."""
    return _half_tail(count, count + other) <= 1 - SURE


def _poisson_tail(count: int, mean: float) -> float:
    """Probability of `count` or more."""
    if mean <= 0:
        return float(count <= 0)
    return 1 - math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(count))


def _half_tail(count: int, of: int) -> float:
    """Probability of `count` heads or more in `of` tosses."""
    whole = math.lgamma(of + 1) - of * math.log(2)
    return math.fsum(math.exp(whole - math.lgamma(i + 1) - math.lgamma(of - i + 1)) for i in range(count, of + 1))
