"""One threshold on a score: the best in sample, and the best of the other groups, which is the honest one.

Leave one group out: each group is judged at the threshold that was best on all the others. That threshold is the one
free choice that is left when scores of a fixed configuration are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.evaluation import EventCounts, nab_curve, score_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.contracts import Bools, Float64s, Int64s
    from models.evaluation import NabProfile, NabSeries

_TAIL: Final = 1.0 - np.geomspace(0.1, 2e-5, 60)
"""Quantiles of all scores at which a threshold is tried: fine where alarms are rare.

None raises alarms on more than a tenth of the samples: one that never ends would be one alarm, and right.
"""


_MOST_ABOVE: Final = 0.25


class Chosen(NamedTuple):
    """A figure and the threshold that gave it."""

    figure: float
    threshold: float


def nab_left_out(groups: Mapping[str, Sequence[NabSeries]], profile: NabProfile) -> tuple[float, dict[str, Chosen]]:
    """NAB's score with each group at the best threshold of the others: the total, and that of each group.

    A group without windows has no score of its own (NaN); its false alarms count in the total.
    """
    total, parts = 0.0, {}
    for name, series in groups.items():
        others = [one for other, many in groups.items() if other != name for one in many]
        threshold = nab_curve(others, profile).best()
        curve = nab_curve(series, profile)
        raw = curve.at(threshold)
        total += raw
        parts[name] = Chosen(curve.normalised(raw), threshold)
    whole = nab_curve([one for many in groups.values() for one in many], profile)
    return whole.normalised(total), parts


class ScoredEvents(NamedTuple):
    """One series: labels bool[n], scores float64[n], times int64[n] ms; excused bool[n] as in `score_events`."""

    labels: Bools
    scores: Float64s
    ts: Int64s
    excused: Bools | None = None


@dataclass(frozen=True, slots=True)
class EventSweep:
    """What each threshold finds, by group.

    levels  float64[k], ascending; a row at or above is an alarm
    counts  for each group, k `EventCounts`
    """

    levels: Float64s
    counts: Mapping[str, Sequence[EventCounts]]

    def best(self) -> tuple[EventCounts, float]:
        """Counts over all groups at the threshold with the highest F1, in sample."""
        at = _best(_sums(self.counts.values()))
        return sum((many[at] for many in self.counts.values()), EventCounts()), float(self.levels[at])

    def left_out(self) -> dict[str, tuple[EventCounts, float]]:
        """Counts of each group at the threshold that is best on the others."""
        result = {}
        for name, many in self.counts.items():
            at = _best(_sums(other for key, other in self.counts.items() if key != name))
            result[name] = (many[at], float(self.levels[at]))
        return result


def event_sweep(
    groups: Mapping[str, Sequence[ScoredEvents]],
    start: int | None = None,
    also: Sequence[float] = (),
    gap: int | None = None,
) -> EventSweep:
    """Count events at sixty quantiles of all scores, the same for every detector, and `also` at these thresholds.

    Rows before `start` do not count: 15 % of each series where it is left out. `gap` is that of `score_events`.
    """
    pooled = np.concatenate([one.scores for many in groups.values() for one in many])
    levels = np.unique(np.quantile(pooled, _TAIL))
    # Where most samples have the least score, which then says "nothing", all above it is a threshold too.
    above = pooled[pooled > pooled.min()]
    if 0 < len(above) < _MOST_ABOVE * len(pooled):
        levels = np.union1d(levels[levels > pooled.min()], above.min())
    levels = np.union1d(levels, np.asarray(also, np.float64))
    return EventSweep(
        levels, {name: [_counts(many, level, start, gap) for level in levels] for name, many in groups.items()}
    )


def _counts(series: Iterable[ScoredEvents], level: float, start: int | None, gap: int | None) -> EventCounts:
    found = (
        score_events(one.labels, one.scores >= level, gap=gap, start=start, ts=one.ts, excused=one.excused)
        for one in series
    )
    return sum(found, EventCounts())


def _sums(counts: Iterable[Sequence[EventCounts]]) -> list[EventCounts]:
    return [sum(each, EventCounts()) for each in zip(*counts, strict=True)]


def _best(counts: Sequence[EventCounts]) -> int:
    return int(np.argmax([one.f1 for one in counts]))
