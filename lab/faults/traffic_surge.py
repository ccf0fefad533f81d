"""More requests than a service can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab

_CORES = 0.25


class TrafficSurge(Fault):
    """Two and a half times the users on a service with a quarter of a core. It is well, but has no room for them."""

    name, finding, kind = "traffic-surge", "TRAFFIC_SURGE", "container.replicas"
    needs_limits = True
    load = 2.5

    async def prepare(self, lab: Lab) -> None:
        for replica in lab.services[self.service]:
            if replica.limits is not None:
                replica.limits.set_cores(_CORES)

    async def inject(self, lab: Lab) -> None:
        """Nothing but the load changes."""

    async def undo(self, lab: Lab) -> None:
        """The load ends with the phase."""
