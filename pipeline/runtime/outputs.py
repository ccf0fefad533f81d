"""From what a stage wants written to record batches: which topic and partition, packed up to the size limit."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cramjam
import structlog
from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from pipeline.errors import DuriError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder
    from aiokafka.structs import RecordMetadata

    from pipeline.stage import Headers, Output, Topic

_RECORD_OVERHEAD = 64
"""Upper bound of what Kafka adds to one record's key, value and headers, bytes."""
_BATCH_OVERHEAD = 512
"""The same for a batch of one record, with room for what the compressor's estimate may be off."""

log = structlog.get_logger(__name__)


class Write(NamedTuple):
    """A record with its place."""

    target: TopicPartition
    key: bytes | None
    value: bytes | None
    """None deletes the key, in a compacted topic."""
    timestamp: int
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes it takes in a batch, at most."""
        headers = sum(len(name) + len(value) + 10 for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + _RECORD_OVERHEAD


class Sent(NamedTuple):
    """A batch on its way: the future tells whether the broker took it (a commit alone does not)."""

    taken: asyncio.Future[RecordMetadata]
    records: int

    async def offsets(self) -> range:
        """Offsets of its records, once the broker has taken them; -1 and up where it does not say."""
        first = (await self.taken).offset
        return range(first, first + self.records)


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the broker says of a topic."""

    name: str
    partitions: int
    max_message_bytes: int
    configs: Mapping[str, str]


@lru_cache(maxsize=65_536)
def _hash(key: bytes) -> int:
    """Kafka's hash of a key, as the default partitioner takes it; pure Python, so worth remembering."""
    return int(murmur2(key)) & 0x7FFFFFFF


class Router:
    """Gives each output of one input partition its place."""

    def __init__(self, names: Mapping[Topic, str], facts: Mapping[str, TopicFacts], source: TopicPartition) -> None:
        self._names = names
        self._facts = facts
        self._source = source

    def route(self, output: Output) -> Write:
        """The output with its place. Raises DuriError for a topic or partition that does not exist."""
        name = self._names.get(output.topic)
        if name is None:
            raise DuriError(
                f"stage reading {self._source.topic} writes to {output.topic}, which is none of its outputs"
            )
        target = TopicPartition(name, self._partition(output, self._facts[name]))
        return Write(target, output.key, output.value, output.timestamp, output.headers)

    def _partition(self, output: Output, topic: TopicFacts) -> int:
        if output.partition is None:
            # Without a key the choice is free; this one is the same on every run.
            return (self._source.partition if output.key is None else _hash(output.key)) % topic.partitions
        if output.partition >= topic.partitions:
            raise DuriError(
                f"output for partition {output.partition} of {topic.name}, which has {topic.partitions}: "
                f"set topics.{output.topic}_partitions to what the topic has"
            )
        return output.partition


class Packer:
    """Packs writes into batches and hands them to a producer, in order for each target partition."""

    def __init__(self, facts: Mapping[str, TopicFacts]) -> None:
        self._facts = facts

    async def send(self, producer: AIOKafkaProducer, writes: Sequence[Write]) -> list[Sent]:
        """Send all, in order for each target.

        A record too long for its topic even when compressed can never be written: it is dropped, with an error in
        the log, because keeping it would stop the partition for ever.
        """
        queues = self._pack(producer, writes)
        sent = []
        while queues:
            # A batch of each target in turn, so that they travel together.
            for target in list(queues):
                batch = queues[target].popleft()
                if not queues[target]:
                    del queues[target]
                batch.close()
                taken = await producer.send_batch(batch, target.topic, partition=target.partition)
                sent.append(Sent(taken, batch.record_count()))
        return sent

    def _pack(self, producer: AIOKafkaProducer, writes: Sequence[Write]) -> dict[TopicPartition, deque[BatchBuilder]]:
        queues: dict[TopicPartition, deque[BatchBuilder]] = defaultdict(deque)
        for write in writes:
            limit = self._facts[write.target.topic].max_message_bytes
            if write.size > limit and not self._fits(write, limit):
                continue
            queue = queues[write.target]
            if not queue or _append(queue[-1], write) is None:
                queue.append(producer.create_batch())
                # The first record of a batch is always taken, however long.
                _append(queue[-1], write)
        return queues

    @staticmethod
    def _fits(write: Write, limit: int) -> bool:
        value = write.value or b""
        compressed = len(cramjam.zstd.compress(value, level=3)) + write.size - len(value) + _BATCH_OVERHEAD
        if compressed <= limit:
            return True
        log.error(
            "output dropped: longer than its topic takes",
            topic=write.target.topic,
            partition=write.target.partition,
            key=write.key,
            bytes=write.size,
            compressed=compressed,
            limit=limit,
            remedy=f"raise max.message.bytes of {write.target.topic}",
        )
        return False


def _append(batch: BatchBuilder, write: Write) -> object | None:
    appended: object | None = batch.append(
        timestamp=write.timestamp, key=write.key, value=write.value, headers=list(write.headers)
    )
    return appended
