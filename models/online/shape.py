"""Shape: give an anomaly its name while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from models.contracts import Shape
from models.online.compiling import compiled
from models.online.magnitude import trusts_season

if TYPE_CHECKING:
    from models.online.magnitude import Guess
    from models.online.pace import Pace
    from models.online.policy import Parts
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("late", "f8"),  # what was expected of late, a mean as short as that of the drift
    ("rough", "f4"),  # short mean of distances without sign
    ("usually_rough", "f4"),  # long mean of the same
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

_GONE: Final = 4.2  # deviations of the level of late from where the season has it
_ROUGH: Final = 2.0  # times as rough as usual
_ROUGH_MOST: Final = 3.0  # beyond which a distance makes no rougher: one spike is no variance
_SPIKY: Final = 0.55  # part of its bar at which a single sample names the alarm
_LEFT: Final = 0.35  # part of the drift's floor at which it has left its usual place
_SUDDEN: Final = 8.0  # units from there to the bar: what takes longer crept up
_WITHIN: Final = 0.7  # deviations from the level that are nothing special
_OFF: Final = 2.0  # deviations from the season that are
_EVEN: Final = 0.35  # part of the roughness that the drift is at most, where distances go both ways
_MOVED: Final = 2.0  # deviations that the season has moved of late
_STAYED: Final = 0.5  # part of that by which the values have moved at most, where they stayed as they were
_APART: Final = 3.0  # times the profiles' usual error: the day's and the week's tell different stories
_FITS: Final = 0.33  # part of the distance from the one at which a value fits the other


@compiled
def follow(row: Any, tuning: Tuning, guess: Guess, pace: Pace, least: float) -> None:
    """Follow how rough the series is, twice as long a memory as that of the drift, and what is expected of it."""
    row.rising = row.rising + pace.elapsed if abs(row.drift) > _LEFT * tuning.drifted else 0.0
    distance = min(abs(guess.distance), _ROUGH_MOST)
    row.rough += pace.rough * (distance - row.rough)
    row.usually_rough += max(pace.usual_offset, least) * (distance - row.usually_rough)
    row.late += max(pace.drift, least) * (guess.expected - row.late)


@compiled
def name(row: Any, parts: Parts, guess: Guess) -> int:
    """Name the open alarm of a series: the name of the clearest evidence so far, NONE without an alarm."""
    if row.alarm == 0.0:
        row.shape = _NONE
    elif parts.still >= 1.0:
        row.shape = _FLATLINE
    elif parts.away >= 1.0:
        row.shape = _ABSENCE
    elif _off_season(row, guess) or (parts.drift >= 1.0 and _left_by_season(row, guess)):
        row.shape = _SEASON
    elif parts.drift >= 1.0 and row.shape not in (_SHIFT, _TREND, _SEASON):
        row.shape = _name_drift(row, guess)
    elif row.rough > _ROUGH * row.usually_rough and abs(row.drift) < _EVEN * row.rough:
        row.shape = _VARIANCE
    elif parts.apart >= 1.0 and row.shape in (_NONE, _NOVEL, _SPIKE):
        row.shape = _SEASON if trusts_season(row) else _TREND
    elif row.shape == _NONE:
        row.shape = _SPIKE if parts.spike >= parts.novel or parts.spike > _SPIKY else _NOVEL
    elif row.shape == _NOVEL and abs(guess.from_season) > _OFF:
        row.shape = _TREND if abs(guess.from_level) > _WITHIN else _SEASON
    return int(row.shape)


@compiled
def _off_season(row: Any, guess: Guess) -> bool:
    """Whether the level of late has left the season."""
    return bool(trusts_season(row) and abs(row.offset - row.usual_offset) >= _GONE * guess.season_scale)


@compiled
def _name_drift(row: Any, guess: Guess) -> int:
    if _fits_other_season(row, guess):
        return _SEASON
    return _SHIFT if row.rising <= _SUDDEN else _TREND


@compiled
def _fits_other_season(row: Any, guess: Guess) -> bool:
    """Whether this would be an ordinary sample of a day like others, or of that day of the week."""
    far = guess.scale * abs(guess.distance) > _APART * max(row.day_error, row.week_error)
    from_other = guess.distance + (guess.expected - guess.otherwise) / guess.scale  # NaN fits nothing
    return bool(far and abs(from_other) < _FITS * abs(guess.distance))


@compiled
def _left_by_season(row: Any, guess: Guess) -> bool:
    """Whether the season moved on and the values did not: the distance grows by as much as the season moves."""
    moved = (guess.expected - row.late) / guess.scale
    followed = moved + guess.distance - row.drift
    return bool(guess.from_season != 0.0 and abs(moved) > _MOVED and abs(followed) < _STAYED * abs(moved))
