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
    # each of rare bursts and of frequent ones
    ("bursts", "f4", (2,)),  # bursts so far
    ("bursting", "f4", (2,)),  # 1 during one
    ("away", "f4", (2,)),  # units since the last
    ("longest_away", "f4", (2,)),  # longest time between two
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
def absence(row: Any, tuning: Tuning, distance: float, off: float, elapsed: float) -> float:
    """Update and give the time without a burst as a part of what this series may do; 0 where bursts were few.

    Rare bursts are far off in the scale of magnitude, `distance`. Where a fifth of the time is bursts, that scale has
    grown with them: so frequent ones are told by `off`, mean deviations from a level that follows within days.
    """
    rare = _away(row, 0, abs(distance), tuning.burst, tuning.bursts, tuning, elapsed)
    return max(rare, _away(row, 1, abs(off), tuning.frequent_burst, tuning.frequent_bursts, tuning, elapsed))


@compiled
def _away(row: Any, kind: int, far: float, burst: float, enough: float, tuning: Tuning, elapsed: float) -> float:
    row.away[kind] += elapsed
    if far > burst:
        if row.bursting[kind] == 0.0:
            if row.bursts[kind] > 0.0:
                row.longest_away[kind] = max(row.longest_away[kind], row.away[kind])
            row.bursts[kind] += 1.0
        row.bursting[kind] = 1.0
        row.away[kind] = 0.0
    elif far < _OVER * burst:
        row.bursting[kind] = 0.0
    if row.bursts[kind] < enough:
        return 0.0
    part = row.away[kind] / (_ALWAYS + tuning.away_times * row.longest_away[kind])
    return float(part if part <= _ENDS else 0.0)
