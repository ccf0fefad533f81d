"""The metrics of one service of the generated system, as its exporters would write them.

Counters are cumulative from a start value and begin again at 0 where their process does; histograms are counts of
requests drawn from the latency distribution. Names, labels and limits are those of the DuRi guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.series import SERVICE_LABEL, Kind, Series, kind_of_name, unit_of_name
from pipeline.sources.duri_state import (
    CACHE_LIMIT,
    CPU_LIMIT,
    LATENCY_SHAPE,
    MEMORY_LIMIT,
    POOL_OVERFLOW,
    POOL_SIZE,
    wander,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.sources.duri_faults import Causes
    from pipeline.sources.duri_state import Profile, State

LATENCY_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.35),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 10.0),
)
ACQUIRE_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

_NODE_CORES = 4
_NODE_MEMORY = float(8 << 30)
_DISK = 100e9
_ACQUIRE_SHAPE = 3.0


class Exporter:
    """Collects the columns of one service; `resets` are the scrapes at which its process starts again."""

    def __init__(self, profile: Profile, step: float, rng: np.random.Generator, resets: Sequence[int]) -> None:
        self.rng = rng
        self.step = step
        self.series: list[Series] = []
        self.columns: list[npt.NDArray[np.float64]] = []
        self._resets = sorted(resets)
        self._labels = {SERVICE_LABEL: profile.name, "instance": profile.instance}

    def gauge(
        self,
        name: str,
        values: npt.NDArray[np.float64] | float,
        n: int,
        *,
        digits: int = 0,
        unit: str | None = None,
        **labels: str,
    ) -> None:
        """A level, float64[n] or one constant, rounded to so many digits after the point."""
        column = np.broadcast_to(np.asarray(values, dtype=np.float64), (n,))
        unit = unit_of_name(name) if unit is None else unit
        self._add(name, Kind.GAUGE, np.round(column, digits), unit, labels)

    def counter(
        self,
        name: str,
        per_second: npt.NDArray[np.float64],
        *,
        own: bool = True,
        start: float = 0.0,
        **labels: str,
    ) -> None:
        """Whole events at this rate (Poisson), summed up from `start`; `own`: begins again with the process."""
        self.total(name, self.events(per_second), own=own, start=start, **labels)

    def total(
        self,
        name: str,
        increments: npt.NDArray[np.float64],
        *,
        own: bool = True,
        start: float = 0.0,
        **labels: str,
    ) -> None:
        """The running sum of the increments since each scrape before, float64[n]."""
        summed = start + np.cumsum(increments)
        if own:
            summed = restarted(summed, increments, self._resets)
        self._add(name, kind_of_name(name), np.round(summed, 3), unit_of_name(name), labels)

    def events(self, per_second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How many events of this rate fall between two scrapes: Poisson, float64[n]."""
        return self.rng.poisson(np.maximum(per_second, 0.0) * self.step).astype(np.float64)

    def histogram(
        self,
        name: str,
        counts: npt.NDArray[np.float64],
        median: npt.NDArray[np.float64],
        bounds: Sequence[float],
        shape: float,
    ) -> None:
        """`counts` observations a scrape from a log-logistic distribution with this median and shape.

        Log-logistic because its distribution function has a closed form, 1 / (1 + (x / median) ** -shape).
        """
        edges = np.asarray(bounds)
        below = 1.0 / (1.0 + (edges[None, :] / median[:, None]) ** -shape)
        cells = np.diff(below, axis=1, prepend=0.0, append=1.0)
        drawn = self.rng.multinomial(counts.astype(np.int64), cells).astype(np.float64)
        cumulative = np.cumsum(drawn, axis=1)
        for number, bound in enumerate(bounds):
            self.total(f"{name}_bucket", cumulative[:, number], le=prometheus_number(bound))
        self.total(f"{name}_bucket", counts, le="+Inf")
        mean = median * (np.pi / shape) / np.sin(np.pi / shape)
        self.total(f"{name}_sum", counts * mean)
        self.total(f"{name}_count", counts)

    def _add(self, name: str, kind: Kind, column: npt.NDArray[np.float64], unit: str, labels: dict[str, str]) -> None:
        self.series.append(Series(name=name, labels={**self._labels, **labels}, kind=kind, unit=unit))
        self.columns.append(column)


def restarted(
    summed: npt.NDArray[np.float64],
    increments: npt.NDArray[np.float64],
    resets: Sequence[int],
) -> npt.NDArray[np.float64]:
    """The running sum, begun again at 0 just before the increment of each reset."""
    result = summed.copy()
    for reset in resets:
        if 0 < reset < len(result):
            result[reset:] = np.cumsum(increments[reset:])
    return result


def prometheus_number(bound: float) -> str:
    """A bucket bound as Prometheus' Go client writes `le`: 0.5, 1, 10."""
    return f"{bound:g}"


def export(
    profile: Profile, state: State, causes: Causes, clock: npt.NDArray[np.float64], rng: np.random.Generator
) -> Exporter:
    """All metrics of one service. `clock` is seconds since the first midnight, float64[n]."""
    exporter = Exporter(profile, float(clock[1] - clock[0]), rng, causes.restarts)
    _application(exporter, state)
    _versions(exporter, causes, len(clock))
    _container(exporter, state)
    _node(exporter, state, clock)
    _pool(exporter, state)
    _postgres_activity(exporter, state, causes)
    _postgres_reads(exporter, state)
    _redis(exporter, state)
    return exporter


def _application(out: Exporter, state: State) -> None:
    n = len(state.rps)
    requests = out.events(state.rps)
    out.histogram("http_request_duration_seconds", requests, state.median_s, LATENCY_BOUNDS, LATENCY_SHAPE)
    failed = out.rng.binomial(requests.astype(np.int64), state.error_ratio)
    # The guide's users ask for the health endpoint three times as often as for the status endpoint.
    for status, total in (("200", requests - failed), ("500", failed.astype(np.float64))):
        health = out.rng.binomial(total.astype(np.int64), 0.75).astype(np.float64)
        for endpoint, count in (("/health", health), ("/status", total - health)):
            out.total("http_requests_total", count, method="GET", endpoint=endpoint, status=status)
    lag = 0.004 * (1.0 + wander(out.rng, n, spread=0.08, memory=6)) * (0.6 + 0.8 * state.cpu)
    out.gauge("event_loop_lag_seconds", lag, n, digits=5)
    out.gauge("cache_enabled", 1.0, n)


def _versions(out: Exporter, causes: Causes, n: int) -> None:
    """One series a version; it exists while that version runs, also when it comes back."""
    moves = sorted(causes.versions)
    ends = [scrape for scrape, _ in moves[1:]] + [n]
    for version in dict.fromkeys(version for _, version in moves):
        column = np.full(n, np.nan)
        for (begin, running), end in zip(moves, ends, strict=True):
            if running == version:
                column[begin:end] = 1.0
        out.gauge("app_info", column, n, version=version)


def _container(out: Exporter, state: State) -> None:
    n = len(state.rps)
    out.total("container_cpu_usage_seconds_total", np.round(state.cpu * CPU_LIMIT * out.step, 3))
    out.gauge("container_memory_usage_bytes", state.memory, n)
    out.gauge("container_spec_memory_limit_bytes", MEMORY_LIMIT, n)
    out.gauge("container_spec_cpu_quota", CPU_LIMIT * 100_000, n, unit="us")
    out.gauge("container_spec_cpu_period", 100_000.0, n, unit="us")
    periods = np.full(n, 10.0 * out.step)
    out.total("container_cpu_cfs_periods_total", periods)
    throttled = out.rng.binomial(periods.astype(np.int64), state.throttled).astype(np.float64)
    out.total("container_cpu_cfs_throttled_periods_total", throttled)
    for direction, size in (("receive", 900.0), ("transmit", 2600.0)):
        noise = 1.0 + wander(out.rng, n, spread=0.02, memory=4)
        octets = np.rint(state.rps * size * noise * out.step)
        out.total(f"container_network_{direction}_bytes_total", octets)


def _node(out: Exporter, state: State, clock: npt.NDArray[np.float64]) -> None:
    n = len(state.rps)
    user = 0.14 + 0.45 * state.cpu + wander(out.rng, n, spread=0.01, memory=10)
    system = 0.04 + 0.08 * state.cpu + wander(out.rng, n, spread=0.003, memory=10)
    seconds = _NODE_CORES * out.step
    for mode, share in (("idle", 1.0 - user - system), ("user", user), ("system", system)):
        out.total("node_cpu_seconds_total", np.round(share * seconds, 2), own=False, start=2e6, mode=mode)
    free = _NODE_MEMORY * (0.55 + wander(out.rng, n, spread=0.004, memory=60)) - 0.5 * state.memory
    out.gauge("node_memory_MemAvailable_bytes", free, n)
    out.gauge("node_memory_MemTotal_bytes", _NODE_MEMORY, n)
    left = 0.58 * _DISK - clock * 4_000 + wander(out.rng, n, spread=2e7, memory=60)
    out.gauge("node_filesystem_avail_bytes", left, n, mountpoint="/")
    out.gauge("node_filesystem_size_bytes", _DISK, n, mountpoint="/")


def _pool(out: Exporter, state: State) -> None:
    n = len(state.rps)
    out.gauge("db_pool_size", float(POOL_SIZE), n)
    out.gauge("db_pool_max_overflow", float(POOL_OVERFLOW), n)
    out.gauge("db_pool_connections_in_use", state.pool_in_use, n)
    acquired = out.events(state.rps)
    out.histogram("db_pool_acquire_seconds", acquired, state.acquire_s, ACQUIRE_BOUNDS, _ACQUIRE_SHAPE)
    out.counter("db_pool_timeouts_total", state.timeouts)


def _postgres_activity(out: Exporter, state: State, causes: Causes) -> None:
    n = len(state.rps)
    backends = np.rint(24.0 + np.maximum(state.pool_in_use, 8.0) + out.rng.poisson(2.0, n))
    longest = 0.06 * causes.hold * out.rng.lognormal(0.0, 0.25, n)
    # Autovacuum comes about every hour: dead rows rise and fall in a saw-tooth.
    churn = np.cumsum(state.rps * out.step * 0.004)
    out.gauge("pg_stat_activity_count", backends, n, datname="duri")
    out.gauge("pg_settings_max_connections", 200.0, n)
    out.gauge("pg_settings_shared_buffers_bytes", float(256 << 20), n)
    out.gauge("pg_settings_work_mem_bytes", float(4 << 20), n)
    out.gauge("pg_stat_user_tables_n_dead_tup", 200.0 + churn % 2000.0, n, relname="events")
    out.gauge("pg_locks_waiting_count", (out.rng.random(n) < 0.01).astype(np.float64), n)
    out.gauge("pg_stat_activity_max_tx_duration", longest, n, digits=4, unit="s")
    out.counter("pg_stat_database_deadlocks", np.full(n, 1e-7), own=False, start=3.0, datname="duri")


def _postgres_reads(out: Exporter, state: State) -> None:
    # What the cache does not have is read from the database.
    n = len(state.rps)
    queries = state.rps * (1.0 + 3.0 * np.maximum(0.95 - state.hit_ratio, 0.0))
    common = {"datname": "duri"}

    def rate(factor: float, spread: float = 0.02) -> npt.NDArray[np.float64]:
        return queries * factor * (1.0 + wander(out.rng, n, spread=spread, memory=6))

    out.counter("pg_stat_database_tup_returned", rate(42.0), own=False, start=8.1e9, **common)
    out.counter("pg_stat_database_tup_fetched", rate(11.0), own=False, start=1.9e9, **common)
    out.counter("pg_stat_database_blks_hit", rate(35.0), own=False, start=6.4e9, **common)
    out.counter("pg_stat_database_blks_read", rate(0.25, 0.04), own=False, start=4.1e7, **common)
    out.counter("pg_stat_database_temp_bytes", rate(120.0, 0.05), own=False, start=3.3e9, **common)
    out.counter("pg_stat_user_tables_seq_tup_read", rate(4.0), own=False, start=7.7e8, relname="events")


def _redis(out: Exporter, state: State) -> None:
    n = len(state.rps)
    lookups = out.events(2.0 * state.rps)
    hits = out.rng.binomial(lookups.astype(np.int64), state.hit_ratio).astype(np.float64)
    clients = 12.0 + np.rint(state.rps / 10.0 + wander(out.rng, n, spread=0.8, memory=20))
    nothing = np.zeros(n)
    out.gauge("redis_memory_used_bytes", state.cache_bytes, n)
    out.gauge("redis_memory_max_bytes", CACHE_LIMIT, n)
    out.gauge("redis_connected_clients", clients, n)
    out.gauge("redis_config_maxclients", 10_000.0, n)
    out.gauge("redis_config_timeout", 300.0, n, unit="s")
    out.gauge("redis_config_tcp_keepalive", 60.0, n, unit="s")
    out.total("redis_keyspace_hits_total", hits, own=False, start=5.2e8)
    out.total("redis_keyspace_misses_total", lookups - hits, own=False, start=2.7e7)
    out.counter("redis_evicted_keys_total", state.evictions, own=False, start=1240.0)
    out.counter("redis_rejected_connections_total", nothing, own=False)
    out.counter("redis_errors_total", nothing, own=False, err="OOM")
