"""The name that the bank gives to each kind of trouble."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import Shape
from models.evaluation import onsets
from models.online.bank import Bank
from models.replay import replay
from models.trials.synthetic import Found, Scene, run
from models.trials.troubles import Background, Noise

START = 1_700_006_400
"""A Wednesday, 00:00 UTC."""
DAY_S = 86_400


def daily(days, step=60, amplitude=5.0):
    """Daily sine with Gaussian noise of deviation 1: ts int64 ms, values float64."""
    t = np.arange(START, START + days * DAY_S, step)
    noise = np.random.default_rng(0).normal(0.0, 1.0, len(t))
    return t * 1000, 100.0 + amplitude * np.sin(2 * np.pi * t / DAY_S) + noise


def shapes_after(ts, values, at, within):
    """Names given in so many samples from `at` on."""
    verdicts = replay(Bank, ts, values)
    return set(verdicts.shape[at : at + within].tolist()) - {int(Shape.NONE)}


def last_name(ts, values, at, within):
    """The name that stands at the end of so many samples from `at` on."""
    given = replay(Bank, ts[: at + within], values[: at + within]).shape[at:]
    return Shape(int(given[np.flatnonzero(given)[-1]]))


def weekly(days, step, amplitude):
    """As `daily`, with a fifth of the wave at weekends."""
    ts, values = daily(days, step, 0.0)
    t = ts // 1000
    weekend = (t // DAY_S + 3) % 7 >= 5  # the first day of 1970 was a Thursday
    return ts, values + amplitude * np.where(weekend, 0.2, 1.0) * np.sin(2 * np.pi * t / DAY_S)


def test_a_shift_is_named():
    """Six deviations from one sample to the next."""
    ts, values = daily(6)
    values[7000:] += 6.0
    assert Shape.SHIFT in shapes_after(ts, values, 7000, 30)


def test_a_trend_is_named():
    """Ten deviations over two hours."""
    ts, values = daily(6)
    values[7000:] += np.minimum(np.arange(len(ts) - 7000) / 120 * 10, 10)
    assert Shape.TREND in shapes_after(ts, values, 7000, 120)


def test_a_flatline_is_named():
    """The same value for an hour."""
    ts, values = daily(6)
    values[7000:7060] = values[7000]
    assert Shape.FLATLINE in shapes_after(ts, values, 7000, 60)


def test_most_silences_of_three_hours_are_found():
    """Bursts come every quarter of an hour or so: after a past of five days, 180 minutes without one are news."""
    scene = Scene(60, Noise.GAUSSIAN, Background.BURSTS, seed=3)
    (silence,) = (one for one in run(Bank, scene) if isinstance(one, Found))
    assert silence.found / silence.times >= 0.85


def test_an_absence_of_bursts_is_named():
    """Bursts of five minutes every three hours for six days, then none for a day."""
    ts, values = daily(7, amplitude=0.0)
    for at in range(0, 6 * 1440, 180):
        values[at : at + 5] += 60.0
    assert Shape.ABSENCE in shapes_after(ts, values, 6 * 1440, 720)


def test_a_dropped_season_is_named():
    """The level stays where it is for half a day, but for noise."""
    ts, values = daily(8, amplitude=15.0)
    values[7 * 1440 : 7 * 1440 + 720] = 100.0 + np.random.default_rng(3).normal(0.0, 1.0, 720)
    assert Shape.SEASON in shapes_after(ts, values, 7 * 1440, 720)


@pytest.mark.parametrize("amplitude", [10.0, 30.0])
def test_a_season_that_is_dropped_is_no_shift_where_samples_are_few(amplitude):
    """One sample an hour: the season moves away from values that stay where they are."""
    ts, values = daily(29, 3600, amplitude)
    at = 28 * 24 + 9
    values[at : at + 12] = values[at - 1] + np.random.default_rng(3).normal(0.0, 1.0, 12)
    assert last_name(ts, values, at, 12) == Shape.SEASON


@pytest.mark.parametrize("amplitude", [3.0, 10.0, 30.0])
def test_a_shift_is_no_season_where_samples_are_few(amplitude):
    """One sample an hour, at the hour at which the season moves most: values that move with it were not left behind."""
    ts, values = daily(29, 3600, amplitude)
    values[28 * 24 :] += 5.0
    assert last_name(ts, values, 28 * 24, 12) == Shape.SHIFT


@pytest.mark.parametrize("step", [60, 3600])
def test_a_saturday_like_a_friday_is_found_and_named(step):
    """Weekends are quiet for four weeks: a busy one is an anomaly of the season, though the day before was the same."""
    ts, values = weekly(25, step, 30.0)
    day = DAY_S // step
    at = 24 * day  # a Saturday
    values[at:] = values[at - day : at]
    verdicts = replay(Bank, ts, values)
    assert onsets(verdicts.alarm)[at : at + day // 2].any()
    assert not onsets(verdicts.alarm)[at - 7 * day : at].any()
    assert last_name(ts, values, at, day // 2) == Shape.SEASON


@pytest.mark.parametrize("step", [1, 15, 60, 3600])
def test_more_variance_is_named(step):
    """Noise of six deviations for an hour, or sixty samples, is no spike at its end."""
    ts, values = daily(30 if step == 3600 else 3, step)
    at, hour = len(ts) - 3700, max(3600 // step, 60)
    if step >= 60:
        at = len(ts) - 100
    values[at : at + hour] += np.random.default_rng(1).normal(0.0, 6.0, hour)
    assert last_name(ts, values, at, hour) == Shape.VARIANCE


def test_a_lone_spike_is_no_variance():
    """Twenty deviations, once."""
    ts, values = daily(6)
    values[7000] += 20.0
    assert shapes_after(ts, values, 7000, 60) == {int(Shape.SPIKE)}


@pytest.mark.parametrize("seed", range(4))
def test_a_trend_of_heavy_tailed_noise_is_no_variance(seed):
    """Student's t, three degrees: distances that all go one way are no noise, however large beside the usual ones."""
    ts, _ = daily(6)
    values = 100.0 + np.random.default_rng(seed).standard_t(3, len(ts)) / np.sqrt(3.0)
    values[7000:] += np.minimum(np.arange(len(ts) - 7000) / 120 * 10, 10)
    assert int(Shape.VARIANCE) not in shapes_after(ts, values, 7000, 120)
