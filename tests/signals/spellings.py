"""One thing as signals name it and as each other producer does: what `aliases` in signals.yaml must reconcile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Sent(NamedTuple):
    """A series that a producer sends."""

    name: str
    labels: dict[str, str]
    number: float
    """Its value, or where it is a counter its growth a second."""
    grows: bool = False


class Same(NamedTuple):
    """Signals or settings, the series that feed them by the names they know, and those of others."""

    feeds: tuple[str, ...]
    known: list[Sent]
    others: list[list[Sent]]


def gauge(name: str, value: float, labels: Mapping[str, str] | None = None) -> Sent:
    """A series that goes up and down."""
    return Sent(name, dict(labels or {}), value)


def counter(name: str, rate: float, labels: Mapping[str, str] | None = None) -> Sent:
    """A series that grows by so much a second."""
    return Sent(name, dict(labels or {}), rate, grows=True)


def gauges(feeds: str, known: str, value: float, *others: Sent) -> Same:
    """One gauge feeds it, in any of these spellings."""
    return Same((feeds,), [gauge(known, value)], [[one] for one in others])


def counters(feeds: str, known: str, rate: float, *others: str) -> Same:
    """One counter feeds it, under any of these names."""
    return Same((feeds,), [counter(known, rate)], [[counter(name, rate)] for name in others])


def histogram(name: str, bounds: tuple[float, ...], unit: float = 1.0) -> list[Sent]:
    """100 observations a second, of 20 seconds together; `unit` is a second in that of the bounds."""
    buckets = [
        counter(f"{name}_bucket", rate, {"le": f"{bound:g}".replace("inf", "+Inf")})
        for bound, rate in zip(bounds, (50.0, 90.0, 99.0, 100.0), strict=True)
    ]
    return [*buckets, counter(f"{name}_count", 100.0), counter(f"{name}_sum", 20.0 * unit)]


def by(label: str, name: str, rates: Mapping[str, float]) -> list[Sent]:
    """A counter for each value of a label."""
    return [counter(name, rate, {label: value}) for value, rate in rates.items()]


def by_state(label: str, name: str, values: Mapping[str, float], more: Mapping[str, str] | None = None) -> list[Sent]:
    """A gauge for each value of a label."""
    return [gauge(name, value, {label: state, **(more or {})}) for state, value in values.items()]


def with_rest(rest: Iterable[Sent], *others: Sent) -> list[list[Sent]]:
    """Each of the others, with what else the signal needs."""
    return [[*rest, one] for one in others]


SECONDS, MILLIS = (0.1, 0.5, 1.0, math.inf), (100.0, 500.0, 1000.0, math.inf)
STATUS, OTHER_STATUS = {"200": 97.0, "503": 3.0}, {"200": 97.0, "500": 3.0}
MODES = {
    "idle": 0.5,
    "iowait": 0.05,
    "user": 0.15,
    "system": 0.1,
    "nice": 0.08,
    "irq": 0.02,
    "softirq": 0.04,
    "steal": 0.06,
}
OTEL_MODES = {{"iowait": "wait", "irq": "interrupt"}.get(mode, mode): share for mode, share in MODES.items()}
CPUS = ("cpu0", "cpu-total")
CACHED = {"used": 2e9, "free": 3e9, "cached": 2e9}
PARTS = {"used": 5e9, "free": 2e9, "reserved": 1e9}
DATABASES = ({"db": "shop"}, {"db": "postgres_global"})

CPU_LIMIT = gauge("container_spec_cpu_quota", 400_000.0)
CPU_USE = counter("container_cpu_usage_seconds_total", 1.5)
MEMORY_USE = gauge("container_memory_usage_bytes", 4e8)
MEMORY_LIMIT = gauge("container_spec_memory_limit_bytes", 1e9)
PERIODS = counter("container_cpu_cfs_periods_total", 10.0)
THROTTLED = counter("container_cpu_cfs_throttled_periods_total", 3.0)
TRANSMITTED = counter("node_network_transmit_bytes_total", 25e6)
SPEED = gauge("node_network_speed_bytes", 125e6)
AVAILABLE, TOTAL = gauge("node_memory_MemAvailable_bytes", 6e9), gauge("node_memory_MemTotal_bytes", 8e9)
FREE, SIZE = gauge("node_filesystem_avail_bytes", 2e9), gauge("node_filesystem_size_bytes", 8e9)
IN_USE, POOL = gauge("db_pool_connections_in_use", 7.0), gauge("db_pool_size", 10.0)
HITS, MISSES = counter("cache_hits_total", 90.0), counter("cache_misses_total", 10.0)
BACKENDS, CONNECTIONS = gauge("pg_stat_activity_count", 90.0), gauge("pg_settings_max_connections", 300.0)
BLOCKS_HIT, BLOCKS_READ = counter("pg_stat_database_blks_hit", 990.0), counter("pg_stat_database_blks_read", 10.0)
REDIS_HITS, REDIS_MISSES = counter("redis_keyspace_hits", 90.0), counter("redis_keyspace_misses", 10.0)
REDIS_MEMORY, REDIS_MOST = gauge("redis_memory_used_bytes", 4e8), gauge("redis_memory_max_bytes", 1e9)
CLIENTS = gauge("redis_connected_clients", 50.0)

HTTP = [
    Same(
        ("http.latency.p50", "http.latency.p95", "http.latency.p99", "http.latency.mean"),
        histogram("http_request_duration_seconds", SECONDS),
        [
            histogram("http.server.request.duration", SECONDS),
            histogram("http_server_request_duration_seconds", SECONDS),
            histogram("http.server.duration", MILLIS, 1000),
            histogram("http_server_duration_milliseconds", MILLIS, 1000),
            histogram("http_server_requests_seconds", SECONDS),
        ],
    ),
    Same(
        ("http.rps", "http.error_ratio", "http.availability"),
        by("status", "http_requests_total", STATUS),
        [
            by("code", "http_request_duration_seconds_count", OTHER_STATUS),
            by("status_code", "http_request_duration_seconds_count", OTHER_STATUS),
            by("http.response.status_code", "http.server.request.duration_count", OTHER_STATUS),
            by("http_response_status_code", "http_server_request_duration_seconds_count", OTHER_STATUS),
            by("http.status_code", "http.server.duration_count", OTHER_STATUS),
            by("http_status_code", "http_server_duration_milliseconds_count", OTHER_STATUS),
            by("status", "http_server_requests_seconds_count", OTHER_STATUS),
        ],
    ),
]

CONTAINERS = [
    Same(
        ("container.cpu.utilisation",),
        [CPU_LIMIT, CPU_USE],
        [
            [CPU_LIMIT, *by("cpu.mode", "container.cpu.time", {"user": 1.0, "system": 0.5})],
            *with_rest([CPU_LIMIT], gauge("container.cpu.usage", 1.5), counter("container.cpu.usage.total", 1.5e9)),
            [CPU_LIMIT, *(counter("docker_container_cpu_usage_total", 1.5e9, {"cpu": cpu}) for cpu in CPUS)],
            *with_rest(
                [CPU_USE],
                gauge("container.cpu.limit", 4.0),
                gauge("k8s.container.cpu.limit", 4.0),
                gauge("k8s.container.cpu_limit", 4.0),
            ),
            [CPU_USE, *by_state("resource", "kube_pod_container_resource_limits", {"cpu": 4.0, "memory": 1e9})],
        ],
    ),
    Same(
        ("container.cpu.throttled_ratio",),
        [THROTTLED, PERIODS],
        [
            [THROTTLED, counter("container.cpu.throttling_data.periods", 10.0)],
            [PERIODS, counter("container.cpu.throttling_data.throttled_periods", 3.0)],
            [THROTTLED, counter("docker_container_cpu_throttling_periods", 10.0, {"cpu": "cpu-total"})],
            [PERIODS, counter("docker_container_cpu_throttling_throttled_periods", 3.0, {"cpu": "cpu-total"})],
        ],
    ),
    Same(
        ("container.cpu.wait",),
        [counter("container_cpu_schedstat_runqueue_seconds_total", 0.2)],
        [[counter("container_pressure_cpu_waiting_seconds_total", 0.2)]],
    ),
    Same(
        ("container.memory.utilisation", "container.memory.bytes"),
        [MEMORY_USE, MEMORY_LIMIT],
        [
            *with_rest(
                [MEMORY_LIMIT],
                gauge("container.memory.usage", 4e8),
                gauge("container.memory.usage.total", 4e8),
                gauge("docker_container_mem_usage", 4e8),
            ),
            *with_rest(
                [MEMORY_USE],
                gauge("container.memory.usage.limit", 1e9),
                gauge("k8s.container.memory.limit", 1e9),
                gauge("k8s.container.memory_limit", 1e9),
                gauge("docker_container_mem_limit", 1e9),
            ),
            [MEMORY_USE, *by_state("resource", "kube_pod_container_resource_limits", {"cpu": 4.0, "memory": 1e9})],
        ],
    ),
    *(
        Same(
            (f"container.network.{direction}",),
            [counter(f"container_network_{direction}_bytes_total", 5e5)],
            [
                by("network.io.direction", "container.network.io", {"receive": 7e5, "transmit": 7e5, direction: 5e5}),
                [counter(f"container.network.io.usage.{short}_bytes", 5e5)],
                by("network", f"docker_container_net_{short}_bytes", {"eth0": 5e5, "total": 5e5}),
            ],
        )
        for direction, short in (("receive", "rx"), ("transmit", "tx"))
    ),
    Same(
        ("container.cpu_reservation",),
        [gauge("container_spec_cpu_shares", 512.0)],
        [
            [gauge("k8s.container.cpu.request", 0.5)],
            [gauge("k8s.container.cpu_request", 0.5)],
            by_state("resource", "kube_pod_container_resource_requests", {"cpu": 0.5, "memory": 2e8}),
        ],
    ),
    Same(
        ("container.memory_reservation",),
        [gauge("container_spec_memory_reservation_limit_bytes", 2e8)],
        [
            [gauge("k8s.container.memory.request", 2e8)],
            [gauge("k8s.container.memory_request", 2e8)],
            by_state("resource", "kube_pod_container_resource_requests", {"cpu": 0.5, "memory": 2e8}),
        ],
    ),
    gauges(
        "container.replicas",
        "container_replicas",
        3.0,
        gauge("k8s.deployment.pod.desired", 3.0),
        gauge("k8s.deployment.desired", 3.0),
        gauge("kube_deployment_spec_replicas", 3.0),
        gauge("docker_swarm_tasks_desired", 3.0),
    ),
    gauges(
        "container.max_replicas",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        8.0,
        gauge("k8s.hpa.pod.max", 8.0),
        gauge("k8s.hpa.max_replicas", 8.0),
    ),
]

NODES = [
    Same(
        ("node.cpu.utilisation",),
        [counter("node_cpu_seconds_total", share, {"cpu": "0", "mode": mode}) for mode, share in MODES.items()],
        [
            by("state", "system.cpu.time", OTEL_MODES),
            by("cpu.mode", "system.cpu.time", OTEL_MODES),
            by_state("state", "system.cpu.utilization", OTEL_MODES),
            [counter(f"cpu_time_{mode}", share, {"cpu": cpu}) for mode, share in MODES.items() for cpu in CPUS],
            [gauge(f"cpu_usage_{mode}", 100 * share, {"cpu": cpu}) for mode, share in MODES.items() for cpu in CPUS],
        ],
    ),
    Same(
        ("node.memory.utilisation",),
        [AVAILABLE, TOTAL],
        [
            [TOTAL, gauge("system.memory.linux.available", 6e9)],
            [TOTAL, gauge("system.linux.memory.available", 6e9)],
            [AVAILABLE, gauge("system.memory.limit", 8e9)],
            by_state("system.memory.state", "system.memory.usage", {**CACHED, "buffers": 1e9}),
            by_state("state", "system.memory.usage", {**CACHED, "buffered": 1e9, "slab_reclaimable": 5e8}),
            [TOTAL, gauge("mem_available", 6e9)],
            [AVAILABLE, gauge("mem_total", 8e9)],
        ],
    ),
    Same(
        ("node.filesystem.utilisation",),
        [FREE, SIZE],
        [
            [FREE, gauge("system.filesystem.limit", 8e9)],
            by_state("system.filesystem.state", "system.filesystem.usage", PARTS),
            by_state("state", "system.filesystem.usage", PARTS),
            [SIZE, gauge("disk_free", 2e9)],
            [FREE, gauge("disk_total", 8e9)],
        ],
    ),
    Same(
        ("node.network.utilisation",),
        [TRANSMITTED, SPEED],
        [
            [SPEED, *by("network.io.direction", "system.network.io", {"receive": 9e7, "transmit": 25e6})],
            [SPEED, *by("direction", "system.network.io", {"receive": 9e7, "transmit": 25e6})],
            [SPEED, counter("net_bytes_sent", 25e6, {"interface": "eth0"})],
            [TRANSMITTED, gauge("hw.network.bandwidth.limit", 125e6)],
            [TRANSMITTED, *by_state("interface", "net_speed", {"eth0": 1000.0, "wlan0": -1.0})],
        ],
    ),
    Same(
        ("node.disk.utilisation",),
        [counter("node_disk_io_time_seconds_total", 0.4, {"device": "sda"})],
        [
            by("device", "system.disk.io_time", {"sda": 0.4, "sdb": 0.1}),
            by("name", "diskio_io_time", {"sda": 400.0, "sdb": 100.0}),
        ],
    ),
]

APPLICATIONS = [
    Same(
        ("app.pool.utilisation", "app.pool_size"),
        [IN_USE, POOL],
        [
            [POOL, *by_state("db.client.connection.state", "db.client.connection.count", {"used": 7.0, "idle": 3.0})],
            [POOL, *by_state("db.client.connections.state", "db.client.connections.usage", {"used": 7.0, "idle": 3.0})],
            [POOL, *by_state("state", "db.client.connections.usage", {"used": 7.0, "idle": 3.0})],
            [POOL, gauge("hikaricp_connections_active", 7.0)],
            *with_rest(
                [IN_USE],
                gauge("db.client.connection.max", 10.0),
                gauge("db.client.connections.max", 10.0),
                gauge("hikaricp_connections_max", 10.0),
            ),
        ],
    ),
    Same(
        ("app.pool.acquire.p95",),
        histogram("db_pool_acquire_seconds", SECONDS),
        [
            histogram("db.client.connection.wait_time", SECONDS),
            histogram("db.client.connections.wait_time", MILLIS, 1000),
            histogram("hikaricp_connections_acquire_seconds", SECONDS),
        ],
    ),
    counters(
        "app.pool.timeouts",
        "db_pool_timeouts_total",
        2.0,
        "db.client.connection.timeouts",
        "db.client.connections.timeouts",
        "hikaricp_connections_timeout_total",
    ),
    gauges(
        "app.event_loop.lag",
        "event_loop_lag_seconds",
        0.3,
        gauge("nodejs.eventloop.delay.max", 0.3),
        gauge("nodejs_eventloop_lag_seconds", 0.3),
    ),
    Same(("app.cache.hit_ratio",), [HITS, MISSES], [by("result", "cache_gets_total", {"hit": 90.0, "miss": 10.0})]),
]

POSTGRES = [
    Same(
        ("pg.connections", "pg.connections.utilisation", "pg.max_connections"),
        [BACKENDS, CONNECTIONS],
        [
            *with_rest(
                [CONNECTIONS],
                gauge("postgresql.backends", 90.0, {"db.namespace": "shop"}),
                gauge("pg_stat_database_numbackends", 90.0, {"datname": "shop"}),
            ),
            [CONNECTIONS, *(gauge("postgresql_numbackends", 90.0, database) for database in DATABASES)],
            [BACKENDS, gauge("postgresql.connection.max", 300.0)],
        ],
    ),
    *(
        Same(
            (signal,),
            [counter(f"pg_stat_database_{column}", 5e5)],
            [
                [counter(f"pg_stat_database_{column}_total", 5e5)],
                [counter(f"postgresql.{collector}", 5e5)],
                [counter(f"postgresql_{column}", 5e5, database) for database in DATABASES],
            ],
        )
        for signal, column, collector in (
            ("pg.tup_returned.rate", "tup_returned", "tup_returned"),
            ("pg.tup_fetched.rate", "tup_fetched", "tup_fetched"),
            ("pg.temp_bytes.rate", "temp_bytes", "temp.io"),
            ("pg.deadlocks.rate", "deadlocks", "deadlocks"),
        )
    ),
    Same(
        ("pg.cache_hit_ratio",),
        [BLOCKS_HIT, BLOCKS_READ],
        [
            [counter(hit, 990.0, labels), counter(read, 10.0, labels)]
            for hit, read, labels in (
                ("pg_stat_database_blks_hit_total", "pg_stat_database_blks_read_total", {"datname": "shop"}),
                ("postgresql.blks_hit", "postgresql.blks_read", {"db.namespace": "shop"}),
                ("postgresql_blks_hit", "postgresql_blks_read", {"db": "shop"}),
            )
        ],
    ),
    Same(
        ("pg.dead_tuples",),
        [gauge("pg_stat_user_tables_n_dead_tup", 9e4)],
        [by_state("state", "postgresql.rows", {"dead": 9e4, "live": 5e6})],
    ),
    gauges(
        "pg.transaction.age",
        "pg_stat_activity_max_tx_duration",
        90.0,
        gauge("pg_long_running_transactions_oldest_timestamp_seconds", 90.0),
    ),
]

REDIS = [
    Same(
        ("redis.hit_ratio",),
        [REDIS_HITS, REDIS_MISSES],
        [
            [counter("redis_keyspace_hits_total", 90.0), counter("redis_keyspace_misses_total", 10.0)],
            [counter("redis.keyspace.hits", 90.0), counter("redis.keyspace.misses", 10.0)],
        ],
    ),
    Same(
        ("redis.memory.bytes", "redis.memory.utilisation", "redis.maxmemory"),
        [REDIS_MEMORY, REDIS_MOST],
        [
            [gauge("redis.memory.used", 4e8), gauge("redis.maxmemory", 1e9)],
            [gauge("redis_used_memory", 4e8), gauge("redis_maxmemory", 1e9)],
        ],
    ),
    counters("redis.evictions.rate", "redis_evicted_keys_total", 7.0, "redis.keys.evicted", "redis_evicted_keys"),
    Same(
        ("redis.connected_clients", "redis.clients.utilisation", "redis.maxclients"),
        [CLIENTS, gauge("redis_config_maxclients", 200.0)],
        [
            [gauge(name, 50.0), most]
            for name, most in (
                ("redis.clients.connected", gauge("redis_config_value", 200.0, {"key": "maxclients"})),
                ("redis_clients", gauge("redis_maxclients", 200.0)),
            )
        ],
    ),
    Same(
        ("redis.oom_errors.rate",),
        by("err", "redis_errors_total", {"OOM": 4.0, "ERR": 9.0}),
        [by("err", "redis_errorstat_total", {"OOM": 4.0, "ERR": 9.0})],
    ),
    counters(
        "redis.rejected.rate",
        "redis_rejected_connections_total",
        3.0,
        "redis.connections.rejected",
        "redis_rejected_connections",
    ),
    counters("redis.aof_delayed.rate", "redis_aof_delayed_fsync_total", 2.0, "redis_aof_delayed_fsync"),
    Same(
        ("redis.policy_noeviction",),
        [gauge("redis_config_maxmemory_policy", 1.0, {"policy": "noeviction"})],
        [
            [gauge("redis_config_key_value", 1.0, {"key": "maxmemory-policy", "value": "noeviction"})],
            [gauge("redis_instance_info", 1.0, {"maxmemory_policy": "noeviction", "role": "master"})],
        ],
    ),
    gauges("redis.timeout", "redis_config_timeout", 300.0, gauge("redis_config_value", 300.0, {"key": "timeout"})),
    gauges(
        "redis.tcp_keepalive",
        "redis_config_tcp_keepalive",
        60.0,
        gauge("redis_config_value", 60.0, {"key": "tcp-keepalive"}),
    ),
    Same(
        ("redis.appendfsync_always",),
        [gauge("redis_config_appendfsync", 1.0, {"value": "always"})],
        [[gauge("redis_config_key_value", 1.0, {"key": "appendfsync", "value": "always"})]],
    ),
]

ALL = [*HTTP, *CONTAINERS, *NODES, *APPLICATIONS, *POSTGRES, *REDIS]
