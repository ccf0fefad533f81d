"""Rare trouble: another owner, a consumer that falls silent, records that are gone."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from pipeline.stage import InputRecord, Output, SnapshotState, Topic
from tests.runtime.toys import FAST, RunningSums, check_sums, feed, make_topics, outputs_of, settings_for, working

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pipeline.runtime.broker import EmbeddedBroker
    from pipeline.settings import Settings

NUMBERS = [(f"key{number % 5}", number) for number in range(300)]


def source_of(settings: Settings) -> TopicPartition:
    return TopicPartition(settings.topics.name(Topic.SAMPLES), 0)


def test_a_fenced_partition_is_taken_up_again_while_the_group_says_so(kafka: str, topic_prefix: str) -> None:
    """Somebody takes the transactional id but not the partition: after a pause the worker goes on, exactly once."""
    settings = settings_for(kafka, topic_prefix, partitions=1)
    source = source_of(settings)

    async def story() -> None:
        await make_topics(settings)
        async with working(settings):
            await feed(settings, NUMBERS)
            await outputs_of(settings, 300)
            async with AIOKafkaProducer(
                bootstrap_servers=kafka, transactional_id=f"{settings.runtime.group}.sums.{source.topic}.0"
            ):
                await feed(settings, NUMBERS)
                await outputs_of(settings, 600)
        assert await check_sums(settings) == 600

    asyncio.run(story())


def test_a_consumer_that_falls_silent_is_started_anew(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records wait and none arrive, without an error (aiokafka #1037): the watchdog replaces the consumer."""
    settings = settings_for(kafka, topic_prefix, partitions=1)
    subscribe, getmany = AIOKafkaConsumer.subscribe, AIOKafkaConsumer.getmany
    members: list[AIOKafkaConsumer] = []

    def noted(self: AIOKafkaConsumer, *topics: object, **options: object) -> None:
        members.append(self)
        subscribe(self, *topics, **options)

    async def first_is_silent(self: AIOKafkaConsumer, *partitions: TopicPartition, **options: Any) -> Any:
        if self is not members[0]:
            return await getmany(self, *partitions, **options)
        await asyncio.sleep(options["timeout_ms"] / 1000)
        return {}

    monkeypatch.setattr(AIOKafkaConsumer, "subscribe", noted)
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", first_is_silent)

    async def story() -> None:
        await make_topics(settings)
        async with working(settings, timing=replace(FAST, stall_s=1.0)):
            await feed(settings, NUMBERS)
            await outputs_of(settings, 300)

    asyncio.run(story())
    assert len(members) == 2
    assert "the consumer has stopped giving records" in capsys.readouterr().out


class Stateless(RunningSums):
    """The same without memory: each output is its input."""

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        self.sums.clear()
        return super().step(records)

    def snapshot(self) -> SnapshotState:
        return {}


async def totals(settings: Settings, expected: int) -> list[int]:
    async with working(settings, Stateless):
        return [json.loads(record.value or b"")[1] for record in await outputs_of(settings, expected)]


def test_records_that_retention_took_are_told(
    kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records deleted before they were read cannot be had: the worker says which and goes on behind them."""
    settings = settings_for(kafka, topic_prefix, partitions=1)

    async def story() -> list[int]:
        await make_topics(settings)
        await feed(settings, [("a", 1)] * 3)
        assert await totals(settings, 3) == [0, 1, 2]
        await feed(settings, [("a", 1)] * 7)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.delete_records({source_of(settings): RecordsToDelete(before_offset=6)})
        await admin.close()
        return await totals(settings, 7)

    assert asyncio.run(story()) == [0, 1, 2, 6, 7, 8, 9]
    assert "deleted before they were read" in capsys.readouterr().out


def test_a_topic_made_anew_is_read_from_its_beginning(
    kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A committed offset behind the end belongs to another topic of the same name."""
    settings = settings_for(kafka, topic_prefix, partitions=1)
    source = source_of(settings)

    async def story() -> None:
        await make_topics(settings)
        await feed(settings, NUMBERS[:10])
        group = f"{settings.runtime.group}.sums"
        async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False) as consumer:
            consumer.assign([source])
            await consumer.commit({source: (1_000, "")})
        async with working(settings):
            await outputs_of(settings, 10)
        assert await check_sums(settings) == 10

    asyncio.run(story())
    assert "made anew" in capsys.readouterr().out


def test_a_broker_that_goes_first_leaves_no_producer_unclosed(
    mortal_broker: EmbeddedBroker, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Worker and broker stopped together, as with a machine: aborting hangs, and what hangs is closed all the same."""
    settings = settings_for(mortal_broker.bootstrap, topic_prefix, shutdown_s=2.0)

    async def story() -> None:
        await make_topics(settings)
        async with working(settings, timing=replace(FAST, close_timeout_s=0.5)):
            await feed(settings, [("key", number) for number in range(20_000)])
            await asyncio.to_thread(mortal_broker.kill)

    try:
        asyncio.run(story())
    finally:
        mortal_broker.start()  # for the tests to come
    gc.collect()
    assert not [record.getMessage() for record in caplog.records if "Unclosed" in record.getMessage()]
