"""Every learner passes every check."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import checks
from models.multivariate.learner import Multivariate, MultivariateSettings
from models.online.bank import Bank

LEARNERS = [Bank]


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("check", checks.CHECKS)
def test_check(check, learner):
    """A learner has the properties that its contract promises."""
    check(learner)


def vectors(**settings):
    """A vector learner as the checks take it, soon done with warming up."""
    chosen = MultivariateSettings(warmup_s=600.0, **settings)
    return lambda: checks.AsSeries(Multivariate(["a", "b", "c"], chosen))


VECTOR_LEARNERS = {
    "covariance": vectors(),
    "half-space forest": vectors(river="anomaly.HalfSpaceTrees", parameters={"window_size": 130, "height": 5}),
    "river": vectors(river="anomaly.LODA", parameters={"n_random_cuts": 5}),
}
# A River model's state is as long as its numbers have digits, and all models are one string; the others have rows.
# Whether a value far beyond the limit of the scale scores higher than a usual one is up to the model.
NOT_OF_RIVER = (checks.check_bounded_memory, checks.check_partial_snapshots, checks.check_score_before_learn)


PAIRS = [
    pytest.param(check, make, id=f"{check.__name__}-{name}")
    for name, make in VECTOR_LEARNERS.items()
    for check in checks.CHECKS
    if name != "river" or check not in NOT_OF_RIVER
]


@pytest.mark.parametrize(("check", "learner"), PAIRS)
def test_check_of_vectors(check, learner):
    """A learner of vectors has them too, as far as they are about vectors."""
    check(learner)


@pytest.mark.parametrize("learner", LEARNERS)
@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=150),
    step=st.integers(0, 10**8),
    cut=st.integers(0, 150),
)
def test_any_values(learner, values, step, cut):
    """No finite values at no step break the contract, and a cut anywhere changes nothing."""
    samples = checks.one_series(values, step)
    one, other = learner(), learner()
    one.grow(1)
    other.grow(1)
    whole = checks.run(one, samples)
    checks.check_answer(whole, "values")
    assert checks.same(whole, checks.run(other, samples, [min(cut, len(values))]))


def test_checks_find_a_peeking_learner():
    """A learner that learns before it scores fails the check for that."""

    class Peeking(Bank):
        def score_learn(self, slots, ts, values):
            verdicts = super().score_learn(slots, ts, values)
            return replace(verdicts, expected=values, lower=values, upper=values)

    with pytest.raises(AssertionError, match="saw its own sample"):
        checks.check_score_before_learn(Peeking)


def test_checks_find_an_aliasing_learner():
    """A learner whose snapshot shows its live arrays fails the check for that."""

    class Aliasing(Bank):
        def snapshot(self):
            return {"row": self._columns["row"]["level"]}

        def restore(self, state):
            pass

    with pytest.raises(AssertionError, match="learning changed"):
        checks.check_no_aliasing(Aliasing)
