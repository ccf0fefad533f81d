"""Frames by the minute, as detect writes them, and the advise stage run over them."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline import records
from pipeline.advise.rules.catalogue import load_advice
from pipeline.advise.stage import AdviseStage
from pipeline.configfile import shipped_config
from pipeline.settings import AdviseSettings
from pipeline.stage import LogRecord, Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.advise.incidents.topology import Topology

START = datetime(2026, 3, 2, tzinfo=UTC)
GIB = 1024.0**3

HEALTHY: dict[str, float] = {
    "http.latency.mean": 0.07,
    "http.latency.p50": 0.05,
    "http.latency.p95": 0.15,
    "http.latency.p99": 0.3,
    "http.rps": 120.0,
    "http.error_ratio": 0.001,
    "http.availability": 0.999,
    "container.cpu.utilisation": 0.4,
    "container.cpu.throttled_ratio": 0.0,
    "container.cpu.imbalance": 1.1,
    "container.memory.utilisation": 0.5,
    "container.memory.bytes": 0.5 * GIB,
    "container.network.receive": 1e6,
    "container.network.transmit": 2e6,
    "node.cpu.utilisation": 0.4,
    "node.memory.utilisation": 0.5,
    "node.filesystem.utilisation": 0.4,
    "app.pool.utilisation": 0.3,
    "app.pool.acquire.p95": 0.0005,
    "app.pool.timeouts": 0.0,
    "app.event_loop.lag": 0.01,
    "app.cache.hit_ratio": 0.9,
    "pg.connections.utilisation": 0.3,
    "pg.connections": 60.0,
    "pg.tup_returned.rate": 5000.0,
    "pg.tup_fetched.rate": 4000.0,
    "pg.seq_tup_read.rate": 100.0,
    "pg.temp_bytes.rate": 0.0,
    "pg.cache_hit_ratio": 0.995,
    "pg.deadlocks.rate": 0.0,
    "pg.locks.waiting": 0.0,
    "pg.transaction.age": 0.1,
    "pg.idle_in_transaction.age": 0.0,
    "pg.dead_tuples": 500.0,
    "redis.hit_ratio": 0.95,
    "redis.memory.utilisation": 0.6,
    "redis.memory.bytes": 0.3 * GIB,
    "redis.evictions.rate": 0.0,
    "redis.connected_clients": 40.0,
    "redis.clients.utilisation": 0.004,
    "redis.oom_errors.rate": 0.0,
    "redis.rejected.rate": 0.0,
    "redis.aof_delayed.rate": 0.0,
}
SETTINGS: dict[str, float] = {
    "app.pool_size": 10.0,
    "app.max_overflow": 10.0,
    "app.cache_enabled": 1.0,
    "pg.max_connections": 200.0,
    "pg.shared_buffers": 256.0 * 1024**2,
    "pg.work_mem": 4.0 * 1024**2,
    "redis.maxmemory": 512.0 * 1024**2,
    "redis.policy_noeviction": 0.0,
    "redis.maxclients": 10000.0,
    "redis.timeout": 300.0,
    "redis.tcp_keepalive": 60.0,
    "redis.appendfsync_always": 0.0,
    "container.cpu_limit": 2.0,
    "container.memory_limit": GIB,
    "container.replicas": 1.0,
}


def at(minute: float) -> datetime:
    """Minutes since the start of the story."""
    return START + timedelta(minutes=minute)


@dataclass
class Story:
    """A log of `duri.frames` under construction; each service is healthy but for what is said of it."""

    services: Sequence[str] = ("duri_core",)
    frame_s: float = 60.0
    minute: int = 0
    records: list[LogRecord] = field(default_factory=list)
    opened: dict[str, datetime] = field(default_factory=dict)
    serious: dict[str, datetime] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    arrival: int | None = None
    """When everything was published, ms, where it is told."""

    def healthy(self, minutes: int) -> Story:
        """So many intervals in which nothing is wrong."""
        return self.troubled(minutes)

    def troubled(self, minutes: int, faults: Mapping[str, Fault] | None = None) -> Story:
        """So many intervals with these faults, by service."""
        for _ in range(minutes):
            for service in self.services:
                self._frame(service, (faults or {}).get(service, Fault()))
            self.minute += 1
            for source in sorted({self.sources.get(service, 0) for service in self.services}):
                self.watermark(source)
        return self

    def watermark(self, source: int) -> None:
        """The source has emitted everything up to now."""
        arrival = None if self.arrival is None else records.from_ms(self.arrival)
        self.put(records.Watermark(source_partition=source, until=self._at(self.minute), arrival=arrival))

    def deploy(self, service: str = "duri_core", minutes_ago: float = 2.0, **fields: Any) -> Story:
        """A change some minutes before now."""
        event = {"id": "deploy-7", "version": "1.7", "previous_version": "1.6", **fields}
        moment = at(self.minute * self.frame_s / 60.0 - minutes_ago)
        self.put(records.ChangeEvent(at=moment, service=service, **event))
        return self

    def maintenance(self, minutes: float, services: Iterable[str] = (), reason: str = "") -> Story:
        """A window from now on."""
        start, end = self._at(self.minute), at(self.minute * self.frame_s / 60.0 + minutes)
        names = list(services)
        self.put(records.MaintenanceWindow(id="window", at=start, start=start, end=end, services=names, reason=reason))
        return self

    def feedback(self, recommendation: str, verdict: str, identity: str = "f1") -> Story:
        """Somebody answers now."""
        self.put(
            records.Feedback(
                id=identity, at=self._at(self.minute), recommendation=recommendation, verdict=verdict, by="ann"
            )
        )
        return self

    def put(self, record: records.Record) -> None:
        """Append any record."""
        moment = records.to_ms(self._at(self.minute))
        headers = records.cloudevent_headers(record.event_type(), "/test", "x", moment)
        self.raw(record.model_dump_json().encode(), headers)

    def raw(self, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
        """Append bytes as they are."""
        offset = len(self.records)
        self.records.append(LogRecord("duri.frames", 0, offset, 0, b"default", value, headers))

    def take(self) -> list[LogRecord]:
        """The records since the last call."""
        taken, self.records = self.records, []
        return taken

    def _at(self, minute: float) -> datetime:
        return START + timedelta(seconds=minute * self.frame_s)

    def _frame(self, service: str, fault: Fault) -> None:
        signals = {**HEALTHY, **fault.values(self.minute)}
        source = self.sources.get(service, 0)
        self.put(
            records.Frame(
                service=service,
                start=self._at(self.minute),
                end=self._at(self.minute + 1),
                signals={
                    name: records.SignalFrame(value=value, expected=HEALTHY.get(name))
                    for name, value in signals.items()
                    if name not in fault.without
                },
                settings={
                    name: value for name, value in {**SETTINGS, **fault.settings}.items() if name not in fault.without
                },
                anomalies=[self._anomaly(service, name, fault, signals) for name in fault.anomalies()],
                source=records.Provenance(topic="duri.samples", partition=source, offset=self.minute),
            )
        )

    def _anomaly(self, service: str, name: str, fault: Fault, signals: Mapping[str, float]) -> records.OpenAnomaly:
        identity = records.content_id(service, name)
        severity = records.Severity.INFO if name in fault.aside else fault.severity
        if identity not in self.opened or severity is records.Severity.INFO:
            self.serious.pop(identity, None)
        opened = self.opened.setdefault(identity, self._at(self.minute + 0.5))
        if severity is not records.Severity.INFO:
            self.serious.setdefault(identity, self._at(self.minute + 0.5))
        return records.OpenAnomaly(
            id=identity,
            signal=name,
            severity=severity,
            direction=records.Direction.DOWN if name in fault.falling else records.Direction.UP,
            score=0.9,
            detectors=[fault.detector],
            opened_at=opened,
            serious_since=self.serious.get(identity),
            observed=signals.get(name),
            expected=HEALTHY.get(name),
        )


@dataclass(frozen=True)
class Fault:
    """What differs from the healthy state: values (or functions of the minute), settings, open anomalies."""

    signals: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)
    rising: Sequence[str] = ()
    falling: Sequence[str] = ()
    without: Sequence[str] = ()
    aside: Sequence[str] = ()
    """Signals whose anomaly is only worth knowing, in the direction in which they rise."""
    severity: records.Severity = records.Severity.WARNING
    detector: records.Detector = records.Detector.LEARNED

    def values(self, minute: int) -> dict[str, float]:
        """Values in this minute."""
        return {name: value(minute) if callable(value) else value for name, value in self.signals.items()}

    def anomalies(self) -> list[str]:
        """Signals with an open anomaly."""
        return [*self.rising, *self.falling, *self.aside]


SLOW = {"http.latency.mean": 0.4, "http.latency.p50": 0.3, "http.latency.p95": 0.9, "http.latency.p99": 1.5}
"""Signals of a service whose requests take longer."""


@functools.cache
def shipped() -> Any:
    """The shipped catalogue and topology, read once."""
    return load_advice(shipped_config())


def make_stage(
    settings: AdviseSettings | None = None,
    *,
    frame_s: float = 60.0,
    sources: int | None = None,
    topology: Topology | None = None,
) -> AdviseStage:
    """A stage with the shipped configuration, and the shipped topology where no other is given."""
    catalogue, shipped_topology = shipped()
    return AdviseStage(
        settings or AdviseSettings(),
        catalogue,
        topology or shipped_topology,
        frame_s=frame_s,
        input_topic="duri.frames",
        partition=0,
        sources=sources,
    )


def of(outputs: Iterable[Output], topic: Topic) -> list[dict[str, Any]]:
    """The records of one topic."""
    return [json.loads(output.value) for output in outputs if output.topic is topic]


def advice(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    """The recommendations, each validated by its model."""
    found = of(outputs, Topic.RECOMMENDATIONS)
    for record in found:
        records.Recommendation.model_validate(record)
    return found


def outcomes(story: Story, stage: AdviseStage) -> list[dict[str, Any]]:
    """What came of it, each validated by its model."""
    found = of(stage.step(story.take()), Topic.OUTCOMES)
    for record in found:
        records.Outcome.model_validate(record)
    return found


def rules(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Rule by recommendation, first choice first; each once."""
    latest = {record["id"]: record for record in found}
    return [r["provenance"]["rule"] for r in sorted(latest.values(), key=lambda r: r["rank"])]


def advise_on(fault: Fault, *, healthy: int = 40, minutes: int = 5, service: str = "duri_core") -> list[dict[str, Any]]:
    """Recommendations for one service that is healthy, then has this fault."""
    story = Story((service,)).healthy(healthy).troubled(minutes, {service: fault})
    return advice(make_stage().step(story.take()))
