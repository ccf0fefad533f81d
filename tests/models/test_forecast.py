"""When lines reach limits, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.forecast import budget_left, straight, time_to

SECONDS = np.arange(60) * 60.0


def test_exact_line_has_an_exact_moment() -> None:
    """From a half, a percent a minute: full fifty minutes after the last value but one."""
    forecast = time_to(0.5 + 0.001 * np.arange(60), SECONDS, 1.0)
    assert forecast is not None
    assert forecast.expected_s == pytest.approx((1.0 - 0.559) / 0.001 * 60)
    assert forecast.earliest_s == pytest.approx(forecast.latest_s)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_interval_holds_the_truth_most_of_the_time(seed: int) -> None:
    """Earliest before expected before latest; and what does not surely rise has no forecast."""
    rng = np.random.default_rng(seed)
    values = 0.5 + 0.002 * np.arange(60) + rng.normal(0, 0.01, 60)
    forecast = time_to(values, SECONDS, 1.0)
    assert forecast is not None
    assert forecast.earliest_s < forecast.expected_s < forecast.latest_s
    assert forecast.expected_s == pytest.approx(191 * 60, rel=0.25)


def test_coverage() -> None:
    """The interval contains the true moment in nine of ten noisy lines, neighbours alike."""
    rng, inside = np.random.default_rng(5), 0
    for _ in range(300):
        noise = np.zeros(60)
        for at in range(1, 60):
            noise[at] = 0.5 * noise[at - 1] + rng.normal(0, 0.01)
        forecast = time_to(0.5 + 0.002 * np.arange(60) + noise, SECONDS, 1.0)
        inside += forecast is not None and forecast.earliest_s <= 191 * 60 <= forecast.latest_s
    assert inside >= 0.9 * 300


@pytest.mark.parametrize(
    "values", [np.full(60, 0.9), 0.9 - 0.001 * np.arange(60), 1.0 + 0.001 * np.arange(60), np.full(60, np.nan)]
)
def test_what_does_not_rise_to_the_limit_has_no_forecast(values: np.ndarray) -> None:
    """Constant, falling, full already, unknown."""
    assert time_to(values, SECONDS, 1.0) is None


def test_straight_fits_many_at_once() -> None:
    """Level, slope and R² as of the last moment, gaps left out; too few values are unknown."""
    values = np.stack([0.5 + 0.001 * np.arange(60), np.full(60, 0.3), np.full(60, np.nan)], axis=1)
    values[10:20, 0] = np.nan
    level, slope, explained = straight(values, SECONDS)
    assert level[:2] == pytest.approx([0.559, 0.3])
    assert slope[:2] == pytest.approx([0.001 / 60, 0.0])
    assert explained[0] == pytest.approx(1.0)
    assert np.isnan([level[2], slope[2], explained[2]]).all()


def test_error_budget() -> None:
    """Ten times too many failures use half a month's budget in a tenth of half a month; allowed ones never do."""
    forecast = budget_left(0.5, 100.0, 10_000.0, 0.001, 30 * 86_400.0)
    assert forecast is not None
    assert forecast.expected_s == pytest.approx(0.5 * 3 * 86_400)
    assert forecast.earliest_s < forecast.expected_s < forecast.latest_s
    assert budget_left(0.5, 10.0, 10_000.0, 0.001, 30 * 86_400.0) is None
    assert budget_left(1.0, 100.0, 10_000.0, 0.001, 30 * 86_400.0) is None
