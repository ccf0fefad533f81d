"""Synthetic series, healthy and in trouble, on which it is known what happens when.

Healthy series: 100 + a wave of amplitude 0, 3, 10 or 30 (by row) + noise of deviation 1, Gaussian or Student's t with
three degrees of freedom scaled to deviation 1. The wave is a daily sine; `weekly` flattens it to a fifth at weekends;
`bursts` has no wave but activity that comes and goes.

A *unit* is the step, at least a minute, as in the learners: so a shift at one sample a second has as long to be found
as one at a sample a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from models.contracts import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.contracts import Float64s, Int64s

DAY_S: Final = 86_400
START_S: Final = 1_699_833_600
"""Midnight (UTC) of Monday, 13 November 2023."""
LEVEL: Final = 100.0
AMPLITUDES: Final = (0.0, 3.0, 10.0, 30.0)

LEAST_ROWS: Final = 3
"""Samples that even a spike has to be found in."""

_T3_DEVIATION: Final = float(np.sqrt(3.0))


class Noise(StrEnum):
    """Distribution of the noise."""

    GAUSSIAN = "gaussian"
    STUDENT_T3 = "student_t3"


class Background(StrEnum):
    """What is usual in a series."""

    DAILY = "daily"
    WEEKLY = "weekly"
    BURSTS = "bursts"


def times(step_s: int, length: int) -> Int64s:
    """Times of samples, int64[n] ms."""
    return (START_S + step_s * np.arange(length, dtype=np.int64)) * 1000


def healthy(background: Background, noise: Noise, shape: tuple[int, int], step_s: int, seed: int) -> Float64s:
    """Make series without trouble, float64[series, n]."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) if noise is Noise.GAUSSIAN else rng.standard_t(3, shape) / _T3_DEVIATION
    values += LEVEL
    if background is Background.BURSTS:
        return values + _bursts(shape, step_s, rng)
    rows, t = np.arange(shape[0])[:, None], step_s * np.arange(shape[1])
    wave = np.sin(2.0 * np.pi * t / DAY_S + rows)
    if background is Background.WEEKLY:
        wave *= np.where(t // DAY_S % 7 < 5, 1.0, 0.2)
    values += np.array(AMPLITUDES)[rows % len(AMPLITUDES)] * wave
    return values


def _bursts(shape: tuple[int, int], step_s: int, rng: np.random.Generator) -> Float64s:
    """Bursts of some 50 deviations for three units, every fifteen units or so."""
    unit = max(60 // step_s, 1)
    starts = rng.random(shape) < 1.0 / (15 * unit)
    heights = np.where(starts, rng.gamma(4.0, 12.5, shape), 0.0)
    activity = np.zeros(shape)
    for lag in range(3 * unit):
        activity[:, lag:] = np.maximum(activity[:, lag:], heights[:, : shape[1] - lag])
    return activity


@dataclass(frozen=True, slots=True)
class Site:
    """Where a trouble begins: row `at` of a series; up or down (+1, -1); with chance of its own."""

    at: int
    sign: int
    step_s: int
    rng: np.random.Generator

    @property
    def unit(self) -> int:
        """Rows of a unit."""
        return rows_of_unit(self.step_s)


def rows_of_unit(step_s: int) -> int:
    """Rows of a unit of time at this step."""
    return max(60 // step_s, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One kind of trouble, and when it counts as found and named right.

    apply       changes the values float64[n] of one series from row `at` on
    units, days together the time from its start in which an alarm must open; at least three samples
    shapes      names that are right
    named       units after the start at which the name is looked at, if later than that time
    wave        least amplitude of the series that can have it
    steps       steps (s) at which it means something
    times       how often it comes, every so many units
    """

    name: str
    apply: Callable[[Float64s, Site], None]
    shapes: tuple[Shape, ...]
    units: int = 0
    days: float = 0.0
    named: int = 0
    background: Background = Background.DAILY
    wave: float = 0.0
    steps: tuple[int, ...] = (1, 15, 60, 300, 3600)
    times: int = 1
    every: int = 0

    def rows_within(self, step_s: int) -> int:
        """Rows in which an alarm must open."""
        return max(self.units * rows_of_unit(step_s) + round(self.days * DAY_S / step_s), LEAST_ROWS)

    def rows_in_all(self, step_s: int) -> int:
        """Rows from the first start to the last that is looked at."""
        unit = rows_of_unit(step_s)
        return (self.times - 1) * self.every * unit + max(self.rows_within(step_s), self.named * unit)

    def starts(self, at: int, step_s: int) -> list[int]:
        """Rows at which it begins, where the first of them is `at`."""
        return [at + number * self.every * rows_of_unit(step_s) for number in range(self.times)]


def _spike(size: float) -> Callable[[Float64s, Site], None]:
    def apply(x: Float64s, site: Site) -> None:
        x[site.at] += site.sign * size

    return apply


def _shift(x: Float64s, site: Site) -> None:
    x[site.at :] += 3.0 * site.sign


def _flatline(x: Float64s, site: Site) -> None:
    x[site.at : site.at + 60 * site.unit] = x[site.at]


def _trend(x: Float64s, site: Site) -> None:
    x[site.at :] += site.sign * np.minimum(np.arange(len(x) - site.at) / (120 * site.unit) * 10.0, 10.0)


def _variance(x: Float64s, site: Site) -> None:
    rows = slice(site.at, site.at + 60 * site.unit)
    x[rows] += np.sqrt(24.0) * site.rng.standard_normal(len(x[rows]))


def _dropped_season(x: Float64s, site: Site) -> None:
    rows = slice(site.at, site.at + DAY_S // 2 // site.step_s)
    usual = np.mean(x[max(site.at - 15 * site.unit, 0) : site.at])
    x[rows] = usual + site.rng.standard_normal(len(x[rows]))


def _busy_weekend(x: Float64s, site: Site) -> None:
    day = DAY_S // site.step_s
    x[site.at : site.at + day] = x[site.at - day : site.at][: len(x[site.at : site.at + day])]


def _silence(x: Float64s, site: Site) -> None:
    rows = slice(site.at, site.at + 180 * site.unit)
    x[rows] = LEVEL + site.rng.standard_normal(len(x[rows]))


def _bout(x: Float64s, site: Site) -> None:
    x[site.at : site.at + 5 * site.unit] += 8.0 * site.sign


TROUBLES: Final = (
    # One sample.
    Trouble(name="spike of 6", apply=_spike(6.0), shapes=(Shape.SPIKE,)),
    Trouble(name="spike of 10", apply=_spike(10.0), shapes=(Shape.SPIKE,)),
    # Three deviations for good.
    Trouble(name="shift of 3", apply=_shift, units=10, named=60, shapes=(Shape.SHIFT,)),
    # The same value for 60 units.
    Trouble(name="flatline", apply=_flatline, units=30, named=60, shapes=(Shape.FLATLINE,)),
    # Ten deviations in 120 units.
    Trouble(name="trend", apply=_trend, units=120, shapes=(Shape.TREND,)),
    # Five times the noise for 60 units.
    Trouble(name="variance", apply=_variance, units=30, named=60, shapes=(Shape.VARIANCE,)),
    # It stays where it is for half a day, but for noise.
    Trouble(name="dropped season", apply=_dropped_season, days=0.5, wave=10.0, shapes=(Shape.SEASON,)),
    # A Saturday that is like a Friday.
    Trouble(
        name="busy weekend",
        apply=_busy_weekend,
        days=0.5,
        wave=10.0,
        shapes=(Shape.SEASON,),
        background=Background.WEEKLY,
        steps=(60, 3600),
    ),
    # No activity for 180 units in a series that has bursts of it.
    Trouble(
        name="silence",
        apply=_silence,
        units=180,
        shapes=(Shape.ABSENCE,),
        background=Background.BURSTS,
        steps=(15, 60, 300),
    ),
    # Eight deviations for five units, twenty times.
    Trouble(
        name="20 bouts of 8",
        apply=_bout,
        units=5,
        times=20,
        every=300,
        steps=(15, 60),
        shapes=(Shape.SHIFT, Shape.SPIKE),
    ),
    Trouble(name="20 spikes of 10", apply=_spike(10.0), times=20, every=300, steps=(15, 60), shapes=(Shape.SPIKE,)),
)
"""Every kind of trouble, sizes in deviations of the noise."""
