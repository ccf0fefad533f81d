"""Publishing on real Kafka: what was counted arrives; a broker that is away costs the service nothing."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from pipeline.client import Limits, MetricsPublisher
from pipeline.runtime.admin import ClusterAdmin
from pipeline.settings import KafkaSettings

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord


@pytest.fixture
def topic(kafka: str, topic_prefix: str) -> str:
    """A topic of one partition."""
    asyncio.run(create(kafka, f"{topic_prefix}metrics"))
    return f"{topic_prefix}metrics"


async def create(kafka: str, topic: str, **configs: str) -> None:
    async with ClusterAdmin(KafkaSettings(bootstrap=kafka)) as admin:
        await admin.create([NewTopic(topic, 1, 1, topic_configs=configs)])


async def everything(kafka: str, topic: str) -> list[ConsumerRecord]:
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found: list[ConsumerRecord] = []
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += records
        return found


def rows(records: list[ConsumerRecord]) -> list[tuple[str, int, float]]:
    """(name, ts, value) of every sample."""
    found: list[tuple[str, int, float]] = []
    for record in records:
        message: dict[str, Any] = json.loads(record.value)
        index = message.get("index", range(len(message["series"])))
        times = message["ts"] if isinstance(message["ts"], list) else [message["ts"]] * len(message["value"])
        columns = zip(index, times, message["value"], strict=True)
        found += [(message["series"][at]["name"], ts, value) for at, ts, value in columns]
    return found


def test_everything_arrives_on_exit(kafka, topic):
    """Leaving the context flushes instruments and raw samples, keyed by service."""

    async def story() -> None:
        async with MetricsPublisher(kafka, service="shop", topic=topic, interval_s=60) as metrics:
            metrics.counter("orders_total").inc(3)
            metrics.record("temperature", 21.5)
        records = await everything(kafka, topic)
        assert {(name, value) for name, _, value in rows(records)} == {("orders_total", 3), ("temperature", 21.5)}
        assert {record.key for record in records} == {b"shop"}
        statistics = metrics.statistics
        assert (statistics.sent, statistics.waiting, statistics.dropped, statistics.failures) == (2, 0, 0, 0)

    asyncio.run(story())


def test_values_are_published_every_interval(kafka, topic):
    """While the service runs, each interval brings every series' value, in order of time."""

    async def story() -> None:
        async with MetricsPublisher(kafka, service="shop", topic=topic, interval_s=0.1) as metrics:
            for _ in range(5):
                metrics.counter("orders_total").inc()
                await asyncio.sleep(0.1)
        found = rows(await everything(kafka, topic))
        assert len(found) >= 4
        assert found == sorted(found)
        assert found[-1][2] == 5

    asyncio.run(story())


def test_nothing_is_lost_when_kafka_comes_late(kafka, topic_prefix):
    """A topic that is made only later: everything that waited arrives then, once, in order."""
    topic = f"{topic_prefix}late"

    async def story() -> None:
        limits = Limits(flush_s=30)
        async with MetricsPublisher(
            kafka, service="shop", topic=topic, interval_s=0.2, limits=limits, request_timeout_ms=500
        ) as metrics:
            for number in range(5):
                metrics.record("orders", number)
                await asyncio.sleep(0.2)
            assert metrics.statistics.sent == 0
            await create(kafka, topic)
        assert [value for _, _, value in rows(await everything(kafka, topic))] == [0, 1, 2, 3, 4]
        assert (metrics.statistics.sent, metrics.statistics.dropped) == (5, 0)

    asyncio.run(story())


def test_a_missing_topic_is_told_once_with_its_remedy(kafka, topic_prefix, caplog):
    """In our own words and in no others, however often it is looked for; then everything arrives."""
    topic = f"{topic_prefix}missing"

    async def story() -> None:
        async with MetricsPublisher(kafka, service="shop", topic=topic, interval_s=0.1) as metrics:
            metrics.record("orders", 1)
            await asyncio.sleep(5)  # it is looked for again after at most .5, 1 and 2 s
            assert metrics.statistics.failures >= 2
            await create(kafka, topic)
            assert await metrics.flush()

    asyncio.run(story())
    told = [record.getMessage() for record in caplog.records if topic in record.getMessage()]
    assert len(told) == 1
    assert "`duri topics create` makes it" in told[0]


def test_broker_that_is_away_costs_the_service_nothing():
    """Nobody answers: calls take no longer, memory stays bounded, the oldest go, leaving ends in time."""

    async def story() -> None:
        limits = Limits(buffered=50, flush_s=0.5)
        publisher = MetricsPublisher("127.0.0.1:9", service="shop", interval_s=0.05, limits=limits)
        async with publisher as metrics:
            gauges = [metrics.gauge(f"g{number}") for number in range(10)]
            for step in range(20):
                for gauge in gauges:
                    gauge.set(step)
                metrics.record("raw", step)
                await asyncio.sleep(0.05)
            assert metrics.statistics.waiting <= 50
            assert metrics.statistics.dropped > 0
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 3
        statistics = publisher.statistics
        assert (statistics.sent, statistics.waiting) == (0, 0)
        assert statistics.failures >= 1

    asyncio.run(story())


def test_message_too_large_is_given_up(kafka, topic_prefix):
    """A message that the topic does not take is counted and does not hold up those behind it."""
    topic = f"{topic_prefix}small"

    async def story() -> None:
        await create(kafka, topic, **{"max.message.bytes": "600"})
        async with MetricsPublisher(kafka, service="shop", topic=topic, interval_s=60) as metrics:
            for number in range(200):
                metrics.record(f"metric_{number}_{number**9:x}", number**5)
            assert await metrics.flush()
            metrics.record("small", 1)
        assert [name for name, _, _ in rows(await everything(kafka, topic))] == ["small"]
        assert (metrics.statistics.dropped, metrics.statistics.sent) == (200, 1)

    asyncio.run(story())
