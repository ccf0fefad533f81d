"""Redis that flushes each write to a slow disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab

_WRITES_PER_S = 40


class RedisFsync(Fault):
    """`appendfsync always` on a disk that takes 40 writes a second; each health request writes to Redis."""

    name, finding, kind = "redis-fsync", "REDIS_FSYNC_ALWAYS", "redis.appendfsync"
    needs_limits = True

    async def prepare(self, lab: Lab) -> None:
        for service in lab.services:
            await lab.turn(service, NOTES="1")
        lab.redis_cli("CONFIG", "SET", "appendonly", "yes")

    async def inject(self, lab: Lab) -> None:
        lab.slow_redis_disk(_WRITES_PER_S)
        lab.redis_cli("CONFIG", "SET", "appendfsync", "always")

    async def undo(self, lab: Lab) -> None:
        lab.slow_redis_disk(0)
        lab.redis_cli("CONFIG", "SET", "appendfsync", "everysec")
