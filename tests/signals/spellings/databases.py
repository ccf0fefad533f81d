"""PostgreSQL and Redis, as signals name them and as each other producer does."""

from __future__ import annotations

from tests.signals.spelling import Same, by, by_state, counter, counters, gauge, gauges, with_rest

DATABASES = ({"db": "shop"}, {"db": "postgres_global"})
BACKENDS, CONNECTIONS = gauge("pg_stat_activity_count", 90.0), gauge("pg_settings_max_connections", 300.0)
BLOCKS_HIT, BLOCKS_READ = counter("pg_stat_database_blks_hit", 990.0), counter("pg_stat_database_blks_read", 10.0)
REDIS_HITS, REDIS_MISSES = counter("redis_keyspace_hits", 90.0), counter("redis_keyspace_misses", 10.0)
REDIS_MEMORY, REDIS_MOST = gauge("redis_memory_used_bytes", 4e8), gauge("redis_memory_max_bytes", 1e9)
CLIENTS = gauge("redis_connected_clients", 50.0)

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
        ("redis.cpu.utilisation",),
        [counter("redis_cpu_user_seconds_total", 0.5), counter("redis_cpu_sys_seconds_total", 0.2)],
        [
            by("state", "redis.cpu.time", {"user": 0.5, "sys": 0.2, "user_children": 0.1}),
            [counter("redis_used_cpu_user", 0.5), counter("redis_used_cpu_sys", 0.2)],
        ],
    ),
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
