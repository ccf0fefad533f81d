"""What is on a topic, as a reader of committed records sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from pipeline.runtime.clients import log_reader
from pipeline.runtime.ends import SETTLE_S, settled_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.structs import ConsumerRecord

    from pipeline.settings import KafkaSettings, Settings
    from pipeline.stage import Topic

READ_S = 30.0


async def committed(settings: Settings, topic: Topic, *, settle_s: float = SETTLE_S) -> list[ConsumerRecord]:
    """Every record of one of our topics; see `committed_at`."""
    name = settings.topics.name(topic)
    places = [TopicPartition(name, number) for number in range(settings.topics.partitions(topic))]
    return await committed_at(settings.kafka, places, settle_s=settle_s)


async def committed_at(
    kafka: KafkaSettings, places: Sequence[TopicPartition], *, settle_s: float = SETTLE_S
) -> list[ConsumerRecord]:
    """Every record in the order of these partitions and their offsets.

    Transactions open at the moment are waited for; whoever asks again and again may leave that out with `settle_s=0`.
    """
    found: list[ConsumerRecord] = []
    async with log_reader(kafka) as reader, asyncio.timeout(READ_S):
        ends = await settled_ends(reader, kafka, places, settle_s)
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        while any([await reader.position(place) < ends[place] for place in places]):
            for records in (await reader.getmany(timeout_ms=100)).values():
                found += records
    return sorted(found, key=lambda record: (record.partition, record.offset))
