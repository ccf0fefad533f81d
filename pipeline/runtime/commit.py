"""Writing what a step caused, exactly once or at least once.

The protocol of one commit; steps 1 and 2 are the partition task's (`partition.py`), the others are numbered in
the bodies below. A crash at any point leaves either all of it or nothing:

    1 poll       records of one input partition, committed ones only
    2 step       the stage takes them, its outputs are kept
    3 begin      a transaction of this input partition's own producer
    4 send       the outputs, and where a snapshot is due those of its blocks that changed, under numbers that the
                 snapshot before does not use
    5 await      every single send: a commit succeeds even when a send in it has failed
    6 index      of the snapshot: where each of its blocks lies, old ones and new; awaited as in 5
    7 offsets    how far the input is processed, with the pointer to the index as metadata
    8 commit     now readers see 4, and a new owner starts from 7

Before 8 a crash, an error or a new owner (which fences this producer) aborts everything; after 8 nothing is
repeated. The blocks of the snapshot that was pointed to before stay in the compacted topic until the commit after
this one: only then are their numbers used again, or deleted. A producer that has seen an error is never used again:
its sequence numbers are lost, only a new one with the same transactional id gets a new epoch.

At least once is the same without 3 and 8: a crash before 7 repeats outputs, and leaves blocks that nobody knows,
under numbers that the next snapshot writes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import structlog
from aiokafka.errors import CommitFailedError, InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from pipeline.errors import BrokerError, FencedError
from pipeline.runtime.outputs import Packer, Write
from pipeline.runtime.position import Position, SnapshotPointer
from pipeline.runtime.snapshots import encode_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from pipeline.runtime.outputs import Sent, TopicFacts
    from pipeline.runtime.snapshots import EncodedSnapshot, Index

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

    def blocks(self, snapshot: EncodedSnapshot) -> list[Write]:
        """The fresh blocks as records, then the deletion of what nobody uses."""
        written = [self._write(str(block.number), block.content) for block in snapshot.fresh]
        return written + [self._write(str(number), None) for number in snapshot.gone]

    def index(self, turn: int, chunks: Sequence[bytes]) -> list[Write]:
        """The chunks of an index as records."""
        return [self._write(f"index/{turn}/{number}", chunk) for number, chunk in enumerate(chunks)]

    def holds(self, key: bytes | None) -> bool:
        """Whether a record of the state topic belongs to this input partition's snapshots."""
        return key is not None and key.startswith(f"{self.prefix}/".encode())

    def _write(self, name: str, value: bytes | None) -> Write:
        return Write(self.target, f"{self.prefix}/{name}".encode(), value, round(time.time() * 1000))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a commit made durable: the position, and the index of the snapshot where there was one."""

    position: Position
    index: Index | None = None


class Writer(Protocol):
    """Makes batches durable for one input partition."""

    async def start(self) -> None:
        """Connect; with exactly once this fences an earlier owner and settles what it left open."""
        ...

    async def commit(self, batch: Batch) -> Stored:
        """Make the batch durable; what is stored. Raises FencedError, or what the client raises."""
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
    """Steps 4 to 6, which both guarantees share."""

    def __init__(self, source: TopicPartition, facts: Mapping[str, TopicFacts], place: SnapshotPlace) -> None:
        self._source = source
        self._packer = Packer(facts)
        self._place = place

    async def send(self, producer: AIOKafkaProducer, batch: Batch) -> Stored:
        """Send outputs and snapshot and see them taken; the position with the pointer to the snapshot."""
        # 4 send
        blocks = self._place.blocks(batch.snapshot) if batch.snapshot else []
        blocks_sent = await self._packer.send(producer, blocks)
        outputs_sent = await self._packer.send(producer, batch.writes)
        # 5 await every send
        offsets = await self._offsets(blocks_sent, len(blocks))
        await asyncio.gather(*(sent.taken for sent in outputs_sent))
        if batch.snapshot is None:
            return Stored(batch.position)
        # 6 index
        index = batch.snapshot.index(offsets[: len(batch.snapshot.fresh)])
        chunks = encode_index(index)
        sent = await self._packer.send(producer, self._place.index(index.turn, chunks))
        pointer = self._pointer(batch.snapshot.offset, chunks, await self._offsets(sent, len(chunks)))
        return Stored(replace(batch.position, snapshot=pointer), index)

    async def _offsets(self, sent: Sequence[Sent], records: int) -> list[int]:
        """Offsets of the records of a snapshot."""
        offsets = [offset for batch in sent for offset in await batch.offsets()]
        if len(offsets) != records or min(offsets, default=0) < 0:
            # The broker took a retried batch for a duplicate and no longer knows where the first one lies.
            raise BrokerError(f"offsets of a snapshot of {self._source} are unknown: {offsets[:5]} of {records}")
        return offsets

    def _pointer(self, offset: int, chunks: Sequence[bytes], offsets: Sequence[int]) -> SnapshotPointer:
        data = b"".join(chunks)
        return SnapshotPointer(
            offset=offset,
            partition=self._place.target.partition,
            first=offsets[0],
            last=offsets[-1],
            chunks=len(chunks),
            size=len(data),
            sha256=sha256(data).hexdigest(),
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

    async def commit(self, batch: Batch) -> Stored:
        """Steps 3 to 8."""
        with _fencing(self._source):
            # 3 begin
            await self._producer.begin_transaction()
            self._in_transaction = True
            # 4 send, 5 await, 6 index
            stored = await self._sender.send(self._producer, batch)
            # 7 offsets
            offsets = OffsetAndMetadata(stored.position.offset, stored.position.metadata())
            await self._producer.send_offsets_to_transaction({self._source: offsets}, self._group)
            # 8 commit
            await self._producer.commit_transaction()
            self._in_transaction = False
        return stored

    async def close(self) -> None:
        """Abort what is open, then let go."""
        try:
            if self._in_transaction:
                # Where aborting fails too, the next owner's start (or the broker's time limit) aborts it.
                with contextlib.suppress(KafkaError, AssertionError, asyncio.InvalidStateError):
                    await self._producer.abort_transaction()
        finally:  # without a broker aborting takes for ever, and is cancelled at the end of the worker
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

    async def commit(self, batch: Batch) -> Stored:
        """Steps 4 to 7."""
        with _fencing(self._source):
            # 4 send, 5 await, 6 index
            stored = await self._sender.send(self._producer, batch)
            # 7 offsets
            offsets = OffsetAndMetadata(stored.position.offset, stored.position.metadata())
            await self._consumer.commit({self._source: offsets})
        return stored

    async def close(self) -> None:
        """Let go."""
        await self._producer.stop()
