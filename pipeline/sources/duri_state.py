"""What happens inside one service of the generated system: from traffic and causes to waiting, misses and latency.

Everything is an array over the scrapes. Noise is autocorrelated (an AR(1) process), because that of real services
is, and because independent noise would flatter a detector. docs/demo-data.md explains each formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.sources.duri_faults import DAY_S, HOUR_S, MINUTE_S

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.sources.duri_faults import Causes

POOL_SIZE, POOL_OVERFLOW = 20, 30
POOL_LIMIT = POOL_SIZE + POOL_OVERFLOW
CPU_LIMIT = 2.0
MEMORY_LIMIT = float(1 << 30)
CACHE_LIMIT = float(512 << 20)
HEALTHY_HIT_RATIO = 0.95
HEALTHY_ERROR_RATIO = 0.0005
LATENCY_SHAPE = 4.0
"""Shape of the log-logistic latency: p95 = 2.09 medians, p99 = 3.15 medians, mean = 1.11 medians."""

_PEAK_S = 14 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A healthy service."""

    name: str
    instance: str
    rps: float
    """Requests per second, mean over the day."""
    swing: float
    """Requests per second by which the afternoon lies above that, and the night below."""
    median_s: float
    """Median service time at mean traffic."""
    cpu: float
    """CPU at mean traffic, share of the limit."""
    memory: float
    """Container memory, share of the limit."""


PROFILES: tuple[Profile, ...] = (
    Profile(
        name="duri_core",
        instance="duri-core-1:8080",
        rps=146.0,
        swing=24.0,
        median_s=0.072,
        cpu=0.44,
        memory=0.57,
    ),
    Profile(
        name="duri_control",
        instance="duri-control-1:8080",
        rps=140.0,
        swing=20.0,
        median_s=0.080,
        cpu=0.42,
        memory=0.55,
    ),
    Profile(
        name="duri_brain",
        instance="duri-brain-1:8080",
        rps=136.0,
        swing=18.0,
        median_s=0.078,
        cpu=0.45,
        memory=0.58,
    ),
    Profile(
        name="duri_evolution",
        instance="duri-evolution-1:8080",
        rps=132.0,
        swing=16.0,
        median_s=0.068,
        cpu=0.41,
        memory=0.56,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One service over n scrapes, float64[n] each; rates are per second, shares are of 1."""

    rps: npt.NDArray[np.float64]
    median_s: npt.NDArray[np.float64]
    error_ratio: npt.NDArray[np.float64]
    cpu: npt.NDArray[np.float64]
    throttled: npt.NDArray[np.float64]
    memory: npt.NDArray[np.float64]
    pool_in_use: npt.NDArray[np.float64]
    acquire_s: npt.NDArray[np.float64]
    timeouts: npt.NDArray[np.float64]
    hit_ratio: npt.NDArray[np.float64]
    cache_bytes: npt.NDArray[np.float64]
    evictions: npt.NDArray[np.float64]


def wander(rng: np.random.Generator, n: int, *, spread: float, memory: int) -> npt.NDArray[np.float64]:
    """AR(1) noise, float64[n]: standard deviation `spread`, correlation 1/e after `memory` scrapes."""
    keep = np.exp(-1.0 / memory)
    kernel = keep ** np.arange(6 * memory)
    kernel /= np.sqrt(np.sum(kernel**2))
    white = rng.standard_normal(n + len(kernel) - 1)
    return spread * np.convolve(white, kernel, mode="valid")


def smooth(values: npt.NDArray[np.float64], memory: int) -> npt.NDArray[np.float64]:
    """Exponentially weighted mean of the past, float64[n], with `memory` scrapes as its time constant."""
    kernel = np.exp(-np.arange(6 * memory) / memory)
    kernel /= kernel.sum()
    padded = np.concatenate([np.full(len(kernel) - 1, values[0]), values])
    return np.convolve(padded, kernel, mode="valid")


def traffic(profile: Profile, clock: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Requests per second: a daily sine with its peak at 14:00, times noise of 2 %."""
    daily = np.cos(2 * np.pi * (clock - _PEAK_S) / DAY_S)
    return (profile.rps + profile.swing * daily) * (1.0 + wander(rng, len(clock), spread=0.02, memory=12))


def live(
    profile: Profile,
    causes: Causes,
    clock: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> State:
    """What the causes make of the service. `clock` is seconds since the first midnight, float64[n]."""
    n, step = len(clock), float(clock[1] - clock[0])
    wanted = traffic(profile, clock, rng)
    load = wanted / profile.rps
    pool_in_use, acquire_s = _pool(wanted, causes, rng)
    hit_ratio, cache_bytes, evictions = _cache(profile, wanted, causes, rng, step)
    misses = (HEALTHY_HIT_RATIO - hit_ratio) / HEALTHY_HIT_RATIO
    own = profile.median_s * (1.0 + 0.25 * (load - 1.0)) * (1.0 + wander(rng, n, spread=0.015, memory=10))
    starved = np.clip((acquire_s - 0.3) / 0.4, 0.0, 1.0)
    rps = wanted * (1.0 - 0.08 * starved)
    cpu = profile.cpu * (0.35 + 0.65 * load) * (1.0 + wander(rng, n, spread=0.02, memory=8))
    cpu *= 1.0 + 0.12 * misses + 0.10 * (causes.slow - 1.0) / 2.0
    used = MEMORY_LIMIT * (profile.memory + 0.01 * (load - 1.0) + wander(rng, n, spread=0.004, memory=40))
    return State(
        rps=rps,
        # Waiting for a connection comes on top of a request's own time; half a millisecond of it is in `own`.
        median_s=own * causes.slow * (1.0 + 4.3 * misses) + (acquire_s - 0.0005),
        error_ratio=np.clip(HEALTHY_ERROR_RATIO + causes.errors + 0.02 * starved, 0.0, 1.0),
        cpu=np.clip(cpu, 0.0, 0.99),
        throttled=np.clip(0.004 + 0.5 * (cpu - 0.75), 0.004, 1.0),
        memory=np.clip(used + causes.leak, 0.0, 0.985 * MEMORY_LIMIT),
        pool_in_use=pool_in_use,
        acquire_s=acquire_s,
        timeouts=rps * 0.02 * starved,
        hit_ratio=hit_ratio,
        cache_bytes=cache_bytes,
        evictions=evictions,
    )


def _pool(
    wanted: npt.NDArray[np.float64],
    causes: Causes,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Connections in use (Little's law: rate times holding time) and mean wait for one, seconds."""
    hold = 0.036 * causes.hold * (1.0 + wander(rng, len(wanted), spread=0.02, memory=20))
    demand = wanted * hold
    pressure = demand / POOL_LIMIT
    # Below the limit the wait grows as in any queue; above it the queue itself grows, up to what clients endure.
    waiting = 0.0008 / (1.0 - np.minimum(pressure, 0.975)) + 6.0 * np.clip(pressure - 0.975, 0.0, 0.11)
    counted = rng.binomial(POOL_LIMIT, np.minimum(pressure, 1.0)).astype(np.float64)
    return counted, waiting


def _cache(
    profile: Profile,
    wanted: npt.NDArray[np.float64],
    causes: Causes,
    rng: np.random.Generator,
    step: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Hit ratio, bytes used and evictions per second of the cache."""
    n = len(wanted)
    share = 0.56 * (1.0 + 0.10 * (wanted / profile.rps - 1.0)) * (1.0 + wander(rng, n, spread=0.006, memory=40))
    demand = share * causes.keys
    overflow = np.maximum(demand - 1.0, 0.0)
    # What was thrown out is missed from then on, and has to be read once before it is hit again: ten minutes' memory.
    kept = smooth(HEALTHY_HIT_RATIO / (1.0 + 1.6 * overflow), max(1, round(10 * MINUTE_S / step)))
    hit_ratio = np.clip(kept * (1.0 + wander(rng, n, spread=0.002, memory=6)), 0.0, 0.995)
    full = np.clip(overflow / 0.02, 0.0, 1.0)
    evictions = full * 2.0 * wanted * (1.0 - hit_ratio)
    return hit_ratio, np.minimum(demand, 0.998) * CACHE_LIMIT, evictions
