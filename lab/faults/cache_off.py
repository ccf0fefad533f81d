"""The cache switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class CacheOff(Fault):
    """Each read goes to PostgreSQL."""

    name, finding, kind = "cache-off", "APP_CACHE_DISABLED", "app.cache"

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, CACHE_ENABLED="0")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, CACHE_ENABLED="1")
