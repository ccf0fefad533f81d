from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.configfile import shipped_config
from pipeline.errors import SettingsError
from pipeline.signals.definitions import Definitions, load_definitions
from pipeline.signals.store import SeriesStore
from pipeline.signals.table import SignalTable
from tests.builders import START, series

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.series import Series

Points = list[tuple[float, float]]


def evaluate(
    recorded: dict[Series, Points] | list[tuple[Series, Points]], definitions: Definitions | None = None
) -> list[dict[str, float]]:
    """Signals per service (in the order in which services appear) of series with (seconds, value) points."""
    entries = recorded if isinstance(recorded, list) else list(recorded.items())
    definitions = definitions or load_definitions(shipped_config())
    store = SeriesStore(1000, 300_000)
    table = SignalTable(definitions)
    services: list[str] = []
    for one, points in entries:
        slot = store.add(one.identity(), one)
        if one.service not in services:
            services.append(one.service)
        table.add(slot, one, services.index(one.service))
        ts = np.array([START + int(at * 1000) for at, _ in points], dtype=np.int64)
        store.advance(np.full(len(points), slot, dtype=np.int32), ts, np.array([v for _, v in points]), 0)
    values = table.evaluate(store.rows, len(services))
    return [
        {
            **{name: float(v) for name, v in zip(table.signals, signals, strict=True) if not math.isnan(v)},
            **{
                f"settings/{name}": float(v)
                for name, v in zip(table.settings, settings, strict=True)
                if not math.isnan(v)
            },
        }
        for signals, settings in zip(values.signals, values.settings, strict=True)
    ]


def counter(name: str, rate: float, service: str = "duri_core", **labels: str) -> tuple[Series, Points]:
    """A counter that grows at this rate, sampled at 0, 30 and 60 s."""
    return series(name, service, **labels), [(0, 5.0), (30, 5.0 + 30 * rate), (60, 5.0 + 60 * rate)]


def gauge(name: str, value: float, service: str = "duri_core", **labels: str) -> tuple[Series, Points]:
    return series(name, service, **labels), [(0, value), (30, value)]


def histogram(name: str, counts: dict[str, float], **labels: str) -> list[tuple[Series, Points]]:
    """Cumulative buckets with these rates per second by upper bound."""
    return [counter(f"{name}_bucket", rate, le=bound, **labels) for bound, rate in counts.items()]


def test_rates_and_ratios() -> None:
    """Requests add up over methods, instances and statuses; the error ratio counts 5xx of all."""
    [signals] = evaluate(
        [
            counter("http_requests_total", 90.0, method="GET", status="200", instance="a"),
            counter("http_requests_total", 9.0, method="GET", status="404", instance="b"),
            counter("http_requests_total", 1.0, method="POST", status="503", instance="b"),
        ]
    )
    assert signals["http.rps"] == pytest.approx(100.0)
    assert signals["http.error_ratio"] == pytest.approx(0.01)
    assert signals["http.availability"] == pytest.approx(0.99)


def test_no_errors_is_an_error_ratio_of_zero() -> None:
    """A service that never had an error has no 5xx series, and an error ratio of 0."""
    [signals] = evaluate([counter("http_requests_total", 10.0, status="200")])
    assert signals["http.error_ratio"] == 0.0
    assert signals["http.availability"] == 1.0


def test_no_requests_is_no_ratio() -> None:
    """0 of 0 is no number."""
    [signals] = evaluate([counter("http_requests_total", 0.0, status="200")])
    assert signals["http.rps"] == 0.0
    assert "http.error_ratio" not in signals


def test_quantile_within_a_bucket() -> None:
    """Quantiles are linear within a bucket, as Prometheus' histogram_quantile."""
    [signals] = evaluate(
        histogram("http_request_duration_seconds", {"0.1": 50.0, "0.25": 90.0, "0.5": 100.0, "+Inf": 100.0})
    )
    assert signals["http.latency.p50"] == pytest.approx(0.1)
    assert signals["http.latency.p95"] == pytest.approx(0.25 + 0.25 * 0.5)


def test_quantile_above_the_highest_bound() -> None:
    """What is slower than the highest bound reads as the highest bound."""
    [signals] = evaluate(histogram("http_request_duration_seconds", {"0.1": 1.0, "10": 10.0, "+Inf": 100.0}))
    assert signals["http.latency.p95"] == 10.0


def test_quantile_merges_instances() -> None:
    """Buckets of one bound are added over the service's instances before the quantile is taken."""
    slow = histogram("http_request_duration_seconds", {"0.1": 0.0, "1": 100.0, "+Inf": 100.0}, instance="slow")
    fast = histogram("http_request_duration_seconds", {"0.1": 100.0, "1": 100.0, "+Inf": 100.0}, instance="fast")
    [signals] = evaluate([*slow, *fast])
    assert signals["http.latency.p50"] == pytest.approx(0.1)
    assert signals["http.latency.p95"] == pytest.approx(0.1 + 0.9 * 0.9)


@pytest.mark.parametrize("counts", [{"0.1": 0.0, "+Inf": 0.0}, {"0.1": 5.0}, {"+Inf": 5.0}])
def test_no_quantile_without_observations(counts: dict[str, float]) -> None:
    """No observations, no +Inf bucket, or nothing but it: no quantile."""
    [signals] = evaluate(histogram("http_request_duration_seconds", counts))
    assert "http.latency.p95" not in signals


def test_utilisation_against_a_published_limit() -> None:
    """CPU against the quota, memory against the limit, connections against max_connections."""
    [signals] = evaluate(
        [
            counter("container_cpu_usage_seconds_total", 0.6),
            gauge("container_spec_cpu_quota", 150_000),
            gauge("container_memory_usage_bytes", 256 << 20),
            gauge("container_spec_memory_limit_bytes", 512 << 20),
            gauge("pg_stat_activity_count", 25),
            gauge("pg_settings_max_connections", 100),
        ]
    )
    assert signals["container.cpu.utilisation"] == pytest.approx(0.4)
    assert signals["container.memory.utilisation"] == pytest.approx(0.5)
    assert signals["pg.connections.utilisation"] == pytest.approx(0.25)
    assert signals["settings/container.cpu_limit"] == pytest.approx(1.5)
    assert signals["settings/pg.max_connections"] == 100


def test_utilisation_against_the_guides_limit() -> None:
    """Where no limit is published the guide's is used: two cores, 1 GB, 200 connections."""
    [signals] = evaluate(
        [
            counter("container_cpu_usage_seconds_total", 0.5),
            gauge("container_memory_usage_bytes", 512 << 20),
            gauge("pg_stat_activity_count", 50),
        ]
    )
    assert signals["container.cpu.utilisation"] == pytest.approx(0.25)
    assert signals["container.memory.utilisation"] == pytest.approx(0.5)
    assert signals["pg.connections.utilisation"] == pytest.approx(0.25)
    assert "settings/pg.max_connections" not in signals


def test_a_default_alone_makes_no_signal() -> None:
    """A service without PostgreSQL has no PostgreSQL signals."""
    [signals] = evaluate([gauge("container_memory_usage_bytes", 1)])
    assert not [name for name in signals if name.startswith(("pg.", "redis.", "http."))]


def test_node_signals_are_complements() -> None:
    """Node utilisation is what is not idle, not available, not free."""
    [signals] = evaluate(
        [
            counter("node_cpu_seconds_total", 3.0, mode="idle"),
            counter("node_cpu_seconds_total", 1.0, mode="user"),
            gauge("node_memory_MemAvailable_bytes", 25.0),
            gauge("node_memory_MemTotal_bytes", 100.0),
            gauge("node_filesystem_avail_bytes", 90.0),
            gauge("node_filesystem_size_bytes", 100.0),
        ]
    )
    assert signals["node.cpu.utilisation"] == pytest.approx(0.25)
    assert signals["node.memory.utilisation"] == pytest.approx(0.75)
    assert signals["node.filesystem.utilisation"] == pytest.approx(0.1)


@pytest.mark.parametrize("suffix", ["", "_total"])
def test_redis_hit_ratio_in_both_spellings(suffix: str) -> None:
    """Exporters write the keyspace counters with and without `_total`."""
    [signals] = evaluate(
        [counter(f"redis_keyspace_hits{suffix}", 95.0), counter(f"redis_keyspace_misses{suffix}", 5.0)]
    )
    assert signals["redis.hit_ratio"] == pytest.approx(0.95)


def test_services_do_not_mix() -> None:
    """Each service has signals of its own."""
    first, second = evaluate(
        [
            counter("http_requests_total", 10.0, service="a", status="200"),
            counter("http_requests_total", 70.0, service="b", status="200"),
        ]
    )
    assert (first["http.rps"], second["http.rps"]) == (pytest.approx(10.0), pytest.approx(70.0))


def test_every_metric_of_the_guide_feeds_a_signal() -> None:
    """No metric that the guide names goes unread."""
    definitions = load_definitions(shipped_config())
    spelt = {name for spellings in definitions.aliases.values() for one in spellings for name in one.parts()}
    names = definitions.names() | spelt
    guide = {
        "http_request_duration_seconds_bucket", "http_requests_total", "container_cpu_usage_seconds_total",
        "container_memory_usage_bytes", "container_network_receive_bytes_total",
        "container_network_transmit_bytes_total", "node_cpu_seconds_total", "node_memory_MemAvailable_bytes",
        "node_filesystem_avail_bytes", "pg_stat_activity_count", "pg_stat_database_tup_returned",
        "pg_stat_database_tup_fetched", "redis_memory_used_bytes", "redis_connected_clients", "redis_keyspace_hits",
        "redis_keyspace_misses", "redis_keyspace_hits_total", "redis_keyspace_misses_total",
    }  # fmt: skip
    assert guide <= names


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("signals:\n  a.b:\n    unit: s\n", "signals.yaml:2: signals.a.b: Value error, exactly one of value, ratio"),
        ("signals:\n  a.b:\n    value: {of: x, tak: rate}\n", "signals.yaml:3: signals.a.b.value.tak"),
        ("signals:\n  a.b:\n    value: {of: x, where: {le: '['}}\n", "is no regular expression"),
        ("signals: [\n", "signals.yaml:2: not valid YAML"),
        ("- 1\n", "signals.yaml:1: expected keys and values, found a list"),
    ],
)
def test_wrong_definitions_name_the_place(tmp_path: Path, text: str, place: str) -> None:
    """A mistake in signals.yaml is reported with file, line and key."""
    (tmp_path / "signals.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_definitions(tmp_path)
    assert place in str(caught.value)
