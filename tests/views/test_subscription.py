"""Following the output topics on real Kafka."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.records import Muting
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.runtime.topology import create_topics
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic
from pipeline.views.subscription import Subscription
from pipeline.views.words import line
from tests.views.fakes import anomaly, recommendation

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.records import Record


MUTED = Muting(
    id="m",
    at=datetime(2026, 1, 1, tzinfo=UTC),
    service="orders",
    signals=["http.latency.p95"],
    until=datetime(2026, 1, 8, tzinfo=UTC),
    reason="refused repeatedly",
    by="duri",
)


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> Settings:
    chosen = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})

    async def create() -> None:
        async with ClusterAdmin(chosen.kafka) as admin:
            await create_topics(admin, chosen)

    asyncio.run(create())
    return chosen


async def send(settings: Settings, *values: tuple[Topic, bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    await producer.start()
    try:
        for topic, value in values:
            await producer.send_and_wait(settings.topics.name(topic), value)
    finally:
        await producer.stop()


def encoded(record: Record) -> bytes:
    return record.model_dump_json().encode()


async def first(subscription: Subscription, n: int) -> list[Record]:
    """The first n records that come."""
    found: list[Record] = []
    async with asyncio.timeout(20):
        while len(found) < n:
            found += await subscription.poll()
    return found


@pytest.mark.parametrize(("from_beginning", "ids"), [(True, {"old", "new"}), (False, {"new"})])
def test_from_now_or_from_the_beginning(settings: Settings, from_beginning: bool, ids: set[str]) -> None:
    """What was there before is seen only where it was asked for."""

    async def run() -> list[Record]:
        await send(settings, (Topic.ANOMALIES, encoded(anomaly("old"))))
        async with Subscription(
            connection(settings.kafka), settings.topics, from_beginning=from_beginning
        ) as subscription:
            await send(settings, (Topic.RECOMMENDATIONS, encoded(recommendation("new"))))
            return await first(subscription, len(ids))

    assert {record.id for record in asyncio.run(run())} == ids


def test_what_cannot_be_read_is_counted_and_skipped(settings: Settings) -> None:
    """One bad record does not hide the next."""

    async def run() -> tuple[list[Record], int]:
        await send(settings, (Topic.ANOMALIES, b"{}"), (Topic.ANOMALIES, encoded(anomaly("good"))))
        async with Subscription(connection(settings.kafka), settings.topics, from_beginning=True) as subscription:
            return await first(subscription, 1), subscription.unreadable

    records, unreadable = asyncio.run(run())
    assert [record.id for record in records] == ["good"]
    assert unreadable == 1


def test_a_record_of_quietened_signals_is_read_as_what_it_says_it_is(settings: Settings) -> None:
    """Outcomes are not all that is on their topic; the advisor tells there that it leaves something alone."""

    async def run() -> tuple[list[Record], int]:
        producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
        await producer.start()
        try:
            headers = [("ce_type", Muting.event_type().encode())]
            await producer.send_and_wait(settings.topics.name(Topic.OUTCOMES), encoded(MUTED), headers=headers)
        finally:
            await producer.stop()
        async with Subscription(connection(settings.kafka), settings.topics, from_beginning=True) as subscription:
            return await first(subscription, 1), subscription.unreadable

    records, unreadable = asyncio.run(run())
    assert (records, unreadable) == ([MUTED], 0)
    text = line(records[0])
    assert text is not None
    assert "orders http.latency.p95 until 2026-01-08 00:00 UTC  refused repeatedly" in text.plain


def test_missing_topics_are_named(kafka: str, topic_prefix: str) -> None:
    """With what to do."""
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})

    async def run() -> None:
        async with Subscription(connection(settings.kafka), settings.topics):
            pass

    with pytest.raises(BrokerError, match=f"topics missing.*{topic_prefix}anomalies.*duri topics create"):
        asyncio.run(run())


def test_nobody_at_the_address() -> None:
    """Named, with what to do."""
    settings = load_settings(overrides={"kafka.bootstrap": "127.0.0.1:9"})

    async def run() -> None:
        async with Subscription(connection(settings.kafka), settings.topics):
            pass

    with pytest.raises(BrokerUnavailableError, match="duri broker"):
        asyncio.run(run())


def test_watch_prints_json_lines_and_ends_by_itself(settings: Settings, topic_prefix: str, tmp_path: Path) -> None:
    """`duri watch --json --for`: a line a record, exit status 0."""
    config = tmp_path / "duri.yaml"
    config.write_text(f"topics: {{prefix: {topic_prefix}}}\n")
    asyncio.run(send(settings, (Topic.RECOMMENDATIONS, encoded(recommendation("r")))))
    program = "import sys, typer; from pipeline.cli.watch import watch; typer.run(watch)"
    options = ["--json", "--from-beginning", "--for", "4", "--bootstrap", settings.kafka.bootstrap]
    done = subprocess.run(
        [sys.executable, "-c", program, *options, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert (json.loads(line)["record"], json.loads(line)["id"]) == ("recommendation", "r")
