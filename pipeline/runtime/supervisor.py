"""Keeps one input partition going: a new life after every failure, from the committed offset, with patience."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from pipeline.errors import BrokerUnavailableError, DuriError, FencedError
from pipeline.runtime.partition import PartitionLoop
from pipeline.runtime.stopping import StopRequestedError, unless_stopped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import TopicPartition

    from pipeline.runtime.context import StageContext
    from pipeline.runtime.recovery import Kept
    from pipeline.runtime.stopping import Closers

log = structlog.get_logger(__name__)


class PartitionSupervisor:
    """One input partition for as long as the group lets this worker have it."""

    def __init__(self, context: StageContext, source: TopicPartition, kept: Kept | None, closers: Closers) -> None:
        self._context = context
        self._source = source
        self._closers = closers
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[None] = loop.create_future()
        self._snapshot_by: asyncio.Future[float] = loop.create_future()
        self._life: PartitionLoop | None = None
        self._failures = 0
        self.task = asyncio.create_task(self._run(kept), name=f"{context.group} {source.topic}/{source.partition}")

    @property
    def stage_name(self) -> str:
        """Name of the stage."""
        return self._context.spec.name

    @property
    def place(self) -> tuple[str, int]:
        """Input topic and partition."""
        return self._source.topic, self._source.partition

    @property
    def running(self) -> bool:
        """Whether records are processed and their outputs written now."""
        return self._life is not None and self._life.running

    @property
    def waiting_at(self) -> int | None:
        """Offset that it waits for, where it does nothing but wait for records."""
        return self._life.read_to if self._life is not None and self._life.polling else None

    @property
    def lag(self) -> int | None:
        """Records that are there and not yet read."""
        return None if self._life is None else self._life.lag

    @property
    def statistics(self) -> Mapping[str, float]:
        """The stage's own numbers, as of its last commit."""
        return {} if self._life is None else self._life.statistics

    def stop(self, snapshot_by: float | None = None) -> None:
        """Finish what is in hand and end; with a time (of the event loop's clock), try a last snapshot until then."""
        if snapshot_by is not None and not self._snapshot_by.done():
            self._snapshot_by.set_result(snapshot_by)
        if not self._stop.done():
            self._stop.set_result(None)

    async def _run(self, kept: Kept | None) -> Kept | None:
        while not self._stop.done():
            life = self._life = PartitionLoop(self._context, self._source, self._stop, self._closers)
            try:
                return await life.run(kept, self._snapshot_by)
            except Exception as error:  # noqa: BLE001  whatever it was, the committed offset is a sound place to start
                pause = self._judge(error, life)
            finally:
                self._life = None
            kept = None
            self._context.worker.telemetry.failed(self.stage_name)
            try:
                await unless_stopped(self._stop, asyncio.sleep(pause))
            except StopRequestedError:
                break
        return None

    def _judge(self, error: Exception, life: PartitionLoop) -> float:
        """Seconds to wait before the next life. Raises DuriError where there is no point in one."""
        timing = self._context.worker.timing
        names = {"stage": self.stage_name, "topic": self._source.topic, "partition": self._source.partition}
        if life.commits:
            self._failures = 0
        if isinstance(error, FencedError):
            # By now the group may have told the rest of this worker; where it has not, the partition is still ours.
            log.warning("partition given up", **names, error=str(error))
            return 2 * timing.heartbeat_s
        if is_outage(error):
            log.warning("Kafka does not answer; trying again", **names, error=repr(error))
            return timing.backoff_max_s / 5
        self._failures += 1
        if self._failures >= timing.max_failures:
            raise DuriError(
                f"{self.stage_name}: {self._source.topic}/{self._source.partition} failed {self._failures} times in a "
                f"row without any progress, last with {type(error).__name__}: {error}"
            ) from error
        log.error("partition failed; starting again from the committed offset", **names, exc_info=error)
        return float(min(timing.backoff_max_s, timing.backoff_min_s * 2**self._failures))


def is_outage(error: Exception) -> bool:
    """Whether the broker is away, which time alone heals."""
    if isinstance(error, KafkaError):
        return bool(error.retriable)
    return isinstance(error, OSError | TimeoutError | BrokerUnavailableError)
