"""Too little memory for sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class WorkMem(Fault):
    """64 kB of work_mem for sorts of some 900 rows: they spill to disk. Each status request sorts, before as well."""

    name, finding, kind = "work-mem", "PG_WORK_MEM_SPILL", "postgresql.work_mem"

    async def prepare(self, lab: Lab) -> None:
        for service in lab.services:
            await lab.turn(service, SPAN="30")

    async def inject(self, lab: Lab) -> None:
        await lab.sql("ALTER SYSTEM SET work_mem = '64kB'; SELECT pg_reload_conf()")

    async def undo(self, lab: Lab) -> None:
        await lab.sql("ALTER SYSTEM SET work_mem = '4MB'; SELECT pg_reload_conf()")
