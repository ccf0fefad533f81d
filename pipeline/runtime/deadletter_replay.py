"""Sending dead letters to where they came from, each once.

What was replayed is remembered where Kafka itself remembers: as the offset that the group `<group>.deadletter.replay`
has committed, with what was taken above it (single reasons, single letters) as its metadata. The steps:

    1 fence     an earlier replay that still runs; its open transaction is settled
    2 remember  what is committed: a replay after it starts there
    3 read      the letters of one poll, and take those that are meant and were not sent before
    4 check     that each one's origin exists; nothing is sent before
    5 send      original key, value and headers, to the original partition
    6 commit    letters and memory in one transaction (with at least once: the letters, then the memory)
    7 settle    the same memory once more: Kafka takes it when the commit before it is in every partition, so that
                whoever reads next sees what was sent, and that it was
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from pipeline.errors import BrokerError, FencedError
from pipeline.rights import told
from pipeline.runtime import clients
from pipeline.runtime.deadletter_log import no_such_letter
from pipeline.settings import Guarantee

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiokafka import AIOKafkaProducer, TopicPartition

    from pipeline.runtime.deadletter_letter import Letter
    from pipeline.runtime.deadletter_log import DeadLetterLog
    from pipeline.runtime.deadletter_memory import Memory, Selection
    from pipeline.settings import Settings


@dataclass(slots=True)
class Replayed:
    """What a replay did."""

    sent: Counter[str] = field(default_factory=Counter)
    """Letters sent, by the topic they went to."""
    before: int = 0
    """Letters meant that were replayed earlier."""
    unaddressed: int = 0
    """Letters meant that do not say where they came from; they stay where they are."""


async def replay(settings: Settings, log: DeadLetterLog, selection: Selection) -> Replayed:
    """Send the selected letters to their origins and remember it.

    Raises FileError where the letter named does not exist, BrokerError where an origin is missing or Kafka refuses,
    FencedError where another replay took over. Whatever it raises, what was committed is neither lost nor repeated.
    """
    result = Replayed()
    async with _producer(settings, log) as producer:  # 1 fence
        post = _Post(log, producer, transactional=settings.runtime.guarantee is Guarantee.EXACTLY_ONCE)
        for place in _places(log, selection):
            try:
                await _replay_partition(log, place, selection, post, result)
                await post.settle()  # 7 settle
            except (ProducerFenced, InvalidProducerEpoch) as error:
                raise FencedError("another replay of the dead letters was started; this one ends") from error
            except KafkaError as error:
                raise BrokerError(f"replaying {log.topic}/{place.partition} failed: {told(error)}") from error
    return result


async def _replay_partition(
    log: DeadLetterLog, place: TopicPartition, selection: Selection, post: _Post, result: Replayed
) -> None:
    known = memory = await log.memory(place, log.group)  # 2 remember
    async for letters, position in log.read(place, memory.first(selection)):  # 3 read
        meant = [letter for letter in letters if selection.takes(letter)]
        if selection.single is not None and not meant:
            raise no_such_letter(log, selection.single)
        to_send = _to_send(meant, memory, selection, result)
        await _check_origins(log, to_send)  # 4 check
        memory = memory.after(selection, position)
        if to_send:
            await post.send(place, to_send, memory)  # 5 send, 6 commit
            known = memory
            result.sent.update(letter.error["topic"] for letter in to_send)
        if selection.single is not None:
            return
    if selection.single is not None:
        raise no_such_letter(log, selection.single)
    if memory != known:
        await post.send(place, [], memory)


def _places(log: DeadLetterLog, selection: Selection) -> list[TopicPartition]:
    if selection.single is None:
        return log.places
    places = [place for place in log.places if place.partition == selection.single[0]]
    if not places:
        raise no_such_letter(log, selection.single)
    return places


def _to_send(meant: Sequence[Letter], memory: Memory, selection: Selection, result: Replayed) -> list[Letter]:
    new = [letter for letter in meant if selection.again or not memory.has(letter)]
    addressed = [letter for letter in new if letter.origin is not None]
    result.before += len(meant) - len(new)
    result.unaddressed += len(new) - len(addressed)
    return addressed


async def _check_origins(log: DeadLetterLog, letters: Sequence[Letter]) -> None:
    origins = {letter.error["topic"] for letter in letters}
    if missing := sorted(origins - (await log.topics(origins)).keys()):
        raise BrokerError(
            f"dead letters came from topics that are no more: {', '.join(missing)}; create them, "
            "or replay the others by --reason or --offset"
        )


@asynccontextmanager
async def _producer(settings: Settings, log: DeadLetterLog) -> AsyncIterator[AIOKafkaProducer]:
    producer = clients.producer(settings, identity=log.group, batch_bytes=settings.runtime.max_batch_bytes)
    try:
        await producer.start()
        yield producer
    except KafkaError as error:
        raise BrokerError(f"dead letters cannot be replayed: {told(error)}") from error
    finally:
        await producer.stop()


@dataclass(slots=True)
class _Post:
    """Steps 5 to 7."""

    log: DeadLetterLog
    producer: AIOKafkaProducer
    transactional: bool
    _last: tuple[TopicPartition, Memory] | None = None

    async def send(self, place: TopicPartition, letters: Sequence[Letter], memory: Memory) -> None:
        """Send the letters and remember them."""
        if not self.transactional:
            await self._send(letters)
            await self.log.consumer.commit({place: memory.stored()})
            return
        async with self.producer.transaction():
            await self._send(letters)
            await self.producer.send_offsets_to_transaction({place: memory.stored()}, self.log.group)
        self._last = (place, memory)

    async def settle(self) -> None:
        """Wait until what was committed can be read everywhere."""
        if self._last is not None:
            place, memory = self._last
            await self.send(place, [], memory)
            self._last = None

    async def _send(self, letters: Sequence[Letter]) -> None:
        taken = []
        for letter in letters:
            topic = letter.error["topic"]
            partitions = await self.producer.partitions_for(topic)
            batch = self.producer.create_batch()
            # A batch takes its first record however long it is: whether it fits is for the broker to say.
            batch.append(timestamp=letter.timestamp, key=letter.key, value=letter.value, headers=list(letter.headers))
            batch.close()
            taken.append(await self.producer.send_batch(batch, topic, partition=_partition(letter, partitions)))
        # A commit alone does not tell that a send in it failed.
        for future in taken:
            await future


def _partition(letter: Letter, partitions: set[int]) -> int:
    """The original one; where the topic has fewer now, any that is always the same."""
    number = letter.origin[1] if letter.origin else 0
    return number if number in partitions else number % len(partitions)
