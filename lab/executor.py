"""Runs the commands of a recommendation on the lab; what names a person's decision is left to people."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.system import Lab

_DOCKER_CPUS = re.compile(r"docker update --cpus (\S+) (\S+)")
_DOCKER_MEMORY = re.compile(r"docker update --memory (\d+)m .* (\S+)")
_CHANGING = ("pg_terminate_backend", "pg_cancel_backend", "pg_reload_conf")
_ROLLBACK = re.compile(r"kubectl rollout undo deployment/(\S+)")


async def execute(lab: Lab, service: str, commands: Sequence[Mapping[str, Any]]) -> list[str]:
    """Run those that can be run as they stand, in their order; returns them. Others say the same for other tools."""
    done = []
    for command in commands:
        via, run = str(command["via"]), str(command["run"])
        if await _run(lab, service, via, run):
            done.append(run)
    return done


async def _run(lab: Lab, service: str, via: str, run: str) -> bool:
    if via == "env" and re.fullmatch(r"[A-Z_]+=\S*", run):
        name, _, value = run.partition("=")
        await lab.turn(service, **{name: value})
        return True
    if via == "sql" and _only_looks(run):
        return False
    if via == "sql" and "<" not in re.sub(r"< now\(\)", "", run) and "..." not in run:
        await lab.sql(run)
        return True
    if via == "redis-cli" and "|" not in run:
        for part in run.split("&&"):
            lab.redis_cli(*shlex.split(part)[1:])
        return True
    return await _container(lab, via, run)


def _only_looks(statement: str) -> bool:
    return statement.startswith("SELECT") and not any(name in statement for name in _CHANGING)


async def _container(lab: Lab, via: str, run: str) -> bool:
    if via == "docker" and (cpus := _DOCKER_CPUS.fullmatch(run)):
        limits = lab.services[cpus[2]].limits
        if limits is not None:
            limits.set_cores(float(cpus[1]))
        return limits is not None
    if via == "docker" and (memory := _DOCKER_MEMORY.fullmatch(run)):
        limits = lab.services[memory[2]].limits
        if limits is not None:
            limits.set_memory(int(memory[1]) << 20)
        return limits is not None
    if via == "kubernetes" and (rollback := _ROLLBACK.fullmatch(run)):
        await lab.turn(rollback[1], VERSION_DELAY_S="0", VERSION_ERRORS="0")
        return True
    return False
