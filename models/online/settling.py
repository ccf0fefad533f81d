"""Settling: a level that has changed for good is learned anew at once instead of crept towards.

While an alarm is open, time off on one side is summed and time elsewhere taken off the sum (Page, "Continuous
Inspection Schemes", Biometrika 1954). When the sum is long enough, the level, or the offset from the season, and the
spread become those of that time, and the alarm ends: what was an anomaly is the new normal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from models.online.compiling import compiled
from models.online.magnitude import trusts_season

if TYPE_CHECKING:
    from models.online.magnitude import Guess
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("run", "f4"),  # units off on one side, with its sign
    ("run_units", "f4"),  # since that began
    ("run_from", "f8"),  # level when that began
    ("run_level", "f8"),  # mean of the values since
    ("run_offset", "f8"),  # mean of their distances from the season
    ("run_spread", "f8"),  # mean absolute residual of whichever is expected
    ("hushed", "f4"),  # units during which novelty says nothing: what has just settled is new, and known to be
]

_OFF: Final = 0.25  # part of the drift's floor that counts as off
_TAKEN_OFF: Final = 4.0  # units that a unit elsewhere takes off the sum
_MEMORY: Final = 50.0  # units
_HUSH: Final = 300.0  # units, until the longest mean of novelty has followed


@compiled
def follow(row: Any, tuning: Tuning, value: float, season: float, guess: Guess, elapsed: float) -> bool:
    """Follow a run on one side; True where it has lasted so long that it is the new normal, which is then learned."""
    row.hushed = max(row.hushed - elapsed, 0.0)
    if row.alarm == 0.0:
        row.run = row.run_units = 0.0
        return False
    side = 0.0 if abs(row.drift) < _OFF * tuning.drifted else math.copysign(1.0, row.drift)
    if row.run == 0.0 or row.run * side < 0.0:
        row.run = side * elapsed
        row.run_units = row.run_spread = 0.0
        row.run_from, row.run_level = row.level, value
        row.run_offset = row.offset if math.isnan(season) else value - season
    elif side == 0.0:
        row.run = math.copysign(max(abs(row.run) - _TAKEN_OFF * elapsed, 0.0), row.run)
    else:
        row.run += side * elapsed
    row.run_units += elapsed
    rate = max(min(elapsed / _MEMORY, 1.0), min(elapsed / (row.run_units + elapsed + 1e-9), 1.0))
    row.run_level += rate * (value - row.run_level)
    if not math.isnan(season):
        row.run_offset += rate * (value - season - row.run_offset)
    seasonal = guess.from_season != 0.0
    rest = value - season - row.run_offset if seasonal else value - row.run_level
    row.run_spread += rate * (abs(rest) - row.run_spread)
    if abs(row.run) < tuning.settle_units:
        return False
    _settle(row, guess)
    return True


@compiled
def _settle(row: Any, guess: Guess) -> None:
    """Take the run's level and spread for the series' own, and end the alarm."""
    # a season that is believed only since the level moved has learned a part of the move
    moved = row.run_offset - row.usual_offset if trusts_season(row) else row.run_level - row.run_from
    if guess.from_season != 0.0:
        row.offset = row.usual_offset = row.run_offset
        row.season_spread = row.run_spread
    row.slow += moved  # what is usual around the new level was seen around the old one
    row.rest += moved
    row.level = row.run_level
    row.spread = row.run_spread
    row.drift = row.rough = row.apart = 0.0
    row.alarm = row.run = row.run_units = 0.0
    row.hushed = _HUSH
