"""The bank on series whose truth is known, and its settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.contracts import Shape
from models.evaluation import onsets
from models.online.bank import Bank, BankSettings
from models.replay import replay
from models.trials.troubles import AMPLITUDES, Background, Noise, healthy

START = 1_700_000_000
DATA = Path(__file__).parents[1] / "data"


def daily(days, step=60, amplitude=5.0, seed=0):
    """Daily sine with Gaussian noise of deviation 1: ts int64 ms, values float64."""
    t = np.arange(START, START + days * 86_400, step)
    noise = np.random.default_rng(seed).normal(0.0, 1.0, len(t))
    return t * 1000, 100.0 + amplitude * np.sin(2 * np.pi * t / 86_400) + noise


def judge(ts, values, **settings):
    return replay(lambda: Bank(BankSettings(**settings)), ts, values)


def test_a_series_takes_less_than_two_kilobytes():
    """A million series fit in 2.5 GB with room to spare."""
    assert Bank().bytes_per_series <= 2048


@pytest.mark.parametrize("amplitude", [0.0, 5.0, 30.0])
def test_quiet_on_healthy_series(amplitude):
    """At most one false alarm in ten series-days of one-minute samples after three days."""
    raised = sum(onsets(judge(*daily(12, amplitude=amplitude, seed=seed)).alarm)[3 * 1440 :].sum() for seed in range(6))
    assert raised / 54 <= 0.1


@pytest.mark.parametrize("step", [1, 15, 60, 3600])
def test_a_spike_of_ten_deviations_is_found_at_any_step(step):
    """The alarm is raised on the very sample."""
    ts, values = daily(30 if step == 3600 else 2 if step == 1 else 6, step)
    at = int(len(ts) * 0.9)
    values[at] += 10.0
    verdicts = judge(ts, values)
    assert verdicts.alarm[at]
    assert not verdicts.alarm[at - 1]
    assert verdicts.shape[at] == Shape.SPIKE


@pytest.mark.parametrize("step", [15, 60, 300])
def test_a_level_shift_is_found_and_the_alarm_ends(step):
    """Five deviations up for good: an alarm within ten samples, and none two days later."""
    ts, values = daily(9, step)
    at = int(len(ts) * 0.7)
    values[at:] += 5.0
    verdicts = judge(ts, values)
    assert verdicts.alarm[at : at + 10].any()
    assert verdicts.alarm[at + 2 * 86_400 // step :].mean() < 0.01


def test_bursts_that_were_always_there_are_routine():
    """Three bursts a day from the first day on: after three days at most one alarm in three days, of forty bursts."""
    ts, values = daily(17, amplitude=0.0)
    for at in range(100, len(ts), 480):
        values[at : at + 5] += 40.0 + np.random.default_rng(at).normal(0.0, 3.0)
    assert onsets(judge(ts, values).alarm)[3 * 1440 :].sum() <= 4


@pytest.mark.parametrize(("size", "minutes"), [(8.0, 5), (10.0, 1)])
def test_trouble_that_begins_after_calm_days_is_found_each_time(size, minutes):
    """The same deviations for some minutes, every five hours, twenty times."""
    ts, values = daily(10)
    starts = 5 * 1440 + np.arange(20) * 300
    for at in starts:
        values[at : at + minutes] += size
    alarm = judge(ts, values).alarm
    assert np.mean([alarm[at : at + 5].any() for at in starts]) >= 0.9


@pytest.mark.parametrize(("amplitude", "size"), [(0.0, 8.0), (0.0, 20.0), (10.0, 8.0), (10.0, 20.0)])
def test_a_level_that_changed_for_good_is_learned_anew(amplitude, size):
    """Said once, within two hours of the shift; the alarm ends there for good, and the band narrows at once."""
    ts, values = daily(8, amplitude=amplitude)
    at = 7 * 1440
    values[at:] += size
    verdicts = judge(ts, values)
    settled = at + np.flatnonzero(verdicts.settled[at:])
    assert len(settled) == 1
    assert settled[0] < at + 120
    assert not verdicts.alarm[settled[0] + 1 :].any()
    width = verdicts.upper - verdicts.lower
    assert width[settled[0] + 5] < 0.75 * width[settled[0] - 5]


def test_a_sensitive_bank_finds_what_a_dull_one_misses():
    """Sensitivity moves the bar."""
    ts, values = daily(6)
    values[7000] += 5.5
    assert judge(ts, values, sensitivity=2.0).alarm[7000]
    assert not judge(ts, values, sensitivity=0.5).alarm[7000]


def test_replay_shows_a_learner_only_what_the_pipeline_would():
    """Late, repeated and missing samples get no score and change no later answer."""
    ts, values = daily(3)
    clean = judge(ts, values)
    bad = [500, 501, 502]
    with_bad_ts = np.insert(ts, bad, ts[[499, 400, 499]])
    with_bad_values = np.insert(values, bad, [1e9, 1e9, np.nan])
    verdicts = judge(with_bad_ts, with_bad_values)
    kept = np.isin(np.arange(len(with_bad_ts)), [500, 502, 504], invert=True)
    assert np.array_equal(verdicts.score[kept], clean.score)
    assert np.isnan(verdicts.expected[~kept]).all()


def test_an_alarm_goes_on_across_samples_that_are_not_shown():
    """A repeated time in the midst of an alarm ends nothing: one alarm stays one."""
    ts, values = daily(6)
    values[7000:7060] += 10.0
    clean = judge(ts, values)
    assert clean.alarm[7005]
    verdicts = judge(np.insert(ts, 7006, ts[7005]), np.insert(values, 7006, 1e9))
    assert verdicts.alarm[7006]
    assert onsets(verdicts.alarm).sum() == onsets(clean.alarm).sum()


@pytest.mark.parametrize(
    "wrong", [{"sensitivity": 0.1}, {"sensitivity": float("nan")}, {"warmup_s": -1.0}, {"rearm_s": 1e6}]
)
def test_settings_outside_their_bounds_are_refused(wrong):
    """The message names the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BankSettings(**wrong)


def test_an_unknown_time_zone_is_refused():
    """Days begin somewhere that exists."""
    with pytest.raises(ValueError, match="Atlantis"):
        Bank(BankSettings(timezone="Atlantis"))


def test_a_level_that_changes_at_an_hour_never_seen_is_learned_anew():
    """The season says nothing of the first hours, in which the new level begins, and something when it settles."""
    ts, values = daily(7, amplitude=30.0)
    hour = ts / 3_600_000 % 24
    at = int(np.flatnonzero((ts // 86_400_000 == ts[0] // 86_400_000 + 6) & (hour >= 5.75))[0])
    values[at:] += 60.0
    shown = (hour >= 6.0) | (np.arange(len(ts)) >= at)
    verdicts = judge(ts[shown], values[shown])
    assert verdicts.settled.any()
    assert np.isfinite(verdicts.expected[100:]).all()


def test_a_season_that_is_dropped_is_found_in_heavy_noise():
    """No sample, and no short mean of samples, tells it from Student's noise; a long mean does."""
    found = 0
    for seed in range(16):
        ts, values = daily(9, seed=seed)
        at = 7 * 1440 + 90 * seed
        wave = 10.0 * np.sin(2 * np.pi * ts / 86_400_000)
        wave[at : at + 720] = 0.0
        values = 100.0 + wave + np.random.default_rng(seed).standard_t(3, len(ts)) / np.sqrt(3.0)
        found += onsets(judge(ts, values).alarm)[at : at + 720].any()
    assert found >= 14


def test_a_snapshot_of_a_layout_too_old_is_refused():
    """The message names both versions."""
    bank = Bank()
    old = {**bank.snapshot(), "version": np.array([1])}
    with pytest.raises(ValueError, match=f"version 1.*version {Bank.version}"):
        bank.restore(old)


@pytest.mark.parametrize("version", [3, 4, 5, 6])
def test_a_snapshot_of_a_layout_before_goes_on(version):
    """What three days taught an earlier version is known to this one: its season, its scale and what was seen."""
    ts, values = daily(4)
    day = slice(3 * 1440, None)
    values[3 * 1440 + 700] += 12.0
    with np.load(DATA / "snapshots" / f"bank-version-{version}.npz") as recorded:
        old = dict(recorded)
    bank = Bank()
    bank.restore(old)
    verdicts = bank.score_learn(np.zeros(1440, np.int32), ts[day], values[day])
    assert np.abs(verdicts.expected - values[day])[:700].mean() < 1.2
    assert np.flatnonzero(onsets(verdicts.alarm)).tolist() == [700]


def test_a_snapshot_without_long_means_raises_no_alarm_by_them():
    """A series of a wave that is no daily one has large ones every day, which the snapshot does not say."""
    t = np.arange(START, START + 12 * 86_400, 60)
    values = 100.0 + 10.0 * np.sin(2 * np.pi * t / 30_000) + np.random.default_rng(0).normal(0.0, 1.0, len(t))
    bank, half = Bank(), len(t) // 2
    bank.grow(1)
    bank.score_learn(np.zeros(half, np.int32), t[:half] * 1000, values[:half])
    old = {name: column for name, column in bank.snapshot().items() if name != "row.apart"}
    old["version"], old["row.apart_usual"] = np.array([6]), np.zeros(1, np.float32)
    later = Bank()
    later.restore(old)
    given = later.score_learn(np.zeros(half, np.int32), t[half:] * 1000, values[half:])
    known = bank.score_learn(np.zeros(half, np.int32), t[half:] * 1000, values[half:])
    assert onsets(given.alarm).sum() <= onsets(known.alarm).sum() + 1


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_series_is_never_in_alarm(value):
    """What never moved does not stand still."""
    ts, values = daily(3)
    assert not judge(ts, np.full(len(values), value)).alarm.any()


def test_an_alarm_on_a_series_that_stopped_ends():
    """A value that stays for good becomes normal within two days."""
    ts, values = daily(8)
    values[6000:] = 0.0
    alarm = judge(ts, values).alarm
    assert alarm[6000:6010].any()
    assert not alarm[6000 + 2 * 1440 :].any()


def test_a_low_sample_alarms_no_sooner_than_a_high_one():
    """A lone low sample is the least of the last ones as well, which is no second piece of evidence."""
    low = high = 0
    for seed in range(48):
        ts, values = daily(12, amplitude=0.0, seed=seed)
        verdicts = judge(ts, values)
        opened = onsets(verdicts.alarm)
        low += int((opened & (values < verdicts.expected)).sum())
        high += int((opened & (values > verdicts.expected)).sum())
    assert low <= 2 * high + 3


def test_bursts_that_come_all_day_seldom_alarm():
    """Where drifts as large as a day's greatest come many times a day, that one is larger is chance."""
    values = healthy(Background.BURSTS, Noise.GAUSSIAN, (12, 15 * 1440), 60, seed=3)
    ts, _ = daily(15)
    late = sum(int(onsets(judge(ts, row).alarm)[5 * 1440 :].sum()) for row in values)
    assert late / (12 * 10) < 0.25


def test_the_first_moment_of_all_lies_at_its_local_time():
    """Alone in a call or after another's sample: midnight of 1970 in Greenwich is nine in the morning in Tokyo."""
    alone, after = (Bank(BankSettings(timezone="Asia/Tokyo")) for _ in range(2))
    for bank in (alone, after):
        bank.grow(2)
    alone.score_learn(np.array([0], dtype=np.int32), np.array([0]), np.array([5.0]))
    alone.score_learn(np.array([1], dtype=np.int32), np.array([900_000]), np.array([5.0]))
    after.score_learn(np.array([1, 0], dtype=np.int32), np.array([900_000, 0]), np.array([5.0, 5.0]))
    first, second = alone.snapshot(), after.snapshot()
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_monday_after_a_quiet_weekend_is_no_news():
    """Where little happens for two days any level is as good a guide as the season, and yet Monday comes."""
    weeks = healthy(Background.WEEKLY, Noise.GAUSSIAN, (24, 7 * 7 * 1440), 60, seed=5)
    days = np.arange(weeks.shape[1]) // 1440
    mondays = (days % 7 == 0) & (days >= 28)
    moderate = [row for number, row in enumerate(weeks) if AMPLITUDES[number % len(AMPLITUDES)] in (3.0, 10.0)]
    raised = sum(int(onsets(judge(np.arange(len(row)) * 60_000, row).alarm)[mondays].sum()) for row in moderate)
    assert raised / (3 * len(moderate)) <= 0.3
