"""The controls: nothing is broken, so nothing is to be said."""

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


class Busier(Healthy):
    """A quarter more users, which everything can serve."""

    name = "busier"
    load = 1.25


class Quieter(Healthy):
    """A quarter of the users leaves."""

    name = "quieter"
    load = 0.75
