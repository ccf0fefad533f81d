"""One thing in the spellings of several producers: the same signal."""

from __future__ import annotations

import math

import pytest

from pipeline.series import Kind, Series, kind_of_name, unit_of_name
from pipeline.signals.aliases import Aliases, Spelling
from pipeline.stage import Topic
from tests.builders import START, samples
from tests.detect.drive import detect_stage, records

Sent = tuple[str, dict[str, str], float]
"""A series (name and labels) and its value, or where it is a counter its growth a second."""


def buckets(name: str, bounds: tuple[float, ...], rates: tuple[float, ...], **labels: str) -> list[Sent]:
    """A histogram's buckets, cumulative counts a second."""
    return [
        (f"{name}_bucket", {**labels, "le": f"{b:g}".replace("inf", "+Inf")}, r)
        for b, r in zip(bounds, rates, strict=True)
    ]


SECONDS, MILLIS, RATES = (0.1, 0.5, 1.0, math.inf), (100.0, 500.0, 1000.0, math.inf), (50.0, 90.0, 99.0, 100.0)
REQUESTS: list[Sent] = [
    ("http_requests_total", {"status": "200"}, 97.0),
    ("http_requests_total", {"status": "503"}, 3.0),
]
HIT_RATIO: list[Sent] = [("redis_keyspace_hits", {}, 90.0), ("redis_keyspace_misses", {}, 10.0)]
CPU_MODES = {"idle": 0.7, "iowait": 0.05, "user": 0.15, "system": 0.1}
CPU: list[Sent] = [("node_cpu_seconds_total", {"cpu": "0", "mode": mode}, share) for mode, share in CPU_MODES.items()]
MEMORY: list[Sent] = [("node_memory_MemAvailable_bytes", {}, 6e9), ("node_memory_MemTotal_bytes", {}, 8e9)]
BLOCKS: list[Sent] = [("pg_stat_database_blks_hit", {}, 990.0), ("pg_stat_database_blks_read", {}, 10.0)]
CONNECTIONS: list[Sent] = [
    ("pg_stat_activity_count", {"state": "active"}, 90.0),
    ("pg_settings_max_connections", {}, 300.0),
]

# What it is, its signal, as signals name it, as somebody else does; units where the format says them.
PAIRS: list[tuple[str, str, list[Sent], list[Sent]]] = [
    (
        "OpenTelemetry's HTTP histogram",
        "http.latency.p95",
        buckets("http_request_duration_seconds", SECONDS, RATES),
        buckets("http.server.request.duration", SECONDS, RATES),
    ),
    (
        "the older one in milliseconds",
        "http.latency.p95",
        buckets("http_request_duration_seconds", SECONDS, RATES),
        buckets("http.server.duration", MILLIS, RATES),
    ),
    (
        "through a Prometheus exporter",
        "http.latency.p99",
        buckets("http_request_duration_seconds", SECONDS, RATES),
        buckets("http_server_duration_milliseconds", MILLIS, RATES),
    ),
    (
        "requests by the histogram's count",
        "http.rps",
        REQUESTS,
        [
            ("http.server.request.duration_count", {"http.response.status_code": s}, r)
            for s, r in (("200", 97.0), ("500", 3.0))
        ],
    ),
    (
        "errors by OpenTelemetry's status",
        "http.error_ratio",
        REQUESTS,
        [
            ("http.server.request.duration_count", {"http.response.status_code": s}, r)
            for s, r in (("200", 97.0), ("500", 3.0))
        ],
    ),
    (
        "errors by its older status",
        "http.error_ratio",
        REQUESTS,
        [("http.server.duration_count", {"http.status_code": s}, r) for s, r in (("200", 97.0), ("500", 3.0))],
    ),
    ("redis_exporter", "redis.hit_ratio", HIT_RATIO, [(f"{name}_total", {}, rate) for name, _, rate in HIT_RATIO]),
    (
        "the Collector's redis",
        "redis.hit_ratio",
        HIT_RATIO,
        [("redis.keyspace.hits", {}, 90.0), ("redis.keyspace.misses", {}, 10.0)],
    ),
    (
        "Telegraf's redis memory",
        "redis.memory.utilisation",
        [("redis_memory_used_bytes", {}, 4e8), ("redis_memory_max_bytes", {}, 1e9)],
        [("redis_used_memory", {}, 4e8), ("redis_maxmemory", {}, 1e9)],
    ),
    (
        "Telegraf's redis evictions",
        "redis.evictions.rate",
        [("redis_evicted_keys_total", {}, 7.0)],
        [("redis_evicted_keys", {}, 7.0)],
    ),
    (
        "semantic conventions of containers",
        "container.cpu.utilisation",
        [("container_cpu_usage_seconds_total", {}, 1.5)],
        [("container.cpu.time", {"cpu.mode": "user"}, 1.0), ("container.cpu.time", {"cpu.mode": "system"}, 0.5)],
    ),
    (
        "the Collector's docker_stats in ns",
        "container.cpu.utilisation",
        [("container_cpu_usage_seconds_total", {}, 1.5), ("container_spec_cpu_quota", {}, 400_000.0)],
        [("container.cpu.usage.total", {}, 1.5e9), ("container.cpu.limit", {}, 4.0)],
    ),
    (
        "Telegraf's docker",
        "container.cpu.utilisation",
        [("container_cpu_usage_seconds_total", {}, 1.5)],
        [("docker_container_cpu_usage_total", {"cpu": c}, 1.5e9) for c in ("cpu-total", "cpu0")],
    ),
    (
        "the Collector's cpu",
        "node.cpu.utilisation",
        CPU,
        [
            ("system.cpu.time", {"cpu": "cpu0", "state": {"iowait": "wait"}.get(mode, mode)}, share)
            for mode, share in CPU_MODES.items()
        ],
    ),
    (
        "Telegraf's cpu in percent",
        "node.cpu.utilisation",
        CPU,
        [
            (f"cpu_usage_{mode}", {"cpu": cpu}, 100 * share)
            for mode, share in CPU_MODES.items()
            for cpu in ("cpu0", "cpu-total")
        ],
    ),
    (
        "Telegraf's cpu times",
        "node.cpu.utilisation",
        CPU,
        [
            (f"cpu_time_{mode}", {"cpu": cpu}, share)
            for mode, share in CPU_MODES.items()
            for cpu in ("cpu0", "cpu-total")
        ],
    ),
    (
        "the Collector's memory",
        "node.memory.utilisation",
        MEMORY,
        [
            ("system.memory.usage", {"state": state}, value)
            for state, value in (
                ("used", 2e9),
                ("free", 3e9),
                ("buffered", 1e9),
                ("cached", 2e9),
                ("slab_reclaimable", 5e8),
            )
        ],
    ),
    ("Telegraf's mem", "node.memory.utilisation", MEMORY, [("mem_available", {}, 6e9), ("mem_total", {}, 8e9)]),
    (
        "the Collector's filesystem",
        "node.filesystem.utilisation",
        [("node_filesystem_avail_bytes", {}, 2e9), ("node_filesystem_size_bytes", {}, 8e9)],
        [
            ("system.filesystem.usage", {"state": state}, value)
            for state, value in (("free", 2e9), ("used", 5e9), ("reserved", 1e9))
        ],
    ),
    (
        "the Collector's postgresql",
        "pg.connections.utilisation",
        CONNECTIONS,
        [("postgresql.backends", {"db.namespace": "a"}, 90.0), ("postgresql.connection.max", {}, 300.0)],
    ),
    (
        "its blocks",
        "pg.cache_hit_ratio",
        BLOCKS,
        [("postgresql.blks_hit", {}, 990.0), ("postgresql.blks_read", {}, 10.0)],
    ),
    (
        "Telegraf's postgresql",
        "pg.cache_hit_ratio",
        BLOCKS,
        [("postgresql_blks_hit", {}, 990.0), ("postgresql_blks_read", {}, 10.0)],
    ),
    (
        "dead rows",
        "pg.dead_tuples",
        [("pg_stat_user_tables_n_dead_tup", {}, 9e4)],
        [("postgresql.rows", {"state": "dead"}, 9e4)],
    ),
]
IDS = [what for what, *_ in PAIRS]


def series_of(sent: Sent, service: str) -> Series:
    """As ingest makes it of a format that says neither kind nor unit."""
    name, labels, _ = sent
    return Series(name=name, labels={"service": service, **labels}, kind=kind_of_name(name), unit=unit_of_name(name))


def grows(name: str) -> bool:
    """Whether the producer's series is a counter, whatever its name says."""
    if name.startswith("mem_"):
        return False
    known = {"container.cpu.time", "container.cpu.usage.total", "docker_container_cpu_usage_total", "system.cpu.time"}
    known |= {"redis.keyspace.hits", "redis.keyspace.misses", "redis_evicted_keys"}
    known |= {f"postgresql{dot}blks_{word}" for dot in "._" for word in ("hit", "read")}
    return kind_of_name(name) is not Kind.GAUGE or name in known or name.startswith("cpu_time_")


def signals_of(services: dict[str, list[Sent]]) -> dict[str, dict[str, float]]:
    """Signals by service in the last of three frames of a detect stage that is sent all this every 15 s."""
    stage = detect_stage()
    log = []
    for at in range(16):
        ms = START + at * 15_000
        rows = [
            (series_of(one, service), ms, 5.0 + one[2] * at * 15 if grows(one[0]) else one[2])
            for service, sent in services.items()
            for one in sent
        ]
        log.append(samples(at, rows))
    frames = records(stage.step(log), Topic.FRAMES)
    return {frame["service"]: {name: value["value"] for name, value in frame["signals"].items()} for frame in frames}


@pytest.fixture(scope="module")
def signals() -> dict[str, dict[str, float]]:
    """Two services a pair, one in each spelling, through one detect stage."""
    services = {}
    for what, _, known, other in PAIRS:
        services[f"{what}: known"], services[f"{what}: other"] = known, other
    return signals_of(services)


@pytest.mark.parametrize(("what", "signal"), [(what, signal) for what, signal, *_ in PAIRS], ids=IDS)
def test_both_spellings_feed_the_same_signal(signals: dict[str, dict[str, float]], what: str, signal: str) -> None:
    """What the detect stage says of a service does not depend on who measured it."""
    known, other = signals[f"{what}: known"][signal], signals[f"{what}: other"][signal]
    assert known > 0
    assert other == pytest.approx(known)


def test_two_spellings_at_once_count_once() -> None:
    """An SDK that sends old and new names side by side does not double its requests; the better known one counts."""
    both = signals_of({"a": [*REQUESTS, ("http.server.request.duration_count", {}, 55.0)]})
    assert both["a"]["http.rps"] == pytest.approx(100.0)


def test_units_that_the_producer_says_win() -> None:
    """A unit in the message counts more than the one in the table."""
    aliases = Aliases({"x_seconds": [Spelling(name="x.time", unit="ms")]})
    sent = {
        unit: Series(name="x.time", labels={"service": "a"}, kind=Kind.GAUGE, unit=unit)
        for unit in ("", "us", "s", "{thing}")
    }
    scales = {unit: [r.scale for r in aliases.readings(one)][1] for unit, one in sent.items()}
    assert scales == {"": 1e-3, "us": 1e-6, "s": 1.0, "{thing}": 1e-3}


def test_counts_of_a_histogram_have_no_unit() -> None:
    """Milliseconds convert a histogram's bounds and sum, never its counts."""
    aliases = Aliases({"x_seconds": [Spelling(name="x.time", unit="ms")]})
    scales = {}
    for part in ("bucket", "count", "sum"):
        one = Series(name=f"x.time_{part}", labels={"service": "a"}, kind=Kind.COUNTER, unit="ms")
        scales[part] = [reading.scale for reading in aliases.readings(one)][1]
    assert scales == {"bucket": 1e-3, "count": 1.0, "sum": 1e-3}


def test_an_alias_that_comes_later_is_known_after_a_restart() -> None:
    """A series that was read as a gauge before its alias was written is a counter once its state is restored."""
    sent: list[Sent] = [("redis_evicted_keys", {}, 7.0)]
    before = detect_stage()
    before.step([samples(0, [(series_of(sent[0], "a"), START, 5.0)])])
    before._registry.store.read_as(0, Kind.GAUGE)
    after = detect_stage()
    after.restore(dict(before.snapshot()))
    assert after._registry.store.rows[0]["kind"] == 1
