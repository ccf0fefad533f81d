"""Writing what a step caused, exactly once or at least once.

The protocol of one commit; steps 1 and 2 are the partition task's (`partition.py`), the others are numbered in
the bodies below. A crash at any point leaves either all of it or nothing:

    1 poll       records of one input partition, committed ones only
    2 step       the stage takes them, its outputs are kept
    3 begin      a transaction of this input partition's own producer
    4 send       the outputs, and the chunks of a snapshot where one is due
    5 await      every single send: a commit succeeds even when a send in it has failed
    6 offsets    how far the input is processed, with the pointer to the snapshot as metadata
    7 commit     now readers see 4, and a new owner starts from 6

Before 7 a crash, an error or a new owner (which fences this producer) aborts everything; after 7 nothing is
repeated. A producer that has seen an error is never used again: its sequence numbers are lost, only a new one with
the same transactional id gets a new epoch.

At least once is the same without 3 and 7, with the offsets committed after 5: a crash between repeats outputs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog
from aiokafka.errors import CommitFailedError, InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from pipeline.errors import BrokerError, FencedError
from pipeline.runtime.outputs import Packer, Write
from pipeline.runtime.position import Position, SnapshotPointer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from pipeline.runtime.outputs import TopicFacts
    from pipeline.runtime.snapshots import EncodedSnapshot

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit makes durable: outputs, how far the input got, a snapshot where one is due."""

    writes: Sequence[Write]
    position: Position
    snapshot: EncodedSnapshot | None = None


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """Where snapshots of one input partition go: a partition of the state topic, and the keys' beginning."""

    target: TopicPartition
    prefix: str

    def writes(self, snapshot: EncodedSnapshot) -> list[Write]:
        """The chunks as records."""
        now = round(time.time() * 1000)
        return [
            Write(self.target, f"{self.prefix}/{number}".encode(), chunk, now)
            for number, chunk in enumerate(snapshot.chunks)
        ]


class Writer(Protocol):
    """Makes batches durable for one input partition."""

    async def start(self) -> None:
        """Connect; with exactly once this fences an earlier owner and settles what it left open."""
        ...

    async def commit(self, batch: Batch) -> Position:
        """Make the batch durable; the position as stored. Raises FencedError, or what the client raises."""
        ...

    async def close(self) -> None:
        """Abort what is open and let go of the connection."""
        ...


@contextlib.contextmanager
def _fencing(source: TopicPartition) -> Iterator[None]:
    try:
        yield
    except (ProducerFenced, InvalidProducerEpoch, CommitFailedError) as error:
        raise FencedError(f"{source.topic}/{source.partition} has a new owner ({type(error).__name__})") from error


class Sender:
    """Steps 4 and 5, which both guarantees share."""

    def __init__(self, source: TopicPartition, facts: Mapping[str, TopicFacts], place: SnapshotPlace) -> None:
        self._source = source
        self._packer = Packer(facts)
        self._place = place

    async def send(self, producer: AIOKafkaProducer, batch: Batch) -> Position:
        """Send outputs and snapshot and see them taken; the position with the pointer to the snapshot."""
        # 4 send: a snapshot first, because its offsets are part of what is committed
        chunks = self._place.writes(batch.snapshot) if batch.snapshot else []
        chunk_futures = await self._packer.send(producer, chunks, one_each=True)
        output_futures = await self._packer.send(producer, batch.writes)
        # 5 await every send
        places = await asyncio.gather(*chunk_futures)
        await asyncio.gather(*output_futures)
        if batch.snapshot is None:
            return batch.position
        return replace(batch.position, snapshot=self._pointer(batch.snapshot, [place.offset for place in places]))

    def _pointer(self, snapshot: EncodedSnapshot, offsets: list[int]) -> SnapshotPointer:
        if len(offsets) != len(snapshot.chunks) or min(offsets) < 0:
            # The broker took a retried batch for a duplicate and no longer knows where the first one lies.
            raise BrokerError(f"offsets of a snapshot of {self._source} are unknown: {offsets}")
        return SnapshotPointer(
            offset=snapshot.offset,
            partition=self._place.target.partition,
            first=offsets[0],
            last=offsets[-1],
            chunks=len(snapshot.chunks),
            size=snapshot.size,
            sha256=snapshot.sha256,
        )


class TransactionalWriter:
    """Exactly once."""

    def __init__(self, producer: AIOKafkaProducer, group: str, source: TopicPartition, sender: Sender) -> None:
        self._producer = producer
        self._group = group
        self._source = source
        self._sender = sender
        self._in_transaction = False

    async def start(self) -> None:
        """Connect, fence an earlier owner and settle its open transaction."""
        await self._producer.start()

    async def commit(self, batch: Batch) -> Position:
        """Steps 3 to 7."""
        with _fencing(self._source):
            # 3 begin
            await self._producer.begin_transaction()
            self._in_transaction = True
            # 4 send, 5 await
            position = await self._sender.send(self._producer, batch)
            # 6 offsets
            stored = OffsetAndMetadata(position.offset, position.metadata())
            await self._producer.send_offsets_to_transaction({self._source: stored}, self._group)
            # 7 commit
            await self._producer.commit_transaction()
            self._in_transaction = False
        return position

    async def close(self) -> None:
        """Abort what is open, then let go."""
        if self._in_transaction:
            # Where aborting fails too, the next owner's start (or the broker's time limit) aborts it.
            with contextlib.suppress(KafkaError, AssertionError, asyncio.InvalidStateError):
                await self._producer.abort_transaction()
        await self._producer.stop()


class AtLeastOnceWriter:
    """At least once, for brokers without transactions."""

    def __init__(
        self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, source: TopicPartition, sender: Sender
    ) -> None:
        self._producer = producer
        self._consumer = consumer
        self._source = source
        self._sender = sender

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def commit(self, batch: Batch) -> Position:
        """Steps 4 to 6."""
        with _fencing(self._source):
            # 4 send, 5 await
            position = await self._sender.send(self._producer, batch)
            # 6 offsets
            await self._consumer.commit({self._source: OffsetAndMetadata(position.offset, position.metadata())})
        return position

    async def close(self) -> None:
        """Let go."""
        await self._producer.stop()
