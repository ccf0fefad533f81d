"""What a profile says between the middles of its buckets."""

from __future__ import annotations

import numpy as np
import pytest

from models.online import season


def says(days, at):
    """What the daily profile of a known series says at this place of the day, in buckets, where its means are these."""
    profile = np.zeros(season.PROFILE, np.float32)
    profile[: season.DAY] = days
    return season.daily(profile, season.place(round(at * 86_400_000 / season.DAY)), 7 * 86_400.0)


@pytest.mark.parametrize("at", [10.0, 10.25, 10.5, 10.75, 10.999])
def test_a_straight_line_is_followed(at):
    """Where the day rises evenly the profile says so at any moment, not only in the middle of a half-hour."""
    assert says(1.0 + np.arange(season.DAY), at) == pytest.approx(0.5 + at)


@pytest.mark.parametrize("at", [19.5, 19.9, 19.999, 20.0, 20.001, 20.1, 20.5])
@pytest.mark.parametrize(("before", "after"), [(10.0, 50.0), (50.0, 10.0)])
def test_a_step_stays_a_step(at, before, after):
    """What changes at once at an edge of buckets, as at midnight of a Monday, is not smeared over half of each."""
    assert says(np.where(np.arange(season.DAY) < 20, before, after), at) == (before if at < 20.0 else after)


def test_a_line_is_never_steeper_than_on_the_other_side_of_its_bucket():
    """A rise by 1 a bucket that goes on with 9 a bucket does so from the edge on."""
    days = np.concatenate([np.arange(1.0, 21.0), 20.0 + 9.0 * np.arange(1.0, 29.0)])
    assert says(days, 20.0 - 1e-6) == pytest.approx(20.5)
    assert says(days, 20.0) == pytest.approx(24.5)


def test_a_peak_is_rounded_on_both_sides():
    """A bucket above both of its neighbours lies at the middle; the way down begins there."""
    days = np.where(np.arange(season.DAY) == 20, 30.0, 10.0)
    days[[19, 21]] = 20.0
    assert says(days, 20.5) == 30.0
    assert says(days, 20.25) == says(days, 20.75) == 27.5


def test_beside_a_bucket_that_was_never_visited_its_neighbour_says_its_mean():
    """Nothing is made up from a half-hour of which nothing is known."""
    days = np.where(np.arange(season.DAY) == 21, 0.0, 10.0)
    days[19] = 4.0
    assert says(days, 20.9) == says(days, 20.1) == 10.0
    assert np.isnan(says(days, 21.5))
