"""The control: nothing is broken, so nothing is to be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


class Healthy(Fault):
    """Normal load and no fault; right is silence."""

    name, finding, kind = "healthy", "", ""

    async def inject(self, lab: Lab) -> None:
        del lab

    async def undo(self, lab: Lab) -> None:
        del lab
