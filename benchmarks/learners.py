"""Measure the bank's speed, memory and its answers to synthetic trouble; prints one JSON line a part.

python -m benchmarks.learners speed | synthetic

Synthetic series: 100 + a daily sine of amplitude 0, 3, 10 or 30 + noise of deviation 1 (Gaussian, or Student's t
with 3 degrees of freedom scaled to deviation 1), one sample a minute. Trouble begins after day 5; it is found
if an alarm opens within the samples given with it.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

import numpy as np

from models.evaluation import onsets
from models.online.bank import Bank

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.contracts import Bools, Float64s

DAY = 1440
START = 1_700_000_000_000
AMPLITUDES = (0.0, 3.0, 10.0, 30.0)


def healthy(series: int, days: int, seed: int, *, heavy: bool = False) -> Float64s:
    """Make series without trouble, float64[series, days * 1440]."""
    rng = np.random.default_rng(seed)
    shape = (series, days * DAY)
    noise = rng.standard_t(3, shape) / np.sqrt(3.0) if heavy else rng.normal(0.0, 1.0, shape)
    rows = np.arange(series)[:, None]
    wave = np.sin(2.0 * np.pi * np.arange(days * DAY) / DAY + rows)
    return 100.0 + np.array(AMPLITUDES)[rows % len(AMPLITUDES)] * wave + noise


def alarms(values: Float64s) -> Bools:
    """Judge all series with one bank: bool of the same shape."""
    series, length = values.shape
    bank = Bank()
    bank.grow(series)
    ts = START + np.arange(length, dtype=np.int64) * 60_000
    slots = np.repeat(np.arange(series, dtype=np.int32), length)
    return bank.score_learn(slots, np.tile(ts, series), values.ravel()).alarm.reshape(values.shape)


def spike(size: float) -> Callable[[Float64s, int, int], None]:
    """Make a trouble: one sample is `size` deviations off."""

    def change(x: Float64s, at: int, sign: int) -> None:
        x[at] += sign * size

    return change


def shift(x: Float64s, at: int, sign: int) -> None:
    """Move the level by three deviations for good."""
    x[at:] += 3.0 * sign


def flatline(x: Float64s, at: int, _: int) -> None:
    """Repeat one value for an hour."""
    x[at : at + 60] = x[at]


def ramp(x: Float64s, at: int, sign: int) -> None:
    """Climb ten deviations in two hours."""
    x[at:] += sign * np.minimum(np.arange(len(x) - at) / 120.0 * 10.0, 10.0)


def dropped_season(x: Float64s, at: int, _: int) -> None:
    """Stay where it is for half a day, but for noise."""
    noise = np.random.default_rng(at).normal(0.0, 1.0, 720)
    x[at : at + 720] = np.mean(x[at - 15 : at]) + noise


def found(change: Callable[[Float64s, int, int], None], within: int, *, seasonal: bool = False) -> float:
    """Give the part of 96 series in which an alarm opens within so many samples of the trouble's start."""
    values = healthy(96, 7, seed=11)
    rng = np.random.default_rng(12)
    starts = rng.integers(5 * DAY, 6 * DAY, len(values))
    for row, at in enumerate(starts):
        change(values[row], int(at), 1 if row % 2 else -1)
    opened = np.array([onsets(a) for a in alarms(values)])
    hits = [opened[row, at : at + within].any() for row, at in enumerate(starts)]
    return round(float(np.mean([hit for row, hit in enumerate(hits) if row % 4 >= 2 or not seasonal])), 3)


def recurring() -> float:
    """Give the part found of the same trouble (8 deviations for 5 minutes) that comes 20 times, every 5 hours."""
    values = healthy(24, 10, seed=13)
    starts = 5 * DAY + np.arange(20) * 300
    for at in starts:
        values[:, at : at + 5] += 8.0
    raised = alarms(values)
    return round(float(np.mean([raised[:, at : at + 5].any(axis=1) for at in starts])), 3)


def false_alarms(*, heavy: bool) -> float:
    """Count false alarms a series-day over 48 series, days 4 to 20."""
    raised = alarms(healthy(48, 20, seed=14, heavy=heavy))
    return round(sum(int(onsets(a)[3 * DAY :].sum()) for a in raised) / (48 * 17), 4)


def synthetic() -> dict[str, float]:
    """Run the whole suite."""
    return {
        "spike_6": found(spike(6.0), 3),
        "spike_10": found(spike(10.0), 3),
        "shift_3_within_10": found(shift, 10),
        "flatline_within_30": found(flatline, 30),
        "ramp_within_120": found(ramp, 120),
        "dropped_season_within_720": found(dropped_season, 720, seasonal=True),
        "recurring": recurring(),
        "false_alarms_per_day_gaussian": false_alarms(heavy=False),
        "false_alarms_per_day_t3": false_alarms(heavy=True),
    }


def speed(series: int = 100_000, rounds: int = 120) -> dict[str, float]:
    """Give samples a second on one core, one sample of every series a call, after the bitmaps have filled."""
    bank = Bank()
    bank.grow(series)
    slots = np.arange(series, dtype=np.int32)
    rng = np.random.default_rng(0)
    seconds = []
    for minute in range(rounds):
        ts = np.full(series, START + minute * 60_000, np.int64)
        values = rng.normal(size=series)
        begin = time.perf_counter()
        bank.score_learn(slots, ts, values)
        seconds.append(time.perf_counter() - begin)
    rates = series / np.array(seconds[rounds // 2 :])
    return {
        "series": series,
        "samples_per_s": round(float(np.median(rates))),
        "samples_per_s_worst": round(float(rates.min())),
        "bytes_per_series": bank.bytes_per_series,
    }


def main() -> None:
    """Print the part that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["speed", "synthetic"])
    part = parser.parse_args().part
    print(json.dumps({"part": part, **(speed() if part == "speed" else synthetic())}))


if __name__ == "__main__":
    main()
