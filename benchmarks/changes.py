"""Generated stories of one service: a fault, advice that somebody applies, and what truly came of it.

Nothing here was measured; docs/advisor.md says how each value is made. Noise is autocorrelated, because that of real
services is: 5 s p95s of one route wander by more than 20 % in 18 to 43 % of healthy windows (LAB-NOTES).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pipeline import records
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START: Final = records.from_ms(1_767_571_200_000)
SERVICE: Final = "duri_core"
_encoder = msgspec.json.Encoder()
_GIB: Final = 1024.0**3

HEALTHY: Final[Mapping[str, float]] = {
    "http.latency.mean": 0.03,
    "http.latency.p50": 0.02,
    "http.latency.p95": 0.09,
    "http.latency.p99": 0.2,
    "http.rps": 130.0,
    "http.error_ratio": 0.001,
    "container.cpu.utilisation": 0.35,
    "container.cpu.throttled_ratio": 0.002,
    "node.cpu.utilisation": 0.4,
    "node.memory.utilisation": 0.5,
    "app.pool.utilisation": 0.3,
    "app.pool.acquire.p95": 0.0004,
    "app.event_loop.lag": 0.01,
    "pg.connections.utilisation": 0.3,
    "pg.connections": 60.0,
    "pg.seq_tup_read.rate": 200.0,
    "pg.temp_bytes.rate": 1000.0,
    "pg.locks.waiting": 0.05,
    "pg.transaction.age": 0.2,
    "pg.dead_tuples": 900.0,
    "redis.hit_ratio": 0.95,
    "redis.memory.utilisation": 0.6,
    "redis.memory.bytes": 0.3 * _GIB,
    "redis.evictions.rate": 0.05,
    "redis.oom_errors.rate": 0.0,
    "redis.aof_delayed.rate": 0.0,
}
_SLOW: Final = {"http.latency.mean": 5.0, "http.latency.p50": 4.0, "http.latency.p95": 6.0, "http.latency.p99": 5.0}
"""Factors on what is healthy."""
P95: Final = "http.latency.p95"


@dataclass(frozen=True)
class Kind:
    """A fault that one rule of the catalogue finds: signals that it sets, settings, and which of them are anomalies."""

    rule: str
    signals: Mapping[str, float]
    rising: tuple[str, ...] = (P95,)
    settings: Mapping[str, float] = field(default_factory=dict)
    slow: bool = True
    warms_s: float = 0.0
    """Time constant of the recovery."""


KINDS: Final = (
    Kind("app-pool-size", {"app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, settings={"app.pool_size": 5.0}),
    Kind("pg-missing-index", {"pg.seq_tup_read.rate": 5e6}, (P95, "pg.seq_tup_read.rate")),
    Kind("pg-work-mem", {"pg.temp_bytes.rate": 6e6}, (P95, "pg.temp_bytes.rate")),
    Kind("pg-vacuum", {"pg.dead_tuples": 1.3e6}),
    Kind("pg-idle-in-transaction", {"pg.locks.waiting": 20.0, "pg.transaction.age": 90.0}, (P95, "pg.locks.waiting")),
    Kind(
        "redis-maxmemory",
        {"redis.evictions.rate": 200.0, "redis.hit_ratio": 0.3, "redis.memory.utilisation": 1.0},
        (P95, "redis.evictions.rate"),
        warms_s=40.0,
    ),
    Kind(
        "redis-maxmemory-policy",
        {"redis.oom_errors.rate": 100.0, "redis.memory.utilisation": 1.0, "http.error_ratio": 0.17},
        ("http.error_ratio",),
        {"redis.policy_noeviction": 1.0},
        slow=False,
    ),
    Kind("redis-appendfsync", {"redis.aof_delayed.rate": 2.0}, settings={"redis.appendfsync_always": 1.0}),
    Kind(
        "container-cpu-limit",
        {"container.cpu.throttled_ratio": 0.8},
        (P95, "container.cpu.throttled_ratio"),
        {"container.cpu_limit": 0.5},
    ),
    Kind("app-blocking-handler", {"app.event_loop.lag": 0.2}, (P95, "app.event_loop.lag")),
)
TRUTHS: Final = ("mended", "not mended", "made worse")
DEPLOYS: Final = ("fine", "worse")
_LEAST_RATIO: Final = 1.6


class Story:
    """One log: healthy, faulty, changed. `truth` is drawn with equal chances: a third is wrong each way."""

    def __init__(self, seed: int, *, deploy: bool = False) -> None:
        rng = self._rng = np.random.default_rng(seed)
        self.frame_s = float(rng.choice([10.0, 60.0]))
        self.kind = KINDS[int(rng.integers(len(KINDS)))]
        self.truth = str(rng.choice(DEPLOYS if deploy else TRUTHS))
        self.deploy = deploy
        self.healthy = round(float(rng.uniform(2400.0, 3600.0)) / self.frame_s)
        self.faulty = 0 if deploy else round(float(rng.uniform(360.0, 900.0)) / self.frame_s)
        self.restarts = rng.random() < 0.3
        self.disturbed = rng.random() < 0.25
        self._gaps = 0.1 if rng.random() < 0.25 else 0.0
        self._load = float(rng.uniform(0.85, 1.2))
        self._drift = float(rng.uniform(0.9, 1.1))
        self._strength = float(rng.uniform(0.6, 2.0))
        self._harm = str(rng.choice(["slower", "errors", "slower and errors"]))
        self._slower = float(rng.uniform(_LEAST_RATIO, 3.0))
        self._errors = float(rng.uniform(0.03, 0.3))
        self._side_effect = rng.random() < 0.3
        grows = np.random.default_rng((seed, 1))
        self._pace = float(grows.uniform(0.0005, 0.004)) if grows.random() < 0.25 and not deploy else 0.0
        self._noise = np.zeros(len(HEALTHY))
        self._phase = float(rng.uniform(0.0, 86_400.0))
        self.number = 0

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.number * self.frame_s

    def before(self) -> Iterator[list[LogRecord]]:
        """Intervals up to the change."""
        for step in range(self.healthy + self.faulty):
            yield self._interval(fault=1.0 if step >= self.healthy else 0.0, harm=False)

    def after(self, seconds: float) -> Iterator[list[LogRecord]]:
        """Intervals after the change."""
        begun = self.now
        window = (begun + 240.0, begun + 360.0) if self.disturbed else None
        if window:
            yield [self._maintenance(*window)]
        while self.now < begun + seconds:
            since = self.now - begun
            fault = 0.0 if self.deploy else self._drift
            if self.truth == "mended" or (self.truth == "made worse" and self._side_effect):
                fault = float(np.exp(-since / self.kind.warms_s)) if self.kind.warms_s else 0.0
            wild = window is not None and window[0] <= self.now < window[1]
            blip = self.restarts and since < self.frame_s
            yield self._interval(fault, harm=self.truth in ("made worse", "worse"), wild=wild or blip, loaded=True)

    def record(self, record: records.Record) -> LogRecord:
        """A record on `duri.frames`."""
        headers = [("ce_type", record.event_type().encode())]
        return LogRecord("duri.frames", 0, 0, 0, b"default", record.model_dump_json().encode(), headers)

    def at(self, seconds: float) -> Any:
        """A moment."""
        return START + timedelta(seconds=seconds)

    def _maintenance(self, start: float, end: float) -> LogRecord:
        window = records.MaintenanceWindow(
            id="window", at=self.at(start), start=self.at(start), end=self.at(end), services=[SERVICE]
        )
        return self.record(window)

    def _interval(self, fault: float, *, harm: bool, wild: bool = False, loaded: bool = False) -> list[LogRecord]:
        values = self._values(fault, harm=harm, wild=wild, loaded=loaded)
        start, end = self.at(self.now), self.at(self.now + self.frame_s)
        self.number += 1
        mark = self.record(records.Watermark(source_partition=0, until=end))
        if self._rng.random() < self._gaps:
            return [mark]
        frame = self.frame(SERVICE, values, self._rising(values, fault), (start, end))
        return [frame, mark]

    def frame(
        self, service: str, values: Mapping[str, float], rising: list[str], interval: tuple[Any, Any]
    ) -> LogRecord:
        """A service's frame of the interval from a moment to another, with these anomalies open."""
        start, end = interval
        frame = {
            "service": service,
            "start": start,
            "end": end,
            "signals": {name: {"value": float(value), "expected": HEALTHY[name]} for name, value in values.items()},
            "settings": {"app.pool_size": 20.0, "app.max_overflow": 0.0, "container.cpu_limit": 2.0}
            | {"redis.timeout": 300.0, "pg.max_connections": 200.0}
            | dict(self.kind.settings),
            "anomalies": [_anomaly(service, name, values, start) for name in rising],
            "source": {"topic": "duri.samples", "partition": 0, "offset": self.number},
        }
        headers = [("ce_type", records.Frame.event_type().encode())]
        return LogRecord("duri.frames", 0, 0, 0, b"default", _encoder.encode(frame), headers)

    def _rising(self, values: Mapping[str, float], fault: float) -> list[str]:
        """What detection would flag: what the fault moves, while it is far from healthy."""
        if self.deploy or fault < 0.1:
            return []
        return [name for name in self.kind.rising if values[name] > 2.0 * HEALTHY[name]]

    def _values(self, fault: float, *, harm: bool, wild: bool, loaded: bool) -> dict[str, float]:
        rng = self._rng
        keep = np.exp(-self.frame_s / 60.0)
        self._noise = keep * self._noise + np.sqrt(1 - keep**2) * rng.normal(0.0, 0.1, len(HEALTHY))
        swing = 0.15 * float(np.sin(2 * np.pi * (self.now + self._phase) / 86_400.0))
        values = self._disturb(self._fault(fault), harm=harm, wild=wild)
        values["http.rps"] *= (1.0 + swing) * (self._load if loaded else 1.0)
        for place, name in enumerate(values):
            slow = name in _SLOW
            extra = rng.normal(0.0, 0.08) + 0.3 * swing if slow else 0.0
            values[name] *= float(np.exp((1.5 if slow else 0.6) * self._noise[place] + extra))
        requests = max(1, round(values["http.rps"] * self.frame_s))
        values["http.error_ratio"] = float(rng.binomial(requests, min(1.0, values["http.error_ratio"])) / requests)
        for name in ("app.pool.utilisation", "redis.hit_ratio", "container.cpu.throttled_ratio"):
            values[name] = min(values[name], 1.0)
        if fault >= 0.9 and "app.pool.utilisation" in self.kind.signals and not self.deploy:
            values["app.pool.utilisation"] = 1.0
        return values

    def _fault(self, fault: float) -> dict[str, float]:
        """What the fault makes of the healthy state."""
        values = dict(HEALTHY)
        if self.deploy:
            return values
        grown = 1.0 + self._pace * max(0.0, self.now - self.healthy * self.frame_s)
        for name, factor in _SLOW.items() if self.kind.slow else ():
            values[name] *= 1.0 + (factor - 1.0) * self._strength * fault * grown
        for name, faulty in self.kind.signals.items():
            values[name] = values[name] + (faulty - values[name]) * min(fault, 1.0)
        return values

    def _disturb(self, values: dict[str, float], *, harm: bool, wild: bool) -> dict[str, float]:
        """What a harmful change, and what somebody else's doing, adds to it."""
        factor = 4.0 if wild else 1.0
        if harm and "slower" in self._harm:
            factor *= self._slower
        side = harm and "slower" in self._harm and self._side_effect and not self.deploy
        for name, fault in _SLOW.items():
            values[name] *= factor * (fault if side else 1.0)
        errors = (self._errors if harm and "errors" in self._harm else 0.0) + (0.3 if wild else 0.0)
        values["http.error_ratio"] = min(1.0, values["http.error_ratio"] + errors)
        return values


def _anomaly(service: str, name: str, values: Mapping[str, float], start: Any) -> dict[str, Any]:
    return {
        "id": records.content_id(service, name),
        "signal": name,
        "severity": "warning",
        "direction": "up",
        "score": 0.9,
        "detectors": ["learned"],
        "opened_at": start,
        "observed": float(values[name]),
        "expected": HEALTHY[name],
    }
