"""Before and after: held to scipy.stats, which is too heavy for a worker but right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.comparison import Verdict, binomial_tail, compare, growth, judge

samples = st.lists(st.integers(0, 12).map(float), min_size=2, max_size=40).map(np.array)


@given(samples, samples)
def test_rank_test_is_scipys(first: np.ndarray, second: np.ndarray) -> None:
    """Ties included, the same p-value as Mann and Whitney's test in scipy."""
    found = compare(first, second)
    if len(np.unique(np.concatenate([first, second]))) == 1:
        assert found.p == 1.0
        return
    expected = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=True).pvalue
    assert found.p == pytest.approx(expected, abs=1e-9)


@given(samples, samples)
def test_delta_counts_pairs(first: np.ndarray, second: np.ndarray) -> None:
    """Cliff's delta is the share of pairs that rise less the share of those that fall."""
    pairs = np.sign(second[None, :] - first[:, None])
    assert compare(first, second).delta == pytest.approx(pairs.mean())


def test_ratio_of_medians() -> None:
    """The second's median over the first's; undefined where that is nothing."""
    assert compare(np.array([1.0, 2.0, 3.0]), np.array([4.0])).ratio == 2.0
    assert np.isnan(compare(np.zeros(3), np.ones(3)).ratio)


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.0, 1.0))
def test_binomial_tail_is_scipys(successes: int, trials: int, share: float) -> None:
    """At least so many successes, by chance."""
    expected = stats.binom.sf(min(successes, trials) - 1, trials, share)
    assert binomial_tail(successes, trials, share) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("second", "floor", "verdict"),
    [
        (2.0, 0.0, Verdict.WORSE),
        (0.5, 0.0, Verdict.BETTER),
        (1.2, 0.0, Verdict.SAME),  # every rank is higher, yet by less than a third
        (2.0, 1.5, Verdict.SAME),  # twice as much of what matters to nobody
    ],
)
def test_verdict_needs_rank_and_size(second: float, floor: float, verdict: Verdict) -> None:
    """Significant, nearly without overlap, a third apart, and more than the floor."""
    first = np.linspace(0.95, 1.05, 12)
    assert judge(first, second * first, floor) is verdict


def test_few_intervals_are_no_proof() -> None:
    """Three against three can never be significant, however far apart."""
    assert judge(np.array([1.0, 1.1, 1.2]), np.array([9.0, 9.1, 9.2])) is Verdict.SAME


def test_from_nothing_to_something_is_worse() -> None:
    """A median of nothing has no ratio; the floor alone decides."""
    assert judge(np.zeros(10), np.linspace(1, 2, 10), 0.5) is Verdict.WORSE
    assert judge(np.array([]), np.ones(3)) is Verdict.SAME


@given(st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=30).map(np.array))
def test_growth_is_of_what_grows(values: np.ndarray) -> None:
    """Never negative, and nothing of what falls each time."""
    assert growth(values) >= 0.0
    assert growth(np.sort(values)[::-1]) == 0.0


@pytest.mark.parametrize("count", [3, 5, 6, 30])
def test_growth_of_a_line_is_its_slope(count: int) -> None:
    """Also under one value that lies far off, where there are enough to tell."""
    line = 2.0 + 0.25 * np.arange(count)
    assert growth(line) == pytest.approx(0.25)
    assert growth(line[:2]) == 0.0
    line[count // 2] = 100.0 if count > 5 else line[count // 2]
    assert growth(line) == pytest.approx(0.25, rel=0.1)


def test_growth_is_sens_slope() -> None:
    """The median slope of all pairs, as scipy has it."""
    values = np.linspace(1.0, 2.0, 24) + np.random.default_rng(7).normal(0.0, 0.1, 24)
    assert growth(values) == pytest.approx(stats.theilslopes(values).slope)
