"""`duri lab up`: the lab under load, scraped and told to the stages, with a fault that stands, until it is stopped."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.announcements import applied
from lab.backends import LabError
from lab.clock import SCRAPE_S
from lab.desk import Desk
from lab.faults import FAULTS
from lab.kafka_desk import KafkaDesk
from lab.session import Session
from lab.system import Lab
from lab.turning import Turned, Wish, listening, turn
from pipeline import quantities as fmt
from pipeline.records import Outcome, Recommendation
from pipeline.views import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.text import Text

    from lab.desk import Pipeline
    from lab.ledger import Seen
    from lab.scenarios import Scenario

    Say = Callable[[str | Text], None]

HEALTHY_S = 120.0
"""How long all is well before the fault, in the lab's time."""
_REMEMBERED_S = 60.0


@dataclass(frozen=True)
class Plan:
    """The load, the fault (none: it stays healthy), how much faster than the wall's its time runs, and the stages.

    With `kafka` they work by Kafka: at `bootstrap` (host:port) whatever `duri run` somebody has there, without one a
    broker and a worker of the lab's own. Else in memory.
    """

    scenario: Scenario
    fault: str = ""
    speed: float = 1.0
    kafka: bool = False
    bootstrap: str | None = None


async def up(plan: Plan, say: Say) -> None:
    """Keep a lab until it is cancelled. Raises LabError."""
    desk = KafkaDesk(plan.scenario, plan.bootstrap) if plan.kafka else Desk(plan.scenario)
    async with desk, Lab() as lab, AsyncExitStack() as stack:
        session = Session(lab, FAULTS[plan.fault or "healthy"], plan.scenario, plan.speed)
        stack.push_async_callback(session.close)
        standing = Standing(session, desk, say)
        await stack.enter_async_context(listening(lab.folder, standing.grant))
        for line in (*_addresses(lab), *(_to_kafka(desk) if isinstance(desk, KafkaDesk) else ())):
            say(line)
        await standing.go()


class Standing:
    """A lab that stands, what was said of it so far, and what it is asked to do."""

    def __init__(self, session: Session, desk: Pipeline, say: Say) -> None:
        self._session, self._desk, self._say = session, desk, say
        self._seen: Seen | None = None
        self._told: dict[str, str] = {}

    async def go(self) -> None:
        """Healthy for a while, then the fault, without end."""
        session, fault = self._session, self._session.fault
        await session.warm()
        healthy_s = HEALTHY_S / session.clock.speed
        self._say(f"under load; healthy for {healthy_s:.0f} s" + ("" if fault.control else f", then {fault.name}"))
        rows = []
        for _ in range(round(HEALTHY_S / SCRAPE_S)):
            rows += await session.scrape()
        await session.introduce(self._desk, rows)
        for announcement in await session.inject():
            await self._desk.tell(announcement, session.injected_at)
        self._say(f"{fault.name}: {fault.__doc__}")
        while True:
            self._take(await self._desk.take(await session.scrape()))
            session.load.forget(time.time() - _REMEMBERED_S)

    async def grant(self, wish: Wish) -> Turned:
        """Run what somebody asks for. Raises LabError where it cannot be known what that is."""
        speed = self._session.clock.speed
        if not wish.recommendation:
            return await turn(self._session.lab, wish.service, wish.commands, speed)
        advice = self._named(wish.recommendation)
        commands = advice["undo"] if wish.undo else advice["how"]["commands"]
        done = await turn(self._session.lab, advice["target"]["service"], commands, speed)
        if not done.ran or wish.undo:
            return done
        at = self._session.clock.now_ms()
        self._take(await self._desk.tell(applied(advice["id"], at), at))
        return Turned(done.ran, done.left, done.knobs, applied=advice["id"])

    def _named(self, prefix: str) -> dict[str, Any]:
        """The recommendation whose id begins so."""
        said = [] if self._seen is None else self._seen.recommendations
        alike = [one for one in said if one["id"].startswith(prefix)]
        if len(alike) != 1:
            known = ", ".join(one["id"] for one in said) or "none so far"
            raise LabError(f"{len(alike)} recommendations begin with {prefix!r}; this lab got: {known}")
        return alike[0]

    def _take(self, seen: Seen) -> None:
        """Say what is new in what the stages have said."""
        self._seen = seen
        for line in self._news(seen):
            self._say(line)

    def _news(self, seen: Seen) -> Iterator[str | Text]:
        """Each first choice as it is proposed, whatever becomes of it, and each outcome."""
        for record in map(Recommendation.model_validate, seen.recommendations):
            known = self._told.get(record.id)
            if known == record.state or (known is None and record.rank > 1):
                continue
            self._told[record.id] = record.state
            if known is None:
                yield words.line(record) or ""
                yield f"{words.UNDER}do:   duri lab turn {record.id}"
            else:
                yield f"{fmt.clock(record.updated)}  advice {record.id} is {record.state}"
        for outcome in map(Outcome.model_validate, seen.outcomes):
            if outcome.id not in self._told:
                self._told[outcome.id] = outcome.result
                yield words.line(outcome) or ""


def _addresses(lab: Lab) -> Iterator[str]:
    for name, replicas in lab.services.items():
        yield f"{name:16} {' '.join(one.url for one in replicas)}"
    yield f"{'postgres':16} {lab.postgres.admin_url}"
    yield f"{'redis':16} {lab.redis.url}"
    yield f"{'folder':16} {lab.folder}"


def _to_kafka(desk: KafkaDesk) -> Iterator[str]:
    """Where the samples go, and how to look at what comes of them."""
    yield f"{'kafka':16} {desk.bootstrap}"
    yield f"look at it:      DURI_BOOTSTRAP={desk.bootstrap} duri watch"
    if desk.theirs:
        variables = " ".join(f"{name}={value}" for name, value in desk.environment.items())
        yield f"the worker:      {variables} duri run"
