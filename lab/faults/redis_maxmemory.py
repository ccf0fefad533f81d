"""Redis with too little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class RedisMaxmemory(Fault):
    """4 MB for some 10 MB of items: keys are evicted as fast as they come."""

    name, finding, kind = "redis-maxmemory", "REDIS_MEMORY_TOO_SMALL", "redis.maxmemory"

    async def inject(self, lab: Lab) -> None:
        lab.redis_cli("CONFIG", "SET", "maxmemory", "4mb")

    async def undo(self, lab: Lab) -> None:
        lab.redis_cli("CONFIG", "SET", "maxmemory", "64mb")
