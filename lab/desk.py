"""The stages in a process of their own: what they compute takes no time from the users that the lab plays."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lab.flow import Advice
from pipeline.runtime.children import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.samples import Row

_KEPT: dict[str, Advice] = {}


class Seen(NamedTuple):
    """What the stages have said so far; `standing` first choices are open."""

    first: dict[str, Any] | None
    recommendations: list[dict[str, Any]]
    early: int
    standing: int
    outcomes: list[dict[str, Any]]

    def outcome(self, recommendation: str) -> dict[str, Any] | None:
        """What came of a recommendation, once that is known."""
        return next((one for one in self.outcomes if one.get("recommendation") == recommendation), None)


def _do(method: str, *arguments: Any) -> Seen:
    if method == "begin":
        os.nice(5)
        _KEPT["advice"] = Advice(*arguments)
    else:
        getattr(_KEPT["advice"], method)(*arguments)
    advice = _KEPT["advice"]
    recommendations = advice.since_healthy()
    return Seen(advice.first(), recommendations, len(advice.early), advice.standing(), advice.outcomes)


class Desk:
    """An `Advice` elsewhere: the same methods, each answered with all that was said so far."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
        )

    async def begin(self, healthy: Sequence[Row]) -> Seen:
        """Start from a healthy phase."""
        return await self._ask("begin", healthy)

    async def end_healthy(self) -> Seen:
        """What was said so far were false alarms."""
        return await self._ask("end_healthy")

    async def take(self, rows: Sequence[Row]) -> Seen:
        """Samples in order of time."""
        return await self._ask("take", rows)

    async def deployed(self, service: str, at: int) -> Seen:
        """Tell of a deploy."""
        return await self._ask("deployed", service, at)

    async def maintenance(self, start: int, end: int) -> Seen:
        """Tell of a maintenance window."""
        return await self._ask("maintenance", start, end)

    async def applied(self, recommendation: str, at: int) -> Seen:
        """Tell that a recommendation was applied."""
        return await self._ask("applied", recommendation, at)

    async def _ask(self, method: str, *arguments: Any) -> Seen:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _do, method, *arguments)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
