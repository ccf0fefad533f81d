"""What services tell of themselves, as signals name them and as each other producer does."""

from __future__ import annotations

from tests.signals.spelling import (
    MILLIS,
    SECONDS,
    Same,
    by,
    by_state,
    counter,
    counters,
    gauge,
    gauges,
    histogram,
    with_rest,
)

IN_USE, POOL = gauge("db_pool_connections_in_use", 7.0), gauge("db_pool_size", 10.0)
HITS, MISSES = counter("cache_hits_total", 90.0), counter("cache_misses_total", 10.0)

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
