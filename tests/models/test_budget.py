from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.offline.budget import SURE, beyond, most_alarms


@given(st.floats(0, 200))
def test_a_larger_budget_allows_no_fewer(allowed: float) -> None:
    """And never as many as the next period may have, from which half of the next periods would have more."""
    assert -1 <= most_alarms(allowed) <= allowed
    assert most_alarms(allowed) <= most_alarms(allowed + 1)


@pytest.mark.parametrize("allowed", [6.0, 12.0, 50.0])
def test_the_next_period_keeps_to_it(allowed: float) -> None:
    """Of periods whose rate is chosen so that the bound is seen, as many keep to the budget as is promised.

    Rates are drawn evenly: what is known before anything was seen; of those draws the ones count that show the bound.
    """
    rng = np.random.default_rng(1)
    rates = rng.uniform(0, 4 * allowed, 400_000)
    first, second = rng.poisson(rates), rng.poisson(rates)
    kept = second[first == most_alarms(allowed)] <= allowed
    assert len(kept) > 1000
    assert SURE - 0.02 < kept.mean() <= 1.0


def test_a_period_too_short_to_tell() -> None:
    """The threshold lies above all that was seen, the further the less may come; an exponential tail keeps to it."""
    rng = np.random.default_rng(2)
    assert most_alarms(1.0) == -1
    seen = [rng.exponential(size=500) for _ in range(400)]
    levels = {allowed: np.array([beyond(peaks, allowed) for peaks in seen]) for allowed in (0.1, 1.0)}
    assert all(level > peaks.max() for level, peaks in zip(levels[1.0], seen, strict=True))
    assert (levels[0.1] > levels[1.0]).all()
    # An exponential peak is above x with exp(-x): so many come in a next period of 500.
    assert np.mean(500 * np.exp(-levels[1.0])) < 1.0
