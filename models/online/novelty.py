"""Novelty: how far a sample is from everything that its series ever did.

A series is brought to one scale by its slow median-like level, its spread and its range, then seen through six
channels (the value, three means of growing length, a short minimum, and a short mean of the
distance from the season). For each channel a bitmap remembers which values occurred; the evidence of a sample is
how far its channels lie from everything remembered. Measured design: docs/learners.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.online.compiling import compiled

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.online.pace import Pace

CHANNELS: Final = 6
BINS: Final = 256
WORDS: Final = BINS // 64
DELAY: Final = 20
"""Units of time until a value counts as seen, so that an anomaly does not hide itself."""

_WIDTH: Final = 0.03  # of a bin
_GENERATION: Final = 20_000  # units of time that one of two bitmaps collects
_WEIGHTS: Final = (1.0, 0.5, 1.0, 2.0, 1.0, 1.0)
_MINIMA: Final = 6
_SLOW: Final = 3e-4  # rate of level and spread, a unit
_RANGE: Final = 0.03
_CLIP: Final = 4.0
_YOUNG: Final = 30.0  # samples before residuals are clipped
_UNTRIED: Final = 80  # units before anything is judged: too few values have been seen, or still wait
_NEAR: Final = 0.05  # distance that makes evidence log(2)
_LOG: Final = np.log1p(np.arange(BINS + 1) * _WIDTH / _NEAR)

FIELDS: Final[list[Any]] = [
    ("slow", "f8"),  # slow level
    ("slow_spread", "f8"),  # mean absolute residual of it
    ("low", "f8"),  # range of all values
    ("high", "f8"),
    ("rest", "f8"),  # slow level of the distance from the season
    ("rest_spread", "f8"),
    ("rest_low", "f8"),
    ("rest_high", "f8"),
    ("means", "f4", (3,)),
    ("season_mean", "f4"),
    ("minima", "f4", (_MINIMA,)),  # of the last units
    ("units", "i4"),  # units of time seen
    ("collected", "i4"),  # of them in the present generation
    ("generation", "i4"),
]
"""What a series remembers besides `Seen`."""


class Seen(NamedTuple):
    """What occurred. Both are of one dimension: views of views of a series' state took a sixth of the time.

    bits: uint64[CHANNELS, 2, WORDS], a bit a bin. wait: uint8[DELAY, CHANNELS, 2], the least and greatest bin of a unit
    that does not count as seen yet.
    """

    bits: npt.NDArray[np.uint64]
    wait: npt.NDArray[np.uint8]


class Evidence(NamedTuple):
    """Summed log distances from what was seen, each >= 0 and 0 while young.

    swift: of the channels that one sample can move. steady: of those that it cannot.
    """

    swift: float
    steady: float


@compiled
def evidence(
    row: Any, seen: Seen, value: float, from_season: float, pace: Pace, lightest: float, opens_unit: bool
) -> Evidence:
    """Judge and learn one sample.

    from_season: its distance from the season. lightest: what it weighs at least in means.
    """
    bits, wait, young = seen.bits, seen.wait, row.units < _UNTRIED
    slowly = max(_SLOW * pace.elapsed, lightest)
    z = _normalise_value(row, value, slowly)
    s = _normalise_rest(row, from_season, slowly)
    if row.n == 0.0:
        row.minima[:] = z
    if opens_unit:
        row.units += 1
        _remember(row, bits, wait)
        row.minima[row.units % _MINIMA] = z
    else:
        row.minima[row.units % _MINIMA] = min(row.minima[row.units % _MINIMA], z)
    least = row.minima[0]
    for k in range(1, _MINIMA):
        least = min(least, row.minima[k])
    swift = _channel(row, bits, wait, 0, z, opens_unit, young)
    steady = 0.0
    for k in range(3):
        row.means[k] += max(pace.means[k], lightest) * (z - row.means[k])
        steady += _channel(row, bits, wait, k + 1, row.means[k], opens_unit, young)
    row.season_mean += max(pace.season_mean, lightest) * (s - row.season_mean)
    # the least of six is the value itself where that is low, and says nothing of its own then
    swift = max(swift, _channel(row, bits, wait, 4, least, opens_unit, young))
    swift += _channel(row, bits, wait, 5, row.season_mean, opens_unit, young)
    return Evidence(swift, steady)


@compiled
def usually_off(row: Any) -> float:
    """Give how far values usually are from the slow level: what single samples or bursts hardly change."""
    return float(row.slow_spread + 1e-9 * abs(row.slow) + 1e-300)


@compiled
def _normalise_value(row: Any, value: float, rate: float) -> float:
    if row.n == 0.0:
        row.slow = row.low = row.high = value
    row.low, row.high = min(row.low, value), max(row.high, value)
    residual = value - row.slow
    if row.n > _YOUNG:
        residual = min(max(residual, -_CLIP * row.slow_spread), _CLIP * row.slow_spread)
    row.slow += rate * residual
    row.slow_spread += rate * (abs(residual) - row.slow_spread)
    return _scaled(value - row.slow, row.slow_spread, row.high - row.low, row.slow)


@compiled
def _normalise_rest(row: Any, rest: float, rate: float) -> float:
    row.rest_low, row.rest_high = min(row.rest_low, rest), max(row.rest_high, rest)
    residual = rest - row.rest
    if row.n > _YOUNG:
        residual = min(max(residual, -_CLIP * row.rest_spread), _CLIP * row.rest_spread)
    row.rest += rate * residual
    row.rest_spread += rate * (abs(residual) - row.rest_spread)
    return _scaled(rest - row.rest, row.rest_spread, row.rest_high - row.rest_low, row.slow)


@compiled
def _scaled(residual: float, spread: float, extent: float, level: float) -> float:
    scale = _CLIP * spread + _RANGE * extent + 1e-9 * abs(level) + 1e-300
    x = min(abs(residual) / scale, 1e6)
    return math.copysign(math.log(x + math.sqrt(x * x + 1.0)), residual)  # asinh, faster


@compiled
def _channel(
    row: Any,
    bits: npt.NDArray[np.uint64],
    wait: npt.NDArray[np.uint8],
    channel: int,
    z: float,
    opens_unit: bool,
    young: bool,
) -> float:
    """Give one channel's evidence, and queue its bin."""
    bin_ = min(max(int(z / _WIDTH + 0.5 * BINS), 0), BINS - 1)
    least = 2 * (CHANNELS * (row.units % DELAY) + channel)
    greatest = least + 1
    if opens_unit:
        wait[least] = wait[greatest] = bin_
    else:
        wait[least], wait[greatest] = min(wait[least], bin_), max(wait[greatest], bin_)
    if young or _seen(bits, channel, bin_):
        return 0.0
    return float(_WEIGHTS[channel] * _LOG[_distance(bits, channel, bin_)])


@compiled
def _seen(bits: npt.NDArray[np.uint64], channel: int, bin_: int) -> bool:
    word = 2 * WORDS * channel + (bin_ >> 6)
    return bool(((bits[word] | bits[word + WORDS]) >> np.uint64(bin_ & 63)) & np.uint64(1))


@compiled
def _distance(bits: npt.NDArray[np.uint64], channel: int, bin_: int) -> int:
    """Count bins from one that was not seen to the nearest that was; BINS where none was."""
    for d in range(1, BINS):
        if bin_ - d >= 0 and _seen(bits, channel, bin_ - d):
            return d
        if bin_ + d < BINS and _seen(bits, channel, bin_ + d):
            return d
    return BINS


@compiled
def _remember(row: Any, bits: npt.NDArray[np.uint64], wait: npt.NDArray[np.uint8]) -> None:
    """Move the bins that have waited long enough into the bitmaps, and forget the older generation in time."""
    if row.units <= DELAY:
        return
    oldest = 2 * CHANNELS * (row.units % DELAY)
    for channel in range(CHANNELS):
        first = WORDS * (2 * channel + row.generation)
        for place in (oldest + 2 * channel, oldest + 2 * channel + 1):
            bin_ = int(wait[place])
            bits[first + (bin_ >> 6)] |= np.uint64(1) << np.uint64(bin_ & 63)
    row.collected += 1
    if row.collected >= _GENERATION:
        row.collected = 0
        row.generation = 1 - row.generation
        _forget(bits, row.generation)


@compiled
def _forget(bits: npt.NDArray[np.uint64], generation: int) -> None:
    for channel in range(CHANNELS):
        first = WORDS * (2 * channel + generation)
        bits[first : first + WORDS] = 0


def extent(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """First, then last bin that occurred in each channel, float64[n, 2 * CHANNELS]; bits uint64[n, CHANNELS, 2, WORDS].

    A channel in which nothing has occurred has its middle.
    """
    words = bits[:, :, 0] | bits[:, :, 1]
    seen = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=2, bitorder="little").astype(bool)
    some = seen.any(axis=2)
    first, last = seen.argmax(axis=2), BINS - 1 - seen[:, :, ::-1].argmax(axis=2)
    return np.concatenate([np.where(some, first, BINS // 2), np.where(some, last, BINS // 2)], axis=1).astype(float)


def between(extents: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """All bins between these ends as bits of the present generation, uint64[n, CHANNELS, 2, WORDS]."""
    ends = np.round(extents).reshape(len(extents), 2, CHANNELS, 1)
    bins = np.arange(BINS)
    seen = (bins >= ends[:, 0]) & (bins <= ends[:, 1])
    words = np.packbits(seen, axis=2, bitorder="little").view(np.uint64).reshape(len(extents), CHANNELS, 1, WORDS)
    return np.concatenate([words, words], axis=2)


def begin_as(rows: npt.NDArray[np.void], units: int) -> None:
    """Let series that were brought to another scale go on from where they are in it, `units` older."""
    scale = _CLIP * rows["slow_spread"] + _RANGE * (rows["high"] - rows["low"]) + 1e-9 * np.abs(rows["slow"]) + 1e-300
    now = np.arcsinh((rows["level"] - rows["slow"]) / scale)
    rows["means"] = rows["minima"] = 0.0
    rows["means"] += now[:, None]
    rows["minima"] += now[:, None]
    rows["season_mean"] = 0.0
    rows["units"] += units
