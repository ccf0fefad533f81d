"""Magnitude: how far a sample is from what is expected now.

The expectation is a robust exponentially weighted level or, where that has been the better one, the season plus
a slowly learned offset. Distances are measured in robust standard deviations with a floor of a part of the
range, so that a quiet hour does not make a small step look large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numba

if TYPE_CHECKING:
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("level", "f8"),
    ("recent", "f8"),  # level of late
    ("spread", "f8"),  # mean absolute residual of the level
    ("least", "f8"),  # range of values, forgotten slowly
    ("most", "f8"),
    ("offset", "f8"),  # of the present from the season
    ("season_spread", "f8"),
    ("season_most", "f8"),  # largest residual of the season, forgotten slowly
    ("seasons", "f4"),  # samples judged by the season
    ("drift", "f4"),  # short mean of the distances
    ("before", "f8"),  # the value before
    ("moves", "f4"),  # share of samples that differ from the one before
    ("still", "f4"),  # units without a change
    ("longest", "f4"),  # longest standstill, forgotten slowly
]

_SIGMA: Final = 1.2533  # standard deviation over mean absolute deviation of a Gaussian: sqrt(pi / 2)
_MOVES_UNITS: Final = 300.0
_MOVING: Final = 0.5  # share of samples that move, in a series whose standstill means something
_YOUNG: Final = 30.0
_MOST: Final = 1e3  # deviations, where counting ends


class Guess(NamedTuple):
    """What is expected, and how far the sample is from it, in robust standard deviations.

    distance: the one that counts. from_level, from_season: from each, 0 without a season.
    """

    expected: float
    scale: float
    distance: float
    from_level: float
    from_season: float


@numba.njit(nogil=True, error_model="numpy")
def judge(row: Any, tuning: Tuning, value: float, season: float) -> Guess:
    """Judge a sample by what is known; `season` is what the better profile says, NaN where none is known."""
    noise = 1e-9 * abs(row.level) + 1e-300
    scale = _SIGMA * row.spread + tuning.range_floor * (row.most - row.least) + noise
    by_level = value - row.level
    proven = row.seasons > tuning.season_samples and row.season_spread < tuning.season_better * row.spread
    if math.isnan(season) or not proven:
        z = _bounded(by_level / scale)
        return Guess(row.level, scale, z, z, 0.0)
    by_season = value - season - row.offset
    own = _SIGMA * row.season_spread + 2.0 * tuning.range_floor * row.season_most + noise
    # a season that comes earlier or later than usual is wrong for hours, yet nothing happened just now
    by_recent = value - row.recent
    nearer = by_season if abs(by_season) <= abs(by_recent) else by_recent
    return Guess(
        season + row.offset, own, _bounded(nearer / own), _bounded(by_level / scale), _bounded(by_season / own)
    )


@numba.njit(nogil=True, error_model="numpy")
def _bounded(z: float) -> float:
    return float(min(max(z, -_MOST), _MOST))


@numba.njit(nogil=True, error_model="numpy")
def drift(row: Any, tuning: Tuning, distance: float, elapsed: float) -> float:
    """Update and give the short mean of distances, in deviations of one sample."""
    x = elapsed / tuning.drift_units
    row.drift += x / (1.0 + x) * (min(max(distance, -tuning.drift_clip), tuning.drift_clip) - row.drift)
    return float(row.drift)


@numba.njit(nogil=True, error_model="numpy")
def still(row: Any, tuning: Tuning, value: float, elapsed: float) -> float:
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


@numba.njit(nogil=True, error_model="numpy")
def learn(row: Any, tuning: Tuning, value: float, season: float, elapsed: float) -> None:
    """Learn a sample; `elapsed` in units of time since the one before."""
    if row.n == 0.0:
        row.level = row.recent = row.least = row.most = value
    row.recent += _rate(elapsed, tuning.recent_units) * (value - row.recent)
    level_rate = max(_rate(elapsed, tuning.level_units), 1.0 / (row.n + 1.0))
    scale_rate = max(_rate(elapsed, tuning.scale_units), 1.0 / (row.n + 1.0))
    fade = tuning.fade * _rate(elapsed, tuning.scale_units)
    if not math.isnan(season):
        _learn_season(row, tuning, value - season - row.offset, level_rate, scale_rate, fade)
    row.least = min(value, row.least + fade * (row.level - row.least))
    row.most = max(value, row.most + fade * (row.level - row.most))
    residual = value - row.level
    if row.n > _YOUNG:
        bound = tuning.clip * row.spread
        residual = min(max(residual, -bound), bound)
    row.level += level_rate * residual
    row.spread += scale_rate * (abs(residual) - row.spread)


@numba.njit(nogil=True, error_model="numpy")
def _learn_season(row: Any, tuning: Tuning, residual: float, level_rate: float, scale_rate: float, fade: float) -> None:
    row.season_most = max(abs(residual), (1.0 - fade) * row.season_most)
    if row.seasons > _YOUNG:
        bound = tuning.clip * row.season_spread
        residual = min(max(residual, -bound), bound)
    row.seasons += 1.0
    row.offset += max(level_rate, 1.0 / row.seasons) * residual
    row.season_spread += max(scale_rate, 1.0 / row.seasons) * (abs(residual) - row.season_spread)


@numba.njit(nogil=True, error_model="numpy")
def _rate(elapsed: float, units: float) -> float:
    x = elapsed / units
    return float(x / (1.0 + x))
