"""Stillness: a series that stands still for longer than it ever did, or whose regular bursts stay away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from models.online.compiling import compiled

if TYPE_CHECKING:
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("before", "f8"),  # the value before
    ("moves", "f4"),  # share of samples that differ from the one before
    ("still", "f4"),  # units without a change
    ("longest", "f4"),  # longest standstill, forgotten slowly
    ("bursts", "f4"),  # bursts so far
    ("bursting", "f4"),  # 1 during one
    ("away", "f4"),  # units since the last
    ("longest_away", "f4"),  # longest time between two
]

_MOVES_UNITS: Final = 300.0
_MOVING: Final = 0.5  # share of samples that move, in a series whose standstill means something
_OVER: Final = 0.5  # part of a burst's distance below which it is over
_ALWAYS: Final = 10.0  # units without bursts that are always allowed
_ENDS: Final = 2.0  # times the bar: activity that stays away for good ceases to be news


@compiled
def standstill(row: Any, tuning: Tuning, value: float, elapsed: float) -> float:
    """Update and give the standstill as a part of what this series may do; 0 where it moves or seldom does.

    So a series that never moved is not in alarm, and one that stopped for good ceases to be.
    """
    moved = value != row.before
    if moved:
        row.longest = max(row.still, row.longest * (1.0 - min(1e-4 * elapsed, 1.0)))
        row.still = 0.0
        row.before = value
    else:
        row.still += elapsed
    row.moves += max(min(elapsed / _MOVES_UNITS, 1.0), 1.0 / (row.n + 1.0)) * ((1.0 if moved else 0.0) - row.moves)
    if row.moves < _MOVING:
        return 0.0
    return float(row.still / (tuning.still_units + tuning.still_times * row.longest))


@compiled
def absence(row: Any, tuning: Tuning, distance: float, elapsed: float) -> float:
    """Update and give the time without a burst as a part of what this series may do; 0 where bursts are rare."""
    row.away += elapsed
    if abs(distance) > tuning.burst:
        if row.bursting == 0.0:
            if row.bursts > 0.0:
                row.longest_away = max(row.longest_away, row.away)
            row.bursts += 1.0
        row.bursting = 1.0
        row.away = 0.0
    elif abs(distance) < _OVER * tuning.burst:
        row.bursting = 0.0
    if row.bursts < tuning.bursts:
        return 0.0
    part = row.away / (_ALWAYS + tuning.away_times * row.longest_away)
    return float(part if part <= _ENDS else 0.0)
