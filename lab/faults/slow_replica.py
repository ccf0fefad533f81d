"""One replica that is slower than the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class SlowReplica(Fault):
    """One of three replicas computes 40 ms longer for each request; they get their requests in turn."""

    name, finding, kind = "slow-replica", "UNEVEN_LOAD", "container.load_balancing"
    needs_limits = True

    async def prepare(self, lab: Lab) -> None:
        await lab.scale(self.service, 3)

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, replica=2, BURN_S="0.04")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, BURN_S="0")
