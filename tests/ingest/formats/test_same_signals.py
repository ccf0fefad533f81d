"""From the wire to the signal: producers of different programs, in their own formats, say the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from pipeline.stage import Topic
from tests.builders import START, as_input, message
from tests.detect.drive import detect_stage, records
from tests.ingest.test_ingest_stage import dead

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS = (0.1, 0.5, 1.0)
SHARES = {"idle": 0.7, "iowait": 0.05, "user": 0.15, "system": 0.1}


def prometheus_http(at: int, ms: int) -> bytes:
    """A scrape of a service that counts 100 requests in 15 s, half of them above 100 ms, 2 % of them failed."""
    counts = (50 * at, 95 * at, 100 * at, 100 * at)
    lines = [
        f'http_request_duration_seconds_bucket{{service="prom",le="{le}"}} {count} {ms}'
        for le, count in zip((*BOUNDS, "+Inf"), counts, strict=True)
    ]
    lines += [f'http_requests_total{{service="prom",status="{s}"}} {n * at} {ms}' for s, n in ((200, 98), (500, 2))]
    return "\n".join(lines).encode()


def otlp_http(at: int, ms: int) -> bytes:
    """The same from OpenTelemetry: a histogram for each status."""
    points = [
        {
            "timeUnixNano": str(ms * 1_000_000),
            "attributes": [{"key": "http.response.status_code", "value": {"intValue": str(status)}}],
            "count": str(sum(counts) * at),
            "sum": 20.0 * at,
            "bucketCounts": [str(count * at) for count in counts],
            "explicitBounds": list(BOUNDS),
        }
        for status, counts in ((200, (50, 43, 5, 0)), (500, (0, 2, 0, 0)))
    ]
    metric = {
        "name": "http.server.request.duration",
        "unit": "s",
        "histogram": {"dataPoints": points, "aggregationTemporality": 2},
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "otel"}}]}
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}).encode()


def node_exporter(at: int, ms: int) -> bytes:
    """A scrape of a host that is idle for 70 % of its time, and has 6 of 8 GB left."""
    lines = [
        f'node_cpu_seconds_total{{job="prom",cpu="0",mode="{m}"}} {15 * share * at} {ms}' for m, share in SHARES.items()
    ]
    lines += [
        f'node_memory_Mem{what}_bytes{{job="prom"}} {size} {ms}' for what, size in (("Available", 6e9), ("Total", 8e9))
    ]
    return "\n".join(lines).encode()


def telegraf(_: int, ms: int) -> bytes:
    """The same from Telegraf, which says percentages."""
    shares = ",".join(f"usage_{mode}={100 * share}" for mode, share in SHARES.items())
    cpu = "\n".join(f"cpu,cpu={name},host=tele {shares} {ms}000000" for name in ("cpu0", "cpu-total"))
    return f"{cpu}\nmem,host=tele available=6000000000i,total=8000000000i {ms}000000".encode()


def vector_redis(_: int, ms: int) -> bytes:
    """Increments of Redis' hits and misses."""
    tags = {"service": "vector"}
    time = f"2026-01-01T00:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}Z"
    return json.dumps(
        [
            {"metric": {"name": name, "tags": tags, "kind": "incremental", "timestamp": time, "counter": {"value": n}}}
            for name, n in (("redis_keyspace_hits_total", 90.0), ("redis_keyspace_misses_total", 10.0))
        ]
    ).encode()


def redis_exporter(at: int, ms: int) -> bytes:
    """The same as totals."""
    return "".join(
        f'redis_keyspace_{what}_total{{service="prom"}} {n * at} {ms}\n' for what, n in (("hits", 90), ("misses", 10))
    ).encode()


PAIRS: list[tuple[Callable[[int, int], bytes], Callable[[int, int], bytes], str, tuple[str, ...]]] = [
    (prometheus_http, otlp_http, "otel", ("http.latency.p50", "http.latency.p95", "http.rps", "http.error_ratio")),
    (node_exporter, telegraf, "tele", ("node.cpu.utilisation", "node.memory.utilisation")),
    (redis_exporter, vector_redis, "vector", ("redis.hit_ratio",)),
]


@pytest.mark.parametrize(("known", "other", "service", "signals"), PAIRS, ids=[pair[2] for pair in PAIRS])
def test_signals_do_not_depend_on_the_producer(
    known: Callable[[int, int], bytes], other: Callable[[int, int], bytes], service: str, signals: tuple[str, ...]
) -> None:
    """Both programs' messages through ingest and detect give the same signals."""
    ingest = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    log: list[Any] = []
    for at in range(16):
        ms = START + at * 15_000
        outputs = ingest.step(
            [message(2 * at + i, make(at, ms), timestamp=ms) for i, make in enumerate((known, other))]
        )
        assert not dead(outputs)
        log += as_input(outputs, "duri.samples", len(log))
    frames = records(detect_stage().step(log), Topic.FRAMES)
    found = {frame["service"]: frame["signals"] for frame in frames}
    for signal in signals:
        assert found["prom"][signal]["value"] > 0
        assert found[service][signal]["value"] == pytest.approx(found["prom"][signal]["value"]), signal
