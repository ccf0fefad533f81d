"""One input partition being processed: from taking it over to letting it go.

Steps 1 and 2 of the commit protocol are here, 3 to 8 in `commit.py`:

    open      start the writer (fences an earlier owner), recover stage and position, seek
    1 poll    what the consumer has for this partition; records below the position are skipped
    2 step    in a thread; outputs of records that were committed before are thrown away (replay)
    …         1 and 2 again, until the commit interval is over or enough output waits
    3 to 8    one commit
    tick      an idle partition may get a record from its own stage, so that event time goes on
    finish    what is in hand is committed, then the writer closes

Whatever fails ends this life of the partition: the supervisor starts another one from the committed offset.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

import structlog

from pipeline.runtime.commit import Batch
from pipeline.runtime.position import Position
from pipeline.runtime.recovery import Kept, recover
from pipeline.runtime.snapshotter import Snapshotter
from pipeline.runtime.stopping import StopRequestedError, unless_stopped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import TopicPartition

    from pipeline.runtime.context import StageContext
    from pipeline.runtime.outputs import Write
    from pipeline.runtime.recovery import Start
    from pipeline.runtime.stopping import Closers
    from pipeline.stage import InputRecord, Stage

_BUFFERED_BATCHES = 8
"""So many batches of output may wait for a commit; the partition is not polled meanwhile."""
_IDLE_POLL_S = 0.5

log = structlog.get_logger(__name__)


class PartitionLoop:
    """One life of one input partition."""

    def __init__(
        self, context: StageContext, source: TopicPartition, stop: asyncio.Future[None], closers: Closers
    ) -> None:
        self._context = context
        self._settings = context.worker.settings.runtime
        self._source = source
        self._stop = stop
        self._closers = closers
        self._router = context.router(source)
        self._writer = context.writer(source)
        self._clock = asyncio.get_running_loop().time
        self._stage: Stage | None = None
        self._writes: list[Write] = []
        self._bytes = 0
        self._commit_at: float | None = None
        self._active_at = self._clock()
        self._ticked_at = self._active_at
        self.running = False
        """Whether it is past its replay."""
        self.polling = False
        """Whether it waits for records, and for nothing else."""
        self.read_to: int | None = None
        """Offset of the next record the consumer will give."""
        self.commits = 0
        self.statistics: Mapping[str, float] = {}

    async def run(self, kept: Kept | None, snapshot_by: asyncio.Future[float]) -> Kept | None:
        """Process until stopped; the stage where it stands at the committed offset, ready to go on.

        Where `snapshot_by` has a time (of the event loop's clock), a last snapshot is tried until then.
        """
        try:
            await unless_stopped(self._stop, self._open(kept))
            while not self._stop.done():
                await self._advance()
            return await self._finish(snapshot_by)
        except StopRequestedError:
            return None
        finally:
            await self._closers.close(self._writer.close(), self._context.worker.timing.close_timeout_s)

    async def _open(self, kept: Kept | None) -> None:
        await self._writer.start()
        start = await recover(self._context, self._source, kept)
        self._begin(start)

    def _begin(self, start: Start) -> None:
        self._stage = start.stage
        self._position = start.position
        self._offset = start.first
        self._mute_until = start.mute_until
        self._snapshots = (
            Snapshotter(self._context, self._source, start.position.snapshot, start.index) if start.stateful else None
        )
        self._context.consumer.seek(self._source, start.first)
        self.running = start.first >= start.mute_until
        self.statistics = start.stage.statistics()
        self._active_at = self._clock()

    async def _advance(self) -> None:
        # 1 poll
        records = await self._poll()
        # 2 step
        if records:
            await self._take(records)
        # 3 to 8
        if self._commit_due():
            await self._commit()
        elif not records and self.running and not self._dirty:
            self._tick()
        if self._snapshots is not None and self.running and self._snapshots.due(self._offset):
            await self._snapshots.begin(self._current, self._offset)

    @property
    def _current(self) -> Stage:
        if self._stage is None:
            raise RuntimeError("the partition is not open")
        return self._stage

    # --- 1 poll ----------------------------------------------------------------------------------------------

    async def _poll(self) -> list[InputRecord]:
        consumer, source = self._context.consumer, self._source
        wait_s = _IDLE_POLL_S if self._commit_at is None else max(0.0, self._commit_at - self._clock())
        self.polling = True
        try:
            polled = await unless_stopped(self._stop, consumer.getmany(source, timeout_ms=round(wait_s * 1000)))
        except StopRequestedError:
            return []
        finally:
            self.polling = False
        records: list[InputRecord] = polled.get(source, [])
        self.read_to = await consumer.position(source)
        if not self.running and self.read_to >= self._mute_until and not records:
            self._replayed()
        return records[bisect_left(records, self._offset, key=_offset) :]

    # --- 2 step ----------------------------------------------------------------------------------------------

    async def _take(self, records: Sequence[InputRecord]) -> None:
        self._active_at = self._clock()
        cut = bisect_left(records, self._mute_until, key=_offset)
        if cut:
            await self._step(records[:cut], muted=True)
        if cut < len(records):
            await self._step(records[cut:], muted=False)
        if not self.running and self._offset >= self._mute_until:
            self._replayed()

    async def _step(self, records: Sequence[InputRecord], *, muted: bool) -> None:
        started = time.perf_counter()
        writes, size = await self._context.worker.in_thread(self._outcome, records, muted=muted)
        self._context.worker.telemetry.stepped(self._context.spec.name, len(records), time.perf_counter() - started)
        self._offset = records[-1].offset + 1
        self._writes += writes
        self._bytes += size
        if not muted and self._commit_at is None:
            self._commit_at = self._clock() + self._context.worker.commit_interval()

    def _outcome(self, records: Sequence[InputRecord], *, muted: bool) -> tuple[list[Write], int]:
        outputs = self._current.step(records)
        if muted:
            return [], 0
        writes = [self._router.route(output) for output in outputs]
        return writes, sum(write.size for write in writes)

    def _replayed(self) -> None:
        # The committed offset may lie behind the last record: where only markers are between.
        self._offset = max(self._offset, self._mute_until)
        self.running = True
        self.statistics = self._current.statistics()

    # --- 3 to 8 ----------------------------------------------------------------------------------------------

    @property
    def _dirty(self) -> bool:
        return self._commit_at is not None

    def _commit_due(self) -> bool:
        if self._snapshots is not None and self._snapshots.ready:
            return True
        if self._commit_at is None:
            return False
        enough = self._settings.max_batch_bytes * _BUFFERED_BATCHES
        return self._bytes >= enough or self._clock() >= self._commit_at

    async def _commit(self) -> None:
        snapshot = await self._snapshots.take() if self._snapshots is not None and self._snapshots.ready else None
        position = Position(self._offset, self._position.snapshot)
        writes, self._writes, self._bytes, self._commit_at = self._writes, [], 0, None
        started = time.perf_counter()
        async with asyncio.timeout(self._context.worker.timing.commit_timeout_s):
            stored = await self._writer.commit(Batch(writes, position, snapshot))
        self._position = stored.position
        stage, telemetry = self._context.spec.name, self._context.worker.telemetry
        telemetry.committed(stage, len(writes), time.perf_counter() - started)
        if self._snapshots is not None and snapshot is not None:
            self._snapshots.index = stored.index
            telemetry.snapshot(stage, snapshot.size, written=len(snapshot.fresh), kept=len(snapshot.kept))
        self.commits += 1
        self.statistics = self._current.statistics()

    # --- tick ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._clock()
        if now - max(self._active_at, self._ticked_at) < self._settings.tick_after_s or not self._caught_up():
            return
        self._ticked_at = now
        # The only place where wall time meets a stage; what comes of it is a record in a log.
        outputs = self._current.tick(round((now - self._active_at) * 1000))
        if not outputs:
            return
        self._writes += [self._router.route(output) for output in outputs]
        self._commit_at = now
        self._context.worker.telemetry.ticked(self._context.spec.name)

    def _caught_up(self) -> bool:
        consumer = self._context.consumer
        if self._source not in consumer.assignment():
            return False
        end = consumer.last_stable_offset(self._source)
        return end is not None and self.read_to is not None and self.read_to >= end

    @property
    def lag(self) -> int | None:
        """Records between what the consumer gave and the end of the partition; None while not known."""
        consumer = self._context.consumer
        if self.read_to is None or self._source not in consumer.assignment():
            return None
        end = consumer.highwater(self._source)
        return None if end is None else max(0, end - self.read_to)

    # --- finish ----------------------------------------------------------------------------------------------

    async def _finish(self, snapshot_by: asyncio.Future[float]) -> Kept | None:
        if self._dirty:
            await self._commit()
        if snapshot_by.done():
            await self._last_snapshot(snapshot_by.result())
        if not self.running:
            return None
        index = self._snapshots.index if self._snapshots is not None else None
        return Kept(self._current, self._position, stateful=self._snapshots is not None, index=index)

    async def _last_snapshot(self, until: float) -> None:
        """So that the next worker need not replay; not worth being late for."""
        snapshots = self._snapshots
        if snapshots is None or not self.running:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                if snapshots.unseen(self._offset):
                    await snapshots.begin(self._current, self._offset)
                await snapshots.finished()
        if snapshots.ready:
            await self._commit()


def _offset(record: InputRecord) -> int:
    return record.offset
