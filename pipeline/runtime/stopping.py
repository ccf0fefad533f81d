"""Work that gives way when its owner is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


class StopRequestedError(Exception):
    """The work was given up because its owner was asked to stop."""


async def unless_stopped(stop: asyncio.Future[Any], work: Coroutine[Any, Any, Result]) -> Result:
    """The work's result; where `stop` comes first the work is cancelled. Raises StopRequestedError then."""
    task = asyncio.ensure_future(work)
    try:
        watched: set[asyncio.Future[Any]] = {task, stop}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    raise StopRequestedError


class Closers:
    """Closings that may outlast their patience: they go on in the background and are never left half done."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    async def close(self, closing: Coroutine[Any, Any, None], patience_s: float) -> bool:
        """Wait so long for the closing; whether it was done by then. What it raises does not matter any more."""
        task = asyncio.ensure_future(_quiet(closing))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        return bool(done)

    def abandon(self) -> None:
        """Cancel what still runs, at the end of the worker."""
        for task in self._running:
            task.cancel()


async def _quiet(closing: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(Exception):
        await closing
