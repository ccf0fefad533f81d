"""The stages as in production: a broker, `duri run` beside it, samples on `duri.metrics`, advice from its topic."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from lab.announcements import headers_of
from lab.backends import LabError, spawn, stop
from lab.clock import SCRAPE_S
from lab.configuration import scaled_config
from lab.desk import NICENESS
from lab.ledger import Ledger
from lab.samples import history, to_recording
from pipeline.records import Outcome, Recommendation
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.bounded import read_all
from pipeline.runtime.broker import EmbeddedBroker
from pipeline.runtime.clients import connection
from pipeline.runtime.drained import drained
from pipeline.runtime.stages import build_specs
from pipeline.runtime.topology import create_topics
from pipeline.settings import load_settings
from pipeline.sources.publisher import Publisher
from pipeline.sources.replay import play
from pipeline.stage import Topic
from pipeline.views.subscription import Subscription

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from lab.announcements import Announcement
    from lab.ledger import Seen, Trail
    from lab.samples import Row
    from lab.scenarios import Scenario

_TAIL_S = 0.5
"""What was committed reaches a consumer within this time."""
_READY = '"event": "ready"'
"""What the worker's log says once it works."""
_ROOT = Path(__file__).parent.parent
_SAID = {Recommendation: Topic.RECOMMENDATIONS, Outcome: Topic.OUTCOMES}


class KafkaDesk:
    """A broker and a worker of the lab's own; use it as an async context manager. Raises LabError if one ends.

    With `bootstrap` (host:port) that broker, which has its topics, and whatever worker somebody runs beside it.
    """

    config: Path
    """Folder with the configuration of the worker."""

    def __init__(self, scenario: Scenario, bootstrap: str | None = None) -> None:
        self._scenario = scenario
        self.theirs = bootstrap
        self._worker: subprocess.Popen[bytes] | None = None
        self._ledger = Ledger()
        self._stack = AsyncExitStack()
        self._tail: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with self._stack:
            self.config = self._stack.enter_context(scaled_config(self._scenario))
            self.bootstrap = self.theirs or await self._start_broker()
            chosen = {"detect.frame_s": SCRAPE_S, "config_dir": self.config, "kafka.bootstrap": self.bootstrap}
            self._settings = load_settings(overrides=chosen)
            if self.theirs is None:
                await self._start_worker()
            client, topics = connection(self._settings.kafka), self._settings.topics
            self._publisher = await self._stack.enter_async_context(Publisher(client, topics.name(Topic.METRICS)))
            said = await self._stack.enter_async_context(Subscription(client, topics, from_beginning=not self.theirs))
            self._tail = asyncio.create_task(self._follow(said))
            self._stack.callback(self._tail.cancel)
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def environment(self) -> dict[str, str]:
        """What a worker needs in its environment to see the lab as the desk in memory does."""
        return {
            "DURI_BOOTSTRAP": self.bootstrap,
            "DURI_CONFIG_DIR": str(self.config),
            "DURI_DETECT__FRAME_S": str(SCRAPE_S),
        }

    async def _start_broker(self) -> str:
        broker = EmbeddedBroker()
        self._stack.callback(broker.close)
        await asyncio.to_thread(broker.start)
        return broker.bootstrap

    async def _start_worker(self) -> None:
        async with ClusterAdmin(self._settings.kafka) as admin:
            await create_topics(admin, self._settings)
        self._log = self.config.parent / "worker.log"
        environment = {**os.environ, **self.environment, "DURI_RUNTIME__HTTP_PORT": "0"}
        self._worker = spawn([sys.executable, "-m", "pipeline", "run"], self._log, env=environment, cwd=_ROOT)
        self._stack.callback(stop, self._worker)
        worker = psutil.Process(self._worker.pid)
        worker.nice(min(19, worker.nice() + NICENESS))
        while _READY not in self._log.read_text(encoding="utf-8", errors="replace"):
            self._alive()
            await asyncio.sleep(0.1)

    @property
    def worker_pid(self) -> int:
        """Process id of the worker. Raises LabError where it is somebody else's."""
        if self._worker is None:
            raise LabError(f"the lab has no worker of its own at {self.bootstrap}")
        return self._worker.pid

    async def begin(self, healthy: Sequence[Row]) -> Seen:
        """Publish a healthy phase, preceded by its repetitions, and wait until the worker has it."""
        await self.take([*history(healthy, round(SCRAPE_S * 1000)), *healthy])
        return await self.caught_up()

    async def end_healthy(self) -> Seen:
        """What was said so far were false alarms."""
        await self.caught_up()
        self._ledger.end_healthy()
        return self._ledger.seen()

    async def take(self, rows: Sequence[Row]) -> Seen:
        """Publish samples in order of time: services that share a clock in `duri.samples` interleaved, in one lane."""
        self._alive()
        await play(to_recording(rows), self._publisher, lanes=self._settings.topics.samples_partitions)
        return self._ledger.seen()

    async def tell(self, record: Announcement, at: int) -> Seen:
        """Publish something that people or tools announce, at that moment (ms)."""
        self._alive()
        topic = self._settings.topics.name(Topic.CONTROL)
        message = record.model_dump_json().encode()
        await self._publisher.publish_record(topic, record.id, message, headers_of(record, at))
        await self._publisher.flush()
        return self._ledger.seen()

    async def trail(self, service: str, signal: str) -> Trail:
        """The values that a service's signal has had, read from the topic of frames."""
        ledger = Ledger()
        async for record in read_all(self._settings, Topic.FRAMES):
            ledger.note(record)
        return sorted(ledger.trail(service, signal))

    async def _follow(self, said: Subscription) -> None:
        while True:
            for record in await said.poll():
                if (topic := _SAID.get(type(record))) is not None:
                    self._ledger.keep(topic, record.model_dump(mode="json"))

    async def caught_up(self) -> Seen:
        """Wait until our own worker has taken all that was published; nobody waits for another's."""
        if self._worker is None:
            return self._ledger.seen()
        waiting = asyncio.create_task(drained(self._settings, build_specs(self._settings)))
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=1.0)
            self._alive()
        await waiting
        await asyncio.sleep(_TAIL_S)
        return self._ledger.seen()

    def _alive(self) -> None:
        """Raise what ended the worker or the reading of what it says."""
        if self._tail is not None and self._tail.done():
            self._tail.result()
        if self._worker is not None and self._worker.poll() is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise LabError(f"the worker ended with {self._worker.returncode}:\n" + "\n".join(said))
