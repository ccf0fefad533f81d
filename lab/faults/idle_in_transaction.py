"""A transaction that is left open and holds a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class IdleInTransaction(Fault):
    """Some client locks a table and goes for lunch; every status request waits."""

    name, finding, kind = "idle-in-transaction", "PG_LOCK_WAIT", "postgresql.idle_in_transaction_timeout"

    async def inject(self, lab: Lab) -> None:
        await lab.hold("BEGIN", "LOCK TABLE events IN ACCESS EXCLUSIVE MODE")

    async def undo(self, lab: Lab) -> None:
        lab.let_go()
