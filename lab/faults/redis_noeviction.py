"""A full Redis that may evict nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class RedisNoeviction(Fault):
    """Writes are refused (OOM) and fail the requests that miss."""

    name, finding, kind = "redis-noeviction", "REDIS_FULL_NOEVICTION", "redis.maxmemory_policy"

    async def inject(self, lab: Lab) -> None:
        lab.redis_cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        lab.redis_cli("CONFIG", "SET", "maxmemory", "2mb")
        # What is there stays; only what is missing finds no room.
        lab.redis_cli("FLUSHALL")

    async def undo(self, lab: Lab) -> None:
        lab.redis_cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        lab.redis_cli("CONFIG", "SET", "maxmemory", "64mb")
