"""Shape: give an anomaly its name while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from models.contracts import Shape
from models.online.compiling import compiled

if TYPE_CHECKING:
    from models.online.magnitude import Guess
    from models.online.pace import Pace
    from models.online.policy import Parts
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("rough", "f4"),  # short mean of distances without sign
    ("rising", "f4"),  # units since the short mean of distances left its usual place
    ("shape", "i1"),  # name of the alarm that is open
]

_NONE: Final = int(Shape.NONE)
_SPIKE: Final = int(Shape.SPIKE)
_SHIFT: Final = int(Shape.SHIFT)
_TREND: Final = int(Shape.TREND)
_FLATLINE: Final = int(Shape.FLATLINE)
_SEASON: Final = int(Shape.SEASON)
_VARIANCE: Final = int(Shape.VARIANCE)
_NOVEL: Final = int(Shape.NOVEL)
_ABSENCE: Final = int(Shape.ABSENCE)

_ROUGH: Final = 1.6  # twice the mean distance of Gaussian noise
_SPIKY: Final = 0.55  # part of its bar at which a single sample names the alarm
_LEFT: Final = 0.35  # part of the drift's floor at which it has left its usual place
_SUDDEN: Final = 8.0  # units from there to the bar: what takes longer crept up
_WITHIN: Final = 0.7  # deviations from the level that are nothing special
_OFF: Final = 2.0  # deviations from the season that are


@compiled
def follow(row: Any, tuning: Tuning, distance: float, pace: Pace) -> None:
    """Follow how rough the series is; twice as long a memory as that of the drift."""
    row.rising = row.rising + pace.elapsed if abs(row.drift) > _LEFT * tuning.drifted else 0.0
    row.rough += pace.rough * (min(abs(distance), tuning.drift_clip) - row.rough)


@compiled
def name(row: Any, tuning: Tuning, parts: Parts, guess: Guess) -> int:
    """Name the open alarm of a series: the name of the clearest evidence so far, NONE without an alarm."""
    if row.alarm == 0.0:
        row.shape = _NONE
    elif parts.still >= 1.0:
        row.shape = _FLATLINE
    elif parts.away >= 1.0:
        row.shape = _ABSENCE
    elif parts.apart >= 1.0:
        row.shape = _SEASON
    elif parts.drift >= 1.0 and row.shape not in (_SHIFT, _TREND, _SEASON):
        row.shape = _SHIFT if row.rising <= _SUDDEN else _TREND
    elif row.rough > _ROUGH and abs(row.drift) < 0.5 * tuning.drifted:
        row.shape = _VARIANCE
    elif row.shape == _NONE:
        row.shape = _SPIKE if parts.spike >= parts.novel or parts.spike > _SPIKY else _NOVEL
    elif row.shape == _NOVEL and abs(guess.from_season) > _OFF:
        row.shape = _TREND if abs(guess.from_level) > _WITHIN else _SEASON
    return int(row.shape)
