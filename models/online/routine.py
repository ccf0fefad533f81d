"""Routine: how far off a series gets on an ordinary day, so that a bar means the same for every series.

What troubles people is counted in alarms a day, whatever the sampling rate. So each kind of evidence has the mean and
the mean deviation of its greatest value of a day (block maxima: Gumbel, "Statistics of Extremes", 1958), and its bar
lies some deviations above that mean, but never below a floor. A series that bursts twice a day from its
first days on does not alarm by its bursts; one that was calm for a week does, again and again, since a
later day's greatest teaches no more than some deviations above the mean. Where drifts as large as a day's
greatest come many times a day, the greatest of a day is a matter of chance, and the bar lies further above it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from models.online.compiling import compiled

if TYPE_CHECKING:
    from models.online.magnitude import Far
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("days", "f4"),  # complete days
    ("day_left", "f4"),  # s until the present one is complete
    ("spike_today", "f4"),  # greatest distance of the present day
    ("spike_usual", "f4"),  # mean of the days' greatest
    ("spike_varies", "f4"),  # mean deviation of them
    ("drift_today", "f4"),
    ("drift_usual", "f4"),
    ("drift_varies", "f4"),
    ("drifts_today", "f4"),  # how often the short mean of distances came near its usual greatest
    ("drifts", "f4"),  # mean of that over the days
    ("drifting", "f4"),  # 1 while it is near
    ("apart_today", "f4"),  # greatest long mean of the distances from what is usual of old
    ("apart_usual", "f4"),
    ("apart_varies", "f4"),
]

DAY_S: Final = 86_400.0
_FIRST_VARIES: Final = 0.15  # of a first day's greatest: its deviation is not known yet
_NEAR: Final = 0.7  # part of the usual greatest drift that counts as near it
_FAR: Final = 0.5  # part of that below which a drift is over
_FEW: Final = 4.0  # drifts a day up to which each may be trouble
_MANY: Final = 8.0  # from which on they are what the series does
_DENSE: Final = 0.13  # rise of the spike's floor as samples get denser, per natural logarithm: that of Gaussian noise


@compiled
def spike_bar(row: Any, tuning: Tuning) -> float:
    """Distance of one sample that raises an alarm alone."""
    floor = tuning.spike
    if 0.0 < row.step < tuning.unit_s:
        floor += _DENSE * math.log(tuning.unit_s / row.step)
    return float(max(floor, row.spike_usual + tuning.spike_above * row.spike_varies))


@compiled
def drift_bar(row: Any, tuning: Tuning) -> float:
    """Short mean of distances that raises an alarm alone."""
    busy = min(max((row.drifts - _FEW) / (_MANY - _FEW), 0.0), 1.0)
    above = tuning.drifted_above + busy * tuning.drifted_busy
    return float(max(tuning.drifted, row.drift_usual + above * row.drift_varies))


@compiled
def apart_bar(row: Any, tuning: Tuning) -> float:
    """Long mean of distances from what is usual of old that raises an alarm alone."""
    return float(max(tuning.apart, row.apart_usual + tuning.apart_above * row.apart_varies))


@compiled
def follow(row: Any, tuning: Tuning, far: Far, gap_s: float) -> None:
    """Take a sample's distance and the means of distances into its day, and a complete day into the routine."""
    row.day_left -= gap_s
    if row.day_left <= 0.0:
        if row.spike_today > 0.0:
            _learn_day(row, tuning)
        row.day_left += DAY_S
        if row.day_left <= 0.0:  # days without samples say nothing
            row.day_left = DAY_S
        row.spike_today = row.drift_today = row.apart_today = row.drifts_today = 0.0
    row.spike_today = max(row.spike_today, abs(far.distance))
    row.drift_today = max(row.drift_today, abs(far.drift))
    row.apart_today = max(row.apart_today, abs(far.apart))
    _count_drifts(row, tuning, abs(far.drift))


@compiled
def _count_drifts(row: Any, tuning: Tuning, drift: float) -> None:
    near = _NEAR * max(tuning.drifted, row.drift_usual)
    if drift > near:
        row.drifts_today += 1.0 - row.drifting
        row.drifting = 1.0
    elif drift < _FAR * near:
        row.drifting = 0.0


@compiled
def _learn_day(row: Any, tuning: Tuning) -> None:
    spike, drift, apart = row.spike_today, row.drift_today, row.apart_today
    if row.days >= tuning.routine_young:
        spike = min(spike, row.spike_usual + tuning.spike_teaches * row.spike_varies)
        drift = min(drift, row.drift_usual + tuning.drift_teaches * row.drift_varies)
        apart = min(apart, row.apart_usual + tuning.drift_teaches * row.apart_varies)
    row.days += 1.0
    rate = max(1.0 / row.days, 1.0 / tuning.routine_days)
    row.drifts += rate * (row.drifts_today - row.drifts)
    if row.days == 1.0:
        row.spike_usual, row.spike_varies = spike, _FIRST_VARIES * spike
        row.drift_usual, row.drift_varies = drift, _FIRST_VARIES * drift
        row.apart_usual, row.apart_varies = apart, _FIRST_VARIES * apart
        return
    row.spike_varies += rate * (abs(spike - row.spike_usual) - row.spike_varies)
    row.spike_usual += rate * (spike - row.spike_usual)
    row.drift_varies += rate * (abs(drift - row.drift_usual) - row.drift_varies)
    row.drift_usual += rate * (drift - row.drift_usual)
    row.apart_varies += rate * (abs(apart - row.apart_usual) - row.apart_varies)
    row.apart_usual += rate * (apart - row.apart_usual)
