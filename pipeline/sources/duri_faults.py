"""What goes wrong in the generated DuRi system: four faults, each as its cause, with its time and its ground truth.

A fault only turns the knobs in `Causes`; what follows from them (waiting, misses, latency, errors) is worked out
by `duri_state`, the same way for healthy hours and bad ones. docs/demo-data.md explains each number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


DAY_S = 86_400.0
HOUR_S = 3_600.0
MINUTE_S = 60.0
STABLE_VERSION = "1.4.2"


@dataclass(slots=True)
class Causes:
    """The knobs of one service, each float64[n] over the scrapes; 1 and 0 where nothing is wrong."""

    hold: npt.NDArray[np.float64]
    """Factor on how long a request keeps its database connection."""
    keys: npt.NDArray[np.float64]
    """Factor on the bytes that the cache is asked to hold."""
    leak: npt.NDArray[np.float64]
    """Bytes of container memory that nobody gives back."""
    slow: npt.NDArray[np.float64]
    """Factor on the service's own time per request."""
    errors: npt.NDArray[np.float64]
    """Share of requests that fail, added."""
    restarts: list[int] = field(default_factory=list)
    """Scrapes at which a new process answers for the first time."""
    versions: list[tuple[int, str]] = field(default_factory=lambda: [(0, STABLE_VERSION)])
    """From which scrape on which version runs, in order."""

    @classmethod
    def none(cls, n: int) -> Causes:
        """Nothing wrong for n scrapes."""
        return cls(hold=np.ones(n), keys=np.ones(n), leak=np.zeros(n), slow=np.ones(n), errors=np.zeros(n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(ABC):
    """One fault: `start_s` is seconds after the system's first scrape, `duration_s` until it is mended."""

    kind: ClassVar[str]
    """Short name, for tables."""
    title: ClassVar[str]
    """What happens, for people."""
    expected: ClassVar[frozenset[str]]
    """Kinds of recommendation that are right."""

    service: str
    start_s: float
    duration_s: float

    @property
    def end_s(self) -> float:
        """Seconds after the first scrape at which it is mended."""
        return self.start_s + self.duration_s

    @abstractmethod
    def strain(self, clock: npt.NDArray[np.float64], causes: Causes) -> None:
        """Turn the service's knobs; `clock` is seconds since the first scrape, float64[n]."""

    def changes(self) -> list[tuple[float, str, str]]:
        """What an operator did: (seconds after the first scrape, version, version before)."""
        return []


def ramp(clock: npt.NDArray[np.float64], start: float, rise: float, end: float, fall: float) -> npt.NDArray[np.float64]:
    """0 before `start`, rising for `rise` seconds to 1, 1 until `end`, back to 0 within `fall` seconds."""
    up = np.clip((clock - start) / rise, 0.0, 1.0)
    down = np.clip(1.0 - (clock - end) / fall, 0.0, 1.0)
    return np.minimum(up, down)


def scrape_at(clock: npt.NDArray[np.float64], moment: float) -> int:
    """Number of the first scrape at or after the moment."""
    return int(np.searchsorted(clock, moment))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExhausted(Fault):
    """Requests keep their connection longer and longer, until all of the pool is in use and requests queue for it."""

    kind: ClassVar[str] = "pool_exhausted"
    title: ClassVar[str] = "connection pool exhausted"
    expected: ClassVar[frozenset[str]] = frozenset({"app.pool_size", "app.max_overflow"})

    duration_s: float = 90 * MINUTE_S
    rise_s: float = 50 * MINUTE_S
    hold_factor: float = 9.2

    def strain(self, clock: npt.NDArray[np.float64], causes: Causes) -> None:
        """Raise the holding time in a straight line; it is mended within two minutes."""
        shape = ramp(clock, self.start_s, self.rise_s, self.end_s, 2 * MINUTE_S)
        causes.hold *= 1.0 + (self.hold_factor - 1.0) * shape


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvicting(Fault):
    """A job fills Redis with keys of its own, until it is full and throws out what the service needs."""

    kind: ClassVar[str] = "cache_evicting"
    title: ClassVar[str] = "Redis full and evicting"
    expected: ClassVar[frozenset[str]] = frozenset({"redis.maxmemory"})

    duration_s: float = 180 * MINUTE_S
    rise_s: float = 110 * MINUTE_S
    keys_factor: float = 3.4

    def strain(self, clock: npt.NDArray[np.float64], causes: Causes) -> None:
        """Raise the demand for cache memory in a straight line; afterwards the keys expire within ten minutes."""
        shape = ramp(clock, self.start_s, self.rise_s, self.end_s, 10 * MINUTE_S)
        causes.keys *= 1.0 + (self.keys_factor - 1.0) * shape


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLeak(Fault):
    """Container memory grows steadily until the kernel kills the process; the restarted one does not leak."""

    kind: ClassVar[str] = "memory_leak"
    title: ClassVar[str] = "memory leak until OOM restart"
    expected: ClassVar[frozenset[str]] = frozenset({"container.memory_limit", "application.restart"})

    duration_s: float = 112 * MINUTE_S
    bytes_per_s: float = 40e6 / (10 * MINUTE_S)

    def strain(self, clock: npt.NDArray[np.float64], causes: Causes) -> None:
        """Add the leaked bytes up to the restart."""
        leaking = (clock >= self.start_s) & (clock < self.end_s)
        causes.leak += np.where(leaking, (clock - self.start_s) * self.bytes_per_s, 0.0)
        causes.restarts.append(scrape_at(clock, self.end_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class BadDeploy(Fault):
    """A new version, rolled out over some minutes, is slower and fails more often; it is rolled back at the end."""

    kind: ClassVar[str] = "bad_deploy"
    title: ClassVar[str] = "bad deploy"
    expected: ClassVar[frozenset[str]] = frozenset({"deployment.rollback"})

    duration_s: float = 75 * MINUTE_S
    rollout_s: float = 10 * MINUTE_S
    slow_factor: float = 3.1
    error_ratio: float = 0.03
    version: str = "1.5.0"

    def strain(self, clock: npt.NDArray[np.float64], causes: Causes) -> None:
        """Slow down and fail as the roll-out takes over traffic; a deploy and a roll-back both restart."""
        shape = ramp(clock, self.start_s, self.rollout_s, self.end_s, MINUTE_S)
        causes.slow *= 1.0 + (self.slow_factor - 1.0) * shape
        causes.errors += self.error_ratio * shape
        for moment, version, _ in self.changes():
            scrape = scrape_at(clock, moment)
            causes.restarts.append(scrape)
            causes.versions.append((scrape, version))

    def changes(self) -> list[tuple[float, str, str]]:
        """The deploy and the roll-back."""
        return [(self.start_s, self.version, STABLE_VERSION), (self.end_s, STABLE_VERSION, self.version)]


def default_faults(days: int) -> tuple[Fault, ...]:
    """The four faults on the last of `days` days, one after the other, each on a service of its own."""
    last = (days - 1) * DAY_S
    return (
        CacheEvicting(service="duri_brain", start_s=last + 5 * HOUR_S),
        BadDeploy(service="duri_control", start_s=last + 9.5 * HOUR_S),
        PoolExhausted(service="duri_core", start_s=last + 13 * HOUR_S),
        MemoryLeak(service="duri_evolution", start_s=last + 16 * HOUR_S),
    )
