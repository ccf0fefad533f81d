"""Daily and weekly profiles of a series: what it does at this time of the local day and week.

Both profiles of a series lie in one row, float32[PROFILE]: `DAY` half-hours, then `WEEK` hours. They hold distances
from an anchor that the learner keeps in double precision. A bucket of exactly 0 was never visited.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.online.clock import phase_of_day, phase_of_week
from models.online.compiling import compiled

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.contracts import Float32s

DAY: Final = 48
"""Buckets of the local day."""
WEEK: Final = 168
"""Buckets of the local week."""
PROFILE: Final = DAY + WEEK
"""Buckets of a series."""

FIELDS: Final[list[Any]] = [
    ("day_error", "f8"),  # mean absolute error of the daily profile
    ("week_error", "f8"),
]

_DAY_S: Final = 86_400.0
_WEEK_S: Final = 7 * _DAY_S
_DAYS_A_S: Final = 1.0 / _DAY_S
_WEEKS_A_S: Final = 1.0 / _WEEK_S
_ERROR_UNITS: Final = 500.0  # memory of the errors, and at least
_ERROR_S: Final = 2.0 * _DAY_S  # this: a weekend must not forget that the week is the better guide
_LEARNT_ZERO: Final = 1e-30  # stands for a mean of zero, since 0 says "never visited"
_MOST: Final = 1e37  # single precision ends at 3e38


class Spot(NamedTuple):
    """A bucket of a profile, its neighbours, all as columns of it, and how much of the bucket has passed, 0 to 1."""

    bucket: int
    before: int
    after: int
    passed: float


class Place(NamedTuple):
    """Where a time lies in the day and in the week."""

    day: Spot
    week: Spot


@compiled
def place(local_ms: int) -> Place:
    """Find the place of a local time in ms."""
    return Place(_spot(phase_of_day(local_ms), 0, DAY), _spot(phase_of_week(local_ms), DAY, WEEK))


@compiled
def _spot(phase: float, base: int, count: int) -> Spot:
    at = phase * count
    bucket = int(at)
    return Spot(base + bucket, base + (bucket - 1) % count, base + (bucket + 1) % count, at - bucket)


@compiled
def daily(profile: Float32s, at: Place, age_s: float) -> float:
    """Give the daily profile at a place, NaN in a series' first day and where the bucket was never visited."""
    return np.nan if age_s < _DAY_S else _read(profile, at.day)


@compiled
def weekly(profile: Float32s, at: Place, age_s: float) -> float:
    """Give the weekly profile at a place, NaN in a series' first week and where the bucket was never visited."""
    return np.nan if age_s < _WEEK_S else _read(profile, at.week)


@compiled
def _read(profile: Float32s, spot: Spot) -> float:
    """Go from the centre of a bucket towards its neighbour's, but no steeper than on the bucket's other side.

    So a smooth day is followed, and a step at the edge of two buckets stays a step (as a slope limiter keeps it; van
    Leer, J. Comput. Phys. 32, 1979): a weekend that ends at midnight is not smeared over half an hour on both sides.
    """
    own = profile[spot.bucket]
    if own == 0.0:
        return np.nan
    before, after = profile[spot.before], profile[spot.after]
    value = float(own)
    if before != 0.0 and after != 0.0:
        part = spot.passed - 0.5
        rise, other = (after - own, own - before) if part >= 0.0 else (own - before, after - own)
        value += part * min(max(rise, -abs(other)), abs(other))
    return value if abs(value) > 2.0 * _LEARNT_ZERO else 0.0


@compiled
def learn(profile: Float32s, at: Place, value: float, lasted_s: float, age_s: float, rate: float) -> None:
    """Learn a value (a distance from the anchor) that stood for `lasted_s` in a series of age `age_s`.

    A bucket's first visit is a plain mean; later ones are means with weight `rate`, more while young.
    """
    value = min(max(value, -_MOST), _MOST)
    _write(profile, at.day, value, lasted_s * (DAY * _DAYS_A_S), age_s * _DAYS_A_S, rate)
    _write(profile, at.week, value, lasted_s * (WEEK * _WEEKS_A_S), age_s * _WEEKS_A_S, rate)


@compiled
def _write(profile: Float32s, spot: Spot, value: float, visit: float, passes: float, rate: float) -> None:
    old = profile[spot.bucket]
    if old == 0.0:
        new = value
    else:
        visit = min(visit, 1.0)
        # in the first pass, what went before in this visit weighs as much as it lasted
        share = visit / max(spot.passed + visit, 1e-9) if passes < 1.0 else visit * max(rate, 1.0 / (passes + 1.0))
        new = old + min(share, 1.0) * (value - old)
    profile[spot.bucket] = np.float32(new) if abs(new) > _LEARNT_ZERO else np.float32(_LEARNT_ZERO)


@compiled
def believed(row: Any, day: float, week: float) -> tuple[float, float]:
    """Give the profile that has erred less so far, then the other one; NaN where one is not known."""
    if math.isnan(week) or (not math.isnan(day) and row.day_error <= row.week_error):
        return day, week
    return week, day


@compiled
def compare(row: Any, day: float, week: float, value: float, lasted_s: float, elapsed: float) -> None:
    """Learn which profile errs less, where both are known, from a value that stood for `lasted_s`."""
    if not (math.isnan(day) or math.isnan(week)):
        rate = min(elapsed / _ERROR_UNITS, lasted_s / _ERROR_S, 1.0)
        row.day_error += rate * (abs(value - day) - row.day_error)
        row.week_error += rate * (abs(value - week) - row.week_error)


def as_buckets(means: npt.NDArray[np.float64]) -> Float32s:
    """These means of buckets as a profile holds them: each visited, and within single precision."""
    plain = np.clip(means, -_MOST, _MOST).astype(np.float32)
    return np.where(np.abs(plain) > _LEARNT_ZERO, plain, np.float32(_LEARNT_ZERO))
