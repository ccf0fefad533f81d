"""A CPU limit that is too low."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class CpuLimit(Fault):
    """A twelfth of a core."""

    name, finding, kind = "cpu-limit", "CONTAINER_CPU_THROTTLED", "container.cpu_limit"
    needs_limits = True

    async def inject(self, lab: Lab) -> None:
        self._set(lab, 0.08)

    async def undo(self, lab: Lab) -> None:
        self._set(lab, 2.0)

    def _set(self, lab: Lab, cores: float) -> None:
        for replica in lab.services[self.service]:
            if replica.limits is not None:
                replica.limits.set_cores(cores)
