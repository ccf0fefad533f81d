"""Signals judged together: what is found, what is not, who is named, and River's models by name."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import anomaly

from models.multivariate import plain
from models.multivariate.forest import HalfSpaceForest, is_forest
from models.multivariate.learner import Multivariate, MultivariateSettings
from models.multivariate.river_choice import RiverChoice
from models.multivariate.river_scorer import RiverScorer
from models.multivariate.scale import unit_interval

SIGNALS = [f"s{number:02d}" for number in range(8)]
ONE = np.zeros(1, np.int32)


def deviations(frames, seed=0, rows=1):
    """Eight signals that follow two common causes, and noise of their own; float64[frames, rows, signals]."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(frames, rows, 2)) @ rng.normal(size=(2, 8))
    return causes + 0.5 * rng.normal(size=(frames, rows, 8))


def alarms(learner, vectors):
    """Whether each frame of one row is in alarm, and the contributions; bool[frames], float64[frames, signals]."""
    learner.grow(1)
    found = [learner.score_learn(ONE, vector, np.zeros(vector.shape)) for vector in vectors]
    return np.concatenate([f.alarm for f in found]), np.concatenate([f.contributions for f in found])


def test_signals_that_part_company_are_found_and_named():
    """Two signals that always move together, each within its usual range, go opposite ways for ten minutes."""
    rng = np.random.default_rng(1)
    vectors = deviations(2_000, seed=1)
    cause = rng.normal(size=2_000)
    vectors[:, 0, 2] = cause + 0.1 * rng.normal(size=2_000)
    vectors[:, 0, 5] = cause + 0.1 * rng.normal(size=2_000)
    vectors[1_900:1_910, 0, 2], vectors[1_900:1_910, 0, 5] = 1.5, -1.5
    alarm, shares = alarms(Multivariate(SIGNALS), vectors)
    assert not alarm[:1_900].any()
    assert alarm[1_900:1_910].any()
    first = 1_900 + int(np.argmax(alarm[1_900:]))
    assert set(np.argsort(shares[first])[-2:].tolist()) == {2, 5}
    assert shares[first].sum() == pytest.approx(1.0)


def test_many_small_deviations_are_found():
    """All signals are off by two and a half deviations of their own, in their own directions."""
    vectors = deviations(2_000, seed=2)
    vectors[1_900:1_915, 0] += 2.5 * vectors[:1_900, 0].std(axis=0) * np.array([1, -1] * 4)
    alarm, _ = alarms(Multivariate(SIGNALS), vectors)
    assert not alarm[:1_900].any()
    assert alarm[1_900:1_915].any()


def test_nothing_is_judged_while_warming_up():
    """In the first eight hours there is no score."""
    learner = Multivariate(SIGNALS)
    learner.grow(1)
    vectors = deviations(479)
    vectors[400:] += 50.0
    assert not any(learner.score_learn(ONE, v, np.zeros(v.shape)).score[0] for v in vectors)


def test_missing_signals_are_no_anomaly():
    """Half of the signals stop being reported: the others are judged as before."""
    vectors = deviations(2_000, seed=3)
    vectors[1_500:, 0, :4] = np.nan
    alarm, _ = alarms(Multivariate(SIGNALS), vectors)
    assert not alarm.any()


def test_deviations_below_what_matters_are_no_anomaly():
    """A signal that never moved may move by less than anybody cares about."""
    vectors = deviations(2_000, seed=4)
    vectors[:, 0, 0] = 0.0
    vectors[1_900:, 0, 0] = 0.01
    learner, least = Multivariate(SIGNALS), np.full((1, 8), 0.0)
    least[0, 0] = 0.05
    learner.grow(1)
    assert not any(learner.score_learn(ONE, vector, least).alarm[0] for vector in vectors)


def test_false_alarms_on_healthy_services_are_rare():
    """Twenty services for four days, their own noise heavy-tailed: at most one alarm in fifty service-days."""
    rng = np.random.default_rng(5)
    frames, rows = 4 * 1440, 20
    vectors = deviations(frames, seed=5, rows=rows) + 0.5 * rng.standard_t(4, (frames, rows, 8))
    learner, least = Multivariate(SIGNALS), np.zeros((rows, 8))
    learner.grow(rows)
    before, opened = np.zeros(rows, bool), 0
    for vector in vectors:
        alarm = learner.score_learn(np.arange(rows, dtype=np.int32), vector, least).alarm
        opened += int((alarm & ~before).sum())
        before = alarm
    assert opened <= 0.02 * rows * frames / 1440


@pytest.mark.parametrize(
    "parameters", [{}, {"n_trees": 3, "height": 4, "window_size": 40, "seed": 3}, {"height": 2, "window_size": 300}]
)
def test_the_forest_scores_as_river_does(parameters):
    """Bit for bit, from the first window on, though all rows share their trees; names in an order of their own."""
    names = ["rps", "errors", "cpu", "latency", "memory"]
    choice = RiverChoice("anomaly.HalfSpaceTrees", parameters)
    forest = HalfSpaceForest(choice, names)
    forest.grow(2)
    models = [choice.make(), choice.make()]
    window = models[0].window_size
    for at, vector in enumerate(np.random.default_rng(0).normal(0, 3, (2 * window + 50, 2, 5)).clip(-8, 8)):
        found = forest.score_learn(np.arange(2, dtype=np.int32), vector)
        for row, model in enumerate(models):
            features = dict(zip(names, unit_interval(vector[row]).tolist(), strict=True))
            wanted = model.score_one(features) if at >= window else math.nan
            assert found[row] == wanted or (math.isnan(found[row]) and math.isnan(wanted))
            model.learn_one(features)


def test_the_forest_stands_for_rivers_trees_only():
    """Limits of one's own are River's business."""
    assert is_forest(RiverChoice("anomaly.HalfSpaceTrees", {"n_trees": 3}))
    assert not is_forest(RiverChoice("anomaly.HalfSpaceTrees", {"limits": None}))
    assert not is_forest(RiverChoice("anomaly.LODA"))


def test_trees_too_large_for_every_service_are_refused():
    """The message says how large they are."""
    with pytest.raises(ValueError, match=r"\d MB a service"):
        HalfSpaceForest(RiverChoice("anomaly.HalfSpaceTrees", {"n_trees": 100, "height": 13}), SIGNALS)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("anomaly.HalfSpaceTree", {}, "did you mean anomaly.HalfSpaceTrees"),
        ("anomoly.LODA", {}, "no such class; did you mean anomaly.LODA"),
        ("HalfSpaceTrees", {}, "did you mean anomaly.HalfSpaceTrees"),
        ("anomaly.GaussianScorer", {}, "judges a target"),
        ("anomaly.PredictiveAnomalyDetection", {}, "judges a target"),
        ("anomaly.ThresholdFilter", {}, "threshold on another detector"),
        ("linear_model.LinearRegression", {}, "no anomaly detector"),
        ("anomaly.HalfSpaceTrees", {"n_tree": 5}, "no parameter 'n_tree'; did you mean n_trees"),
        ("anomaly.HalfSpaceTrees", {"n_trees": "ten"}, "does not work: TypeError"),
        ("anomaly.HalfSpaceTrees", {"n_trees": 0}, "does not work: ZeroDivisionError"),
        ("anomaly.LocalOutlierFactor", {"engine": "lazy"}, "does not work"),
    ],
)
def test_what_cannot_be_run_is_refused(name, parameters, message):
    """At the start, with the nearest names."""
    with pytest.raises(ValueError, match=message):
        MultivariateSettings(river=name, parameters=parameters)


@pytest.mark.parametrize("settings", [{"sensitivity": 9.0}, {"step_s": 0.0}, {"parameters": {"n_trees": 3}}])
def test_settings_out_of_bounds_are_refused(settings):
    """The message names the setting."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        MultivariateSettings(**settings)


class Moody:
    """A model that raises, or gives no number, on some vectors."""

    window_size = 1

    def score_one(self, x):
        if x["a"] > 0.9:
            raise TypeError("negative variance")
        return math.inf if x["a"] < 0.1 else 0.5

    def learn_one(self, x):
        pass


def test_a_model_that_raises_is_counted_and_made_new():
    """The error stays with its row; the others, and the calls after it, go on."""
    scorer = RiverScorer(RiverChoice("anomaly.LODA"), ["a", "b"])
    object.__setattr__(scorer, "_choice", type("Choice", (), {"make": staticmethod(Moody)})())
    scorer.grow(2)
    rows = np.arange(2, dtype=np.int32)
    for _ in range(130):
        scores = scorer.score_learn(rows, np.zeros((2, 2)))
    assert scores.tolist() == [0.5, 0.5]
    odd = scorer.score_learn(rows, np.array([[8.0, 0.0], [0.0, 0.0]]))
    assert math.isnan(odd[0])
    assert odd[1] == 0.5
    scorer.score_learn(rows, np.array([[0.0, 0.0], [-8.0, 0.0]]))
    assert scorer.failures == Counter(TypeError=1, ValueError=1)


@pytest.mark.parametrize(
    "model",
    [
        anomaly.HalfSpaceTrees(n_trees=3, height=4, window_size=20, seed=1),
        anomaly.LODA(n_random_cuts=5, seed=1),
        anomaly.LocalOutlierFactor(),
        anomaly.OneClassSVM(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_river_models_go_on_from_their_saved_state(model):
    """Saved without pickle, restored, and every score after that is the same to the bit; so is the state."""
    rng = np.random.default_rng(0)
    vectors = [{"a": a, "b": b} for a, b in rng.random((80, 2)).tolist()]
    for vector in vectors[:50]:
        model.score_one(vector)
        model.learn_one(vector)
    again = plain.decode(plain.encode(model))
    for vector in vectors[50:]:
        assert again.score_one(vector) == model.score_one(vector)
        model.learn_one(vector)
        again.learn_one(vector)
    assert plain.encode(again) == plain.encode(model)


@pytest.mark.parametrize(
    ("value", "message"),
    [([object()], "builtins.object"), ({"f": print}, "not River's"), (np.array([None]), "only numbers")],
)
def test_what_is_not_rivers_is_not_saved(value, message):
    """The message names where it is."""
    with pytest.raises(ValueError, match=message):
        plain.encode(value)


@pytest.mark.parametrize(
    "state",
    [
        ["name", "os:system"],
        ["name", "builtins:eval"],
        ["name", "river.utils.norm:np.os.system"],
        ["new", "subprocess:Popen", ["list", "true"], None],
        ["call", "river.utils:random", ["list"], None],
        ["array", "|O8", [1], b"12345678"],
        ["strange"],
        ["same", 7],
        [],
    ],
)
def test_foreign_names_are_never_looked_up(state):
    """State that asks for anything but River's classes and plain values is refused."""
    import msgspec  # noqa: PLC0415  only here

    with pytest.raises(ValueError, match="River model"):
        plain.decode(msgspec.msgpack.encode(state))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data):
    """Damage is a ValueError or a plain value, never another exception."""
    try:
        plain.decode(data)
    except ValueError as error:
        assert str(error)  # noqa: PT017  most bytes are some plain value


def test_another_scorers_snapshot_is_refused():
    """State of trees is not read as that of a covariance."""
    forest = Multivariate(SIGNALS, MultivariateSettings(river="anomaly.HalfSpaceTrees", parameters={"n_trees": 2}))
    with pytest.raises(ValueError, match="not of covariance"):
        Multivariate(SIGNALS).restore(forest.snapshot())
