"""The closed loop: a healthy phase, a fault, the advice, its own commands, what came of it.

Everything is started anew for each fault, because faults leave state behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
from redis.exceptions import RedisError

from lab import limits
from lab.announcements import applied
from lab.clock import SCRAPE_S
from lab.desk import Desk
from lab.executor import RefusedError, execute
from lab.kafka_desk import KafkaDesk
from lab.knobs import knobs_of, turned
from lab.ledger import names
from lab.proof import Answer, Proof
from lab.recordings import Story, record
from lab.scenarios import USUAL, Scenario
from lab.session import Session
from lab.system import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lab.desk import Pipeline
    from lab.faults import Fault
    from lab.ledger import Seen, Trail
    from lab.samples import Row

_UNDONE_S = 100.0
"""So long it is looked whether the trouble is back."""
_SLACK_S = 75.0
"""What a verification takes beyond twice its own time, after which it ends whatever was disturbed."""


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


class Run:
    """One fault on one lab."""

    def __init__(self, session: Session, desk: Pipeline, pace: Pace, say: Callable[[str], None]) -> None:
        self.rows: list[Row] = []
        self.applied_at: int | None = None
        self._session, self._lab, self._fault = session, session.lab, session.fault
        self._desk, self._pace, self._say = desk, pace, say
        self._seen: Seen | None = None
        self._knobs: dict[str, str] | None = None
        """As they stood before the advice was applied."""
        self._windows: dict[str, tuple[float, float]] = {}
        """From when to when (s of the wall's time) users and signals are looked at."""

    async def go(self) -> Proof:
        """All phases. The fault is undone whatever happens."""
        proof = Proof(self._fault.name, self._pace.answer, self._pace.kafka, self._pace.scenario.name)
        try:
            await self._session.warm()
            began = time.time()
            await self._phase("healthy", self._pace.healthy_s)
            await self._begin()
            injected = time.time()
            for announcement in await self._session.inject():
                await self._desk.tell(announcement, self._session.injected_at)
            self._windows["before"] = (began, injected)
            # Right or wrong, what was said first is judged.
            await self._phase("fault", self._session.longest_s, lambda: self._first is not None)
            # The first seconds of a fault are half healthy.
            self._windows["during"] = (injected + SCRAPE_S / self._pace.speed, time.time())
            self._judge(proof)
            try:
                await self._mend(proof)
                proof.applied_at = round(time.time() - injected, 1) if proof.ran or proof.by_hand else None
                await self._watch()
                await self._take_back(proof)
            except RefusedError as error:
                proof.refused = str(error)
            await self._tell_figures(proof)
            proof.trace = self._trace(began, injected)
        finally:
            await self._session.close()
        return proof

    async def _watch(self) -> None:
        """Wait for what comes of the advice that is applied."""
        applied = time.time()
        if (first := self._first) is not None:
            await self._outcome_of(first, "after")
        self._look("after", applied)

    def _look(self, name: str, since: float) -> None:
        """Let the second half of the time since then be the window of this name; in the first things settle."""
        now = time.time()
        self._windows[name] = (since + (now - since) / 2, now)

    async def _outcome_of(self, recommendation: dict[str, Any], name: str) -> dict[str, Any] | None:
        identity = str(recommendation["id"])
        await self._phase(name, self._needed_s(recommendation), lambda: self._outcome(identity) is not None)
        return self._outcome(identity)

    async def _take_back(self, proof: Proof) -> None:
        """Undo what was verified, and see whether the trouble is back; of what regressed, do the undo that is advised.

        Recordings end before that.
        """
        first, told = self._first, len(self.rows)
        outcome = None if first is None else self._outcome(str(first["id"]))
        if first is None or outcome is None:
            return
        proof.outcome, proof.note = outcome["result"], outcome["note"]
        if proof.outcome == "verified" and proof.ran and not proof.by_hand and self._pace.answer is Answer.OWN:
            await self._undo(proof, first["undo"], first["target"]["service"])
        elif proof.outcome == "regressed":
            await self._follow_undo(proof)
        del self.rows[told:]

    async def _undo(self, proof: Proof, commands: Sequence[Mapping[str, Any]], service: str) -> None:
        proof.undo_ran = await execute(self._lab, service, commands, self._session.clock.speed)
        if proof.undo_ran:
            await self._compare_knobs(proof)
            undone = time.time()
            await self._phase("undone", _UNDONE_S)
            self._look("undone", undone)

    async def _follow_undo(self, proof: Proof) -> None:
        """Do the undo that was advised, with which the harm goes, and wait for what comes of it."""
        advised = next((one for one in self._said if one["kind"].endswith(".undo")), None)
        if advised is None:
            proof.undo_outcome = "not advised"
            return
        service = advised["target"]["service"]
        proof.undo_ran = await execute(self._lab, service, advised["how"]["commands"], self._session.clock.speed)
        await self._lab.turn(service, VERSION_DELAY_S="0")
        await self._compare_knobs(proof)
        undone, at = time.time(), self._session.clock.now_ms()
        self._seen = await self._desk.tell(applied(advised["id"], at), at)
        outcome = await self._outcome_of(advised, "undone")
        self._look("undone", undone)
        proof.undo_outcome = None if outcome is None else outcome["result"]

    async def _compare_knobs(self, proof: Proof) -> None:
        """Say of an undo that was run which knobs it has not put back."""
        if self._knobs is not None and (now := await self._read_knobs()) is not None:
            proof.knobs_differ = turned(self._knobs, now)

    async def _read_knobs(self) -> dict[str, str] | None:
        """How they stand; None where a part of the lab that is in trouble does not say."""
        try:
            return await knobs_of(self._lab)
        except (OSError, httpx.HTTPError, RedisError, asyncpg.PostgresError):
            return None

    async def _tell_figures(self, proof: Proof) -> None:
        """What users saw in each window, and the signal by which the advice is verified."""
        proof.standing = max(proof.standing, self._seen.standing if self._seen else 0)
        seen = {name: self._p95(*window) for name, window in self._windows.items()}
        proof.p95_before, proof.p95_during = seen.get("before"), seen.get("during")
        proof.p95_after, proof.p95_undone = seen.get("after"), seen.get("undone")
        if (first := self._first) is not None:
            proof.target = str(first["verification"]["signal"])
            trail = await self._desk.trail(first["target"]["service"], proof.target)
            proof.levels = {name: self._level(trail, *window) for name, window in self._windows.items()}

    def _level(self, trail: Trail, since: float, until: float) -> float | None:
        """Median of a signal over the frames that ended in this time of the wall's."""
        found = [value for end, value in trail if self._session.clock.ms(since) < end <= self._session.clock.ms(until)]
        return median(found) if found else None

    def _needed_s(self, recommendation: dict[str, Any]) -> float:
        check = recommendation["verification"]
        return min(self._pace.after_s, float(check["settle_s"]) + 2 * float(check["after_s"]) + _SLACK_S)

    @property
    def _first(self) -> dict[str, Any] | None:
        return None if self._seen is None else self._seen.first

    @property
    def _said(self) -> list[dict[str, Any]]:
        return [] if self._seen is None else self._seen.recommendations

    def _outcome(self, recommendation: str) -> dict[str, Any] | None:
        return None if self._seen is None else self._seen.outcome(recommendation)

    async def _begin(self) -> None:
        """Have the stages read the history."""
        self._say(f"{self._fault.name}: the stages read the history")
        self.rows += await self._session.introduce(self._desk, list(self.rows))
        self._seen = await self._desk.end_healthy()

    async def _phase(self, name: str, length_s: float, over: Callable[[], bool] = lambda: False) -> None:
        clock = self._session.clock
        until = clock.now_ms() + length_s * 1000
        while (now := clock.now_ms()) < until:
            self._say(f"{self._fault.name}: {name}, {(until - now) / 1000 / clock.speed:.0f} s at most to go")
            rows = await self._session.scrape()
            self.rows += rows
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
        proof.seconds = round((self._session.clock.now_ms() - self._session.injected_at) / 1000, 1)

    async def _mend(self, proof: Proof) -> None:
        """Run the advice's own commands; where it is right and has none that runs, do what a person would."""
        first = self._first
        if first is None:
            return
        self._knobs = await self._read_knobs()
        if self._pace.answer is not Answer.OWN:
            proof.ran = [self._pace.answer]
            if self._pace.answer is Answer.HARM:
                await self._lab.turn(first["target"]["service"], VERSION_DELAY_S="0.6")
        else:
            proof.ran = await execute(
                self._lab, first["target"]["service"], first["how"]["commands"], self._session.clock.speed
            )
            if (not proof.ran or self._fault.by_hand) and proof.right:
                proof.by_hand = True
                await self._session.mend()
        if proof.ran or proof.by_hand:
            self.applied_at = self._session.clock.now_ms()
            self._seen = await self._desk.tell(applied(first["id"], self.applied_at), self.applied_at)

    def _p95(self, since: float, until: float) -> float | None:
        found = self._session.load.p95(self._fault.service, since, until)
        return None if found is None else round(found, 4)

    def _trace(self, began: float, injected: float) -> list[tuple[float, float | None]]:
        seconds = range(int(time.time() - began))
        return [(round(began + n - injected, 1), self._p95(began + n, began + n + 1)) for n in seconds]


async def prove(fault: Fault, folder: Path | None, pace: Pace, say: Callable[[str], None]) -> Proof:
    """Run one fault; write its samples into `folder`. Raises LabError."""
    lacking = limits.why_not()
    if fault.needs_limits and lacking is not None:
        return Proof(fault.name, skipped=lacking)
    async with (KafkaDesk if pace.kafka else Desk)(pace.scenario) as desk, Lab() as lab:
        session = Session(lab, fault, pace.scenario, pace.speed)
        run = Run(session, desk, pace, say)
        proof = await run.go()
    if folder is not None:
        answered = proof.service or ""
        story = Story(fault.name, session.injected_at, run.applied_at, pace.answer, pace.scenario.name, answered)
        record(folder / f"{_file_name(fault, pace)}.parquet", story, run.rows)
    return proof


def _file_name(fault: Fault, pace: Pace) -> str:
    """The fault, and what is not as usual."""
    answer = "" if pace.answer is Answer.OWN else pace.answer
    load = "" if pace.scenario is USUAL else pace.scenario.name
    return "-".join(filter(None, (fault.name, answer, load, "kafka" if pace.kafka else "")))
