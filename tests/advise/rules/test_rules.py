"""Every rule of the shipped catalogue: frames in, its recommendation out, and what looks alike told apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pipeline import records
from pipeline.advise.ruletests import judge, judge_stop, recommend, records_of
from tests.advise.helpers import GIB, SLOW, Fault, Story, advice, advise_on, make_stage, rules, shipped

if TYPE_CHECKING:
    from pipeline.advise.rules.rule import Rule, RuleTest

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
OWN_TESTS = [(entry.rule, test) for entry in shipped()[0].rules for test in entry.rule.tests]


@pytest.mark.parametrize(("rule", "test"), OWN_TESTS, ids=[f"{rule.id}-{test.name}" for rule, test in OWN_TESTS])
def test_rule_passes_its_own_test(rule: Rule, test: RuleTest) -> None:
    """The test next to the rule, and everything that a person needs in the recommendation."""
    found = recommend(shipped()[0], records_of(test, shipped()[0]))
    assert judge(rule, test, found) == ""
    assert judge_stop(shipped()[0].by_id[rule.id], test, shipped()[0]) == ""
    mine = [record for record in found if record.provenance.rule == rule.id]
    if test.expect == "absent":
        return
    assert len(mine) == 1
    [first] = mine
    assert first.change.recommended != first.change.current
    assert first.undo
    assert first.why.incident
    assert sum(item.contribution for item in first.why.evidence) == pytest.approx(1.0, abs=0.01)
    text = f"{first.how} {first.undo} {first.why.reason} {first.effect.text}"
    assert "unknown" not in text
    assert "{" + "service}" not in text


def test_every_rule_has_a_test_of_its_own() -> None:
    """No rule is shipped without; one of them says what the change may do so that it is taken back."""
    shipped_rules = [entry.rule for entry in shipped()[0].rules]
    assert [rule.id for rule in shipped_rules if not any(test.stopped_by for test in rule.tests)] == []


@pytest.mark.parametrize(("change", "rule"), [("deploy", "deploy-rollback"), ("config", "config-revert")])
def test_rule_finds_its_change(change: str, rule: str) -> None:
    """A change shortly before a service gets worse is what to take back."""
    story = Story().healthy(40).deploy(change=change, summary="new pool library")
    found = advice(make_stage().step(story.troubled(5, {"duri_core": Fault(SLOW, rising=[P95])}).take()))
    assert rules(found) == [rule]
    assert found[0]["why"]["changes"] == ["deploy-7"]


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


def test_pool_or_young_lock() -> None:
    """The queue for a lock explains the pool from its first interval on, however young the transaction is."""
    young = {"pg.locks.waiting": 9.0, "pg.transaction.age": 6.0, "pg.idle_in_transaction.age": 6.0}
    assert rules(advise_on(Fault({**SLOW, **POOL, **young}, rising=[P95, "app.pool.utilisation"]))) == [
        "pg-idle-in-transaction"
    ]


def test_a_full_redis_gets_room_as_well_as_a_policy() -> None:
    """With 2 MB it would evict as fast as it is filled; the undo gives both back."""
    full = Fault(
        {"redis.oom_errors.rate": 107.0, "http.error_ratio": 0.15, "http.availability": 0.85},
        {"redis.policy_noeviction": 1.0, "redis.maxmemory": 2.0 * 1024**2},
        rising=["http.error_ratio"],
    )
    first = advise_on(full)[0]
    assert "maxmemory 512mb" in first["how"]["commands"][0]["run"]
    assert "maxmemory 2097152 " in first["undo"][0]["run"]


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


def test_times_in_reasons_are_as_people_say_them() -> None:
    """Hours and minutes, not 158 minutes."""

    def slowly(minute: int) -> float:
        return 0.5 * GIB + max(0, minute - 40) * 3 * 1024.0**2

    leak = Fault(
        {"container.memory.bytes": slowly, "container.memory.utilisation": lambda minute: slowly(minute) / GIB},
        rising=["container.memory.bytes"],
    )
    reason = next(iter(advise_on(leak, minutes=15)))["why"]["reason"]
    assert re.search(r"reaches its limit in about \d h \d+ min\.", reason), reason
    story = Story().healthy(40).deploy().troubled(5, {"duri_core": Fault(SLOW, rising=[P95])})
    reason = next(iter(advice(make_stage().step(story.take()))))["why"]["reason"]
    assert "got worse 2 min 30 s after 1.7 was deployed" in reason


def test_leak_or_load() -> None:
    """Memory that grows with the requests is no leak."""
    growing = Fault(
        {**LEAK, "http.rps": lambda minute: 120.0 + 6.0 * max(0, minute - 40)}, rising=["container.memory.utilisation"]
    )
    assert "container-memory-leak" not in rules(advise_on(growing, minutes=40))


@pytest.mark.parametrize(("growing", "speaks"), [(55, True), (12, False)])
def test_a_fast_leak_is_found_before_it_ends_or_levels_off(growing: int, speaks: bool) -> None:
    """At 5 s frames: full in a quarter of an hour is told within five minutes; one minute of growth is a warm-up."""

    def leaking(interval: int) -> float:
        return 0.5 * GIB + min(max(0, interval - 240), growing) * 5 * 1024.0**2

    leak = Fault(
        {"container.memory.bytes": leaking, "container.memory.utilisation": lambda interval: leaking(interval) / GIB},
        rising=["container.memory.bytes", "container.memory.utilisation"],
    )
    story = Story(frame_s=5.0).healthy(240).troubled(55, {"duri_core": leak})
    assert ("container-memory-leak" in rules(advice(make_stage(frame_s=5.0).step(story.take())))) is speaks


def test_surge_or_throttling() -> None:
    """With twice the requests, replicas are wanted rather than a higher limit."""
    fault = Fault({**SLOW, **BUSY, "container.cpu.throttled_ratio": 0.6}, rising=[P95])
    found = rules(advise_on(fault))
    assert found[0] == "container-replicas"
    assert "container-cpu-limit" not in found


# --- missing gauges -------------------------------------------------------------------------------------------


def test_missing_gauge_uses_the_guides_value_and_says_so() -> None:
    """Without a pool-size gauge the guide's 20 is assumed, stated, and believed less."""
    known = advise_on(Fault({**SLOW, **POOL}, rising=[P95]))[0]
    fault = Fault({**SLOW, **POOL}, rising=[P95], without=["app.pool_size"])
    guessed = advise_on(fault)[0]
    assert guessed["change"]["current"] == 20.0
    notes = {item["signal"]: item["note"] for item in guessed["why"]["evidence"]}
    assert notes["app.pool_size"].startswith("assumed (the guide's value)")
    assert guessed["why"]["reason"].endswith("Assumed, since no gauge tells: app.pool_size 20.")
    assert "ssumed" not in known["why"]["reason"]
    assert guessed["confidence"] < known["confidence"]


def test_an_assumed_present_value_is_told_as_such() -> None:
    """The reason speaks of PostgreSQL's connections, and nobody tells how many it may have."""
    fault = Fault({**ERRORS, "pg.connections.utilisation": 0.99}, rising=FAILING, without=["pg.max_connections"])
    refused = next(one for one in advise_on(fault) if one["provenance"]["rule"] == "pg-max-connections")
    assert "Assumed, since no gauge tells: pg.max_connections " in refused["why"]["reason"]


def test_limit_stays_above_the_observed_peak() -> None:
    """A new memory limit leaves a quarter above the highest use that was seen."""
    peak = 3.9 * GIB
    story = Story().healthy(20).troubled(1, {"duri_core": Fault({"container.memory.bytes": peak})}).healthy(30)
    fault = Fault(
        {"container.memory.utilisation": 0.93, "container.memory.bytes": 0.93 * GIB},
        rising=["container.memory.utilisation"],
    )
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


def test_a_loop_that_is_as_late_as_ever_is_no_cause() -> None:
    """Lag beyond the rule's bound, but no more than it always was: something else made the requests slow."""
    usual = {"app.event_loop.lag": 0.06}
    story, stage = Story(), make_stage()
    story.troubled(40, {"duri_core": Fault(usual)})
    slow = Fault({**SLOW, "app.event_loop.lag": 0.07}, rising=["http.latency.p95"])
    found = advice(stage.step(story.troubled(5, {"duri_core": slow}).take()))
    assert "app-blocking-handler" not in rules(found)


CACHE_MISSES = {**SLOW, "redis.evictions.rate": 50.0, "redis.hit_ratio": 0.2}


@pytest.mark.parametrize(
    ("signals", "setting", "undo"),
    [
        ({**SLOW, "pg.cache_hit_ratio": 0.5}, {"pg.shared_buffers": 131072.0}, "shared_buffers = '128kB'"),
        (CACHE_MISSES, {"redis.maxmemory": 1500000.0}, "CONFIG SET maxmemory 1500000 "),
        ({"container.memory.utilisation": 0.95}, {"container.memory_limit": 1e9}, "--memory 1000000000b "),
    ],
)
def test_an_undo_sets_what_was_there_to_the_byte(
    signals: dict[str, float], setting: dict[str, float], undo: str
) -> None:
    """A rounded one would leave another knob behind than it found."""
    [first, *_] = advise_on(Fault(signals, setting, rising=[P95, "container.memory.utilisation"]))
    assert any(undo in command["run"] for command in first["undo"]), first["undo"]
