"""The bank's constants in one place, as its kernel takes them.

They were chosen together on several corpora (docs/learners.md); a user changes `BankSettings` instead. A
*unit* of time is the series' usual step, but at least `unit_s` seconds.
"""

from __future__ import annotations

from typing import NamedTuple


class Tuning(NamedTuple):
    """Constants of magnitude, novelty, routine and policy; see the comments for units."""

    unit_s: float = 60.0
    warmup_s: float = 900.0
    warmup_samples: float = 30.0

    # magnitude
    level_units: float = 45.0  # memory of the level
    scale_units: float = 90.0  # memory of the scale
    range_floor: float = 0.04  # part of the range that is added to the scale
    fade: float = 0.0003  # of the range, per scale memory
    clip: float = 3.5  # mean absolute deviations beyond which a residual teaches no more
    season_rate: float = 0.33  # weight of one day (week) in the profile
    season_samples: float = 100.0  # before the season is believed
    season_better: float = 0.95  # it must beat the level's spread by this
    season_kept: float = 1.1  # part of the level's spread up to which it stays believed once it long was the better
    drift_units: float = 4.2  # memory of the short mean of distances
    drift_clip: float = 5.0  # beyond which a distance adds no more to it

    # standing still, staying away, and moving for good
    still_units: float = 10.0  # of standing still that are always allowed
    still_times: float = 4.0  # and this multiple of the longest standstill so far
    burst: float = 5.0  # distance that counts as a burst of activity
    bursts: float = 30.0  # seen before their absence means anything
    frequent_burst: float = 1.2  # mean deviations from the slow level that count as a burst where they are many
    frequent_bursts: float = 150.0  # seen before their absence means anything
    away_times: float = 1.3  # multiple of the longest absence of bursts so far
    settle_units: float = 80.0  # off in one direction for so long: the level has changed for good

    # bars: what raises an alarm alone, at least, and in mean deviations above a usual day's greatest
    spike: float = 3.5  # distance of one sample
    spike_above: float = 3.0
    drifted: float = 1.37  # short mean of distances
    drifted_above: float = 0.72
    drifted_busy: float = 2.5  # and so much more where such drifts come many times a day
    apart: float = 1.2  # long mean of distances from what is usual of old
    apart_above: float = 2.0
    novel: float = 1.4  # evidence of novelty, at a long memory
    novel_young: float = 230.0  # units of memory at which that is twice as much
    routine_days: float = 9.0  # memory of what a day's greatest is
    spike_teaches: float = 2.0  # mean deviations above the mean beyond which a day's greatest teaches no more
    drift_teaches: float = 5.0  # the same of drifts and of long means
    routine_young: float = 3.0  # days that teach whatever they hold

    # policy
    usual_rate: float = 0.0004  # with which usual novelty is followed, a unit
    rearm: float = 0.9  # part of the bar below which evidence is weak
    rearm_s: float = 60.0  # of weak evidence that end an alarm, and also
    rearm_units: float = 15.0  # so many units
