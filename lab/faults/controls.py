"""The controls: nothing is broken, so nothing is to be said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lab.faults.fault import Fault

if TYPE_CHECKING:
    from lab.system import Lab


_DAY_S = 180.0


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


class DailySwing(Healthy):
    """Three days of three minutes each: half as many users more by day, half as many by night."""

    name = "daily-swing"
    slow = 3.0

    def load_at(self, seconds: float) -> float:
        return 1.0 + 0.5 * math.sin(2.0 * math.pi * seconds / _DAY_S)


class PlannedLoadTest(Healthy):
    """Three times the users within a maintenance window that was announced."""

    name = "planned-load-test"
    load = 3.0
    maintenance = True


class ExporterStops(Healthy):
    """The exporter of PostgreSQL says nothing more; PostgreSQL is well."""

    name = "exporter-stops"

    async def inject(self, lab: Lab) -> None:
        lab.silent.add("postgres")

    async def undo(self, lab: Lab) -> None:
        lab.silent.discard("postgres")
