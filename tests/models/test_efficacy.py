"""Rules that learn from outcomes, and confidence that learns what it is worth."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.efficacy import Efficacy, expected_calibration_error

outcomes = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from([0.0, 1.0])), max_size=60)


def test_without_outcomes_the_prior_stands() -> None:
    """Nothing learned, nothing changed: neither the probability nor the confidence."""
    efficacy = Efficacy()
    assert efficacy.probability("rule", "service", 0.8) == 0.8
    assert [efficacy.confidence(score) for score in (0.0, 0.37, 1.0)] == [0.0, 0.37, 1.0]


def test_context_differs_from_its_rule() -> None:
    """What never helps on one service is believed less there than elsewhere, and less elsewhere than before."""
    efficacy = Efficacy()
    for _ in range(5):
        efficacy.learn("rule", "bad", 0.0, 1.0)
    bad, other = efficacy.probability("rule", "bad", 0.8), efficacy.probability("rule", "other", 0.8)
    assert bad < 0.2
    assert bad < other < 0.5


def test_old_outcomes_fade() -> None:
    """After a hundred failures, fifty successes convince."""
    efficacy = Efficacy()
    for helped in [0.0] * 100 + [1.0] * 50:
        efficacy.learn("rule", "service", helped, 1.0)
    assert efficacy.probability("rule", "service", 0.5) > 0.6


def test_overconfident_scores_come_down() -> None:
    """Scores of 0.85 that help in half of the cases are worth about a half."""
    efficacy = Efficacy()
    for number in range(100):
        efficacy.calibrate(0.85, float(number % 2))
    assert efficacy.confidence(0.85) == pytest.approx(0.5, abs=0.05)


@given(outcomes, st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0])), max_size=60))
def test_calibration_keeps_the_order(
    taken: list[tuple[str, str, float]], calibrated: list[tuple[float, float]]
) -> None:
    """Whatever was learned: probabilities stay within 0 and 1, a higher score is never less sure, state restores."""
    efficacy = Efficacy()
    for rule, context, helped in taken:
        efficacy.learn(rule, context, helped, 1.0)
    for score, helped in calibrated:
        efficacy.calibrate(score, helped)
    confidence = [efficacy.confidence(score) for score in np.linspace(0, 1, 41)]
    assert all(0.0 <= a <= b + 1e-12 <= 1.0 + 1e-12 for a, b in itertools.pairwise(confidence))
    assert 0.0 < efficacy.probability("a", "x", 0.5) < 1.0
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(efficacy), type=Efficacy)
    assert again == efficacy


def test_hit_rate_counts_what_was_applied() -> None:
    """Answers and expiries are no tries."""
    efficacy = Efficacy()
    for result in ("verified", "no_effect", "regressed", "rejected", "expired", "verified"):
        efficacy.count("rule", result)
    assert efficacy.hit_rate("rule") == (2, 4)
    assert efficacy.hit_rate("other") == (0, 0)


def test_calibration_error() -> None:
    """A coin that is called sure is wrong by a half; an honest one is not."""
    helped = np.array([0.0, 1.0] * 50)
    assert expected_calibration_error(np.full(100, 1.0), helped) == pytest.approx(0.5)
    assert expected_calibration_error(np.full(100, 0.5), helped) == pytest.approx(0.0)
