from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.offline.bootstrap import f1_difference
from models.offline.features import WARMUP, Features, names_of, of_cube, signals_of
from models.offline.injected import inject


def cube(seed: int, frames: int = 200, services: int = 3, signals: int = 4, missing: float = 0.1) -> np.ndarray:
    """Noise at different levels, with holes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(10.0 ** rng.integers(-3, 6, size=signals), 1.0, size=(frames, services, signals))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 200))
def test_live_and_training_see_the_same_numbers(seed: int, cut: int) -> None:
    """A cube at once, or frame by frame with a snapshot in between: the same features to the bit."""
    values = cube(seed)
    before, after = Features(3, 4), Features(3, 4)
    first = [before.advance(frame) for frame in values[:cut]]
    after.restore(before.snapshot())
    rest = [after.advance(frame) for frame in values[cut:]]
    assert np.array_equal(np.array([*first, *rest]), of_cube(values), equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_features_are_finite_once_warm(seed: int) -> None:
    """Whatever the scale, with constant signals and holes; a frame without any value has none."""
    values = cube(seed)
    values[:, 0, 1] = 7.0
    values[150, 2] = np.nan
    found = of_cube(values)
    assert np.isnan(found[:WARMUP]).all()
    assert np.isnan(found[150, 2]).all()
    late = slice(WARMUP + 5, None)
    assert np.array_equal(np.isfinite(found[late]).all(axis=2), np.isfinite(values[late]).any(axis=2))


def test_what_moves_together_is_as_usual_until_it_does_not() -> None:
    """Four signals follow one load by other powers: half the load is nothing, one signal alone at half is.

    Each is within what it always does: only together they tell. Whichever it is, it is the one that is apart.
    """
    rng = np.random.default_rng(6)
    load = np.exp(0.5 * np.sin(np.arange(3000) / 37) + 0.1 * rng.standard_normal(3000))
    values = load[:, None] ** np.array([0.5, 1.0, 1.5, -0.7]) * np.exp(0.03 * rng.standard_normal((3000, 4)))
    one = values.copy()
    one[1920:1940, 1] *= 0.5
    every = values.copy()
    every[1920:1940] *= 0.5 ** np.array([0.5, 1.0, 1.5, -0.7])
    assert (values.min(axis=0) < one[1920:1940].min(axis=0)).all()
    usual, apart, together = (np.abs(of_cube(each[:, None])[1920:1940, 0]) for each in (values, one, every))
    assert apart[-10:, 1].min() > 4 * usual.max()
    assert (apart[-10:].argmax(axis=1) == 1).all()
    assert together[:, 1].max() < 0.5 * apart[:, 1].max()


def test_a_frame_is_judged_before_it_is_learned() -> None:
    """What comes later changes nothing of what was said before."""
    values = cube(3)
    longer = np.concatenate([values, values[:5] * 1e6])
    assert np.array_equal(of_cube(longer)[: len(values)], of_cube(values), equal_nan=True)


def test_services_do_not_see_each_other() -> None:
    """One service alone has the features that it has among others."""
    values = cube(4)
    assert np.array_equal(of_cube(values[:, 1:2]), of_cube(values)[:, 1:2], equal_nan=True)


def test_features_of_another_shape_are_refused() -> None:
    """Wrong number of signals, and a snapshot of other services."""
    with pytest.raises(ValueError, match="shape"):
        Features(2, 3).advance(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="snapshot"):
        Features(2, 3).restore(Features(1, 3).snapshot())
    assert names_of(["a", "b"]) == ("a:apart", "b:apart")
    assert signals_of(names_of(["a", "b"])) == ("a", "b")


def test_injected_anomalies_are_where_the_labels_say() -> None:
    """Values differ within labels only, each service has as many as asked for, and the input is as it was."""
    values = cube(5, frames=3000, missing=0.0)
    kept = values.copy()
    found = inject(values, 9, np.random.default_rng(1))
    assert np.array_equal(values, kept)
    changed = (found.values != values).any(axis=2)
    assert np.array_equal(changed, found.labels)
    starts = (np.diff(found.labels.astype(int), axis=0, prepend=0) == 1).sum(axis=0)
    assert starts.tolist() == [9, 9, 9]


def test_what_is_apart_stays_in_its_range() -> None:
    """Its signals have values that they had at another time; spikes, shifts and trends of the same size leave it."""
    rng = np.random.default_rng(7)
    values = (5 + np.sin(np.arange(3000) / 90)[:, None, None] * rng.uniform(1, 3, 4)) + rng.normal(0, 0.1, (3000, 2, 4))
    found = inject(values, 12, np.random.default_rng(2))
    low, high = values.min(axis=0), values.max(axis=0)
    outside = {}
    for one in found.anomalies:
        part, columns = found.values[one.first : one.after, one.service], list(one.signals)
        beyond = (part < low[one.service]) | (part > high[one.service])
        outside.setdefault(one.kind, []).append(beyond[:, columns].any())
    assert {kind: len(each) for kind, each in outside.items()} == dict.fromkeys(("spike", "apart", "shift", "trend"), 6)
    assert not any(outside["apart"])
    assert all(any(outside[kind]) for kind in ("spike", "shift", "trend"))


def test_the_interval_tells_better_from_equal() -> None:
    """Better in every block: the interval lies above 0. Equal: it is 0. By chance: it holds 0."""
    rng = np.random.default_rng(0)
    good = np.tile([2.0, 2.0, 2.0, 2.0], (30, 1))
    poor = np.tile([1.0, 2.0, 1.0, 2.0], (30, 1))
    assert f1_difference(good, poor, rng).low > 0.4
    assert f1_difference(good, good, rng) == (0.0, 0.0, 0.0)
    mixed = np.where(np.arange(30)[:, None] % 2 == 0, good, poor)
    found = f1_difference(mixed, mixed[::-1], rng)
    assert found.low < 0 < found.high
