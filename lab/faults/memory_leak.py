"""Memory that nobody needs and nobody gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class MemoryLeak(Fault):
    """6 MiB a second (the wall's) towards the limit of 1 GiB. A restart ends it, for as long as this run lasts."""

    name, finding, kind = "memory-leak", "APP_MEMORY_LEAK", "application.restart"
    needs_limits = True
    slow = 2.5

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, LEAK_MIB_S="6")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, LEAK_MIB_S="0")
