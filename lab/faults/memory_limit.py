"""A memory limit that is too low."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class MemoryLimit(Fault):
    """The limit is 8 MiB above what the service uses: it still runs, without room for its work."""

    name, finding, kind = "memory-limit", "CONTAINER_MEMORY_LIMIT", "container.memory_limit"
    needs_limits = True

    async def inject(self, lab: Lab) -> None:
        for replica in lab.services[self.service]:
            if replica.limits is not None:
                replica.limits.set_memory(replica.limits.memory_used() + (8 << 20))

    async def undo(self, lab: Lab) -> None:
        for replica in lab.services[self.service]:
            if replica.limits is not None:
                replica.limits.set_memory(1 << 30)
