"""When a partition's state is snapshotted, and the work of it beside the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipeline.runtime.snapshots import EncodedSnapshot, encode_snapshot

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from pipeline.runtime.context import StageContext
    from pipeline.runtime.position import SnapshotPointer
    from pipeline.runtime.snapshots import Index
    from pipeline.stage import Stage

_GOLDEN = 0.618034  # multiples of it fill the unit interval evenly, however many partitions there are


class Snapshotter:
    """Snapshots of one input partition: copied between two steps, compressed meanwhile, ready for a later commit."""

    def __init__(
        self, context: StageContext, source: TopicPartition, newest: SnapshotPointer | None, index: Index | None
    ) -> None:
        self._context = context
        self.index = index
        """Of the snapshot that was committed last: what it has is not written again. None: everything is."""
        self._clock = asyncio.get_running_loop().time
        self._every = context.worker.settings.runtime.snapshot_interval_s
        self._seen = newest.offset if newest else -1
        # Partitions take their turns: not all of them in the same second.
        self._due = self._clock() + self._every * ((source.partition * _GOLDEN) % 1.0 + 0.1)
        self._encoding: asyncio.Future[EncodedSnapshot] | None = None

    def unseen(self, offset: int) -> bool:
        """Whether records below `offset` are in no snapshot yet, and none is under way."""
        return self._encoding is None and offset > self._seen

    def due(self, offset: int) -> bool:
        """Whether it is time for one, and there is something new to keep."""
        return self.unseen(offset) and self._clock() >= self._due

    async def begin(self, stage: Stage, offset: int) -> None:
        """Copy the state, which has seen all records below `offset`, and have it compressed."""
        worker = self._context.worker
        state = await worker.in_thread(stage.snapshot)
        self._due = self._clock() + self._every
        self._seen = offset
        self._encoding = asyncio.ensure_future(
            worker.in_thread(encode_snapshot, self._context.spec.name, offset, state, self.index)
        )

    @property
    def ready(self) -> bool:
        """Whether one waits to be committed."""
        return self._encoding is not None and self._encoding.done()

    async def finished(self) -> None:
        """Wait until the one that was begun is ready."""
        if self._encoding is not None:
            await asyncio.wait({self._encoding})

    async def take(self) -> EncodedSnapshot | None:
        """The snapshot that was begun, if any. Raises StateError where the state cannot be encoded."""
        encoding, self._encoding = self._encoding, None
        return None if encoding is None else await encoding
