"""Where committed records end, on real Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.runtime.clients import log_reader
from pipeline.runtime.ends import settled_ends
from pipeline.stage import Topic
from tests.runtime.toys import make_topics, settings_for

if TYPE_CHECKING:
    from pipeline.settings import Settings


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> Settings:
    chosen = settings_for(kafka, topic_prefix, partitions=1)
    asyncio.run(make_topics(chosen))
    return chosen


async def end_of_open_transaction(settings: Settings, commit_after_s: float, within_s: float) -> int:
    """The end that is told while a transaction with one record is open; it is committed so much later."""
    place = TopicPartition(settings.topics.name(Topic.FRAMES), 0)
    async with (
        AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, transactional_id=place.topic) as producer,
        log_reader(settings.kafka) as reader,
    ):
        await producer.begin_transaction()
        await producer.send_and_wait(place.topic, b"1", partition=0)
        asking = asyncio.create_task(settled_ends(reader, settings.kafka, [place], within_s))
        await asyncio.sleep(commit_after_s)
        await producer.commit_transaction()
        return (await asking)[place]


def test_a_commit_on_its_way_is_waited_for(settings: Settings) -> None:
    """Record and marker are counted, though neither was to be seen when it was asked."""
    assert asyncio.run(end_of_open_transaction(settings, commit_after_s=0.5, within_s=30)) == 2


def test_a_transaction_that_nobody_ends_is_not_waited_for_long(settings: Settings) -> None:
    """A producer that died must not keep everybody: after the time given the end is what can be read."""
    assert asyncio.run(end_of_open_transaction(settings, commit_after_s=1.5, within_s=0.2)) == 0
