"""Runs the commands of a recommendation on the lab; what names a person's decision is left to people."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import TYPE_CHECKING, Any

import asyncpg
from redis.exceptions import RedisError

from lab.backends import LabError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from lab.system import Lab

_CHANGING = ("pg_terminate_backend", "pg_cancel_backend", "pg_reload_conf", "ALTER SYSTEM")
_DECISION = re.compile(r"<[A-Za-z][^<>]*>|\.\.\.")
"""A place that a person fills in."""
_LOOK_S = 0.5
_NEEDS_RESTART = ("shared_buffers", "max_connections")
# What lasts minutes of the lab's clock. Those of work_mem and the like are no durations.
_DURATION = re.compile(r"(interval '|_timeout = '|CONFIG SET timeout )(\d+)( seconds| minutes|s|\b)")


class RefusedError(LabError):
    """A command was refused; says which and why."""


async def execute(lab: Lab, service: str, commands: Sequence[Mapping[str, Any]], speed: float = 1.0) -> list[str]:
    """Run those that can be run as they stand, in their order; returns them. Others say the same for other tools.

    Durations in them are divided by `speed`, as they are in the lab's time. Raises RefusedError.
    """
    done = []
    for command in commands:
        via, run = str(command["via"]), str(command["run"])
        try:
            if not _DECISION.search(run) and await _run(lab, service, via, sped_up(run, speed)):
                done.append(run)
        except (RedisError, asyncpg.PostgresError) as error:
            raise RefusedError(f"{via}: {run}: {error}") from error
    return done


def sped_up(run: str, speed: float) -> str:
    """A command whose durations are shorter by this factor: whole seconds, one at least; 0 stays 0, which is never."""

    def shorter(found: re.Match[str]) -> str:
        seconds = float(found[2]) * (60.0 if found[3] == " minutes" else 1.0)
        unit = " seconds" if found[3] == " minutes" else found[3]
        return f"{found[1]}{max(1, round(seconds / speed)) if seconds else 0}{unit}"

    return _DURATION.sub(shorter, run)


async def _run(lab: Lab, service: str, via: str, run: str) -> bool:
    if via == "env" and re.fullmatch(r"[A-Z_]+=\S*", run):
        name, _, value = run.partition("=")
        await lab.turn(service, None, **{name: value})
        return True
    if via == "sql":
        return await _sql(lab, run)
    if via == "redis-cli" and "|" not in run:
        for part in run.split("&&"):
            lab.redis_cli(*shlex.split(part)[1:])
        return True
    for tool, shape, action in _TOOLS:
        if via == tool and (found := shape.match(run)):
            return await action(lab, found)
    return False


async def _sql(lab: Lab, run: str) -> bool:
    if run.startswith("SELECT") and not any(name in run for name in _CHANGING):
        return False  # it only looks
    await lab.sql(run)
    if "ALTER SYSTEM" in run and any(name in run for name in _NEEDS_RESTART):
        await lab.restart_postgres()
    return True


async def _cores(lab: Lab, found: re.Match[str]) -> bool:
    limited = [one.limits for one in lab.services[found[2]] if one.limits is not None]
    for limits in limited:
        limits.set_cores(float(found[1]))
    return bool(limited)


async def _memory(lab: Lab, found: re.Match[str]) -> bool:
    limited = [one.limits for one in lab.services[found[3]] if one.limits is not None]
    for limits in limited:
        limits.set_memory(int(found[1]) << (20 if found[2] == "m" else 0))
    return bool(limited)


async def _roll_back(lab: Lab, found: re.Match[str]) -> bool:
    await lab.roll_back(found[1])
    return True


async def _scale(lab: Lab, found: re.Match[str]) -> bool:
    await lab.scale(found[1], int(found[2]))
    return True


async def _restart(lab: Lab, found: re.Match[str]) -> bool:
    await lab.restart(found[1])
    return True


async def _replace(lab: Lab, found: re.Match[str]) -> bool:
    used = {one.number: one.limits.cpu_used for one in lab.services[found[1]] if one.limits is not None}
    before = {number: read() for number, read in used.items()}
    await asyncio.sleep(_LOOK_S)
    if used:
        await lab.replace(found[1], max(used, key=lambda number: used[number]() - before[number]))
    return bool(used)


async def _balance(lab: Lab, found: re.Match[str]) -> bool:
    lab.balancers[found[1]].least_connections = "least_conn" in found[2]
    return True


_TOOLS: Sequence[tuple[str, re.Pattern[str], Callable[[Lab, re.Match[str]], Awaitable[bool]]]] = (
    ("docker", re.compile(r"docker update --cpus (\S+) (\S+)$"), _cores),
    ("docker", re.compile(r"docker update --memory (\d+)([bm]) .* (\S+)$"), _memory),
    ("kubernetes", re.compile(r"kubectl rollout undo deployment/(\S+)"), _roll_back),
    ("kubernetes", re.compile(r"kubectl scale deployment/(\S+) --replicas=(\d+)$"), _scale),
    (
        "kubernetes",
        re.compile(r"kubectl top pod -l app=(\S+) .*--sort-by=cpu.* kubectl delete pod$"),
        _replace,
    ),
    ("compose", re.compile(r"docker compose restart (\S+)$"), _restart),
    ("nginx", re.compile(r"upstream (\S+) \{(.*)\}"), _balance),
)
