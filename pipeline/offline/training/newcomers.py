"""New series of known services: what the learners know of the old ones, and how new ones would have done with priors.

A series is new at the beginning of each day of a period: the learners have never seen it, and judge it for that day,
with anomalies put in, from nothing (cold) or from priors (warm). An alarm that is there without an anomaly does not
find it: else who raises one all the time would find them all. The priors are those of the other services' past: of the
services in turn one group is new, and what its own past looks like is not in its priors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from sklearn.base import clone

from models.evaluation import EventCounts, runs, score_events
from models.offline import priors
from models.offline.injected import aftermath, inject
from models.online import warmth
from models.online.bank import Bank
from pipeline.errors import FileError
from pipeline.offline.training.fitting import EPISODE_GAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from pipeline.offline.dataset.reading import Cube
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Blocks, Learners

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_LEAST_KNOWN: Final = 2.0
"""Days of samples after which a series is known …"""
_LEAST_DAY_MS: Final = DAY_MS // 4
"""… and a period's last day is looked at where so much of it is there."""
_MOMENTS: Final = 8
"""Of its last day, at which a known series is looked at."""
_SLACK: Final = 2
"""Frames by which an alarm may miss an event."""
GROUPS: Final = 5
"""Of services, each of which is new in turn."""


class Fleet(NamedTuple):
    """Services with their frames, and how their new series are judged.

    injected: anomalies put into each service.
    """

    blocks: Blocks
    learners: Learners
    injected: int
    seed: int

    def cube(self, service: str, span: Span) -> Cube:
        """Frames of one service in the span."""
        return self.blocks.dataset.cube([service], self.blocks.signals, span.start, span.end)


class KnownSeries(NamedTuple):
    """One series that the learners know: its group of services, usual level, and statistics float64[STATISTICS]."""

    group: int
    level: float
    statistics: Floats


def known(fleet: Fleet, span: Span) -> dict[str, list[KnownSeries]]:
    """What the online learners know of each signal's series after the span, but for trouble and maintenance.

    Raises FileError where no signal has a population.
    """
    blocks, found = fleet.blocks, dict[str, list[KnownSeries]]()
    for number, service in enumerate(blocks.services):
        cube = fleet.cube(service, span)
        bank = Bank(fleet.learners.settings)
        bank.grow(len(blocks.signals))
        slots = np.arange(len(blocks.signals), dtype=np.int32)
        level, statistics = _looked_at(bank, cube, np.where(blocks.abnormal(cube)[:, :1], np.nan, cube.value[:, 0]))
        days = bank.samples(slots) * cube.step_ms / DAY_MS
        for slot in np.flatnonzero((days >= _LEAST_KNOWN) & np.isfinite(statistics).all(axis=1)).tolist():
            one = KnownSeries(number % GROUPS, float(level[slot]), statistics[slot])
            found.setdefault(blocks.signals[slot], []).append(one)
    if not any(len(series) >= priors.FEWEST for series in found.values()):
        raise FileError(
            f"{blocks.dataset.folder}: no signal has {priors.FEWEST} services with {_LEAST_KNOWN:g} normal days in "
            f"{span}; export a longer range, or more services"
        )
    return found


def _looked_at(bank: Bank, cube: Cube, values: Floats) -> tuple[Floats, Floats]:
    """Level float64[signals] and statistics float64[signals, STATISTICS] after these frames, float64[t, signals].

    Medians over moments of the last day: how far values lie apart follows the hour, and series begin at any.
    """
    slots = np.arange(values.shape[1], dtype=np.int32)
    last_day = min(DAY_MS // cube.step_ms, len(values))
    begin, levels, statistics = 0, [], []
    for end in np.linspace(len(values) - last_day, len(values), _MOMENTS + 1).astype(int)[1:].tolist():
        _judged(bank, cube, values[begin:end], slice(begin, end))
        begin = end
        level, found = bank.statistics(slots)
        levels.append(level)
        statistics.append(found)
    return np.median(levels, axis=0), np.median(statistics, axis=0)


def fitted(estimator: Any, series: Mapping[str, Sequence[KnownSeries]], without: int = -1) -> dict[str, Any]:
    """A fitted copy of the estimator for each signal that has a population, without this group of services."""
    found = {}
    for signal, all_known in sorted(series.items()):
        others = [one for one in all_known if one.group != without]
        if len(others) >= priors.FEWEST:
            level = np.array([one.level for one in others])
            alike = priors.alike(priors.Population(level, np.stack([one.statistics for one in others])))
            found[signal] = clone(estimator).fit(np.zeros((len(others), 1)), alike)
    return found


class Start(NamedTuple):
    """A service's first day: what was found, false alarms in its first hour and in all of it, and how long it was."""

    events: EventCounts
    false_hour: int
    false_day: int
    days: float


class Newcomers(NamedTuple):
    """All starts by who judged (`none`: cold), in the same order."""

    starts: dict[str, list[Start]]

    def total(self, who: str) -> EventCounts:
        """Events of all first days."""
        return sum((one.events for one in self.starts[who]), EventCounts())

    def false_alarms_a_day(self, who: str) -> float:
        """Per service and first day, on what nobody labelled and nothing was put into."""
        starts = self.starts[who]
        return sum(one.false_day for one in starts) / max(sum(one.days for one in starts), 1e-9)

    def false_alarms_in_first_hour(self, who: str) -> float:
        """Per service."""
        starts = self.starts[who]
        return sum(one.false_hour for one in starts) / max(len(starts), 1)


def judge(fleet: Fleet, span: Span, tables: Mapping[str, Mapping[int, Floats] | None]) -> Newcomers:
    """How new series would have done in each day of the span.

    tables: priors float64[signals, STATISTICS] by group, for each who; None: cold.
    """
    blocks, learners = fleet.blocks, fleet.learners
    result = Newcomers({who: [] for who in tables})
    for number, service in enumerate(blocks.services):
        cube = fleet.cube(service, span)
        abnormal = blocks.abnormal(cube)[:, 0]
        rng = np.random.default_rng([fleet.seed, number])
        changed = inject(cube.value, fleet.injected, rng)
        for part in _days(cube):
            for who, by_group in tables.items():
                prior = None if by_group is None else by_group[number % GROUPS]
                dirty = _alarms(cube, changed.values[part, 0], part, prior, learners)
                clean = _alarms(cube, cube.value[part, 0], part, prior, learners)
                labels, quiet = changed.labels[part, 0], clean & ~abnormal[part]
                result.starts[who].append(_start(labels, of_their_own(labels, dirty, clean), quiet, cube.step_ms))
    return result


def _days(cube: Cube) -> Iterator[slice]:
    """First days: as many as the cube has, the last one perhaps shorter."""
    frames = max(DAY_MS // cube.step_ms, 1)
    for first in range(0, len(cube.start), frames):
        part = slice(first, min(first + frames, len(cube.start)))
        if (part.stop - part.start) * cube.step_ms >= _LEAST_DAY_MS:
            yield part


def of_their_own(labels: Bools, dirty: Bools, clean: Bools) -> Bools:
    """Alarms bool[t] but for those at anomalies, bool[t], that are there without the anomalies too: `clean`."""
    near = labels | aftermath(labels, _SLACK) | aftermath(labels[::-1], _SLACK)[::-1]
    return dirty & ~(near & clean)


def _start(labels: Bools, dirty: Bools, quiet: Bools, step_ms: int) -> Start:
    alarms = [first for first, _ in runs(quiet, EPISODE_GAP)]
    return Start(
        # All the day counts: with many anomalies in one day their aftermaths would hide most of its false alarms.
        events=score_events(labels, dirty, start=0, slack=_SLACK, gap=EPISODE_GAP),
        false_hour=sum(first < _HOUR_MS // step_ms for first in alarms),
        false_day=len(alarms),
        days=len(labels) * step_ms / DAY_MS,
    )


def _alarms(cube: Cube, values: Floats, part: slice, prior: Floats | None, learners: Learners) -> Bools:
    """bool[t]: whether learners that begin with the part have an alarm on any signal; values float64[t, signals]."""
    bank = Bank(learners.settings)
    bank.grow(values.shape[1])
    count = len(values)
    # Until all have begun, frame by frame as live; then the rest at once.
    slowly = 0 if prior is None else min(_frames_of_own(values), count)
    alarms = np.zeros(values.shape, dtype=bool)
    for at in range(slowly):
        alarms[at] = _judged(bank, cube, values[at : at + 1], slice(part.start + at, part.start + at + 1), learners)
        _warm(bank, prior, int(cube.start[part.start + at]) + cube.step_ms)
    rest = slice(part.start + slowly, part.stop)
    alarms[slowly:] = _judged(bank, cube, values[slowly:], rest, learners)
    found: Bools = np.any(alarms, axis=1)
    return found


def _frames_of_own(values: Floats) -> int:
    """Frames until every signal has samples enough of its own, or the part is over."""
    enough = (np.isfinite(values).cumsum(axis=0) >= warmth.OWN_SAMPLES).all(axis=1)
    return int(enough.argmax()) + 1 if enough.any() else len(values)


def _warm(bank: Bank, prior: Floats | None, at: int) -> None:
    if prior is None:
        return
    slots = np.arange(len(prior), dtype=np.int32)
    new = slots[(bank.samples(slots) == warmth.OWN_SAMPLES) & np.isfinite(prior).all(axis=1)]
    if len(new):
        bank.start_warm(new, at, prior[new])


def _judged(bank: Bank, cube: Cube, values: Floats, part: slice, learners: Learners | None = None) -> Bools:
    """bool[t, signals]: alarms of the bank on these frames of one service, float64[t, signals], that matter."""
    at, slot = np.nonzero(np.isfinite(values))
    value = values[at, slot]
    verdicts = bank.score_learn(slot.astype(np.int32), cube.start[part][at] + cube.step_ms, value)
    alarms = np.zeros(values.shape, dtype=bool)
    floors = {} if learners is None else learners.floors
    floor, share = np.array([floors.get(signal, (0.0, 0.0)) for signal in cube.signals]).T[:, slot]
    small = np.abs(value - verdicts.expected) < np.maximum(floor, share * np.abs(verdicts.expected))
    alarms[at, slot] = verdicts.alarm & ~small
    return alarms
