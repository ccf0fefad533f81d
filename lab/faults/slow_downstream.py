"""A dependency outside the service graph that is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class SlowDownstream(Fault):
    """What each request asks elsewhere takes 400 ms instead of 20 ms. Its owner has to mend it: no command can."""

    name, finding, kind = "slow-downstream", "APP_DOWNSTREAM_SLOW", "app.downstream"

    async def inject(self, lab: Lab) -> None:
        await lab.turn(self.service, DOWNSTREAM_S="0.4")

    async def undo(self, lab: Lab) -> None:
        await lab.turn(self.service, DOWNSTREAM_S="0.02")
