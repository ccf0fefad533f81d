"""A connection pool of one for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class PoolTooSmall(Fault):
    """One connection, no overflow."""

    name, finding, kind = "pool-too-small", "APP_POOL_EXHAUSTED", "app.pool_size"

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, DB_POOL_SIZE="1")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, DB_POOL_SIZE="10")
