"""What the executor runs of a recommendation's commands, and what it leaves to people."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ResponseError

from lab.executor import RefusedError, execute, sped_up
from lab.system import Replica
from pipeline.advise.rules.rule import fill
from tests.advise.helpers import shipped


class Knobs:
    """A lab that only notes which knob was turned."""

    def __init__(self) -> None:
        self.turned: list[tuple[Any, ...]] = []
        self.services: dict[str, list[Replica]] = {}

    async def turn(self, service: str, replica: int | None = None, **knobs: str) -> None:
        assert replica is None
        self.turned.append((service, knobs))

    async def sql(self, statements: str) -> None:
        self.turned.append(("sql", statements))

    async def replace(self, service: str, number: int) -> None:
        self.turned.append(("replaced", service, number))

    async def roll_back(self, service: str) -> None:
        self.turned.append(("rolled back", service))

    def redis_cli(self, *arguments: str) -> None:
        self.turned.append(arguments)


class Used:
    """Limits of a replica that uses so much CPU between two looks."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looks = 0

    def set_memory(self, memory: int) -> None:
        self.memory = memory

    def cpu_used(self) -> float:
        self._looks += 1
        return self._looks * self._seconds


def run(*commands: tuple[str, str]) -> list[tuple[Any, ...]]:
    knobs = Knobs()
    knobs.services = {"duri_core": [Replica(number, "", None, Used(cpu)) for number, cpu in enumerate((0.1, 0.4, 0.2))]}
    asyncio.run(execute(knobs, "duri_core", [{"via": via, "run": text} for via, text in commands]))
    return knobs.turned


def test_a_pool_size_is_an_environment_variable_of_the_service() -> None:
    assert run(("sqlalchemy", "create_async_engine(url, pool_size=20)"), ("env", "DB_POOL_SIZE=20")) == [
        ("duri_core", {"DB_POOL_SIZE": "20"})
    ]


def test_redis_commands_are_run_one_after_the_other() -> None:
    assert run(("redis-cli", "redis-cli CONFIG SET maxmemory 512mb && redis-cli CONFIG REWRITE")) == [
        ("CONFIG", "SET", "maxmemory", "512mb"),
        ("CONFIG", "REWRITE"),
    ]


def test_statements_with_places_to_fill_in_are_left_to_people() -> None:
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state_change < now() - interval '5 s'"
    assert run(("sql", "VACUUM (ANALYZE) <table>"), ("sql", terminate)) == [("sql", terminate)]
    assert run(("redis-cli", "redis-cli CONFIG SET save '<what it was>' && redis-cli CONFIG REWRITE")) == []


def test_what_is_refused_says_which_command_and_why() -> None:
    """Nothing after it is run: what follows may rely on it."""
    lab = Knobs()

    def refuse(*arguments: str) -> None:
        raise ResponseError(f"Invalid argument {arguments[-1]!r}")

    lab.redis_cli = refuse
    commands = [{"via": "redis-cli", "run": "redis-cli CONFIG SET maxmemory much"}, {"via": "env", "run": "A=1"}]
    with pytest.raises(RefusedError, match="redis-cli CONFIG SET maxmemory much: Invalid argument 'much'"):
        asyncio.run(execute(lab, "duri_core", commands))
    assert lab.turned == []


def test_a_memory_limit_is_set_in_mebibytes_and_taken_back_to_the_byte() -> None:
    """The rule's own commands: what was there before need be no whole number of them."""
    rule = shipped()[0].by_id["container-memory-limit"].rule
    limits = Used(0.0)
    lab = Knobs()
    lab.services = {"duri_core": [Replica(0, "", None, limits)]}
    values = {"service": "duri_core", "recommended_mib": "1024", "current": "100000000"}
    for commands, expected in ((rule.commands, 1 << 30), (rule.undo, 100_000_000)):
        told = [{"via": one.via, "run": fill(one.run, values)} for one in commands]
        assert len(asyncio.run(execute(lab, "duri_core", told))) == 1
        assert limits.memory == expected


def test_the_busiest_replica_is_replaced() -> None:
    """By the catalogue's own command, so that a change of one shows in the other."""
    catalogue, _ = shipped()
    commands = catalogue.by_id["container-load-balancing"].rule.commands
    [replacing] = [one.run.replace("{service}", "duri_core") for one in commands if one.via == "kubernetes"]
    assert run(("kubernetes", replacing)) == [("replaced", "duri_core", 1)]


def test_a_rollback_and_its_undo_are_the_same_step() -> None:
    """As with `kubectl rollout undo`, which goes back to the version before, and then to the newest again."""
    catalogue, _ = shipped()
    rule = catalogue.by_id["deploy-rollback"].rule
    for commands in (rule.commands, rule.undo):
        [back] = [one.run.replace("{service}", "duri_core") for one in commands if one.via == "kubernetes"]
        assert run(("kubernetes", back)) == [("rolled back", "duri_core")]


def test_prose_is_not_run() -> None:
    assert run(("env", "set the earlier time to live again"), ("git", "revert it")) == []


def test_statements_that_only_look_change_nothing_and_so_are_not_applied() -> None:
    assert run(("sql", "SELECT state, count(*) FROM pg_stat_activity GROUP BY 1")) == []


def test_durations_are_those_of_the_labs_clock() -> None:
    """Five minutes of its time are one of the wall's; sizes are no durations."""
    leak = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state_change < now() - interval '5 minutes'"
    assert sped_up(leak, 5.0).endswith("interval '60 seconds'")
    assert sped_up("ALTER SYSTEM SET idle_session_timeout = '300s'", 5.0).endswith("= '60s'")
    assert sped_up("redis-cli CONFIG SET timeout 300 && redis-cli CONFIG REWRITE", 5.0).startswith(
        "redis-cli CONFIG SET timeout 60 &&"
    )
    never = "redis-cli CONFIG SET timeout 0 && redis-cli CONFIG REWRITE"
    assert sped_up(never, 5.0) == never
    sizes = "ALTER SYSTEM SET work_mem = '16384kB'"
    assert sped_up(sizes, 5.0) == sizes
