"""The closed loop: a healthy phase, a fault, the advice, its own commands, what came of it.

Everything is started anew for each fault, because faults leave state behind.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab import limits
from lab.clock import SCRAPE_S, Clock
from lab.desk import Desk, Seen
from lab.executor import execute
from lab.load import NORMAL_USERS, Load
from lab.recordings import Story, record
from lab.samples import stretched
from lab.scrape import Scraper
from lab.system import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.faults import Fault
    from lab.samples import Row

_WARM_S = 10.0


@dataclass(frozen=True)
class Pace:
    """Lengths of the phases in the lab's time (s), and how much faster it runs than the wall's."""

    speed: float = 5.0
    healthy_s: float = 200.0
    fault_s: float = 180.0
    after_s: float = 450.0


@dataclass
class Proof:
    """What came of one fault. `seconds` from injection to advice in the lab's time; p95 in s, as users saw it."""

    fault: str
    finding: str | None = None
    kind: str | None = None
    service: str | None = None
    right: bool = False
    in_top_3: bool = False
    seconds: float | None = None
    early: int = 0
    standing: int = 0
    p95_before: float | None = None
    p95_during: float | None = None
    p95_after: float | None = None
    ran: list[str] = field(default_factory=list)
    by_hand: bool = False
    outcome: str | None = None
    note: str = ""
    skipped: str | None = None
    applied_at: float | None = None
    """s since injection in the wall's time."""
    trace: list[tuple[float, float]] = field(default_factory=list)
    """(s since injection in the wall's time, p95 of the second) of the fault's service."""


class Run:
    """One fault on one lab."""

    def __init__(self, fault: Fault, lab: Lab, desk: Desk, pace: Pace, say: Callable[[str], None]) -> None:
        self.rows: list[Row] = []
        self.injected_at = 0
        self._fault, self._lab, self._desk, self._pace, self._say = fault, lab, desk, pace, say
        self._clock = Clock(pace.speed)
        self._scraper = Scraper(lab)
        self._load = Load({name: service.url for name, service in lab.services.items()})
        self._next = 0.0
        self._seen: Seen | None = None

    async def go(self) -> Proof:
        """All phases. The fault is undone whatever happens."""
        proof = Proof(self._fault.name)
        try:
            await asyncio.sleep(_WARM_S)
            began = time.time()
            await self._phase("healthy", self._pace.healthy_s, lambda _: False)
            self._seen = await self._desk.begin(list(self.rows))
            injected = await self._inject()
            # Right or wrong, what was said first is judged.
            await self._phase("fault", self._pace.fault_s, lambda seen: seen.first is not None)
            mended = time.time()
            self._judge(proof)
            await self._mend(proof)
            applied = time.time()
            proof.applied_at = round(applied - injected, 1) if proof.ran or proof.by_hand else None
            first = self._seen.first
            if first is not None:
                identity = str(first["id"])
                await self._phase("after", self._pace.after_s, lambda seen: seen.outcome(identity) is not None)
                outcome = self._seen.outcome(identity)
                proof.outcome, proof.note = (outcome["result"], outcome["note"]) if outcome else (None, "")
            proof.standing = max(proof.standing, self._seen.standing)
            proof.p95_before = self._p95(began, injected)
            # The first seconds of a fault are half healthy.
            proof.p95_during = self._p95(injected + SCRAPE_S / self._pace.speed, mended)
            proof.p95_after = self._p95(applied + (time.time() - applied) / 2, time.time())
            proof.trace = self._trace(began, injected)
        finally:
            with suppress(OSError):
                await self._fault.undo(self._lab)
            await self._load.stop()
            await self._scraper.close()
        return proof

    async def _inject(self) -> float:
        self.injected_at = self._clock.now_ms()
        if self._fault.deploy:
            await self._desk.deployed(self._fault.service, self.injected_at)
        await self._fault.inject(self._lab)
        self._load.set_users(round(NORMAL_USERS * self._fault.load))
        return time.time()

    async def _phase(self, name: str, length_s: float, over: Callable[[Seen], bool]) -> None:
        until = self._clock.now_ms() + length_s * 1000
        while (now := self._clock.now_ms()) < until:
            self._next = max(self._next + SCRAPE_S / self._pace.speed, time.time())
            await asyncio.sleep(max(0.0, self._next - time.time()))
            rows = stretched(await self._scraper.scrape(self._clock.now_ms()), self._pace.speed)
            self.rows += rows
            self._say(f"{self._fault.name}: {name}, {(until - now) / 1000 / self._pace.speed:.0f} s at most to go")
            if self._seen is not None:
                self._seen = await self._desk.take(rows)
                if over(self._seen):
                    return

    def _judge(self, proof: Proof) -> None:
        seen = self._seen
        if seen is None:
            return
        proof.early, proof.standing = seen.early, seen.standing
        if seen.first is None:
            proof.right = proof.in_top_3 = self._fault.control
            return
        truth = (self._fault.finding, self._fault.kind)
        proof.finding, proof.kind = names(seen.first)
        proof.service = seen.first["target"]["service"]
        proof.right = names(seen.first) == truth
        proof.in_top_3 = truth in [names(one) for one in seen.recommendations if one["rank"] <= 3]
        proof.seconds = round((self._clock.now_ms() - self.injected_at) / 1000, 1)

    async def _mend(self, proof: Proof) -> None:
        """Run the advice's own commands; where it is right and has none that runs, do what a person would."""
        first = None if self._seen is None else self._seen.first
        if first is None:
            return
        proof.ran = await execute(self._lab, first["target"]["service"], first["how"]["commands"])
        if not proof.ran and proof.right:
            proof.by_hand = True
            await self._fault.undo(self._lab)
        if proof.ran or proof.by_hand:
            self._seen = await self._desk.applied(first["id"], self._clock.now_ms())

    def _p95(self, since: float, until: float) -> float:
        return round(self._load.p95(self._fault.service, since, until), 4)

    def _trace(self, began: float, injected: float) -> list[tuple[float, float]]:
        seconds = range(int(time.time() - began))
        return [(round(began + n - injected, 1), self._p95(began + n, began + n + 1)) for n in seconds]


def names(recommendation: dict[str, Any]) -> tuple[str, str]:
    """The finding and the knob of a recommendation."""
    return recommendation["why"]["findings"][0], recommendation["kind"]


async def prove(fault: Fault, folder: Path | None, pace: Pace, say: Callable[[str], None]) -> Proof:
    """Run one fault; write its samples into `folder`. Raises LabError."""
    lacking = limits.why_not()
    if fault.needs_limits and lacking is not None:
        return Proof(fault.name, skipped=lacking)
    with Desk() as desk:
        async with Lab() as lab:
            run = Run(fault, lab, desk, pace, say)
            proof = await run.go()
    if folder is not None:
        record(folder / f"{fault.name}.parquet", Story(fault.name, run.injected_at), run.rows)
    return proof
