"""Where the stages run: their inputs go there, and what they have said comes back.

`Desk` has them in a process of their own, connected in memory: what they compute takes no time from the users that the
lab plays. `KafkaDesk` (`lab/kafka_desk.py`) has a broker and a worker, as in production.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, Self

from lab.flow import Advice
from pipeline.runtime.children import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.announcements import Announcement
    from lab.ledger import Seen, Trail
    from lab.samples import Row
    from lab.scenarios import Scenario

NICENESS = 5
"""The stages yield to the system that they watch."""
_KEPT: dict[str, Advice] = {}


class Pipeline(Protocol):
    """What a run asks of the stages; each call is answered with all that was said so far."""

    async def begin(self, healthy: Sequence[Row]) -> Seen:
        """Start from a healthy phase, which is repeated back in time; returns when it is read."""
        ...

    async def end_healthy(self) -> Seen:
        """What was said so far were false alarms."""
        ...

    async def take(self, rows: Sequence[Row]) -> Seen:
        """Samples in order of time."""
        ...

    async def tell(self, record: Announcement, at: int) -> Seen:
        """Something that people or tools announce, at that moment (ms)."""
        ...

    async def trail(self, service: str, signal: str) -> Trail:
        """The values that a service's signal has had so far."""
        ...


def _trail(service: str, signal: str) -> Trail:
    return _KEPT["advice"].trail(service, signal)


def _do(method: str, *arguments: Any) -> Seen:
    if method == "begin":
        os.nice(NICENESS)
        _KEPT["advice"] = Advice(*arguments)
    else:
        getattr(_KEPT["advice"], method)(*arguments)
    return _KEPT["advice"].seen()


class Desk:
    """An `Advice` elsewhere; use it as an async context manager."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._pool = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
        )

    async def begin(self, healthy: Sequence[Row]) -> Seen:
        """See `Pipeline`."""
        return await self._ask("begin", self._scenario, healthy)

    async def end_healthy(self) -> Seen:
        """See `Pipeline`."""
        return await self._ask("end_healthy")

    async def take(self, rows: Sequence[Row]) -> Seen:
        """See `Pipeline`."""
        return await self._ask("take", rows)

    async def tell(self, record: Announcement, at: int) -> Seen:
        """See `Pipeline`."""
        return await self._ask("tell", record, at)

    async def trail(self, service: str, signal: str) -> Trail:
        """See `Pipeline`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _trail, service, signal)

    async def _ask(self, method: str, *arguments: Any) -> Seen:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _do, method, *arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
