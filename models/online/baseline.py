"""Baseline learner: how far a sample is from what its series does at this time of day.

Each series has a level (robust, exponentially weighted) and a daily profile. Once the profile has shown
that it predicts better than the level, it is the expectation; a constant offset from it is learned
too. Residuals are measured in robust standard deviations with a floor of a part of the range seen, so that
a quiet hour does not make a small step look large. Two statistics are watched: the
residual itself (spikes) and its short mean over its own scale (shifts, ramps). All memory is in
seconds, stretched for slowly sampled series to a number of sampling steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numba
import numpy as np

from models.columns import Columns
from models.contracts import Verdicts
from models.online.clock import Offsets, offset_index, phase_of_day, zone_offsets

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from models.contracts import Bools, Float32s, Float64s, Int32s, Int64s

BUCKETS: Final = 48  # half-hours of the local day

_ROW: Final = np.dtype(
    [
        ("n", "f8"),  # samples learned
        ("first", "f8"),  # s since the epoch, of the first sample
        ("last", "f8"),  # s, of the newest
        ("step", "f8"),  # s, usual time between samples
        ("level", "f8"),
        ("low", "f8"),  # range of values seen, forgotten slowly
        ("high", "f8"),
        ("spread", "f8"),  # mean absolute residual of the level
        ("seasons", "f8"),  # samples judged by the profile
        ("season_spread", "f8"),  # mean absolute residual of the profile
        ("season_most", "f8"),  # largest residual of the profile, forgotten slowly
        ("rival_spread", "f8"),  # mean absolute residual of the level on the same samples
        ("offset", "f8"),  # the whole day's distance from its profile
        ("mean", "f8"),  # short mean of residuals, in standard deviations
        ("mean_spread", "f8"),  # mean absolute value of that
        ("alarms", "f8"),  # recent alarms, decaying
        ("calm", "f8"),  # s, since when the score is low; 0 unless in alarm
        ("alarm", "f8"),  # 1 while in alarm
    ]
)
_BUCKET: Final = np.dtype([("value", "f8"), ("seen", "f8")])  # seen: visits, in whole bucket lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSettings:
    """Tunables of the baseline; all times in seconds.

    Where a time is given with a number of steps, the longer of the two holds for a series.
    """

    timezone: str = "UTC"
    """IANA zone in which days begin."""
    threshold: float = 5.0
    """Robust standard deviations at which a residual raises an alarm; > 0."""
    memory_s: float = 6 * 3600.0
    """Time constant of level and scale; at least `memory_steps`."""
    memory_steps: float = 150.0
    short_s: float = 120.0
    """Time constant of the short mean that finds shifts and ramps; at least `short_steps`."""
    short_steps: float = 8.0
    warmup_s: float = 900.0
    """Nothing is judged before this age and before `warmup_steps` samples."""
    warmup_steps: float = 30.0
    rearm_s: float = 60.0
    """An alarm ends after the score was low for so long; at least `rearm_steps`."""
    rearm_steps: float = 3.0
    fatigue: float = 0.25
    """Each recent alarm raises the threshold by this part of it; >= 0."""
    fatigue_s: float = 86_400.0
    """Time constant in which past alarms are forgotten; at least `fatigue_steps`."""
    fatigue_steps: float = 400.0
    range_floor: float = 0.02
    """Part of the range seen that is added to the scale; 0 to 1."""


class _Rates(NamedTuple):
    """The settings as a kernel takes them."""

    threshold: float
    memory_s: float
    memory_steps: float
    short_s: float
    short_steps: float
    warmup_s: float
    warmup_steps: float
    rearm_s: float
    rearm_steps: float
    fatigue: float
    fatigue_s: float
    fatigue_steps: float
    range_floor: float


class _State(NamedTuple):
    row: npt.NDArray[np.void]
    profile: npt.NDArray[np.void]


class _Input(NamedTuple):
    slots: Int32s
    ts: Int64s
    values: Float64s


class _Spot(NamedTuple):
    """Where a sample lies in the day: between the centres of two buckets."""

    left: int
    right: int
    part: float


class _Guess(NamedTuple):
    expected: float
    scale: float


class _Output(NamedTuple):
    score: Float32s
    alarm: Bools
    expected: Float64s
    lower: Float64s
    upper: Float64s


class BaselineLearner:
    """Robust seasonal baseline for many series (`OnlineLearner`); 0.9 KB a series.

    Raises ValueError for an unknown time zone.
    """

    version: int = 1

    def __init__(self, settings: BaselineSettings | None = None) -> None:
        settings = settings or BaselineSettings()
        self._rates = _Rates(*(float(getattr(settings, name)) for name in _Rates._fields))
        self._offsets = zone_offsets(settings.timezone)
        self._columns = Columns(self.version, {"row": (_ROW, ()), "profile": (_BUCKET, (BUCKETS,))})

    @property
    def bytes_per_series(self) -> int:
        """Bytes of state of one series."""
        return self._columns.bytes_per_slot

    def grow(self, slots: int) -> None:
        """Make room for slots below `slots`."""
        self._columns.grow(slots)

    def evict(self, slots: Int32s) -> None:
        """Forget these series."""
        self._columns.evict(slots)

    def score_learn(self, slots: Int32s, ts: Int64s, values: Float64s) -> Verdicts:
        """Score each sample with what was known before it, then learn it.

        slots int32[n], ts int64[n] ms, values float64[n] finite. Raises IndexError for a slot never grown.
        """
        self._columns.check(slots)
        n = len(slots)
        out = _Output(np.zeros(n, np.float32), np.zeros(n, np.bool_), np.empty(n), np.empty(n), np.empty(n))
        state = _State(self._columns["row"], self._columns["profile"])
        _run(self._rates, self._offsets, state, _Input(slots, ts, values), out)
        return Verdicts(*out, np.zeros(n, np.int8))

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        return self._columns.snapshot()

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become the learner that gave this snapshot; ValueError where it does not fit."""
        self._columns.restore(state)


_SIGMA: Final = 1.2533  # standard deviation over mean absolute deviation, of a Gaussian: sqrt(pi / 2)
_CLIP: Final = 4.0  # mean absolute deviations beyond which a residual teaches no more
_LARGEST: Final = 1e150  # values beyond are learned as this, so that no square overflows
_DAYS: Final = 4.0  # days of one bucket that its profile remembers
_PROVEN: Final = 0.8  # the profile must beat the level's spread by this
_MOST: Final = 1e3  # standard deviations, where counting ends
_MEAN_DISCOUNT: Final = 0.85  # the short mean tries less often than the residual, but is less Gaussian
_FADE: Final = 0.05  # extremes are forgotten this much slower than the level


@numba.njit(cache=True, nogil=True)
def _run(rates: _Rates, offsets: Offsets, state: _State, samples: _Input, out: _Output) -> None:
    zone = 0
    for i in range(len(samples.slots)):
        row = state.row[samples.slots[i]]
        profile = state.profile[samples.slots[i]]
        value = min(max(samples.values[i], -_LARGEST), _LARGEST)
        zone = offset_index(offsets, samples.ts[i], zone)
        spot = _spot(phase_of_day(samples.ts[i] + offsets.shift[zone]))
        now = samples.ts[i] * 1e-3
        if row.n == 0:
            _begin(row, now, value)
        gap = max(now - row.last, 0.0)
        guess = _guess(row, rates, profile, spot)
        known = row.n >= rates.warmup_steps and now - row.first >= rates.warmup_s
        reach = rates.threshold * guess.scale if known else np.nan
        out.expected[i] = guess.expected if known else np.nan
        out.lower[i], out.upper[i] = guess.expected - reach, guess.expected + reach
        _learn_step(row, gap)
        z = min(max((value - guess.expected) / guess.scale, -_MOST), _MOST)
        strength = _strength(row, rates, z, gap) / rates.threshold if known else 0.0
        _decide(row, rates, strength, now, gap)
        out.score[i] = strength * strength / (1.0 + strength * strength)
        out.alarm[i] = row.alarm > 0.0
        _learn_season(row, rates, profile, spot, value, gap)
        _learn_level(row, rates, value, gap)
        row.last = now
        row.n += 1.0


@numba.njit(cache=True, nogil=True)
def _begin(row: Any, now: float, value: float) -> None:
    row.first = now
    row.last = now
    row.level = row.low = row.high = value


@numba.njit(cache=True, nogil=True)
def _spot(phase: float) -> _Spot:
    at = phase * BUCKETS - 0.5
    left = math.floor(at)
    return _Spot(left % BUCKETS, (left + 1) % BUCKETS, at - left)


@numba.njit(cache=True, nogil=True)
def _by_day(row: Any, profile: Any, spot: _Spot) -> float:
    """Value that the daily profile predicts, between the centres of two buckets."""
    left, right = profile[spot.left].value, profile[spot.right].value
    return float((1.0 - spot.part) * left + spot.part * right + row.offset)


@numba.njit(cache=True, nogil=True)
def _filled(profile: Any, spot: _Spot) -> bool:
    return bool(profile[spot.left].seen >= 1.0 and profile[spot.right].seen >= 1.0)


@numba.njit(cache=True, nogil=True)
def _guess(row: Any, rates: _Rates, profile: Any, spot: _Spot) -> _Guess:
    """Expectation and robust standard deviation, by the profile where it has proven itself.

    The scale has floors: a part of the range, and the resolution of the numbers.
    """
    proven = row.seasons > 20.0 and row.season_spread < _PROVEN * row.rival_spread
    if proven and _filled(profile, spot):
        expected, spread, extent = _by_day(row, profile, spot), row.season_spread, 2.0 * row.season_most
    else:
        expected, spread, extent = row.level, row.spread, row.high - row.low
    return _Guess(expected, _SIGMA * spread + rates.range_floor * extent + 1e-9 * abs(expected) + 1e-300)


@numba.njit(cache=True, nogil=True)
def _memory(row: Any, seconds: float, steps: float) -> float:
    return float(max(seconds, steps * row.step))


@numba.njit(cache=True, nogil=True)
def _weight(row: Any, gap: float, seconds: float, steps: float) -> float:
    """Weight of a sample in an exponentially weighted mean; a gap counts for a few steps only."""
    return float(1.0 - math.exp(-min(gap, 5.0 * row.step) / max(_memory(row, seconds, steps), 1e-9)))


@numba.njit(cache=True, nogil=True)
def _learn_step(row: Any, gap: float) -> None:
    if row.n == 1.0:
        row.step = gap
    elif row.n > 1.0:
        # one long gap must not stretch the memory: at most twice the usual step is believed
        row.step += max(0.02, 1.0 / row.n) * (min(gap, 2.0 * row.step + 1e-3) - row.step)


@numba.njit(cache=True, nogil=True)
def _strength(row: Any, rates: _Rates, z: float, gap: float) -> float:
    """Find the stronger evidence, in standard deviations: this residual, or the short mean of residuals."""
    clipped = min(max(z, -2.0 * rates.threshold), 2.0 * rates.threshold)
    weight = _weight(row, gap, rates.short_s, rates.short_steps)
    row.mean += weight * (clipped - row.mean)
    # white residuals give this much; correlated ones more, which the series itself tells
    usual = max(_SIGMA * row.mean_spread, math.sqrt(weight / (2.0 - weight)), 0.1)
    memory = max(_weight(row, gap, rates.memory_s, rates.memory_steps), 1.0 / (row.n + 1.0))
    row.mean_spread += memory * (min(abs(row.mean), _CLIP * usual) - row.mean_spread)
    return float(max(abs(z), _MEAN_DISCOUNT * abs(row.mean) / usual))


@numba.njit(cache=True, nogil=True)
def _decide(row: Any, rates: _Rates, strength: float, now: float, gap: float) -> None:
    """Hysteresis: in at 1 (more after recent alarms), out after a while below one half."""
    row.alarms *= math.exp(-gap / max(_memory(row, rates.fatigue_s, rates.fatigue_steps), 1e-9))
    bar = 1.0 + rates.fatigue * row.alarms
    if row.alarm == 0.0:
        if strength >= bar:
            row.alarm = 1.0
            row.alarms += 1.0
            row.calm = 0.0
    elif strength >= 0.5 * bar:
        row.calm = 0.0
    elif row.calm == 0.0:
        row.calm = now
    elif now - row.calm >= _memory(row, rates.rearm_s, rates.rearm_steps):
        row.alarm = 0.0


@numba.njit(cache=True, nogil=True)
def _learn_level(row: Any, rates: _Rates, value: float, gap: float) -> None:
    forget = _weight(row, gap, rates.memory_s, rates.memory_steps)
    weight = max(forget, 1.0 / (row.n + 1.0))
    residual = value - row.level
    if row.n > rates.warmup_steps:
        clip = _CLIP * row.spread + rates.range_floor * (row.high - row.low)
        residual = min(max(residual, -clip), clip)
    row.level += weight * residual
    row.spread += weight * (abs(residual) - row.spread)
    row.low = min(value, row.low + _FADE * forget * (row.level - row.low))
    row.high = max(value, row.high + _FADE * forget * (row.level - row.high))


@numba.njit(cache=True, nogil=True)
def _learn_season(row: Any, rates: _Rates, profile: Any, spot: _Spot, value: float, gap: float) -> None:
    residual = value - _by_day(row, profile, spot)
    visit = min(min(gap, 5.0 * row.step) * BUCKETS / 86_400.0, 1.0)
    if _filled(profile, spot):
        forget = _weight(row, gap, rates.memory_s, rates.memory_steps)
        weight = max(forget, 1.0 / (row.seasons + 1.0))
        if row.seasons > rates.warmup_steps:
            clip = _CLIP * max(row.season_spread, 0.1 * row.spread) + 2.0 * rates.range_floor * row.season_most
            residual = min(max(residual, -clip), clip)
        row.seasons += 1.0
        row.season_spread += weight * (abs(residual) - row.season_spread)
        row.rival_spread += weight * (abs(value - row.level) - row.rival_spread)
        row.season_most = max(abs(value - _by_day(row, profile, spot)), (1.0 - _FADE * forget) * row.season_most)
        row.offset += weight * residual
    _visit(profile[spot.left], (1.0 - spot.part) * visit, residual, value - row.offset)
    _visit(profile[spot.right], spot.part * visit, residual, value - row.offset)


@numba.njit(cache=True, nogil=True)
def _visit(bucket: Any, visit: float, residual: float, target: float) -> None:
    """Move a bucket: to the running mean of `target` in its first visit, then along `residual`."""
    before = bucket.seen
    bucket.seen = min(before + visit, 1e6)
    if before >= 1.0:
        bucket.value += visit / min(bucket.seen, _DAYS) * residual
    elif before == 0.0:
        bucket.value = target
    else:
        bucket.value += visit / bucket.seen * (target - bucket.value)
