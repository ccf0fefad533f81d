"""A worker: stages over Kafka, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.context import WorkerContext
from pipeline.runtime.group import StageRunner
from pipeline.runtime.http import Answer, json_answer, metrics_answer, serving
from pipeline.runtime.kernels import make_ready
from pipeline.runtime.minutes import report_minutes
from pipeline.runtime.spec import StageSpec, Timing
from pipeline.runtime.stopping import StopRequestedError, unless_stopped
from pipeline.runtime.telemetry import Telemetry
from pipeline.runtime.topology import check_topics
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.runtime.supervisor import PartitionSupervisor
    from pipeline.settings import Settings

THREADS = 2
_THREAD_NAMES = "duri-stage"
_STAGES_SHARE = 0.8
"""Of the time to shut down; the rest is for pages, connections and the end of the process."""
_READY_LOOK_S = 0.05

log = structlog.get_logger(__name__)

OnReady = Callable[[str], None]
"""Called once, when every partition that the worker holds is being processed; with the address of its pages."""


async def run_worker(
    settings: Settings,
    stages: Sequence[StageSpec],
    stop: asyncio.Event,
    *,
    on_ready: OnReady | None = None,
    timing: Timing | None = None,
) -> None:
    """Run these stages until `stop` is set; then finish what is in hand within `runtime.shutdown_s` and leave.

    It installs no signal handlers and configures no logging, so it can share an event loop.

    Raises BrokerUnavailableError where no broker answers at the start, BrokerError where topics are missing,
    SettingsError where the HTTP port cannot be had, DuriError where a partition fails again and again.
    """
    worker = Worker(settings, stages, timing or Timing())
    await worker.run(stop, on_ready)


class Worker:
    """The stages of one process, their pages and their health."""

    def __init__(self, settings: Settings, stages: Sequence[StageSpec], timing: Timing) -> None:
        self._settings = settings
        self._stages = stages
        self._timing = timing
        self._runners: list[StageRunner] = []
        self._broker_answers = False
        self._telemetry = Telemetry(_Partitions(self._runners))

    async def run(self, stop: asyncio.Event, on_ready: OnReady | None) -> None:
        """See `run_worker`."""
        runtime = self._settings.runtime
        routes = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        stopping = asyncio.create_task(stop.wait())
        try:
            async with serving(runtime.http_host, runtime.http_port, routes) as address, AsyncExitStack() as reached:
                admin = await unless_stopped(stopping, reached.enter_async_context(self._admin()))
                self._broker_answers = True
                await self._work(admin, address, stopping, on_ready)
        except StopRequestedError:
            pass  # before there was anything to do
        finally:
            stopping.cancel()
        log.info("stopped")

    def _admin(self) -> ClusterAdmin:
        kafka, wait_s = self._settings.kafka, self._timing.broker_wait_s

        def waiting() -> None:
            log.warning("no Kafka broker answers yet; waiting for it", address=kafka.bootstrap, at_most_s=wait_s)

        return ClusterAdmin(kafka, wait_s=wait_s, on_wait=waiting)

    async def _work(
        self, admin: ClusterAdmin, address: str, stopping: asyncio.Task[Any], on_ready: OnReady | None
    ) -> None:
        """Run the stages over a broker that is there. Raises StopRequestedError where `stopping` comes before them."""
        facts = await check_topics(admin, self._settings, self._stages)
        settings = _for_stages(self._settings)
        with _thread_pool() as pool:
            context = WorkerContext(settings, self._timing, admin, facts, self._telemetry, pool, self._partitions_held)
            # Before the group hands out partitions: others may work on those meanwhile.
            await unless_stopped(stopping, make_ready(self._settings, self._stages))
            self._runners += [StageRunner(context, spec) for spec in self._stages]
            async with self._watched(admin, address, on_ready):
                await self._run_stages(stopping)

    async def _run_stages(self, stopping: asyncio.Task[Any]) -> None:
        tasks = {asyncio.create_task(runner.run(), name=f"stage {runner}") for runner in self._runners}
        try:
            await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for runner in self._runners:
                runner.stop()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    @contextlib.asynccontextmanager
    async def _watched(self, admin: ClusterAdmin, address: str, on_ready: OnReady | None) -> AsyncIterator[None]:
        watchers = [asyncio.create_task(runner.watch()) for runner in self._runners]
        watchers.append(asyncio.create_task(self._probe(admin)))
        watchers.append(asyncio.create_task(self._announce(address, on_ready)))
        watchers.append(asyncio.create_task(report_minutes(self._statistics)))
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _probe(self, admin: ClusterAdmin) -> None:
        while True:
            await asyncio.sleep(self._timing.probe_s)
            answers = await admin.alive(self._settings.topics.name(Topic.STATE))
            if answers != self._broker_answers:
                log.warning("broker answers again" if answers else "broker does not answer")
            self._broker_answers = answers
            self._telemetry.ready(is_ready=self._ready)

    async def _announce(self, address: str, on_ready: OnReady | None) -> None:
        while not self._ready:  # noqa: ASYNC110  readiness is put together from many places, none of which tells
            await asyncio.sleep(_READY_LOOK_S)
        self._telemetry.ready(is_ready=True)
        log.info("ready", stages=[spec.name for spec in self._stages], partitions=self._partitions_held())
        if on_ready is not None:
            on_ready(address)

    def _statistics(self) -> list[Mapping[str, float]]:
        return [partition.statistics for partition in _Partitions(self._runners)]

    def _partitions_held(self) -> int:
        return sum(len(runner.partitions) for runner in self._runners)

    # --- pages -----------------------------------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        return self._broker_answers and bool(self._runners) and all(runner.ready for runner in self._runners)

    def _healthz(self) -> Answer:
        return json_answer(200, {"status": "ok"})

    def _readyz(self) -> Answer:
        body = {
            "ready": self._ready,
            "broker": self._broker_answers,
            "stages": {
                spec.name: {"ready": runner.ready, "partitions": len(runner.partitions)}
                for spec, runner in zip(self._stages, self._runners, strict=False)
            },
        }
        return json_answer(200 if self._ready else 503, body)

    def _metrics(self) -> Answer:
        return metrics_answer(self._telemetry.exposition())


@dataclass(frozen=True, slots=True)
class _Partitions:
    """All partitions of all runners, as they are when one looks."""

    runners: Sequence[StageRunner]

    def __iter__(self) -> Iterator[PartitionSupervisor]:
        for runner in self.runners:
            yield from list(runner.partitions.values())


def _for_stages(settings: Settings) -> Settings:
    """The settings with the stages' part of the time to shut down: they spend all they are given."""
    runtime = settings.runtime
    share = runtime.model_copy(update={"shutdown_s": _STAGES_SHARE * runtime.shutdown_s})
    return settings.model_copy(update={"runtime": share})


def steps_in_hand(patience_s: float) -> bool:
    """Whether a stage's step still runs, once a worker has ended and its idle threads had so long to follow."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(_THREAD_NAMES)]
    end = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


@contextlib.contextmanager
def _thread_pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix=_THREAD_NAMES)
    try:
        yield pool
    finally:
        # A step that does not end must not hold up what the process does next. Python itself still waits for its
        # thread when the interpreter exits: who cannot wait asks `steps_in_hand` and leaves with `os._exit`.
        pool.shutdown(wait=False, cancel_futures=True)
