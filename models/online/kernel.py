"""The bank's kernel: one pass over the samples of a call, each judged and then learned."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numba
import numpy as np

from models.online import (
    clock,
    compiling,
    magnitude,
    novelty,
    pace,
    policy,
    prefetch,
    routine,
    season,
    settling,
    shape,
    stillness,
)
from models.online.clock import Offsets, offset_index
from models.online.compiling import OPTIONS, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from models.contracts import Bools, Float32s, Float64s, Int8s, Int32s, Int64s
    from models.online.tuning import Tuning

ROW: Final = np.dtype(
    [
        ("n", "f8"),  # samples learned
        ("first", "f8"),  # s since the epoch
        ("last", "f8"),
        ("step", "f8"),  # s, usual time between samples
        ("anchor", "f8"),  # what the season's profile is counted from
        ("unit_age", "f8"),  # s since the present unit of time began
        *season.FIELDS,
        *magnitude.FIELDS,
        *stillness.FIELDS,
        *novelty.FIELDS,
        *routine.FIELDS,
        *policy.FIELDS,
        *shape.FIELDS,
        *settling.FIELDS,
    ],
    align=True,
)


class State(NamedTuple):
    """Columns of the bank, two-dimensional but for `row`; a row a series."""

    row: npt.NDArray[np.void]
    profile: Float32s
    bits: npt.NDArray[np.uint64]
    wait: npt.NDArray[np.uint8]


class Input(NamedTuple):
    """Samples of one call."""

    slots: Int32s
    ts: Int64s
    values: Float64s


class Output(NamedTuple):
    """Columns of `Verdicts`."""

    score: Float32s
    alarm: Bools
    expected: Float64s
    lower: Float64s
    upper: Float64s
    shape: Int8s
    settled: Bools


_LARGEST: Final = 1e150  # values beyond are learned as this, so that no square overflows
_ROW_BYTES: Final = ROW.itemsize
_BITS_BYTES: Final = novelty.CHANNELS * 2 * novelty.WORDS * np.dtype(np.uint64).itemsize
_WAIT_BYTES: Final = novelty.DELAY * novelty.CHANNELS * 2
_BUCKET_BYTES: Final = np.dtype(np.float32).itemsize
_LONGEST: Final = 5.0  # a gap counts as so many steps at most


def run(tuning: Tuning, offsets: Offsets, state: State, samples: Input, out: Output) -> None:
    """Judge and learn all samples, in order."""
    _compiled(_FINGERPRINT)(tuning, offsets, state, samples, out)


def _fingerprint() -> str:
    """Hash the sources that are compiled into the kernel."""
    parts = [clock, compiling, magnitude, novelty, pace, policy, prefetch, routine, season, settling, shape, stillness]
    sources = b"".join(Path(str(part.__file__)).read_bytes() for part in parts)
    return hashlib.sha256(sources).hexdigest()


_FINGERPRINT: Final = _fingerprint()


@lru_cache(maxsize=1)
def _compiled(fingerprint: str) -> Callable[[Tuning, Offsets, State, Input, Output], None]:
    """Compile the kernel, or take it from the cache.

    Numba looks at this file alone when it decides whether its cache is stale, not at the files of functions that
    were compiled in. It does look at what a function closes over, so the function closes over their hash.
    """

    @numba.njit(cache=True, **OPTIONS)
    def kernel(tuning: Tuning, offsets: Offsets, state: State, samples: Input, out: Output) -> None:
        if len(fingerprint) > 0:
            _judge_and_learn(tuning, offsets, state, samples, out)

    return cast("Callable[[Tuning, Offsets, State, Input, Output], None]", kernel)


@compiled
def _judge_and_learn(tuning: Tuning, offsets: Offsets, state: State, samples: Input, out: Output) -> None:
    ts, zone, at, paced = 0, 0, season.place(offsets.shift[offset_index(offsets, 0, 0)]), pace.pace(tuning, 1.0)
    for i in range(len(samples.slots)):
        if not np.isfinite(samples.values[i]):
            out.expected[i] = out.lower[i] = out.upper[i] = np.nan
            continue
        _prefetch(state, samples, i + prefetch.AHEAD, at)
        slot = samples.slots[i]
        row = state.row[slot]
        value = min(max(samples.values[i], -_LARGEST), _LARGEST)
        if samples.ts[i] != ts:
            ts = samples.ts[i]
            zone = offset_index(offsets, ts, zone)
            at = season.place(ts + offsets.shift[zone])
        now = ts * 1e-3
        if row.n == 0.0:
            _begin(row, now, value)
        gap = _learn_step(row, now)
        unit = max(row.step, tuning.unit_s)
        lasted = min(gap, _LONGEST * row.step)
        age = now - row.first
        known = row.n >= tuning.warmup_samples and age >= tuning.warmup_s
        day = season.daily(state.profile[slot], at, age) + row.anchor
        week = season.weekly(state.profile[slot], at, age) + row.anchor
        expected, other = season.believed(row, day, week)
        guess = magnitude.judge(row, tuning, value, expected, other)
        bar = routine.spike_bar(row, tuning)
        _tell_band(out, i, guess, bar * guess.scale if known else np.nan)
        elapsed, least = lasted / unit, 1.0 / (row.n + 1.0)
        paced = pace.follow(paced, tuning, elapsed)
        nearest = _nearest(day, week, value)
        rest = value - (row.level if np.isnan(nearest) else nearest)
        seen = novelty.Seen(state.bits[slot], state.wait[slot])
        evidence = novelty.evidence(row, seen, value, rest, paced, least, _opens_unit(row, gap, unit))
        far = magnitude.Far(
            guess.distance,
            magnitude.drift(row, tuning, guess.distance, paced.drift),
            magnitude.apart(row, tuning, value, expected, guess.season_scale, paced.level),
        )
        shape.follow(row, tuning, guess, paced, least)
        off = stillness.Off(guess.distance, value - row.slow, novelty.usually_off(row))
        quiet = stillness.follow(row, tuning, value, off, elapsed, least)
        parts = policy.weigh(row, tuning, evidence, far, bar, quiet)
        strong = policy.strength(parts)
        if known:
            opens_alarm = policy.decide(row, tuning, strong, gap, unit)
            out.score[i] = policy.score(strong, opens_alarm)
            out.shape[i] = shape.name(row, parts, guess)
            out.alarm[i] = row.alarm > 0.0
            out.settled[i] = settling.follow(row, tuning, value, expected, guess, elapsed)
            routine.follow(row, tuning, far, gap)
        policy.follow(row, tuning, evidence.swift + evidence.steady, strong, elapsed, least)
        season.compare(row, day, week, value, lasted, elapsed)
        magnitude.learn(row, tuning, value, expected, paced, least)
        season.learn(state.profile[slot], at, value - row.anchor, lasted, age, tuning.season_rate)
        _count(row, now)


@compiled
def _prefetch(state: State, samples: Input, i: int, at: season.Place) -> None:
    """Have the state of sample i's series on its way into the cache; of its profiles what this time needs."""
    if i >= len(samples.slots):
        return
    slot = samples.slots[i]
    for byte in range(0, _ROW_BYTES, prefetch.LINE):
        prefetch.fetch(state.row, slot, byte)
    for byte in range(0, _BITS_BYTES, prefetch.LINE):
        prefetch.fetch(state.bits, slot, byte)
    for byte in range(0, _WAIT_BYTES, prefetch.LINE):
        prefetch.fetch(state.wait, slot, byte)
    prefetch.fetch(state.profile, slot, _BUCKET_BYTES * at.day.bucket)
    prefetch.fetch(state.profile, slot, _BUCKET_BYTES * at.week.bucket)


@compiled
def _begin(row: Any, now: float, value: float) -> None:
    row.first = row.last = now
    row.anchor = row.level = row.least = row.most = value
    row.unit_age = 1e30  # the first sample opens a unit
    row.day_left = routine.DAY_S


@compiled
def _tell_band(out: Output, i: int, guess: magnitude.Guess, reach: float) -> None:
    """Write what was expected; NaN where nothing is known yet, and `reach` is NaN."""
    out.expected[i] = guess.expected if not math.isnan(reach) else np.nan
    out.lower[i], out.upper[i] = guess.expected - reach, guess.expected + reach


@compiled
def _learn_step(row: Any, now: float) -> float:
    """Learn how often samples come, and give the seconds since the one before."""
    gap = max(now - row.last, 0.0)
    if row.n == 1.0:
        row.step = gap
    elif row.n > 1.0:
        # one long gap must not stretch the memory: at most twice the usual step is believed
        row.step += max(0.02, 1.0 / row.n) * (min(gap, 2.0 * row.step + 1e-3) - row.step)
    return float(gap)


@compiled
def _count(row: Any, now: float) -> None:
    row.last = now
    row.n += 1.0


@compiled
def _opens_unit(row: Any, gap: float, unit: float) -> bool:
    row.unit_age += gap
    if row.unit_age + 0.5 * row.step >= unit:
        row.unit_age = 0.0
        return True
    return False


@compiled
def _nearest(day: float, week: float, value: float) -> float:
    """Choose the season that is kinder to a value; NaN where neither is known."""
    if np.isnan(day):
        return week
    if np.isnan(week) or abs(value - day) <= abs(value - week):
        return day
    return week
