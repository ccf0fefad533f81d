"""Pace: how much one sample teaches, from the time since the sample before it.

Most samples come as long after the one before as their neighbours do, in a series as among the series of a scrape; so
the kernel asks anew only when that time differs. These ten quotients took a sixteenth of the time of a sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from models.online.compiling import compiled

if TYPE_CHECKING:
    from models.online.tuning import Tuning

_TRUST_UNITS: Final = 500.0
_OFFSET_UNITS: Final = 2000.0
_MEANS: Final = (5.5, 23.5, 80.0)  # those of running means over 12, 48 and 160
_SEASON_MEAN: Final = 2.5


class Pace(NamedTuple):
    """Weight of one sample in each exponentially weighted mean, 0 to 1.

    elapsed: units of time since the sample before. The others are named after what they teach.
    """

    elapsed: float
    level: float
    scale: float
    trust: float
    usual_offset: float
    drift: float
    rough: float
    means: tuple[float, float, float]
    season_mean: float


@compiled
def pace(tuning: Tuning, elapsed: float) -> Pace:
    """Give the weights of a sample that comes `elapsed` units after the one before."""
    return Pace(
        elapsed,
        _weight(elapsed, tuning.level_units),
        _weight(elapsed, tuning.scale_units),
        _weight(elapsed, _TRUST_UNITS),
        _weight(elapsed, _OFFSET_UNITS),
        _weight(elapsed, tuning.drift_units),
        _weight(elapsed, 2.0 * tuning.drift_units),
        (_weight(elapsed, _MEANS[0]), _weight(elapsed, _MEANS[1]), _weight(elapsed, _MEANS[2])),
        _weight(elapsed, _SEASON_MEAN),
    )


@compiled
def follow(last: Pace, tuning: Tuning, elapsed: float) -> Pace:
    """Give the weights of the next sample; those of the last one where as much time has passed."""
    return last if elapsed == last.elapsed else pace(tuning, elapsed)


@compiled
def _weight(elapsed: float, units: float) -> float:
    return float(elapsed / (elapsed + units))
