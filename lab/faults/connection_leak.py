"""A client that leaks connections until there are none left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab

_EACH_SCRAPE = 8
_MOST = 96


class ConnectionLeak(Fault):
    """Sessions that nobody uses or closes, eight more each scrape, until PostgreSQL refuses everybody."""

    name, finding, kind = "connection-leak", "PG_CONNECTION_LEAK", "postgresql.idle_session_timeout"

    async def inject(self, lab: Lab) -> None:
        await self.go_on(lab)

    async def go_on(self, lab: Lab) -> None:
        # Once it is refused it asks no more: the code that leaks has met its error.
        with suppress(asyncpg.PostgresError, OSError):
            while len(lab.held) < _MOST:
                await lab.hold()
                if len(lab.held) % _EACH_SCRAPE == 0:
                    return

    async def undo(self, lab: Lab) -> None:
        lab.let_go()
