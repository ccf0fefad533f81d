"""A disk that fills."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from lab.backends import LabError
from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class DiskFilling(Fault):
    """From 55 % on, 0.4 % more of it is used each scrape. Which files may go, a person decides."""

    name, finding, kind = "disk-filling", "NODE_DISK_FILLING", "node.disk"
    slow = 2.5

    async def inject(self, lab: Lab) -> None:
        if not lab.disk.own:
            raise LabError("the lab may not mount a file system of its own, and fills nobody else's; run it as root")
        await self.go_on(lab)

    async def go_on(self, lab: Lab) -> None:
        with suppress(OSError):
            lab.disk.write(0.004)

    async def undo(self, lab: Lab) -> None:
        lab.disk.clean()
