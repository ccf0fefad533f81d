"""Verdicts on labelled series as figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.contracts import Verdicts
from models.corpora import LabelledFile, NabFile
from models.online.bank import Bank
from models.trials.events import JudgedEvents, events_report
from models.trials.nab import JudgedNab, judge_later, nab_report, nab_spread

MINUTE = 60_000


def verdicts(length, alarms):
    """Alarms given as {first: (last, score of the first sample)}."""
    alarm, score = np.zeros(length, np.bool_), np.zeros(length, np.float32)
    for first, (last, strength) in alarms.items():
        alarm[first : last + 1] = True
        score[first : last + 1] = 0.5
        score[first] = strength
    nothing = np.full(length, np.nan)
    return Verdicts(score, alarm, nothing, nothing, nothing, np.zeros(length, np.int8), np.zeros(length, np.bool_))


def nab_file(name, windows):
    values = np.random.default_rng(1).normal(size=1000)
    spans = np.array(windows, np.int64).reshape(-1, 2)
    return NabFile(name, np.arange(1000, dtype=np.int64) * MINUTE, values, spans)


def nab_verdicts():
    return [
        JudgedNab(nab_file("a/1.csv", [(600, 650)]), verdicts(1000, {600: (620, 0.8), 400: (420, 0.55)})),
        JudgedNab(nab_file("b/2.csv", [(500, 550)]), verdicts(1000, {500: (505, 0.7)})),
        JudgedNab(nab_file("c/3.csv", []), verdicts(1000, {})),
    ]


def test_raised_alarms_cost_what_they_cost_and_a_threshold_may_drop_them():
    """The false alarm is weaker than the right ones: with one threshold over all series it is gone."""
    report = nab_report(nab_verdicts())
    assert report["profiles"]["raised"]["standard"] == pytest.approx(100.0 - 5.5 / 2, abs=0.02)
    assert report["profiles"]["ranked"]["standard"] == pytest.approx(100.0)
    assert report["profiles"]["ranked"]["standard_threshold"] == pytest.approx(0.7)
    assert report["left_out"]["ranked"] == 50.0  # the threshold of one misses the alarm of the other


def test_an_alarm_counts_once_at_its_first_sample():
    """However long it is open: the rest of it is no false alarm."""
    judged = [JudgedNab(nab_file("a/1.csv", [(600, 650)]), verdicts(1000, {600: (999, 0.8)}))]
    assert nab_report(judged)["profiles"]["raised"]["standard"] == pytest.approx(100.0)


def test_events_of_nab_by_category_and_in_total():
    """Windows found, alarms right, false alarms a judged day; a category without windows has no recall."""
    report = nab_report(nab_verdicts())
    assert report["events"]["found"] == report["events"]["events"] == 2
    assert (report["events"]["right"], report["events"]["alarms"]) == (2, 3)
    judged_days = 3 * 849 / 1440
    assert report["events"]["false_alarms_per_day"] == pytest.approx(1 / judged_days, abs=1e-3)
    assert report["categories"]["c"]["recall"] is None
    assert report["categories"]["c"]["raised"] is None
    json.dumps(report, allow_nan=False)


def test_a_later_start_moves_the_windows_along():
    """The same samples are labelled."""
    file = nab_file("a/1.csv", [(600, 650)])
    later = judge_later(Bank, file, 13).file
    assert later.values[later.labels].tolist() == file.values[file.labels].tolist()
    assert len(later.ts) == len(file.ts) - 13


def test_the_spread_is_over_all_starts():
    """Mean, least and greatest of the standard scores."""
    good, bad = nab_verdicts(), [one._replace(verdicts=verdicts(1000, {})) for one in nab_verdicts()]
    spread = nab_spread([good, bad])["raised"]
    assert (spread["least"], spread["greatest"]) == (0.0, 97.25)
    assert spread["mean"] == pytest.approx(97.25 / 2, abs=0.01)


def labelled(name, events):
    labels = np.zeros(1000, np.bool_)
    for first, last in events:
        labels[first : last + 1] = True
    return LabelledFile(name, np.arange(1000, dtype=np.int64) * MINUTE, np.zeros(1000), labels)


def event_verdicts():
    return [
        JudgedEvents(labelled("a/1.csv", [(300, 310), (700, 700)]), verdicts(1000, {300: (305, 0.8), 702: (710, 0.9)})),
        JudgedEvents(labelled("b/2.csv", [(400, 405)]), verdicts(1000, {400: (410, 0.7), 900: (901, 0.55)})),
    ]


def test_events_as_raised_by_domain_and_in_total():
    """Two of two and one of one found; of four alarms one is false."""
    report = events_report(event_verdicts())
    assert (report["raised"]["found"], report["raised"]["events"]) == (3, 3)
    assert (report["raised"]["right"], report["raised"]["alarms"]) == (3, 4)
    assert report["domains"]["b"]["precision"] == 0.5
    assert report["raised"]["in_alarm"] == pytest.approx((6 + 9 + 11 + 2) / 1700, abs=1e-4)
    json.dumps(report, allow_nan=False)


def test_a_threshold_on_raised_alarms_drops_weak_ones_whole():
    """The weak alarm goes; the others stay as long as they were."""
    report = events_report(event_verdicts())
    assert report["best"]["ranked"]["f1"] == 1.0
    assert report["left_out"]["ranked"]["events"] == 3


def test_one_domain_alone_is_not_left_out():
    """There is nothing to choose a threshold on."""
    report = events_report(event_verdicts()[:1])
    assert report["left_out"] == {}
    assert report["domains"]["a"]["left_out"] == {}
