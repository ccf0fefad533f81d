"""A learner against synthetic trouble: what it finds, what it calls it, and how often it cries wolf.

For each step, kind of noise and background the learner first sees a healthy past. Each trouble then begins from a copy
of that learner, at a time of the following day that chance gives each series. A trouble is found if an alarm *opens*
in the time given with it; its name is the last that the learner gave in the time that is looked at.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.contracts import Shape
from models.corpora import LabelledFile
from models.evaluation import onsets
from models.trials.figures import rounded
from models.trials.troubles import (
    AMPLITUDES,
    DAY_S,
    LEAST_ROWS,
    TROUBLES,
    Background,
    Noise,
    Site,
    Trouble,
    healthy,
    rows_of_unit,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from models.contracts import Float64s, Int8s, Int64s, OnlineLearner, Verdicts

    Make = Callable[[], OnlineLearner]


class Size(NamedTuple):
    """How much is tried: series, days of healthy past, and series-days of healthy samples after it."""

    series: int
    past_days: int
    quiet_series: int
    quiet_days: int


SIZES: Final = {
    1: Size(24, 3, 8, 4),
    15: Size(48, 4, 24, 10),
    60: Size(96, 5, 96, 20),
    300: Size(4, 5, 4, 20),
    3600: Size(96, 28, 96, 90),
}
"""By step, s; so that a whole run stays below some minutes."""

_WEEKLY_PAST_DAYS: Final = 25  # the next day but one is the fourth Saturday


@dataclass(frozen=True, slots=True)
class Scene:
    """Healthy series at one step, with one kind of noise, on one background."""

    step_s: int
    noise: Noise
    background: Background
    seed: int

    @property
    def size(self) -> Size:
        """How much is tried."""
        size = SIZES[self.step_s]
        return size._replace(past_days=_WEEKLY_PAST_DAYS) if self.background is Background.WEEKLY else size

    def rows(self, days: float) -> int:
        """Rows of so many days."""
        return round(days * DAY_S / self.step_s)

    @property
    def troubles(self) -> list[Trouble]:
        """What can happen in it."""
        return [one for one in TROUBLES if one.background is self.background and self.step_s in one.steps]

    @property
    def samples(self) -> int:
        """Samples that `run` judges, for a progress bar."""
        size = self.size
        past = size.series * self.rows(size.past_days)
        found = sum(
            int((sites - self.rows(size.past_days) + one.rows_in_all(self.step_s)).sum())
            for one in self.troubles
            for sites in [self.sites(one)]
        )
        return past + found + size.quiet_series * self.rows(size.past_days + size.quiet_days)

    def sites(self, trouble: Trouble) -> Int64s:
        """Row at which the trouble first begins in each series: in the day after the past, by chance."""
        past = self.rows(self.size.past_days)
        if trouble.background is Background.WEEKLY:
            return np.full(self.size.series, past + self.rows(1), np.int64)
        rng = np.random.default_rng([self.seed, 1])
        return past + rng.integers(1, self.rows(1), self.size.series)


class Found(NamedTuple):
    """How one trouble went in one scene: how often it came, was found, and was found and named right."""

    trouble: str
    step_s: int
    noise: str
    times: int
    found: int
    named: int

    def figures(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self._asdict(),
            "found_share": rounded(self.found / self.times, 3),
            "named_share": rounded(self.named / self.found, 3) if self.found else None,
        }


class Quiet(NamedTuple):
    """False alarms in healthy series after the past."""

    background: str
    step_s: int
    noise: str
    series_days: int
    alarms: int

    def figures(self) -> dict[str, Any]:
        """Plain values."""
        return {**self._asdict(), "per_series_day": rounded(self.alarms / self.series_days, 4)}


def scenes(steps: Sequence[int], seed: int) -> list[Scene]:
    """Every scene at these steps in which something can happen."""
    every = [Scene(step, noise, background, seed) for step in steps for noise in Noise for background in Background]
    return [scene for scene in every if scene.troubles]


def run(make: Make, scene: Scene) -> Iterator[Found | Quiet]:
    """Let learners go through a scene: each trouble, then the healthy series."""
    size, past = scene.size, scene.rows(scene.size.past_days)
    longest = max((one.rows_in_all(scene.step_s) for one in scene.troubles), default=0)
    values = _healthy(scene, size.series, past + scene.rows(1) + longest, scene.seed)
    learner = make()
    learner.grow(size.series)
    _judge(learner, scene, list(values[:, :past]), 0)
    for trouble in scene.troubles:
        yield _found(copy.deepcopy(learner), scene, trouble, values)
    yield quiet(make(), scene)


def corpus(step_s: int, seed: int) -> list[LabelledFile]:
    """Labelled series, named trouble/noise-number, for detectors that are no learners of ours.

    Each is a past and one trouble, labelled until it must be found, where the series ends.
    """
    files = []
    for scene in scenes([step_s], seed):
        length = scene.rows(scene.size.past_days + 1) + max(one.rows_in_all(step_s) for one in scene.troubles)
        values = _healthy(scene, scene.size.series, length, seed)
        for trouble in scene.troubles:
            for number, (row, at) in enumerate(zip(values, scene.sites(trouble).tolist(), strict=True)):
                if can_have(trouble, number):
                    part = troubled(row, at, scene, trouble, number)[: at + trouble.rows_within(step_s)]
                    labels = np.arange(len(part)) >= at
                    if trouble.rows_within(step_s) == LEAST_ROWS:
                        labels[at + 1 :] = False
                    name = f"{trouble.name}/{scene.noise}-{number}"
                    files.append(LabelledFile(name, times(step_s, len(part)), part, labels))
    return files


def _healthy(scene: Scene, series: int, length: int, seed: int) -> Float64s:
    return healthy(scene.background, scene.noise, (series, length), scene.step_s, seed)


def _judge(learner: OnlineLearner, scene: Scene, parts: Sequence[Float64s], first: int) -> Verdicts:
    """Judge what each series does from row `first` on, one series after the other."""
    lengths = [len(part) for part in parts]
    ts = times(scene.step_s, first + max(lengths))[first:]
    slots = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)
    return learner.score_learn(slots, np.concatenate([ts[:n] for n in lengths]), np.concatenate(parts))


def _found(learner: OnlineLearner, scene: Scene, trouble: Trouble, values: Float64s) -> Found:
    past, sites = scene.rows(scene.size.past_days), scene.sites(trouble)
    parts = [
        troubled(row, at, scene, trouble, number) for number, (row, at) in enumerate(zip(values, sites, strict=True))
    ]
    given = _judge(learner, scene, [part[past:] for part in parts], past)
    ends = np.cumsum([len(part) - past for part in parts])
    counted = found = named = 0
    for number, (at, end) in enumerate(zip(sites.tolist(), ends.tolist(), strict=True)):
        if not can_have(trouble, number):
            continue
        rows = slice(end - len(parts[number]) + past, end)
        opened, shapes = onsets(given.alarm[rows]), given.shape[rows]
        for start in trouble.starts(at - past, scene.step_s):
            counted += 1
            if opened[start : start + trouble.rows_within(scene.step_s)].any():
                found += 1
                named += _last_name(shapes[start : start + _looked_at(trouble, scene)]) in trouble.shapes
    return Found(trouble.name, scene.step_s, scene.noise, counted, found, named)


def can_have(trouble: Trouble, row: int) -> bool:
    """Whether the series of this row is among those that can have the trouble."""
    return AMPLITUDES[row % len(AMPLITUDES)] >= trouble.wave


def troubled(row: Float64s, at: int, scene: Scene, trouble: Trouble, number: int) -> Float64s:
    """Give a series with the trouble in it, up to the last row that is looked at."""
    part = row[: at + trouble.rows_in_all(scene.step_s)].copy()
    for start in trouble.starts(at, scene.step_s):
        rng = np.random.default_rng([scene.seed, 2, number])
        trouble.apply(part, Site(start, 1 if number // len(AMPLITUDES) % 2 else -1, scene.step_s, rng))
    return part


def _looked_at(trouble: Trouble, scene: Scene) -> int:
    return max(trouble.rows_within(scene.step_s), trouble.named * rows_of_unit(scene.step_s))


def _last_name(shapes: Int8s) -> Shape:
    given = np.flatnonzero(shapes)
    return Shape(int(shapes[given[-1]])) if len(given) else Shape.NONE


def quiet(learner: OnlineLearner, scene: Scene) -> Quiet:
    """Count false alarms of a new learner in the healthy series of a scene."""
    size, past = scene.size, scene.rows(scene.size.past_days)
    length = past + scene.rows(size.quiet_days)
    values = _healthy(scene, size.quiet_series, length, scene.seed + 1)
    learner.grow(size.quiet_series)
    alarm = _judge(learner, scene, list(values), 0).alarm.reshape(values.shape)
    alarms = sum(int(onsets(row)[past:].sum()) for row in alarm)
    return Quiet(scene.background, scene.step_s, scene.noise, size.quiet_series * size.quiet_days, alarms)
