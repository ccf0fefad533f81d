"""Dead letters read back: which there are, where each came from, and why it could not be read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import CREATE_TOPIC, BrokerError, BrokerUnavailableError, FileError
from pipeline.rights import told
from pipeline.runtime import clients
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.deadletter_letter import Letter, read_letter
from pipeline.runtime.deadletter_memory import Memory, read_memory
from pipeline.runtime.ends import settled_ends
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Set as AbstractSet
    from types import TracebackType

    from aiokafka.structs import OffsetAndMetadata

    from pipeline.settings import Settings

_WAIT_S = 5.0
_POLL_MS = 500
_PATIENCE_S = 15.0
_NEW_TOPIC_S = 1.0
"""A broker hears of a topic a moment after it was made."""
_WINDOW = 4
"""A letter takes at most two offsets (its transaction's end is one), and some offsets hold nothing."""


def no_such_letter(log: DeadLetterLog, place: tuple[int, int]) -> FileError:
    """The error of who names a letter that is not there."""
    return FileError(
        f"{log.topic}/{place[0]} has no letter at offset {place[1]}; `duri deadletter list` shows those it has"
    )


class DeadLetterLog:
    """The dead-letter topic as it is when one enters, without what was purged; use it as an async context manager.

    Raises BrokerUnavailableError where nobody answers, BrokerError where the topic is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self.topic = settings.topics.name(Topic.DEADLETTER)
        self.group = f"{settings.runtime.group}.deadletter.replay"
        """Consumer group that remembers what was replayed."""
        self.purge_group = f"{settings.runtime.group}.deadletter.purge"
        """Consumer group that remembers what was purged and could not be deleted yet."""
        self.admin = ClusterAdmin(settings.kafka, wait_s=_WAIT_S)
        self.consumer = AIOKafkaConsumer(
            client_id=self.group,
            group_id=self.group,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            max_partition_fetch_bytes=clients.PARTITION_FETCH_BYTES,
            fetch_max_wait_ms=clients.FETCH_WAIT_MS,
            **clients.connection(settings.kafka),
        )
        self._kafka = settings.kafka
        self._purged: dict[TopicPartition, Memory] = {}
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        try:
            await self.admin.__aenter__()
            await self._open()
        except BaseException as error:
            await self._close()
            if isinstance(error, KafkaError):
                raise BrokerError(f"{self._kafka.bootstrap}: {self.topic} cannot be read: {told(error)}") from error
            raise
        return self

    async def _open(self) -> None:
        found = await self.topics({self.topic})
        if self.topic not in found:
            raise BrokerError(
                f"{self._kafka.bootstrap}: there is no topic {self.topic}; {CREATE_TOPIC}, or check topics.prefix"
            )
        places = [TopicPartition(self.topic, number) for number in range(found[self.topic])]
        await self.consumer.start()
        self.consumer.assign(places)
        self._starts = await self.consumer.beginning_offsets(places)
        self._ends = await settled_ends(self.consumer, self._kafka, places)
        for place in places:
            self._purged[place] = await self.memory(place, self.purge_group)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self.consumer.stop()
        await self.admin.__aexit__(None, None, None)

    @property
    def places(self) -> list[TopicPartition]:
        """Partitions of the topic."""
        return list(self._ends)

    async def topics(self, wanted: AbstractSet[str]) -> dict[str, int]:
        """Those of these topics that exist, with their partitions; one made a moment ago is waited for."""
        clock = asyncio.get_running_loop().time
        until = clock() + _NEW_TOPIC_S
        while True:
            topics = await self.admin.topics()
            if wanted <= topics.keys() or clock() > until:
                return {name: topics[name] for name in wanted & topics.keys()}
            await asyncio.sleep(_NEW_TOPIC_S / 10)

    def end(self, place: TopicPartition) -> int:
        """Offset that follows the newest letter."""
        return self._ends[place]

    async def first_at(self, place: TopicPartition, timestamp_ms: int) -> int:
        """Offset of the first letter of this time or later; the end where there is none."""
        found = (await self.consumer.offsets_for_times({place: timestamp_ms}))[place]
        return self._ends[place] if found is None else min(found.offset, self._ends[place])

    def forget(self, place: TopicPartition, purged: Memory) -> None:
        """Show nothing of a partition any more that was purged."""
        self._purged[place] = purged

    async def memory(self, place: TopicPartition, group: str) -> Memory:
        """What this group remembers of a partition. Raises StateError for foreign metadata."""
        return read_memory(await self._committed(place, group), group)

    async def _committed(self, place: TopicPartition, group: str) -> OffsetAndMetadata | None:
        """What the group has committed; a coordinator that is still loading is waited for."""
        clock = asyncio.get_running_loop().time
        until = clock() + _PATIENCE_S
        while True:
            try:
                return await self.admin.committed(group, place)
            except BrokerUnavailableError:
                if clock() > until:
                    raise
                await asyncio.sleep(_POLL_MS / 1000)

    async def newest(self, limit: int) -> list[Letter]:
        """The newest letters, `limit` at most, oldest first."""
        found: list[Letter] = []
        for place in self.places:
            found += await self._newest(place, limit)
        found.sort(key=lambda letter: (letter.timestamp, letter.partition, letter.offset))
        return found[-limit:]

    async def _newest(self, place: TopicPartition, limit: int) -> list[Letter]:
        window = _WINDOW * limit
        while True:
            first = max(self._starts[place], self._ends[place] - window)
            found = [letter async for letters, _ in self.read(place, first) for letter in letters]
            if len(found) >= limit or first == self._starts[place]:
                return found[-limit:]
            window *= _WINDOW

    async def read(self, place: TopicPartition, first: int) -> AsyncIterator[tuple[list[Letter], int]]:
        """Letters from an offset to the end, poll by poll, each with the offset that follows them.

        Raises BrokerUnavailableError where the broker stops answering.
        """
        end = self._ends[place]
        position = max(first, self._starts[place])
        self.consumer.seek(place, position)
        clock = asyncio.get_running_loop().time
        moved = clock()
        while position < end:
            polled = await self.consumer.getmany(place, timeout_ms=_POLL_MS)
            letters = [read_letter(record) for record in polled.get(place, ()) if record.offset < end]
            letters = [letter for letter in letters if not self._purged[place].has(letter)]
            before, position = position, await self.consumer.position(place)
            if position > before:
                moved = clock()
                yield letters, min(position, end)
            elif clock() - moved > _PATIENCE_S:
                raise BrokerUnavailableError(
                    f"{self._kafka.bootstrap}: {place.topic}/{place.partition} gives nothing from offset {position} "
                    f"on, though it reaches to {end}; is the broker well?"
                )
