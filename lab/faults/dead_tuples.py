"""Dead rows that nobody vacuums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class DeadTuples(Fault):
    """Autovacuum is off for a table whose rows are all written anew ten times: 600,000 dead rows, read past by all."""

    name, finding, kind = "dead-tuples", "PG_DEAD_TUPLES", "postgresql.autovacuum"

    async def inject(self, lab: Lab) -> None:
        await lab.sql("ALTER TABLE events SET (autovacuum_enabled = false)")
        for _ in range(10):
            await lab.sql("UPDATE events SET note = md5(note)")

    async def undo(self, lab: Lab) -> None:
        await lab.sql("ALTER TABLE events RESET (autovacuum_enabled); VACUUM (FULL, ANALYZE) events")
