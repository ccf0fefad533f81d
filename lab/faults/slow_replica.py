"""One replica that is slower than the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab

_ROUNDS = "160000"


class SlowReplica(Fault):
    """One of three replicas computes some 30 ms more for each request, in a thread; they get their requests in turn."""

    name, finding, kind = "slow-replica", "UNEVEN_LOAD", "container.load_balancing"
    needs_limits = True

    async def prepare(self, lab: Lab) -> None:
        await lab.scale(self.service, 3)

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, replica=2, WORK_ROUNDS=_ROUNDS)

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, WORK_ROUNDS="0")
