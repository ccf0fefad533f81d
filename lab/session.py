"""A lab under load, scraped in step with its clock, with a fault that stands once it is injected."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from lab.announcements import announced
from lab.clock import SCRAPE_S, Clock
from lab.load import Load
from lab.samples import stretched
from lab.scrape import Scraper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.announcements import Announcement
    from lab.desk import Pipeline
    from lab.faults import Fault
    from lab.samples import Row
    from lab.scenarios import Scenario
    from lab.system import Lab

WINDOW_S = 75.0
"""An announced maintenance window lasts so much longer than its load."""
_WARM_S = 10.0


class Session:
    """`lab` with the users of a scenario, and time that runs `speed` times as fast as the wall's.

    1 `warm`: what the fault needs, the users, ten seconds. 2 `scrape` again and again. 3 `inject`: from then on the
    fault goes on breaking it at each scrape, and has its load. 4 `close` undoes it.
    """

    def __init__(self, lab: Lab, fault: Fault, scenario: Scenario, speed: float) -> None:
        self.lab, self.fault, self.scenario = lab, fault, scenario
        self.clock = Clock(speed)
        self.injected_at = 0
        """In ms of the lab's clock; 0 before."""
        self.load = Load(lab.balancers, scenario)
        self._scraper = Scraper(lab)
        self._next = 0.0
        self._stands = False

    async def warm(self) -> None:
        """Make the lab what the fault needs, and wait until the users are there and the caches warm."""
        await self.fault.prepare(self.lab)
        await asyncio.sleep(self.load.coming_s + _WARM_S)

    async def scrape(self) -> list[Row]:
        """The next scrape, when it is due, in the lab's time; before it the fault goes on."""
        self._next = max(self._next + SCRAPE_S / self.clock.speed, time.time())
        await asyncio.sleep(max(0.0, self._next - time.time()))
        if self._stands:
            since = (self.clock.now_ms() - self.injected_at) / 1000
            await self.fault.go_on(self.lab)
            self.load.multiply(self.fault.load_at(since))
        return stretched(await self._scraper.scrape(self.clock.now_ms()), self.clock.speed)

    async def introduce(self, desk: Pipeline, healthy: Sequence[Row]) -> list[Row]:
        """Have the stages read a healthy phase; it goes on meanwhile, else a gap would precede the fault.

        Returns what was scraped meanwhile, which the stages have too.
        """
        reading = asyncio.create_task(desk.begin(healthy))
        meanwhile: list[Row] = []
        try:
            while not reading.done():
                meanwhile += await self.scrape()
            await reading
        finally:
            reading.cancel()
        await desk.take(meanwhile)
        return meanwhile

    async def inject(self) -> Sequence[Announcement]:
        """Break it; returns what is announced about it, of the moment `injected_at`."""
        self.injected_at = self.clock.now_ms()
        await self.fault.inject(self.lab)
        self._stands = True
        return announced(self.fault, self.injected_at, self.injected_at + round((self.longest_s + WINDOW_S) * 1000))

    @property
    def longest_s(self) -> float:
        """How long the fault may last until there is advice, in the lab's time."""
        return self.fault.slow * self.scenario.lasts_s

    async def mend(self) -> None:
        """Undo the fault."""
        self._stands = False
        await self.fault.undo(self.lab)

    async def close(self) -> None:
        """Undo the fault, whatever has become of the lab, and send the users home."""
        with suppress(OSError, httpx.HTTPError):
            await self.mend()
        await self.load.stop()
        await self._scraper.close()
