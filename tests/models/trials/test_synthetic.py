"""Synthetic trouble: that it is what it says, and that what is found is counted rightly."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import Shape, Verdicts
from models.trials.synthetic import SIZES, Found, Quiet, Scene, Size, can_have, run, scenes, troubled
from models.trials.troubles import DAY_S, TROUBLES, Background, Noise, healthy

HOURLY = Scene(3600, Noise.GAUSSIAN, Background.DAILY, seed=0)


@pytest.fixture(autouse=True)
def few_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hourly scene of a size for tests."""
    monkeypatch.setitem(SIZES, 3600, Size(16, 6, 4, 10))


class Oracle:
    """A learner that alarms where a value is unlike the one a day before by so much, and names it so."""

    version = 1

    def __init__(self, bar: float, name: Shape = Shape.SPIKE) -> None:
        self.bar, self.name, self.seen = bar, name, {}

    def grow(self, slots):
        pass

    def score_learn(self, slots, ts, values):
        alarm = np.zeros(len(slots), np.bool_)
        for i, (slot, at, value) in enumerate(zip(slots.tolist(), ts.tolist(), values.tolist(), strict=True)):
            before = self.seen.get((slot, at - DAY_S * 1000), value)
            alarm[i] = abs(value - before) > self.bar
            self.seen[slot, at] = value
        named = alarm.astype(np.int8) * self.name
        return Verdicts(alarm.astype(np.float32), alarm, values, values, values, named, np.zeros_like(alarm))


@pytest.mark.parametrize("noise", list(Noise))
def test_noise_has_deviation_one(noise):
    """Whatever its tails."""
    values = healthy(Background.DAILY, noise, (4, 400_000), 60, seed=1)[0]
    assert values.std() == pytest.approx(1.0, abs=0.05)
    assert values.mean() == pytest.approx(100.0, abs=0.05)


def test_a_week_is_flat_at_weekends():
    """The wave of a working day is five times that of a Saturday."""
    values = healthy(Background.WEEKLY, Noise.GAUSSIAN, (4, 7 * 1440), 60, seed=1)[3]
    days = values.reshape(7, 1440).std(axis=1)
    assert days[:5].min() > 4 * days[5:].max() * 0.8


def test_a_healthy_past_does_not_depend_on_what_follows():
    """Each trouble begins from the same past, whatever its length."""
    scene = HOURLY
    values = healthy(scene.background, scene.noise, (4, 800), scene.step_s, 0)
    for trouble in scene.troubles:
        part = troubled(values[0], 700, scene, trouble, 0)
        assert np.array_equal(part[:700], values[0][:700])
        assert not np.array_equal(part[700:], values[0][700 : len(part)])
        assert np.array_equal(values, healthy(scene.background, scene.noise, (4, 800), scene.step_s, 0))


def test_the_same_seed_gives_the_same_figures():
    """And another seed another series."""
    once, again = (list(run(lambda: Oracle(5.0), HOURLY)) for _ in range(2))
    assert once == again
    assert once != list(run(lambda: Oracle(5.0), Scene(3600, Noise.GAUSSIAN, Background.DAILY, seed=1)))


def test_what_never_alarms_finds_nothing_and_what_is_always_in_alarm_opens_none():
    """An alarm must open when the trouble comes: one that was open before is no finding."""
    for bar in (1e9, -1.0):
        results = list(run(lambda bar=bar: Oracle(bar), HOURLY))
        assert sum(one.found for one in results if isinstance(one, Found)) == 0


def test_spikes_are_found_and_named_by_one_who_sees_them():
    """Spikes of ten deviations stand out from the day before; the wrong name is not right."""
    right, wrong = (
        {one.trouble: one for one in run(lambda name=name: Oracle(7.0, name), HOURLY) if isinstance(one, Found)}
        for name in (Shape.SPIKE, Shape.TREND)
    )
    assert right["spike of 10"].figures()["found_share"] > 0.9
    assert right["spike of 10"].named == right["spike of 10"].found
    assert wrong["spike of 10"].found == right["spike of 10"].found
    assert wrong["spike of 10"].named == 0


def test_false_alarms_are_counted_on_healthy_days_after_the_past():
    """The days are those that are judged."""
    [quiet] = [one for one in run(lambda: Oracle(1e9), HOURLY) if isinstance(one, Quiet)]
    assert quiet.series_days == HOURLY.size.quiet_series * HOURLY.size.quiet_days
    assert quiet.figures()["per_series_day"] == 0.0


def test_a_trouble_of_the_season_comes_to_series_that_have_one():
    """Amplitudes 10 and 30 of 0, 3, 10, 30."""
    season = next(one for one in TROUBLES if one.name == "dropped season")
    assert [can_have(season, row) for row in range(4)] == [False, False, True, True]


def test_the_progress_bar_is_told_how_many_samples_there_are():
    """`samples` is what the learners are shown in all."""
    shown = []

    class Counting(Oracle):
        def score_learn(self, slots, ts, values):
            shown.append(len(slots))
            return super().score_learn(slots, ts, values)

    list(run(lambda: Counting(1e9), HOURLY))
    assert sum(shown) == HOURLY.samples


def test_every_trouble_has_a_scene():
    """None is left out for want of a step or a background."""
    seen = {one.name for scene in scenes([1, 15, 60, 3600], 0) for one in scene.troubles}
    assert seen == {one.name for one in TROUBLES}
