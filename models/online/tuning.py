"""The bank's constants in one place, as its kernel takes them.

They were chosen together on several corpora (docs/learners.md); a user changes `BankSettings` instead. A
*unit* of time is the series' usual step, but at least `unit_s` seconds.
"""

from __future__ import annotations

from typing import NamedTuple


class Tuning(NamedTuple):
    """Constants of magnitude, novelty and policy; see the comments for units."""

    unit_s: float = 60.0
    warmup_s: float = 900.0
    warmup_samples: float = 30.0

    # magnitude
    level_units: float = 50.0  # memory of the level
    scale_units: float = 100.0  # memory of the scale
    range_floor: float = 0.03  # part of the range that is added to the scale
    fade: float = 0.0003  # of the range, per scale memory
    clip: float = 3.5  # mean absolute deviations beyond which a residual teaches no more
    season_rate: float = 0.3  # weight of one day (week) in the profile
    season_samples: float = 100.0  # before the season is believed
    season_better: float = 0.95  # it must beat the level's spread by this
    recent_units: float = 3.0  # memory of the level of late
    drift_units: float = 4.0  # memory of the short mean of distances
    drift_clip: float = 5.0  # beyond which a distance adds no more to it
    still_units: float = 10.0  # of standing still that are always allowed
    still_times: float = 4.0  # and this multiple of the longest standstill so far

    # policy
    spike: float = 4.0  # distance that raises an alarm
    lone: float = 0.5  # part of the bar below which the next sample makes a spike a lone one
    spike_fatigue: float = 1.0  # a recent lone spike raises the bar by this part
    spike_fatigue_units: float = 500.0  # in which past alarms are forgotten
    drifted: float = 1.45  # short mean of distances that raises an alarm
    news: float = 0.9  # novelty that is worth a high score
    novel: float = 1.3  # times that: novelty that raises an alarm
    novel_rate: float = 0.0005  # with which usual novelty is followed, a unit
    novel_fatigue: float = 0.25
    novel_fatigue_units: float = 1000.0
    novel_rearm_units: float = 10.0  # before the next novelty counts
    rearm: float = 0.3  # part of the bar below which evidence is weak
    rearm_s: float = 60.0  # of weak evidence that end an alarm, and also
    rearm_units: float = 12.0  # so many units
