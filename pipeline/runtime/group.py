"""One stage in its consumer group: which partitions this worker holds, taking them over and letting them go."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import BrokerError
from pipeline.rights import told
from pipeline.runtime import clients
from pipeline.runtime.context import StageContext, group_of
from pipeline.runtime.stopping import Closers, StopRequestedError, unless_stopped
from pipeline.runtime.supervisor import PartitionSupervisor, is_outage

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeline.runtime.context import WorkerContext
    from pipeline.runtime.recovery import Kept
    from pipeline.runtime.spec import StageSpec

log = structlog.get_logger(__name__)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Hears the group on behalf of one consumer; one that was replaced has nothing to say any more.

    aiokafka only logs what is raised here: whatever can fail belongs into the partitions' own tasks.
    """

    def __init__(self, runner: StageRunner, consumer: AIOKafkaConsumer) -> None:
        self._runner = runner
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Finish what is in hand: after this returns the partitions may belong to others."""
        if self._runner.consumer is self._consumer:
            await self._runner.let_go(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Start a task for each partition."""
        if self._runner.consumer is self._consumer:
            self._runner.take_over(self._consumer, assigned)


class StageRunner:
    """Runs one stage over whatever partitions its group gives to this worker."""

    def __init__(self, worker: WorkerContext, spec: StageSpec) -> None:
        self._worker = worker
        self._spec = spec
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[None] = loop.create_future()
        self._interrupted = asyncio.Event()
        self._failure: BaseException | None = None
        self.consumer: AIOKafkaConsumer | None = None
        """The one that counts now."""
        self._kept: dict[TopicPartition, Kept] = {}
        self._closers = Closers()
        self._joined = False
        self.partitions: dict[TopicPartition, PartitionSupervisor] = {}

    @property
    def ready(self) -> bool:
        """Whether the group has spoken and every partition it gave is being processed."""
        return self._joined and all(partition.running for partition in self.partitions.values())

    def stop(self) -> None:
        """Ask it to end; `run` returns when it has."""
        if not self._stop.done():
            self._stop.set_result(None)
        self._interrupted.set()

    async def run(self) -> None:
        """Process until stopped. Raises what no new start can heal."""
        try:
            while not self._stop.done():
                try:
                    await unless_stopped(self._stop, self._connect())
                except StopRequestedError:
                    break
                await self._interrupted.wait()
                if self._failure is not None:
                    raise self._failure
                if not self._stop.done():
                    await self._disconnect(self._worker.timing.close_timeout_s)
        finally:
            await self._disconnect(self._worker.settings.runtime.shutdown_s, snapshot=True)
            self._closers.abandon()

    async def _connect(self) -> None:
        self._interrupted.clear()
        while True:
            settings = self._worker.settings
            consumer = clients.group_consumer(settings, group_of(settings, self._spec), self._worker.timing)
            self.consumer = consumer
            consumer.subscribe(list(self._spec.inputs), listener=_Listener(self, consumer))
            try:
                await consumer.start()
            except (KafkaError, OSError) as error:
                if not is_outage(error):
                    raise BrokerError(f"{self._spec.name} cannot join its group: {told(error)}") from error
                log.warning("cannot join the group; trying again", stage=self._spec.name, error=str(error))
                await self._closers.close(consumer.stop(), self._worker.timing.close_timeout_s)
                await asyncio.sleep(self._worker.timing.backoff_max_s / 5)
            else:
                return

    async def _disconnect(self, patience_s: float, *, snapshot: bool = False) -> None:
        # Of the patience 0.6 go to finishing, 0.2 to aborting what cannot, 0.2 to leaving the group.
        clock = asyncio.get_running_loop().time
        end = clock() + patience_s
        await self._release(
            0.6 * patience_s, 0.2 * patience_s, snapshot_by=clock() + 0.3 * patience_s if snapshot else None
        )
        self._joined = False
        if self.consumer is not None:
            consumer, self.consumer = self.consumer, None
            await self._closers.close(consumer.stop(), max(0.5, end - clock()))

    # --- the group speaks ------------------------------------------------------------------------------------

    async def let_go(self, revoked: Collection[TopicPartition]) -> None:
        """Finish what is in hand and close the producers."""
        self._joined = False
        if revoked:
            log.info("letting go", stage=self._spec.name, partitions=_numbers(revoked))
        timing = self._worker.timing
        await self._release(
            0.8 * timing.rebalance_timeout_s, min(timing.close_timeout_s, timing.rebalance_timeout_s / 6)
        )

    def take_over(self, consumer: AIOKafkaConsumer, assigned: Collection[TopicPartition]) -> None:
        """Start a task for each partition; restoring happens there, so that a long one keeps nobody waiting."""
        if self._stop.done():
            return
        log.info("taking over", stage=self._spec.name, partitions=_numbers(assigned))
        self._worker.telemetry.rebalanced(self._spec.name)
        context = StageContext(self._worker, self._spec, consumer)
        for source in sorted(assigned):
            partition = PartitionSupervisor(context, source, self._kept.get(source), self._closers)
            partition.task.add_done_callback(self._ended)
            self.partitions[source] = partition
        self._kept.clear()
        self._joined = True

    def _ended(self, task: asyncio.Task[Kept | None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._interrupted.set()

    async def _release(self, patience_s: float, abort_s: float, snapshot_by: float | None = None) -> None:
        """Stop all partitions; those that stand in good order are kept in case they come back."""
        if not self.partitions:
            return
        for partition in self.partitions.values():
            partition.stop(snapshot_by)
        tasks = {partition.task: source for source, partition in self.partitions.items()}
        _, late = await asyncio.wait(tasks, timeout=patience_s)
        for task in late:
            log.warning("partition does not finish in time; its transaction is aborted", source=tasks[task])
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=abort_s)
        self.partitions.clear()
        for task, source in tasks.items():
            with contextlib.suppress(BaseException):
                if (kept := task.result()) is not None:
                    self._kept[source] = kept

    # --- a consumer that silently stops ----------------------------------------------------------------------

    async def watch(self) -> None:
        """Restart the consumer when records wait and none arrive (aiokafka #1037); runs until cancelled."""
        since: dict[TopicPartition, tuple[int, float]] = {}
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._worker.timing.probe_s)
            waiting = {s: p.waiting_at for s, p in self.partitions.items() if p.waiting_at is not None}
            since = {s: since[s] if s in since and since[s][0] == at else (at, clock()) for s, at in waiting.items()}
            overdue = [s for s, (_, began) in since.items() if clock() - began > self._worker.timing.stall_s]
            if overdue and await self._records_wait(overdue, since):
                log.error("the consumer has stopped giving records; starting it anew", stage=self._spec.name)
                since.clear()
                self._interrupted.set()

    async def _records_wait(
        self, sources: Collection[TopicPartition], since: dict[TopicPartition, tuple[int, float]]
    ) -> bool:
        if self.consumer is None:
            return False
        try:
            async with asyncio.timeout(self._worker.timing.close_timeout_s):
                ends = await self.consumer.end_offsets(list(sources))
        except (KafkaError, OSError, TimeoutError):
            return False
        return any(ends[source] > since[source][0] for source in sources)


def _numbers(sources: Collection[TopicPartition]) -> list[str]:
    return [f"{source.topic}/{source.partition}" for source in sorted(sources)]
