"""Stillness: a series that stands still for longer than it ever did, or whose regular bursts stay away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

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
    ("frequent_bursts", "f4"),  # the same of frequent ones
    ("frequent_bursting", "f4"),
    ("frequent_away", "f4"),
    ("frequent_longest", "f4"),
]

_MOVES_UNITS: Final = 300.0
_MOVING: Final = 0.5  # share of samples that move, in a series whose standstill means something
_OVER: Final = 0.5  # part of a burst's distance below which it is over
_ALWAYS: Final = 10.0  # units without bursts that are always allowed
_ENDS: Final = 2.0  # times the bar: activity that stays away for good ceases to be news


class Off(NamedTuple):
    """How far a value is off.

    far: in the scale of magnitude. slow: from a level that follows within days. usually: what that usually is.
    """

    far: float
    slow: float
    usually: float


class Quiet(NamedTuple):
    """Stillness as a part of what this series may do, 0 where it says nothing: without a change, without a burst."""

    still: float
    away: float


@compiled
def follow(row: Any, tuning: Tuning, value: float, off: Off, elapsed: float, least: float) -> Quiet:
    """Follow changes and bursts; `least` is what a sample weighs at least in means."""
    return Quiet(_standstill(row, tuning, value, elapsed, least), _absence(row, tuning, off, elapsed))


@compiled
def _standstill(row: Any, tuning: Tuning, value: float, elapsed: float, least: float) -> float:
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
    row.moves += max(min(elapsed / _MOVES_UNITS, 1.0), least) * ((1.0 if moved else 0.0) - row.moves)
    if moved or row.moves < _MOVING:
        return 0.0
    return float(row.still / (tuning.still_units + tuning.still_times * row.longest))


class Bursts(NamedTuple):
    """Bursts so far, 1 during one, units since the last, and the longest time between two."""

    seen: float
    during: float
    away: float
    longest: float


@compiled
def _absence(row: Any, tuning: Tuning, off: Off, elapsed: float) -> float:
    """Update and give the time without a burst as a part of what this series may do; 0 where bursts were few.

    Rare bursts are far off in the scale of magnitude. Where a fifth of the time is bursts, that scale has grown with
    them: so frequent ones are told by the slow level.
    """
    rare = _bursts(row.bursts, row.bursting, row.away, row.longest_away)
    rare = _followed(rare, abs(off.far), tuning.burst, elapsed)
    row.bursts, row.bursting, row.away, row.longest_away = rare.seen, rare.during, rare.away, rare.longest
    many = _bursts(row.frequent_bursts, row.frequent_bursting, row.frequent_away, row.frequent_longest)
    many = _followed(many, abs(off.slow), tuning.frequent_burst * off.usually, elapsed)
    row.frequent_bursts, row.frequent_bursting = many.seen, many.during
    row.frequent_away, row.frequent_longest = many.away, many.longest
    return max(_part(rare, tuning.bursts, tuning), _part(many, tuning.frequent_bursts, tuning))


@compiled
def _bursts(seen: float, during: float, away: float, longest: float) -> Bursts:
    """Bring what a row holds in single precision to one type."""
    return Bursts(np.float64(seen), np.float64(during), np.float64(away), np.float64(longest))


@compiled
def _followed(bursts: Bursts, far: float, burst: float, elapsed: float) -> Bursts:
    away = bursts.away + elapsed
    if far > burst:
        if bursts.during > 0.0:
            return Bursts(bursts.seen, 1.0, 0.0, bursts.longest)
        longest = max(bursts.longest, away) if bursts.seen > 0.0 else bursts.longest
        return Bursts(bursts.seen + 1.0, 1.0, 0.0, longest)
    return Bursts(bursts.seen, bursts.during if far >= _OVER * burst else 0.0, away, bursts.longest)


@compiled
def _part(bursts: Bursts, enough: float, tuning: Tuning) -> float:
    if bursts.seen < enough:
        return 0.0
    part = bursts.away / (_ALWAYS + tuning.away_times * bursts.longest)
    return float(part if part <= _ENDS else 0.0)
