"""The baseline learner on series whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from models.online.baseline import BaselineLearner, BaselineSettings

START = 1_700_000_000


def daily(days, step, amplitude=5.0, seed=0):
    """Daily sine with Gaussian noise of deviation 1: ts int64 ms, values float64."""
    t = np.arange(START, START + days * 86_400, step)
    noise = np.random.default_rng(seed).normal(0.0, 1.0, len(t))
    return t * 1000, 100.0 + amplitude * np.sin(2 * np.pi * t / 86_400) + noise


def judge(ts, values, **settings):
    learner = BaselineLearner(BaselineSettings(**settings))
    learner.grow(1)
    return learner.score_learn(np.zeros(len(ts), np.int32), ts, values)


def opened(verdicts):
    return np.flatnonzero(np.diff(verdicts.alarm.astype(int), prepend=0) == 1)


@pytest.mark.parametrize("amplitude", [0.0, 5.0, 30.0])
def test_quiet_on_healthy_series(amplitude):
    """At most one false alarm in twenty series-days of one-minute samples after two days."""
    raised = sum((opened(judge(*daily(12, 60, amplitude, seed))) > 2 * 1440).sum() for seed in range(6))
    assert raised / 60 <= 0.05


@pytest.mark.parametrize("step", [1, 15, 60, 3600])
def test_a_spike_of_ten_deviations_is_found_at_any_step(step):
    """The alarm is raised on the very sample."""
    days = 30 if step == 3600 else 2 if step == 1 else 6
    ts, values = daily(days, step)
    at = int(len(ts) * 0.9)
    values[at] += 10.0
    verdicts = judge(ts, values)
    assert verdicts.alarm[at]
    assert not verdicts.alarm[at - 1]


@pytest.mark.parametrize("step", [15, 60, 300])
def test_a_level_shift_is_found_and_becomes_the_new_level(step):
    """Five deviations up: an alarm within ten samples that ends within two days."""
    ts, values = daily(9, step)
    at = int(len(ts) * 0.7)
    values[at:] += 5.0
    verdicts = judge(ts, values)
    assert verdicts.alarm[at : at + 10].any()
    assert not verdicts.alarm[at + 2 * 86_400 // step :].any()


def test_a_ramp_is_found():
    """Ten deviations over two hours, at one sample a minute."""
    ts, values = daily(6, 60)
    at = int(len(ts) * 0.8)
    values[at:] += np.minimum((ts[at:] - ts[at]) / 7_200_000 * 10, 10)
    assert judge(ts, values).alarm[at : at + 120].any()


def test_the_band_follows_the_local_day_across_daylight_saving():
    """A load that starts at nine on the wall is expected at nine after the clocks have changed."""
    ts = np.arange(1_742_000_000, 1_742_000_000 + 20 * 86_400, 300) * 1000  # Berlin, 15 March to 4 April 2025
    summer = ts >= 1_743_296_400_000
    hour = ((ts / 3_600_000 + 1 + summer) % 24).astype(int)
    values = np.where((hour >= 9) & (hour < 17), 100.0, 10.0) + np.random.default_rng(0).normal(0, 1, len(ts))
    after = ts >= 1_743_400_000_000
    local, utc = (judge(ts, values, timezone=zone) for zone in ("Europe/Berlin", "UTC"))
    assert np.abs(local.expected - values)[after].mean() < np.abs(utc.expected - values)[after].mean()


def test_nothing_is_judged_while_warming_up():
    """No score, no band and no alarm in the first fifteen minutes."""
    ts, values = daily(1, 15)
    values[10] += 1e6
    verdicts = judge(ts, values)
    young = ts < ts[0] + 900_000
    assert np.isnan(verdicts.expected[young]).all()
    assert not verdicts.alarm[young].any()
    assert not np.isnan(verdicts.expected[~young]).any()
