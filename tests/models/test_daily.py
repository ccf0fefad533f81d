"""The daily profile that takes the season out of windows."""

from __future__ import annotations

import numpy as np
import pytest

from models.daily import DailyProfile

HOUR = 3_600_000


def taught(days: int = 3) -> DailyProfile:
    """A row with twice as much at noon as at midnight, and one without any season."""
    profile = DailyProfile(1, memory=7 * 60)
    profile.grow(2)
    for minute in range(0, days * 1440, 2):
        at = minute * 60_000
        swing = 1.5 - 0.5 * np.cos(2 * np.pi * minute / 1440)
        profile.learn(at, np.array([0, 1]), np.array([[swing], [1.0]], dtype=np.float32))
    return profile


def test_factor_is_the_seasons_ratio() -> None:
    """Noon against midnight is 2; a row without season has 1 everywhere."""
    profile = taught()
    assert profile.factors(0, 0, np.array([12 * HOUR]), 0)[0] == pytest.approx(2.0, rel=0.03)
    assert profile.factors(1, 0, np.array([12 * HOUR, 6 * HOUR]), 0) == pytest.approx([1.0, 1.0])


def test_unknown_hours_change_nothing() -> None:
    """An hour with few values, or a row that was given to another, has factor 1."""
    profile = DailyProfile(1, memory=100)
    profile.grow(1)
    for _ in range(5):
        profile.learn(0, np.array([0]), np.array([[3.0]], dtype=np.float32))
    assert profile.factors(0, 0, np.array([12 * HOUR]), 0)[0] == 1.0
    gone = taught()
    gone.evict(0)
    assert gone.factors(0, 0, np.array([12 * HOUR]), 0)[0] == 1.0


def test_restored_profile_is_the_same() -> None:
    """Columns are matched as the caller says."""
    profile, other = taught(), DailyProfile(2, memory=7 * 60)
    other.restore(profile.snapshot(2), {1: 0})
    assert other.factors(0, 1, np.array([12 * HOUR]), 0) == profile.factors(0, 0, np.array([12 * HOUR]), 0)
    assert other.factors(0, 0, np.array([12 * HOUR]), 0)[0] == 1.0


@pytest.mark.filterwarnings("error")
def test_a_column_that_is_always_nothing_has_factor_one() -> None:
    """Zero errors at noon are no multiple of zero errors at midnight, and no warning either."""
    profile = DailyProfile(1, memory=7 * 60)
    profile.grow(1)
    for minute in range(0, 2 * 1440, 2):
        profile.learn(minute * 60_000, np.array([0]), np.array([[0.0]], dtype=np.float32))
    assert profile.factors(0, 0, np.array([12 * HOUR]), 0)[0] == 1.0
