"""The learner bank alone: speed beside River's HalfSpaceTrees, bytes a series, a million series, start-up.

`samples_per_s` and its ratio are of one run on one core: 100,000 series, a sample each a call, beside HalfSpaceTrees on
the same values in a plain loop, both in CPU seconds. `million_peak_mb` is the most memory of a process that holds a
million series in 32 partitions, as a worker does, fills them, and snapshots and restores each partition in turn.
`start_s` is a new process until its first verdict, with the compiled kernels in the cache; `first_start_s` without;
`start_cpu_s` its CPU seconds, which other work on the machine does not change.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from river import anomaly

from benchmarks.harness import median, report
from models.online.bank import Bank

if TYPE_CHECKING:
    from models.contracts import Float64s

SERIES = 100_000
CALLS = 120
TREE_SAMPLES = 20_000
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


def values() -> Float64s:
    """A day's wave and noise, float64[CALLS, SERIES], a minute a call."""
    rng = np.random.default_rng(0)
    wave = np.sin(2.0 * np.pi * np.arange(CALLS) / 1440.0)[:, None] * rng.uniform(0.0, 10.0, SERIES)
    return rng.uniform(10.0, 1000.0, SERIES) + wave + rng.standard_normal((CALLS, SERIES))


def bank_rate(every: Float64s) -> tuple[float, float]:
    """Samples a CPU second of the bank, median and least over the second half of the calls."""
    bank, slots = Bank(), np.arange(SERIES, dtype=np.int32)
    bank.grow(SERIES)
    at = [time.process_time()]
    for call, row in enumerate(every):
        bank.score_learn(slots, np.full(SERIES, START + call * 60_000), row)
        at.append(time.process_time())
    rates = [SERIES / (end - begin) for begin, end in pairwise(at[CALLS // 2 :])]
    return median(rates), min(rates)


def tree_rate(samples: list[float]) -> float:
    """Samples a CPU second of HalfSpaceTrees, one series."""
    model = anomaly.HalfSpaceTrees(seed=42)
    low, high = min(samples), max(samples)
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
    every = values()
    rate, least = bank_rate(every)
    trees = tree_rate(every[:, 0].tolist() * (TREE_SAMPLES // CALLS))
    again, _ = bank_rate(every)  # before and after, since a shared machine changes its mind
    figures = {
        "samples_per_s": round(max(rate, again)),
        "samples_per_s_least": round(least),
        "half_space_trees_per_s": round(trees),
        "times_half_space_trees": round(max(rate, again) / trees, 1),
        "series": SERIES,
        "bytes_per_series": Bank().bytes_per_series,
        "million_peak_mb": round(float(child(_MILLION).said)),
    }
    report("learners", figures | starts())


if __name__ == "__main__":
    main()
