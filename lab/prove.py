"""The closed loop: a healthy phase, a fault, the advice, its own commands, what came of it.

    python -m lab.prove [FAULT…] [--record DIR] [--after SECONDS]

Everything is started anew for each fault, because faults leave state behind. Prints one JSON line a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import limits
from lab.executor import execute
from lab.faults import FAULTS, Fault
from lab.flow import SCRAPE_S, Advice
from lab.load import Load
from lab.recordings import Story, record
from lab.scrape import Scraper
from lab.system import Lab

if TYPE_CHECKING:
    from lab.samples import Row

WARM_S, HEALTHY_S, FAULT_S, AFTER_S = 15.0, 45.0, 60.0, 30.0


@dataclass
class Proof:
    """What came of one fault; times in s."""

    fault: str
    finding: str | None = None
    kind: str | None = None
    service: str | None = None
    right: bool = False
    in_top_3: bool = False
    seconds: float | None = None
    recommendations: int = 0
    p95_before: float | None = None
    p95_during: float | None = None
    p95_after: float | None = None
    ran: list[str] = field(default_factory=list)
    outcome: str | None = None
    skipped: str | None = None


class Run:
    """One fault on one lab."""

    def __init__(self, fault: Fault, lab: Lab) -> None:
        self.rows: list[Row] = []
        self._fault, self._lab = fault, lab
        self._scraper = Scraper(lab)
        self._load = Load({name: service.url for name, service in lab.services.items()})
        self._next = 0.0
        self.injected_at = 0

    async def go(self, after_s: float) -> Proof:
        """All phases. The fault is undone whatever happens."""
        proof = Proof(self._fault.name)
        try:
            await asyncio.sleep(WARM_S)
            began = time.time()
            await self._phase("healthy", HEALTHY_S, None)
            advice = await asyncio.to_thread(Advice, list(self.rows))
            await self._inject(advice)
            injected = time.time()
            await self._phase("fault", FAULT_S, advice, until_advice=bool(self._fault.finding))
            mended = time.time()
            self._judge(proof, advice, injected)
            await self._apply(proof, advice)
            applied = time.time()
            await self._phase("after", after_s, advice)
            settled = applied + (time.time() - applied) / 2
            proof.p95_before = self._p95(began, injected)
            # The first seconds of a fault are half healthy.
            proof.p95_during = self._p95(injected + SCRAPE_S, mended)
            proof.p95_after = self._p95(settled, time.time())
            proof.recommendations = len(advice.recommendations)
            proof.outcome = advice.outcomes[-1].get("result") if advice.outcomes else None
        finally:
            with suppress(OSError):
                await self._fault.undo(self._lab)
            await self._load.stop()
            await self._scraper.close()
        return proof

    async def _inject(self, advice: Advice) -> None:
        self.injected_at = round(time.time() * 1000)
        if self._fault.deploy:
            advice.deployed(self._fault.service, self.injected_at)
        await self._fault.inject(self._lab)

    async def _phase(self, name: str, length_s: float, advice: Advice | None, *, until_advice: bool = False) -> None:
        until = time.time() + length_s
        while time.time() < until:
            self._next = max(self._next + SCRAPE_S, time.time())
            await asyncio.sleep(max(0.0, self._next - time.time()))
            rows = await self._scraper.scrape(round(time.time() * 1000))
            self.rows += rows
            say(f"  {self._fault.name}: {name}, {max(0.0, until - time.time()):.0f} s to go")
            if advice is None:
                continue
            await asyncio.to_thread(advice.take, rows)
            if until_advice and advice.first() is not None:
                return

    def _judge(self, proof: Proof, advice: Advice, injected: float) -> None:
        first = advice.first()
        truth = (self._fault.finding, self._fault.kind)
        named = [_names(one) for one in advice.recommendations.values() if one["rank"] <= 3]
        if first is None:
            proof.right = proof.in_top_3 = not self._fault.finding
            return
        proof.finding, proof.kind = _names(first)
        proof.service = first["target"]["service"]
        proof.right, proof.in_top_3 = _names(first) == truth, truth in named
        proof.seconds = round(time.time() - injected, 1)

    async def _apply(self, proof: Proof, advice: Advice) -> None:
        first = advice.first()
        if first is None:
            return
        proof.ran = await execute(self._lab, first["target"]["service"], first["how"]["commands"])
        if proof.ran:
            await asyncio.to_thread(advice.applied, first["id"])

    def _p95(self, since: float, until: float) -> float:
        return round(self._load.p95(self._fault.service, since, until), 4)


def _names(recommendation: dict[str, Any]) -> tuple[str, str]:
    return recommendation["why"]["findings"][0], recommendation["kind"]


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


async def prove(fault: Fault, folder: Path | None, after_s: float) -> Proof:
    """Run one fault; write its samples into `folder`. Raises LabError."""
    lacking = limits.why_not()
    if fault.needs_limits and lacking is not None:
        return Proof(fault.name, skipped=lacking)
    async with Lab() as lab:
        run = Run(fault, lab)
        proof = await run.go(after_s)
    if folder is not None:
        record(folder / f"{fault.name}.parquet", Story(fault.name, run.injected_at), run.rows)
    return proof


def main() -> None:
    """Prove the faults that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--record", type=Path, help="folder for the samples")
    parser.add_argument("--after", type=float, default=AFTER_S, help="seconds after the change")
    options = parser.parse_args()
    if options.record is not None:
        options.record.mkdir(parents=True, exist_ok=True)
    for name in options.faults or FAULTS:
        print(json.dumps(asdict(asyncio.run(prove(FAULTS[name], options.record, options.after)))), flush=True)


if __name__ == "__main__":
    main()
