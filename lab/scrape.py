"""Scraping: the services' own pages, and what the usual exporters would say of PostgreSQL, Redis and the node.

Each source has a hard timeout of its own: what hangs is missing from the scrape and holds up nothing else. The samples
of PostgreSQL, Redis and the node are labelled with each service that uses them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from lab.samples import Row, row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lab.system import Lab, Replica

_TIMEOUT_S = 2.0
_KEPT = ("http_", "db_pool_", "cache_", "event_loop_", "downstream_")
_SETTINGS = {
    "max_connections": ("", 1.0),
    "work_mem": ("_bytes", 1024.0),
    "shared_buffers": ("_bytes", 8192.0),
    "effective_cache_size": ("_bytes", 8192.0),
    "maintenance_work_mem": ("_bytes", 1024.0),
    "idle_session_timeout": ("_seconds", 0.001),
    "idle_in_transaction_session_timeout": ("_seconds", 0.001),
}
"""PostgreSQL's settings with what their metrics' names end in, and how much of it one of PostgreSQL's units is."""

Found = list[tuple[str, dict[str, str], float]]

_POSTGRES = {
    "pg_stat_database_tup_returned": "SELECT tup_returned FROM pg_stat_database WHERE datname = 'postgres'",
    "pg_stat_database_tup_fetched": "SELECT tup_fetched FROM pg_stat_database WHERE datname = 'postgres'",
    "pg_stat_database_temp_bytes": "SELECT temp_bytes FROM pg_stat_database WHERE datname = 'postgres'",
    "pg_stat_database_blks_hit": "SELECT blks_hit FROM pg_stat_database WHERE datname = 'postgres'",
    "pg_stat_database_blks_read": "SELECT blks_read FROM pg_stat_database WHERE datname = 'postgres'",
    "pg_stat_database_deadlocks": "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'",
    "pg_stat_user_tables_seq_tup_read": "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables",
    "pg_stat_user_tables_n_dead_tup": "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables",
    "pg_locks_waiting_count": "SELECT count(*) FROM pg_locks WHERE NOT granted",
}

_BY_STATE = """
SELECT state, count(*), coalesce(max(extract(epoch FROM now() - xact_start)), 0)
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state IS NOT NULL GROUP BY 1
"""
# What `--collector.stat_statements` asks for, of the services' role alone: the scrapes are no statements of theirs.
_STATEMENTS = """
SELECT rolname, queryid::text, calls, total_exec_time / 1000
FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid WHERE rolname = 'app'
ORDER BY total_exec_time DESC LIMIT 100
"""
_STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)")


class Scraper:
    """Scrapes a lab. PostgreSQL is asked as its superuser, who has connections in reserve."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S)
        self._redis = redis.from_url(
            lab.redis.url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._postgres: asyncpg.Connection[Any] | None = None

    async def scrape(self, ts: int) -> list[Row]:
        """All samples of this moment (ms)."""
        replicas = [(name, one) for name, running in self._lab.services.items() for one in running]
        pages = [self._guarded(partial(self._page, replica)) for _, replica in replicas]
        shared, *own = await asyncio.gather(self._shared(), *pages)
        rows: list[Row] = []
        for (name, replica), page in zip(replicas, own, strict=True):
            rows += [row(ts, name, *one) for one in (*page, *_container(name, replica))]
        for name, running in self._lab.services.items():
            rows += [row(ts, name, *one) for one in (("container_replicas", {}, float(len(running))), *shared)]
        return rows

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.aclose()
        await self._redis.aclose()
        if self._postgres is not None:
            self._postgres.terminate()

    async def _shared(self) -> Found:
        postgres, cache = await asyncio.gather(
            self._exporter("postgres", "pg_up", self._of_postgres), self._exporter("redis", "redis_up", self._of_redis)
        )
        return [
            *postgres,
            *cache,
            *_memory(),
            *self._lab.disk.metrics(),
            *(self._lab.scope.metrics() if self._lab.scope is not None else ()),
        ]

    async def _exporter(self, name: str, up: str, source: Callable[[], Awaitable[Found]]) -> Found:
        """What an exporter says, and whether its server answers it; nothing where it is the exporter that stopped."""
        if name in self._lab.silent:
            return []
        found = await self._guarded(source)
        return [*found, (up, {}, float(bool(found)))]

    async def _guarded(self, source: Callable[[], Awaitable[Found]]) -> Found:
        try:
            return await asyncio.wait_for(source(), _TIMEOUT_S)
        except (TimeoutError, OSError, httpx.HTTPError, RedisError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return []

    async def _page(self, replica: Replica) -> Found:
        page = await self._http.get(f"{replica.url}/metrics")
        families = text_string_to_metric_families(page.text)
        return [
            (sample.name, {**sample.labels, "replica": str(replica.number)}, sample.value)
            for family in families
            for sample in family.samples
            if sample.name.startswith(_KEPT) and not sample.name.endswith("_created")
        ]

    async def _of_postgres(self) -> Found:
        if self._postgres is None or self._postgres.is_closed():
            self._postgres = await asyncpg.connect(self._lab.postgres.admin_url, timeout=_TIMEOUT_S)
        found: Found = [(name, {}, float(await self._postgres.fetchval(query))) for name, query in _POSTGRES.items()]
        states = {str(state): (float(count), float(age)) for state, count, age in await self._postgres.fetch(_BY_STATE)}
        for state in _STATES:
            count, age = states.get(state, (0.0, 0.0))
            found.append(("pg_stat_activity_count", {"state": state}, count))
            found.append(("pg_stat_activity_max_tx_duration", {"state": state}, age))
        for setting in await self._postgres.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])", [*_SETTINGS]
        ):
            name = str(setting["name"])
            suffix, unit = _SETTINGS[name]
            found.append((f"pg_settings_{name}{suffix}", {}, unit * float(setting["setting"])))
        return found + await self._of_statements(self._postgres)

    async def _of_statements(self, postgres: asyncpg.Connection[Any]) -> Found:
        """Calls and time of each statement, where this PostgreSQL counts them."""
        if not self._lab.postgres.counts_statements:
            return []
        found: Found = []
        for role, query, calls, seconds in await postgres.fetch(_STATEMENTS):
            labels = {"user": str(role), "datname": "postgres", "queryid": str(query)}
            found.append(("pg_stat_statements_calls_total", labels, float(calls)))
            found.append(("pg_stat_statements_seconds_total", labels, float(seconds)))
        return found

    async def _of_redis(self) -> Found:
        info: dict[str, Any] = await self._redis.info("everything")
        config: dict[Any, Any] = await self._redis.config_get("*")
        policy, fsync = str(config["maxmemory-policy"]), str(config["appendfsync"])
        found: Found = [
            ("redis_keyspace_hits_total", {}, float(info["keyspace_hits"])),
            ("redis_keyspace_misses_total", {}, float(info["keyspace_misses"])),
            ("redis_memory_used_bytes", {}, float(info["used_memory"])),
            ("redis_memory_max_bytes", {}, float(info["maxmemory"])),
            ("redis_evicted_keys_total", {}, float(info["evicted_keys"])),
            ("redis_connected_clients", {}, float(info["connected_clients"])),
            ("redis_rejected_connections_total", {}, float(info["rejected_connections"])),
            ("redis_config_maxclients", {}, float(config["maxclients"])),
            ("redis_config_timeout", {}, float(config["timeout"])),
            ("redis_aof_delayed_fsync_total", {}, float(info.get("aof_delayed_fsync", 0))),
            ("redis_config_tcp_keepalive", {}, float(config["tcp-keepalive"])),
            ("redis_cpu_user_seconds_total", {}, float(info["used_cpu_user"])),
            ("redis_cpu_sys_seconds_total", {}, float(info["used_cpu_sys"])),
            ("redis_rdb_bgsave_in_progress", {}, float(info["rdb_bgsave_in_progress"])),
            ("redis_rdb_last_bgsave_status", {}, float(info["rdb_last_bgsave_status"] == "ok")),
            ("redis_aof_enabled", {}, float(info["aof_enabled"])),
        ]
        known = ("noeviction", "allkeys-lru")
        found += [("redis_config_maxmemory_policy", {"policy": one}, float(one == policy)) for one in known]
        found += [("redis_config_appendfsync", {"value": one}, float(one == fsync)) for one in ("always", "everysec")]
        errors = {key: value for key, value in info.items() if key.startswith("errorstat_")}
        oom = errors.get("errorstat_OOM", {"count": 0})
        found.append(("redis_errors_total", {"err": "OOM"}, float(oom["count"])))
        return found


def _memory() -> Found:
    memory = psutil.virtual_memory()
    return [
        ("node_memory_MemAvailable_bytes", {}, float(memory.available)),
        ("node_memory_MemTotal_bytes", {}, float(memory.total)),
    ]


def _container(name: str, replica: Replica) -> Found:
    if replica.limits is None:
        return []
    return [(metric, {"name": f"{name}-{replica.number}"}, value) for metric, value in replica.limits.metrics()]
