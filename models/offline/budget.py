"""How many false alarms a threshold may raise on the data it is set on, so that the next period keeps to the budget.

A count is a matter of chance: a threshold that just keeps to its budget on one period breaks it on half of the next
ones. Alarms that come independently are Poisson, and with k seen on one period the number X on a next one as long is
negative binomial (k + 1, 1/2), whatever their rate: a prediction bound (Hahn & Meeker, Statistical Intervals, 1991,
ch. 7).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import nbinom

from models.offline.counts import SURE

if TYPE_CHECKING:
    from models.contracts import Float64s

_TAIL: Final = 20
"""Highest peaks that tell how fast the tail falls."""


def most_alarms(allowed: float) -> int:
    """How many may be seen where at most `allowed` may come in a next period as long; -1: even none is too many."""
    counts = np.arange(math.floor(allowed) + 1)
    holds = nbinom.cdf(math.floor(allowed), counts + 1, 0.5) >= SURE
    return int(holds.sum()) - 1


def beyond(peaks: Float64s, allowed: float) -> float:
    """A threshold above all that was seen, for a period too short to show what may come.

    peaks float64[n] are the highest scores of separate stretches. Above a high level excesses are exponential with
    the mean that they have (peaks over threshold: Davison & Smith, J. R. Statist. Soc. B 52, 1990), so alarms become
    rarer by the factor e with each such mean. Three in the next period is what none in this one leaves open
    (1 - SURE = exp(-3)).
    """
    top = np.sort(peaks)[::-1][:_TAIL]
    highest, excess = float(top[0]), float((top - top[-1]).mean())
    raised = highest + excess * max(math.log(-math.log(1 - SURE) / max(allowed, 1e-3)), 0.0)
    return float(np.nextafter(raised, np.inf))
