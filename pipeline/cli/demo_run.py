"""One run of the demo over a broker: worker, feed and view side by side, until everything published is through.

1  create the topics, start the worker with all stages, subscribe to its outputs
2  publish the generated system; never so far ahead of the worker that the view would show the past
3  wait until each stage in turn has committed everything there is for it, then read the last outputs
4  stop the worker; on a broker of the user's, remove the topics
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import admin_client, connection
from pipeline.runtime.drained import drained
from pipeline.runtime.kernels import COMPILING, are_ready
from pipeline.runtime.stages import build_specs
from pipeline.runtime.topology import create_topics
from pipeline.runtime.worker import run_worker
from pipeline.sources.feed import feed
from pipeline.sources.publisher import Publisher
from pipeline.stage import Topic
from pipeline.views.demo_summary import Evidence
from pipeline.views.subscription import Subscription
from pipeline.views.worker_page import WorkerPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence
    from typing import Any

    from pipeline.runtime.spec import StageSpec
    from pipeline.settings import Settings
    from pipeline.sources.duri_system import DuriSystem
    from pipeline.views.terminal import View

_AHEAD = 200_000
"""Samples published and not yet processed: some five hours of the four services.

Half as many, and the stages wait for each other; twice as many, and the view moves in leaps.
"""
_LOOK_S = 0.2


class DemoRun:
    """One run; `evidence` is what arrived on the output topics."""

    def __init__(self, system: DuriSystem) -> None:
        self.evidence = Evidence()
        self._system = system
        self._page = WorkerPage()
        self._progressed = asyncio.Event()

    async def run(self, settings: Settings, view: View) -> None:
        """Do steps 1 to 4. Raises what the worker, the feed or the subscription raises."""
        specs = build_specs(settings)
        async with _topics(settings):
            if not are_ready(settings, specs):
                view.board.status = COMPILING
                view.refresh()
            stop = asyncio.Event()
            worker = asyncio.create_task(run_worker(settings, specs, stop, on_ready=self._page.open))
            async with Subscription(connection(settings.kafka), settings.topics, from_beginning=True) as outputs:
                tail = asyncio.create_task(self._tail(outputs, view))
                meter = asyncio.create_task(self._meter(view, settings.detect.frame_s))
                try:
                    await _beside(self._work(settings, specs), [worker, tail, meter])
                    await self._last_outputs(tail, outputs, view)
                finally:
                    tail.cancel()
                    meter.cancel()
                    stop.set()
                    await asyncio.gather(worker, tail, meter, return_exceptions=True)

    async def _work(self, settings: Settings, specs: Sequence[StageSpec]) -> None:
        topics = settings.topics
        async with Publisher(connection(settings.kafka), topics.name(Topic.METRICS)) as publisher:
            await feed(self._system, publisher, topics, self._may_go_on)
        await drained(settings, specs)

    async def _may_go_on(self, published: int) -> None:
        while published - self._page.samples > _AHEAD:
            self._progressed.clear()
            await self._progressed.wait()

    async def _meter(self, view: View, frame_s: float) -> None:
        loop = asyncio.get_running_loop()
        began, board = loop.time(), view.board
        plan = self._system.plan
        while True:
            # What was committed before the last look has arrived by now.
            board.through = plan.start + self._page.intervals * timedelta(seconds=frame_s)
            await asyncio.sleep(_LOOK_S)
            await self._page.read()
            self._progressed.set()
            board.done = self._page.samples
            board.rate = board.done / (loop.time() - began)
            board.moment = plan.start + (plan.end - plan.start) * min(1.0, board.done / board.total)
            if board.done:
                board.status = "learning" if board.moment < plan.last_day else ""
            view.refresh()

    async def _tail(self, outputs: Subscription, view: View) -> None:
        while True:
            await self._show(outputs, view)

    async def _last_outputs(self, tail: asyncio.Task[None], outputs: Subscription, view: View) -> None:
        tail.cancel()
        await asyncio.gather(tail, return_exceptions=True)
        while await self._show(outputs, view):
            pass

    async def _show(self, outputs: Subscription, view: View) -> bool:
        records = await outputs.poll()
        for record in records:
            self.evidence.take(record)
            view.show(record)
        return bool(records)


async def _beside(work: Coroutine[Any, Any, None], helpers: Sequence[asyncio.Task[None]]) -> None:
    """Await the work; where a helper ends first, what it raised ends the work."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, *helpers}, return_when=asyncio.FIRST_COMPLETED)
        for helper in helpers:
            if helper.done():
                helper.result()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _topics(settings: Settings) -> AsyncIterator[None]:
    """The topics of the flow; those with a prefix of our own are removed again."""
    async with ClusterAdmin(settings.kafka) as admin:
        created = await create_topics(admin, settings)
    try:
        yield
    finally:
        client = admin_client(settings.kafka)
        await client.start()
        try:
            await client.delete_topics([name for name, new in created.items() if new])
        finally:
            await client.close()
