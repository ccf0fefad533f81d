"""A topic as it is now: every committed record up to the end that it has when one begins to read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pipeline.errors import CREATE_TOPIC, BrokerError, BrokerUnavailableError
from pipeline.rights import told
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import log_reader
from pipeline.runtime.ends import settled_ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pipeline.settings import Settings
    from pipeline.stage import InputRecord, Topic

_POLL_MS: Final = 500
_PATIENCE_S: Final = 15.0
_WAIT_S: Final = 5.0


async def read_all(settings: Settings, topic: Topic) -> AsyncIterator[InputRecord]:
    """Each record of the topic, partition by partition, oldest first.

    Raises BrokerUnavailableError where nobody answers or the broker falls silent, BrokerError where the topic is
    missing.
    """
    name, bootstrap = settings.topics.name(topic), settings.kafka.bootstrap
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        topics = await admin.topics()
    if name not in topics:
        raise BrokerError(f"{bootstrap}: there is no topic {name}; {CREATE_TOPIC}")
    places = [TopicPartition(name, number) for number in range(topics[name])]
    async with log_reader(settings.kafka) as reader:
        try:
            starts, ends = await reader.beginning_offsets(places), await settled_ends(reader, settings.kafka, places)
            for place in places:
                if starts[place] < ends[place]:
                    reader.assign([place])
                    reader.seek(place, starts[place])
                    async for record in _until(reader, place, ends[place], bootstrap):
                        yield record
        except KafkaError as error:
            raise BrokerError(f"{bootstrap}: {name} cannot be read: {told(error)}") from error


async def _until(reader: object, place: TopicPartition, end: int, bootstrap: str) -> AsyncIterator[InputRecord]:
    clock = asyncio.get_running_loop().time
    moved, position = clock(), -1
    while position < end:
        polled = await reader.getmany(place, timeout_ms=_POLL_MS)  # type: ignore[attr-defined]  # aiokafka is untyped
        for record in polled.get(place, ()):
            if record.offset < end:
                yield record
        before, position = position, await reader.position(place)  # type: ignore[attr-defined]
        if position > before:
            moved = clock()
        elif clock() - moved > _PATIENCE_S:
            raise BrokerUnavailableError(
                f"{bootstrap}: {place.topic}/{place.partition} gives nothing from offset {position} on, "
                f"though it reaches to {end}; is the broker well?"
            )
