"""An index that is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class MissingIndex(Fault):
    """Each status request reads all events. The advice names no column: a person chooses it."""

    name, finding, kind = "missing-index", "PG_MISSING_INDEX", "postgresql.index"

    async def inject(self, lab: Lab) -> None:
        await lab.sql("DROP INDEX IF EXISTS ix_events_owner")

    async def undo(self, lab: Lab) -> None:
        await lab.sql("CREATE INDEX IF NOT EXISTS ix_events_owner ON events (owner)")
