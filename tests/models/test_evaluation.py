"""The scorers against published results and against cases worked out by hand."""

from __future__ import annotations

import csv
import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest

from models.corpora import load_nab
from models.evaluation import NAB_PROFILES, EventCounts, NabProfile, NabSeries, nab_score, onsets, runs, score_events

NAB = Path(os.environ.get("DURI_NAB", Path(__file__).parents[3] / "shared" / "data" / "nab"))
PUBLISHED = {
    "numenta": (70.101, 63.117, 74.320),
    "windowedGaussian": (39.650, 20.868, 47.410),
}


needs_nab = pytest.mark.skipif(not NAB.is_dir(), reason=f"NAB data is not in {NAB}; set DURI_NAB to its folder")


def published(detector):
    """Scores that were published, float64[n] by file name; rounded to nine decimals."""
    scores: dict[str, list[float]] = {}
    with gzip.open(NAB / "published" / f"{detector}.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            scores.setdefault(row["file"], []).append(float(row["score"]))
    return {name: np.array(values) for name, values in scores.items()}


def windowed_gaussian(values):
    """NAB's windowed Gaussian detector, from its definition: a window of 6400 that moves by 100."""
    scores, window = np.zeros(len(values)), values[:1]
    for i in range(1, len(values)):
        z = abs(values[i] - window.mean()) / (window.std() or 1e-6)
        scores[i] = 1.0 - 0.5 * math.erfc(z / math.sqrt(2.0))
        if i < 6400:
            window = values[: i + 1]
        elif (i - 6399) % 100 == 0:
            window = values[i - 6399 : i + 1]
    return scores


@needs_nab
def test_numenta_gets_its_published_scores():
    """Best thresholds give two profiles, the threshold that NAB had stored gives the third."""
    scores = published("numenta")
    series = [NabSeries(scores[file.name], file.windows) for file in load_nab(NAB)]
    standard, low_fp, low_fn = NAB_PROFILES.values()
    assert nab_score(series, standard).score == pytest.approx(70.101, abs=0.01)
    assert nab_score(series, low_fn).score == pytest.approx(74.320, abs=0.01)
    assert nab_score(series, low_fp, threshold=0.575335556).score == pytest.approx(63.117, abs=0.01)


@needs_nab
def test_windowed_gaussian_gets_its_published_scores():
    """Its stored threshold is so near 1 that nine decimals cannot tell, so the scores are made anew."""
    rounded, series = published("windowedGaussian"), []
    for file in load_nab(NAB):
        scores = windowed_gaussian(file.values)
        assert np.abs(scores - rounded[file.name]).max() < 1e-9
        series.append(NabSeries(scores, file.windows))
    ours = [nab_score(series, profile, 1.0 - 4.9095e-13).score for profile in NAB_PROFILES.values()]
    assert ours == pytest.approx([39.650, 20.868, 47.410], abs=0.01)


def series(alarms, windows=((40, 49),), length=100):
    scores = np.zeros(length)
    scores[list(alarms)] = 1.0
    return NabSeries(scores, np.array(windows, np.int64).reshape(-1, 2))


STANDARD = NabProfile(1.0, 1.0, 0.11)


@pytest.mark.parametrize(
    ("alarms", "score"),
    [
        ([40], 100.0),  # at the window's first row
        ([40, 45, 49], 100.0),  # only the best of a window counts
        ([], 0.0),
        ([5], 0.0),  # in probation
        ([40, 20], 100.0 - 5.5),  # before any window: the whole cost
        ([90], -5.5),  # far behind a window
    ],
)
def test_nab_scores_by_hand(alarms, score):
    """A threshold of 1 gives the detections of the list."""
    assert nab_score([series(alarms)], STANDARD, threshold=1.0).score == pytest.approx(score, abs=1e-9)


def test_an_alarm_just_behind_a_window_costs_less_than_one_far_behind():
    """The cost of a false alarm grows with the distance from the window before."""
    near, far = (nab_score([series([at])], STANDARD, 1.0).score for at in (51, 60))
    assert far < near < 0.0


def test_the_best_threshold_is_silence_where_alarms_only_harm():
    """The sweep includes the threshold above all scores."""
    result = nab_score([series([20])], STANDARD)
    assert result.score == 0.0
    assert result.threshold == np.inf


@pytest.mark.parametrize(
    ("labels", "alarms", "counts"),
    [
        ("0000000000", "0000000000", EventCounts()),
        ("0001100000", "0001100000", EventCounts(1, 1, 1, 1, (0,))),
        ("0001100000", "0000001000", EventCounts(1, 1, 1, 1, (3,))),  # two after its end
        ("0001100000", "0000000100", EventCounts(0, 1, 0, 1, ())),  # three after its end
        ("0001100000", "0100000000", EventCounts(1, 1, 1, 1, (0,))),  # two before its start
        ("0001100000", "1000000000", EventCounts(0, 1, 0, 1, ())),
        ("0001001000", "0001010000", EventCounts(2, 2, 1, 1, (0, 0))),  # one episode, two events
        ("0000010000", "1001010001", EventCounts(1, 1, 1, 3, (0,))),
    ],
)
def test_events_by_hand(labels, alarms, counts):
    """Each row of the table is one rule of the scoring."""
    labels, alarms = (np.array(list(text)) == "1" for text in (labels, alarms))
    assert score_events(labels, alarms, start=0) == counts


def test_alarms_at_most_a_gap_apart_are_one_episode():
    """The gap joins alarms; how far an alarm may miss an event stays the slack's."""
    labels, alarm = np.zeros(100, bool), np.zeros(100, bool)
    labels[10], alarm[[12, 27, 43]] = True, True
    assert score_events(labels, alarm, start=0) == EventCounts(1, 1, 1, 3, (2,))
    assert score_events(labels, alarm, start=0, gap=15) == EventCounts(1, 1, 1, 2, (2,))
    assert score_events(labels, alarm[::-1], start=0, gap=15) == EventCounts(0, 1, 0, 2)


@pytest.mark.parametrize(
    ("alarms", "right", "episodes", "excused"),
    [
        ("0001100000", 1, 1, 0),  # an event is found wherever its alarm lies
        ("0001000110", 1, 1, 1),
        ("0001000111", 1, 2, 0),  # what goes on after what is excused is not
        ("1000000110", 0, 1, 1),
    ],
)
def test_an_excused_episode_is_neither_right_nor_wrong(alarms, right, episodes, excused):
    """An event at row 3, with what follows it up to row 8 excused."""
    labels, let_off = (np.array(list(text)) == "1" for text in ("0001000000", "0000111110"))
    found = score_events(labels, np.array(list(alarms)) == "1", start=0, slack=1, excused=let_off)
    assert (found.right, found.episodes, found.excused) == (right, episodes, excused)


def test_probation_hides_events_and_alarms():
    """What lies in the first 15 % counts neither way."""
    labels = np.arange(100) == 10
    assert score_events(labels, labels) == EventCounts()


def test_figures_of_counts():
    """Precision, recall, F1 and median delay."""
    both = EventCounts(1, 2, 3, 3, (4,)) + EventCounts(2, 2, 0, 3, (0, 1))
    assert (both.precision, both.recall, both.delay) == (0.5, 0.75, 1.0)
    assert both.f1 == pytest.approx(0.6)


def test_runs_and_onsets():
    """Runs join true rows at most `gap` apart; onsets keep the first of each run."""
    flags = np.array([1, 1, 0, 0, 1, 0, 1], bool)
    assert list(runs(flags)) == [(0, 1), (4, 4), (6, 6)]
    assert list(runs(flags, 2)) == [(0, 1), (4, 6)]
    assert np.flatnonzero(onsets(flags)).tolist() == [0, 4, 6]
