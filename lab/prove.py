"""The closed loop: a healthy phase, a fault, the advice, its own commands, what came of it.

Everything is started anew for each fault, because faults leave state behind.
"""

from __future__ import annotations

import asyncio
import enum
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from lab import limits
from lab.announcements import applied, deployed, maintenance
from lab.clock import SCRAPE_S, Clock
from lab.desk import Desk
from lab.executor import execute
from lab.kafka_desk import KafkaDesk
from lab.load import Load
from lab.recordings import Story, record
from lab.samples import stretched
from lab.scenarios import USUAL, Scenario
from lab.scrape import Scraper
from lab.system import Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.desk import Pipeline
    from lab.faults import Fault
    from lab.ledger import Seen
    from lab.samples import Row

_WARM_S = 10.0
_READING_S = 120.0
"""Reading the history takes no longer, in the wall's time."""
_SLACK_S = 75.0
"""What a verification takes beyond twice its own time, after which it ends whatever was disturbed."""


class Answer(enum.StrEnum):
    """What is done with the first choice before it is said to be applied."""

    OWN = "own"
    """Its own commands: the outcome is to be `verified` where they help."""
    NOTHING = "nothing"
    """Wrong advice of the one kind, which changes nothing: the outcome is to be `no_effect`."""
    HARM = "harm"
    """Wrong advice of the other kind: the service gets slower by 600 ms a request, and it is to be `regressed`."""


@dataclass(frozen=True)
class Pace:
    """Lengths of phases in the lab's time (s), how much faster it runs than the wall's, the load, and the answer."""

    speed: float = 5.0
    healthy_s: float = 120.0
    scenario: Scenario = USUAL
    after_s: float = 4000.0
    """At most: a verification says how long it takes."""
    answer: Answer = Answer.OWN
    kafka: bool = False
    """Whether the stages are connected by Kafka, in a worker, or in memory."""


@dataclass
class Proof:
    """What came of one fault. `seconds` from injection to advice in the lab's time; p95 in s, as users saw it."""

    fault: str
    answer: str = Answer.OWN
    kafka: bool = False
    scenario: str = USUAL.name
    finding: str | None = None
    kind: str | None = None
    service: str | None = None
    right: bool = False
    in_top_3: bool = False
    seconds: float | None = None
    early: int = 0
    early_said: list[str] = field(default_factory=list)
    """What was advised in the healthy phase."""
    standing: int = 0
    p95_before: float | None = None
    p95_during: float | None = None
    p95_after: float | None = None
    ran: list[str] = field(default_factory=list)
    by_hand: bool = False
    outcome: str | None = None
    """What the verification came to."""
    note: str = ""
    skipped: str | None = None
    applied_at: float | None = None
    """s since injection in the wall's time."""
    trace: list[tuple[float, float | None]] = field(default_factory=list)
    """(s since injection in the wall's time, p95 of the second) of the fault's service."""


class Run:
    """One fault on one lab."""

    def __init__(self, fault: Fault, lab: Lab, desk: Pipeline, pace: Pace, say: Callable[[str], None]) -> None:
        self.rows: list[Row] = []
        self.injected_at = 0
        self.applied_at: int | None = None
        self._fault, self._lab, self._desk, self._pace, self._say = fault, lab, desk, pace, say
        self._clock = Clock(pace.speed)
        self._scraper = Scraper(lab)
        self._load = Load(lab.balancers, pace.scenario)
        self._next = 0.0
        self._fault_phase = False
        self._seen: Seen | None = None

    async def go(self) -> Proof:
        """All phases. The fault is undone whatever happens."""
        proof = Proof(self._fault.name, self._pace.answer, self._pace.kafka, self._pace.scenario.name)
        try:
            await self._fault.prepare(self._lab)
            await asyncio.sleep(self._load.coming_s + _WARM_S)
            began = time.time()
            await self._phase("healthy", self._pace.healthy_s, lambda: False)
            await self._begin()
            injected = await self._inject()
            # Right or wrong, what was said first is judged.
            await self._phase("fault", self._longest_s, lambda: self._first is not None)
            mended = time.time()
            self._judge(proof)
            await self._mend(proof)
            applied = time.time()
            proof.applied_at = round(applied - injected, 1) if proof.ran or proof.by_hand else None
            first = self._first
            if first is not None:
                identity = str(first["id"])
                await self._phase("after", self._needed_s(first), lambda: self._outcome(identity) is not None)
                outcome = self._outcome(identity)
                proof.outcome, proof.note = (outcome["result"], outcome["note"]) if outcome else (None, "")
            proof.standing = max(proof.standing, self._seen.standing if self._seen else 0)
            proof.p95_before = self._p95(began, injected)
            # The first seconds of a fault are half healthy.
            proof.p95_during = self._p95(injected + SCRAPE_S / self._pace.speed, mended)
            proof.p95_after = self._p95(applied + (time.time() - applied) / 2, time.time())
            proof.trace = self._trace(began, injected)
        finally:
            self._fault_phase = False
            with suppress(OSError, httpx.HTTPError):
                await self._fault.undo(self._lab)
            await self._load.stop()
            await self._scraper.close()
        return proof

    @property
    def _longest_s(self) -> float:
        return self._fault.slow * self._pace.scenario.lasts_s

    def _needed_s(self, recommendation: dict[str, Any]) -> float:
        check = recommendation["verification"]
        return min(self._pace.after_s, float(check["settle_s"]) + 2 * float(check["after_s"]) + _SLACK_S)

    async def _inject(self) -> float:
        self.injected_at = self._clock.now_ms()
        if self._fault.maintenance:
            end = self.injected_at + round((self._longest_s + _SLACK_S) * 1000)
            await self._desk.tell(maintenance(self.injected_at, end), self.injected_at)
        if self._fault.deploy:
            await self._desk.tell(deployed(self._fault.service, self.injected_at), self.injected_at)
        await self._fault.inject(self._lab)
        self._fault_phase = True
        return time.time()

    @property
    def _first(self) -> dict[str, Any] | None:
        return None if self._seen is None else self._seen.first

    def _outcome(self, recommendation: str) -> dict[str, Any] | None:
        return None if self._seen is None else self._seen.outcome(recommendation)

    async def _begin(self) -> None:
        """Have the stages read the history; the healthy phase goes on meanwhile, else a gap would precede the fault."""
        known = len(self.rows)
        reading = asyncio.create_task(self._desk.begin(self.rows[:known]))
        await self._phase("healthy", _READING_S * self._pace.speed, reading.done)
        await reading
        await self._desk.take(self.rows[known:])
        self._seen = await self._desk.end_healthy()

    async def _phase(self, name: str, length_s: float, over: Callable[[], bool]) -> None:
        until = self._clock.now_ms() + length_s * 1000
        while (now := self._clock.now_ms()) < until:
            self._next = max(self._next + SCRAPE_S / self._pace.speed, time.time())
            await asyncio.sleep(max(0.0, self._next - time.time()))
            if self._fault_phase:
                since = (self._clock.now_ms() - self.injected_at) / 1000
                await self._fault.go_on(self._lab)
                self._load.multiply(self._fault.load_at(since))
            rows = stretched(await self._scraper.scrape(self._clock.now_ms()), self._pace.speed)
            self.rows += rows
            self._say(f"{self._fault.name}: {name}, {(until - now) / 1000 / self._pace.speed:.0f} s at most to go")
            if self._seen is not None:
                self._seen = await self._desk.take(rows)
            if over():
                return

    def _judge(self, proof: Proof) -> None:
        seen = self._seen
        if seen is None:
            return
        proof.early, proof.early_said, proof.standing = len(seen.early), seen.early, seen.standing
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
        first = self._first
        if first is None:
            return
        if self._pace.answer is not Answer.OWN:
            proof.ran = [self._pace.answer]
            if self._pace.answer is Answer.HARM:
                await self._lab.turn(first["target"]["service"], VERSION_DELAY_S="0.6")
        else:
            proof.ran = await execute(
                self._lab, first["target"]["service"], first["how"]["commands"], self._clock.speed
            )
            if (not proof.ran or self._fault.by_hand) and proof.right:
                proof.by_hand = True
                self._fault_phase = False
                await self._fault.undo(self._lab)
        if proof.ran or proof.by_hand:
            self.applied_at = self._clock.now_ms()
            self._seen = await self._desk.tell(applied(first["id"], self.applied_at), self.applied_at)

    def _p95(self, since: float, until: float) -> float | None:
        found = self._load.p95(self._fault.service, since, until)
        return None if found is None else round(found, 4)

    def _trace(self, began: float, injected: float) -> list[tuple[float, float | None]]:
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
    async with (KafkaDesk if pace.kafka else Desk)(pace.scenario) as desk, Lab() as lab:
        run = Run(fault, lab, desk, pace, say)
        proof = await run.go()
    if folder is not None:
        story = Story(fault.name, run.injected_at, run.applied_at, pace.answer, pace.scenario.name)
        record(folder / f"{_file_name(fault, pace)}.parquet", story, run.rows)
    return proof


def _file_name(fault: Fault, pace: Pace) -> str:
    """The fault, and what is not as usual."""
    answer = "" if pace.answer is Answer.OWN else pace.answer
    load = "" if pace.scenario is USUAL else pace.scenario.name
    return "-".join(filter(None, (fault.name, answer, load, "kafka" if pace.kafka else "")))
