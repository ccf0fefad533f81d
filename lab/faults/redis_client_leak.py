"""A client that leaks connections to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab

_EACH_SCRAPE = 12
_MOST = 1200


class RedisClientLeak(Fault):
    """Connections that nobody uses or closes, twelve more each scrape, and Redis closes none for being idle."""

    name, finding, kind = "redis-client-leak", "REDIS_CLIENT_LEAK", "redis.timeout"

    def __init__(self) -> None:
        self._clients: list[redis.Redis] = []

    async def inject(self, lab: Lab) -> None:
        await self.go_on(lab)

    async def go_on(self, lab: Lab) -> None:
        if len(self._clients) < _MOST:
            for _ in range(_EACH_SCRAPE):
                client = redis.Redis(port=lab.redis.port, single_connection_client=True)
                client.ping()
                self._clients.append(client)

    async def undo(self, lab: Lab) -> None:
        del lab
        while self._clients:
            self._clients.pop().close()
