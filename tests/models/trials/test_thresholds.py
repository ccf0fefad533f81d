"""The choice of a threshold, in sample and with a group left out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.evaluation import NAB_PROFILES, NabSeries, nab_score
from models.trials.thresholds import ScoredEvents, event_sweep, nab_left_out

STANDARD = NAB_PROFILES["standard"]


def nab_series(scores, window=(60, 69)):
    """A hundred rows with these scores, one window or none."""
    column = np.zeros(100)
    for row, score in scores.items():
        column[row] = score
    windows = np.array([window] if window else [], np.int64).reshape(-1, 2)
    return NabSeries(column, windows)


def test_a_left_out_category_does_not_choose_its_own_threshold():
    """Alone, each would take the threshold between its alarm and its false one; the other knows a worse one."""
    groups = {
        "a": [nab_series({60: 0.9, 30: 0.6})],
        "b": [nab_series({60: 0.5, 30: 0.4})],
    }
    total, parts = nab_left_out(groups, STANDARD)
    assert parts["a"].threshold == 0.5  # lets a's false alarm through
    assert parts["b"].threshold == 0.9  # finds nothing in b
    assert parts["a"].figure == pytest.approx(100.0 - 5.5)
    assert parts["b"].figure == pytest.approx(0.0)
    assert total == pytest.approx((100.0 - 5.5) / 2)


def test_false_alarms_of_a_category_without_windows_count_in_the_total():
    """It has no score of its own."""
    groups = {"a": [nab_series({60: 0.9})], "quiet": [nab_series({30: 0.95}, None)], "c": [nab_series({60: 0.9})]}
    total, parts = nab_left_out(groups, STANDARD)
    assert math.isnan(parts["quiet"].figure)
    assert parts["quiet"].threshold == 0.9
    assert total == pytest.approx(100.0 - 5.5 / 2)


def test_equal_categories_lose_nothing_by_being_left_out():
    """Then the others' threshold is one's own."""
    series = [nab_series({60: 0.9, 30: 0.6})]
    total, _ = nab_left_out({"a": series, "b": series}, STANDARD)
    assert total == pytest.approx(nab_score(series, STANDARD).score)


def scored(high_at, length=1000, events=((300, 305), (600, 605))):
    """Noise of small scores, and larger ones in some rows."""
    scores = np.random.default_rng(len(high_at)).uniform(0.0, 0.1, length)
    labels = np.zeros(length, np.bool_)
    for first, last in events:
        labels[first : last + 1] = True
    for row, score in high_at.items():
        scores[row] = score
    return ScoredEvents(labels, scores, np.arange(length, dtype=np.int64) * 60_000)


def test_the_best_threshold_parts_events_from_noise():
    """All events found, no false alarm."""
    counts, threshold = event_sweep({"a": [scored({301: 0.8, 602: 0.9})]}).best()
    assert counts.f1 == 1.0
    assert 0.1 < threshold <= 0.8


def test_a_left_out_domain_is_judged_at_the_others_threshold():
    """What is high there is noise here."""
    sweep = event_sweep({"a": [scored({301: 0.8, 602: 0.9, 800: 0.5})], "b": [scored({301: 0.4, 602: 0.45})]})
    parts = sweep.left_out()
    assert parts["a"][0].right < parts["a"][0].episodes  # b's threshold lets the false alarm through
    assert parts["b"][0].found == 0


def test_no_threshold_raises_an_alarm_that_never_ends():
    """It would be one alarm, and right; so none covers more than a tenth of the samples."""
    one = scored({})
    sweep = event_sweep({"a": [one]})
    assert (one.scores >= sweep.levels[0]).mean() <= 0.1 + 1e-3


def test_of_raised_alarms_the_lowest_threshold_takes_all():
    """Scores that are 0 where no alarm is say nothing there."""
    scores = np.zeros(1000)
    scores[200:320] = 0.01
    [level, *_] = event_sweep({"a": [scored({})._replace(scores=scores)]}).levels
    assert level == 0.01
