"""A page cache of PostgreSQL's that is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class SharedBuffers(Fault):
    """128 kB, the least that it starts with, by a restart. The kernel's cache hides what that costs on a real disk."""

    name, finding, kind = "shared-buffers", "PG_SHARED_BUFFERS_SMALL", "postgresql.shared_buffers"

    async def prepare(self, lab: Lab) -> None:
        for service in lab.services:
            await lab.turn(service, SPAN="30")

    async def inject(self, lab: Lab) -> None:
        await self._set(lab, "128kB")

    async def undo(self, lab: Lab) -> None:
        await self._set(lab, "128MB")

    async def _set(self, lab: Lab, size: str) -> None:
        await lab.sql(f"ALTER SYSTEM SET shared_buffers = '{size}'")
        await lab.restart_postgres()
