"""The learner bank alone: speed beside River's HalfSpaceTrees, bytes a series, a million series, start-up.

`samples_per_s` and its ratio are of one run on one core, in CPU seconds: 100,000 series that are eight days old, so
that all of the bank is in use, a sample each a call, in turns with HalfSpaceTrees on the same values in a plain loop.
All are medians of the turns. `irregular_samples_per_s` is of series with times of their own, irregular ones.
`million_peak_mb` is the most memory of a process that holds a million series in 32
partitions, as a worker does, fills them, and snapshots and restores each partition in turn. `start_s` is a new process
until its first verdict, with the compiled kernels in the cache; `first_start_s` without; `start_cpu_s` its CPU seconds,
which other work on the machine does not change.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from river import anomaly

from benchmarks.harness import median, report
from models.online.bank import Bank

if TYPE_CHECKING:
    from models.contracts import Float64s, Int32s, Int64s

SERIES = 100_000
STEP_MS = 900_000
DAY = 86_400_000 // STEP_MS
AGE = 8 * DAY  # calls before the clock runs: both seasons are known
TURNS = 5
CALLS = 20  # of the bank, a turn
TREE_SAMPLES = 5_000  # a turn
START = 1_767_225_600_000
STARTS = 3

_FIRST_VERDICT = """
import numpy as np
from models.online.bank import Bank
bank = Bank()
bank.grow(1)
bank.score_learn(np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1))
"""

_MILLION = """
import resource
import numpy as np
from models.online.bank import Bank
PARTITIONS, SERIES = 32, 31_250
rng, slots = np.random.default_rng(0), np.arange(SERIES, dtype=np.int32)
banks = [Bank() for _ in range(PARTITIONS)]
for bank in banks:
    bank.grow(SERIES)
for scrape in range(40):
    for bank in banks:
        bank.score_learn(slots, np.full(SERIES, scrape * 60_000), rng.normal(50.0, 2.0, SERIES))
for number in range(PARTITIONS):
    state = banks[number].snapshot()
    banks[number] = Bank()
    banks[number].restore(state)
    del state
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


class Waves:
    """A day's wave and noise of each series, a call after the other."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._middle = self._rng.uniform(10.0, 1000.0, SERIES)
        self._height = self._rng.uniform(0.0, 10.0, SERIES)
        self.call = 0

    def next(self) -> Float64s:
        """Give the values of the next call, float64[SERIES]."""
        wave = np.sin(2.0 * np.pi * self.call / DAY)
        self.call += 1
        return self._middle + self._height * wave + self._rng.standard_normal(SERIES)

    def later(self, most_ms: int) -> Int64s:
        """Give how many ms each series' sample comes after the others', int64[SERIES], 0 to `most_ms`."""
        return self._rng.integers(0, most_ms + 1, SERIES)


class Rates(NamedTuple):
    """Samples a CPU second, turn by turn, since a shared machine changes its mind."""

    bank: float
    irregular: float
    trees: float


def rates() -> list[Rates]:
    """Measure the bank on scrapes and on irregular samples, and HalfSpaceTrees."""
    waves, bank, slots = Waves(), Bank(), np.arange(SERIES, dtype=np.int32)
    bank.grow(SERIES)
    history = [float(_judged(bank, slots, waves).values[0]) for _ in range(AGE)]
    low, high = min(history) - 1.0, max(history) + 1.0
    trees = anomaly.HalfSpaceTrees(seed=42)
    _tree_rate(trees, history, low, high)
    found = []
    for turn in range(TURNS):
        judged = [_judged(bank, slots, waves) for _ in range(CALLS)]
        irregular = [_judged(bank, slots, waves, jitter_ms=STEP_MS // 2) for _ in range(CALLS)]
        again = history[turn * DAY :] + history[: turn * DAY]
        samples = (again * (TREE_SAMPLES // AGE + 1))[:TREE_SAMPLES]
        found.append(Rates(_rate(judged), _rate(irregular), _tree_rate(trees, samples, low, high)))
    return found


class Judged(NamedTuple):
    """Values of a call, and the CPU seconds that the bank took."""

    values: Float64s
    cpu: float


def _rate(judged: list[Judged]) -> float:
    return len(judged) * SERIES / sum(one.cpu for one in judged)


def _judged(bank: Bank, slots: Int32s, waves: Waves, jitter_ms: int = 0) -> Judged:
    ts = START + waves.call * STEP_MS + waves.later(jitter_ms)
    values = waves.next()
    began = time.process_time()
    bank.score_learn(slots, ts, values)
    return Judged(values, time.process_time() - began)


def _tree_rate(model: anomaly.HalfSpaceTrees, samples: list[float], low: float, high: float) -> float:
    rows = [{"x": (value - low) / (high - low)} for value in samples]
    began = time.process_time()
    for row in rows:
        model.score_one(row)
        model.learn_one(row)
    return len(rows) / (time.process_time() - began)


class Child(NamedTuple):
    """Seconds of a process, by the clock and of the CPU, and what it printed."""

    wall: float
    cpu: float
    said: str


def child(code: str, **environment: str) -> Child:
    """Run this in a new Python."""
    run = [sys.executable, "-c", code]
    began, cpu = time.perf_counter(), _children_cpu_s()
    said = subprocess.run(run, check=True, capture_output=True, text=True, env=os.environ | environment).stdout
    return Child(time.perf_counter() - began, _children_cpu_s() - cpu, said)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def starts() -> dict[str, float]:
    """Seconds to the first verdict with an empty cache of kernels, then with a full one (the best of some)."""
    with tempfile.TemporaryDirectory() as cache:
        cold = child(_FIRST_VERDICT, NUMBA_CACHE_DIR=cache)
        warm = min((child(_FIRST_VERDICT, NUMBA_CACHE_DIR=cache) for _ in range(STARTS)), key=lambda one: one.wall)
    return {
        "start_s": round(warm.wall, 2),
        "start_cpu_s": round(warm.cpu, 2),
        "first_start_s": round(cold.wall, 2),
        "first_start_cpu_s": round(cold.cpu, 2),
    }


def main() -> None:
    """Measure all."""
    turns = rates()
    figures = {
        "samples_per_s": round(median([turn.bank for turn in turns])),
        "samples_per_s_least": round(min(turn.bank for turn in turns)),
        "irregular_samples_per_s": round(median([turn.irregular for turn in turns])),
        "half_space_trees_per_s": round(median([turn.trees for turn in turns])),
        "times_half_space_trees": round(median([turn.bank / turn.trees for turn in turns]), 1),
        "series": SERIES,
        "bytes_per_series": Bank().bytes_per_series,
        "million_peak_mb": round(float(child(_MILLION).said)),
    }
    report("learners", figures | starts())


if __name__ == "__main__":
    main()
