"""How sure it is that a count of alarms is more than chance."""

from __future__ import annotations

import pytest
from scipy.stats import binom, poisson

from models.offline.counts import SURE, surely_more, surely_more_than


@pytest.mark.parametrize("mean", [0.1, 2.0, 30.0, 4000.0])
def test_more_than_a_rate_gives_in_one_of_twenty_times(mean: float) -> None:
    """The least count that says so is that of SciPy's Poisson distribution."""
    least = int(poisson.ppf(SURE, mean)) + 1
    assert surely_more(least, mean)
    assert not surely_more(least - 1, mean)


@pytest.mark.parametrize("other", [0, 1, 8, 2000])
def test_more_than_another_in_the_same_time(other: int) -> None:
    """The least count that says so is that of SciPy's binomial distribution."""
    least = next(count for count in range(other, 3 * other + 10) if binom.sf(count - 1, count + other, 0.5) <= 1 - SURE)
    assert surely_more_than(least, other)
    assert not surely_more_than(least - 1, other)


def test_where_none_may_come_one_is_more() -> None:
    """And none is not."""
    assert surely_more(1, 0.0)
    assert not surely_more(0, 0.0)
