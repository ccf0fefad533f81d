"""Every rule of the shipped catalogue: frames in, its recommendation out, and what looks alike told apart."""

from __future__ import annotations

import pytest

from pipeline import records
from tests.advise.helpers import GIB, SLOW, Fault, Story, advice, advise_on, make_stage, rules, shipped

P95 = "http.latency.p95"
ERRORS = {"http.error_ratio": 0.15, "http.availability": 0.85}
FAILING = ["http.error_ratio"]
BUSY = {"http.rps": 260.0, "container.cpu.utilisation": 0.85}
POOL = {"app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2, "app.pool.timeouts": 0.5}
LOCKS = {"pg.locks.waiting": 20.0, "pg.transaction.age": 90.0}


def leaking(minute: int) -> float:
    """Bytes of a container that leaks 10 MiB a minute since minute 40."""
    return 0.5 * GIB + max(0, minute - 40) * 10 * 1024.0**2


LEAK = {"container.memory.bytes": leaking, "container.memory.utilisation": lambda minute: leaking(minute) / GIB}

CASES: dict[str, Fault] = {
    "app-pool-size": Fault({**SLOW, **POOL}, rising=[P95]),
    "app-pool-overflow": Fault(
        {**SLOW, **POOL, "http.rps": 200.0}, {"app.pool_size": 20.0, "app.max_overflow": 5.0}, rising=[P95]
    ),
    "app-cache-off": Fault(
        {**SLOW, "app.cache.hit_ratio": 0.0, "pg.tup_fetched.rate": 30_000.0}, {"app.cache_enabled": 0.0}, rising=[P95]
    ),
    "app-cache-hit-ratio": Fault({"app.cache.hit_ratio": 0.2}, falling=["app.cache.hit_ratio"]),
    "app-blocking-handler": Fault({**SLOW, "app.event_loop.lag": 0.16}, rising=[P95, "app.event_loop.lag"]),
    "pg-missing-index": Fault(
        {**SLOW, "pg.seq_tup_read.rate": 9.9e6, "pg.tup_returned.rate": 9.9e6}, rising=[P95, "pg.seq_tup_read.rate"]
    ),
    "pg-work-mem": Fault({**SLOW, "pg.temp_bytes.rate": 5e6}, rising=[P95, "pg.temp_bytes.rate"]),
    "pg-shared-buffers": Fault({**SLOW, "pg.cache_hit_ratio": 0.8}, rising=[P95], falling=["pg.cache_hit_ratio"]),
    "pg-max-connections": Fault(
        {
            **ERRORS,
            **BUSY,
            "pg.connections.utilisation": 0.98,
            "pg.connections": 196.0,
            "app.pool.utilisation": 0.95,
            "container.cpu.utilisation": 0.6,
        },
        rising=FAILING,
    ),
    "pg-connection-leak": Fault(
        {**ERRORS, "pg.connections.utilisation": 0.98, "pg.connections": 196.0}, rising=FAILING
    ),
    "pg-idle-in-transaction": Fault({**SLOW, **LOCKS, **POOL}, rising=[P95, "pg.locks.waiting"]),
    "pg-vacuum": Fault({**SLOW, "pg.dead_tuples": 1.3e6}, rising=[P95]),
    "pg-deadlocks": Fault({**ERRORS, "pg.deadlocks.rate": 0.4}, rising=[*FAILING, "pg.deadlocks.rate"]),
    "redis-maxmemory": Fault(
        {**SLOW, "redis.evictions.rate": 214.0, "redis.hit_ratio": 0.3, "redis.memory.utilisation": 1.0},
        rising=[P95, "redis.evictions.rate"],
        falling=["redis.hit_ratio"],
    ),
    "redis-maxmemory-policy": Fault(
        {**ERRORS, "redis.oom_errors.rate": 107.0, "redis.memory.utilisation": 1.0},
        {"redis.policy_noeviction": 1.0},
        rising=FAILING,
    ),
    "redis-appendfsync": Fault(
        {**SLOW, "redis.aof_delayed.rate": 2.0}, {"redis.appendfsync_always": 1.0}, rising=[P95]
    ),
    "redis-restart-persistence": Fault(
        {**SLOW, "redis.memory.bytes": 0.01 * GIB, "redis.memory.utilisation": 0.02, "redis.hit_ratio": 0.1},
        rising=[P95],
        falling=["redis.hit_ratio"],
    ),
    "redis-client-timeout": Fault(
        {"redis.connected_clients": 9500.0, "redis.clients.utilisation": 0.95, "redis.rejected.rate": 3.0, **ERRORS},
        {"redis.timeout": 0.0},
        rising=FAILING,
    ),
    "redis-tcp-keepalive": Fault(
        {"redis.connected_clients": 8500.0, "redis.clients.utilisation": 0.85},
        {"redis.tcp_keepalive": 0.0},
        rising=["redis.connected_clients"],
    ),
    "redis-maxclients": Fault(
        {
            **ERRORS,
            "http.rps": 260.0,
            "redis.clients.utilisation": 0.99,
            "redis.connected_clients": 9900.0,
            "redis.rejected.rate": 5.0,
        },
        rising=FAILING,
    ),
    "container-cpu-limit": Fault({**SLOW, "container.cpu.throttled_ratio": 0.9}, {"container.cpu_limit": 0.25}, [P95]),
    "container-memory-limit": Fault(
        {"container.memory.utilisation": 0.93, "container.memory.bytes": 0.93 * GIB},
        rising=["container.memory.utilisation"],
    ),
    "container-memory-leak": Fault(LEAK, rising=["container.memory.utilisation"]),
    "container-replicas": Fault({**SLOW, **BUSY}, rising=[P95, "container.cpu.utilisation"]),
    "node-disk-filling": Fault({"node.filesystem.utilisation": 0.92}, rising=["node.filesystem.utilisation"]),
    "node-cpu-contention": Fault({"node.cpu.utilisation": 0.97}, rising=["node.cpu.utilisation"]),
    "node-memory-pressure": Fault({"node.memory.utilisation": 0.95}, rising=["node.memory.utilisation"]),
    "unexplained-regression": Fault(SLOW, rising=[P95]),
}
"""Rule by fault that it finds first, on a service of its own."""


@pytest.mark.parametrize("rule", CASES)
def test_rule_finds_its_fault(rule: str) -> None:
    """The rule's own fault makes it the first choice, once, with everything that a person needs."""
    found = advise_on(CASES[rule], minutes=25)
    assert rules(found)[:1] == [rule]
    first = next(record for record in found if record["provenance"]["rule"] == rule)
    assert first["rank"] == 1
    assert len({record["id"] for record in found if record["provenance"]["rule"] == rule}) == 1
    assert first["change"]["recommended"] != first["change"]["current"]
    assert first["undo"]
    assert first["why"]["evidence"]
    assert first["why"]["incident"]
    assert sum(item["contribution"] for item in first["why"]["evidence"]) == pytest.approx(1.0, abs=0.01)
    text = str(first["how"]) + str(first["undo"]) + first["why"]["reason"]
    assert "unknown" not in text
    assert "{" + "service}" not in text


@pytest.mark.parametrize(("change", "rule"), [("deploy", "deploy-rollback"), ("config", "config-revert")])
def test_rule_finds_its_change(change: str, rule: str) -> None:
    """A change shortly before a service gets worse is what to take back."""
    story = Story().healthy(40).deploy(change=change, summary="new pool library")
    found = advice(make_stage().step(story.troubled(5, {"duri_core": Fault(SLOW, rising=[P95])}).take()))
    assert rules(found) == [rule]
    assert found[0]["why"]["changes"] == ["deploy-7"]


def test_every_rule_has_a_case() -> None:
    """No rule is shipped without its test."""
    assert {entry.rule.id for entry in shipped()[0].rules} == {*CASES, "deploy-rollback", "config-revert"}


def test_rollback_names_the_versions() -> None:
    """From which version to which, with the command that does it."""
    story = Story().healthy(40).deploy()
    found = advice(make_stage().step(story.troubled(5, {"duri_core": Fault(SLOW, rising=[P95])}).take()))
    assert (found[0]["change"]["current"], found[0]["change"]["recommended"]) == ("1.7", "1.6")
    assert found[0]["how"]["commands"][0]["run"] == "kubectl rollout undo deployment/duri_core"


# --- told apart -----------------------------------------------------------------------------------------------


def first_rule(fault: Fault) -> str | None:
    """The first choice for this fault."""
    return next(iter(rules(advise_on(fault, minutes=6))), None)


def test_pool_or_lock() -> None:
    """Locks waiting and an old transaction: the pool is full because of them."""
    assert "app-pool-size" not in rules(advise_on(Fault({**SLOW, **POOL, **LOCKS}, rising=[P95])))


def test_pool_or_downstream() -> None:
    """A pool that is full because a callee is slow is not too small; the callee is the cause."""
    story = Story(("duri_core", "duri_brain")).healthy(40)
    faults = {
        "duri_core": Fault({**SLOW, **POOL}, rising=[P95]),
        "duri_brain": Fault({**SLOW, "app.event_loop.lag": 0.16}, rising=[P95, "app.event_loop.lag"]),
    }
    found = advice(make_stage().step(story.troubled(5, faults).take()))
    assert rules(found) == ["app-blocking-handler"]
    assert found[0]["target"]["service"] == "duri_brain"


@pytest.mark.parametrize(
    ("signals", "rule"),
    [
        ({"app.event_loop.lag": 0.2}, "app-blocking-handler"),
        ({"app.event_loop.lag": 0.2, "container.cpu.throttled_ratio": 0.9}, "container-cpu-limit"),
        ({}, "deploy-rollback"),
    ],
)
def test_blocking_call_or_throttled_cpu_or_slow_deploy(signals: dict[str, float], rule: str) -> None:
    """Loop lag, throttled ratio and the version label separate three faults of one look."""
    story = Story().healthy(40)
    if rule == "deploy-rollback":
        story.deploy()
    found = advice(make_stage().step(story.troubled(5, {"duri_core": Fault({**SLOW, **signals}, rising=[P95])}).take()))
    assert rules(found)[0] == rule


def test_mechanism_beats_deploy() -> None:
    """After a deploy, a mechanism that shows is the first choice; the rollback stands as the alternative."""
    story = Story().healthy(40).deploy()
    fault = Fault({**SLOW, "app.event_loop.lag": 0.2}, rising=[P95, "app.event_loop.lag"])
    found = advice(make_stage().step(story.troubled(5, {"duri_core": fault}).take()))
    assert rules(found) == ["app-blocking-handler", "deploy-rollback"]


def test_old_deploy_is_not_blamed() -> None:
    """A deploy longer ago than the change window is none of it."""
    story = Story().healthy(40).deploy(minutes_ago=35)
    found = advice(make_stage().step(story.troubled(5, {"duri_core": Fault(SLOW, rising=[P95])}).take()))
    assert rules(found) == ["unexplained-regression"]


def test_maxmemory_or_restart() -> None:
    """Misses with evictions want memory; misses without, in an emptied Redis, come from a restart."""
    misses = {**SLOW, "redis.hit_ratio": 0.1}
    assert first_rule(Fault({**misses, "redis.evictions.rate": 50.0}, rising=[P95])) == "redis-maxmemory"
    empty = Fault({**misses, "redis.memory.bytes": 0.01 * GIB}, rising=[P95])
    assert first_rule(empty) == "redis-restart-persistence"


def test_noeviction_or_refused_connections() -> None:
    """The kind of error tells a full Redis from exhausted PostgreSQL connections."""
    full = Fault({**ERRORS, "redis.oom_errors.rate": 9.0}, {"redis.policy_noeviction": 1.0}, rising=FAILING)
    assert first_rule(full) == "redis-maxmemory-policy"
    assert first_rule(Fault({**ERRORS, "pg.connections.utilisation": 0.99}, rising=FAILING)) == "pg-max-connections"


def test_index_or_work_mem() -> None:
    """Temporary files speak for work_mem, sequentially read rows for an index."""
    assert first_rule(Fault({**SLOW, "pg.temp_bytes.rate": 5e6}, rising=[P95])) == "pg-work-mem"
    assert first_rule(Fault({**SLOW, "pg.seq_tup_read.rate": 5e6}, rising=[P95])) == "pg-missing-index"


def test_index_without_the_exporters_seq_tup_read() -> None:
    """The guide's own metrics are enough: rows returned far beyond rows fetched."""
    signals = {**SLOW, "pg.tup_returned.rate": 5e6}
    fault = Fault(signals, rising=[P95, "pg.tup_returned.rate"], without=["pg.seq_tup_read.rate"])
    assert first_rule(fault) == "pg-missing-index"


def test_leak_or_load() -> None:
    """Memory that grows with the requests is no leak."""
    growing = Fault(
        {**LEAK, "http.rps": lambda minute: 120.0 + 6.0 * max(0, minute - 40)}, rising=["container.memory.utilisation"]
    )
    assert "container-memory-leak" not in rules(advise_on(growing, minutes=40))


def test_surge_or_throttling() -> None:
    """With twice the requests, replicas are wanted rather than a higher limit."""
    fault = Fault({**SLOW, **BUSY, "container.cpu.throttled_ratio": 0.6}, rising=[P95])
    found = rules(advise_on(fault))
    assert found[0] == "container-replicas"
    assert "container-cpu-limit" not in found


# --- missing gauges -------------------------------------------------------------------------------------------


def test_missing_gauge_uses_the_guides_value_and_says_so() -> None:
    """Without a pool-size gauge the guide's 20 is assumed, stated, and believed less."""
    known = advise_on(CASES["app-pool-size"])[0]
    fault = Fault({**SLOW, **POOL}, rising=[P95], without=["app.pool_size"])
    guessed = advise_on(fault)[0]
    assert guessed["change"]["current"] == 20.0
    notes = {item["signal"]: item["note"] for item in guessed["why"]["evidence"]}
    assert notes["app.pool_size"].startswith("assumed (the guide's value)")
    assert guessed["confidence"] < known["confidence"]


def test_limit_stays_above_the_observed_peak() -> None:
    """A new memory limit leaves a quarter above the highest use that was seen."""
    peak = 3.9 * GIB
    story = Story().healthy(20).troubled(1, {"duri_core": Fault({"container.memory.bytes": peak})}).healthy(30)
    fault = CASES["container-memory-limit"]
    found = advice(make_stage().step(story.troubled(5, {"duri_core": fault}).take()))
    assert found[0]["change"]["recommended"] >= 1.25 * peak


def test_pool_beyond_the_servers_connections_is_not_recommended() -> None:
    """Where the server has no connections to give, a larger pool is no advice."""
    fault = Fault({**SLOW, **POOL}, {"pg.max_connections": 100.0, "container.replicas": 4.0}, rising=[P95])
    assert "app-pool-size" not in rules(advise_on(fault))


def test_raw_series_alone_is_no_advice() -> None:
    """What is learned of a raw series is info, and makes neither incident nor advice."""
    story = Story().healthy(40)
    fault = Fault(SLOW, rising=["go_goroutines"], severity=records.Severity.INFO)
    assert make_stage().step(story.troubled(30, {"duri_core": fault}).take()) == []
