"""Starting warm: what a new series does in its first day when it begins like its population."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation import onsets
from models.offline import priors
from models.online import novelty, warmth
from models.online.bank import Bank

START = 1_767_225_600_000
MINUTE = 60_000
DAY = 1440


def series(days, count, seed=0, level=100.0, phase=0.0):
    """Daily waves of one shape around levels of their own, with noise of 5 %: float64[frames, count]."""
    rng = np.random.default_rng(seed)
    t = np.arange(days * DAY)[:, None]
    wave = 1 + 0.3 * np.sin(2 * np.pi * (t / DAY + phase))
    levels = level * np.exp(rng.normal(0, 1, count))
    return levels * wave * (1 + 0.05 * rng.standard_normal((days * DAY, count)))


def judged(values, prior=None, bank=None, start=START):
    """Alarms and expectations bool and float64[frames, count]; with a prior, series start warm."""
    bank = bank or Bank()
    count = values.shape[1]
    slots = np.arange(count, dtype=np.int32)
    bank.grow(count)
    alarm, expected = np.zeros(values.shape, bool), np.zeros(values.shape)
    for at, value in enumerate(values):
        ts = start + (at + 1) * MINUTE
        verdicts = bank.score_learn(slots, np.full(count, ts), value)
        alarm[at], expected[at] = verdicts.alarm, verdicts.expected
        if prior is not None and at + 1 == warmth.OWN_SAMPLES:
            bank.start_warm(slots, ts, np.tile(prior, (count, 1)))
    return alarm, expected


@pytest.fixture(scope="module")
def prior():
    bank = Bank()
    judged(series(8, 8, seed=1), bank=bank)
    return np.median(priors.alike(priors.Population(*bank.statistics(np.arange(8, dtype=np.int32)))), axis=0)


def test_a_warm_series_is_judged_from_its_own_first_samples_on(prior):
    """Cold ones have no expectation for half an hour."""
    values = series(1, 4, seed=2)[:60]
    _, cold = judged(values)
    _, warm = judged(values, prior)
    assert np.isnan(cold[:30]).all()
    assert np.isfinite(cold[30:]).all()
    assert np.isnan(warm[: warmth.OWN_SAMPLES]).all()
    assert np.isfinite(warm[warmth.OWN_SAMPLES :]).all()


def test_a_warm_series_raises_few_of_the_false_alarms_of_its_first_day(prior):
    """Less than a tenth: it knows how its day goes, how far values lie apart, and what its like has seen."""
    values = series(1, 24, seed=3)
    cold, warm = (onsets_of(judged(values, one)[0]) for one in (None, prior))
    assert cold > 48
    assert warm < cold / 10


@pytest.mark.parametrize("hour", [10, 14, 18])
def test_the_usual_level_outlasts_the_hours_in_which_a_series_begins(prior, hour):
    """One that begins on its way into the trough of its day knows that this is not its level when it comes out."""
    values = series(2, 24, seed=7)[hour * 60 :][:DAY]
    assert onsets_of(judged(values, prior, start=START + hour * 60 * MINUTE)[0]) <= 6


def onsets_of(alarm):
    return sum(int(onsets(column).sum()) for column in alarm.T)


def test_a_fault_in_the_first_half_hour_is_found(prior):
    """A third more for 20 minutes, six deviations: a warm series has an alarm, a cold one is not yet judged."""
    values = series(1, 24, seed=4)[:40]
    values[12:] *= 1.3
    assert judged(values[:28], prior)[0][12:].any(axis=0).mean() > 0.9
    assert not judged(values[:28])[0].any()


def test_sizes_do_not_matter(prior):
    """A series a thousand times as large starts just as warm: sizes are parts of its level."""
    values = series(1, 6, seed=5)
    alarm, expected = judged(values, prior)
    larger, more = judged(1000 * values, prior)
    assert prior[warmth.STATISTICS.index("relative")] == 1
    assert np.mean(alarm == larger) > 0.999
    assert np.allclose(more[20:], 1000 * expected[20:], rtol=1e-3)


def test_what_a_series_does_outweighs_its_prior(prior):
    """One without any wave has, after a week, no more alarms than one that began cold."""
    rng = np.random.default_rng(6)
    values = 50.0 * (1 + 0.05 * rng.standard_normal((9 * DAY, 8)))
    cold, warm = (judged(values, one)[0][7 * DAY :] for one in (None, prior))
    assert onsets_of(warm) <= onsets_of(cold) + 3


def test_a_snapshot_of_a_warm_series_is_one_of_any_other(prior):
    """Same version and columns; whoever takes it over goes on the same."""
    one, other = Bank(), Bank()
    values = series(1, 3, seed=7)
    judged(values[:100], prior, one)
    other.restore(one.snapshot())
    assert one.snapshot().keys() == Bank().snapshot().keys()
    later = START + 100 * MINUTE
    first, second = judged(values[100:], bank=one, start=later), judged(values[100:], bank=other, start=later)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-1e12, 1e12), min_size=40, max_size=40),
    prior=st.lists(st.floats(-1e6, 1e6), min_size=len(warmth.STATISTICS), max_size=len(warmth.STATISTICS)),
)
def test_no_prior_breaks_the_state(values, prior):
    """Whatever numbers a prior has, what is said of a series is a number, and a band has its ends in order."""
    bank, slot = Bank(), np.zeros(1, dtype=np.int32)
    judged(np.array(values)[:20, None], np.array(prior), bank)
    for at, value in enumerate(values[20:], start=20):
        verdicts = bank.score_learn(slot, np.array([START + (at + 1) * MINUTE]), np.array([value]))
        assert 0 <= verdicts.score[0] <= 1
        assert verdicts.lower[0] <= verdicts.expected[0] <= verdicts.upper[0]


def test_what_was_seen_lies_between_its_ends():
    """First and last bin of each channel come back from the bits that fill what lies between."""
    rng = np.random.default_rng(8)
    ends = np.sort(rng.integers(0, novelty.BINS, (50, 2, novelty.CHANNELS)), axis=1).reshape(50, -1).astype(float)
    assert np.array_equal(novelty.extent(novelty.between(ends)), ends)


def population(count, seed, **given):
    bank = Bank()
    judged(series(6, count, seed, **given), bank=bank)
    return priors.Population(*bank.statistics(np.arange(count, dtype=np.int32)))


def test_a_day_that_series_do_not_share_is_not_believed():
    """Half of them have noon where the others have midnight."""
    early, late = population(4, 1), population(4, 2, phase=0.5)
    both = priors.Population(*(np.concatenate(pair) for pair in zip(early, late, strict=True)))
    seasonal = warmth.STATISTICS.index("seasonal")
    assert np.median(priors.alike(early)[:, seasonal]) == 1
    assert np.median(priors.alike(both)[:, seasonal]) == 0


def test_how_far_values_lie_apart_follows_the_level_of_the_hour(prior):
    """Of a series that begins at the trough of the day, and of one at its crest: as the roots of their levels do."""
    spread = {}
    for hour, level in ((18, 0.7), (6, 1.3)):
        start, bank = START + hour * 60 * MINUTE, Bank()
        judged(np.full((warmth.OWN_SAMPLES, 1), 100 * level), prior, bank, start)
        _, found = bank.statistics(np.zeros(1, dtype=np.int32))
        spread[hour] = found[0, warmth.STATISTICS.index("spread")]
    assert spread[18] / spread[6] == pytest.approx(np.sqrt(0.7 / 1.3), rel=0.05)
