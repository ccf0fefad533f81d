"""What is on a topic, as a reader of committed records sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from pipeline.runtime.clients import log_reader
from pipeline.runtime.ends import SETTLE_S, settled_ends

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from pipeline.settings import Settings
    from pipeline.stage import Topic

READ_S = 30.0


async def committed(settings: Settings, topic: Topic, *, settle_s: float = SETTLE_S) -> list[ConsumerRecord]:
    """Every record in the order of its partitions and offsets.

    Transactions open at the moment are waited for; whoever asks again and again may leave that out with `settle_s=0`.
    """
    name = settings.topics.name(topic)
    places = [TopicPartition(name, number) for number in range(settings.topics.partitions(topic))]
    found: list[ConsumerRecord] = []
    async with log_reader(settings.kafka) as reader, asyncio.timeout(READ_S):
        ends = await settled_ends(reader, settings.kafka, places, settle_s)
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        while any([await reader.position(place) < ends[place] for place in places]):
            for records in (await reader.getmany(timeout_ms=100)).values():
                found += records
    return sorted(found, key=lambda record: (record.partition, record.offset))
