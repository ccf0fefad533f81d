"""A source's position goes with its samples: both or neither, and one publisher a name."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.errors import BrokerError, BrokerUnavailableError, FencedError, StateError
from pipeline.runtime.clients import connection
from pipeline.settings import Settings, TopicSettings
from pipeline.sources.positions import Position, PositionedPublisher
from tests.metrics_topic import read_rows, settings_with_topics

MESSAGE = b'{"series":[{"name":"up","labels":{"service":"shop"},"kind":"gauge"}],"ts":1767225600000,"value":[1]}'


@pytest.fixture
def settings(kafka, topic_prefix) -> Settings:
    return settings_with_topics(kafka, topic_prefix)


class CrashError(Exception):
    """The process ends here."""


def publisher(
    settings: Settings, name: str = "test", kind: type[PositionedPublisher] = PositionedPublisher
) -> PositionedPublisher:
    return kind(connection(settings.kafka), settings, name)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_position_is_found_again(kafka, topic_prefix, guarantee):
    """The newest position of a name is what the next publisher of that name begins with; others have their own."""
    settings = settings_with_topics(kafka, topic_prefix, runtime__guarantee=guarantee)

    async def story() -> None:
        async with publisher(settings) as to:
            assert to.position is None
            await to.publish([(0, MESSAGE)], Position(1000))
            await to.publish([], Position(2000))
        async with publisher(settings, "other") as to:
            assert to.position is None
            await to.publish([], Position(5))
        async with publisher(settings) as to:
            assert to.position == Position(2000)
        assert len(await read_rows(settings)) == 1

    asyncio.run(story())


def test_both_or_neither(settings):
    """A crash between samples and position leaves neither; publishing again leaves the samples once."""

    class Crashing(PositionedPublisher):
        async def _send_position(self, position: Position) -> None:
            raise CrashError(position)

    async def story() -> None:
        to = publisher(settings, kind=Crashing)
        await to.__aenter__()
        with pytest.raises(CrashError):
            await to.publish([(0, MESSAGE)], Position(1000))
        async with publisher(settings) as again:
            assert again.position is None
            await again.publish([(0, MESSAGE)], Position(1000))
        await to.__aexit__()
        assert len(await read_rows(settings)) == 1

    asyncio.run(story())


def test_second_publisher_of_a_name_ends_the_first(settings):
    """Two bridges of one source would double everything: the older one is fenced and says so."""

    async def story() -> None:
        async with publisher(settings) as first, publisher(settings) as second:
            await second.publish([(0, MESSAGE)], Position(1000))
            with pytest.raises(FencedError, match="another bridge or backfill of test"):
                await first.publish([(0, MESSAGE)], Position(1000))
        assert len(await read_rows(settings)) == 1

    asyncio.run(story())


def test_foreign_position_is_refused(settings):
    """What somebody else put there under the name is not taken for a position."""

    class Foreign(PositionedPublisher):
        async def _send_position(self, position: Position) -> None:
            del position
            await self._producer.send_and_wait(self._positions.topic, b"yesterday", key=b"test", partition=0)

    async def story() -> None:
        async with publisher(settings, kind=Foreign) as to:
            await to.publish([], Position(0))
        with pytest.raises(StateError, match="another --name"):
            async with publisher(settings):
                pass

    asyncio.run(story())


def test_missing_topics_and_brokers_are_named(kafka, topic_prefix):
    """What is missing, and what to do."""

    async def enter(bootstrap: str) -> None:
        client = {"bootstrap_servers": bootstrap, "request_timeout_ms": 2000}
        async with PositionedPublisher(client, Settings(topics=TopicSettings(prefix=topic_prefix)), "test"):
            pass

    with pytest.raises(BrokerError, match="duri topics create"):
        asyncio.run(enter(kafka))
    with pytest.raises(
        BrokerUnavailableError, match=r"no Kafka broker answers at 127\.0\.0\.1:9 \(PLAINTEXT\); check the address"
    ):
        asyncio.run(enter("127.0.0.1:9"))
