"""Magnitude: how far a sample is from what is expected now.

The expectation is a robust exponentially weighted level or, where that has been the better one, the season plus
a slowly learned offset. Distances are measured in robust standard deviations with a floor of a part of the
range, so that a quiet hour does not make a small step look large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.online.compiling import compiled

if TYPE_CHECKING:
    from models.online.pace import Pace
    from models.online.tuning import Tuning

FIELDS: Final[list[Any]] = [
    ("level", "f8"),
    ("spread", "f8"),  # mean absolute residual of the level
    ("least", "f8"),  # range of values, forgotten slowly
    ("most", "f8"),
    ("offset", "f8"),  # of the present from the season
    ("usual_offset", "f8"),  # what that is of old
    ("season_spread", "f8"),
    ("season_most", "f8"),  # largest residual of the season, forgotten slowly
    ("seasons", "f4"),  # samples judged by the season
    ("trust", "f4"),  # share of the last samples for which the season was the better guide
    ("drift", "f4"),  # short mean of the distances
    ("apart", "f4"),  # long mean of the distances from what is usual of old
]

_SIGMA: Final = 1.2533  # standard deviation over mean absolute deviation of a Gaussian: sqrt(pi / 2)
_YOUNG: Final = 30.0
_TRUSTED: Final = 0.4  # share
_LONG_TRUSTED: Final = 0.8
_MOST: Final = 1e3  # deviations, where counting ends


class Guess(NamedTuple):
    """What is expected, and how far the sample is from it, in robust standard deviations.

    distance: the one that counts. from_level, from_season: from each, 0 without a season. season_scale: what a
    deviation from the season is. otherwise: what the profile (of the day or week) believed less led to expect, NaN
    without one.
    """

    expected: float
    scale: float
    distance: float
    from_level: float
    from_season: float
    season_scale: float
    otherwise: float


class Far(NamedTuple):
    """How far off a sample, and the short and the long mean that it ends, are, in deviations of one sample."""

    distance: float
    drift: float
    apart: float


@compiled
def judge(row: Any, tuning: Tuning, value: float, season: float, other: float) -> Guess:
    """Judge a sample by what is known; `season` is what the better profile says, NaN where none is known."""
    noise = 1e-9 * abs(row.level) + 1e-300
    scale = _SIGMA * row.spread + tuning.range_floor * (row.most - row.least) + noise
    by_level = value - row.level
    own = _SIGMA * row.season_spread + 2.0 * tuning.range_floor * row.season_most + noise
    if math.isnan(season) or not _proven(row, tuning):
        z = _bounded(by_level / scale)
        return Guess(row.level, scale, z, z, 0.0, own, np.nan)
    z = _bounded((value - season - row.offset) / own)
    return Guess(season + row.offset, own, z, _bounded(by_level / scale), z, own, other + row.offset)


@compiled
def trusts_season(row: Any) -> bool:
    """Whether the season has been the better guide: one that is dropped is not any more, yet it is what is missed."""
    return bool(row.trust > _TRUSTED)


@compiled
def _proven(row: Any, tuning: Tuning) -> bool:
    """Whether the season is the better guide at present; one that long was need only not be clearly the worse.

    Over a quiet weekend the level is as good a guide, and the Monday after it would then be a shift.
    """
    bound = tuning.season_kept if row.trust > _LONG_TRUSTED else tuning.season_better
    return bool(row.seasons > tuning.season_samples and row.season_spread < bound * row.spread)


@compiled
def _bounded(z: float) -> float:
    return float(min(max(z, -_MOST), _MOST))


@compiled
def drift(row: Any, tuning: Tuning, distance: float, weight: float) -> float:
    """Update and give the short mean of distances, in deviations of one sample."""
    bounded = min(max(distance, -tuning.drift_clip), tuning.drift_clip)
    row.drift += weight * (bounded - row.drift)
    return float(row.drift)


@compiled
def apart(row: Any, tuning: Tuning, value: float, season: float, season_scale: float, weight: float) -> float:
    """Update and give the long mean of distances from what is usual of old, in deviations of one sample.

    That is the season with its usual offset where the season has been the better guide, or a level that follows within
    days: the level that distances are counted from has followed by the time that a long mean tells.
    """
    if trusts_season(row) and not math.isnan(season):
        z = (value - season - row.usual_offset) / season_scale
    else:
        noise = 1e-9 * abs(row.slow) + 1e-300
        z = (value - row.slow) / (_SIGMA * row.slow_spread + tuning.range_floor * (row.high - row.low) + noise)
    row.apart += weight * (min(max(z, -tuning.drift_clip), tuning.drift_clip) - row.apart)
    return float(row.apart)


@compiled
def learn(row: Any, tuning: Tuning, value: float, season: float, pace: Pace, least: float) -> None:
    """Learn a sample, which weighs `least` at least."""
    if row.n == 0.0:
        row.level = row.least = row.most = value
    level_rate = max(pace.level, least)
    scale_rate = max(pace.scale, least)
    fade = tuning.fade * pace.scale
    if not math.isnan(season):
        row.trust += pace.trust * ((1.0 if _proven(row, tuning) else 0.0) - row.trust)
        row.usual_offset += pace.usual_offset * (row.offset - row.usual_offset)
        _learn_season(row, tuning, value - season - row.offset, level_rate, scale_rate, fade)
    row.least = min(value, row.least + fade * (row.level - row.least))
    row.most = max(value, row.most + fade * (row.level - row.most))
    residual = value - row.level
    if row.n > _YOUNG:
        bound = tuning.clip * row.spread
        residual = min(max(residual, -bound), bound)
    row.level += level_rate * residual
    row.spread += scale_rate * (abs(residual) - row.spread)


@compiled
def _learn_season(row: Any, tuning: Tuning, residual: float, level_rate: float, scale_rate: float, fade: float) -> None:
    row.season_most = max(abs(residual), (1.0 - fade) * row.season_most)
    if row.seasons > _YOUNG:
        bound = tuning.clip * row.season_spread
        residual = min(max(residual, -bound), bound)
    row.seasons += 1.0
    least = 1.0 / row.seasons
    row.offset += max(level_rate, least) * residual
    row.season_spread += max(scale_rate, least) * (abs(residual) - row.season_spread)
