"""Dead rows that nobody vacuums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


_TIMES = 10


class DeadTuples(Fault):
    """Autovacuum is off for a table all of whose rows are written anew each scrape, ten times: 600,000 dead rows."""

    name, finding, kind = "dead-tuples", "PG_DEAD_TUPLES", "postgresql.autovacuum"

    async def inject(self, lab: Lab) -> None:
        self._written = 0
        await lab.sql("ALTER TABLE events SET (autovacuum_enabled = false)")

    async def go_on(self, lab: Lab) -> None:
        if self._written < _TIMES:
            self._written += 1
            await lab.sql("UPDATE events SET note = md5(note)")

    async def undo(self, lab: Lab) -> None:
        await lab.sql("ALTER TABLE events RESET (autovacuum_enabled); VACUUM (FULL, ANALYZE) events")
